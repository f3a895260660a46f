"""Inferences in slots: their order, their memory, their graphs, and what is left after errors."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from copying_engine import SHAPE, CopyingEngine, CopyingPool
from fake_driver_streams import Order

from mahtrt.cuda.device import CudaError
from mahtrt.cuda.keeping import MOST_KEPT
from mahtrt.cuda.pool import Sharing, SlotPool
from mahtrt.cuda.shared_lock import SharedLock
from mahtrt.cuda.views import DeviceView
from mahtrt.errors import InputError, MahtrtError


@pytest.fixture(params=["lazy", "eager", "random"])
def copies(request: pytest.FixtureRequest) -> Iterator[CopyingPool]:
    order: Order = request.param
    made = CopyingPool(order, seed=3)
    yield made
    made.drop_memory()
    made.close()


def view(address: int) -> DeviceView:
    return DeviceView(address, SHAPE, np.dtype(np.float32))


def test_the_second_inference_is_recorded_and_later_ones_replayed(copies: CopyingPool) -> None:
    copies.driver.keep_calls = True
    assert [copies.infer(value) for value in range(5)] == [0, 1, 2, 3, 4]
    calls = copies.driver.calls
    assert calls.count("cuStreamBeginCapture") == 1
    assert calls.count("cuGraphLaunch") == 4
    assert len(copies.engines[0].enqueued) == 2, "once plainly, once into the graph"
    assert copies.pool.problem == ""
    assert copies.pool.made == 1


def test_what_is_asked_for_has_a_graph_of_its_own(copies: CopyingPool) -> None:
    feed = {"image": np.ones(SHAPE, np.float32)}
    for _ in range(3):
        assert set(copies.pool.infer(feed, ["spread"])) == {"spread"}
        assert set(copies.pool.infer(feed, ["spread", "landmarks"])) == {"spread", "landmarks"}
    slot = copies.pool._free[0]
    assert slot.graphs.captures == 2


def test_outputs_are_the_callers_own(copies: CopyingPool) -> None:
    first = copies.pool.infer({"image": np.full(SHAPE, 7, np.float32)}, ["spread"])["spread"]
    copies.infer(8)
    assert (first == 7).all()


def test_a_capture_that_fails_is_told_and_done_without(copies: CopyingPool) -> None:
    copies.change = lambda engine: setattr(engine, "breaks_capture", True)
    assert [copies.infer(value) for value in range(4)] == [0, 1, 2, 3]
    assert "STREAM_CAPTURE_INVALIDATED" in copies.pool.problem
    assert copies.driver.count
    again = len(copies.engines[0].enqueued)
    copies.driver.keep_calls = True
    assert copies.infer(9) == 9
    assert "cuStreamBeginCapture" not in copies.driver.calls, "it is not tried again"
    assert len(copies.engines[0].enqueued) == again + 1


def test_a_pool_without_graphs_says_why() -> None:
    made = CopyingPool(no_graphs="the runtime makes its own")
    assert [made.infer(value) for value in range(3)] == [0, 1, 2]
    assert made.pool.problem == "the runtime makes its own"
    assert len(made.engines[0].enqueued) == 3
    made.close()


def test_memory_of_the_callers_is_used_where_it_is(copies: CopyingPool) -> None:
    stream = copies.driver.foreign_stream()
    source, target = copies.memory(5), copies.memory(0)
    for value in (5, 6, 7):
        copies.driver.memory.array(source, SHAPE, np.float32)[...] = value
        outputs = {"landmarks": view(target)}
        with copies.pool.infer_device({"image": view(source)}, outputs, stream) as result:
            assert result.stream == stream
            assert result.outputs["landmarks"].address == target
            assert result.outputs["spread"].stream == stream
            with copies.pool.device:
                copies.pool.device.adopt_stream(stream).synchronize()
            assert copies.value_at(target) == value
            assert copies.value_at(result.outputs["spread"].address) == value
    used, _ = copies.engines[0].enqueued[0]
    assert (used["image"], used["landmarks"]) == (source, target)
    with copies.pool.slot() as slot:
        assert slot.graphs.captures == 1


def test_other_addresses_are_captured_again_and_the_oldest_graphs_go(copies: CopyingPool) -> None:
    places = [copies.memory(value) for value in range(12)]
    for _ in range(3):
        for value, place in enumerate(places):
            for _ in range(2):
                with copies.pool.infer_device({"image": view(place)}) as result:
                    result.synchronize()
                    assert copies.value_at(result.outputs["spread"].address) == value
    slot = copies.pool._free[0]
    assert slot.graphs.captures == 36, "12 do not fit into 8: each comes again too late"
    assert len(copies.driver._execs) == 8


def test_addresses_that_never_come_again_push_no_graph_out(copies: CopyingPool) -> None:
    for value in range(3):
        assert copies.infer(value) == value
    for value in range(80):
        with copies.pool.infer_device({"image": view(copies.memory(value))}) as result:
            result.synchronize()
            assert copies.value_at(result.outputs["spread"].address) == value
    copies.driver.keep_calls = True
    assert copies.infer(9) == 9
    assert copies.driver.calls.count("cuGraphLaunch") == 1
    assert copies.pool._free[0].graphs.captures == 1
    assert len(copies.pool._free[0].graphs._seen) == 64


def test_memory_that_is_not_aligned_goes_through_the_slots_own(copies: CopyingPool) -> None:
    source, target = copies.memory(5) + 4, copies.memory(0) + 8
    copies.driver.memory.array(source, SHAPE, np.float32)[...] = 3
    for _ in range(3):
        outputs = {"spread": view(target)}
        with copies.pool.infer_device({"image": view(source)}, outputs) as result:
            result.synchronize()
            assert result.outputs["spread"].address == target
            assert copies.value_at(target) == 3
    used, _ = copies.engines[0].enqueued[0]
    assert used["image"] % 256 == used["spread"] % 256 == 0


def test_a_stream_that_still_writes_the_input_is_waited_for(copies: CopyingPool) -> None:
    theirs = copies.driver.foreign_stream()
    source = copies.memory(0)

    def write() -> None:
        copies.driver.memory.array(source, SHAPE, np.float32)[...] = 4

    copies.driver.submit(theirs, write, [source])
    image = DeviceView(source, SHAPE, np.dtype(np.float32), stream=theirs)
    with copies.pool.infer_device({"image": image}) as result:
        result.synchronize()
        assert copies.value_at(result.outputs["spread"].address) == 4


def test_the_next_inference_waits_for_readers_of_the_last_result(copies: CopyingPool) -> None:
    stream = copies.driver.foreign_stream()
    source, seen = copies.memory(1), list[float]()
    result = copies.pool.infer_device({"image": view(source)}, stream=stream)
    place = result.outputs["spread"].address
    copies.driver.submit(stream, lambda: seen.append(copies.value_at(place)), [place])
    result.close()
    result.close()
    assert copies.infer(2) == 2, "in the same slot"
    assert copies.pool.made == 1
    with copies.pool.device:
        copies.pool.device.adopt_stream(stream).synchronize()
    assert seen == [1]


def test_results_that_are_open_keep_their_memory(copies: CopyingPool) -> None:
    first, second = (
        copies.pool.infer_device({"image": view(copies.memory(value))}) for value in (1, 2)
    )
    assert copies.pool.made == 2
    for value, result in ((1, first), (2, second)):
        result.synchronize()
        assert copies.value_at(result.outputs["landmarks"].address) == value
        result.close()


def test_started_inferences_end_in_any_order(copies: CopyingPool) -> None:
    for _ in range(3):
        feeds = [{"image": np.full(SHAPE, value, np.float32)} for value in range(3)]
        pending = [copies.pool.start(feed, ["spread"]) for feed in feeds]
        for feed in feeds:
            feed["image"][...] = -1  # was copied
        for value in (2, 0, 1):
            assert (pending[value].result()["spread"] == value).all()
        pending[0].close()
    given_up = copies.pool.start({"image": np.ones(SHAPE, np.float32)}, ["spread"])
    given_up.close()
    assert copies.pool.made == 3


BAD_MEMORY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "for its inputs: image": ({}, {}),
    "for its outputs: landmarks, spread": ({"image": 1}, {"image": 1}),
    "expected float32": ({"image": (1, SHAPE, np.float16)}, {}),
    "the driver does not know": ({"image": 4096}, {}),
}


@pytest.mark.parametrize("told", BAD_MEMORY)
def test_memory_that_is_wrong_is_refused_in_one_line(copies: CopyingPool, told: str) -> None:
    good = copies.memory(1)

    def made(given: object) -> object:
        if isinstance(given, tuple):
            return (good, *given[1:])
        return (good if given == 1 else given, SHAPE, np.float32)

    inputs, outputs = (
        {name: made(given) for name, given in each.items()} for each in BAD_MEMORY[told]
    )
    with pytest.raises(InputError, match=told) as caught:
        copies.pool.infer_device(inputs, outputs)
    assert "\n" not in str(caught.value)
    assert copies.infer(3) == 3
    assert copies.pool.made == 1, "the slot is used again"


def test_a_stream_of_another_context_is_refused(copies: CopyingPool) -> None:
    stranger = copies.driver.foreign_stream(context=0x9999)
    image = {"image": view(copies.memory(1))}
    with pytest.raises(CudaError, match="of another context"):
        copies.pool.infer_device(image, stream=stranger)
    assert copies.infer(3) == 3


def test_an_engine_that_refuses_loses_its_slot_only(copies: CopyingPool) -> None:
    assert copies.infer(1) == 1
    copies.engines[0].refuses = True
    with pytest.raises(MahtrtError, match="no inference"):
        copies.pool.infer_device({"image": view(copies.memory(1))})
    assert copies.pool.made == 0
    assert copies.engines[0].closed
    assert copies.infer(2) == 2


def test_no_memory_for_one_more_slot(copies: CopyingPool) -> None:
    held = copies.pool.start({"image": np.ones(SHAPE, np.float32)}, ["spread"])
    copies.driver.memory.capacity = copies.driver.memory.used + 30
    with pytest.raises(CudaError, match=r"OUT_OF_MEMORY.*MiB are free"):
        copies.infer(2)
    assert (held.result()["spread"] == 1).all()
    assert copies.infer(2) == 2


def test_a_lost_gpu_ends_the_pool(copies: CopyingPool) -> None:
    assert copies.infer(1) == 1
    copies.driver.fail("cuStreamSynchronize", 700)
    with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
        copies.infer(2)
    for _ in range(2):
        with pytest.raises(MahtrtError, match=r"a GPU that was lost.*ILLEGAL") as caught:
            copies.infer(3)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("Start the program again.")


def test_calls_under_way_end_well_when_the_pool_is_closed(copies: CopyingPool) -> None:
    pending = copies.pool.start({"image": np.full(SHAPE, 4, np.float32)}, ["spread"])
    result = copies.pool.infer_device({"image": view(copies.memory(6))})
    copies.pool.close()
    assert copies.driver.retained == [1]
    with pytest.raises(MahtrtError, match=r"a call after close\(\)"):
        copies.infer(1)
    assert (pending.result()["spread"] == 4).all()
    result.synchronize()
    assert copies.value_at(result.outputs["spread"].address) == 6
    result.close()
    assert copies.driver.retained == [0]


def test_threads_have_slots_of_their_own() -> None:
    made = CopyingPool("random", seed=5)
    wrong: list[str] = []

    def work(thread: int) -> None:
        try:
            for turn in range(200):
                value = thread * 1000 + turn
                if made.infer(value) != value:
                    wrong.append(f"{thread}, {turn}")
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= made.pool.made <= 6
    streams = [{stream for _, stream in engine.enqueued} for engine in made.engines]
    assert all(len(each) == 1 for each in streams), "a slot keeps its stream"
    made.close()


def test_an_engine_is_made_by_one_thread_at_a_time() -> None:
    made, inside, most = CopyingPool(), [0], [0]

    def slowly(engine: CopyingEngine) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1

    made.change = slowly
    threads = [threading.Thread(target=made.infer, args=(1.0,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    made.close()


def test_calls_beyond_the_most_wait_for_a_slot() -> None:
    made = CopyingPool("random", seed=7, sharing=Sharing(2))
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(made.infer, range(60))) == list(range(60))
    assert made.pool.made <= 2
    pending = [made.pool.start({"image": np.ones(SHAPE, np.float32)}, ()) for _ in range(3)]
    for each in pending:  # the caller's own, which nobody waits for
        each.close()
    assert made.pool.made == 3
    made.close()


def test_slots_are_made_while_no_call_is_under_way() -> None:
    made, wrong = CopyingPool("random", seed=9, sharing=Sharing(lock=SharedLock())), list[str]()
    running = set[int]()

    def alone(engine: CopyingEngine) -> None:
        if running:
            wrong.append("a call is under way")

    made.change = alone

    def call(value: int) -> None:
        with made.pool.slot() as slot:
            running.add(value)
            slot.start({"image": np.full(SHAPE, value, np.float32)}, ("spread",))
            assert slot.finish()["spread"][0, 0] == value
            running.remove(value)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, range(100)))
    assert not wrong
    assert made.pool.made >= 1
    made.close()


class Owner:
    """Memory or a stream of another library's, given back when its last reference goes."""

    def __init__(self, address: int = 0, stream: int = 0) -> None:
        self.address, self.cuda_stream = address, stream

    def view(self) -> DeviceView:
        return DeviceView(self.address, SHAPE, np.dtype(np.float32), owner=self)


@pytest.fixture
def lazy() -> Iterator[CopyingPool]:
    made = CopyingPool("lazy")
    yield made
    made.pool.close()  # waits for the work
    made.drop_memory()
    made.check()


@pytest.mark.parametrize("what", ["input", "output"])
def test_memory_of_the_callers_lives_until_the_work_on_it_is_done(
    lazy: CopyingPool, what: str
) -> None:
    source, target = Owner(lazy.memory(5)), Owner(lazy.memory(0))
    stream = lazy.driver.foreign_stream()
    result = lazy.pool.infer_device(
        {"image": source.view()}, {"spread": target.view()}, stream=stream
    )
    result.close()
    alive = weakref.ref(source if what == "input" else target)
    del source, target, result
    assert alive() is not None, "closing does not wait, and the work is under way"
    assert lazy.infer(6) == 6, "the next in the slot, which waits for the GPU"
    assert lazy.infer(7) == 7
    assert alive() is None


def test_memory_whose_work_is_done_goes_when_the_result_is_closed(lazy: CopyingPool) -> None:
    source = Owner(lazy.memory(5))
    with lazy.pool.infer_device({"image": source.view()}) as result:
        alive = weakref.ref(source)
        del source
        result.synchronize()
    assert alive() is None


def test_what_is_kept_for_a_gpu_that_is_behind_does_not_grow(lazy: CopyingPool) -> None:
    alive: list[weakref.ref[Owner]] = []
    for value in range(3 * MOST_KEPT):
        source = Owner(lazy.memory(value))
        alive.append(weakref.ref(source))
        lazy.pool.infer_device({"image": source.view()}).close()
    del source
    assert [each() is not None for each in alive].count(True) == MOST_KEPT
    assert lazy.pool.made == 1
    lazy.pool.close()
    assert not any(each() for each in alive)


def test_a_callers_stream_lives_as_long_as_its_result(lazy: CopyingPool) -> None:
    stream = Owner(stream=lazy.driver.foreign_stream())
    alive = weakref.ref(stream)
    result = lazy.pool.infer_device({"image": view(lazy.memory(1))}, stream=stream)
    del stream
    assert alive() is not None
    result.close()
    del result
    assert alive() is None


def _started(pool: SlotPool, _address: int) -> Callable[[], object]:
    return lambda: pool.start({"image": np.ones(SHAPE, np.float32)}, ()).close()


def _ended(pool: SlotPool, _address: int) -> Callable[[], object]:
    return pool.start({"image": np.ones(SHAPE, np.float32)}, ()).result


def _on_device(pool: SlotPool, address: int) -> Callable[[], object]:
    return lambda: pool.infer_device({"image": view(address)}).close()


def _refused(pool: SlotPool, address: int) -> Callable[[], object]:
    def call() -> None:
        with contextlib.suppress(InputError):
            pool.infer_device({"image": (address, (9, 9, 9), np.float32)})

    return call


def _synchronized(pool: SlotPool, address: int) -> Callable[[], object]:
    result = pool.infer_device({"image": view(address)})

    def call() -> None:
        result.synchronize()
        result.close()

    return call


def _closed(pool: SlotPool, address: int) -> Callable[[], object]:
    return pool.infer_device({"image": view(address)}).close


@pytest.mark.parametrize("ready", [_started, _ended, _on_device, _refused, _synchronized, _closed])
def test_no_call_talks_to_cuda_while_a_slot_is_made_alone(
    ready: Callable[[SlotPool, int], Callable[[], object]],
) -> None:
    lock = SharedLock()
    made = CopyingPool(sharing=Sharing(lock=lock))
    assert made.infer(1) == 1  # there is a slot
    thread = threading.Thread(target=ready(made.pool, made.memory(2)))
    with lock.alone():
        made.driver.keep_calls = True
        thread.start()
        thread.join(0.05)
        assert thread.is_alive(), "it waits"
        talked = [name for name in made.driver.calls if not name.startswith("cuCtx")]
        assert not talked
    thread.join(5)
    assert not thread.is_alive()
    assert made.infer(3) == 3
    assert made.pool.made == 1
    made.pool.close()
    made.drop_memory()
    made.check()


def test_a_pool_closed_under_a_held_slot_is_freed_by_its_last_call() -> None:
    made = CopyingPool(sharing=Sharing(lock=SharedLock()))
    pending = made.pool.start({"image": np.ones(SHAPE, np.float32)}, ())
    made.pool.close()
    pending.result()
    made.check()
