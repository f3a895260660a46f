"""What can never have a report is refused when it comes in, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_nodes import Archive, Log, make_image, options_for, send, until
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from mahtrt.serving.incoming import HEAD_BYTES, Heading, IncomingObject
from mahtrt.serving.serve import opened
from mahtrt.serving.unusable import why_never


def frames(count: int) -> Dataset:
    return make_image(1, NumberOfFrames=count, PixelData=bytes(2 * 40 * 40 * count))


def without(keyword: str) -> Dataset:
    image = make_image(1)
    del image[keyword]
    return image


CASES: dict[str, tuple[Callable[[], Dataset], str]] = {
    "frames": (lambda: frames(3), "several-frames"),
    "one frame": (lambda: frames(1), ""),
    "no pixels": (lambda: without("PixelData"), "no-pixels"),
    "no study": (lambda: without("StudyInstanceUID"), "no-uid"),
    "no series": (lambda: without("SeriesInstanceUID"), "no-uid"),
    "no instance": (lambda: without("SOPInstanceUID"), "no-uid"),
    "empty study": (lambda: make_image(1, StudyInstanceUID=""), "no-uid"),
    "usual": (lambda: make_image(1), ""),
}


def test_what_can_never_have_a_report_is_refused(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    log, queue = Log(), tmp_path / "queue"
    # pynetdicom's client does not send without a SOP Instance UID.
    cases = [CASES[name] for name in CASES if name not in ("no instance", "one frame", "usual")]
    with opened(options_for(bundle, queue, archive), log) as node:
        port = node.receiver.port
        assert [send([make()], port)[0] for make, _ in cases] == [0xC002] * len(cases)
        assert send([make_image(2)], port) == [0]
        until(lambda: log.of("sent"))
        result = node.result()
    assert [event.facts["reason"] for event in log.of("unusable")] == [why for _, why in cases]
    assert {event.facts["status"] for event in log.of("unusable")} == {"c002"}
    assert (result.received, result.refused, result.failed) == (1, len(cases), {})
    assert list(queue.rglob("*.dcm")) == list((queue / "incoming").iterdir()) == []


def incoming(image: Dataset, syntax: str, folder: Path) -> IncomingObject:
    """An object as pynetdicom's server writes it."""
    place = folder / "object"
    found = IncomingObject(lambda: (place, place.open("wb")), lambda: Heading(b"", syntax), 2**30)
    is_implicit, is_deflated = UID(syntax).is_implicit_VR, UID(syntax).is_deflated
    content = encode(image, is_implicit, True, is_deflated)
    assert content is not None
    found.write(content)
    return found


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_tells(name: str, syntax: str, tmp_path: Path) -> None:
    make, why = CASES[name]
    content = incoming(make(), syntax, tmp_path)
    assert why_never(content) == why
    content.close()


def test_a_header_beyond_what_is_looked_at_is_left_to_reading(tmp_path: Path) -> None:
    long = make_image(1, RedPaletteColorLookupTableData=bytes(2 * HEAD_BYTES))
    del long.PixelData
    content = incoming(long, ImplicitVRLittleEndian, tmp_path)
    assert why_never(content) == ""
    content.close()


READ: dict[str, dict[str, Any]] = {
    "short-pixels": {"Rows": 700},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "too-large": {"Rows": 40_000},
    "too-small": {"Rows": 1, "Columns": 1},
    "damaged-header": {"BitsStored": 77},
    "damaged-pixels": {"RescaleSlope": "1e308", "RescaleIntercept": 0},
}


def test_each_image_that_cannot_be_read_says_why(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    log = Log()
    with opened(options_for(bundle, tmp_path / "queue", archive), log) as node:
        images = [make_image(number, **fields) for number, fields in enumerate(READ.values())]
        assert set(send(images, node.receiver.port)) == {0}
        until(lambda: len(log.of("failed")) + len(log.of("sent")) == len(READ))
    assert [event.facts["reason"] for event in log.of("failed")] == list(READ)


def test_damage_is_left_to_reading(tmp_path: Path) -> None:
    content = IncomingObject(
        lambda: (tmp_path / "object", (tmp_path / "object").open("wb")),
        lambda: Heading(b"", DeflatedExplicitVRLittleEndian),
        2**30,
    )
    content.write(b"no deflated data")
    assert why_never(content) == ""
    content.close()
