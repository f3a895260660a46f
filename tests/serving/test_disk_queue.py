"""The queue on disk: every step can be the last one of a process."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from mahtrt import files
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import IntegrityError, UsageError
from mahtrt.serving.disk_queue import DiskQueue, Entry, QueueFullError, QueueLimits, Received

LIMITS = QueueLimits(most_bytes=1000, most_entries=5)


def receive(queue: DiskQueue, content: bytes) -> Received:
    path, file = queue.new_file()
    with file:
        file.write(content)
    digest = sha256_of_bytes(content)
    return Received(path, digest, len(content))


def first_of(entry: Entry | None) -> Entry:
    assert entry is not None
    return entry


def names(queue: DiskQueue) -> set[str]:
    return {
        path.relative_to(queue.folder).as_posix().partition("/")[0]
        for path in queue.folder.rglob("*")
        if path.is_file() and "queue.sqlite" not in path.name
    }


def test_an_entry_goes_from_image_to_report_to_nothing(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS) as queue:
        assert queue.next_received() is None
        assert queue.admit(receive(queue, b"image"))
        entry = first_of(queue.next_received())
        assert (entry.state, queue.waiting()) == ("received", 1)
        assert queue.read_image(entry, 10) == b"image"
        queue.keep_report(entry, b"report")
        assert names(queue) == {"reports"}
        entry = first_of(queue.next_report())
        assert queue.read_report(entry) == b"report"
        queue.mark_sending(entry)
        assert queue.next_report().state == "sending"
        queue.mark_sent(entry)
        assert (names(queue), queue.waiting(), queue.next_report()) == (set(), 0, None)
        assert not queue.admit(receive(queue, b"image"))
        assert names(queue) == set()


def test_it_is_for_its_user_alone(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS) as queue:
        queue.admit(receive(queue, b"image"))
        places = [queue.folder, *queue.folder.rglob("*")]
        modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in places}
        assert modes == {(True, 0o700), (False, 0o600)}
    (tmp_path / "open").mkdir(mode=0o755)
    with (
        pytest.raises(UsageError, match="with mode 0755; expected one of yours"),
        DiskQueue.open(tmp_path / "open", LIMITS),
    ):
        pass


def test_order_and_limits(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS) as queue:
        assert queue.admit(receive(queue, b"first"))
        assert queue.admit(receive(queue, b"second"))
        with pytest.raises(QueueFullError):
            queue.admit(receive(queue, b"x" * 995))
        assert not queue.admit(receive(queue, b"first"))
        first = first_of(queue.next_received())
        queue.fail(first, "image")
        second = first_of(queue.next_received())
        queue.keep_report(second, b"report")
        for i in range(3):
            queue.admit(receive(queue, bytes([i])))
        with pytest.raises(QueueFullError):
            queue.admit(receive(queue, b"more"))
        assert (queue.waiting(), queue.failed()) == (4, {"image": 1})
        assert list((queue.folder / "incoming").iterdir()) == []


def test_failed_entries_go_back_to_where_they_were(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS) as queue:
        queue.admit(receive(queue, b"one"))
        queue.admit(receive(queue, b"two"))
        one = first_of(queue.next_received())
        queue.keep_report(one, b"report")
        queue.fail(one, "refused-a900")
        two = first_of(queue.next_received())
        queue.fail(two, "image")
        queue.retry_failed()
        assert (queue.next_report().number, queue.next_received().number) == (1, 2)
        queue.fail(one, "refused-a900")
        queue.remove_failed()
        assert names(queue) == {"images"}
        assert queue.admit(receive(queue, b"one"))


class KilledError(BaseException):
    """What stands for the end of the process."""


def work(queue: DiskQueue) -> None:
    """One image through all of its steps."""
    if not queue.next_report() and not queue.next_received():
        queue.admit(receive(queue, b"image"))
    if entry := queue.next_received():
        queue.keep_report(entry, b"report")
    if entry := queue.next_report():
        queue.mark_sending(entry)
        queue.mark_sent(entry)


def test_whatever_step_is_the_last_the_next_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, count, left = files.call, 0, -1

    def counting(function: object, *arguments: object) -> object:
        nonlocal count, left
        count, left = count + 1, left - 1
        if left == 0:
            raise KilledError
        return honest(function, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "call", counting)
    with DiskQueue.open(tmp_path / "usual", LIMITS) as queue:
        work(queue)
    assert count > 10
    for nth in range(1, count + 1):
        folder, left = tmp_path / str(nth), nth
        try:
            with DiskQueue.open(folder, LIMITS) as queue:
                work(queue)
        except KilledError:
            pass
        left = -1
        with DiskQueue.open(folder, LIMITS) as queue:
            work(queue)
            assert queue.waiting() == 0, nth
            assert queue._table.execute("SELECT COUNT(*) FROM entry").fetchone() == (1,)
            assert names(queue) == set(), nth


def test_a_damaged_or_newer_table_is_refused(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS):
        pass
    with sqlite3.connect(tmp_path / "queue/queue.sqlite") as table:
        table.execute("PRAGMA user_version = 2")
    table.close()
    with (
        pytest.raises(IntegrityError, match="a queue of version 2"),
        DiskQueue.open(tmp_path / "queue", LIMITS),
    ):
        pass
    (tmp_path / "queue/queue.sqlite").write_bytes(b"no table" * 1000)
    with (
        pytest.raises(IntegrityError, match="a table that cannot be used"),
        DiskQueue.open(tmp_path / "queue", LIMITS),
    ):
        pass


def test_images_without_their_table_are_not_removed(tmp_path: Path) -> None:
    with DiskQueue.open(tmp_path / "queue", LIMITS) as queue:
        queue.admit(receive(queue, b"image"))
    (tmp_path / "queue/queue.sqlite").unlink()
    with (
        pytest.raises(IntegrityError, match=r"1 images and reports without queue\.sqlite"),
        DiskQueue.open(tmp_path / "queue", LIMITS),
    ):
        pass
    assert len(list((tmp_path / "queue/images").iterdir())) == 1
