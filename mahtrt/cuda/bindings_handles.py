"""What ``cuda-bindings`` hands out: its functions, each answer checked, and what is given back."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import OUT_OF_MEMORY, STICKY, CudaError, Event, Stream

_NOT_READY = 600  # CUDA_ERROR_NOT_READY


class Driver:
    """The package's functions, each answer checked."""

    __slots__ = ("module",)

    def __init__(self, module: Any) -> None:
        self.module = module

    def ask(self, name: str, *arguments: Any) -> tuple[int, Any]:
        """Code and value (None, one, or a tuple) that a function answers.

        Raises:
            CudaError: This driver or package has no such function, or does not know its own code.
        """
        try:
            code, *values = getattr(self.module, name)(*arguments)
        except (AttributeError, KeyError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise CudaError(name, 0, got=f"{type(error).__name__}: {told}") from error
        return code, values[0] if len(values) == 1 else tuple(values) or None

    def call(self, name: str, *arguments: Any) -> Any:
        """The value that a function answers.

        Raises:
            CudaError: It answers with an error.
        """
        code, value = self.ask(name, *arguments)
        if code:
            raise self.error(name, code)
        return value

    def error(self, name: str, code: int, log: str = "") -> CudaError:
        """What a code says."""
        got = f"error {int(code)} ({self._told('cuGetErrorName', code)}"
        got += f": {self._told('cuGetErrorString', code)})" + (f"; its log: {log}" if log else "")
        fix = "This process cannot use the GPU any more: start it again." if code in STICKY else ""
        if code == OUT_OF_MEMORY:
            fix = "Close other programs on the GPU, or open fewer engines at once."
            with contextlib.suppress(CudaError):
                answer, memory = self.ask("cuMemGetInfo")
                if not answer:
                    free, total = (size / 2**20 for size in memory)
                    fix = f"{free:.0f} of {total:.0f} MiB are free. {fix}"
        return CudaError(name, int(code), got=got, fix=fix)

    def _told(self, name: str, code: int) -> str:
        with contextlib.suppress(CudaError):
            answer, text = self.ask(name, code)
            if not answer and text:
                return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        return "unknown"


class _Owned:
    """Something of the driver's that is given back once."""

    __slots__ = ("_driver", "_open")

    def __init__(self, driver: Driver) -> None:
        self._driver, self._open = driver, True

    def _give_back(self, name: str, handle: Any) -> None:
        """Not tried again where it fails: what is left of it is not known then."""
        was_open, self._open = self._open, False
        if was_open:
            self._driver.call(name, handle)


class BindingsMemory(_Owned):
    """See :class:`mahtrt.cuda.device.DeviceMemory`."""

    __slots__ = ("_pointer", "address", "nbytes")

    def __init__(self, driver: Driver, pointer: Any, nbytes: int) -> None:
        super().__init__(driver)
        self._pointer, self.address, self.nbytes = pointer, int(pointer), nbytes

    def free(self) -> None:
        """Give it back."""
        self._give_back("cuMemFree", self._pointer)


class BindingsPinnedMemory(_Owned):
    """See :class:`mahtrt.cuda.device.PinnedMemory`."""

    __slots__ = ("_place", "array")

    def __init__(self, driver: Driver, place: int, array: NDArray[Any]) -> None:
        super().__init__(driver)
        self._place, self.array = place, array

    def free(self) -> None:
        """Give it back; an empty array takes its place."""
        self.array = np.empty(0, self.array.dtype)
        self._give_back("cuMemFreeHost", self._place)


class BindingsStream(_Owned):
    """See :class:`mahtrt.cuda.device.Stream`.

    Attributes:
        owner: The object of another library that destroys the stream when it is collected.
    """

    __slots__ = ("_stream", "handle", "owner")

    def __init__(self, driver: Driver, stream: Any, *, ours: bool, owner: Any = None) -> None:
        super().__init__(driver)
        self.owner = owner
        self._stream, self.handle, self._open = stream, int(stream), ours

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done."""
        self._driver.call("cuStreamSynchronize", self._stream)

    def wait(self, event: Event) -> None:
        """Let what is given to the stream from now on wait for an event."""
        assert isinstance(event, BindingsEvent)
        self._driver.call("cuStreamWaitEvent", self._stream, event.event, 0)

    def close(self) -> None:
        """Give the stream back; a stream of the caller's is left alone."""
        self._give_back("cuStreamDestroy", self._stream)


class BindingsEvent(_Owned):
    """See :class:`mahtrt.cuda.device.Event`."""

    __slots__ = ("event",)

    def __init__(self, driver: Driver, event: Any) -> None:
        super().__init__(driver)
        self.event = event

    def record(self, stream: Stream) -> None:
        """Set the mark behind what was given to the stream so far."""
        self._driver.call("cuEventRecord", self.event, stream.handle)

    def synchronize(self) -> None:
        """Wait until the stream comes to the mark."""
        self._driver.call("cuEventSynchronize", self.event)

    def is_done(self) -> bool:
        """Whether the stream came to the mark."""
        code, _ = self._driver.ask("cuEventQuery", self.event)
        if code not in (0, _NOT_READY):
            raise self._driver.error("cuEventQuery", code)
        return not code

    def elapsed_ms(self, earlier: Event) -> float:
        """Milliseconds of the GPU's clock between two marks."""
        assert isinstance(earlier, BindingsEvent)
        return float(self._driver.call("cuEventElapsedTime", earlier.event, self.event))

    def close(self) -> None:
        """Give the event back."""
        self._give_back("cuEventDestroy", self.event)


class BindingsGraph(_Owned):
    """See :class:`mahtrt.cuda.device.Graph`."""

    __slots__ = ("_graph",)

    def __init__(self, driver: Driver, graph: Any) -> None:
        super().__init__(driver)
        self._graph = graph

    def launch(self, stream: Stream) -> None:
        """Do the recorded work, with the addresses that it was recorded with."""
        self._driver.call("cuGraphLaunch", self._graph, stream.handle)

    def close(self) -> None:
        """Give the graph back."""
        self._give_back("cuGraphExecDestroy", self._graph)


class BindingsFunction:
    """See :class:`mahtrt.cuda.device.Function`."""

    __slots__ = ("handle", "name")

    def __init__(self, name: str, handle: Any) -> None:
        self.name, self.handle = name, handle


class BindingsModule(_Owned):
    """See :class:`mahtrt.cuda.device.Module`."""

    __slots__ = ("_module",)

    def __init__(self, driver: Driver, module: Any) -> None:
        super().__init__(driver)
        self._module = module

    def function(self, name: str) -> BindingsFunction:
        """A kernel by its entry."""
        handle = self._driver.call("cuModuleGetFunction", self._module, name.encode())
        return BindingsFunction(name, handle)

    def unload(self) -> None:
        """Give it back."""
        self._give_back("cuModuleUnload", self._module)
