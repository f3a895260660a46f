"""Nothing that names a patient is in a log line, or in the queue when its report was sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_nodes import Archive, Log, make_image, options_for, send, until

from mahtrt.serving.events import json_line, text_line
from mahtrt.serving.serve import opened

COUNT = 50
NAMING = ("PatientName", "PatientID", "AccessionNumber", "SOPInstanceUID", "StudyInstanceUID")


def test_fifty_headers_leave_no_trace(
    bundle: Path, archive: Archive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Every tenth cannot be read, and every tenth is refused by the destination.
    images = [make_image(1000 + i, PatientComments=f"Secret{i}") for i in range(COUNT)]
    for image in images[::10]:
        image.Rows = 700
    kept = {str(image.PatientID) for image in images[5::10]}
    archive.answer = lambda report: 0xC000 if report.PatientID in kept else 0
    log, queue = Log(), tmp_path / "queue"
    with opened(options_for(bundle, queue, archive), log) as node:
        assert send(images, node.receiver.port) == [0] * COUNT
        until(lambda: len(log.of("sent")) + len(log.of("failed")) == COUNT)
        assert sum(node.result().failed.values()) == COUNT // 5
    said = "\n".join(line(event) for event in log.events for line in (text_line, json_line))
    said += "".join(capfd.readouterr())
    secrets = {str(image[name].value) for image in images for name in NAMING}
    secrets |= {"Roe^Jane", "Secret", "19700203", "20240504", "Poe^Ann", "101112"}
    assert [secret for secret in secrets if secret in said] == []
    table = (queue / "queue.sqlite").read_bytes()
    assert [secret for secret in secrets if secret.encode() in table] == []

    with opened(options_for(bundle, queue, archive, failed="remove")):
        pass
    for path in queue.rglob("*"):
        assert not any(secret in path.name for secret in secrets)
        content = path.read_bytes() if path.is_file() else b""
        assert [secret for secret in secrets if secret.encode() in content] == []
    assert [path.name for path in queue.rglob("*") if path.is_file()] == ["queue.sqlite"]
