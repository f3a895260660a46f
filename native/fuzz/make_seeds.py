"""Writes the seeds of the fuzz targets, which the tests read as well: PNG files, manifests and
images to prepare.

Run it from the repository with mahtrt installed: ``python native/fuzz/make_seeds.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
import typing
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mahtrt.bundle.manifest import FileRecord, Manifest, text_of_manifest
from mahtrt.schema import Between

SEEDS = Path(__file__).parent / "seeds"
TESTS = Path(__file__).parents[2] / "tests"
ROWS, COLUMNS = 24, 31


def samples(colours: int, bits: int) -> NDArray[Any]:
    """The picture that native/tests/test_png.cpp knows as well."""
    y, x, c = np.meshgrid(*map(np.arange, (ROWS, COLUMNS, colours)), indexing="ij")
    values = (x * x * 7 + y * 13 * x + c * 50 + ((x * 31) ^ (y * 17)) % 16) * (
        1 if bits == 8 else 131
    )
    picture = (values % 2**bits).astype(np.uint8 if bits == 8 else np.uint16)
    return picture if colours == 3 else picture[..., 0]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def filtered(rows: NDArray[np.uint8], step: int, kinds: list[int]) -> bytes:
    """Rows of bytes as the filters of PNG leave them, with the number of the filter before each."""
    padded = np.pad(rows.astype(np.int64), ((1, 0), (step, 0)))
    left, up, corner = padded[1:, :-step], padded[:-1, step:], padded[:-1, :-step]
    guess = left + up - corner
    near = [abs(guess - each) for each in (left, up, corner)]
    paeth = np.where(
        (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], up, corner)
    )
    predictions = [np.zeros_like(left), left, up, (left + up) // 2, paeth]
    lines = []
    for i, row in enumerate(rows.astype(np.int64)):
        kind = kinds[i % len(kinds)]
        line = ((row - predictions[kind][i]) % 256).astype(np.uint8)
        lines.append(bytes([kind]) + line.tobytes())
    return b"".join(lines)


def png(picture: NDArray[Any], kinds: list[int], strategy: int, parts: int) -> bytes:
    colours, bits = picture.shape[2:] == (3,), picture.itemsize * 8
    step = (3 if colours else 1) * picture.itemsize
    rows = picture.astype(picture.dtype.newbyteorder(">")).reshape(ROWS, -1).view(np.uint8)
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    data = packer.compress(filtered(rows, step, kinds)) + packer.flush()
    size = -(-len(data) // parts)
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, bits, 2 * colours, 0, 0, 0)
    cut = [data[i : i + size] for i in range(0, len(data), size)]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tEXt", b"Title\0seed")
        + b"".join(chunk(b"IDAT", each) for each in cut)
        + chunk(b"IEND", b"")
    )


def write_pngs(folder: Path) -> None:
    for colours in (1, 3):
        for bits in (8, 16):
            picture, name = samples(colours, bits), f"{'gray' if colours == 1 else 'rgb'}{bits}"
            strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY)
            for kind in range(5):
                data = png(picture, [kind], strategies[kind % 3], 1 + kind)
                (folder / f"{name}-filter{kind}.png").write_bytes(data)
            mixed = png(picture, [4, 2, 0, 3, 1], zlib.Z_DEFAULT_STRATEGY, 3)
            (folder / f"{name}-mixed.png").write_bytes(mixed)
            opencv = picture if colours == 1 else picture[..., ::-1]
            (folder / f"{name}-opencv.png").write_bytes(cv2.imencode(".png", opencv)[1].tobytes())
            if bits == 8 or colours == 1:  # Pillow has no 16-bit colours
                Image.fromarray(picture).save(folder / f"{name}-pillow.png")


def filled(hint: Any, name: str) -> Any:
    """A value of a type, with every field of every record set."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = [each for each in args[1:] if isinstance(each, Between)]
        value = filled(args[0], name)
        if not bounds or isinstance(value, tuple):
            return value
        return type(value)(min(max(value, bounds[0].least), bounds[0].most))
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        fields = dataclasses.fields(hint)
        return hint(**{each.name: filled(hints[each.name], each.name) for each in fields})
    if origin is typing.Literal:
        return args[-1]
    if origin is tuple:
        kinds = args[:1] if args[-1] is Ellipsis else args
        return tuple(filled(kind, name) for kind in kinds)
    if origin is not None and type(None) in args:
        return filled(args[0], name)
    if origin is not None and hint is not Any:  # Mapping[str, V]
        return {f"{name} \u00e4": filled(args[1], name)}
    plain = {int: 3, float: len(name) + 1 / 3, bool: True, str: f"{name}.\U0001f600"}
    return plain.get(hint)


def whole_manifest() -> Manifest:
    """A manifest in which every record is there, and that does not contradict itself."""
    made = filled(Manifest, "manifest")
    spec = made.spec
    gray = dataclasses.replace(
        spec.inputs[0], channels=1, color_order="gray", mean=(0.5,), std=(0.25,), pad_value=0.5
    )
    names = ("heatmaps", "landmarks", "confidence", "spread", "map", "logits", "visibility")
    outputs = tuple(
        dataclasses.replace(
            spec.outputs[0],
            name=kind,
            kind=kind,
            frame="normalized" if kind in ("landmarks", "spread") else "none",
            labels=("a", "b") if kind == "logits" else (),
        )
        for kind in names
    )
    decode = dataclasses.replace(spec.decode, method="soft_argmax")
    spec = dataclasses.replace(
        spec, inputs=(gray,), outputs=outputs, decode=decode, schema="mahtrt.spec/2"
    )
    made = dataclasses.replace(
        made, spec=spec, default_engine=made.engines[0].name, schema="mahtrt.bundle/3"
    )
    files = (FileRecord(path, "0123456789abcdef" * 4, 3) for path in made.pointed)
    return dataclasses.replace(made, files=tuple(files))


def sealed(data: dict[str, Any]) -> str:
    """A manifest as JSON with its own digest, whatever it says."""
    zeros = "0" * 64
    text = json.dumps({**data, "sha256": zeros}, indent=1, ensure_ascii=False) + "\n"
    return text.replace(zeros, hashlib.sha256(text.encode()).hexdigest())


def version2(data: dict[str, Any]) -> dict[str, Any]:
    """The same manifest as mahtrt.bundle/2 has it."""
    spec = {name: value for name, value in data["spec"].items() if name != "inputs"}
    spec |= {"input": data["spec"]["inputs"][0], "schema": "mahtrt.spec/1"}
    del spec["decode"]["sigma"], data["golden"]["images"][0]["others"]
    return data | {"schema": "mahtrt.bundle/2", "spec": spec}


def write_manifests(folder: Path) -> None:
    text = text_of_manifest(whole_manifest())
    (folder / "whole.json").write_text(text, "utf-8")
    (folder / "version2.json").write_text(sealed(version2(json.loads(text))), "utf-8")
    for name in ("golden_manifest.json", "version1.mahtrt/manifest.json"):
        source = TESTS / "bundle" / name
        shutil.copyfile(source, folder / (Path(name).parts[0].partition(".")[0] + ".json"))


def write_inputs(folder: Path) -> None:
    """What fuzz_preprocess.cpp reads: an input, an image, and samples."""
    random = np.random.default_rng(5)
    for i in range(7):  # one for each interpolation
        sides = [1, 30 + 9 * i, 5, 40 + 5 * i]
        kinds = [i % 2, i // 2 % 2, i % 3, i, 60, 100, 120, 90, 110, 80, 130]
        image = [1, 50 + 7 * i, 2, 64 - 5 * i, i, 0, i]
        samples_of_it = random.integers(0, 256, 300).tolist()
        (folder / f"{i}.bin").write_bytes(bytes(sides + kinds + image + samples_of_it))


def main() -> None:
    for name, write in (
        ("png", write_pngs),
        ("manifest", write_manifests),
        ("preprocess", write_inputs),
    ):
        (SEEDS / name).mkdir(parents=True, exist_ok=True)
        write(SEEDS / name)


if __name__ == "__main__":
    main()
