"""Deaths of workers are counted with the file at which they died."""

from __future__ import annotations

from mahtrt.distributed.guard import MOST_DEATHS, Deaths


def test_a_file_at_which_three_workers_died_is_known_after_three_deaths() -> None:
    chunk, deaths = Deaths(), 0
    killer = 3
    chunk.begin_chunk()  # the first time nobody is told of files
    while True:
        deaths += 1
        assert chunk.begin_chunk() == deaths
        counts = [chunk.begin_file(place) for place in range(killer + 1)]
        assert counts[:killer] == [0] * killer
        if counts[killer] >= MOST_DEATHS:
            break
    assert deaths == MOST_DEATHS


def test_deaths_at_other_files_are_counted_apart() -> None:
    chunk = Deaths()
    chunk.begin_chunk()
    for place in (1, 2, 1, 2, 2):
        chunk.begin_chunk()
        chunk.begin_file(place)
    chunk.begin_chunk()
    assert chunk.counts == {1: 3, 2: 3}
