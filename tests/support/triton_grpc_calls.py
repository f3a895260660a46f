"""Calls of Triton's gRPC client, in a process of their own; one JSON document on stdout.

Triton's client and kserve each register the protocol's messages under the same names, which one
process cannot have twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

MODEL = "tiny"


def _input(tensor: Any, name: str = "image", datatype: str = "FP32") -> list[Any]:
    given = triton.InferInput(name, list(tensor.shape), datatype)
    given.set_data_from_numpy(tensor)
    return [given]


def _error(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def main(port: str, tensor_file: str) -> None:
    """Ask a service of the tiny network."""
    tensor = np.load(tensor_file)
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        metadata = client.get_model_metadata(MODEL, as_json=True)
        asked = [triton.InferRequestedOutput(name) for name in ("heatmaps", "points_px")]
        found = client.infer(MODEL, _input(tensor), outputs=asked, request_id="7")
        errors = {
            "model": _error(lambda: client.infer("other", _input(tensor))),
            "version": _error(lambda: client.infer(MODEL, _input(tensor), model_version="3")),
            "input": _error(lambda: client.infer(MODEL, _input(tensor, "picture"))),
            "shape": _error(lambda: client.infer(MODEL, _input(tensor[..., :40]))),
            "type": _error(
                lambda: client.infer(MODEL, _input(tensor.astype("f8"), datatype="FP64"))
            ),
            "size": _error(
                lambda: client.infer(MODEL, _input(np.zeros((200, 3, 32, 48), np.float32)))
            ),
            "load": _error(lambda: client.load_model(MODEL)),
        }
        document = {
            "live": client.is_server_live(),
            "ready": [client.is_server_ready(), client.is_model_ready(MODEL)],
            "versions": metadata["versions"],
            "shape": metadata["inputs"][0]["shape"],
            "id": found.get_response().id,
            "points": found.as_numpy("points_px").tolist(),
            "heatmaps": found.as_numpy("heatmaps").tolist(),
            "errors": errors,
        }
    print(json.dumps(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
