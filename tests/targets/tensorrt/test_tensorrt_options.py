"""Which TensorRT is acceptable, what may be asked of it, and what it builds for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.export.tracing import OPSETS
from mahtrt.targets.table import find_target
from mahtrt.targets.tensorrt.flavours import FLAVOURS, find_flavour, load_flavour
from mahtrt.targets.tensorrt.options import TensorRtOptions, check_options, known_capabilities

ENTERPRISE, RTX = FLAVOURS["tensorrt"], FLAVOURS["tensorrt-rtx"]


@pytest.mark.parametrize(
    ("flavour", "version", "supported"),
    [
        (ENTERPRISE, "8.6.1", False),
        (ENTERPRISE, "10.11.0.33", False),
        (ENTERPRISE, "10.12.0.36", True),
        (ENTERPRISE, "10.16.1.11", True),
        (ENTERPRISE, "11.4.0.106", True),
        (ENTERPRISE, "12.0.0", False),
        (ENTERPRISE, "unknown", False),
        (RTX, "1.1.1.26", False),
        (RTX, "1.2.0.54", True),
        (RTX, "1.10.0", True),
        (RTX, "2.0.0", True),
    ],
)
def test_supported_versions(
    flavour: Any, version: str, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flavour.supports(version) is supported
    monkeypatch.setitem(sys.modules, flavour.module, SimpleNamespace(__version__=version))
    if supported:
        assert load_flavour(flavour).__version__ == version
        return
    with pytest.raises(MissingComponentError, match=f"{version}; expected {flavour.versions}"):
        load_flavour(flavour)


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flavour in FLAVOURS.values():
        monkeypatch.setitem(sys.modules, flavour.module, None)
        with pytest.raises(MissingComponentError) as caught:
            find_target(flavour.name).build(tmp_path / "m.onnx", "fp32", tmp_path / "out")
        assert caught.value.exit_code == 6
        assert f"target {flavour.name}: got no Python package" in str(caught.value)
        assert f"pip install 'mahtrt[{flavour.extra}]'" in str(caught.value)


def test_unknown_flavours_list_the_known() -> None:
    with pytest.raises(UsageError, match="expected tensorrt or tensorrt-rtx"):
        find_flavour("trt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workspace_mib": 0}, "--workspace-mib: got 0; expected at least 1"),
        ({"optimization_level": 6}, "--optimization-level: got 6; expected 0 to 5"),
        ({"optimization_level": -1}, "--optimization-level: got -1"),
        ({"timeout_s": 0.0}, "--timeout: got 0.0; expected more than 0"),
        ({"hardware_compatibility": "all"}, "got 'all'; expected 'none', 'ampere_plus'"),
        ({"compute_capabilities": ("SM86",)}, "SM86 for TensorRT; expected none"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options(TensorRtOptions(**options), ENTERPRISE)
    assert said in str(caught.value)


def test_what_rtx_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'ampere_plus' for TensorRT-RTX; expected 'none'"):
        check_options(TensorRtOptions(hardware_compatibility="ampere_plus"), RTX)
    check_options(TensorRtOptions(fuse_soft_argmax=True), RTX)  # by a kernel behind the engine


def test_what_is_exported_is_within_what_the_parsers_document() -> None:
    # 24 by TensorRT 10, 25 by 11 and TensorRT-RTX; they take any other number without a word.
    assert max(OPSETS) <= 24


def test_only_capabilities_that_have_a_number_are_known() -> None:
    members = dict.fromkeys(("SM86", "SM120", "NONE", "CURRENT", "SM75"))
    trt = SimpleNamespace(ComputeCapability=SimpleNamespace(__members__=members))
    assert known_capabilities(trt) == ("SM75", "SM86", "SM120")


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)
def test_a_broken_installation_is_a_missing_component(
    flavour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, flavour.module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    broken = tmp_path / f"{flavour.module}.py"
    broken.write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    with pytest.raises(MissingComponentError, match=r"libnvinfer\.so\.10.*NVIDIA's own") as caught:
        load_flavour(flavour)
    assert caught.value.exit_code == 6
    # What Python makes of an empty folder of that name.
    monkeypatch.setitem(sys.modules, flavour.module, SimpleNamespace())
    with pytest.raises(MissingComponentError, match="a folder named"):
        load_flavour(flavour)
