"""A default engine whose package is missing here, and a host without PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from programs import run_python

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.records import VerdictRecord
from mahtrt.errors import MissingComponentError
from mahtrt.runtime import engine_choice, open_session
from mahtrt.runtime import opening as opening_module
from mahtrt.runtime.engine_choice import choose_engine
from mahtrt.targets.table import find_target

pytestmark = pytest.mark.slow


def bundle_with_default(tiny_bundle: Path, passed: dict[str, bool]):  # type: ignore[no-untyped-def]
    bundle = read_bundle(tiny_bundle)
    engines = tuple(
        dataclasses.replace(engine, verdict=VerdictRecord(passed[engine.name]))
        for engine in bundle.manifest.engines
    )
    manifest = dataclasses.replace(bundle.manifest, engines=engines)
    return dataclasses.replace(bundle, manifest=manifest)


def without(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = dataclasses.replace(find_target(target), package="a_package_nobody_has")
    for module in (opening_module, engine_choice):
        monkeypatch.setattr(
            module, "find_target", lambda name: missing if name == target else find_target(name)
        )


def test_an_engine_that_passed_stands_in(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {e.name: True for e in read_bundle(tiny_bundle).manifest.engines}
    bundle = bundle_with_default(tiny_bundle, engines)
    default = bundle.engine()
    without(default.target, monkeypatch)
    found, note = choose_engine(bundle)
    assert found.target != default.target
    assert note is not None
    assert f"{default.name}, cannot run here: {default.target} is not installed" in note
    assert found.name in note


def test_an_engine_that_failed_its_gate_does_not(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {e.name: False for e in read_bundle(tiny_bundle).manifest.engines}
    bundle = bundle_with_default(tiny_bundle, engines)
    without(bundle.engine().target, monkeypatch)
    assert choose_engine(bundle) == (bundle.engine(), None)


def test_an_engine_asked_for_by_name_has_no_stand_in(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = read_bundle(tiny_bundle).engine().name
    without(read_bundle(tiny_bundle).engine().target, monkeypatch)
    with pytest.raises(MissingComponentError):
        open_session(tiny_bundle, engine=name).run(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize("verb", ["bench", "verify"])
def test_a_host_without_pytorch_measures_and_verifies(tiny_bundle: Path, verb: str) -> None:
    options = {"bench": ["--rounds", "3", "--latency-budget-ms", "100000"], "verify": []}
    code = (
        "import sys; sys.modules.update(torch=None, onnx=None, timm=None)\n"
        "from mahtrt.cli import main; main()"
    )
    done = run_python("-c", code, verb, tiny_bundle, *options[verb])
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert "openvino" in done.stdout
