"""What backends on a GPU have in common: their inferences go through the slots of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mahtrt.cuda.device import CudaDevice, gpu_label
from mahtrt.cuda.holding import DeviceResult, Pending
from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.data.feed import Feed
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Tensor, check_interface


class PoolBackend:
    """See :class:`mahtrt.targets.backend.Backend`. A subclass makes the pool.

    Attributes:
        pool: Its slots.
    """

    pool: SlotPool
    threads: int | None = None  # a GPU computes

    def __init__(
        self, name: str, device: CudaDevice, spec: ModelSpec, tensors: Sequence[DeviceTensor]
    ) -> None:
        """Hold an engine against its spec.

        Args:
            tensors: What goes into a slot and comes out of it.

        Raises:
            ModelError: Inputs and outputs are not those of the spec.
        """
        self.name, self.device = name, gpu_label(device.ordinal, device.name)
        inputs = {each.name: each.shape for each in tensors if each.is_input}
        outputs = {each.name: each.shape for each in tensors if not each.is_input}
        self.batch = check_interface(name, spec, inputs, outputs)
        self._outputs = [output.name for output in spec.outputs]

    @property
    def notes(self) -> tuple[str, ...]:
        """Why inferences are not recorded as a CUDA graph, once that is known."""
        problem = self.pool.problem
        return (f"Without a CUDA graph: {problem}",) if problem else ()

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        return self.pool.infer(feed, self._outputs if outputs is None else outputs)

    def start(self, feed: Feed, outputs: Sequence[str] | None = None) -> Pending:
        """Start an inference; see :meth:`mahtrt.cuda.pool.SlotPool.start`."""
        return self.pool.start(feed, self._outputs if outputs is None else outputs)

    def infer_device(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        stream: Any = None,
    ) -> DeviceResult:
        """Run on memory of the GPU; see :meth:`mahtrt.cuda.pool.SlotPool.infer_device`."""
        return self.pool.infer_device(inputs, outputs, stream)

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        self.pool.close()
