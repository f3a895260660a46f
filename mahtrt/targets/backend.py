"""The seam between a session and what runs the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Feed
from mahtrt.errors import IntegrityError, ModelError
from mahtrt.reading import Content
from mahtrt.spec import ModelSpec, OutputSpec

if TYPE_CHECKING:
    from mahtrt.cuda.pool import SlotPool

Tensor = NDArray[np.float32]
CPU = "cpu"  # what a backend calls its device


def compile_here(target: str) -> str:
    """What to do about an engine that this host cannot run, or runs wrongly."""
    return f"Compile it for this host: mahtrt compile BUNDLE --target {target}."


@dataclass(frozen=True, slots=True)
class EngineToOpen:
    """An engine of a bundle, with what opening it takes.

    Attributes:
        files: Role to file.
        threads: Threads of one inference; None leaves their number to the runtime. With several
            streams, of all of them together.
        streams: How many inferences are to run at a time. A runtime that runs one after the other
            by itself is told; others need nothing.
    """

    record: EngineRecord
    files: Mapping[str, Content]
    spec: ModelSpec
    threads: int | None = None
    streams: int = 1

    def file(self, role: str) -> Content:
        """One of the files.

        Raises:
            IntegrityError: The record names no file of this role.
        """
        if role not in self.files:
            raise IntegrityError(
                f"engine {self.record.name}",
                got=f"files {', '.join(self.files) or 'none'}",
                expected=f"one of role {role}",
            )
        return self.files[role]


class Backend(Protocol):
    """Runs a network on preprocessed tensors.

    Attributes:
        name: What reports call it, e.g. ``openvino-int8``.
        batch: Images per inference; :meth:`infer` takes exactly so many.
        device: What computes: ``cpu``, or ``cuda:`` with the GPU's number and name.
    """

    name: str
    batch: int
    device: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about this one."""

    @property
    def threads(self) -> int | None:
        """Threads of one inference; None where the runtime does not say, or a GPU computes."""

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Run the network. Safe to call from several threads at once.

        Args:
            feed: Each input by name, (batch, C, H, W) float32, C-contiguous.
            outputs: Names of the outputs wanted; None means all.

        Returns:
            Output name to array, owned by the caller.
        """

    def close(self) -> None:
        """Release what the backend holds; calls under way end well."""


def pool_of(backend: Backend) -> SlotPool | None:
    """The slots of an engine on a GPU; None where the engine runs on a CPU."""
    pool: SlotPool | None = getattr(backend, "pool", None)
    return pool


class DeviceClock(Protocol):
    """What a backend on a GPU also has, where it can tell how long the GPU took."""

    def device_ms(self, feed: Feed) -> float:
        """Run the network once, and tell its milliseconds by two events of the GPU.

        The inputs are on the GPU before the first event, and the outputs stay there: no copy is
        counted.

        Args:
            feed: As for :meth:`Backend.infer`.
        """


def check_interface(
    subject: str,
    spec: ModelSpec,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> int:
    """Compare an opened network with its spec.

    Args:
        inputs: Input name to shape.
        outputs: Output name to shape.

    Returns:
        The batch size.

    Raises:
        ModelError: Other inputs, or an output of the spec that is missing or has too few or too
            many numbers for its kind.
    """
    wanted = {each.name: (each.channels, *each.size) for each in spec.inputs}
    batches = {shape[0] if shape else None for shape in inputs.values()}
    if {name: tuple(shape[1:]) for name, shape in inputs.items()} != wanted or len(batches) > 1:
        found = ", ".join(f"{key} {tuple(shape)}" for key, shape in inputs.items())
        expected = ", ".join(
            f"{name} (batch, {', '.join(map(str, shape))})" for name, shape in wanted.items()
        )
        raise ModelError(subject, got=f"input {found}", expected=expected)
    missing = [output.name for output in spec.outputs if output.name not in outputs]
    if missing:
        raise ModelError(
            subject,
            got=f"outputs {', '.join(outputs)}",
            expected=f"also {', '.join(missing)}, as the spec says",
        )
    batch = int(inputs[spec.input.name][0])
    for output in spec.outputs:
        _check_size(subject, spec, output, batch, outputs[output.name])
    return batch


# Numbers of each landmark in the outputs of these kinds.
_PER_LANDMARK = {"landmarks": 2, "confidence": 1, "spread": 1, "visibility": 1}


def _check_size(
    subject: str, spec: ModelSpec, output: OutputSpec, batch: int, shape: Sequence[int]
) -> None:
    static = all(isinstance(size, int) for size in shape)
    count, what = _numbers(spec, output)
    if count is None:
        fits, expected = static and bool(shape) and shape[0] == batch, f"static, {batch} first"
    else:
        fits, expected = static and math.prod(shape) == batch * count, f"{what}, batch {batch}"
    if not fits:
        got = f"output {output.name} of shape {tuple(shape)}"
        raise ModelError(subject, got=got, expected=expected)


def _numbers(spec: ModelSpec, output: OutputSpec) -> tuple[int | None, str]:
    """How many numbers of a case an output holds, and of what; None where any will do."""
    if output.kind == "logits" and output.labels:
        return len(output.labels), f"1 of each of {len(output.labels)} labels"
    is_read = output.kind == "visibility" or spec.decode.method != "none"
    if output.kind not in _PER_LANDMARK or not is_read:
        return None, ""
    each = _PER_LANDMARK[output.kind]
    return each * spec.num_landmarks, f"{each} of each of {spec.num_landmarks} landmarks"


def failed_to_run(name: str, reason: str) -> ModelError:
    """The error about a network that could be opened, and fails when it runs."""
    return ModelError(
        f"engine {name}",
        got=reason,
        expected="a network that runs",
        fix="Build the bundle again.",
    )
