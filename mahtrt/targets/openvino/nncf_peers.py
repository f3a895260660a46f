"""NNCF's INT8 of a plain export, as its documentation recommends: OpenVINO's own quantiser.

``model_type`` is ``TRANSFORMER`` for a network with attention, and the preset is ``MIXED`` where an
activation is no ReLU (docstring of ``nncf.quantize`` and OpenVINO's page "Basic Quantization
Flow"). What stays in floating point is BF16 on a CPU that multiplies it, as is OpenVINO's default
there, else FP32.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, ModelError, require
from mahtrt.openvino_core import shared_core
from mahtrt.spec import ModelSpec
from mahtrt.targets.calibration_set import CalibrationSet
from mahtrt.targets.openvino.run import OpenVinoBackend, config_for, has_native_bf16
from mahtrt.targets.quiet import quiet_tools

CHECKED_IMAGES = 64  # that the search looks at, again and again
# Activations that the preset MIXED is recommended for.
_SMOOTH = {"Elu", "Gelu", "HSwish", "Mish", "PRelu", "Selu", "Sigmoid", "SoftPlus", "Swish"}
_PASSED_ON = {"Convert", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# NNCF sends statistics of its use, unless one of these says that nobody uses it.
_NO_TELEMETRY = {"CI": "true", "NNCF_CI": "1"}


class Feeds:
    """The feeds of a calibration set, with their number, which NNCF wants to know."""

    def __init__(self, images: CalibrationSet, most: int | None = None) -> None:
        self._images, self._most = images, most

    def __len__(self) -> int:
        cases = len(self._images.cases)
        return -(-min(cases, self._most or cases) // self._images.batch)

    def __iter__(self) -> Iterator[tuple[int, Feed]]:
        return enumerate(self._images.feeds(self._most))


def open_quantized(
    data: bytes, spec: ModelSpec, threads: int | None, images: CalibrationSet
) -> OpenVinoBackend:
    """An ONNX file's content by ``nncf.quantize``.

    Args:
        threads: Threads of one inference; None leaves their number to the runtime.

    Raises:
        MissingComponentError: NNCF is not installed.
        Exception: Whatever NNCF raises.
    """
    nncf = _nncf()
    model = shared_core().read_model(data)
    settings = recommended(nncf, model)
    with quiet_tools():
        quantized = nncf.quantize(model, _dataset(nncf, Feeds(images)), **settings)
    return _opened(quantized, spec, threads, settings)


def open_within_budget(
    data: bytes, spec: ModelSpec, threads: int | None, images: CalibrationSet
) -> OpenVinoBackend:
    """An ONNX file's content by ``nncf.quantize_with_accuracy_control``.

    What NNCF holds within the budget is the mean displacement of landmarks from FP32, over the
    first images that calibrate.

    Raises:
        MissingComponentError: NNCF is not installed.
        ModelError: A network without landmarks.
        BuildError: The search did not end in its time.
        Exception: Whatever NNCF raises.
    """
    if images.points_px is None:
        raise ModelError("nncf-accuracy", got="a network without landmarks", expected="landmarks")
    nncf = _nncf()
    model = shared_core().read_model(data)
    settings = recommended(nncf, model)
    checked = Feeds(images, CHECKED_IMAGES)
    with quiet_tools():
        quantized = nncf.quantize_with_accuracy_control(
            model,
            _dataset(nncf, Feeds(images)),
            _dataset(nncf, checked),
            _metric(model, spec, images, checked),
            max_drop=images.budget_px,
            drop_type=nncf.DropType.ABSOLUTE,
            # One worker is this thread: OpenVINO's cores must not end in another one.
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                num_ranking_workers=1
            ),
            **settings,
        )
    backend = _opened(quantized, spec, threads, settings)
    backend.facts["max_drop_px"] = f"{images.budget_px:g}"
    return backend


def recommended(nncf: Any, model: Any) -> dict[str, Any]:
    """Settings for a network, see the module's docstring.

    Args:
        model: An ``openvino.Model``.
    """
    attention = has_attention(model)
    smooth = any(op.get_type_name() in _SMOOTH for op in model.get_ops())
    return {
        "model_type": nncf.ModelType.TRANSFORMER if attention else None,
        "preset": nncf.QuantizationPreset.MIXED
        if attention or smooth
        else nncf.QuantizationPreset.PERFORMANCE,
    }


def has_attention(model: Any) -> bool:
    """Whether a graph has attention: weights by Softmax, and products of two computed matrices."""
    types = {op.get_type_name() for op in model.get_ops()}
    if "ScaledDotProductAttention" in types:
        return True
    products = (op for op in model.get_ops() if op.get_type_name() == "MatMul")
    return "Softmax" in types and any(
        not any(_is_constant(value.get_node()) for value in op.input_values()) for op in products
    )


def _is_constant(node: Any) -> bool:
    while node.get_type_name() in _PASSED_ON:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _metric(
    model: Any, spec: ModelSpec, images: CalibrationSet, checked: Feeds
) -> Callable[[Any, Iterable[tuple[int, Feed]]], tuple[float, list[float]]]:
    """What NNCF keeps high: 1 less the displacement from FP32 in pixels; and that of each batch.

    NNCF divides by what the network has before it is quantised, so that is not 0.

    Raises:
        BuildError: When it is called, the time is over.
    """
    assert images.points_px is not None
    points_px, names = images.points_px, [output.name for output in spec.outputs]
    exact = shared_core().compile_model(model, "CPU", config_for("f32", None))

    def points(compiled: Any, feed: Feed) -> Any:
        found = compiled(dict(feed))
        return points_px({name: np.array(found[name], np.float32) for name in names})

    wanted = {place: points(exact, feed) for place, feed in checked}
    deadline = time.monotonic() + 60 * images.minutes

    def nearness(compiled: Any, items: Iterable[tuple[int, Feed]]) -> tuple[float, list[float]]:
        near = []
        for place, feed in items:
            if time.monotonic() > deadline:
                raise BuildError(
                    "nncf-accuracy",
                    got=f"no network within {images.budget_px:g} px in {images.minutes:g} min",
                    expected="one",
                    fix="Give it longer with --peer-minutes.",
                )
            apart = np.linalg.norm(points(compiled, feed) - wanted[place], axis=-1)
            near.append(1.0 - float(apart.mean()))
        return float(np.mean(near)), near

    return nearness


def _opened(
    model: Any, spec: ModelSpec, threads: int | None, settings: dict[str, Any]
) -> OpenVinoBackend:
    beside = "bf16" if has_native_bf16() else "f32"
    compiled = shared_core().compile_model(model, "CPU", config_for(beside, threads))
    backend = OpenVinoBackend(compiled, spec, "openvino")
    told = {name: getattr(value, "value", None) for name, value in settings.items()}
    backend.facts |= {name: str(value) for name, value in told.items() if value}
    backend.facts["beside_int8"] = "fp32" if beside == "f32" else beside
    return backend


def _dataset(nncf: Any, feeds: Feeds) -> Any:
    return nncf.Dataset(feeds, lambda item: dict(item[1]))


def _nncf() -> Any:
    """NNCF, imported so that it neither sends statistics, nor makes other packages' loggers."""
    before = {name: os.environ.get(name) for name in _NO_TELEMETRY}
    loggers = logging.getLoggerClass()
    os.environ.update(_NO_TELEMETRY)
    try:
        with quiet_tools():
            return require("nncf", extra="", needed_for="the peer")
    finally:
        logging.setLoggerClass(loggers)
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {name: value} if value is not None else {}
