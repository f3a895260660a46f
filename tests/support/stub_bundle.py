"""The bundle that the C library's own tests run on a stand-in for OpenVINO.

``python tests/support/stub_bundle.py FOLDER`` writes it; ``native/tests/data/stub.mahtrt`` is kept.
Its "IR" is what native/tests/stub_openvino reads: value i of an output is the sum of the inputs'
values plus i.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mahtrt.build.records import gate_record
from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import GoldenVector, write_golden
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.bundle.records import DeviceRecord, Precision, VerdictRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.measure.limits import Limits
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

SPEC = ModelSpec(
    family="stub",
    inputs=(
        InputSpec(size=(8, 8), channels=1, color_order="gray", mean=(0.0,), std=(1.0,)),
        InputSpec(
            size=(4, 4), name="other", channels=1, color_order="gray", mean=(0.0,), std=(1.0,)
        ),
    ),
    outputs=(
        OutputSpec("landmarks", "landmarks", "network"),
        OutputSpec("confidence", "confidence"),
        OutputSpec("spread", "spread", "network"),
        OutputSpec("change", "map"),
        OutputSpec("finding", "logits", labels=("better", "worse")),
    ),
    landmarks=("first", "second"),
)
BATCH = 2
_VERDICTS: tuple[tuple[Precision, bool], ...] = (("fp32", True), ("bf16", False))
_SHAPES = {
    "landmarks": "2 2 2",
    "confidence": "2 2",
    "spread": "2 2",
    "change": "2 1 4 4",
    "finding": "2 2",
}
_ONES = np.full((8, 8), 255, np.uint8), np.full((4, 4), 255, np.uint8)


def write_stub(path: Path) -> Path:
    """A bundle with two engines of OpenVINO as IR, one of another target, and a golden vector.

    Its golden vector fits a batch whose second case is empty.
    """
    lines = [f"input {each.name} {BATCH} 1 {each.size[0]} {each.size[1]}" for each in SPEC.inputs]
    lines += [f"output {name} {shape}" for name, shape in _SHAPES.items()]
    ir, weights = "engines/openvino-fp32/model.xml", "engines/openvino-fp32/model.bin"
    files = {"onnx": "model.onnx", "ir": ir, "weights": weights}
    device = DeviceRecord(name="Stub CPU", capabilities=("FP32", "INT8"), threads=3, cores=7)
    versions = {"openvino": "2026.4.1-stub"}
    engines = (
        EngineRecord("onnxruntime-fp32", "onnxruntime", "fp32", {"onnx": "model.onnx"}, BATCH),
        *(
            EngineRecord(
                f"openvino-{precision}",
                "openvino",
                precision,
                files,
                BATCH,
                device=device,
                versions=versions,
                verdict=VerdictRecord(passed, () if passed else ("it is only a stub",)),
            )
            for precision, passed in _VERDICTS
        ),
    )
    sum_of_ones = np.float32(8 * 8 + 4 * 4)
    points = np.arange(4, dtype=np.float32).reshape(2, 2) + sum_of_ones
    vector = GoldenVector("ones", _ONES[0], points, (0.5, 0.25), (_ONES[1],))
    with write_bundle(path) as writer:
        for name, text in ((files["onnx"], "no graph"), (ir, "\n".join(lines)), (weights, "none")):
            place = writer.place(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        writer.finish(
            Manifest(
                spec=SPEC,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32", BATCH),),
                engines=engines,
                default_engine="onnxruntime-fp32",
                preprocess_version=PREPROCESS_VERSION,
                golden=write_golden(writer, "torch", [vector]),
                gate=gate_record("torch", Limits()),
            )
        )
    return path


if __name__ == "__main__":
    write_stub(Path(sys.argv[1]))
