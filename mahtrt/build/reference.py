"""What the engines of a build are held against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mahtrt.benchmarks.reference import Reference, open_export, torch_as_reference
from mahtrt.build.graphs import Graphs
from mahtrt.build.request import Request
from mahtrt.bundle.origin import ParityRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.graph.graph_file import GraphFile
from mahtrt.models.reference import ModelSource
from mahtrt.reading import Content
from mahtrt.spec import ModelSpec
from mahtrt.targets.graph_kinds import Fp32


@contextlib.contextmanager
def open_reference(request: Request, graphs: Graphs) -> Iterator[Reference]:
    """Open PyTorch where its weights and code are at hand, else the FP32 export.

    Raises:
        MissingComponentError: The reference that was asked for needs a package.
        CheckpointError: It is another one than what was exported.
    """
    reference = _reference(request, graphs)
    try:
        yield reference
    finally:
        reference.contender.session.close()


def _reference(request: Request, graphs: Graphs) -> Reference:
    options, graph = request.options, replace(request.graph, path=graphs.models[Fp32()])
    beside = options.onnx.resolve().parent
    return reference_of(graph, beside, options.reference, options.model, options.threads)


def reference_of(
    graph: GraphFile,
    beside: Path,
    checkpoint: Path | None,
    model: ModelSource | None,
    threads: int | None,
) -> Reference:
    """PyTorch where its weights and code are at hand, else the FP32 export.

    Args:
        beside: Folder in which weights are looked for, as they are in the current one.
        checkpoint: Weights that the caller names.
        model: A foreign network's code.

    Raises:
        MissingComponentError, CheckpointError: As :func:`open_reference`.
    """
    from mahtrt.models.reference import find_reference

    folders = (beside, Path.cwd())
    found = find_reference(
        graph.spec, graph.source, checkpoint=checkpoint, model=model, folders=folders
    )
    if found is None:
        return export_as_reference(graph.path, graph.spec, graph.parity, threads)
    return torch_as_reference(found, graph.spec, graph.batch, threads)


def export_as_reference(
    onnx: Content,
    spec: ModelSpec,
    parity: ParityRecord | None,
    threads: int | None,
    preprocess_version: int = PREPROCESS_VERSION,
) -> Reference:
    """The FP32 export, where PyTorch is not at hand.

    Args:
        parity: How near the export is to PyTorch, where that is known.
        preprocess_version: The definition of preprocessing of the engines it is compared with.
    """
    contender = open_export(onnx, spec, threads, "reference", preprocess_version)
    moved = [row.max_abs for row in (parity.rows if parity else ()) if row.kind == "landmarks"]
    known = f", {max(moved):.2g} px from PyTorch at export" if moved else ""
    through = f"the FP32 export through {contender.backend}{known}"
    return Reference(contender, f"{through}; PyTorch weights were not at hand")
