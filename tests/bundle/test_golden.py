"""Golden vectors as files: an image comes back sample by sample, and a wrong file is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle, read_bundle, write_bundle
from mahtrt.bundle.golden import GoldenVector, read_golden, write_golden
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.errors import IntegrityError

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
    with pytest.raises(IntegrityError, match=message):
        read_golden(bundle)


def test_an_image_of_another_size_or_type(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", GoldenVector("a", IMAGES["rgb"], POINTS))
    other = write(tmp_path / "c", GoldenVector("a", IMAGES["gray, 16 bits"], POINTS))
    place = "golden/0.png"
    (bundle.path / place).write_bytes((other.path / place).read_bytes())
    with pytest.raises(IntegrityError, match=r"got \(7, 5\) uint16; expected \(7, 5, 3\) uint8"):
        read_golden(bundle)


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
            }
        ],
    }
