"""A reader of bundles that was written from two pages alone, with the standard library.

The pages are docs/bundle-format.md and docs/preprocessing.md.

    python page_reader.py BUNDLE

prints one JSON document: what the manifest says, and the golden vectors with their input tensors.
Nothing of mahtrt is imported, so that the page has to say all that a reader needs.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # an isolated interpreter looks nowhere else

from preprocess_oracle import input_tensor

Plane = list[list[int]]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, after its own digest was checked."""
    raw = (folder / "manifest.json").read_bytes()
    assert raw[-4:] == b'"\n}\n'
    assert raw[:-68].endswith(b'"sha256": "')
    zeroed = raw[:-68] + b"0" * 64 + raw[-4:]
    assert hashlib.sha256(zeroed).hexdigest().encode() == raw[-68:-4]
    manifest: dict[str, Any] = json.loads(raw)
    assert manifest["schema"] == "mahtrt.bundle/3"
    return manifest


def check_file(folder: Path, manifest: dict[str, Any], path: str) -> bytes:
    """The bytes of a file whose path, size and digest are right."""
    assert path
    assert not set(path) & set("\\:\0")
    assert not {"", ".", ".."} & set(path.split("/"))
    (record,) = (each for each in manifest["files"] if each["path"] == path)
    data = (folder / path).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (record["size"], record["sha256"])
    return data


def default_engine(manifest: dict[str, Any]) -> dict[str, Any]:
    """The engine to open."""
    (engine,) = (e for e in manifest["engines"] if e["name"] == manifest["default_engine"])
    return dict(engine)


def read_png(data: bytes, shape: list[int], dtype: str) -> list[Plane]:
    """The planes of a PNG image: one, or R, G and B."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += size + 12
    columns, rows, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    planes = 3 if len(shape) == 3 else 1
    assert (rows, columns) == tuple(shape[:2])
    assert (depth, colour) == ({"uint8": 8, "uint16": 16}[dtype], {1: 0, 3: 2}[planes])
    assert not interlace
    lines = _unfiltered(
        zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")),
        columns * planes * depth // 8,
        planes * depth // 8,
    )
    code = f">{columns * planes}{'BH'[depth // 8 - 1]}"
    samples = [struct.unpack(code, line) for line in lines]
    return [[list(row[plane::planes]) for row in samples] for plane in range(planes)]


def _unfiltered(data: bytes, line_bytes: int, pixel_bytes: int) -> list[bytes]:
    """The lines of a PNG image without their filters."""
    lines, above = [], bytes(line_bytes)
    for start in range(0, len(data), line_bytes + 1):
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + line_bytes])
        for i in range(line_bytes):
            left = line[i - pixel_bytes] if i >= pixel_bytes else 0
            corner = above[i - pixel_bytes] if i >= pixel_bytes else 0
            line[i] = (line[i] + _predicted(kind, left, above[i], corner)) & 255
        above = bytes(line)
        lines.append(above)
    return lines


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    paeth = min((left, above, corner), key=lambda near: abs(left + above - corner - near))
    return (0, left, above, (left + above) // 2, paeth)[kind]


def read_golden(folder: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, planes, landmarks and input tensor of every golden vector."""
    found = []
    for record in manifest["golden"]["images"]:
        planes = read_png(
            check_file(folder, manifest, record["image"]), record["shape"], record["dtype"]
        )
        raw = check_file(folder, manifest, record["points"])
        values = struct.unpack(f"<{2 * len(manifest['spec']['landmarks'])}f", raw)
        points = list(zip(values[::2], values[1::2], strict=True))
        pictures = [record, *record["others"]]
        inputs = manifest["spec"]["inputs"]
        assert len(pictures) == len(inputs)
        for picture, each in zip(pictures[1:], inputs[1:], strict=True):
            file = check_file(folder, manifest, picture["image"])
            input_tensor(read_png(file, picture["shape"], picture["dtype"]), picture["dtype"], each)
        tensor = input_tensor(planes, record["dtype"], inputs[0])
        found.append({"name": record["name"], "planes": planes, "points": points, "tensor": tensor})
    return found


def main(folder: Path) -> None:
    """Print what was read."""
    manifest = read_manifest(folder)
    engine = default_engine(manifest)
    sizes = {
        role: len(check_file(folder, manifest, path)) for role, path in engine["files"].items()
    }
    document = {
        "engine": engine["name"],
        "target": engine["target"],
        "sizes": sizes,
        "golden": read_golden(folder, manifest),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
