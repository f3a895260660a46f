"""A node that watches its engine and its images while it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_nodes import Archive, Log, make_image, options_for, send, until
from watched_bundles import some_reference, with_reference

from mahtrt.bundle.bundle import read_bundle
from mahtrt.errors import GateError
from mahtrt.monitoring.self_test import SelfTest, SelfTestOutcome
from mahtrt.runtime.opening import open_engine
from mahtrt.serving.serve import opened
from mahtrt.serving.watch import Watch


def test_drift_is_told_once(bundle: Path, tmp_path: Path) -> None:
    watched, log = with_reference(bundle, tmp_path / "a.mahtrt", some_reference()), Log()
    dark = np.full((40, 40), 20, np.uint8)
    with open_engine(watched, threads=1) as session:
        watch, found = Watch(session, watched, 0, log), session.run(dark)
        watch.start()
        for _ in range(60):
            watch.observe(dark, (0.1, 0.1), found)
    (alarm,) = (event.facts for event in log.of("drift"))
    assert (alarm["statistic"], alarm["change"], alarm["state"]) == ("image.p50", "lower", "raised")
    assert alarm["now"] == round(20 / 255, 5)
    assert log.of("drift-unwatched") == []


def test_a_bundle_without_a_reference_says_so(bundle: Path) -> None:
    opened_bundle, log = read_bundle(bundle), Log()
    with open_engine(opened_bundle, threads=1) as session:
        Watch(session, opened_bundle, 0, log).start()
    (event,) = log.of("drift-unwatched")
    assert event.facts == {"reason": "no-reference-statistics"}


def test_a_node_ends_where_its_engine_fails_a_later_replay(
    tiny_bundle: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"engine": "onnxruntime", "threads": 1, "replay_hours": 1e-6}
    options, log = options_for(tiny_bundle, tmp_path / "queue", archive, **asked), Log()

    def fail(self: SelfTest) -> SelfTestOutcome:
        raise GateError("the engine", got="damaged memory", expected="what it gave")

    def serve_until_it_fails() -> None:
        with opened(options, log) as node:
            until(lambda: len(log.of("golden")) > 1)
            monkeypatch.setattr(SelfTest, "run", fail)
            node.wait(drain=False)

    with pytest.raises(GateError, match="damaged"):
        serve_until_it_fails()


def test_a_node_shows_its_images_to_the_watch(
    bundle: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(Watch, "observe", lambda _, pixels, *__: seen.append(pixels.shape))
    log = Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: log.of("sent"))
    assert len(seen) == 1
