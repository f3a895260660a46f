"""Bundles that leave their golden images, and bundles that are replaced while they answer."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_services import dotted_image, png_of, running, until
from tiny_bundle import write_tiny

import mahtrt
from mahtrt.bundle.golden import GoldenVector
from mahtrt.errors import DataError, GateError, UsageError
from mahtrt.http.options import HttpOptions
from mahtrt.http.serve import living
from mahtrt.http.served import Served
from mahtrt.interrupt import Terminated
from mahtrt.monitoring.self_test import SelfTest
from mahtrt.serving.events import ServeEvent

PNG = png_of(dotted_image())


def _write(path: Path, *, right: bool = True, off_px: float = 0.0) -> Path:
    """A bundle that gives its golden landmarks, or not."""
    image = np.zeros((32, 32), np.uint8)
    bare = write_tiny(path.with_suffix(".bare"), fp32=False, off_px=0.0, golden=())
    with mahtrt.open(bare, threads=1) as session:
        points = session.run(image).points + np.float32(0.0 if right else 9.0)
    vector = GoldenVector("0", image, points)
    return write_tiny(path, off_px=off_px, fp32=False, golden=(vector,))


def test_a_bundle_that_leaves_its_golden_images_answers_nobody(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    wrong = _write(tmp_path / "wrong.mahtrt", right=False)
    with running(f"good={tiny_bundle}", wrong, grpc=None) as service:
        ready = service.ask("/v2/health/ready")
        assert ready.status == 503
        assert "wrong: openvino-int8 on golden images: got mean displacement" in ready.json["error"]
        assert service.ask("/v2/health/live").status == 200
        assert service.ask("/v2/models/good/ready").json == {"name": "good", "ready": True}
        assert service.ask("/v1/landmarks/good", PNG).status == 200
        for answer in (
            service.ask("/v2/models/wrong/ready"),
            service.ask("/v2/models/wrong"),
            service.ask("/v1/landmarks/wrong", PNG),
        ):
            assert answer.status == 503
            assert "on golden images" in answer.json["error"]
        (told,) = service.told("not-ready")
        assert told["model"] == "wrong"
        text = service.ask("/metrics").body.decode()
        assert 'mahtrt_model_ready{model="wrong"} 0.0' in text
        assert 'mahtrt_model_ready{model="good"} 1.0' in text
        assert 'mahtrt_replays_total{model="good",outcome="passed"} 1.0' in text
        assert 'mahtrt_replays_total{model="wrong",outcome="failed"} 1.0' in text


def test_a_replaced_bundle_is_taken_over_and_a_bad_one_is_not(tmp_path: Path) -> None:
    place = _write(tmp_path / "net.mahtrt")
    with running(place, grpc=None, reload_s=0.05) as service:
        before = service.ask("/v2/models/net").json["versions"]
        _write(place, right=False)
        until(lambda: service.told("replacement-refused"))
        assert service.ask("/v2/models/net").json["versions"] == before
        assert service.ask("/v1/landmarks/net", PNG).status == 200
        failed = 'mahtrt_replays_total{model="net",outcome="failed"}'
        assert failed in service.ask("/metrics").body.decode()
        _write(place, off_px=0.01)
        until(lambda: service.told("reloaded"))
        after = service.ask("/v2/models/net").json["versions"]
        assert after != before
        assert service.told("reloaded")[0]["version"] == after[0]
        shutil.rmtree(place)
        assert service.ask("/v1/landmarks/net", PNG).status == 200


def test_an_engine_that_goes_wrong_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _write(tmp_path / "net.mahtrt")
    honest, is_wrong = SelfTest.run, False

    def run(test: SelfTest) -> Any:
        if is_wrong:
            raise GateError("openvino-int8 on golden images", got="mean displacement of 9 px")
        return honest(test)

    monkeypatch.setattr(SelfTest, "run", run)
    with running(place, grpc=None, replay_hours=0.05 / 3600) as service:
        assert service.ask("/v2/health/ready").status == 200
        is_wrong = True
        until(lambda: service.told("not-ready"))
        assert "9 px" in service.ask("/v2/models/net/ready").json["error"]
        is_wrong = False
        until(lambda: service.ask("/v2/health/ready").status == 200)


@pytest.mark.parametrize(
    ("bundles", "error", "told"),
    [
        (("nowhere.mahtrt",), DataError, "nowhere.mahtrt: got nothing"),
        (("a=b.mahtrt", "a=c.mahtrt"), UsageError, "the name a twice"),
        (("my net.mahtrt",), UsageError, "the name 'my net'; expected letters"),
        ((), UsageError, "got no bundle"),
    ],
)
def test_what_nobody_could_serve_is_refused_at_once(
    bundles: tuple[str, ...], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told), living(HttpOptions(bundles, http="0")):
        pass


def test_a_signal_while_bundles_are_opened_ends_the_service_in_good_order(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told_to_end(*_: object) -> None:
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(Served, "check", told_to_end)
    events: list[ServeEvent] = []
    result = mahtrt.serve(HttpOptions([str(tiny_bundle)], http="0"), events.append)
    assert (result.requests, result.cases) == (0, 0)
    assert [event.name for event in events] == ["ended"]
