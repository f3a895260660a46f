"""Connections end: their sockets are closed, and nobody is waited for without a limit."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from dicom_nodes import Archive, Log, free_port, make_image, options_for, send, until

from mahtrt.serving.serve import opened


@contextlib.contextmanager
def no_socket_left_open() -> Iterator[None]:
    """Fail where Python's garbage collector had to close a socket."""
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(each.message) for each in told if "socket" in str(each.message)] == []


def test_a_destination_that_is_down_leaves_no_socket(bundle: Path, tmp_path: Path) -> None:
    log = Log()
    with no_socket_left_open():
        down = Archive(port=free_port())
        with opened(options_for(bundle, tmp_path / "queue", down), log) as node:
            assert send([make_image(1)], node.receiver.port) == [0]
            until(lambda: len(log.of("destination-waits")) >= 3)


def test_senders_that_go_away_leave_no_socket(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    log = Log()
    with (
        no_socket_left_open(),
        opened(options_for(bundle, tmp_path / "queue", archive), log) as node,
    ):
        port = node.receiver.port
        for content in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", b"\x01\x00"):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(content)
        assert send([make_image(1)], port, called="OTHER") == [None]
        assert send([make_image(1)], port) == [0]


def test_a_unit_has_to_be_whole_in_time(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    options = options_for(bundle, tmp_path / "queue", archive, timeout_s=0.6)
    with (
        opened(options) as node,
        socket.create_connection(("127.0.0.1", node.receiver.port)) as slow,
    ):
        slow.settimeout(0.1)
        began, answer = time.monotonic(), None
        slow.sendall(b"\x01\x00\x00\x00\x10\x00")
        while answer is None and time.monotonic() < began + 10:
            with contextlib.suppress(TimeoutError):
                slow.sendall(b"\x00")  # each in time, all of them never
                answer = slow.recv(100)
        assert time.monotonic() - began < 5


def test_a_destination_that_falls_silent_is_given_up(bundle: Path, tmp_path: Path) -> None:
    log, answered = Log(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = silent.accept()
                    connection.sendall(b"\x02\x00\x00\x00\x10\x00\x00")  # the start of an answer
                    kept.append(connection)
                    answered.set()

        kept: list[socket.socket] = []
        threading.Thread(target=answer, daemon=True).start()
        archive = Archive(port=silent.getsockname()[1])
        options = options_for(bundle, tmp_path / "queue", archive, timeout_s=0.3)
        with opened(options, log) as node:
            assert send([make_image(1)], node.receiver.port) == [0]
            until(lambda: len(log.of("destination-waits")) >= 2)
            assert node.result().waiting == 1
        for connection in kept:
            connection.close()


def test_who_only_looks_whether_the_port_is_open_holds_no_place(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    options = options_for(bundle, tmp_path / "queue", archive, timeout_s=60.0, associations=2)
    with opened(options) as node:
        port = node.receiver.port
        for content in (b"", b"\x01\x00\x00\x00", b"GET / HTTP/1.0\r\n\r\n") * 4:
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(content)
        until(lambda: send([make_image(1)], port) == [0], 5)
