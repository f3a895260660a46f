"""Which engine runs where a kind of device is required: never one on another kind."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import write_tiny

import mahtrt
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import LatencyRecord, VerdictRecord
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.runtime import engine_choice, open_session
from mahtrt.runtime.engine_choice import Require, choose_engine
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.table import find_target
from mahtrt.targets.target import Finding


@dataclass(frozen=True)
class Card:
    """A target on a card that is there, or not."""

    able: bool
    name: str = "card"
    device: str = "cuda"

    @property
    def runs_here(self) -> bool:
        return self.able

    def finding(self) -> Finding:
        return Finding(self.able, "" if self.able else "no card", "" if self.able else "Buy one.")


PASSED = VerdictRecord(True)


def record(
    name: str, p50_ms: float = 1.0, verdict: VerdictRecord | None = PASSED, batch: int = 1
) -> EngineRecord:
    target, _, precision = name.rpartition("-")
    latency = LatencyRecord(p50_ms, p50_ms, 10)
    return EngineRecord(name, target, precision, {}, batch, verdict=verdict, latency=latency)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(write_tiny(tmp_path_factory.mktemp("b") / "b.mahtrt"))


@pytest.fixture(params=[True, False], ids=["card", "no card"])
def card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Card:
    found = Card(request.param)
    monkeypatch.setattr(
        engine_choice, "find_target", lambda name: found if name == "card" else find_target(name)
    )
    return found


def bundle_of(tiny: Bundle, *engines: EngineRecord) -> Bundle:
    """The first is the default."""
    manifest = dataclasses.replace(tiny.manifest, engines=engines, default_engine=engines[0].name)
    return dataclasses.replace(tiny, manifest=manifest)


ON_CARD = (record("card-fp32", 9.0), record("card-fp16", 3.0), record("openvino-int8", 1.0))
ON_CPU = (record("openvino-int8", 1.0), record("card-fp16", 3.0), record("card-fp32", 2.0))


@pytest.mark.parametrize("require", ["any", "gpu", "cpu"])
@pytest.mark.parametrize("engines", [ON_CARD, ON_CPU], ids=["default on card", "default on cpu"])
def test_no_engine_on_another_kind_of_device_is_ever_chosen(
    tiny: Bundle, card: Card, engines: tuple[EngineRecord, ...], require: Require
) -> None:
    bundle = bundle_of(tiny, *engines)
    for asked in (None, "card", "card-fp32", "openvino"):
        try:
            found, note = choose_engine(bundle, asked, require)
        except (UsageError, MissingComponentError):
            continue
        on_card = found.target == "card"
        assert (require, on_card) not in {("gpu", False), ("cpu", True)}
        assert bool(note) == (asked is None and found is not engines[0])
        assert asked is not None or card.able or not on_card


def test_the_fastest_on_the_card_stands_in_for_a_default_elsewhere(
    tiny: Bundle, card: Card
) -> None:
    bundle = bundle_of(tiny, *ON_CPU)
    if not card.able:
        with pytest.raises(MissingComponentError) as caught:
            choose_engine(bundle, require="gpu")
        assert str(caught.value) == (
            "a GPU is required: got card: no card; expected an engine that runs on a GPU here. "
            "Buy one."
        )
        return
    found, note = choose_engine(bundle, require="gpu")
    assert found.name == "card-fp32"
    assert note == ("The default, openvino-int8, does not run on a GPU. card-fp32 runs instead.")


def test_an_engine_without_a_passed_gate_does_not_stand_in(tiny: Bundle, card: Card) -> None:
    engines = (ON_CPU[0], record("card-fp16", verdict=VerdictRecord(False)))
    bundle = bundle_of(tiny, *engines)
    with pytest.raises(MissingComponentError) as caught:
        choose_engine(bundle, require="gpu")
    assert ("card-fp16 without a passed gate" in str(caught.value)) is card.able
    assert choose_engine(bundle, "card-fp16", "gpu")[0].name == "card-fp16"  # asked for


def test_a_bundle_without_an_engine_for_the_device_says_what_to_compile(tiny: Bundle) -> None:
    with pytest.raises(MissingComponentError) as caught:
        choose_engine(tiny, require="gpu")
    assert caught.value.got.startswith("engines for another device (openvino-int8, ")
    assert "mahtrt compile BUNDLE --target onnxruntime-cuda or tensorrt" in caught.value.fix


def test_an_engine_that_contradicts_the_device_is_refused(tiny: Bundle) -> None:
    with pytest.raises(UsageError, match=r"engine openvino-int8: .* does not run on a GPU"):
        choose_engine(tiny, "openvino", "gpu")
    with pytest.raises(UsageError, match="expected one of any, gpu, cpu"):
        choose_engine(tiny, require="cuda")  # type: ignore[arg-type]


def test_the_verbs_pass_it_on(tiny: Bundle, tiny_bundle: Path) -> None:
    place, wanted = tiny.path, "a GPU is required"
    with pytest.raises(MissingComponentError, match=wanted):
        open_session(place, require="gpu")
    with pytest.raises(MissingComponentError, match=wanted):
        verify(VerifyOptions(place, require="gpu"))
    with pytest.raises(MissingComponentError, match=wanted):
        mahtrt.bench(mahtrt.BenchOptions(place, require="gpu"))
    with pytest.raises(UsageError, match="does not run on a GPU"):
        mahtrt.bench(mahtrt.BenchOptions(place, engines=("openvino",), require="gpu"))
    whole = verify(VerifyOptions(tiny_bundle, require="cpu"))
    assert {each.device for each in whole.replays} == {"cpu"}


def test_a_result_says_which_engine_and_device_made_it(tiny: Bundle, tmp_path: Path) -> None:
    from PIL import Image

    image = np.full((40, 50), 90, np.uint8)
    with open_session(tiny.path, engine="onnxruntime-fp32", require="cpu") as session:
        found = session.run(image)
    assert (found.engine, found.device) == ("onnxruntime-fp32", "cpu")
    assert found.to_dict()["device"] == "cpu"
    Image.fromarray(image).save(tmp_path / "a.png")
    result = mahtrt.predict(mahtrt.PredictOptions(tiny.path, [tmp_path / "a.png"], require="cpu"))
    document = json.loads(result.to_json())
    assert (document["engine"], document["device"]) == (result.engine, "cpu")
    assert document["images"][0]["engine"] == result.engine
    header, row, *_ = result.to_csv().splitlines()
    assert header.endswith(",engine,device")
    assert row.endswith(f",{result.engine},cpu")


def test_a_bench_tells_the_device_of_every_row(tiny: Bundle) -> None:
    options = mahtrt.BenchOptions(tiny.path, engines=("openvino",), rounds=1, require="cpu")
    rows = mahtrt.bench(options).to_dict()["rows"]
    assert {row["device"] for row in rows} == {"cpu"}
