"""The ONNX graph against the PyTorch network, per output, on real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mahtrt.bundle.origin import ParityRowRecord
from mahtrt.data.feed import Feed, batches
from mahtrt.errors import GateError, MissingComponentError, ModelError, require
from mahtrt.export.rounding import reason_of_rounding
from mahtrt.models.outputs import check_outputs, named_outputs
from mahtrt.models.wrapping import device_of, evaluating
from mahtrt.openvino_core import shared_core
from mahtrt.runtime.decode import points_px
from mahtrt.spec import ModelSpec, OutputSpec
from mahtrt.targets.onnxruntime.run import open_onnx

Array = NDArray[np.float32]

LANDMARK_TOLERANCE_PX = 0.01
RELATIVE_TOLERANCE = 1e-3
ADVICE = (
    "Train the network first, scale its heatmaps down, or raise decode.temperature in the spec."
)


@dataclass(frozen=True, slots=True)
class ParityTable:
    """All outputs compared, and with what.

    Attributes:
        reason: Why it fails, where rounding of the heatmaps is all that moves the landmarks.
    """

    rows: tuple[ParityRowRecord, ...]
    images: int
    runtime: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.rows]
        told = {"rows": rows, "images": self.images, "runtime": self.runtime, "passed": self.passed}
        return {**told, "reason": self.reason} if self.reason else told


class ParityError(GateError):
    """The ONNX graph does not compute what the PyTorch network does; ``table`` says how far."""

    def __init__(self, family: str, table: ParityTable) -> None:
        worst = max(
            (row for row in table.rows if not row.passed),
            key=lambda row: row.error / row.tolerance if row.error == row.error else np.inf,
        )
        because = f", since {table.reason}" if table.reason else ""
        super().__init__(
            f"parity of {family}, output {worst.output!r}",
            got=f"an error of {worst.error:.3g} {worst.unit}{because}",
            expected=f"at most {worst.tolerance:g} {worst.unit}",
            fix=f"No file was written. {ADVICE}" if table.reason else "No file was written.",
        )
        self.table = table


def reference_outputs(
    module: nn.Module, spec: ModelSpec, images: Sequence[Feed], batch: int
) -> dict[str, Array]:
    """What PyTorch eager gives for the images, by output.

    Raises:
        ModelError: The network fails on the spec's input, or its outputs do not fit the spec.
    """
    parts: list[dict[str, Array]] = []
    device = device_of(module)
    with evaluating(module), torch.no_grad():
        for feed, real in batches(images, batch):
            tensors = [torch.from_numpy(feed[each.name]).to(device) for each in spec.inputs]
            try:
                returned = module(*tensors)
            except Exception as error:
                raise ModelError(
                    f"network {spec.family}",
                    got=f"{type(error).__name__}: {_first_line(error)}",
                    expected="a forward pass on input of shape "
                    + " and ".join(str(tuple(tensor.shape)) for tensor in tensors),
                    fix="Check size and channels of the inputs in the spec.",
                ) from error
            outputs = named_outputs(returned, spec)
            check_outputs(outputs, spec, batch)
            parts.append({name: out[:real].cpu().numpy() for name, out in outputs.items()})
    return _joined(parts)


def onnx_outputs(
    model: bytes, spec: ModelSpec, images: Sequence[Feed], batch: int
) -> tuple[dict[str, Array], str]:
    """What the ONNX graph gives in FP32 on the CPU, by output, and the runtime's name."""
    run, runtime = _open(model, spec)
    parts = [
        {name: out[:real] for name, out in run(feed).items()}
        for feed, real in batches(images, batch)
    ]
    return _joined(parts), runtime


def compare(
    reference: dict[str, Array], got: dict[str, Array], spec: ModelSpec, *, runtime: str
) -> ParityTable:
    """Compare two sets of outputs, by the kinds of the spec.

    Raises:
        ModelError: An output has another shape.
    """
    rows = [_row(output, reference[output.name], got[output.name], spec) for output in spec.outputs]
    reason = ""
    if all(row.passed or row.kind in ("landmarks", "spread") for row in rows):
        reason = reason_of_rounding(reference, got, spec, LANDMARK_TOLERANCE_PX)
    return ParityTable(tuple(rows), len(next(iter(reference.values()))), runtime, reason)


def _row(output: OutputSpec, reference: Array, got: Array, spec: ModelSpec) -> ParityRowRecord:
    if reference.shape != got.shape:
        raise ModelError(
            f"output {output.name!r} of the ONNX graph",
            got=f"shape {got.shape}",
            expected=f"shape {reference.shape}, as PyTorch gives",
        )
    if output.kind == "landmarks":
        reference, got = (points_px(array, output, spec) for array in (reference, got))
    difference = np.abs(got.astype(np.float64) - reference)
    worst, mean = float(difference.max(initial=0.0)), float(difference.mean())
    unit: Literal["px", "relative"] = "px"
    error, tolerance = worst, LANDMARK_TOLERANCE_PX
    if output.kind != "landmarks":
        magnitude = float(np.abs(reference).max(initial=0.0)) or 1.0
        unit, error, tolerance = "relative", worst / magnitude, RELATIVE_TOLERANCE
    passed = error <= tolerance  # False for NaN
    return ParityRowRecord(output.name, output.kind, unit, worst, mean, error, tolerance, passed)


def _open(model: bytes, spec: ModelSpec) -> tuple[Any, str]:
    """A function from feed to outputs by name, and the name of what runs it."""
    try:
        runtime = require("onnxruntime", extra="cpu", needed_for="parity")
    except MissingComponentError:
        return _open_openvino(model)
    session = open_onnx(model, "the exported graph", threads=torch.get_num_threads())
    names = [output.name for output in session.get_outputs()]

    def run(feed: Feed) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return run, f"onnxruntime {runtime.__version__}"


def _open_openvino(model: bytes) -> tuple[Any, str]:
    openvino = require("openvino", extra="", needed_for="parity")
    core = shared_core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", hint)

    def run(feed: Feed) -> dict[str, Array]:
        results = compiled(dict(feed))
        return {port.any_name: np.array(results[port]) for port in compiled.outputs}

    return run, f"openvino {openvino.__version__.split('-')[0]}"


def _joined(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no message").strip()
