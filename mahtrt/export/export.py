"""The verb ``export``: a network by its name, and its weights, to an ONNX file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, Unannotated
from mahtrt.errors import require
from mahtrt.export.options import ExportOptions
from mahtrt.models.reference import load_model
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.expectation.check import check_expectation, check_options, read_expected
from mahtrt.runtime.expectation.fp32 import open_graph
from mahtrt.runtime.session import Session

if TYPE_CHECKING:
    from mahtrt.export.onnx import ExportResult
    from mahtrt.runtime.expectation.records import ImageParity
    from mahtrt.spec import ModelSpec

PARITY_IMAGES = 8
EXAMPLES = ":4@3"  # of synthetic DATA


def export(options: ExportOptions, progress: StageProgress = silent) -> ExportResult:
    """Export a network to ONNX with static shapes, and prove parity with PyTorch.

    A network that is a module in memory goes through :func:`mahtrt.export.onnx.export_onnx`.

    Raises:
        UsageError: An opset, batch, path or graph pass that cannot be, or a foreign network
            without a spec.
        ModelError: The network cannot be built, run, traced or written, or does not fit its spec.
        CheckpointError: The checkpoint cannot be read, or does not fit.
        DataError: No image for parity.
        ParityError: The graph's outputs are too far from PyTorch's (exit 3).
        ExpectationError: Its landmarks are not those that the user's own pipeline gave (exit 3).
        MissingComponentError: PyTorch or a package that exports is not installed.
    """
    check_options(options.expect, options.data, options.expect_px)
    require("torch", extra="export", needed_for="export")
    from mahtrt.export.onnx import OnnxOptions, export_onnx

    progress("building the network", 0, 0)
    module, spec = load_model(options.model)
    images = NetworkTensors(_parity_data(options, spec), spec)
    asked = OnnxOptions(
        out=options.out,
        images=list(images),
        source=options.model.to_dict(),
        opset=options.opset,
        batch=options.batch,
        skip_passes=options.skip_passes,
        compare=_comparison(options, spec, progress),
    )
    return export_onnx(module, spec, asked, functools.partial(progress, "exporting"))


def _comparison(
    options: ExportOptions, spec: ModelSpec, progress: StageProgress
) -> Callable[[bytes], ImageParity] | None:
    """What compares the graph with the user's predictions, which are read before the export."""
    if options.expect is None or options.data is None:
        return None
    expected = read_expected(options.expect, options.data, spec, options.expect_px)

    def compare(data: bytes) -> ImageParity:
        with Session(open_graph(data, spec), spec) as session:
            what = f"the exported graph in {session.name}"
            return check_expectation(session, expected, progress, what=what)

    return compare


def _parity_data(options: ExportOptions, spec: ModelSpec) -> Dataset:
    """The caller's DATA; else synthetic cases, of the kind that the family names."""
    from mahtrt.models.families import example_data, is_known

    if options.data is not None:
        return open_dataset(options.data, limit=PARITY_IMAGES, inputs=spec.input_names)
    if is_known(options.model.model):
        return open_dataset(example_data(options.model.model) + EXAMPLES)
    return Unannotated(open_dataset(f"phantom{EXAMPLES}"), len(spec.inputs))
