"""Plan files that cannot be built, refused before anything is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cpus import Cpu
from foreign_network import ForeignNetwork
from hand_plans import options, plan_of

from mahtrt.build.build import build
from mahtrt.bundle.plan import Plan, save_plan
from mahtrt.errors import BuildError, SpecError, UsageError
from mahtrt.targets.openvino.target import TARGET as OPENVINO

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan file that keeps two blocks in FP32."""
    path = tmp_path_factory.mktemp("plan") / "own.json"
    save_plan(plan_of(foreign_network, down_0="fp32", join_2="fp32"), path)
    return path


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"precisions": ("fp32",)}, UsageError, "--plan: got no precision that a plan is about"),
        ({"plan": "auto"}, UsageError, "--plan auto: got no images to measure plans on"),
    ],
)
def test_a_plan_without_what_it_needs_is_refused(
    foreign_network: ForeignNetwork,
    plan: Path,
    tmp_path: Path,
    changed: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    asked = options(foreign_network, tmp_path / "b.mahtrt", plan=plan)
    with pytest.raises(error, match=message):
        build(dataclasses.replace(asked, **changed))
    assert not list(tmp_path.iterdir())


def test_a_plan_file_that_cannot_be_built_is_refused_before_anything_is_done(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def refused(plan: Plan, error: type[Exception], message: str, **more: Any) -> None:
        save_plan(plan, tmp_path / "own.json")
        asked = options(foreign_network, tmp_path / "b.mahtrt", plan=tmp_path / "own.json", **more)
        with pytest.raises(error, match=message):
            build(asked, lambda stage, *_: told.append(stage))
        assert set(told) == {"reading"}

    refused(
        plan_of(foreign_network, down_1="int8"),
        UsageError,
        "got INT8 in down.1, and no --int8; expected a plan of float and fp32 blocks",
    )
    unknown = plan_of(foreign_network)
    first = dataclasses.replace(unknown.blocks[0], nodes=("nobody",))
    refused(Plan((first,)), SpecError, r"block 'down.0': got 1 node.*lacks: nobody")

    def keeps_none_weighted(target: Any, op: str, *, weighted: bool) -> bool:
        return not weighted

    monkeypatch.setattr(type(OPENVINO), "keeps_fp32", keeps_none_weighted)
    kept = plan_of(foreign_network, down_0="fp32", join_2="fp32")
    message = r"plan for target openvino: got fp32 for down\.0, join\.2, of which openvino would"
    for targets in (("openvino",), ("onnxruntime", "openvino")):
        refused(kept, BuildError, message, targets=targets)
    build(options(foreign_network, tmp_path / "ort.mahtrt", plan=tmp_path / "own.json"))


def test_openvino_tells_what_it_cannot_keep(cpu: Callable[[str], Cpu]) -> None:
    for name, kept in (("bf16", False), ("vnni", True)):
        cpu(name)  # without BF16 of its own everything is FP32, or rounded by the graph
        assert OPENVINO.keeps_fp32("MatMul", weighted=True) is kept
        assert OPENVINO.keeps_fp32("MatMul", weighted=False)
        assert OPENVINO.keeps_fp32("Conv", weighted=True)
