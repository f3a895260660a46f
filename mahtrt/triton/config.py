"""``config.pbtxt``: what Triton is told of a model, as the text form of its protocol buffer.

The fields are those of ``inference.ModelConfig`` (``model_config.proto`` of Triton's repository
``common``); its user guide explains them under "Model Configuration".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

DataType = Literal[
    "TYPE_BOOL", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "TYPE_UINT8", "TYPE_UINT16"
]
InstanceKind = Literal["KIND_CPU", "KIND_GPU"]

_PLAIN = frozenset(range(0x20, 0x7F)) - {ord('"'), ord("\\")}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        dims: Shape without the batch, -1 where it varies.
        optional: Whether a request may leave it out.
        ragged: Whether requests whose shapes differ may come in one batch.
        labels: File with a name for each number of an output; "" without.
    """

    name: str
    data_type: DataType
    dims: tuple[int, ...]
    optional: bool = False
    ragged: bool = False
    labels: str = ""

    def of_several(self, count: int = -1) -> Tensor:
        """The tensor with the number of images as first dimension."""
        return replace(self, dims=(count, *self.dims), ragged=False)


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """Where an input of a warm-up request is read from: a file in the model's folder ``warmup``."""

    tensor: Tensor
    file: str


@dataclass(frozen=True, slots=True)
class Step:
    """A model of an ensemble; maps go from the model's tensors to the ensemble's."""

    model: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model as Triton is told of it.

    Attributes:
        backend: Name of the backend; "" for an ensemble.
        max_batch_size: Largest first dimension of a request; 0 where ``dims`` are whole shapes.
        file: The file that the backend opens; "" for the backend's default.
        instances: How many run at a time; 0 leaves it to Triton (an ensemble has none).
        queue_delay_us: How long Triton may wait to fill a batch; None without dynamic batching.
        parameters: What the backend is told besides.
        warmups: Requests before the model is ready, each with its inputs.
        steps: The models of an ensemble.
    """

    name: str
    backend: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 0
    file: str = ""
    instances: int = 1
    kind: InstanceKind = "KIND_CPU"
    queue_delay_us: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    warmups: tuple[tuple[WarmupInput, ...], ...] = ()
    steps: tuple[Step, ...] = ()

    def to_text(self) -> str:
        """The content of ``config.pbtxt``."""
        return "\n".join(_lines(self)) + "\n"


def _lines(config: ModelConfig) -> Iterator[str]:
    yield f"name: {_quoted(config.name)}"
    yield f"backend: {_quoted(config.backend)}" if config.backend else 'platform: "ensemble"'
    yield f"max_batch_size: {config.max_batch_size}"
    if config.file:
        yield f"default_model_filename: {_quoted(config.file)}"
    for tensor in config.inputs:
        yield from _block("input", _tensor_lines(tensor))
    for tensor in config.outputs:
        yield from _block("output", _tensor_lines(tensor))
    if config.instances:
        gpus = ["gpus: 0"] if config.kind == "KIND_GPU" else []
        facts = (f"count: {config.instances}", f"kind: {config.kind}", *gpus)
        yield from _block("instance_group", iter(facts))
    if config.queue_delay_us is not None:
        delay = f"max_queue_delay_microseconds: {config.queue_delay_us}"
        yield from _block("dynamic_batching", iter([delay]))
    for key, value in config.parameters.items():
        text = f"value {{ string_value: {_quoted(value)} }}"
        yield from _block("parameters", iter([f"key: {_quoted(key)}", text]))
    for number, inputs in enumerate(config.warmups):
        yield from _block("model_warmup", _warmup_lines(number, inputs, config.max_batch_size))
    if config.steps:
        steps = (line for step in config.steps for line in _block("step", _step_lines(step)))
        yield from _block("ensemble_scheduling", steps)


def _tensor_lines(tensor: Tensor) -> Iterator[str]:
    yield f"name: {_quoted(tensor.name)}"
    yield f"data_type: {tensor.data_type}"
    yield f"dims: [ {', '.join(map(str, tensor.dims))} ]"
    if tensor.optional:
        yield "optional: true"
    if tensor.ragged:
        yield "allow_ragged_batch: true"
    if tensor.labels:
        yield f"label_filename: {_quoted(tensor.labels)}"


def _warmup_lines(number: int, inputs: tuple[WarmupInput, ...], max_batch: int) -> Iterator[str]:
    yield f'name: "golden-{number}"'
    yield f"batch_size: {1 if max_batch else 0}"
    for each in inputs:
        dims = ", ".join(map(str, each.tensor.dims))
        value = (f"data_type: {each.tensor.data_type}", f"dims: [ {dims} ]",
                 f"input_data_file: {_quoted(each.file)}")  # fmt: skip
        facts = [f"key: {_quoted(each.tensor.name)}", *_block("value", iter(value))]
        yield from _block("inputs", iter(facts))


def _step_lines(step: Step) -> Iterator[str]:
    yield f"model_name: {_quoted(step.model)}"
    yield f"model_version: {step.version}"
    for name, mapping in (("input_map", step.inputs), ("output_map", step.outputs)):
        for key, value in mapping.items():
            yield from _block(name, iter([f"key: {_quoted(key)}", f"value: {_quoted(value)}"]))


def _block(name: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"{name} {{"
    yield from (f"  {line}" for line in lines)
    yield "}"


def _quoted(text: str) -> str:
    """A text of the text form: what is no plain ASCII as octal bytes of UTF-8."""
    plain = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'
