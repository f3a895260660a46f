"""An engine as light as can be, in slots on the fake driver: outputs are copies of its input."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

import numpy as np
from fake_driver import FakeDriver
from fake_driver_streams import Order

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.pool import Sharing, SlotPool
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.errors import MahtrtError

SHAPE = (2, 3)
NBYTES = 24


def tensors() -> tuple[DeviceTensor, ...]:
    float32 = np.dtype(np.float32)
    outputs = (DeviceTensor(name, SHAPE, float32, False) for name in ("landmarks", "spread"))
    return (DeviceTensor("image", SHAPE, float32, True), *outputs)


class CopyingEngine:
    """Gives work to the fake driver as TensorRT would.

    Attributes:
        enqueued: Addresses and stream of each call.
        refuses: Whether it refuses the next inferences.
        breaks_capture: Whether it does what cannot be captured.
    """

    def __init__(self, driver: FakeDriver) -> None:
        self.driver = driver
        self.enqueued: list[tuple[dict[str, int], int]] = []
        self.refuses = self.breaks_capture = self.closed = False

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None:
        assert set(addresses) == {"image", "landmarks", "spread"}
        assert stream

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        if self.refuses:
            raise MahtrtError("engine", got="no inference")
        if self.breaks_capture:
            self.driver.invalidate_capture(stream)
        self.enqueued.append((dict(addresses), stream))
        source, first, second = (addresses[name] for name in ("image", "landmarks", "spread"))

        def run() -> None:
            ctypes.memmove(first, source, NBYTES)
            ctypes.memmove(second, source, NBYTES)

        self.driver.submit(stream, run, (source, first, second))

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


class CopyingPool:
    """A pool of slots of such engines.

    Attributes:
        engines: Those that were made.
        change: Called with each engine when it is made.
    """

    def __init__(
        self,
        order: Order = "lazy",
        seed: int = 0,
        no_graphs: str = "",
        sharing: Sharing | None = None,
    ) -> None:
        self.driver = FakeDriver(order=order, seed=seed)
        self.engines: list[CopyingEngine] = []
        self.change: Callable[[CopyingEngine], None] = lambda engine: None
        device = open_device(needed_for="a test", driver=self.driver)
        self.pool = SlotPool(
            "copy",
            device,
            tensors(),
            self._make,
            no_graphs=no_graphs,
            sharing=sharing,
        )

    def _make(self) -> CopyingEngine:
        engine = CopyingEngine(self.driver)
        self.engines.append(engine)
        self.change(engine)
        return engine

    def infer(self, value: float) -> float:
        """What comes out where an image of one value goes in."""
        found = self.pool.infer(
            {"image": np.full(SHAPE, value, np.float32)}, ("landmarks", "spread")
        )
        assert (found["landmarks"] == found["spread"]).all()
        return float(found["landmarks"][1, 2])

    def close(self) -> None:
        """Close the pool; everything was used well and given back."""
        self.pool.close()
        self.check()

    def check(self) -> None:
        self.driver.check()
        assert all(engine.closed for engine in self.engines)

    def memory(self, value: float) -> int:
        """Memory of the caller's with one value in it."""
        address = self.driver.foreign(NBYTES + 256)
        self.driver.memory.array(address, SHAPE, np.float32)[...] = value
        return address

    def value_at(self, address: int) -> float:
        return float(self.driver.memory.array(address, SHAPE, np.float32)[1, 2])

    def drop_memory(self) -> None:
        """Give back what :meth:`memory` made."""
        for each in self.driver.memory.alive():
            if each.nbytes == NBYTES + 256:
                self.driver.drop(each.start)
