"""Who may be inside at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mahtrt.cuda.shared_lock import SharedLock


def test_sharers_are_inside_together() -> None:
    lock, both = SharedLock(), threading.Barrier(2)

    def share() -> int:
        with lock.shared():
            return both.wait(5)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(each.result() for each in [pool.submit(share) for _ in range(2)]) == [0, 1]


def test_nobody_is_inside_with_who_is_alone() -> None:
    lock, inside, wrong = SharedLock(), {"shared": 0, "alone": 0}, list[str]()
    count = threading.Lock()

    def come(kind: str) -> None:
        with lock.alone() if kind == "alone" else lock.shared():
            with count:
                inside[kind] += 1
                if inside["alone"] > 1 or (inside["alone"] and inside["shared"]):
                    wrong.append(str(inside))
            with count:
                inside[kind] -= 1

    with ThreadPoolExecutor(8) as pool:
        for number in range(2000):
            pool.submit(come, "alone" if number % 5 == 0 else "shared")
    assert not wrong
    assert inside == {"shared": 0, "alone": 0}


def test_who_waits_to_be_alone_is_let_in_first() -> None:
    lock, order = SharedLock(), list[str]()
    entered, go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.shared():
            entered.set()
            go.wait(5)

    def note(kind: str) -> None:
        with lock.alone() if kind == "alone" else lock.shared():
            order.append(kind)

    with ThreadPoolExecutor(3) as pool:
        pool.submit(hold)
        entered.wait(5)
        pool.submit(note, "alone")
        while not lock._waiting:
            pass
        pool.submit(note, "shared")
        go.set()
    assert order == ["alone", "shared"]


def test_an_error_inside_opens_it_again() -> None:
    lock = SharedLock()
    for enter in (lock.alone, lock.shared):
        with pytest.raises(ValueError, match="inside"), enter():
            raise ValueError("inside")
    with lock.alone():
        pass
