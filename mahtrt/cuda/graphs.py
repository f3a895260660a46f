"""Recorded work, kept by the addresses that it was recorded with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from mahtrt.cuda.device import CudaDevice, CudaError, Graph, Stream
from mahtrt.errors import MahtrtError

MOST_GRAPHS = 8
_MOST_SEEN = 64


class GraphCache:
    """Graphs of the work of one stream, the last used first to stay.

    Work is done plainly when it comes for the first time, so that libraries can make ready what
    they must not make ready in a recording. The second time it is recorded. Where it cannot be,
    all work is done plainly from then on.

    Attributes:
        problem: Why nothing is recorded; "" as long as graphs are made.
        captures: How often work was recorded.
    """

    def __init__(
        self, device: CudaDevice, stream: Stream, *, problem: str = "", most: int = MOST_GRAPHS
    ) -> None:
        self._device, self._stream, self._most = device, stream, most
        self._graphs: OrderedDict[Hashable, Graph] = OrderedDict()
        # Work that came once. Apart from the graphs, which addresses that never come again must
        # not push out.
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self.problem = problem or device.no_graphs
        self.captures = 0

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Give work to the stream.

        Args:
            key: Whatever the work depends on, the addresses above all.
            work: Gives it to the stream, the same way each time.

        Raises:
            CudaError: The GPU fails.
            Exception: What the work raises when it is not recorded.
        """
        if self.problem:
            work()
            return
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
        elif key in self._seen:
            graph = self._recorded(work)
        if graph is None:
            work()
            self._remember(key)
            return
        if key not in self._graphs:
            self._keep(key, graph)
        graph.launch(self._stream)

    def _recorded(self, work: Callable[[], None]) -> Graph | None:
        """A graph of the work; None, and a problem, where it cannot be recorded."""
        try:
            graph = self._device.record(self._stream, work)
        except MahtrtError as error:
            if isinstance(error, CudaError) and error.loses_device:
                raise
            self.problem = str(error)
            return None
        self.captures += 1
        return graph

    def _remember(self, key: Hashable) -> None:
        self._seen[key] = None
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)

    def _keep(self, key: Hashable, graph: Graph) -> None:
        self._graphs[key] = graph
        del self._seen[key]
        if len(self._graphs) > self._most:
            _, oldest = self._graphs.popitem(last=False)
            self._stream.synchronize()  # it may be under way
            oldest.close()

    def close(self) -> None:
        """Give all graphs back; their launches must be done.

        Raises:
            CudaError: The first of the errors, after all were tried.
        """
        first: CudaError | None = None
        while self._graphs:
            _, graph = self._graphs.popitem()
            try:
                graph.close()
            except CudaError as error:
                first = first or error
        if first is not None:
            raise first
