"""Imports a TensorRT flavour for gpu_probe.py, in a process of its own, since that may crash.

What it finds goes to standard output as lines of JSON after a mark: native libraries print there
too. What was found before a crash is kept.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from mahtrt.targets.tensorrt.flavours import FLAVOURS
from mahtrt.targets.tensorrt.options import known_capabilities


def main() -> None:
    """Import the flavour that is named; with ``--build`` also let it build for the card."""
    flavour = FLAVOURS[sys.argv[1]]
    trt = importlib.import_module(flavour.module)
    found = {"imports": True, "version": trt.__version__}
    if flavour.chooses_capabilities:
        found["compute_capabilities"] = known_capabilities(trt)
    _print(found)  # before what may crash
    if "--build" in sys.argv:
        _print({"builds_for_this_card": builds_for_this_card(trt)})


def builds_for_this_card(trt: Any) -> bool:
    """Whether TensorRT-RTX builds a network of one layer for the card in this machine."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    layer = network.add_identity(network.add_input("x", trt.DataType.FLOAT, (1, 8)))
    network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    return builder.build_serialized_network(network, config) is not None


def _print(found: dict[str, Any]) -> None:
    print("@@ " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
