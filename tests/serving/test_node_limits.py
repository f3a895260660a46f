"""What a node does where something runs out: the disk, associations, patience, or the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_nodes import Archive, Log, make_image, options_for, send, until
from pynetdicom import AE
from tiny_bundle import write_tiny
from tiny_maps import build_bundle

from mahtrt import files
from mahtrt.errors import GateError, UsageError
from mahtrt.serving.disk_queue import MOST_TRIES, DiskQueue, QueueLimits
from mahtrt.serving.serve import opened

LARGE = 2**40


def full_disk(monkeypatch: pytest.MonkeyPatch, wanted: Callable[[str], bool]) -> list[bool]:
    """A disk that is full for files whose place is wanted, while the list holds True."""
    honest, is_full = files.call, [True]

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        place = str(arguments[0]) if arguments else ""
        if is_full[0] and function is os.open and wanted(place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
        return honest(function, *arguments)

    monkeypatch.setattr(files, "call", call)
    return is_full


def test_a_full_disk_takes_no_images_until_there_is_room(
    bundle: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        is_full = full_disk(monkeypatch, lambda place: "incoming" in place)
        assert send([make_image(1)], node.receiver.port) == [0xA700]
        is_full[0] = False
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: len(archive.stored) == 1)
    assert [event.facts["reason"] for event in log.of("refused")] == ["disk"]


def test_a_report_waits_for_room_on_the_disk(
    bundle: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mahtrt.serving.node._TROUBLE_S", 0.02)
    log, begun = Log(), []

    def second(place: str) -> bool:  # the first file is the image
        begun.append(place)
        return len(begun) > 1

    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        is_full = full_disk(monkeypatch, lambda place: "incoming" in place and second(place))
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: len(log.of("disk")) > MOST_TRIES)
        assert {event.facts["reason"] for event in log.of("disk")} == {"full"}
        is_full[0] = False
        until(lambda: len(archive.stored) == 1)
    assert log.of("failed") == []


def test_an_image_that_ends_the_process_is_put_aside(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    options = options_for(bundle, tmp_path / "queue", archive, drain=True)
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        node.stop = lambda: None  # type: ignore[method-assign]
        node._ending.set()
        assert send([make_image(1)], node.receiver.port) == [0]
        del node.stop
    for _ in range(MOST_TRIES):
        with DiskQueue.open(options.queue, QueueLimits(LARGE, LARGE)) as queue:
            assert queue.next_received() is not None
    with opened(options) as node:
        until(lambda: node.result().failed == {"ends-process": 1})


def test_an_object_that_is_cut_off_leaves_nothing(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    options = options_for(bundle, tmp_path / "queue", archive)
    incoming, image = options.queue / "incoming", make_image(1, side=1000)
    with opened(options) as node:
        entity = AE("CT1")
        entity.add_requested_context(image.SOPClassUID)
        association = entity.associate("127.0.0.1", node.receiver.port, ae_title="MAHTRT")
        honest, sent = association.dul.send_pdu, []

        def some(unit: Any) -> None:
            sent.append(unit)
            if len(sent) < 5:
                honest(unit)
            elif len(sent) == 5:
                until(lambda: list(incoming.iterdir()))
                association.dul.socket._shutdown_socket()

        association.dul.send_pdu = some  # type: ignore[method-assign,assignment]
        association.dimse_timeout = 1
        association.send_c_store(image)
        until(lambda: not list(incoming.iterdir()))
        assert node.result().received == 0


def test_associations_are_limited_by_the_protocol(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    options = options_for(bundle, tmp_path / "queue", archive, associations=2)
    with opened(options) as node:
        entity = AE("CT1")
        entity.add_requested_context(make_image(1).SOPClassUID)
        made = [
            entity.associate("127.0.0.1", node.receiver.port, ae_title="MAHTRT") for _ in range(3)
        ]
        assert [each.is_established for each in made] == [True, True, False]
        assert made[2].is_rejected
        made[0].release()
        until(lambda: send([make_image(1)], node.receiver.port) == [0])
        made[1].release()


def test_a_damaged_engine_serves_nobody(archive: Archive, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "off.mahtrt", off_px=0.0)  # its golden landmarks are others
    options = options_for(bundle, tmp_path / "queue", archive)
    with pytest.raises(GateError, match="onnxruntime-fp32 on golden images"), opened(options):
        pass
    assert list(options.queue.rglob("*.dcm")) == []


def test_a_network_without_landmarks_is_refused(archive: Archive, tmp_path: Path) -> None:
    bundle = build_bundle(tmp_path / "maps.mahtrt", targets=("onnxruntime",))
    options = options_for(bundle, tmp_path / "queue", archive, engine="onnxruntime")
    with (
        pytest.raises(UsageError, match="mahtrt serve: got a network that gives map, logits"),
        opened(options),
    ):
        pass
