"""Digests of what mahtrt computes on the demo checkpoint, to hold a restructuring against.

Exports the demo checkpoint, builds FP32, FP16, BF16 and INT8 engines by the rules' plan, and prints
one JSON document: SHA-256 of every ONNX and of the plan, and for every engine that runs here the
SHA-256 of the landmarks, confidences and spreads of 32 phantoms.

    python experiments/digests.py --out digests.json [--against earlier.json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import mahtrt
from mahtrt.errors import MahtrtError

IMAGES = "phantom:32@13"
EXPORT = ("export", "maht-net/nano", "--checkpoint", "demo")
BUILD = (
    *("build", "--fp32", "--fp16", "--bf16", "--int8", "--threads", "2"),
    *("--calib", "phantom:64@11", "--eval", "phantom:32@12", "--no-cache"),
    *("--target", "openvino", "--target", "onnxruntime", "--target", "tensorrt-rtx"),
)


def main() -> int:
    """Print the digests; exit 1 where they differ from an earlier run's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = digests(Path(folder))
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.against is None:
        return 0
    earlier = json.loads(arguments.against.read_text(encoding="utf-8"))
    different = [name for name in earlier if earlier[name] != found.get(name)]
    for name in different:
        print(f"{name}: {earlier[name]} was {found.get(name)}")
    print(f"{len(earlier) - len(different)} of {len(earlier)} digests are equal")
    return 1 if different else 0


def digests(folder: Path) -> dict[str, Any]:
    """Name to SHA-256, by running the commands a user runs."""
    onnx, bundle = folder / "demo.onnx", folder / "demo.mahtrt"
    for arguments in ((*EXPORT, "--out", str(onnx)), (*BUILD, str(onnx), "--out", str(bundle))):
        subprocess.run([sys.executable, "-m", "mahtrt.cli", *arguments], check=True)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"export": _sha(onnx.read_bytes())}
    for graph in manifest["graphs"]:
        found[f"graph {graph['name']}"] = _sha((bundle / graph["file"]).read_bytes())
    for name in ("plan.json", "ranges.json"):
        found[name] = _sha((bundle / name).read_bytes())
    for engine in manifest["engines"]:
        name = engine["name"]
        found[f"precision {name}"] = engine["device"]["inference_precision"] or None
        try:
            found[f"landmarks {name}"] = _landmarks(bundle, name)
        except MahtrtError as error:
            print(f"{name}: {error}", file=sys.stderr)
    return found


def _landmarks(bundle: Path, engine: str) -> str:
    from mahtrt.data.datasets import open_dataset

    parts = []
    with mahtrt.open(bundle, engine=engine, threads=2) as session:
        for sample in open_dataset(IMAGES):
            found = session.run(sample.image)
            parts += [found.points, found.confidence, found.spread]
    return _sha(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
