"""mahtrt's side of a comparison with the user's pipeline of ``user_pipeline``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import user_pipeline
from onnx import ModelProto
from user_pipeline import CELLS, LANDMARKS, SIZE, TEMPERATURE, UserPipeline

from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.bundle.records import VerdictRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.progress import silent
from mahtrt.runtime.expectation.check import check_expectation, read_expected
from mahtrt.runtime.expectation.error import ExpectationError
from mahtrt.runtime.expectation.fp32 import open_graph
from mahtrt.runtime.expectation.records import ImageParity
from mahtrt.runtime.session import Session
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

IMAGENET = InputSpec(SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def make_spec(**changes: Any) -> ModelSpec:
    """The random network's spec, with some fields of its input exchanged."""
    return ModelSpec(
        family="random",
        inputs=(dataclasses.replace(IMAGENET, **changes),),
        outputs=(
            OutputSpec("landmarks", "landmarks", "heatmap"),
            OutputSpec("heatmaps", "heatmaps"),
        ),
        landmarks=LANDMARKS,
        decode=DecodeSpec("soft_argmax", TEMPERATURE, CELLS),
    )


def predict(network: ModelProto, images: Sequence[Path], user: UserPipeline) -> list[Any]:
    """What the user's pipeline gives for the images."""
    session = user_pipeline.open_network(network)
    return [user.predict(session, image) for image in images]


def compare(
    network: ModelProto,
    images: Sequence[Path],
    points: Sequence[np.ndarray[Any, Any]],
    spec: ModelSpec,
    limit_px: float = 0.25,
) -> ImageParity:
    """Hold mahtrt's landmarks against some, whether they agree or not."""
    place = images[0].parent.parent / f"{images[0].parent.name}.csv"
    file = user_pipeline.write_csv(place, images, points)
    expected = read_expected(file, str(images[0].parent), spec, limit_px)
    with Session(open_graph(network.SerializeToString(), spec), spec) as session:
        try:
            return check_expectation(session, expected, silent)
        except ExpectationError as error:
            return error.parity


def causes_of(parity: ImageParity) -> tuple[str, ...]:
    """Names of what explains a difference."""
    assert parity.diagnosis is not None
    return tuple(each.name for each in parity.diagnosis.explanations)


def write_network_bundle(path: Path, spec: ModelSpec, seed: int = 0) -> Path:
    """A bundle whose default engine has INT8 weights, beside its FP32 graph."""
    engines = tuple(
        EngineRecord(
            *(f"onnxruntime-{precision}", "onnxruntime", precision, {"onnx": name}, 1),  # type: ignore[arg-type]
            verdict=VerdictRecord(True),
        )
        for precision, name in (("int8", "model.int8.onnx"), ("fp32", "model.onnx"))
    )
    with write_bundle(path) as writer:
        for name, is_int8 in (("model.onnx", False), ("model.int8.onnx", True)):
            network = user_pipeline.make_network(seed, int8_weights=is_int8)
            writer.place(name).write_bytes(network.SerializeToString())
        writer.finish(
            Manifest(
                spec=spec,
                precision="int8",
                graphs=(
                    GraphRecord("fp32", "model.onnx", "fp32", 1),
                    GraphRecord("int8", "model.int8.onnx", "int8", 1),
                ),
                engines=engines,
                default_engine="onnxruntime-int8",
                preprocess_version=PREPROCESS_VERSION,
            )
        )
    return path
