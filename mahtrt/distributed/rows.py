"""A row for each image: what was found, where it comes from, and what made it; as Parquet.

Every landmark, label and quantity has columns of its own (``sella_x``), so that a query names them,
and a reader of one landmark reads no other. Numbers keep all their bits. Of an image with an error
everything that was found is null.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.errors import MahtrtError, UsageError, require
from mahtrt.measure.quantities import QuantityValue, Selection
from mahtrt.names import visible
from mahtrt.parsing import first_repeat
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.spec import ModelSpec

SCHEMA = "mahtrt.rows/1"
MOST_OF_MESSAGE = 500

_FACTS = {
    "schema": "string",
    "image": "string",
    "file": "string",
    "sha256": "string",
    "height_px": "int32",
    "width_px": "int32",
    "spacing_row_mm": "float64",
    "spacing_column_mm": "float64",
    "spacing_source": "string",
    "error": "string",
    "error_message": "string",
}
_MAKER = dict.fromkeys(("bundle", "bundle_sha256", "engine", "device", "mahtrt", "node"), "string")
_POINT = {"x": "float32", "y": "float32", "confidence": "float32", "spread_px": "float32"}
_LABEL = {"probability": "float32", "logit": "float32", "present": "bool"}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image beside what was found in it.

    Attributes:
        image: What the row is called, as ``mahtrt predict`` calls it.
        file: What its file is called: of one of several frames the name without the number.
        sha256: Digest of the file; "" where it cannot be read.
        size: (rows, columns) in pixels; None where it cannot be decoded.
    """

    image: str
    file: str
    sha256: str = ""
    size: tuple[int, int] | None = None
    spacing: SpacingChoice = field(default_factory=SpacingChoice)


@dataclass(frozen=True, slots=True)
class Maker:
    """What made a row: the same in all rows of a part."""

    bundle: str
    bundle_sha256: str
    engine: str
    device: str
    mahtrt: str
    node: str


class Columns:
    """The columns of a network's results.

    Args:
        spec: The network.
        selection: Clinical quantities, where they are measured.

    Raises:
        UsageError: The network gives only maps, or two columns would have one name.
    """

    def __init__(self, spec: ModelSpec, selection: Selection | None) -> None:
        self._landmarks = landmark_names(spec)
        labels = [output.labels for output in spec.outputs if output.kind == "logits"]
        self._labels = [name for names in labels for name in names]
        self._visibility = any(output.kind == "visibility" for output in spec.outputs)
        self._quantities = [(e.name, e.unit) for e in selection.definitions] if selection else []
        if not all(labels) or not (self._landmarks or self._labels):
            got = "labels without names" if labels else "only maps"
            raise UsageError(
                "--out", got=f"a network that gives {got}", expected="landmarks, or labels by name"
            )
        self.types = dict(self._types())
        if (twice := first_repeat(name for name, _ in self._types())) is not None:
            raise UsageError("--out", got=f"two columns {twice!r}", expected="one of each name")

    def _types(self) -> Iterator[tuple[str, str]]:
        yield from (*_FACTS.items(), *_MAKER.items(), ("when", "timestamp"))
        seen = {"visibility": "float32", "visible": "bool"} if self._visibility else {}
        for name in self._landmarks:
            for part, kind in {**_POINT, "two_peaks": "bool", **seen}.items():
                yield f"{name}_{part}", kind
        for name in self._labels:
            yield from ((f"{name}_{part}", kind) for part, kind in _LABEL.items())
        yield from ((f"{name}_{unit}", "float64") for name, unit in self._quantities)

    def row(
        self, facts: ImageFacts, found: Landmarks, quantities: Sequence[QuantityValue] = ()
    ) -> Row:
        """The row of an image in which something was found."""
        row = _facts(facts)
        for i, name in enumerate(found.names):
            row[f"{name}_x"], row[f"{name}_y"] = map(_number, found.points[i])
            row[f"{name}_confidence"] = _number(found.confidence[i])
            row[f"{name}_spread_px"] = _number(found.spread[i])
            if found.two_peaks is not None:
                row[f"{name}_two_peaks"] = bool(found.two_peaks[i])
            if found.visibility is not None and found.visible is not None:
                row[f"{name}_visibility"] = _number(found.visibility[i])
                row[f"{name}_visible"] = bool(found.visible[i])
        for labels in found.labels.values():
            told = zip(
                labels.names, labels.probabilities, labels.logits, labels.present, strict=True
            )
            for name, probability, logit, present in told:
                row[f"{name}_probability"], row[f"{name}_logit"] = map(
                    _number, (probability, logit)
                )
                row[f"{name}_present"] = bool(present)
        for each in quantities:
            row[f"{each.name}_{each.unit}"] = _number(each.value)
        return row

    def parquet(self, rows: Sequence[Row], maker: Maker, run: str) -> bytes:
        """A Parquet file of some rows.

        Args:
            run: What the file's metadata says of the run (:mod:`mahtrt.distributed.data_set`).
        """
        pa = require("pyarrow", extra="ray", needed_for="writing Parquet")
        kinds = {"timestamp": pa.timestamp("ms", "UTC"), "bool": pa.bool_()}
        fields = [
            pa.field(name, kinds.get(kind) or getattr(pa, kind)())
            for name, kind in self.types.items()
        ]
        schema = pa.schema(fields, {"mahtrt": run})
        made = {name: getattr(maker, name) for name in _MAKER}
        return parquet_of_table(pa.Table.from_pylist([{**row, **made} for row in rows], schema))


def parquet_of_table(table: Any) -> bytes:
    """A Parquet file of a table of rows."""
    pa, pq = (
        require(name, extra="ray", needed_for="writing Parquet")
        for name in ("pyarrow", "pyarrow.parquet")
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=list(_FACTS | _MAKER))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def error_row(facts: ImageFacts, kind: str, message: str) -> Row:
    """The row of an image in which nothing could be found."""
    told = visible(message)[:MOST_OF_MESSAGE]
    return {**_facts(facts), "error": kind, "error_message": told}


def row_of_error(facts: ImageFacts, error: Exception) -> Row:
    """The row of an image with an error; of one that is not ours the kind alone is told."""
    kind = type(error).__name__
    return error_row(facts, kind, str(error) if isinstance(error, MahtrtError) else kind)


def _facts(facts: ImageFacts) -> Row:
    size, spacing = facts.size or (None, None), facts.spacing.spacing_mm or (None, None)
    return {
        "schema": SCHEMA,
        "image": facts.image,
        "file": facts.file,
        "sha256": facts.sha256 or None,
        **dict(zip(("height_px", "width_px"), size, strict=True)),
        **dict(zip(("spacing_row_mm", "spacing_column_mm"), spacing, strict=True)),
        "spacing_source": facts.spacing.source or None,
        "when": datetime.datetime.now(datetime.UTC),
    }


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
