"""Addresses, log lines and options: texts that become values, and values that become lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mahtrt.errors import UsageError
from mahtrt.serving.addresses import (
    Destination,
    Listener,
    destination_from_text,
    listener_from_text,
)
from mahtrt.serving.events import ServeEvent, json_line, text_line
from mahtrt.serving.options import ServeOptions, check_options

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_addresses() -> None:
    assert listener_from_text(" MAHT RT :104") == Listener("MAHT RT", 104)
    assert destination_from_text("PACS@pacs.example:104") == Destination(
        "PACS", "pacs.example", 104
    )
    six = destination_from_text("PACS@[::1]:104")
    assert (six.host, str(six)) == ("::1", "PACS@[::1]:104")


@pytest.mark.parametrize(
    "text", ["", "104", "A:", "A:x", "A:99999", ":104", "B\\A:1", "A" * 17 + ":1", "Ä:1", "A:²"]
)
def test_what_is_no_listener(text: str) -> None:
    with pytest.raises(UsageError, match="--dicom: got"):
        listener_from_text(text)


@pytest.mark.parametrize(
    "text", ["", "PACS", "PACS@host", "PACS@:1", "@host:1", "PACS@host:0", "PACS@a b:1", "host:1"]
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(UsageError, match="--send-to: got"):
        destination_from_text(text)


def test_lines_are_lines() -> None:
    event = ServeEvent("refused", {"from": 'A "B"\n@::1', "ms": 2.5, "is": True, "none": ""})
    assert text_line(event, NOON) == (
        "time=2026-01-02T12:00:00.000Z event=refused "
        'from="A \\"B\\"\\\\n@::1" ms=2.5 is=true none=""'
    )
    assert json.loads(json_line(event, NOON)) == {
        "time": "2026-01-02T12:00:00.000Z",
        "event": "refused",
        **event.facts,
    }


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "mahtrt serve: got no service; expected --dicom AE:PORT"),
        (
            {"dicom": "A:1", "tls_key": Path("k")},
            "--tls-key: got it alone; expected --tls-cert",
        ),
        ({"dicom": "A:1", "send_cert": Path("c")}, "--send-cert: got it alone; expected --send-ca"),
        ({"dicom": "A:1", "timeout_s": 0.0}, "--timeout-s: got 0.0 s; expected a time above 0"),
        ({"dicom": "A:1", "retry_s": float("nan")}, "--retry-s: got nan s"),
        ({"dicom": "A:1", "associations": 0}, "--associations: got 0; expected at least 1"),
        ({"dicom": "A:1", "retry_s": 400}, "--retry-s: got 400 s; expected at most --retry-most-s"),
        ({"failed": "list", "drain": True}, "--failed list: got --drain too"),
        ({"dicom": "A:1", "failed": "x"}, "--failed: got x; expected keep, retry, remove or list"),
    ],
)
def test_options_that_contradict_themselves(named: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options(ServeOptions(Path("b"), "A@h:1", **named))
    assert str(caught.value).startswith(said)
