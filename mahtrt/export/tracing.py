"""A PyTorch network as a graph: what torch.onnx.export is asked for, and nothing else."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
import torch
from torch import Tensor, nn

from mahtrt.errors import ModelError
from mahtrt.models.outputs import named_outputs
from mahtrt.models.wrapping import WRAPPED, device_of, empty_images, evaluating
from mahtrt.spec import ModelSpec

# Gelu is one node from 20 on; what comes after 22 no engine builder reads yet.
OPSETS = range(20, 23)

# A protobuf message cannot be larger; the rest is room for the graph itself.
MAX_WEIGHT_BYTES = (1 << 31) - (1 << 24)


class SpecOutputs(nn.Module):
    """A network whose forward returns the spec's outputs, in order, and nothing else.

    What is not in the spec, such as an auxiliary training branch, has no use in the graph then
    and disappears with its weights.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        setattr(self, WRAPPED, module)
        self.mahtrt_spec = spec

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        returned = getattr(self, WRAPPED)(*images)
        return tuple(named_outputs(returned, self.mahtrt_spec).values())


def trace(module: nn.Module, spec: ModelSpec, *, batch: int, opset: int) -> ir.Model:
    """The graph of a network in eval mode, with static shapes.

    Args:
        module: The network; its mode is put back afterwards.
        spec: Input size and outputs.
        batch: Batch size of the graph.
        opset: ONNX opset, one of ``OPSETS``.

    Raises:
        ModelError: The network cannot be traced.
    """
    images = empty_images(spec, batch, device_of(module))
    try:
        with evaluating(module), torch.no_grad(), warnings.catch_warnings(), _collector_off():
            # The exporter warns about its own internals; there is nothing a user can do.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                SpecOutputs(module, spec).eval(),
                images,
                dynamo=True,
                opset_version=opset,
                input_names=[each.name for each in spec.inputs],
                output_names=[output.name for output in spec.outputs],
                optimize=False,  # mahtrt.export.passes does, in an order of its own
                verbose=False,
            )
    except RuntimeError as error:
        raise ModelError(
            f"network {spec.family}",
            got=_cause(error),
            expected="a forward pass that torch.export can trace",
            fix="Keep Python control flow in forward() independent of tensor values.",
        ) from error
    assert program is not None
    return program.model


@contextmanager
def _collector_off() -> Iterator[None]:
    """Tracing makes millions of objects that stay: looking through them takes a fifth of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def check_weights(module: nn.Module) -> None:
    """Refuse weights that are not float32 or do not fit into one ONNX file.

    Raises:
        ModelError: Weights of another floating type, or 2 GB of them.
    """
    size = 0
    for name, tensor in module.state_dict(keep_vars=True).items():
        size += tensor.numel() * tensor.element_size()
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ModelError(
                f"weight {name}",
                got=str(tensor.dtype).removeprefix("torch."),
                expected="float32",
                fix="Load the checkpoint into a float32 network: precision is chosen at build.",
            )
    check_size(size)


def check_size(weight_bytes: int) -> None:
    """Refuse weights that do not fit into one ONNX file.

    Raises:
        ModelError: Too large.
    """
    if weight_bytes > MAX_WEIGHT_BYTES:
        raise ModelError(
            "weights",
            got=f"{weight_bytes / 1e9:.2f} GB",
            expected=f"at most {MAX_WEIGHT_BYTES / 1e9:.2f} GB in one ONNX file",
            fix="Export a smaller variant; weights beside the ONNX file are not supported.",
        )


def _cause(error: BaseException) -> str:
    """The innermost error in one line: the exporter wraps the real one in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
