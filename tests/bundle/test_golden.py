"""Golden vectors as files: an image comes back sample by sample, and a wrong file is named."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from numpy.typing import NDArray
from sealing import change_manifest, seal

import mahtrt.bundle.golden as golden_module
from mahtrt.bundle.bundle import Bundle, read_bundle, write_bundle
from mahtrt.bundle.golden import GoldenVector, read_golden, write_golden
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.errors import IntegrityError
from mahtrt.runtime.verify import VerifyOptions, verify

POINTS = np.array([[0.5, 1], [-2, 1e-3], [6, np.pi]], np.float32)
RNG = np.random.default_rng(0)
IMAGES: dict[str, NDArray[Any]] = {
    "gray": RNG.integers(0, 256, (7, 5), np.uint8),
    "gray, 16 bits": RNG.integers(0, 65536, (7, 5), np.uint16),
    "gray, big-endian": RNG.integers(0, 65536, (7, 5)).astype(">u2"),
    "rgb": RNG.integers(0, 256, (7, 5, 3), np.uint8),
    "rgb, 16 bits": RNG.integers(0, 65536, (7, 5, 3), np.uint16),
    "not contiguous": RNG.integers(0, 256, (14, 10, 3), np.uint8)[::2, ::2],
}


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows: int, columns: int, colours: int, *more: bytes) -> bytes:
    """A PNG of zeros that says it has so many rows and columns of 8 bits."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, colours, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(7 * (5 * 3 + 1))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + chunk(b"IEND", b"")


PNG_BOMB = png(20_000, 20_000, 0)
PALETTE = png(7, 5, 3, chunk(b"PLTE", bytes(6)))


def write(path: Path, *vectors: GoldenVector) -> Bundle:
    with write_bundle(path) as writer:
        writer.place("model.onnx").write_text("onnx")
        writer.finish(
            Manifest(
                spec=tiny.SPEC,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32"),),
                engines=(EngineRecord("e", "onnxruntime", "fp32", {"onnx": "model.onnx"}),),
                default_engine="e",
                preprocess_version=1,
                golden=write_golden(writer, "arithmetic", vectors),
            )
        )
    return read_bundle(path)


def test_every_kind_of_image_comes_back(tmp_path: Path) -> None:
    given = [
        GoldenVector(name, image, POINTS, (0.1 * i, 0.2) if i else None)
        for i, (name, image) in enumerate(IMAGES.items())
    ]
    bundle = write(tmp_path / "b", *given)
    found = read_golden(bundle)
    for ours, theirs in zip(found, given, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)
        assert ours.image.dtype == theirs.image.dtype.newbyteorder("=")
        np.testing.assert_array_equal(ours.points_px, POINTS)
        assert (ours.name, ours.spacing_mm) == (theirs.name, theirs.spacing_mm)
    # All have the same landmarks, which the bundle keeps once.
    assert bundle.manifest.golden is not None
    assert {image.points for image in bundle.manifest.golden.images} == {"golden/0.f32"}
    assert [place.name for place in bundle.path.glob("golden/*.f32")] == ["0.f32"]


def test_a_third_axis_of_one_is_gray(tmp_path: Path) -> None:
    (found,) = read_golden(
        write(tmp_path / "b", GoldenVector("a", IMAGES["gray"][..., None], POINTS))
    )
    np.testing.assert_array_equal(found.image, IMAGES["gray"])


def test_a_bundle_without(tmp_path: Path) -> None:
    assert read_golden(write(tmp_path / "b")) == ()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("0.png", lambda raw: b"", r"0\.png: got no PNG image"),
        ("0.png", lambda raw: b"no picture", r"0\.png: got no PNG image"),
        ("0.png", lambda raw: raw[:60], r"0\.png: got "),
        ("0.png", lambda raw: raw[:8], r"0\.png: got no PNG image"),
        ("0.png", lambda raw: raw[:20], r"0\.png: got "),
        ("0.png", lambda raw: raw + bytes(10_000), r"0\.png: got \d+ bytes; expected at most 8\d+"),
        (
            "0.png",
            lambda raw: PNG_BOMB,
            r"0\.png: got \(20000, 20000\) uint8; expected",
        ),
        ("0.png", lambda raw: PALETTE, r"0\.png: got \(7, 5, 0\) uint8; expected"),
        ("0.f32", lambda raw: raw[:-1], r"0\.f32: got .*expected 3 landmarks"),
        ("0.f32", lambda raw: raw + bytes(8), r"0\.f32: got .*expected 3 landmarks"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    place = bundle.path / "golden" / name
    place.write_bytes(change(place.read_bytes()))
    seal(bundle.path)
    with pytest.raises(IntegrityError, match=message):
        read_golden(read_bundle(bundle.path))


def test_an_image_of_another_size_or_type(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    other = write(tmp_path / "c", GoldenVector("a", IMAGES["gray, 16 bits"], POINTS))
    place = "golden/0.png"
    (bundle.path / place).write_bytes((other.path / place).read_bytes())
    seal(bundle.path)
    with pytest.raises(IntegrityError, match=r"got \(7, 5\) uint16; expected \(7, 5, 3\) uint8"):
        read_golden(read_bundle(bundle.path))


def test_json_of_the_manifest_names_the_files(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", GoldenVector("a.png", IMAGES["gray, 16 bits"], POINTS, (1, 2)))
    data = json.loads((bundle.path / "manifest.json").read_text())
    assert data["golden"] == {
        "reference": "arithmetic",
        "images": [
            {
                "name": "a.png",
                "image": "golden/0.png",
                "points": "golden/0.f32",
                "shape": [7, 5],
                "dtype": "uint16",
                "spacing_mm": [1, 2],
                "others": [],
                "outputs": [],
            }
        ],
    }


def test_a_png_is_decoded_by_its_image_data_alone(tmp_path: Path) -> None:
    """What else a PNG can carry unpacks to megabytes, and is not looked at."""
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6)))
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6)))
    (bundle.path / "golden/0.png").write_bytes(png(7, 5, 2, profile, text))
    seal(bundle.path)
    (found,) = read_golden(read_bundle(bundle.path))
    np.testing.assert_array_equal(found.image, np.zeros((7, 5, 3), np.uint8))


def test_golden_images_that_are_too_large_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [GoldenVector(name, IMAGES["rgb"], POINTS) for name in "ab"]
    bundle = write(tmp_path / "b", *images)
    monkeypatch.setattr(golden_module, "MOST_BYTES", 200)
    with pytest.raises(IntegrityError, match="images of 210 bytes; expected at most 200 bytes"):
        read_golden(bundle)


def test_a_png_of_very_many_chunks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_module, "_MOST_CHUNKS", 100)
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    (bundle.path / "golden/0.png").write_bytes(png(7, 5, 2, *[chunk(b"tEXt", b"")] * 100))
    seal(bundle.path)
    with pytest.raises(IntegrityError, match="over 100 chunks"):
        read_golden(read_bundle(bundle.path))


def test_a_png_is_not_copied_to_be_decoded(tmp_path: Path) -> None:
    noise = RNG.integers(0, 256, (1000, 1000, 3), np.uint8)  # which a PNG cannot make smaller
    bundle = write(tmp_path / "b", GoldenVector("a", noise, POINTS))
    read_golden(bundle)
    tracemalloc.start()
    (found,) = read_golden(bundle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found.image, noise)
    assert peak < 2.5 * noise.nbytes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "shape",
            [40_000, 60_000],
            r"golden image golden/0.png: got 60000x40000 pixels; expected at most 67108864",
        ),
        (
            "shape",
            [100_000, 5, 3],
            r"images\[0\]: shape\[0\]: got 100000; expected",
        ),
        ("shape", [0, 5, 3], r"shape\[0\]: got 0; expected a number from 1"),
        ("shape", [35], r"got shape \(35,\); expected \(rows, columns\)"),
        ("shape", [7, 5, 4], r"got shape \(7, 5, 4\)"),
        ("shape", [7, 5, 3, 1], r"got shape \(7, 5, 3, 1\)"),
        ("dtype", "object", "expected one of uint8, uint16"),
        ("spacing_mm", [0, 1], r"spacing_mm\[0\]: got 0.0; expected a number from"),
        ("name", "\x1b[2J", "expected text without control characters"),
        ("image", "model.onnx", r"model\.onnx: got no PNG image"),
    ],
)
def test_a_manifest_that_says_what_cannot_be(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    change_manifest(bundle.path, lambda d: d["golden"]["images"][0].update({field: value}))
    with pytest.raises(IntegrityError, match=message):
        read_golden(read_bundle(bundle.path))


VERSION1 = Path(__file__).with_name("version1.mahtrt")


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


def described(dtype: str, shape: str) -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"


def archive(**changes: bytes | None) -> bytes:
    """The golden vectors of a bundle ``/1`` with some of its arrays changed, or left out."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(VERSION1 / "golden.npz") as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            content = changes.get(name.removesuffix(".npy"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return file.getvalue()


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a zip"),
    "no archive": (b"x" * 100, "not a zip"),
    "cut short": (archive()[:-30], "zip"),
    "one array": (npy(described("<f4", "(1,)"), bytes(4)), "not a zip"),
    "no names": (archive(names=None), "names"),
    "no image": (archive(image_0=None), "image_0"),
    "names as numbers": (
        archive(names=npy(described("<f4", "(2,)"), bytes(8))),
        "names of float32",
    ),
    "pickles": (
        archive(image_0=npy(described("|O", "(1,)"), b"cos\nsystem\n.")),
        "image_0 of object",
    ),
    "373 GiB": (
        archive(image_0=npy(described("|u1", "(200000, 2000000)"), bytes(9))),
        r"image_0 of uint8, shape \(200000, 2000000\) and 9 bytes",
    ),
    "a negative size": (archive(image_0=npy(described("|u1", "(-3, -3)"), bytes(9))), "image_0 of"),
    "a huge size": (archive(image_0=npy(described("|u1", f"({10**30}, 0)"))), "image_0 of"),
    "a text": (archive(image_0=b"hello"), "magic"),
    "an endless header": (archive(image_0=npy("(" * 9_000)), "expected golden vectors"),
    "another version": (archive(image_0=npy("", version=b"\3\0")), "image_0 in version"),
    "float images": (archive(image_0=npy(described("<f4", "(2, 2)"), bytes(16))), "of float32"),
    "wide integers": (
        archive(image_0=npy(described("<u8", "(2, 2)"), bytes(32))),
        "image 0 of uint64",
    ),
    "four channels": (
        archive(image_0=npy(described("|u1", "(2, 2, 4)"), bytes(16))),
        r"image 0 of uint8 and shape \(2, 2, 4\)",
    ),
    "other landmarks": (
        archive(points_1=npy(described("<f4", "(3, 2)"), bytes(24))),
        "points_1 of",
    ),
    "no spacing": (archive(spacing_1=npy(described("<f8", "(2,)"), bytes(16))), "spacing 1 of"),
}


def version1_with(folder: Path, content: bytes) -> Path:
    place = folder / "old.mahtrt"
    shutil.copytree(VERSION1, place)
    (place / "golden.npz").write_bytes(content)
    seal(place)
    return place


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_version_1_that_is_not_what_was_written(tmp_path: Path, name: str) -> None:
    content, message = ARCHIVES[name]
    bundle = version1_with(tmp_path, content)
    with pytest.raises(IntegrityError, match=message) as caught:
        verify(VerifyOptions(bundle))
    assert "golden.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = archive(image_0=npy(described("|u1", f"({20 * 2**20}, 1)"), bytes(20 * 2**20)))
    assert len(bomb) < 2**16
    bundle = version1_with(tmp_path, bomb)
    monkeypatch.setattr(golden_module, "MOST_BYTES", 2**20)
    with pytest.raises(IntegrityError, match="bytes of arrays, of at most 1048576"):
        verify(VerifyOptions(bundle))
