"""A node with pynetdicom at both ends, all in one process."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from dicom_nodes import Archive, Log, free_port, make_image, options_for, send, until
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, RLELossless
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from mahtrt.errors import UsageError
from mahtrt.serving.serve import opened


def test_an_image_comes_in_and_its_report_goes_out(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    image, log = make_image(1), Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([image], node.receiver.port) == [0]
        until(lambda: log.of("sent"))
        result = node.result()
    (report,) = archive.stored.values()
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert report.PatientID == image.PatientID
    assert report.StudyInstanceUID == image.StudyInstanceUID
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert (result.received, result.sent, result.waiting, result.failed) == (1, 1, 0, {})
    left = [path.name for path in (tmp_path / "queue").rglob("*.dcm")]
    assert left == []


def test_compressed_pixels_give_what_their_twins_give(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    plain, packed = make_image(1), make_image(2)
    packed.PixelData = plain.PixelData
    packed.compress(RLELossless, generate_instance_uid=False)
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        assert send([plain], node.receiver.port) == send([packed], node.receiver.port) == [0]
        until(lambda: len(archive.stored) == 2)
    first, second = (points_of(report) for report in archive.stored.values())
    assert len(first) == 3
    assert first == second


def points_of(report: Dataset) -> list[list[float]]:
    """The points of a report, as they stand in it."""
    found = [each.value for each in report.iterall() if each.keyword == "GraphicData"]
    return [list(map(float, value)) for value in found]


def test_it_answers_an_echo(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        entity = AE("CT1")
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", node.receiver.port, ae_title="MAHTRT")
        assert association.send_c_echo().Status == 0
        association.release()


def test_the_same_image_gives_one_report(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    image, log = make_image(1), Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([image, image], node.receiver.port) == [0, 0]
        until(lambda: log.of("sent"))
        assert send([image], node.receiver.port) == [0]
        assert (node.result().received, node.result().repeated) == (1, 2)
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([image], node.receiver.port) == [0]  # known to the next process too
        assert node.result().waiting == 0
    assert list(archive.count.values()) == [1]


def test_other_pixels_of_the_same_uid_give_a_report_of_their_own(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    images = [make_image(1), make_image(1, PixelData=bytes(2 * 40 * 40))]
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        assert send(images, node.receiver.port) == [0, 0]
        until(lambda: len(archive.stored) == 2)
    assert list(archive.count.values()) == [1, 1]


def test_strangers_are_rejected(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    log = Log()
    options = options_for(bundle, tmp_path / "queue", archive, allow=["CT1"])
    with opened(options, log) as node:
        port = node.receiver.port
        assert send([make_image(1)], port, calling="STRANGER") == [None]
        assert send([make_image(1)], port, called="OTHER") == [None]
        assert send([make_image(1)], port) == [0]
    first, second = log.of("association-rejected")
    assert (first.facts["from"], first.facts["called"]) == ("STRANGER@127.0.0.1", "MAHTRT")
    assert second.facts["called"] == "OTHER"


def test_what_is_no_image_is_not_taken(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    document = make_image(1, SOPClassUID=EncapsulatedPDFStorage)
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        assert send([document], node.receiver.port) == [None]


def test_what_cannot_be_read_fails_and_is_kept(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    short = make_image(1, Rows=700)
    log, queue = Log(), tmp_path / "queue"
    with opened(options_for(bundle, queue, archive), log) as node:
        assert send([short, make_image(2)], node.receiver.port) == [0, 0]
        until(lambda: log.of("failed") and log.of("sent"))
        assert node.result().failed == {"short-pixels": 1}
    assert len(list((queue / "images").iterdir())) == 1
    with opened(options_for(bundle, queue, archive, failed="retry"), log) as node:
        until(lambda: len(log.of("failed")) == 2)
    with opened(options_for(bundle, queue, archive, failed="remove"), log) as node:
        assert node.result().failed == {}
    assert list((queue / "images").iterdir()) == []


def test_images_over_a_limit_are_refused_and_taken_later(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    archive.answer = lambda report: 0xA700
    large = make_image(9, side=800)
    options = options_for(bundle, tmp_path / "queue", archive, queue_entries=2, object_mib=1)
    log = Log()
    with opened(options, log) as node:
        port = node.receiver.port
        images = [make_image(number) for number in range(3)]
        assert send([*images, large], port) == [0, 0, 0xA700, 0xC001]
        assert [event.facts["reason"] for event in log.of("refused")] == ["queue-full", "too-large"]
        archive.answer = lambda report: 0x0000
        until(lambda: len(archive.stored) == 2)
        until(lambda: node.result().waiting == 0)
        assert send(images, port) == [0, 0, 0]
        until(lambda: len(archive.stored) == 3)
        assert list((options.queue / "incoming").iterdir()) == []


def test_a_destination_that_is_down_gets_everything_later(bundle: Path, tmp_path: Path) -> None:
    archive, log = Archive(port=free_port()), Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([make_image(1), make_image(2)], node.receiver.port) == [0, 0]
        until(lambda: len(log.of("destination-waits")) >= 3)
        with archive.open():
            until(lambda: len(archive.stored) == 2)
    assert log.of("destination-waits")[0].facts["reason"] == "no-answer"
    assert set(archive.count.values()) == {1}


def test_what_the_destination_refuses_is_kept(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    archive.answer = lambda report: 0xA900
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: node.result().failed == {"refused-a900": 1})
    archive.answer = lambda report: 0x0000
    with opened(options_for(bundle, tmp_path / "queue", archive, failed="retry", drain=True)):
        until(lambda: len(archive.stored) == 1)


@pytest.mark.parametrize("can_find", [True, False])
def test_a_report_whose_answer_was_lost_is_looked_for(
    can_find: bool, bundle: Path, tmp_path: Path
) -> None:
    archive, log = Archive(can_find=can_find), Log()
    with archive.open(), opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: log.of("sent"))
        node.stop()
        queue = node._queue
        with queue._lock:  # as it is where the process ends before the answer
            queue._table.execute("UPDATE entry SET state = 'sending'")
            (report,) = archive.stored.values()
            report.save_as(queue.report(queue.next_report().digest), enforce_file_format=True)
    with archive.open(), opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        until(lambda: len(log.of("sent")) == 2)
    assert list(archive.count.values()) == [1 if can_find else 2]


def test_a_port_in_use_is_one_line(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = options_for(bundle, tmp_path / "queue", archive, dicom=f"MAHTRT:{port}")
        with (
            pytest.raises(UsageError, match=rf"--dicom MAHTRT:{port}: got Address already in use"),
            opened(options),
        ):
            pass


def test_a_queue_has_one_service(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    options = options_for(bundle, tmp_path / "queue", archive)
    with (
        opened(options),
        pytest.raises(UsageError, match="a queue that another process has open"),
        opened(options),
    ):
        pass


def test_a_unit_that_claims_too_much_ends_its_connection(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        with socket.create_connection(("127.0.0.1", node.receiver.port)) as stranger:
            stranger.settimeout(10)
            stranger.sendall(b"\x01\x00\xff\xff\xff\xff")
            assert stranger.recv(100) == b""
        assert send([make_image(1)], node.receiver.port) == [0]


def test_a_request_that_names_another_image_overwrites_no_report(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    image, other = make_image(1), make_image(1, PixelData=bytes(2 * 40 * 40))
    with opened(options_for(bundle, tmp_path / "queue", archive)) as node:
        assert send([image], node.receiver.port) == [0]
        until(lambda: len(archive.stored) == 1)
        entity = AE("CT1")
        entity.add_requested_context(image.SOPClassUID)
        association = entity.associate("127.0.0.1", node.receiver.port, ae_title="MAHTRT")
        honest = association.dimse.send_msg

        def renamed(request: Any, context: int) -> None:
            request.AffectedSOPInstanceUID = "1.2.3"
            honest(request, context)

        association.dimse.send_msg = renamed  # type: ignore[method-assign,assignment]
        assert association.send_c_store(other).Status == 0
        association.release()
        until(lambda: len(archive.stored) == 2)
    assert list(archive.count.values()) == [1, 1]
