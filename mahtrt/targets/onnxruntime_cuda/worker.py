"""A thread that makes, uses and frees what one inference needs.

ONNX Runtime keeps handles of cuBLAS and cuDNN, and the recorded CUDA graph, for each thread that
runs a session, and with graphs it keeps them until the session ends (``PerThreadContext`` of its
CUDA provider). So each session has one thread for all its life: a server that makes a thread for
each request then neither records a graph for each nor grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mahtrt.cuda.device import CudaDevice
from mahtrt.data.feed import Feed
from mahtrt.targets.backend import Tensor
from mahtrt.targets.onnxruntime_cuda.inference import Inference

T = TypeVar("T")


class Worker:
    """One inference at a time, in a thread of its own with the CUDA context current."""

    def __init__(self, device: CudaDevice, make: Callable[[], Inference]) -> None:
        """Make the inference in the new thread; raises what ``make`` raises."""
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mahtrt-onnxruntime-cuda")
        try:
            self._inference = self._do(make)
        except BaseException:
            self._thread.shutdown()
            raise
        self.io_tensors = self._inference.io_tensors

    def run(self, feed: Feed, outputs: Sequence[str]) -> dict[str, Tensor]:
        """See :meth:`Inference.run`."""
        return self._do(lambda: self._inference.run(feed, outputs))

    def free(self) -> None:
        """Give everything back, after what is under way, and end the thread."""
        try:
            self._do(self._inference.free)
        finally:
            self._thread.shutdown()

    def _do(self, work: Callable[[], T]) -> T:
        def entered() -> T:
            with self._device:
                return work()

        return self._thread.submit(entered).result()
