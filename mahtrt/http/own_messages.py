"""kserve's messages of the protocol, kept apart from those of Triton's client.

Both packages register the same names, and protobuf refuses the second in a process: a program that
imported ``tritonclient.grpc`` could start no service, and one with a service could not be a client
over gRPC. kserve's messages are therefore registered in a pool of their own.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from unittest import mock

_MODULE = "kserve.protocol.grpc.grpc_predict_v2_pb2"


def keep_apart() -> None:
    """Load the messages before kserve does; call it before kserve is imported.

    Where kserve is not installed, was imported already, or has its messages elsewhere, nothing
    happens.
    """
    if "kserve" in sys.modules:
        return
    found = importlib.util.find_spec("kserve")
    places = (found.submodule_search_locations if found is not None else None) or []
    files = [Path(place, *_MODULE.split(".")[1:]).with_suffix(".py") for place in places]
    existing = [file for file in files if file.is_file()]
    if not existing:
        return
    from google.protobuf import descriptor_pool

    spec = importlib.util.spec_from_file_location(_MODULE, existing[0])
    assert spec is not None
    assert spec.loader is not None
    module, pool = importlib.util.module_from_spec(spec), descriptor_pool.DescriptorPool()
    with mock.patch.object(descriptor_pool, "Default", return_value=pool):
        spec.loader.exec_module(module)
    sys.modules[_MODULE] = module
