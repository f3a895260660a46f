"""Look into an ONNX file, a bundle or a TensorRT plan: what it is, and in which precision.

Nothing is executed and nothing is deserialised: a plan is code, and an ONNX file's weights are
only counted.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mahtrt.errors import DataError, UsageError
from mahtrt.graph.onnx_file import describe_onnx
from mahtrt.inspection.bundle import BundleSummary, describe_bundle
from mahtrt.inspection.plan_file import PlanSummary, describe_plan, looks_like_plan

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mahtrt.graph.describe import GraphSummary

SCHEMA = "mahtrt.inspect/1"

Kind = Literal["onnx", "bundle", "plan"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found; of ``graph``, ``bundle`` and ``plan`` the one that ``kind`` says is there.

    Attributes:
        name: The file's name, without its folder.
        size: In bytes; of a bundle, all its files.
        top: How many of the largest layers are shown.
    """

    kind: Kind
    name: str
    size: int
    top: int
    graph: GraphSummary | None = None
    bundle: BundleSummary | None = None
    plan: PlanSummary | None = None


def inspect_file(path: str | Path, *, top: int = 10, graphs: bool = False) -> Inspection:
    """Look into a file or bundle.

    Args:
        path: An ONNX file, a ``.mahtrt`` folder, or a TensorRT plan, in a bundle or on its own.
        top: How many of the largest layers to keep, by operations and by bytes.
        graphs: Of a bundle, also describe the ONNX of every precision.

    Raises:
        DataError: There is nothing at ``path``, or no bundle.
        ModelError: A file that is neither ONNX nor a plan, or is cut short.
        IntegrityError: A bundle that was changed, or is newer than this version reads.
        UsageError: A ``top`` below 1.
        MissingComponentError: An ONNX file without the onnx package.
    """
    path = Path(path)
    if top < 1:
        raise UsageError("--top", got=str(top), expected="at least 1")
    if path.is_dir():
        bundle = describe_bundle(path, graphs=graphs)
        return Inspection("bundle", path.resolve().name, bundle.bytes, top, bundle=bundle)
    if not path.is_file():
        raise DataError(
            str(path), got="no such file", expected="an ONNX file, a bundle or a TensorRT plan"
        )
    name, size = path.name, path.stat().st_size
    if looks_like_plan(path):
        return Inspection("plan", name, size, top, plan=describe_plan(path))
    return Inspection("onnx", name, size, top, graph=describe_onnx(path))


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """The JSON document of ``mahtrt inspect --json``."""
    graph, bundle, plan = inspection.graph, inspection.bundle, inspection.plan
    return {
        "schema": SCHEMA,
        "kind": inspection.kind,
        "name": inspection.name,
        "size": inspection.size,
        "graph": None if graph is None else graph.to_dict(inspection.top),
        "bundle": None if bundle is None else bundle.to_dict(inspection.top),
        "plan": None if plan is None else plan.to_dict(),
    }


def to_table(inspection: Inspection) -> RenderableType:
    """The same for a terminal."""
    from mahtrt.verbs.inspection_tables import tables_of

    return tables_of(inspection)


def to_text(inspection: Inspection, *, width: int = 120) -> str:
    """:func:`to_table` as plain text."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(
        to_table(inspection)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
