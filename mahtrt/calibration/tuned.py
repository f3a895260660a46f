"""What fine-tuning for INT8 leaves: an export with other weights, and the ranges learned with them.

The file is the FP32 export with the learned values of its initializers, and one more entry in its
metadata, which holds the plan, the ranges and where they come from. ``mahtrt qat`` writes it, and
``mahtrt build --tuned`` makes INT8 graphs of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from mahtrt.atomic import write_bytes_atomic
from mahtrt.bundle.origin import CardRecord
from mahtrt.bundle.plan import Plan, plan_from_table
from mahtrt.calibration.centring import Interval
from mahtrt.calibration.methods import LEARNED
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import GraphFile, load_onnx
from mahtrt.parsing import read_json
from mahtrt.schema import check_schema, dataclass_from, plain

METADATA_KEY = "mahtrt.tuned"
SCHEMA = "mahtrt.tuned/1"


@dataclass(frozen=True, slots=True)
class TunedRecord:
    """Where learned weights and ranges come from.

    Attributes:
        export_sha256: Digest of the export that they are of.
        data: Name of the data set that they were learned on, without folders.
        images_digest: SHA-256 over the images that the ranges began with.
        skipped: Images that were left out because they cannot be read.
        weight_bits: Bits of the INT8 weights that rounded them.
        training: How they were learned: steps, minutes, seed, rates, and what validation saw.
    """

    export_sha256: str
    data: str
    images_digest: str
    weight_bits: int
    skipped: tuple[str, ...] = ()
    training: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A network that was fine-tuned for a plan.

    Attributes:
        model: The export with the learned weights, FP32.
        plan: What is INT8.
        ranges: Ranges of the plan's tensors; their method ``learned``.
        card: What the ranges began with.
    """

    model: onnx.ModelProto
    plan: Plan
    ranges: Ranges
    card: CardRecord
    record: TunedRecord


def learned_ranges(ranges: Ranges, intervals: Mapping[str, Interval]) -> Ranges:
    """The ranges of some tensors, with what was learned for each.

    Args:
        ranges: What was seen of these tensors, at least.
        intervals: Tensor to what INT8 represents of it.
    """
    tensors = {
        name: replace(
            ranges.tensors[name],
            amax={**ranges.tensors[name].amax, LEARNED: learned.amax},
            saturation={**ranges.tensors[name].saturation, LEARNED: 0.0},
            history={},
            centre=learned.centre,
        )
        for name, learned in intervals.items()
    }
    return replace(ranges, tensors=tensors, snapshots=())


def write_tuned(path: Path, tuned: Tuned) -> None:
    """Write a fine-tuned network, whole or not at all."""
    model = onnx.ModelProto()
    model.CopyFrom(tuned.model)
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(
        {
            "schema": SCHEMA,
            "plan": tuned.plan.to_dict(),
            "ranges": asdict(tuned.ranges),
            "card": plain(tuned.card),
            "record": plain(tuned.record),
        },
        sort_keys=True,
    )
    write_bytes_atomic(path, model.SerializeToString(deterministic=True))


def read_tuned(path: Path, graph: GraphFile) -> Tuned:
    """Read what ``mahtrt qat`` wrote.

    Args:
        graph: The export that it has to be of.

    Raises:
        ModelError: No such file, or of another export.
        SpecError: What it says of itself is damaged.
    """
    model = load_onnx(path)
    text = next((e.value for e in model.metadata_props if e.key == METADATA_KEY), None)
    if text is None:
        raise ModelError(
            str(path),
            got="an ONNX file without learned ranges",
            expected="one that mahtrt qat wrote",
        )
    where = f"{path}: {METADATA_KEY}"
    table = read_json(text, where, "a table")
    told = dataclass_from(_Told, table, where)
    check_schema(told.schema, SCHEMA, where)
    if told.record.export_sha256 != graph.sha256:
        raise ModelError(
            str(path),
            got=f"weights learned for the export {told.record.export_sha256[:16]}…",
            expected=f"{graph.path}, {graph.sha256[:16]}…",
            fix="Give the export that mahtrt qat was given, or run mahtrt qat again.",
        )
    if [n.SerializeToString() for n in model.graph.node] != [
        n.SerializeToString() for n in graph.proto.graph.node
    ]:
        raise ModelError(str(path), got="other nodes than the export has", expected="the same")
    plan = plan_from_table(told.plan, where)
    return Tuned(_without_record(model), plan, told.ranges, told.card, told.record)


@dataclass(frozen=True, slots=True)
class _Told:
    """The entry of the metadata."""

    schema: str
    plan: Any
    ranges: Ranges
    card: CardRecord
    record: TunedRecord


def _without_record(model: onnx.ModelProto) -> onnx.ModelProto:
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model
