"""The ranges that tensors take on real images, and the JSON that keeps them.

Images are streamed through ONNX Runtime once. Only the taps of the tensors leave the graph
(:mod:`mahtrt.calibration.taps`), and go into one histogram per tensor, so memory does not depend
on the number of images, nor on the size of the tensors beyond what inference itself needs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt.atomic import write_text_atomic
from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.calibration.methods import DEFAULT_PERCENTILE, METHODS, amax_by_method
from mahtrt.calibration.records import check_table, parse_json, read_text
from mahtrt.calibration.taps import STATISTICS, tap
from mahtrt.data.preprocess import PREPROCESS_VERSION
from mahtrt.errors import DataError, ModelError, SpecError, UsageError, require
from mahtrt.spec import check_schema

SCHEMA = "mahtrt.ranges/1"


@dataclass(frozen=True, slots=True)
class TensorRange:
    """What was seen of one tensor.

    Attributes:
        minimum, maximum: Exact, over every value of every image.
        amax: Method -> magnitude that INT8 still represents; 0.0 if the tensor was always zero.
        saturation: Method -> share of the sampled values beyond its ``amax``.
        values: How many values ``minimum`` and ``maximum`` are of.
        sampled: How many of them went into the histogram behind ``amax``.
    """

    minimum: float
    maximum: float
    amax: Mapping[str, float]
    saturation: Mapping[str, float]
    values: int
    sampled: int


@dataclass(frozen=True, slots=True)
class Ranges:
    """The ranges of all calibrated tensors.

    Attributes:
        tensors: Tensor name -> its range.
        images: How many images were seen.
        percentile: What the method ``percentile`` means.
        digest: SHA-256 over the preprocessed images, in their order.
        preprocess_version: ``PREPROCESS_VERSION`` of the preprocessing that made them.
    """

    tensors: Mapping[str, TensorRange]
    images: int
    digest: str
    preprocess_version: int
    percentile: float = DEFAULT_PERCENTILE
    schema: str = SCHEMA

    def to_json(self) -> str:
        """The ranges as indented JSON: equal ranges give equal text."""
        return json.dumps(asdict(self), indent=1) + "\n"


def collect_ranges(
    model_path: Path,
    tensors: Sequence[str],
    batches: Iterable[NDArray[np.float32]],
    *,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Ranges:
    """Run images through a model and note the range of some tensors.

    Args:
        model_path: The floating-point ONNX model, one image input, static shapes.
        tensors: Names of the tensors (:func:`mahtrt.calibration.qdq.tensors_to_calibrate`).
        batches: Preprocessed images (C, H, W), one at a time; read once. For a model with a
            batch of more than one, the last batch is filled up with its own images.
        percentile: What the method ``percentile`` keeps, in (0, 100].
        progress: Called with the images done and their number, 0 if that is unknown.
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        DataError: No images, an image of the wrong shape, or activations that are not finite.
        ModelError: A model that cannot be run, or lacks one of the tensors.
    """
    if not 0 < percentile <= 100:
        raise UsageError("percentile", got=str(percentile), expected="more than 0, at most 100")
    total = len(batches) if isinstance(batches, Sized) else 0
    runner = _TapRunner(model_path, tensors, threads)
    seen = {name: _Seen() for name in runner.values}
    digest, done = hashlib.sha256(), 0
    images = iter(batches)
    while group := list(islice(images, runner.batch)):
        for offset, image in enumerate(group):
            runner.check(image, done + offset)
            digest.update(np.ascontiguousarray(image, np.float32).tobytes())
        for name, tapped in runner.run(group):
            seen[name].add(tapped, name, done, runner.values[name])
        done += len(group)
        if progress:
            progress(done, total)
    if not done:
        raise DataError("calibration images", got="none", expected="at least one image")
    return Ranges(
        tensors={name: part.result(percentile) for name, part in seen.items()},
        images=done,
        digest=digest.hexdigest(),
        preprocess_version=PREPROCESS_VERSION,
        percentile=percentile,
    )


def ranges_from_json(text: str, *, where: str = "ranges") -> Ranges:
    """Read the text of :meth:`Ranges.to_json`.

    Raises:
        SpecError: Unknown or missing fields, or wrong values.
        IntegrityError: The schema is newer than this version reads.
    """
    data = parse_json(text, where=where, what="calibration ranges")
    number = (int, float)
    fields: dict[str, type | tuple[type, ...]] = {
        "tensors": dict,
        "images": int,
        "digest": str,
        "preprocess_version": int,
        "percentile": number,
        "schema": str,
    }
    check_table(data, where, fields)
    check_schema(data["schema"], SCHEMA, where)
    tensors = {name: _range(table, f"{where}: {name}") for name, table in data["tensors"].items()}
    return Ranges(**{**data, "tensors": tensors})


def load_ranges(path: Path) -> Ranges:
    """Read ranges from a JSON file; raises as :func:`ranges_from_json` does."""
    return ranges_from_json(read_text(path, "calibration ranges"), where=str(path))


def save_ranges(ranges: Ranges, path: Path) -> None:
    """Write ranges to a JSON file, whole or not at all."""
    write_text_atomic(path, ranges.to_json())


def _range(data: Any, where: str) -> TensorRange:
    number = (int, float)
    fields: dict[str, type | tuple[type, ...]] = {
        "minimum": number,
        "maximum": number,
        "amax": dict,
        "saturation": dict,
        "values": int,
        "sampled": int,
    }
    check_table(data, where, fields)
    for name in ("amax", "saturation"):
        check_table(data[name], f"{where}: {name}", dict.fromkeys(METHODS, number))
        if any(not value >= 0 for value in data[name].values()):
            raise SpecError(f"{where}: {name}", got=f"{data[name]}", expected="values of 0 or more")
    return TensorRange(**data)


class _Seen:
    """What was seen of one tensor so far."""

    def __init__(self) -> None:
        self.histogram = StreamingHistogram()
        self.minimum, self.maximum, self.values = math.inf, -math.inf, 0

    def add(self, tapped: NDArray[np.float32], name: str, image: int, values: int) -> None:
        low, high, magnitude = (float(v) for v in tapped[:STATISTICS])
        # A sum is not finite as soon as one of its values is not; a maximum may hide a NaN.
        if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(magnitude)):
            raise DataError(
                f"calibration image {image}",
                got=f"values that are not finite in tensor {name!r}",
                expected="finite activations",
                fix="Check the image and the model's weights; the FP32 model fails here already.",
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.values += values
        self.histogram.add(tapped[STATISTICS:])

    def result(self, percentile: float) -> TensorRange:
        largest = max(abs(self.minimum), abs(self.maximum))
        amax = amax_by_method(self.histogram, largest, percentile)
        return TensorRange(
            minimum=self.minimum,
            maximum=self.maximum,
            amax=amax,
            saturation={m: round(self.histogram.fraction_above(a), 9) for m, a in amax.items()},
            values=self.values,
            sampled=self.histogram.total,
        )


class _TapRunner:
    """ONNX Runtime over a tapped model.

    Attributes:
        batch: Images per run.
        values: Tensor -> how many values it has per run.
    """

    def __init__(self, model_path: Path, tensors: Sequence[str], threads: int | None) -> None:
        ort = require("onnxruntime", extra="cpu", needed_for="calibration")
        try:
            model = onnx.load(model_path)
        except Exception as error:  # protobuf's DecodeError has no common base with OSError
            raise ModelError(str(model_path), got=str(error), expected="an ONNX model") from error
        tapped, self.values = tap(model, tensors)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        text = tapped.SerializeToString()
        del model, tapped  # each is as large as the weights
        try:
            self.session = ort.InferenceSession(text, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise ModelError(
                str(model_path), got=str(error), expected="a model that ONNX Runtime runs"
            ) from error
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelError(
                str(model_path),
                got=f"inputs {', '.join(f'{i.name} {i.shape}' for i in inputs)}",
                expected="one image input (B, C, H, W)",
            )
        self.name, self.shape = inputs[0].name, tuple(inputs[0].shape)
        self.dtype = np.float16 if "float16" in inputs[0].type else np.float32

    @property
    def batch(self) -> int:
        return int(self.shape[0])

    def check(self, image: NDArray[np.float32], number: int) -> None:
        """Refuse an image that is not the graph's (C, H, W)."""
        if np.shape(image) != self.shape[1:]:
            raise DataError(
                f"calibration image {number}",
                got=f"shape {np.shape(image)}",
                expected=f"{self.shape[1:]}, a preprocessed image",
            )

    def run(
        self, images: Sequence[NDArray[np.float32]]
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """The taps of up to ``batch`` images, one tensor after another."""
        filled = [images[i % len(images)] for i in range(self.batch)]
        feed = {self.name: np.stack(filled).astype(self.dtype, copy=False)}
        yield from zip(self.values, self.session.run(None, feed), strict=True)
