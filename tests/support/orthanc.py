"""Orthanc, a DICOM archive, started on ports of the loopback interface and stopped again."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Orthanc:
    """An archive that runs.

    Attributes:
        http: The port of its REST interface.
        dicom: The port of its DICOM node, whose AE title is ORTHANC; 0 where it has none.
    """

    http: int
    dicom: int = 0

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        """GET a path of the REST interface, or POST data to it."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    def told(self, path: str, data: bytes | None = None) -> Any:
        """The JSON that it answers with."""
        return json.loads(self.ask(path, data))


def find_orthanc() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port of the loopback interface that nobody has just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running_orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """Orthanc with a storage of its own in a folder, while the block runs.

    Args:
        settings: Settings of its configuration, such as ``DicomServerEnabled=True``.
    """
    program = find_orthanc()
    assert program is not None
    has_dicom = settings.get("DicomServerEnabled", False)
    orthanc = Orthanc(free_port(), free_port() if has_dicom else 0)
    usual = {
        "Name": "mahtrt test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": orthanc.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "DicomPort": orthanc.dicom or 4242,
        "DicomAet": "ORTHANC",
        "Plugins": [],
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps({**usual, **settings}), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, configuration], stdout=log, stderr=log)
        try:
            _wait(orthanc, process)
            yield orthanc
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def _wait(orthanc: Orthanc, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, "Orthanc ended"
        assert time.monotonic() < end, "Orthanc does not answer"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            orthanc.ask("/system")
            return
        time.sleep(0.05)
