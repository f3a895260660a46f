"""The Open Inference Protocol over REST, asked by Triton's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from http_services import Running, dotted_image
from tritonclient.utils import InferenceServerException

import mahtrt
from mahtrt.http import rest_tensors

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent")
TENSOR = np.ascontiguousarray(dotted_image().transpose(2, 0, 1)[None].astype(np.float32) / 255)


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as found:
        yield found


def _input(tensor: Any, *, binary: bool = True) -> list[Any]:
    given = triton.InferInput("image", list(tensor.shape), "FP32")
    given.set_data_from_numpy(tensor, binary_data=binary)
    return [given]


def test_the_server_and_its_model_are_known(client: Any, service: Running) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    version = service.service.queues["tiny"].served.opened.version
    assert client.is_model_ready("tiny", version)
    assert not client.is_model_ready("tiny", "7")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("tiny", version)
    assert metadata["versions"] == [version]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 48]}]
    shapes = {each["name"]: each["shape"] for each in metadata["outputs"]}
    assert shapes["heatmaps"] == [-1, 3, 16, 24]
    assert shapes["points_px"] == [-1, 3, 2]
    assert service.ask("/v2/models").json == {"models": ["tiny"]}


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_are_those_of_a_session(client: Any, tiny_bundle: Path, binary: bool) -> None:
    both = np.concatenate([TENSOR, TENSOR[:, ::-1]])
    asked = [triton.InferRequestedOutput(name, binary_data=binary)
             for name in ("heatmaps", "points_px", "points_confidence")]  # fmt: skip
    found = client.infer("tiny", _input(both, binary=binary), outputs=asked, request_id="7")
    assert found.get_response()["id"] == "7"
    with mahtrt.open(tiny_bundle, threads=1) as session:
        wanted = session.infer(both)
    np.testing.assert_array_equal(found.as_numpy("heatmaps"), wanted["heatmaps"])
    np.testing.assert_allclose(found.as_numpy("points_confidence"), wanted["confidence"])
    points = found.as_numpy("points_px")
    np.testing.assert_allclose(points[0], [[6.5, 4.5], [20.5, 10.5], [40.5, 20.5]], atol=0.01)


def test_all_outputs_come_where_none_is_asked_for(client: Any) -> None:
    found = client.infer("tiny", _input(TENSOR))
    names = [output["name"] for output in found.get_response()["outputs"]]
    own = ["landmarks", "confidence", "spread", "heatmaps"]
    assert names == [*own, "points_px", "points_confidence", "points_spread_px"]


def _body(**fields: Any) -> bytes:
    given = {"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 48], "data": [0.0] * 4608}
    return json.dumps({"inputs": [{**given, **fields}]}).encode()


INFER = "/v2/models/tiny/infer"
RAW = "inference-header-content-length"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "told"),
    [
        (INFER, b"{", {}, 400, "text that is not JSON"),
        (INFER, b"[]", {}, 400, "no list of inputs"),
        (INFER, b'{"inputs": [7]}', {}, 400, "name, datatype and shape"),
        (INFER, b'{"inputs": []}', {}, 400, "expected a mapping with image"),
        (INFER, _body(name="picture"), {}, 400, "a mapping with picture"),
        (INFER, _body(datatype="FP64"), {}, 400, "datatype 'FP64'; expected FP32"),
        (INFER, _body(shape=[1, 3, 32, 47]), {}, 400, "4608 numbers; expected 4512"),
        (INFER, _body(shape=[3, 32, 48]), {}, 400, "expected float32 (N, 3, 32, 48)"),
        (INFER, _body(shape=[-1, 3, 32, 48]), {}, 400, "shape [-1, 3, 32, 48]"),
        (INFER, _body(shape=[2**40] * 4), {}, 400, "shape"),
        (INFER, _body(data=["a"] * 4608), {}, 400, "data that are no numbers"),
        (INFER, _body(data=[2**65, None] * 2304), {}, 400, "data that are no numbers"),
        (INFER, _body(data=[1e39, 0.5] * 2304), {}, 400, "2304 of 4608 numbers not finite"),
        (INFER, _body(data=[2**200, -1] * 2304), {}, 400, "2304 of 4608 numbers not finite"),
        (INFER, _body(data=[[1.0], []]), {}, 400, "rows of unequal length"),
        (INFER, _body(data=7), {}, 400, "no data"),
        (INFER, _body(parameters={"binary_data_size": 4}), {}, 400, "data twice"),
        (INFER, _body(), {RAW: "99999999"}, 400, "a number up to"),
        (INFER, _body(), {RAW: "-1"}, 400, "a number up to"),
        (INFER, _body() + b"tail", {RAW: str(len(_body()))}, 400, "4 bytes behind the last input"),
        ("/v2/models/other/infer", _body(), {}, 404, "no such model; expected tiny"),
        ("/v2/models/tiny/versions/1/infer", _body(), {}, 404, "got version '1'; expected"),
        ("/v2/models/tiny/versions/1", None, {}, 404, "got version '1'; expected"),
        ("/v2/models/other", None, {}, 404, "no such model"),
        ("/v2/models/other/ready", None, {}, 404, "no such model"),
        (INFER, None, {}, 405, "infer': got 'GET'; expected POST"),
        ("/v2/repository/models/tiny/unload", b"{}", {}, 501, "bundles are loaded by"),
        (INFER, b"x", {"content-encoding": "gzip"}, 415, "content-encoding: got 'gzip'"),
        ("/v2/models/tiny", b"{}", {}, 405, "tiny': got 'POST'; expected GET or HEAD"),
        (
            "/docs",
            None,
            {},
            404,
            "path '/docs': got no endpoint; expected one that docs/service.md",
        ),
        ("/v2/", None, {"host": "evil.example"}, 404, "path '/v2/': got no endpoint"),
        ("/" + "x" * 300, None, {}, 404, "xxx...xxx"),
    ],
)
def test_errors_are_as_the_protocol_has_them(
    service: Running,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    told: str,
) -> None:
    answer = service.ask(path, body, headers)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert told in answer.json["error"]


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny"]
)
def test_head_is_get_without_its_content(service: Running, path: str) -> None:
    head, whole = service.ask(path, method="HEAD"), service.ask(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


def test_another_method_is_told_which_there_are(service: Running) -> None:
    assert service.ask(INFER, method="HEAD").headers["allow"] == "POST"
    assert service.ask("/v2", method="DELETE").headers["allow"] == "GET, HEAD"


def test_an_unknown_output_is_refused(client: Any) -> None:
    asked = [triton.InferRequestedOutput("angles")]
    with pytest.raises(InferenceServerException, match="output 'angles': expected one of"):
        client.infer("tiny", _input(TENSOR), outputs=asked)


@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_raw_numbers_that_are_not_finite_are_refused(client: Any, number: float) -> None:
    tensor = TENSOR.copy()
    tensor[0, 1, 2, 3] = number
    with pytest.raises(InferenceServerException, match="got 1 of 4608 numbers not finite"):
        client.infer("tiny", _input(tensor))


def test_integers_of_any_length_are_numbers(service: Running) -> None:
    assert service.ask(INFER, _body(data=[2**65, -1] * 2304)).status == 200


def test_numbers_that_json_cannot_say_are_null(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"points_px": np.array([[[np.nan, 1.0], [-np.inf, 2.0]]], np.float32)}
    monkeypatch.setattr(rest_tensors, "run_feeds", lambda opened, feeds: [found])
    answer = service.ask(INFER, _body())
    assert answer.json["outputs"][0]["data"] == [None, 1.0, None, 2.0]
