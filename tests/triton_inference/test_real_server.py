"""The real Triton server loads exported models and answers as ``mahtrt predict`` does.

It runs where ``MAHTRT_TRITON_PYTHON`` names an environment with nvidia-pytriton
(:mod:`triton_server` says how to make one).
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from dicom_files import PATIENT, write_dicom, write_patient_image
from PIL import Image
from tiny_network import make_image
from triton_server import Server, tritonserver, why_not
from tritonclient.utils import InferenceServerException

import mahtrt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a server"),
]

CLIENTS: dict[str, Any] = {"http": tritonclient.http, "grpc": tritonclient.grpc}
Ask = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All models, and one whose bundle is damaged."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(models, folder / "models")
    broken = folder / "models/broken"
    shutil.copytree(models / "tiny", broken)
    config = broken / "config.pbtxt"
    config.write_text(config.read_text("utf-8").replace('"tiny"', '"broken"'), "utf-8")
    graph = next((broken / "1/bundle.mahtrt").glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with tritonserver(folder / "models", folder / "run") as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG, a JPEG and a DICOM file."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = make_image(1, zoom=3, margin=4)[0]
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels).save(folder / "b.jpg", quality=90)
    gray = pixels[..., 0].astype(np.uint16) * 16
    write_dicom(folder / "c.dcm", gray, BitsStored=12, PixelSpacing=[0.1, 0.2])
    return folder


def ask(server: Server, kind: str, model: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """A request by tritonclient, and its answer."""
    library = CLIENTS[kind]
    client = library.InferenceServerClient(getattr(server, kind))
    try:
        inputs = []
        for name, array in arrays.items():
            kinds = {"O": "BYTES", "f": "FP64", "u": f"UINT{8 * array.itemsize}"}
            inputs.append(library.InferInput(name, list(array.shape), kinds[array.dtype.kind]))
            inputs[-1].set_data_from_numpy(array)
        result = client.infer(model, inputs)
        named = result.get_response()
        outputs = named["outputs"] if kind == "http" else [{"name": o.name} for o in named.outputs]
        return {each["name"]: result.as_numpy(each["name"]) for each in outputs}
    finally:
        client.close()


def as_bytes(*contents: bytes) -> np.ndarray:
    array = np.empty((len(contents), 1), np.object_)
    array[:, 0] = contents
    return array


def test_every_whole_model_is_ready_and_the_damaged_one_says_why(
    server: Server, models: Path
) -> None:
    client = tritonclient.http.InferenceServerClient(server.http)
    assert client.is_server_live()
    assert {p.name for p in models.iterdir() if client.is_model_ready(p.name)} == {
        p.name for p in models.iterdir()
    }
    assert not client.is_model_ready("broken")
    assert not client.is_server_ready()  # by Triton's strict readiness
    client.close()
    (line, *_) = (each for each in server.log.splitlines() if "failed to load 'broken'" in each)
    assert "model.onnx" in line
    assert "SHA-256" in line or "sha256" in line


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(("model", "same"), [("tiny", True), ("openvino", True), ("onnx", False)])
def test_landmarks_are_those_of_predict(
    server: Server, tiny_bundle: Path, pictures: Path, kind: str, model: str, same: bool
) -> None:
    """The same engine gives the same bits; ONNX Runtime's graph runs on OpenVINO here."""
    files = sorted(pictures.iterdir())
    options = mahtrt.PredictOptions(tiny_bundle, files, "onnxruntime" if not same else "openvino")
    for file, wanted in zip(files, mahtrt.predict(options).predictions, strict=True):
        answer = ask(server, kind, model, image=as_bytes(file.read_bytes()))
        found, limit_px = wanted.landmarks, 0 if same else 1e-3
        assert np.abs(answer["landmarks"] - found.points[None]).max() <= limit_px
        assert np.abs(answer["spread_px"] - found.spread[None]).max() <= limit_px
        document = json.loads(answer["document"][0, 0])
        if same:
            assert document["landmarks"] == found.to_dict()["landmarks"]
        assert document["spacing_mm"] == found.to_dict()["spacing_mm"]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_give_what_a_session_gives(
    server: Server, tiny_bundle: Path, kind: str, bits: int
) -> None:
    pixels = make_image(3, zoom=2)[0].astype(f"uint{bits}")
    spacing = np.array([[0.25, 0.5]])
    answer = ask(server, kind, "tiny", **{f"pixels_uint{bits}": pixels[None]}, spacing_mm=spacing)
    with mahtrt.open(tiny_bundle, engine="openvino") as session:
        found = session.run(pixels, spacing_mm=(0.25, 0.5))
    np.testing.assert_array_equal(answer["landmarks"], found.points[None])
    assert json.loads(answer["document"][0, 0]) == found.to_dict()


def test_200_requests_at_a_time_each_get_their_own(server: Server, tiny_batch_bundle: Path) -> None:
    """Images of many sizes, as files and as pixels, put into batches by Triton."""
    images = [make_image(i % 7, zoom=1 + i % 3, margin=i % 4)[0] for i in range(200)]

    def run(number: int) -> np.ndarray:
        kind = "grpc" if number % 2 else "http"
        if number % 3:
            return ask(server, kind, "four", pixels_uint8=images[number][None])["landmarks"]
        file = io.BytesIO()
        Image.fromarray(images[number]).save(file, "PNG")
        return ask(server, kind, "four", image=as_bytes(file.getvalue()))["landmarks"]

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(run, range(200)))
    with mahtrt.open(tiny_batch_bundle, engine="openvino") as session:
        wanted = session.run_batch(images)
    for answer, found in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(answer, found.points[None])
    client = tritonclient.http.InferenceServerClient(server.http)
    (statistics,) = client.get_inference_statistics("four")["model_stats"]
    client.close()
    assert statistics["execution_count"] < statistics["inference_count"]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("model", ["tiny", "openvino"])
def test_bad_requests_get_the_protocol_s_error_and_the_server_lives(
    server: Server, pictures: Path, kind: str, model: str
) -> None:
    png = (pictures / "a.png").read_bytes()
    bad: list[tuple[dict[str, np.ndarray], str]] = [
        ({"image": as_bytes(b"")}, "an empty file"),
        ({"image": as_bytes(png[: len(png) // 2])}, "cannot be decoded"),
        ({"image": as_bytes(b"%PDF-1.7" + bytes(500))}, "no format that is read"),
        ({"image": as_bytes(png), "pixels_uint8": np.zeros((1, 9, 9, 1), np.uint8)}, "exactly one"),
        ({"pixels_uint8": np.zeros((1, 9, 9, 2), np.uint8)}, "shape"),
        ({"pixels_uint16": np.zeros((1, 1, 9, 1), np.uint16)}, "at least 2 pixels"),
        ({"image": as_bytes(png), "spacing_mm": np.array([[-1.0, 1.0]])}, "spacing_mm"),
        ({"spacing_mm": np.array([[1.0, 1.0]])}, "no image"),
        ({"image": as_bytes(png, png)}, "1"),
    ]
    for arrays, told in bad:
        with pytest.raises(InferenceServerException, match=told) as caught:
            ask(server, kind, model, **arrays)
        assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")
    assert ask(server, kind, model, image=as_bytes(png))["landmarks"].shape == (1, 3, 2)
    assert server.process.poll() is None


def test_neither_errors_nor_the_log_name_a_patient(server: Server, tmp_path: Path) -> None:
    content = write_patient_image(tmp_path / "a.dcm", np.zeros((40, 50), np.uint8)).read_bytes()
    assert ask(server, "grpc", "tiny", image=as_bytes(content))["landmarks"].shape == (1, 3, 2)
    names = [value for value in PATIENT.values() if len(value) > 3]
    for bad in (content[:-500], content.replace(b"MONOCHROME2", b"MONOCHROME9")):
        with pytest.raises(InferenceServerException) as caught:
            ask(server, "grpc", "tiny", image=as_bytes(bad))
        assert not [name for name in names if name in str(caught.value)]
    assert not [name for name in names if name in server.log]
