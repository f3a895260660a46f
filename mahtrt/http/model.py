"""The bundles as kserve's data plane sees them, and what of it had to be mended.

kserve's part of the protocol has no versions, calls itself ready whatever its models are, and
leaves it to any client to unload a model. A version here is the beginning of the digest of the
bundle's manifest, so that a client can tell, and ask, which build answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mahtrt
from mahtrt.errors import InputError
from mahtrt.http.kserve_parts import (
    DataPlane,
    InferenceModel,
    InferenceServicer,
    InferOutput,
    InferRequest,
    InferResponse,
    ModelRepository,
)
from mahtrt.http.served import Opened
from mahtrt.http.state import Service
from mahtrt.http.tensor_work import (
    DATATYPE,
    Array,
    Feed,
    GivenTensor,
    TensorAsked,
    feed_of,
    output_names,
    run_feeds,
)
from mahtrt.http.work import Queue
from mahtrt.spec import ModelSpec, OutputSpec

_ANY = -1  # a side that is not fixed, as the protocol writes it


class ServedModel(InferenceModel):
    """A bundle that is served, as one of kserve's models; gRPC comes through here."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.served.name)
        self._queue = queue

    async def healthy(self) -> bool:
        return self._queue.served.is_ready

    def load(self) -> bool:
        """Nothing: bundles are opened when the service starts, and when they are replaced."""
        return self._queue.served.is_ready

    async def __call__(self, body: Any, headers: Any = None, verb: Any = None) -> Any:
        answer = await asyncio.wrap_future(self._queue.put(GrpcTensorWork(body, self.name)))
        return answer, {}

    def get_input_types(self) -> list[dict[str, Any]]:
        """Name, datatype and shape of the network's inputs."""
        return [
            {"name": each.name, "datatype": DATATYPE, "shape": [_ANY, each.channels, *each.size]}
            for each in self._spec().inputs
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The same of its outputs, and of what is decoded from them."""
        spec = self._spec()
        own = {output.name: _shape(output, spec) for output in spec.outputs}
        count = spec.num_landmarks
        decoded = {"points_px": [_ANY, count, 2]}
        return [
            {
                "name": name,
                "datatype": DATATYPE,
                "shape": own.get(name) or decoded.get(name) or [_ANY, count],
            }
            for name in output_names(spec)
        ]

    def _spec(self) -> ModelSpec:
        opened = self._queue.served.opened
        if opened is None:
            raise self._queue.served.refusal()
        return opened.spec


@dataclass(frozen=True, slots=True)
class GrpcTensorWork:
    """A request that came over gRPC, as it came."""

    message: Any
    model: str

    def prepare(self, opened: Opened) -> Feed:
        request = _request_from_grpc(self.message)
        inputs = tuple(map(_given, request.inputs))
        asked = request.request_outputs or ()
        return feed_of(TensorAsked(inputs, tuple(output.name for output in asked)), opened.spec)

    def cases(self, prepared: Feed) -> int:
        return prepared.cases

    def run(self, opened: Opened, prepared: Sequence[Feed]) -> Sequence[Mapping[str, Array]]:
        return run_feeds(opened, prepared)

    def answer(self, opened: Opened, prepared: Feed, found: Mapping[str, Array]) -> Any:
        outputs = [
            InferOutput(name, list(array.shape), DATATYPE, array) for name, array in found.items()
        ]
        return InferResponse(
            response_id=self.message.id,
            model_name=self.model,
            model_version=opened.version,
            infer_outputs=outputs,  # raw, since they are arrays
        ).to_grpc()


class Plane(DataPlane):
    """kserve's data plane over our bundles."""

    def __init__(self, service: Service) -> None:
        repository = ModelRepository()
        for queue in service.queues.values():
            repository.update(ServedModel(queue))
        super().__init__(repository)
        self._service = service

    def metadata(self) -> dict[str, Any]:
        return {
            "name": "mahtrt",
            "version": mahtrt.__version__,
            "extensions": ["binary_tensor_data"],
        }

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        opened = self._service.queue(model_name).served.opened
        found: dict[str, Any] = await super().model_metadata(model_name)
        if opened is not None:
            found |= {"versions": [opened.version], "platform": f"mahtrt_{opened.session.name}"}
        return found

    async def ready(self) -> bool:
        return self._service.is_ready

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        return self._service.queue(model_name).served.is_ready

    async def infer(self, model_name: str, request: Any, headers: Any = None) -> Any:
        version = getattr(request, "model_version", None) or ""
        self._service.queue(model_name, version)
        return await super().infer(model_name, request, headers)


def _request_from_grpc(message: Any) -> Any:
    """A message of gRPC as kserve's request.

    Raises:
        InputError: A datatype that the protocol does not have, or raw tensors for other inputs.
    """
    try:
        InferenceServicer.validate_grpc_request(message)
        return InferRequest.from_grpc(message)
    except (ValueError, IndexError) as error:  # kserve's InvalidInput is a ValueError
        got = "inputs without their data, or of an unknown datatype"
        raise InputError("request", got=got, expected=f"{DATATYPE} for each input") from error


def _given(each: Any) -> GivenTensor:
    raw = each._raw_data
    data = raw if raw is not None else list(each.data or ())
    return GivenTensor(each.name, each.datatype, tuple(each.shape), data)


def _shape(output: OutputSpec, spec: ModelSpec) -> list[int]:
    """Shape of an output as the spec knows it."""
    count = spec.num_landmarks
    heatmap = list(spec.decode.heatmap_size or (_ANY, _ANY))
    shapes = {
        "heatmaps": [count, *heatmap],
        "landmarks": [count, 2],
        "map": [_ANY, _ANY, _ANY],
        "logits": [len(output.labels) or _ANY],
    }
    return [_ANY, *shapes.get(output.kind, [count])]
