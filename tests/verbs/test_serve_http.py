"""``mahtrt serve --http`` as a process: its log lines, its signals and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_nodes import free_port
from foreign_network import run
from http_services import Answer, Running, dotted_image, png_of


@pytest.mark.slow
def test_a_signal_ends_it_in_good_order(tiny_bundle: Path) -> None:
    port = free_port()
    command = [
        *(sys.executable, "-W", "error", "-m", "mahtrt.cli", "serve", f"net={tiny_bundle}"),
        *(f"--http={port}", "--log=json", "--json=-", "--log-requests", "--threads=1"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "ready":
                break
        asked = Running(port, 0, [], None)  # type: ignore[arg-type]
        answer: Answer = asked.ask("/v1/landmarks/net", png_of(dotted_image()))
        assert asked.ask("/v1/landmarks/net", b"?").status == 400
        process.send_signal(signal.SIGTERM)
        document, rest = process.communicate(timeout=30)
    lines += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    assert answer.status == 200
    assert json.loads(document) == {
        "schema": "mahtrt.serve-http/1",
        "requests": 2,
        "failed": 1,
        "cancelled": 0,
        "cases": 1,
    }
    events = [line["event"] for line in lines]
    assert events == ["golden", "drift-unwatched", "ready", "request", "request", "ending", "ended"]
    assert lines[4]["error"] == "image"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--http=8000", "--dicom=A:1", "--send-to=A@b:1"),
            "mahtrt serve: got --http and --dicom; expected one of them. A process is one service",
        ),
        (("--http=8000", "--send-to=A@b:1"), "--send-to: got it with --http; expected --dicom"),
        (("--grpc=8001",), "--grpc: got it without --http; expected --http"),
        (("--send-to=A@b:1", "--streams=2"), "--streams: got it without --http"),
        (("--http=x",), "--http: got 'x'; expected [HOST:]PORT"),
        ((), "mahtrt serve: got no service; expected --http PORT, or --dicom AE:PORT"),
        (("other.mahtrt", "--send-to=A@b:1"), "mahtrt serve --dicom: got 2 bundles; expected one"),
    ],
)
def test_one_kind_of_service_is_asked_for(
    tiny_bundle: Path, options: tuple[str, ...], told: str
) -> None:
    result = run("serve", tiny_bundle, *options)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert told in result.stderr
