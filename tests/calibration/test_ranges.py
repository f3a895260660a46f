from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_graphs import SIZE, Builder, feeds, smooth_images

from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.ranges import (
    Ranges,
    TensorRange,
    collect_ranges,
    ranges_of_parts,
    segments,
    snapshots_of,
)
from mahtrt.calibration.seen import RangeLooker
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import DataError, ModelError, UsageError

TENSOR = "stem_relu_out"


def small_model(path: Path, *, batch: int = 1) -> Path:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "stem_relu")
    onnx.save(b.model({"y": b.conv(x, "last", 32, 32)}, batch=batch), path)
    return path


def test_ranges_are_those_of_the_activations(
    tmp_path: Path, run_ort: Callable[..., list[np.ndarray]]
) -> None:
    path, images = small_model(tmp_path / "m.onnx"), smooth_images(4)
    ranges = collect_ranges(path, ["image", TENSOR], feeds(images), threads=1)
    full = onnx.load(path)
    full.graph.output.append(onnx.helper.make_tensor_value_info(TENSOR, 1, None))
    values = np.stack([run_ort(full, image=image[None])[-1] for image in images])

    found = ranges.tensors[TENSOR]
    assert found.minimum == 0.0
    assert found.maximum == pytest.approx(float(values.max()), rel=1e-5)
    assert found.amax["minmax"] == found.maximum
    assert found.amax["percentile"] == pytest.approx(np.percentile(values, 99.99), rel=0.01)
    assert 0 < found.amax["entropy"] <= found.maximum
    assert found.values == found.sampled == values.size  # a small tensor is sampled whole
    for method in METHODS:
        above = float((values > found.amax[method]).mean())
        assert found.saturation[method] == pytest.approx(above, abs=5e-4)
    assert (ranges.images, ranges.preprocess_version) == (4, PREPROCESS_VERSION)
    assert ranges.tensors["image"].minimum == pytest.approx(float(np.min(images)))


def test_images_are_streamed_and_progress_is_told(tmp_path: Path) -> None:
    alive: list[int] = []
    told: list[tuple[int, int]] = []

    class Stream(list[dict[str, np.ndarray]]):
        def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
            for number, image in enumerate(super().__iter__()):
                alive.append(number - len(told))
                yield image

    path, images = small_model(tmp_path / "m.onnx"), Stream(feeds(smooth_images(5)))
    collect_ranges(path, [TENSOR], images, progress=lambda *counts: told.append(counts))
    assert told == [(n, 5) for n in range(1, 6)]
    assert set(alive) == {0}  # each image is used before the next is asked for


def test_order_of_images_changes_only_the_digest(tmp_path: Path) -> None:
    path, images = small_model(tmp_path / "m.onnx"), smooth_images(5)
    forth = collect_ranges(path, [TENSOR], feeds(images), threads=1)
    back = collect_ranges(path, [TENSOR], feeds(images[::-1]), threads=1)
    assert forth.tensors == back.tensors
    assert forth.digest != back.digest
    assert collect_ranges(path, [TENSOR], feeds(images), threads=1) == forth


def test_a_batch_is_filled_with_its_own_images(tmp_path: Path) -> None:
    images = smooth_images(3)
    one = collect_ranges(small_model(tmp_path / "1.onnx"), [TENSOR], feeds(images), threads=1)
    two = collect_ranges(
        small_model(tmp_path / "2.onnx", batch=2), [TENSOR], feeds(images), threads=1
    )
    assert two.images == 3
    assert two.digest == one.digest
    assert two.tensors[TENSOR].maximum == pytest.approx(one.tensors[TENSOR].maximum)


def test_activations_that_are_not_finite_are_named(tmp_path: Path) -> None:
    b = Builder()
    x = b.op("Log", [b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")], "log")
    path = tmp_path / "m.onnx"
    onnx.save(b.model({"y": b.conv(x, "last", 32, 32)}), path)
    with pytest.raises(
        DataError, match="image 0: got values that are not finite in tensor 'log_out'"
    ):
        collect_ranges(path, ["stem_out", "log_out"], feeds(smooth_images(1)), threads=1)


def test_a_single_nan_is_found(tmp_path: Path) -> None:
    image = smooth_images(1)[0]
    image[1, 7, 9] = np.nan
    with pytest.raises(DataError, match="not finite in tensor"):
        collect_ranges(
            small_model(tmp_path / "m.onnx"), [TENSOR, "image"], feeds([image]), threads=1
        )


def test_what_cannot_be_calibrated_is_refused_in_words(tmp_path: Path) -> None:
    path = small_model(tmp_path / "m.onnx")
    with pytest.raises(DataError, match="calibration images: got none"):
        collect_ranges(path, [TENSOR], [])
    with pytest.raises(
        DataError, match=rf"image 1: got image of shape \(3, 8, 8\); expected image \(3, {SIZE}"
    ):
        collect_ranges(
            path, [TENSOR], feeds([smooth_images(1)[0], np.zeros((3, 8, 8), np.float32)])
        )
    with pytest.raises(ModelError, match="tensor 'nowhere'"):
        collect_ranges(path, ["nowhere"], feeds(smooth_images(1)))
    with pytest.raises(UsageError, match="percentile: got 0"):
        collect_ranges(path, [TENSOR], feeds(smooth_images(1)), percentile=0.0)
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"junk\.onnx: got"):
        collect_ranges(junk, [TENSOR], feeds(smooth_images(1)))


RANGES = Ranges(
    tensors={
        "t": TensorRange(
            minimum=-1.0,
            maximum=2.0,
            amax={"minmax": 2.0, "percentile": 1.5, "entropy": 1.25},
            saturation={"minmax": 0.0, "percentile": 0.0001, "entropy": 0.5},
            values=10,
            sampled=5,
        )
    },
    images=2,
    digest="ab",
    preprocess_version=1,
)


def test_golden_text() -> None:
    tensor = {
        "minimum": -1.0,
        "maximum": 2.0,
        "amax": {"minmax": 2.0, "percentile": 1.5, "entropy": 1.25},
        "saturation": {"minmax": 0.0, "percentile": 0.0001, "entropy": 0.5},
        "values": 10,
        "sampled": 5,
    }
    table = {
        "tensors": {"t": tensor},
        "images": 2,
        "digest": "ab",
        "preprocess_version": 1,
        "percentile": 99.99,
        "schema": "mahtrt.ranges/1",
    }
    assert RANGES.to_json() == json.dumps(table, indent=1) + "\n"


def test_what_was_seen_on_the_way_is_what_fewer_images_give(tmp_path: Path) -> None:
    path, images = small_model(tmp_path / "m.onnx"), smooth_images(12)
    whole = collect_ranges(path, [TENSOR], feeds(images), threads=1)
    assert whole.snapshots == (1, 3, 6, 9)
    for place, count in enumerate(whole.snapshots):
        part = collect_ranges(path, [TENSOR], feeds(images[:count]), threads=1)
        past = {m: h[place] for m, h in whole.tensors[TENSOR].history.items()}
        assert past == part.tensors[TENSOR].amax
    assert collect_ranges(path, [TENSOR], feeds(images[:7]), threads=1).snapshots == ()


@pytest.mark.parametrize(("batch", "longest"), [(1, 1), (1, 3), (2, 3), (3, 1)])
def test_ranges_of_parts_are_those_of_the_whole(tmp_path: Path, batch: int, longest: int) -> None:
    path, images = small_model(tmp_path / "m.onnx", batch=batch), feeds(smooth_images(9))
    whole = collect_ranges(path, [TENSOR, "image"], images, threads=1)
    places = segments(len(images), batch, longest)
    assert len(places) >= 3
    parts = [
        RangeLooker(path, [TENSOR, "image"], 1).look_at(images[start:stop], start)
        for start, stop in places
    ]
    merged = ranges_of_parts(parts, whole.percentile, snapshots_of(len(images), batch))
    assert merged == whole
    assert merged.to_json() == whole.to_json()
    assert whole.snapshots
