"""One contract, every backend: the same network behind OpenVINO, ONNX Runtime and PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
import torch

from mahtrt.errors import (
    DataError,
    ImageError,
    InputError,
    MahtrtError,
    MissingComponentError,
    ModelError,
    UsageError,
)
from mahtrt.models.torch_reference import TorchBackend
from mahtrt.runtime import Session, open_session
from mahtrt.spec import DecodeSpec

ENGINES = ("openvino", "onnxruntime", "torch")


class TinyModule(torch.nn.Module):
    """The tiny network in PyTorch."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = torch.nn.functional.avg_pool2d(image, 2)
        weights = torch.softmax(maps.flatten(2) / tiny.TEMPERATURE, -1).reshape(maps.shape)
        xs, ys = torch.arange(maps.shape[3]).float(), torch.arange(maps.shape[2]).float()
        x, y = (weights.sum(2) * xs).sum(-1), (weights.sum(3) * ys).sum(-1)
        d2 = (xs - x[..., None, None]) ** 2 + (ys[:, None] - y[..., None, None]) ** 2
        return {
            "landmarks": torch.stack([x, y], -1),
            "confidence": weights.amax((2, 3)),
            "spread": ((weights * d2).sum((2, 3)) + 1e-12).sqrt(),
            "heatmaps": maps,
        }


def open_engine(name: str, bundle: Path, batch: int) -> Session:
    if name == "torch":
        return Session(TorchBackend(TinyModule(), tiny.SPEC, batch), tiny.SPEC)
    return open_session(bundle, engine=name, threads=1)


@pytest.fixture(params=ENGINES)
def session(request: pytest.FixtureRequest, tiny_bundle: Path) -> Iterator[Session]:
    with open_engine(request.param, tiny_bundle, 1) as opened:
        yield opened


@pytest.fixture(params=ENGINES)
def session_of_4(request: pytest.FixtureRequest, tiny_batch_bundle: Path) -> Iterator[Session]:
    with open_engine(request.param, tiny_batch_bundle, 4) as opened:
        yield opened


@pytest.mark.parametrize(("zoom", "margin"), [(1, 0), (3, 0), (1, 4), (2, 6)])
def test_landmarks_are_where_the_blocks_are(session: Session, zoom: int, margin: int) -> None:
    for seed in range(4):
        image, points = tiny.make_image(seed, zoom=zoom, margin=margin)
        found = session.run(image, spacing_mm=(0.1, 0.2))
        np.testing.assert_allclose(found.points, points, atol=2e-3)
        np.testing.assert_allclose(found.confidence, 1, atol=1e-3)
        assert found.points.dtype == found.confidence.dtype == found.spread.dtype == np.float32
        assert found.names == ("red", "green", "blue")
        assert found.spacing_mm == (0.1, 0.2)
        assert found.outputs is None


def test_spread_is_in_image_pixels(session: Session) -> None:
    # Two equal blocks: each has half the weight, so the spread is half their distance.
    image = np.zeros((3 * 32, 3 * 48, 3), np.uint8)
    image[30:36, 36:42] = image[30:36, 60:66] = 255
    found = session.run(image)
    np.testing.assert_allclose(found.points, [[50.5, 32.5]] * 3, atol=1e-2)
    np.testing.assert_allclose(found.spread, [12.0] * 3, atol=1e-2)
    assert found.spread_xy is not None
    np.testing.assert_allclose(found.spread_xy * np.sqrt(2), [[12.0, 12.0]] * 3, atol=1e-2)
    np.testing.assert_allclose(found.confidence, 0.5, atol=1e-3)


def test_gray_and_16_bit_images_run(session: Session) -> None:
    image = np.zeros((64, 96), np.uint16)
    image[20:24, 40:44] = 65535
    for variant in (image, image[:, :, None], image.astype(">u2")):
        np.testing.assert_allclose(session.run(variant).points, [[41.5, 21.5]] * 3, atol=2e-3)


def test_outputs_on_request(session: Session) -> None:
    image, _ = tiny.make_image(0)
    outputs = session.run(image, outputs=True).outputs
    assert outputs is not None
    assert {name: array.shape for name, array in outputs.items()} == {
        "landmarks": (3, 2),
        "confidence": (3,),
        "spread": (3,),
        "heatmaps": (3, 16, 24),
    }


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_batches_equal_single_runs(session_of_4: Session, count: int) -> None:
    pairs = [tiny.make_image(seed, zoom=1 + seed % 3, margin=seed % 2) for seed in range(count)]
    spacings = [(0.1 * (i + 1), 0.1) for i in range(count)]
    found = session_of_4.run_batch([image for image, _ in pairs], spacing_mm=spacings)
    assert len(found) == count
    for landmarks, (image, points), spacing in zip(found, pairs, spacings, strict=True):
        np.testing.assert_allclose(landmarks.points, points, atol=2e-3)
        np.testing.assert_array_equal(landmarks.points, session_of_4.run(image).points)
        assert landmarks.spacing_mm == spacing


@pytest.mark.parametrize("count", [1, 4, 6])
def test_infer_takes_any_number(session_of_4: Session, count: int) -> None:
    tensor = np.random.default_rng(0).random((count, 3, *tiny.SIZE), np.float32)
    results = session_of_4.infer(tensor)
    assert list(results) == [output.name for output in tiny.SPEC.outputs]
    expected = tensor.reshape(count, 3, 16, 2, 24, 2).mean((3, 5))
    np.testing.assert_allclose(results["heatmaps"], expected, atol=1e-5)
    assert list(session_of_4.infer(tensor, ["spread"])) == ["spread"]


def test_results_belong_to_the_caller(session: Session) -> None:
    tensor = np.zeros((1, 3, *tiny.SIZE), np.float32)
    first = session.infer(tensor)["heatmaps"]
    kept = first.copy()
    session.infer(tensor + 1)
    np.testing.assert_array_equal(first, kept)
    first[:] = 7  # writable, and not the engine's own memory
    np.testing.assert_array_equal(session.infer(tensor)["heatmaps"], kept)


def test_eight_threads_get_their_own_results(session: Session) -> None:
    pairs = [tiny.make_image(seed) for seed in range(8)]
    alone = [session.run(image).points for image, _ in pairs]

    def work(index: int) -> bool:
        runs = (session.run(pairs[index][0]).points for _ in range(20))
        return all(np.array_equal(points, alone[index]) for points in runs)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_closed_sessions_refuse(session: Session) -> None:
    image, _ = tiny.make_image(0)
    session.run(image)
    session.close()
    session.close()
    with pytest.raises(MahtrtError, match="after close"):
        session.run(image)
    with pytest.raises(MahtrtError, match="after close"):
        session.infer(np.zeros((1, 3, *tiny.SIZE), np.float32))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((2, 8, 8, 3), np.uint8),
        "photo.png",
    ],
    ids=["1x1", "alpha", "float", "rank", "path"],
)
def test_bad_images_are_named(session: Session, image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"^image: got"):
        session.run(image)
    with pytest.raises(ImageError, match=r"^image 1: got"):
        session.run_batch([np.zeros((8, 8), np.uint8), image])


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((3, *tiny.SIZE), np.float32),
        np.zeros((1, 3, *tiny.SIZE), np.float64),
        np.zeros((1, 3, 8, 8), np.float32),
        np.zeros((0, 3, *tiny.SIZE), np.float32),
    ],
    ids=["rank", "dtype", "size", "empty"],
)
def test_bad_tensors_say_what_was_expected(session: Session, tensor: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected float32 \(N, 3, 32, 48\)"):
        session.infer(tensor)


def test_wrong_counts_and_names(session: Session) -> None:
    image, _ = tiny.make_image(0)
    with pytest.raises(InputError, match="got 1 values; expected 2, one per image"):
        session.run_batch([image, image], spacing_mm=[None])
    with pytest.raises(InputError, match="output 'masks'"):
        session.infer(np.zeros((1, 3, *tiny.SIZE), np.float32), ["masks"])


def test_engines_by_name_target_and_default(tiny_bundle: Path) -> None:
    for asked, opened in {
        None: "openvino-fp32",
        "openvino": "openvino-fp32",
        "onnxruntime-fp32": "onnxruntime-fp32",
    }.items():
        with open_session(tiny_bundle, engine=asked) as session:
            assert session.name == opened
            assert session.engine is not None
            assert session.engine.name == opened
            assert session.engine_notes == ()
    with pytest.raises(UsageError, match="one of openvino-fp32, onnxruntime-fp32"):
        open_session(tiny_bundle, engine="tensorrt")


def test_no_bundle(tmp_path: Path) -> None:
    for place in (tmp_path / "none.mahtrt", tmp_path):
        with pytest.raises(DataError, match="expected a mahtrt bundle"):
            open_session(place)


def test_a_missing_package_is_named(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingComponentError, match=r"mahtrt\[cpu\]") as caught:
        open_session(tiny_bundle, engine="onnxruntime")
    assert caught.value.exit_code == 6


def test_nothing_to_decode_gives_outputs() -> None:
    spec = replace(tiny.SPEC, decode=DecodeSpec("none"), landmarks=())
    session = Session(TorchBackend(TinyModule(), spec), spec)
    found = session.run(tiny.make_image(0)[0])
    assert found.points.shape == (0, 2)
    assert found.outputs is not None
    assert set(found.outputs) == {"landmarks", "confidence", "spread", "heatmaps"}


def test_landmarks_that_no_output_holds_are_refused() -> None:
    spec = replace(tiny.SPEC, outputs=tiny.SPEC.outputs[3:])
    with pytest.raises(ModelError, match="decoding inside the graph"):
        Session(TorchBackend(TinyModule(), spec), spec)


def test_a_network_without_confidence_gives_nan() -> None:
    spec = replace(tiny.SPEC, outputs=tiny.SPEC.outputs[:1])
    found = Session(TorchBackend(TinyModule(), spec), spec).run(tiny.make_image(0)[0])
    assert np.isnan(found.confidence).all()
    assert np.isnan(found.spread).all()
    assert found.to_dict()["landmarks"][0]["confidence"] is None


BAD_SPACINGS: list[Any] = [
    0.1,
    "0.1",
    (0.1,),
    (0.1, 0.1, 0.1),
    (0.1, 0),
    (-0.1, 0.1),
    (float("nan"), 0.1),
    (0.1, float("inf")),
    (True, 0.1),
    ("0.1", "0.1"),
    {"row": 0.1, "column": 0.1},
    10**5000,
]


@pytest.mark.parametrize("spacing", BAD_SPACINGS, ids=range(len(BAD_SPACINGS)))
def test_a_spacing_that_cannot_be_is_refused(spacing: Any) -> None:
    image = np.zeros((40, 40), np.uint8)
    with Session(TorchBackend(TinyModule(), tiny.SPEC), tiny.SPEC) as session:
        with pytest.raises(InputError, match=r"spacing_mm: got .*expected \(row, column\)"):
            session.run(image, spacing_mm=spacing)
        with pytest.raises(InputError, match="spacing_mm of image 1"):
            session.run_batch([image] * 2, spacing_mm=[(0.1, 0.1), spacing])
        for good in ((0.2, 0.1), [0.2, 0.1], np.array([0.2, 0.1])):
            found = session.run(image, spacing_mm=good)  # type: ignore[arg-type]
            assert found.spacing_mm == (0.2, 0.1)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), np.float32),
        np.zeros((40, 40), bool),
        np.zeros((40, 40), complex),
        np.zeros((40, 40), object),
        np.zeros(40, np.uint8),
        np.zeros((1, 3, 40, 40), np.uint8),
        np.zeros((0, 40), np.uint8),
        np.broadcast_to(np.uint8(0), (2**20, 2**20)),
        [[0, 0], [0, 0]],
        None,
    ],
    ids=range(10),
)
def test_an_array_that_is_no_image_is_refused(image: Any) -> None:
    with (
        Session(TorchBackend(TinyModule(), tiny.SPEC), tiny.SPEC) as session,
        pytest.raises(ImageError, match=r"image: got .*expected"),
    ):
        session.run(image)


@pytest.mark.parametrize("engine", tiny.TARGETS)
def test_a_session_for_two_inferences_at_a_time_finds_the_same(
    tiny_bundle: Path, engine: str
) -> None:
    image, points = tiny.make_image(5)
    with (
        open_session(tiny_bundle, engine=engine, threads=2, streams=2) as session,
        ThreadPoolExecutor(2) as pool,
    ):
        assert session.threads == 2
        for found in pool.map(session.run, [image] * 8):
            assert np.abs(found.points - points).max() < 0.01


@pytest.mark.parametrize("streams", [0, -1, "2", 1.5])
def test_a_number_of_streams_that_cannot_be_is_refused(tiny_bundle: Path, streams: Any) -> None:
    with pytest.raises(UsageError, match=r"streams: got .*expected a whole number of at least 1"):
        open_session(tiny_bundle, streams=streams)


@pytest.mark.parametrize("threads", [0, -1, "2", 1.5])
def test_a_number_of_threads_that_cannot_be_is_refused(tiny_bundle: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match=r"threads: got .*expected a whole number of at least 1"):
        open_session(tiny_bundle, threads=threads)
