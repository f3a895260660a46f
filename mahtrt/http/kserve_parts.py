"""What the service takes of kserve: its protocol's messages, routes and gRPC servicer.

kserve's own ``ModelServer`` is left out: it listens on every address, has no limits, and takes the
signals of the process. Importing kserve reads the command line of whatever process imports it, with
abbreviations, so that a ``--http 8000`` of ours would be taken for its ``--http_port``; the command
line is hidden from it here. This is the only module that imports kserve, and it takes a second:
import it where a service starts.
"""

from __future__ import annotations

import sys
import warnings

from mahtrt.errors import require
from mahtrt.http.own_messages import keep_apart

_NEEDED_FOR = "mahtrt serve --http"
_EXTRA = "http"

_before = sys.argv
sys.argv = _before[:1] or [""]
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that kserve brings
        keep_apart()
        for _module in ("kserve", "prometheus_client"):
            require(_module, extra=_EXTRA, needed_for=_NEEDED_FOR)
        from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
        from kserve.model import InferenceModel
        from kserve.model_repository import ModelRepository
        from kserve.protocol.dataplane import DataPlane
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
        from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
            add_GRPCInferenceServiceServicer_to_server as add_servicer,
        )
        from kserve.protocol.grpc.servicer import InferenceServicer
        from kserve.protocol.infer_type import (
            InferInput,
            InferOutput,
            InferRequest,
            InferResponse,
            RequestedOutput,
        )
        from kserve.protocol.model_repository_extension import ModelRepositoryExtension
        from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
finally:
    sys.argv = _before

__all__ = [
    "DataPlane",
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InferenceModel",
    "InferenceServicer",
    "InvalidInput",
    "ModelNotFound",
    "ModelNotReady",
    "ModelRepository",
    "ModelRepositoryExtension",
    "RequestedOutput",
    "ServerNotReady",
    "add_servicer",
    "messages",
    "register_v2_endpoints",
]
