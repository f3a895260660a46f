from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mahtrt.data.images import read_image_and_spacing
from mahtrt.errors import ImageError

Gray = NDArray[np.uint8]


def read_image(path: Path) -> np.ndarray:
    return read_image_and_spacing(path)[0]


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "webp"])
def test_gray_survives_every_lossless_format(tmp_path: Path, picture: Gray, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    image = read_image(save(Image.fromarray(picture), tmp_path / f"a.{suffix}", **options))
    gray = image if image.ndim == 2 else image[:, :, 1]
    assert np.array_equal(gray, picture)
    assert read_image_and_spacing(tmp_path / f"a.{suffix}")[1] is None


def test_colours_stay_in_rgb_order(tmp_path: Path, picture: Gray) -> None:
    rgb = np.stack([picture, picture // 2, picture // 4], axis=2)
    image = read_image(save(Image.fromarray(rgb), tmp_path / "a.png"))
    assert np.array_equal(image, rgb)
    assert image.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, picture: Gray, name: str) -> None:
    deep = picture.astype(np.uint16) * 257
    image = read_image(save(Image.fromarray(deep), tmp_path / name))
    assert image.dtype == np.uint16
    assert np.array_equal(image, deep)


def test_big_endian_sixteen_bits(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 65535\n" + bytes([1, 0, 0, 1, 255, 255, 0, 0]))
    image = read_image(tmp_path / "a.pgm")
    assert image.tolist() == [[256, 1], [65535, 0]]
    assert image.dtype.isnative


def test_alpha_is_composited_over_black(tmp_path: Path, picture: Gray) -> None:
    rgba = np.dstack([picture, picture, picture, np.full_like(picture, 255)])
    rgba[:20, :, 3] = 0
    image = read_image(save(Image.fromarray(rgba), tmp_path / "a.png"))
    assert image.shape == (40, 60, 3)
    assert not image[:20].any()
    assert np.array_equal(image[20:, :, 0], picture[20:])


def test_gray_with_alpha_stays_gray(tmp_path: Path, picture: Gray) -> None:
    both = np.dstack([picture, np.full_like(picture, 255)])
    image = read_image(save(Image.fromarray(both), tmp_path / "a.png"))
    assert np.array_equal(image, picture)


def test_cmyk_palette_and_bilevel_become_usable(tmp_path: Path, picture: Gray) -> None:
    rgb = Image.fromarray(np.dstack([picture, picture, picture]))
    cmyk = read_image(save(rgb.convert("CMYK"), tmp_path / "a.tif"))
    assert np.abs(cmyk.astype(int) - np.asarray(rgb)).max() <= 2
    palette = read_image(save(rgb.quantize(64), tmp_path / "b.png"))
    assert palette.shape == (40, 60, 3)
    bilevel = read_image(save(Image.fromarray(picture > 100), tmp_path / "c.png"))
    assert np.array_equal(bilevel, np.where(picture > 100, 255, 0))


def test_exif_rotation_is_applied(tmp_path: Path, picture: Gray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to view
    path = save(Image.fromarray(picture), tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(path), np.rot90(picture, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_truncated_file_is_named(tmp_path: Path, picture: Gray, suffix: str) -> None:
    path = save(Image.fromarray(np.tile(picture, (4, 4))), tmp_path / f"cut.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"cut\.{suffix}: got .*cannot be decoded") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n"])
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_missing_folder_one_pixel_and_float_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: got no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r"one\.png: got 1x1 pixels"):
        read_image(save(Image.new("L", (1, 1)), tmp_path / "one.png"))
    with pytest.raises(ImageError, match="floating point"):
        read_image(save(Image.new("F", (8, 8)), tmp_path / "float.tif"))
    wide = Image.fromarray(np.full((4, 4), 70000, np.int32))
    with pytest.raises(ImageError, match="32-bit values from 70000"):
        read_image(save(wide, tmp_path / "wide.tif"))
