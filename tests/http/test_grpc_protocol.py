"""The Open Inference Protocol over gRPC, asked by Triton's own client and by plain messages."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from http_services import Running, dotted_image, running

import mahtrt

CALLS = Path(__file__).parents[1] / "support" / "triton_grpc_calls.py"
TENSOR = np.ascontiguousarray(dotted_image().transpose(2, 0, 1)[None].astype(np.float32) / 255)


def test_tritons_client_gets_what_the_protocol_says(
    service: Running, tiny_bundle: Path, tmp_path: Path
) -> None:
    both = np.concatenate([TENSOR, TENSOR[:, ::-1]])
    np.save(tmp_path / "tensor.npy", both)
    command = [sys.executable, str(CALLS), str(service.grpc_port)]
    ended = subprocess.run(
        [*command, str(tmp_path / "tensor.npy")], capture_output=True, text=True, check=True
    )
    found = json.loads(ended.stdout)
    with mahtrt.open(tiny_bundle, threads=1) as session:
        wanted = session.infer(both)
    np.testing.assert_array_equal(np.array(found.pop("heatmaps"), np.float32), wanted["heatmaps"])
    points = found.pop("points")
    np.testing.assert_allclose(points[0], [[6.5, 4.5], [20.5, 10.5], [40.5, 20.5]], atol=0.01)
    errors = {name: (code, told) for name, (code, told) in found.pop("errors").items()}
    assert found == {
        "live": True,
        "ready": [True, True],
        "versions": [service.service.queues["tiny"].served.opened.version],
        "shape": ["-1", "3", "32", "48"],
        "id": "7",
    }
    told = {
        "model": ("NOT_FOUND", "no such model; expected tiny"),
        "version": ("NOT_FOUND", "got version '3'"),
        "input": ("INVALID_ARGUMENT", "a mapping with picture"),
        "shape": ("INVALID_ARGUMENT", "expected float32 (N, 3, 32, 48)"),
        "type": ("INVALID_ARGUMENT", "datatype 'FP64'; expected FP32"),
        "size": ("RESOURCE_EXHAUSTED", "larger than max"),
        "load": ("UNIMPLEMENTED", ""),
    }
    assert set(errors) == set(told)
    for name, (code, text) in told.items():
        assert errors[name][0] == f"StatusCode.{code}"
        assert text in errors[name][1]


@pytest.fixture(scope="module")
def stub(service: Running) -> Iterator[Any]:
    """kserve's own client."""
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def _request(**inputs: Any) -> Any:
    from mahtrt.http.kserve_parts import messages

    request = messages.ModelInferRequest(model_name="tiny")
    request.inputs.add(**{"name": "image", "datatype": "FP32", "shape": TENSOR.shape, **inputs})
    request.outputs.add(name="points_px")
    return request


def test_numbers_may_come_in_the_message(stub: Any) -> None:
    """As ``contents`` in place of ``raw_input_contents``."""
    request = _request()
    request.inputs[0].contents.fp32_contents.extend(TENSOR.ravel().tolist())
    answer = stub.ModelInfer(request)
    points = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(1, 3, 2)
    np.testing.assert_allclose(points[0, 0], [6.5, 4.5], atol=0.01)


def test_messages_that_say_two_things_are_refused(stub: Any) -> None:
    several, unknown = _request(), _request(datatype="COMPLEX")
    several.raw_input_contents.extend([b"1234", b"5678"])
    for request in (several, unknown):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "inputs without their data" in caught.value.details()


def test_numbers_that_are_not_finite_are_refused(stub: Any) -> None:
    request = _request()
    request.raw_input_contents.append(np.full_like(TENSOR, np.nan).tobytes())
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "4608 of 4608 numbers not finite" in caught.value.details()


def test_a_call_carries_its_id_and_is_counted(stub: Any, service: Running) -> None:
    request = _request()
    request.raw_input_contents.append(TENSOR.tobytes())
    _, call = stub.ModelInfer.with_call(request, metadata=(("x-request-id", "abc-2"),))
    assert ("x-request-id", "abc-2") in list(call.trailing_metadata())
    text = service.ask("/metrics").body.decode()
    assert 'mahtrt_requests_total{code="OK",endpoint="grpc-infer",model="tiny"}' in text


def test_a_token_is_asked_for_but_of_those_who_ask_for_health(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    from mahtrt.http.kserve_parts import messages

    (tmp_path / "tokens").write_text("0123456789abcdef\nfedcba9876543210\n")
    request = _request()
    request.raw_input_contents.append(TENSOR.tobytes())
    with (
        running(f"tiny={tiny_bundle}", token_file=tmp_path / "tokens") as service,
        grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(messages.ServerReadyRequest()).ready
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, metadata=(("x-request-id", "abc-3"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ("x-request-id", "abc-3") in list(caught.value.trailing_metadata())
        (told,) = service.told("request")
        assert (told["id"], told["error"]) == ("abc-3", "token")
        right = (("authorization", "Bearer fedcba9876543210"),)
        assert stub.ModelInfer(request, metadata=right).outputs[0].name == "points_px"
        assert "fedcba" not in str(service.events)


def test_a_call_that_sends_no_message_is_ended(tiny_bundle: Path) -> None:
    """Others' calls are numbered, so one that is never ended would take a place for ever."""
    sent = threading.Event()

    def nothing_for_long() -> Iterator[bytes]:
        sent.wait(30)
        yield from ()

    with (
        running(f"tiny={tiny_bundle}", timeout_s=0.3) as service,
        grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel,
    ):
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        for messages, code, told in (
            (nothing_for_long(), grpc.StatusCode.DEADLINE_EXCEEDED, "not whole after 0.3 s"),
            (iter(()), grpc.StatusCode.INVALID_ARGUMENT, "got a call without a message"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(messages, timeout=20)
            assert caught.value.code() is code
            assert told in caught.value.details()
        sent.set()
        assert 'kind="slow"' in service.ask("/metrics").body.decode()
