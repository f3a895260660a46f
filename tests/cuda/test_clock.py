"""The GPU's clock around an engine, on a fake driver."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bench_fakes import make_spec
from copying_engine import SHAPE, CopyingPool

from mahtrt.cuda.clock import engine_ms
from mahtrt.errors import MahtrtError
from mahtrt.runtime.session import Session


def feed(value: float = 3.0) -> dict[str, np.ndarray]:
    return {"image": np.full(SHAPE, value, np.float32)}


def test_copies_are_outside_the_two_events() -> None:
    copies = CopyingPool()
    copies.driver.keep_calls = True
    for _ in range(3):
        assert engine_ms(copies.pool, feed()) >= 0
    calls = [each for each in copies.driver.calls if _is_work(each)]
    assert calls.count("cuStreamBeginCapture") == 1
    last = calls[len(calls) - calls[::-1].index("cuMemcpyHtoDAsync") - 1 :]
    assert last == ["cuMemcpyHtoDAsync", "cuEventRecord", "cuGraphLaunch", "cuEventRecord"]
    assert not any("DtoH" in each for each in calls)
    assert copies.infer(9) == 9
    copies.close()


def _is_work(call: str) -> bool:
    return call.startswith(("cuMemcpy", "cuEventRecord", "cuGraphLaunch", "cuStreamBegin"))


def test_a_session_on_a_pool_has_the_clock_and_tells_of_its_graph() -> None:
    copies = CopyingPool(no_graphs="the runtime makes its own")
    backend: Any = SimpleNamespace(batch=1, notes=(), device="cuda:0 X", pool=copies.pool)
    session = Session(backend, make_spec())
    assert session.device_ms is not None
    assert session.device_ms(feed()) >= 0
    assert session.facts["cuda_graph"] == "none: the runtime makes its own"
    assert session.facts["images"].startswith("prepared on the ")
    copies.close()
    with pytest.raises(MahtrtError, match=r"after close\(\)"):
        session.device_ms(feed())


def test_a_session_on_a_cpu_has_none() -> None:
    backend: Any = SimpleNamespace(batch=1, notes=(), device="cpu")
    assert Session(backend, make_spec()).device_ms is None
    assert Session(backend, make_spec()).facts == {}
