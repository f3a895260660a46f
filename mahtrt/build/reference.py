"""What the engines of a build are held against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mahtrt.benchmarks.compare import Contender
from mahtrt.build.engines import BuiltEngine
from mahtrt.build.graphs import Graphs
from mahtrt.build.request import Request
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.origin import ParityRecord
from mahtrt.machine import package_versions
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.graph_kinds import Fp32
from mahtrt.targets.table import reference_target


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """An open reference, and what it is in words."""

    contender: Contender
    described: str


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
    from mahtrt.models.reference import find_reference

    options, graph = request.options, request.graph
    found = find_reference(
        graph.spec,
        graph.source,
        checkpoint=options.reference,
        model=options.model,
        folders=(options.onnx.resolve().parent, Path.cwd()),
        batch=graph.batch,
    )
    if found is None:
        return export_as_reference(graphs.models[Fp32()], graph.spec, graph.parity, options.threads)
    backend, weights = found
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    described = f"PyTorch {package_versions().get('torch', '')} eager fp32 ({weights})"
    return Reference(_contender("pytorch", Session(backend, graph.spec)), described)


def export_as_reference(
    onnx: Path, spec: ModelSpec, parity: ParityRecord | None, threads: int | None
) -> Reference:
    """The FP32 export, where PyTorch is not at hand.

    Args:
        parity: How near the export is to PyTorch, where that is known.
    """
    target = reference_target()
    record = EngineRecord("reference", target, "fp32", {"onnx": onnx.name})
    session = BuiltEngine(record, {"onnx": onnx}).open(spec, threads)
    moved = [row.max_abs for row in (parity.rows if parity else ()) if row.kind == "landmarks"]
    known = f", {max(moved):.2g} px from PyTorch at export" if moved else ""
    return Reference(
        _contender(target, session),
        f"the FP32 export through {target}{known}; PyTorch weights were not at hand",
    )


def _contender(backend: str, session: Session) -> Contender:
    return Contender("reference", backend, "fp32", session.batch, session, is_reference=True)
