"""Why there is no association with the destination: each cause has its own reason in the log."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from dicom_nodes import Archive, free_port, options_for

from mahtrt.serving.addresses import Destination
from mahtrt.serving.sender import DestinationDownError, Sender

ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"  # PS3.8 9.3.8, by the service user


def why(archive: Archive, host: str = "127.0.0.1") -> tuple[str, str]:
    options = options_for(Path("net.mahtrt"), Path("queue"), archive, timeout_s=2.0)
    sender = Sender(options, "MAHTRT", Destination("PACS", host, archive.port))
    with pytest.raises(DestinationDownError) as caught, sender.connected():
        pass
    return caught.value.reason, caught.value.cause


def test_nobody_listens() -> None:
    assert why(Archive(port=free_port())) == ("no-answer", "Connection refused")


def test_no_such_host() -> None:
    assert why(Archive(port=1), "no-such-host.invalid") == ("no-such-host", "")


def test_another_title() -> None:
    with Archive(title="OTHER").open() as archive:
        assert why(archive) == ("refused", "called-title")


@pytest.mark.parametrize("can_find", [True, False])
def test_no_reports_are_taken(can_find: bool) -> None:
    with Archive(takes_reports=False, can_find=can_find).open() as archive:
        assert why(archive) == ("no-context", "")


@pytest.mark.parametrize(
    ("answer", "expected"), [(ABORT, ("aborted", "")), (b"", ("no-answer", ""))]
)
def test_the_association_is_aborted(answer: bytes, expected: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(100_000)
                    connection.sendall(answer)

        threading.Thread(target=respond, daemon=True).start()
        assert why(Archive(port=server.getsockname()[1])) == expected
