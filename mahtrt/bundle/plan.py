"""The plan: which blocks of a network run in INT8, which in half precision or FP32, and why.

A plan is a small JSON document meant to be read, edited and given back. Its blocks cover every
convolution and matrix product of the graph; everything else is floating point anyway. A block's
``precision`` is one of three: ``int8``; ``float``, the floating-point type of the engine, which is
half precision where the machine has it; and ``fp32``, which stays FP32 even there. To force a
single product, move its name between ``nodes`` (which follow the block's precision) and
``float_nodes`` (which do not).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mahtrt.atomic import write_text_atomic
from mahtrt.errors import SpecError
from mahtrt.parsing import first_repeat, read_json, read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import check_schema, dataclass_from

SCHEMA = "mahtrt.plan/2"  # 1 knew no fp32

BlockPrecision = Literal["int8", "float", "fp32"]

# What a planner adds to a block; a plan made by rules alone does not have them.
_MEASURED = ("gain_ms", "cost_px")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the network that is decided about as one.

    Attributes:
        name: Dotted module path, or the node's name where the exporter left no scopes.
        precision: What ``nodes`` compute in.
        reason: Why, in words.
        flops_share: Share of the graph's arithmetic, ``float_nodes`` included.
        nodes: The products that follow ``precision``.
        float_nodes: Products of an ``int8`` block that stay in floating point -> why.
        gain_ms: What INT8 saves on the target that the plan was made for, per inference, by that
            target's own layer times; negative where it costs time, None where not measured.
        cost_px: Mean displacement of the landmarks, in network pixels, when only this block is
            INT8; None where not measured.
    """

    name: str
    precision: BlockPrecision
    reason: str
    flops_share: float
    nodes: tuple[str, ...]
    float_nodes: Mapping[str, str] = field(default_factory=dict)
    gain_ms: float | None = None
    cost_px: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The precision of every block.

    Attributes:
        blocks: In the order of the graph.
        quantize_residuals: Also quantise the other operand of an Add that directly follows an
            INT8 convolution, so that the two run as one kernel.
    """

    blocks: tuple[Block, ...]
    quantize_residuals: bool = True
    schema: str = SCHEMA

    @property
    def int8_nodes(self) -> tuple[str, ...]:
        """Names of the products that run in INT8."""
        return self._nodes("int8")

    @property
    def fp32_nodes(self) -> tuple[str, ...]:
        """Names of the products that stay FP32 whatever the rest computes in."""
        return self._nodes("fp32")

    @property
    def is_fp32(self) -> bool:
        """Whether every block stays FP32."""
        return bool(self.blocks) and all(block.precision == "fp32" for block in self.blocks)

    def _nodes(self, precision: BlockPrecision) -> tuple[str, ...]:
        return tuple(
            n for block in self.blocks if block.precision == precision for n in block.nodes
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "quantize_residuals": self.quantize_residuals,
            "blocks": [_block_table(block) for block in self.blocks],
        }

    def to_json(self) -> str:
        """The plan as indented JSON: equal plans give equal text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def plan_name(precision: str) -> str:
    """The file in a bundle that holds the plan of engines in a precision."""
    return "plan.json" if precision == "int8" else f"plan.{precision}.json"


def plan_from_json(text: str | bytes, *, where: str = "plan") -> Plan:
    """Read the text of :meth:`Plan.to_json`, edited or not.

    Raises:
        SpecError: Unknown or missing fields, wrong values, or a block named twice.
        IntegrityError: The schema is newer than this version reads.
    """
    return plan_from_table(read_json(text, where, "a plan"), where)


def load_plan(path: Path) -> Plan:
    """Read a plan from a JSON file; raises as :func:`plan_from_json` does."""
    return plan_from_table(read_json_file(path, Wanted("a plan", SpecError)), str(path))


def plan_from_table(data: Any, where: str) -> Plan:
    """The plan that JSON holds; raises as :func:`plan_from_json` does."""
    if isinstance(data, Mapping):
        check_schema(str(data.get("schema", SCHEMA)), SCHEMA, where)
        data = {**data, "schema": SCHEMA}  # an older one says what it said
        if isinstance(data.get("blocks"), list):
            data = {**data, "blocks": [_with_defaults(block) for block in data["blocks"]]}
    plan = dataclass_from(Plan, data, where)
    _refuse_repeats([b.name for b in plan.blocks], f"{where}: blocks", "block")
    _refuse_repeats([n for b in plan.blocks for n in (*b.nodes, *b.float_nodes)], where, "node")
    return plan


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan to a JSON file, whole or not at all."""
    write_text_atomic(path, plan.to_json())


def _block_table(block: Block) -> dict[str, Any]:
    table = asdict(block)
    table["nodes"] = list(block.nodes)
    if not block.float_nodes:
        del table["float_nodes"]
    for name in _MEASURED:
        if table[name] is None:
            del table[name]
    return table


def _with_defaults(block: Any) -> Any:
    """A block's table with what someone who writes one by hand may leave out."""
    return {"reason": "", "flops_share": 0.0, **block} if isinstance(block, Mapping) else block


def _refuse_repeats(names: Sequence[str], where: str, what: str) -> None:
    repeated = first_repeat(names)
    if repeated is not None:
        raise SpecError(where, got=f"{what} {repeated!r} twice", expected=f"each {what} once")
