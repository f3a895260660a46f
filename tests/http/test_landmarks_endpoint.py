"""The image endpoint: what ``mahtrt predict --json`` says, of bytes that came over a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from http_services import Running, dotted_image, png_of, running

import mahtrt

PATH = "/v1/landmarks/tiny"


def test_the_document_is_that_of_predict(
    service: Running, tiny_bundle: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png_of(dotted_image(3)))
    options = mahtrt.PredictOptions(tiny_bundle, [image], spacing_mm=0.5)
    wanted = json.loads(mahtrt.predict(options).to_json())
    answer = service.ask(f"{PATH}?spacing_mm=0.5", image.read_bytes())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    wanted["images"][0] |= {"image": "image", "spacing_source": "spacing_mm"}
    assert answer.json == wanted


def test_an_image_may_come_as_a_part(service: Running) -> None:
    png = png_of(dotted_image())
    head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="doe.png"\r\n\r\n'
    answer = service.ask(
        PATH, head + png + b"\r\n--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.json["images"] == service.ask(PATH, png).json["images"]
    assert b"doe" not in answer.body


def test_a_dicom_file_brings_its_spacing(service: Running, tmp_path: Path) -> None:
    gray = np.zeros((64, 96), np.uint8)
    gray[10:14, 20:24] = 255
    place = write_dicom(tmp_path / "image.dcm", gray, PixelSpacing=[0.25, 0.5])
    (image,) = service.ask(PATH, place.read_bytes()).json["images"]
    assert image["spacing_mm"] == [0.25, 0.5]
    assert image["spacing_source"] == "PixelSpacing"
    assert image["dicom"]["spacing"] == "PixelSpacing"


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        (PATH, b"", 400, "an empty file"),
        (PATH, b"no image", 400, "no format that is read"),
        (PATH, png_of(dotted_image())[:80], 400, "cannot be decoded"),
        (f"{PATH}?spacing_mm=wide", b"x", 400, "spacing_mm: got 'wide'"),
        (f"{PATH}?spacing_mm=-1", b"x", 400, "spacing"),
        (f"{PATH}?colour=red", b"x", 400, "query 'colour'"),
        (f"{PATH}?frame=1&frame=2", b"x", 400, "twice"),
        (f"{PATH}?frame=0", b"x", 400, "frame: got '0'"),
        (f"{PATH}?quantities=/etc/passwd", b"x", 400, "expected auto or none"),
        ("/v1/landmarks/other", b"x", 404, "no such model; expected tiny"),
        ("/v1/landmarks", b"x", 404, "path '/v1/landmarks': got no endpoint"),
    ],
)
def test_what_cannot_be_used_is_said_in_the_protocols_form(
    service: Running, path: str, body: bytes, status: int, told: str
) -> None:
    answer = service.ask(path, body)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert told in answer.json["error"]


def test_pixels_are_limited_before_they_are_decoded(tiny_bundle: Path) -> None:
    with running(tiny_bundle, grpc=None, megapixels=0.001) as small:
        answer = small.ask(PATH, png_of(dotted_image()))
    assert answer.status == 413
    assert "expected at most 1000 pixels" in answer.json["error"]
    assert answer.headers["x-error-kind"] == "too-large"
