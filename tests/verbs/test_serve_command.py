"""``mahtrt serve`` as a process: its log lines, its signals and its exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from dicom_nodes import Archive, Log, free_port, is_open, make_image, send, until
from foreign_network import run
from tiny_bundle import write_tiny

from mahtrt.serving.disk_queue import DiskQueue, QueueLimits, Received
from mahtrt.verbs.serve import _quiet_libraries

PATIENCE_S = 30


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.mahtrt", golden=())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(
    number: signal.Signals, bundle: Path, tmp_path: Path
) -> None:
    port = free_port()
    with Archive().open() as archive:
        command = [
            *(sys.executable, "-m", "mahtrt.cli", "serve", str(bundle), f"--dicom=MAHTRT:{port}"),
            *(f"--send-to=PACS@127.0.0.1:{archive.port}", f"--queue={tmp_path / 'queue'}"),
            *("--engine=onnxruntime-int8", "--log=json", "--json=-", "--allow=CT1"),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            until(lambda: is_open(port), PATIENCE_S)
            assert send([make_image(1)], port) == [0]
            until(lambda: len(archive.stored) == 1)
            process.send_signal(number)
            document, lines = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, lines
    assert json.loads(document) == {
        "schema": "mahtrt.serve/1",
        "received": 1,
        "repeated": 0,
        "refused": 0,
        "sent": 1,
        "waiting": 0,
        "failed": {},
        "listed": [],
    }
    events = [json.loads(line)["event"] for line in lines.splitlines()]
    wanted = ["golden", "ready", "received", "computed", "sent", "ending", "ended"]
    assert set(wanted) <= set(events)
    assert (events[0], events[-1]) == ("golden", "ended")


def test_what_cannot_be_served_is_one_line(bundle: Path, tmp_path: Path) -> None:
    usual = ("serve", bundle, "--send-to=PACS@127.0.0.1:104", f"--queue={tmp_path / 'queue'}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cases = {
            (f"--dicom=MAHTRT:{taken.getsockname()[1]}",): (2, "got Address already in use"),
            (): (2, "got no service; expected --dicom AE:PORT"),
            ("--dicom=MAHTRT",): (2, "--dicom: got 'MAHTRT'; expected AE:PORT"),
            ("--drain", "--log=xml"): (2, "--log: got xml; expected text or json"),
            ("--drain", "--failed=x"): (2, "--failed: got x; expected keep, retry, remove or list"),
            ("--drain", "--send-ca=x.pem"): (1, "--send-ca x.pem: got no such file"),
        }
        for options, (code, said) in cases.items():
            result = run(*usual, *options)
            assert result.exit_code == code, result.stderr
            (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
            assert said in line


def test_wrong_options_are_told_before_the_engine_is_tried(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    usual = ("serve", bundle, "--send-to=PACS@127.0.0.1:104", "--dicom=MAHTRT:0")
    queue = f"--queue={tmp_path / 'queue'}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cases = {
            (queue, "--allow=a-title-that-is-too-long"): (2, "--allow: got 'a-title"),
            (queue, "--host=192.0.2.1"): (2, "--host 192.0.2.1: got Cannot assign requested"),
            (queue, "--tls-cert=x.pem"): (1, "--tls-cert x.pem: got no such file"),
            (f"--queue={file}",): (2, f"--queue {file}: got Not a directory; expected a folder"),
            (queue, f"--dicom=MAHTRT:{taken.getsockname()[1]}"): (2, "--dicom MAHTRT:"),
            (queue, "--failed=list", "--queue=nowhere"): (2, "--queue nowhere: got no queue"),
        }
        for options, (code, said) in cases.items():
            result = run(*usual, *options)
            assert result.exit_code == code, result.stderr
            assert said in result.stderr
            assert "event=golden" not in result.stderr


def test_a_drain_tells_by_its_exit_code_what_failed(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    with DiskQueue.open(folder, QueueLimits(2**40, 2**40)) as queue:
        path, file = queue.new_file()
        with file:
            file.write(b"no image")
        queue.admit(Received(path, "5" * 64, 8))
    usual = ("serve", bundle, "--send-to=PACS@127.0.0.1:104", f"--queue={folder}")
    result = run(*usual, "--drain", "--engine=onnxruntime-int8")
    assert result.exit_code == 1
    assert result.stdout == "0 received, 0 sent, 0 waiting, 1 failed (damaged-header: 1)\n"
    assert "error: the queue holds what failed; --failed list tells" in result.stderr
    result = run(*usual, "--failed=list")
    assert result.exit_code == 0, result.stderr
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{'5' * 64} damaged-header 8 bytes, since 2")
    assert last.endswith("1 failed (damaged-header: 1)")
    (listed,) = json.loads(run(*usual, "--failed=list", "--json=-").stdout)["listed"]
    assert {*listed} == {"digest", "reason", "size_bytes", "since"}


def test_without_work_a_drain_ends_at_once(bundle: Path, tmp_path: Path) -> None:
    usual = ("serve", bundle, "--send-to=PACS@127.0.0.1:104", f"--queue={tmp_path / 'queue'}")
    result = run(*usual, "--drain", "--engine=onnxruntime-int8")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "0 received, 0 sent, 0 waiting, 0 failed\n"
    assert "event=ready engine=onnxruntime-int8 device=cpu waiting=0 failed=0" in result.stderr


@pytest.mark.parametrize("chosen", [None, "INFO"])
def test_the_core_of_grpc_is_silent_unless_somebody_wants_to_hear_it(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    if chosen is None:
        monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    else:
        monkeypatch.setenv("GRPC_VERBOSITY", chosen)
    with _quiet_libraries(Log()):
        assert os.environ["GRPC_VERBOSITY"] == (chosen or "NONE")
    assert os.environ.get("GRPC_VERBOSITY") == chosen


def test_a_thread_of_a_library_that_ends_says_nothing_of_what_it_read(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = Log()

    def broken() -> None:
        raise ValueError("Roe^Jane is no UID")

    with _quiet_libraries(log):
        warnings.warn("Roe^Jane is no UID", UserWarning, stacklevel=1)
        logging.getLogger("pynetdicom.dul").error("Roe^Jane is no UID")
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
    assert [(event.name, event.facts) for event in log.events] == [
        ("connection-broken", {"kind": "ValueError"})
    ]
    assert "Roe" not in "".join(capfd.readouterr())
