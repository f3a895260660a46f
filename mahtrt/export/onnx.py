"""A PyTorch network to ``model.onnx``: traced, rewritten, checked against PyTorch, written.

The file exists only if everything before it succeeded.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from torch import nn

from mahtrt.atomic import write_bytes_atomic
from mahtrt.data.feed import Feed
from mahtrt.destination import check_output
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import DataError, ModelError, UsageError
from mahtrt.export.parity import ParityError, ParityTable, compare, onnx_outputs, reference_outputs
from mahtrt.export.passes.pipeline import (
    export_passes,
    optimization_passes,
    optimizations_applied,
    run_passes,
)
from mahtrt.export.tracing import OPSETS, check_size, check_weights, trace
from mahtrt.runtime.expectation.records import ImageParity
from mahtrt.schema import plain
from mahtrt.spec import ModelSpec

SPEC_KEY, SOURCE_KEY, PARITY_KEY = "mahtrt.spec", "mahtrt.source", "mahtrt.parity"
PASSES = "graph_passes"  # in the provenance: which optimizations changed the graph

_STAGES = (
    "running PyTorch",
    "tracing",
    "rewriting the graph",
    "comparing with PyTorch",
    "writing",
)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written, and how near it is to PyTorch.

    Attributes:
        path: The ONNX file.
        sha256: Of its bytes.
        spec: As it is inside the file.
        parity: Per output.
        changes: How many places each graph pass changed.
        expectation: How near the graph is to the user's own pipeline, from the image file to the
            landmark in it; None where no predictions were given.
    """

    path: Path
    sha256: str
    spec: ModelSpec
    parity: ParityTable
    changes: Mapping[str, int]
    expectation: ImageParity | None = None


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """How a network in memory becomes a file.

    Attributes:
        out: Where the file goes; replaced when it exists. Its folder is made when missing.
        images: Preprocessed cases for parity, at least one, each input (C, H, W); real ones.
        source: Provenance, embedded as JSON: model reference, checkpoint and its SHA-256, ….
        opset: ONNX opset.
        batch: Batch size of the graph, static.
        skip_passes: Optimizations to leave out, of
            :func:`mahtrt.export.passes.pipeline.optimization_passes`. The provenance names what
            was changed and what was skipped.
        compare: Compares the graph, given as the file's content, with the user's own pipeline, and
            raises where they differ; no file is written then.
    """

    out: Path
    images: Sequence[Feed]
    source: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 20
    batch: int = 1
    skip_passes: Sequence[str] = ()
    compare: Callable[[bytes], ImageParity] | None = None


def export_onnx(
    module: nn.Module,
    spec: ModelSpec,
    options: OnnxOptions,
    progress: Callable[[int, int, str], None] | None = None,
) -> ExportResult:
    """Export a network, and prove that the file computes what PyTorch computes.

    Args:
        module: Takes (B, C, H, W) float32; returns the spec's outputs as a dict, or a tensor,
            tuple or list in their order. Run in eval mode; its own mode is put back.
        spec: Embedded in the file.
        progress: Called with (stages done, stages in all, the one that follows).

    Raises:
        UsageError: An opset, batch, path or graph pass that cannot be.
        DataError: No image, or one of another shape.
        ModelError: The network cannot be run, traced or written, or does not fit the spec.
        ParityError: The graph's outputs are too far from PyTorch's (exit 3).
        ExpectationError: Its landmarks are not those of the user's own pipeline (exit 3).
    """
    stages = itertools.count()

    def tell() -> None:
        done = next(stages)
        if progress is not None:
            progress(done, len(_STAGES), _STAGES[done] if done < len(_STAGES) else "")

    tell()
    _check_options(options, spec)
    passes, images, batch = export_passes(options.skip_passes), options.images, options.batch
    check_weights(module)
    reference = reference_outputs(module, spec, images, batch)
    tell()
    graph = trace(module, spec, batch=batch, opset=options.opset)
    tell()
    changes = run_passes(graph, passes)
    applied = optimizations_applied(changes, options.skip_passes)
    proto = _proto(graph, spec, {**options.source, PASSES: applied})
    data = _to_bytes(proto)
    _check_graph(data, spec)
    tell()
    got, runtime = onnx_outputs(data, spec, images, batch)
    parity = compare(reference, got, spec, runtime=runtime)
    if not parity.passed:
        raise ParityError(spec.family, parity)
    tell()
    expectation = None if options.compare is None else options.compare(data)
    _set_metadata(proto, PARITY_KEY, parity.to_dict())
    data = _to_bytes(proto)
    write_bytes_atomic(options.out, data)
    tell()
    return ExportResult(options.out, sha256_of_bytes(data), spec, parity, changes, expectation)


def plain_onnx(module: nn.Module, spec: ModelSpec, *, batch: int = 1, opset: int = 20) -> bytes:
    """A network as ONNX without any rewrite for speed, in memory: what a user's own export gives.

    Raises:
        ModelError: The network cannot be traced or written.
    """
    graph = trace(module, spec, batch=batch, opset=opset)
    run_passes(graph, export_passes(tuple(optimization_passes())))
    return _to_bytes(_proto(graph, spec, {}))


def _check_options(options: OnnxOptions, spec: ModelSpec) -> None:
    """Refuse what would only fail after minutes of work."""
    if options.opset not in OPSETS:
        expected = f"{OPSETS[0]} to {OPSETS[-1]}"
        raise UsageError("--opset", got=str(options.opset), expected=expected)
    if options.batch < 1:
        raise UsageError("--batch", got=str(options.batch), expected="at least 1")
    if options.out.is_dir():
        raise UsageError(str(options.out), got="a directory", expected="a path for the ONNX file")
    check_output(options.out)
    if not options.images:
        raise DataError(
            "images for parity", got="none", expected="at least one", fix="Give --data with images."
        )
    wanted = {each.name: (each.channels, *each.size) for each in spec.inputs}
    for index, feed in enumerate(options.images):
        shapes = {name: image.shape for name, image in feed.items()}
        types = {image.dtype.name for image in feed.values()}
        if shapes != wanted or types != {"float32"}:
            raise DataError(
                f"parity image {index}",
                got=f"shapes {shapes} of {', '.join(sorted(types))}",
                expected=f"{wanted} of float32, as mahtrt.data.feed gives",
            )


def _proto(graph: ir.Model, spec: ModelSpec, source: Mapping[str, Any]) -> onnx.ModelProto:
    """The graph as protobuf, with spec and provenance inside."""
    constants = (value.const_value for value in graph.graph.initializers.values())
    check_size(sum(constant.nbytes for constant in constants if constant is not None))
    proto = ir.to_proto(graph)
    _set_metadata(proto, SPEC_KEY, spec.to_dict())
    _set_metadata(proto, SOURCE_KEY, source)
    return proto


def _check_graph(data: bytes, spec: ModelSpec) -> None:
    """Refuse a graph that is not valid in the strictest sense, shape inference included."""
    try:
        # Bytes, not the message: that one would be serialized again, weights and all.
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"exported graph of {spec.family}",
            got=str(error).strip().splitlines()[0],
            expected="a graph that passes onnx.checker",
            fix="This is a defect of mahtrt: please report it with the model.",
        ) from error


def _set_metadata(proto: onnx.ModelProto, key: str, value: Mapping[str, Any]) -> None:
    entry = proto.metadata_props.add()
    entry.key = key
    entry.value = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def _to_bytes(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))
