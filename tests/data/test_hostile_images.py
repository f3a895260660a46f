"""Image files made to harm: by their format, by what they claim, by what kind of file they are."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from programs import run_python

from mahtrt.data.images import read_image_and_spacing
from mahtrt.data.limits import MOST_PIXELS, MOST_SIDE_PX
from mahtrt.data.preprocess import check_image, fit_image
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_an_eps_starts_no_other_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    interpreter = tmp_path / "bin" / "gs"
    interpreter.parent.mkdir()
    interpreter.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", str(interpreter.parent), prepend=os.pathsep)
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_image_and_spacing(tmp_path / name)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["GIF", "ICO", "TGA", "PCX", "SGI", "DDS"])
def test_formats_that_are_not_documented_are_refused(
    tmp_path: Path, picture: np.ndarray[tuple[int, int], np.dtype[np.uint8]], kind: str
) -> None:
    Image.fromarray(picture).convert("RGB").save(tmp_path / "a.png", format=kind)
    with pytest.raises(ImageError, match=r"of no format that is read.*BMP, JPEG, MPO, PNG"):
        read_image_and_spacing(tmp_path / "a.png")


def test_an_empty_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match="got an empty file; expected an image"):
        read_image_and_spacing(tmp_path / "a.png")


def test_only_the_decoder_of_the_format_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(EPS)
    ended = run_python(
        "-c",
        "import sys\n"
        "from pathlib import Path\n"
        "from mahtrt.data.images import read_image_and_spacing\n"
        f"try: read_image_and_spacing(Path({str(tmp_path / 'a.png')!r}))\n"
        "except Exception: pass\n"
        "print(*(name for name in sys.modules if name.endswith('ImagePlugin')))",
    )
    assert ended.stdout.split() == []


def huge_png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("size", [(8193, 8192), (MOST_SIDE_PX + 1, 2), (2**31 - 1, 2**31 - 1)])
def test_a_header_that_claims_too_many_pixels_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "a.png").write_bytes(huge_png(*size))
    with pytest.raises(ImageError, match=rf"a\.png: got {size[0]}x{size[1]} pixels; .* at most"):
        read_image_and_spacing(tmp_path / "a.png")


def test_the_limit_of_pillow_is_neither_asked_nor_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    assert read_image_and_spacing(tmp_path / "a.png")[0].shape == (30, 40)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_arrays_have_the_same_limit_as_files() -> None:
    longest = np.broadcast_to(np.uint16(1), (2**13, MOST_PIXELS // 2**13))
    check_image(longest)
    for shape in ((2**13 + 1, MOST_PIXELS // 2**13), (2, MOST_SIDE_PX + 1), (2**40, 2**20, 3)):
        with pytest.raises(ImageError, match="expected at most"):
            check_image(np.broadcast_to(np.uint8(1), shape))


def test_an_image_that_is_all_length_is_not_blown_up_to_be_cropped() -> None:
    spec = InputSpec(channels=1, size=(256, 256), resize="center_crop")
    with pytest.raises(ImageError, match=r"30000x2 pixels, which would be resized to 3840000x256"):
        fit_image(np.zeros((2, 30_000), np.uint8), spec)


def test_metadata_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "0" * 20_000_000, zip=True)
    Image.new("L", (40, 30)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(ImageError, match="too large"):
        read_image_and_spacing(tmp_path / "a.png")


def test_progressive_scans_without_an_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 40).save(path, progressive=True, quality=90)
    whole = path.read_bytes()
    last = whole.rindex(b"\xff\xda")
    path.write_bytes(whole[:last] + whole[last:-2] * 200 + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"a JPEG of \d+ scans; expected at most 100"):
        read_image_and_spacing(path)


def test_exif_data_without_an_end_are_refused(tmp_path: Path) -> None:
    """Pillow joins all segments, and reads two of their tags, while it opens the file."""
    path = tmp_path / "a.jpg"
    Image.new("L", (40, 30)).save(path)
    whole = path.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 1000) + b"Exif\0\0" + bytes(1000)
    path.write_bytes(whole[:2] + segment * 200 + whole[2:])
    with pytest.raises(ImageError, match=r"a JPEG of 200 EXIF segments; expected at most 100"):
        read_image_and_spacing(path)


def tiff_of_many_numbers(tag: int, count: int, order: str) -> bytes:
    """A TIFF of one tag, of numbers of 16 bits."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HLH", 42, 8, 1)
    entry = struct.pack(order + "HHLL", tag, 3, count, 26)
    return head + entry + struct.pack(order + "L", 0) + bytes(2 * count)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_many_numbers_are_refused(tmp_path: Path, order: str) -> None:
    strips, orientation = 0x0111, 0x0112
    (tmp_path / "a.tif").write_bytes(tiff_of_many_numbers(strips, 2**21, order))
    with pytest.raises(ImageError, match="tags of 2097152 numbers"):
        read_image_and_spacing(tmp_path / "a.tif")
    exif = tiff_of_many_numbers(orientation, 2**21, order)
    Image.new("L", (40, 30)).save(tmp_path / "b.png", exif=exif)
    with pytest.raises(ImageError, match="tags of 2097152 numbers"):
        read_image_and_spacing(tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    start, end = content.index(b"eXIf") - 4, content.index(b"IDAT") - 4
    content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(ImageError, match="tags of 2097152 numbers"):
        read_image_and_spacing(tmp_path / "b.png")


def test_tags_are_counted_where_pillow_reads_them(tmp_path: Path) -> None:
    """Pillow reads ``MM 00 2B`` as a TIFF; a BigTIFF has its directory elsewhere."""
    strips, orientation = 0x0111, 0x0112
    for tag, kind in ((strips, "tif"), (orientation, "png")):
        place = 8 + 8  # between the header and the directory: where a BigTIFF tells its start
        tiff = tiff_of_many_numbers(tag, 2**21, ">")
        moved = b"MM\0\x2b" + struct.pack(">LQ", place, 2**40)
        entry = tiff[8:18] + struct.pack(">L", 34) + tiff[22:]
        content = moved + entry
        path = tmp_path / f"a.{kind}"
        if kind == "png":
            Image.new("L", (40, 30)).save(path, exif=content)
        else:
            path.write_bytes(content)
        with pytest.raises(ImageError, match=r"tags of 2097152 numbers|of no format"):
            read_image_and_spacing(path)


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "b.jpg", "c.tif", "d.webp", "e.bmp"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageError, match="got a FIFO"):
        read_image_and_spacing(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev")
def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match="a character device"):
        read_image_and_spacing(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.bmp", "L"), ("a.tif", "L"), ("a.tif", "I;16"), ("a.pgm", "I;16"), ("a.pgm", "L")],
)
def test_stored_pixels_are_those_that_pillow_decodes(tmp_path: Path, name: str, mode: str) -> None:
    rng = np.random.default_rng(0)
    dtype, top = (np.uint8, 256) if mode == "L" else (np.uint16, 65536)
    pixels = rng.integers(0, top, (37, 41), dtype=dtype)  # 41: rows of a BMP are padded
    Image.fromarray(pixels).save(tmp_path / name)
    image = read_image_and_spacing(tmp_path / name)[0]
    assert np.array_equal(image, pixels)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert image.dtype == dtype


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16"])
def test_large_images_are_what_small_ones_are(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(1)
    gray = rng.integers(0, 256, (1300, 1000), dtype=np.uint8)
    if mode == "I;16":
        whole = Image.fromarray(gray.astype(np.uint16) * 257)
    else:
        whole = Image.fromarray(np.dstack([gray, gray[::-1], gray[:, ::-1]])).convert(mode)
    name = "tif" if mode == "CMYK" else "png"
    whole.save(tmp_path / f"whole.{name}")
    whole.crop((0, 1100, 1000, 1300)).save(tmp_path / f"part.{name}")
    image = read_image_and_spacing(tmp_path / f"whole.{name}")[0]
    assert np.array_equal(image[1100:], read_image_and_spacing(tmp_path / f"part.{name}")[0])
