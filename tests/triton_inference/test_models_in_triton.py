"""The models as Triton runs them, without the server: what they answer is what a session gives."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import PATIENT, write_dicom
from fake_triton import InferenceResponse, Request, as_bytes, install, run_python_model
from PIL import Image
from tiny_maps import build_bundle as build_maps
from tiny_maps import spec_of
from tiny_network import make_image

import mahtrt
from mahtrt.data.images import read_image
from mahtrt.errors import IntegrityError
from mahtrt.triton.export import export_triton
from mahtrt.triton.options import TritonOptions


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return install(monkeypatch)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def image(seed: int = 1, margin: int = 0) -> np.ndarray:
    return make_image(seed, zoom=2, margin=margin)[0]


def ensemble(models: Path, name: str, bundle: Path, request: Request) -> InferenceResponse:
    """An ensemble's answer; a session runs the network."""
    (prepared,) = run_python_model(models / f"{name}_prepare", request)
    if prepared.error:
        return prepared
    with mahtrt.open(bundle, engine="onnxruntime") as session:
        outputs = session.infer(prepared.arrays["image"])
    between = {each: prepared.arrays[each] for each in ("placement", "spacing_of_image")}
    read = {each: outputs[each] for each in ("landmarks", "confidence", "spread")}
    return run_python_model(models / f"{name}_decode", Request(**read, **between))[0]


def test_the_python_model_answers_as_a_session_does(models: Path, tiny_bundle: Path) -> None:
    pixels = image(margin=4)
    asked = [
        Request(image=as_bytes(png(pixels))),
        Request(pixels_uint8=pixels[None], spacing_mm=np.array([[0.1, 0.2]])),
        Request(pixels_uint16=(pixels.astype(np.uint16) * 257)[None]),
    ]
    replies = run_python_model(models / "tiny", *asked)
    with mahtrt.open(tiny_bundle, engine="openvino") as session:
        wanted = [session.run(pixels), session.run(pixels, spacing_mm=(0.1, 0.2))]
        wanted.append(session.run(pixels.astype(np.uint16) * 257))
    for reply, found in zip(replies, wanted, strict=True):
        assert reply.error is None
        np.testing.assert_array_equal(reply.arrays["landmarks"], found.points[None])
        np.testing.assert_array_equal(reply.arrays["confidence"], found.confidence[None])
        np.testing.assert_array_equal(reply.arrays["spread_px"], found.spread[None])
        document = reply.arrays["document"]
        assert document.shape == (1, 1)
        assert json.loads(document[0, 0]) == found.to_dict()


def test_a_bad_request_among_good_ones_is_refused_alone(models: Path) -> None:
    pixels = image()
    replies = run_python_model(
        models / "four",
        Request(image=as_bytes(png(pixels), png(image(2)))),
        Request(image=as_bytes(png(pixels)[:100])),
        Request(image=as_bytes(png(pixels)), pixels_uint8=pixels[None]),
        Request(spacing_mm=np.array([[0.1, 0.1]])),
        Request(pixels_uint8=pixels[None], spacing_mm=np.array([[0.0, 0.1]])),
        Request(pixels_uint8=pixels[None, ..., :2]),
        Request(pixels_uint8=pixels[None]),
    )
    codes = [reply.error.code if reply.error else None for reply in replies]
    assert codes == [None, *["INVALID_ARG"] * 5, None]
    assert replies[0].arrays["landmarks"].shape == (2, 3, 2)
    np.testing.assert_array_equal(
        replies[0].arrays["landmarks"][:1], replies[-1].arrays["landmarks"]
    )


def test_a_defect_is_told_by_its_kind_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    patient = PATIENT["PatientName"]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(patient)

    monkeypatch.setattr("mahtrt.triton.requests.image_from_bytes", broken)
    (reply,) = run_python_model(models / "tiny", Request(image=as_bytes(png(image()))))
    assert reply.error.code == "INTERNAL"
    assert "RuntimeError" in str(reply.error)
    assert patient not in "".join((str(reply.error), *log))


@pytest.mark.parametrize("name", ["onnx", "onnx-four"])
def test_an_ensemble_answers_as_a_session_does(
    models: Path, tiny_bundle: Path, tiny_batch_bundle: Path, tmp_path: Path, name: str
) -> None:
    bundle = tiny_batch_bundle if name == "onnx-four" else tiny_bundle
    gray = image()[..., 0]
    file = write_dicom(tmp_path / "a.dcm", gray, PixelSpacing=[0.1, 0.2])
    reply = ensemble(models, name, bundle, Request(image=as_bytes(file.read_bytes())))
    with mahtrt.open(bundle, engine="onnxruntime") as session:
        read = read_image(file)
        found = session.run(read.pixels, spacing_mm=read.spacing_mm)
    np.testing.assert_array_equal(reply.arrays["landmarks"], found.points[None])
    document = json.loads(reply.arrays["document"][0, 0])
    assert document["landmarks"] == found.to_dict()["landmarks"]
    assert document["spacing_mm"] == [0.1, 0.2]
    assert document["device"] == "triton onnxruntime"


def test_more_images_than_the_batch_are_refused_by_an_ensemble(models: Path) -> None:
    content = png(image())
    (reply,) = run_python_model(
        models / "onnx-four_prepare", Request(image=as_bytes(*[content] * 5))
    )
    assert "5 images" in str(reply.error)


def test_a_pair_of_images_gives_maps_and_labels(tmp_path: Path) -> None:
    bundle = build_maps(
        tmp_path / "pair.mahtrt", spec_of("baseline", "followup"), targets=("onnxruntime",)
    )
    result = export_triton(TritonOptions(bundle, tmp_path / "models"))
    both = image()[..., 0], image(2)[..., 0]
    (reply,) = run_python_model(
        tmp_path / "models" / result.model,
        Request(
            image_baseline=as_bytes(png(both[0])), pixels_uint8_followup=both[1][None, ..., None]
        ),
    )
    with mahtrt.open(bundle) as session:
        found = session.run(*both)
    assert set(reply.arrays) == {"change", "findings", "document"}
    np.testing.assert_array_equal(reply.arrays["change"][0], found.maps["change"])
    np.testing.assert_array_equal(reply.arrays["findings"][0], found.labels["findings"].logits)


def test_a_damaged_bundle_keeps_the_model_unready(models: Path, tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    shutil.copytree(models / "tiny", model)
    graph = next((model / "1/bundle.mahtrt").glob("*.onnx"))
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(IntegrityError, match=graph.name):
        run_python_model(model)


def test_without_mahtrt_the_model_says_what_to_do(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mahtrt.triton.landmark_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"see tiny/README\.md"):
        run_python_model(models / "tiny")
