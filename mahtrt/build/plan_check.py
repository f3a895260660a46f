"""The caller's plan file, refused before there is long work where it cannot be built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.build.options import AUTO_PLAN, BuildOptions
from mahtrt.bundle.plan import Plan, load_plan
from mahtrt.errors import BuildError, UsageError, some_of
from mahtrt.targets.table import find_target
from mahtrt.targets.target import Target

if TYPE_CHECKING:  # compile needs this module without the onnx package
    from mahtrt.graph.graph_file import GraphFile
    from mahtrt.graph.index import GraphIndex

# What a plan can be about. A plan file is INT8's where INT8 is built.
PLANNED_PRECISIONS = ("fp16", "bf16", "int8")
_SHOWN = 4


def read_plan(options: BuildOptions, graph: GraphFile, targets: Sequence[str]) -> Plan | None:
    """The caller's plan file; None without one, and where a plan is searched for.

    Raises:
        SpecError: It cannot be read, or does not fit the graph.
        IntegrityError: Its schema is newer than this version reads.
        DataError: There is no such file.
        UsageError: It has INT8 blocks, and no INT8 is built.
        BuildError: A target cannot keep its FP32 blocks apart from half precision.
    """
    if options.plan is None or options.plan == AUTO_PLAN:
        return None
    from mahtrt.calibration.plan import check_plan
    from mahtrt.graph.index import GraphIndex

    plan, index = load_plan(Path(options.plan)), GraphIndex(graph.proto)
    check_plan(plan, index)
    int8 = [block.name for block in plan.blocks if block.precision == "int8"]
    if int8 and "int8" not in options.precisions:
        raise UsageError(
            f"--plan {options.plan}",
            got=f"INT8 in {some_of(int8, _SHOWN)}, and no --int8",
            expected="a plan of float and fp32 blocks",
            fix="Add --int8, or set these blocks to float in the plan.",
        )
    for target in _computing_in_half(options, targets):
        _check_kept(plan, index, target)
    return plan


def _computing_in_half(options: BuildOptions, targets: Sequence[str]) -> Iterator[Target]:
    """The targets whose engines follow the plan and have half precision beside FP32."""
    for target in map(find_target, targets):
        if "int8" not in options.precisions:
            follows = any(p in target.precisions for p in options.precisions if p != "fp32")
        else:
            beside = target.float_type(options.int8_float)
            follows = "int8" in target.precisions and beside != "fp32"
        if follows:
            yield target


def _check_kept(plan: Plan, graph: GraphIndex, target: Target) -> None:
    from mahtrt.precision.float32 import lost_float32

    lost = {
        block.name: nodes
        for block in plan.blocks
        if block.precision == "fp32" and (nodes := lost_float32(graph, block.nodes, target))
    }
    if not lost:
        return
    nodes = [name for names in lost.values() for name in names]
    raise BuildError(
        f"plan for target {target.name}",
        got=f"fp32 for {some_of(list(lost), _SHOWN)}, of which {target.name} would compute "
        f"{some_of(nodes, _SHOWN)} in half precision",
        expected="FP32 where the target can keep it beside half precision",
        fix="Set these blocks to float in the plan, or build for another target with --target.",
    )
