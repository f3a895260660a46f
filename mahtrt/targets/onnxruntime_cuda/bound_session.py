"""ONNX Runtime's part of a slot: a session on the slot's stream, bound to its memory.

A session with a stream of ours, or with a CUDA graph, is for one thread. ONNX Runtime keeps handles
of cuBLAS and cuDNN, and the recorded graph, for each thread that runs a session, and with graphs it
keeps them until the session ends (``PerThreadContext`` of its CUDA provider). So each session has a
thread of its own for all its life: a server that makes a thread for each request then neither
records a graph for each nor grows.

The graph is the one that ONNX Runtime records. A recording of ours around its run would be wrong:
it releases what it copies small arrays from when the run ends, and a graph would read that again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mahtrt.cuda.device import CudaDevice, CudaError
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.errors import MahtrtError, MissingComponentError
from mahtrt.reading import Content
from mahtrt.targets.onnxruntime_cuda.provider import ProviderOptions, open_on_gpu

T = TypeVar("T")

_MOST_BINDINGS = 8
_MOST_FAILURES = 3
_CUDA_FAILURE = re.compile(r"CUDA failure (\d+): ([^;\n]*)")


class SessionMaker:
    """Opens the sessions of one engine.

    Attributes:
        tensors: Inputs and outputs of the engine.
        no_graph: Why a session runs without a CUDA graph, the last that does; "" where none does.
        failures: How many sessions could not record one. Other work of the process can break a
            recording, so that the next session tries again; after a few there is no use.
        notes: What else to tell of how the sessions run.
    """

    def __init__(
        self,
        ort: Any,
        device: CudaDevice,
        model: Content,
        name: str,
        tensors: Sequence[DeviceTensor],
    ) -> None:
        """Open nothing yet.

        Args:
            ort: The package.
            model: The ONNX.
            name: The engine's, for messages.
        """
        self.ort, self.device, self.name = ort, device, name
        self.tensors = tuple(tensors)
        self.no_graph, self.failures = "", 0
        self.notes = tuple[str, ...]()
        self._model = model

    @property
    def tries_graph(self) -> bool:
        """Whether the next session tries to record a graph."""
        return self.failures < _MOST_FAILURES

    def open(self, stream: int, *, graph: bool) -> Any:
        """A session on a stream; raises as :func:`open_on_gpu` does."""
        options = ProviderOptions(self.device.ordinal, stream, graph)
        opened = open_on_gpu(self.ort, self._model, f"engine {self.name}", options)
        self.notes = opened.notes
        return opened.session


class BoundSession:
    """See :class:`mahtrt.cuda.slots.Engine`.

    Attributes:
        session: ONNX Runtime's; None before :meth:`prepare` and after :meth:`close`.
    """

    def __init__(self, maker: SessionMaker) -> None:
        self.session: Any = None
        self._maker, self._device, self._tensors = maker, maker.device, maker.tensors
        self._own: dict[str, int] = {}
        self._bindings: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._plain, self._recorded = (run_options(maker.ort, graph=g) for g in (False, True))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mahtrt-onnxruntime-cuda")

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None:
        """Open the session, and run it once on zeros, which allocates all and records the graph.

        Raises:
            MahtrtError: ONNX Runtime refuses the graph, or the run fails.
        """
        self._own = dict(addresses)
        self._zero(stream)
        self._do(lambda: self._open(stream))

    def _zero(self, stream: int) -> None:
        adopted = self._device.adopt_stream(stream)
        for each in self._tensors:
            self._device.fill_zero(self._own[each.name], each.nbytes, adopted)

    def _open(self, stream: int) -> None:
        if not self._maker.tries_graph:
            self._try(stream, graph=False)
            return
        try:
            self._try(stream, graph=True)
        except MissingComponentError:
            raise
        except MahtrtError as error:
            if isinstance(error, CudaError) and error.loses_device:
                raise
            self._drop()
            self._try(stream, graph=False)  # an error here is that of the engine
            self._maker.no_graph = error.got
            self._maker.failures += 1

    def _try(self, stream: int, *, graph: bool) -> None:
        self.session = self._maker.open(stream, graph=graph)
        self._run(self._own)
        self._device.adopt_stream(stream).synchronize()

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Give a run to the stream that the session was opened on.

        Raises:
            MahtrtError: ONNX Runtime fails.
        """
        self._do(lambda: self._run(addresses))

    def _run(self, addresses: Mapping[str, int]) -> None:
        # The graph is that of the slot's own memory; for other memory there is none.
        own = all(self._own[name] == address for name, address in addresses.items())
        options = self._recorded if own else self._plain
        try:
            self.session.run_with_iobinding(self._bound(addresses), options)
        except Exception as error:  # its exceptions have no public names
            raise failed(self._maker.name, str(error)) from error

    def _bound(self, addresses: Mapping[str, int]) -> Any:
        """The binding for these addresses; the last few are kept."""
        key = tuple(addresses[each.name] for each in self._tensors)
        binding = self._bindings.pop(key, None)
        if binding is None:
            binding = bind(self.session, self._tensors, addresses, "cuda", self._device.ordinal)
        self._bindings[key] = binding
        if len(self._bindings) > _MOST_BINDINGS:
            self._bindings.popitem(last=False)
        return binding

    def close(self) -> None:
        """End the session, after what is under way, and its thread."""
        try:
            self._do(self._drop)
        finally:
            self._thread.shutdown()

    def _drop(self) -> None:
        self._bindings.clear()
        self.session = None

    def _do(self, work: Callable[[], T]) -> T:
        """Work in the session's thread, with the CUDA context current."""

        def entered() -> T:
            with self._device:
                return work()

        return self._thread.submit(entered).result()


def bind(
    session: Any,
    tensors: Sequence[DeviceTensor],
    addresses: Mapping[str, int],
    device: str,
    ordinal: int,
) -> Any:
    """An ``IOBinding`` of every input and output to memory of ours.

    Args:
        addresses: By the tensors' names; the memory has to outlive the binding.
        device: ONNX Runtime's name of the kind of device, ``cuda`` or ``cpu``.
    """
    binding = session.io_binding()
    for each in tensors:
        put = binding.bind_input if each.is_input else binding.bind_output
        put(each.name, device, ordinal, each.dtype.type, each.shape, addresses[each.name])
    return binding


def run_options(ort: Any, *, graph: bool) -> Any:
    """Options of runs that do not wait for the GPU: the stream does.

    Args:
        graph: Whether the recorded graph is made and played. ``gpu_graph_id`` is -1 for neither;
            left alone it is the first graph, whose number may not be given.
    """
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    if not graph:
        options.add_run_config_entry("gpu_graph_id", "-1")
    return options


def failed(name: str, text: str) -> MahtrtError:
    """The error about a run that ONNX Runtime ended; of CUDA, where it names CUDA's code."""
    memory = "Failed to allocate memory" in text or "out of memory" in text
    fix = "Close other programs on the GPU, or use fewer threads." if memory else ""
    cuda = _CUDA_FAILURE.search(text)
    if cuda is not None:  # what follows names the host and files of ONNX Runtime's build
        got = f"{cuda[2].strip()} (error {cuda[1]})"
        return CudaError(f"engine {name}", int(cuda[1]), got=got, fix=fix)
    reason = text.partition("\n")[0]
    return MahtrtError(f"engine {name}", got=reason, expected="a network that runs", fix=fix)
