"""Places that go to who has waited longest."""

from __future__ import annotations

import threading
import time

from mahtrt.http.turns import Turns


def test_a_place_goes_to_who_waits_and_not_back_to_who_gave_it() -> None:
    turns, served = Turns(1), list[str]()
    threads = [threading.Thread(target=_take, args=(turns, name, served)) for name in "abc"]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            _wait_for(turns, number)
    with turns:  # asked for at once, while nobody who waits has woken up
        served.append("again")
    for thread in threads:
        thread.join(10)
    assert served == ["a", "b", "c", "again"]


def test_no_more_hold_a_place_than_there_are_and_none_is_lost() -> None:
    turns, lock = Turns(2), threading.Lock()
    inside = most = done = 0

    def work() -> None:
        nonlocal inside, most, done
        for number in range(50):
            try:
                with turns:
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.0002)
                    with lock:
                        inside -= 1
                        done += 1
                    if number % 5 == 0:
                        raise ValueError  # a place comes back from who failed, too
            except ValueError:
                continue

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (most, done, inside) == (2, 300, 0)


def _take(turns: Turns, name: str, served: list[str]) -> None:
    with turns:
        served.append(name)


def _wait_for(turns: Turns, count: int) -> None:
    until = time.monotonic() + 10
    while len(turns._waiting) < count:
        assert time.monotonic() < until
        time.sleep(0.001)
