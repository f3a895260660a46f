"""Plans of the foreign network as someone writes them, and builds that follow them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from build_options import make_options
from foreign_network import ForeignNetwork

from mahtrt.build.options import BuildOptions
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.plan import default_plan
from mahtrt.graph.graph_file import read_graph


def plan_of(network: ForeignNetwork, **precisions: Any) -> Plan:
    """A plan by hand: all of it half precision, but for some blocks."""
    graph = read_graph(network.onnx)
    named = {name.replace("_", "."): precision for name, precision in precisions.items()}
    return Plan(
        tuple(
            dataclasses.replace(
                block,
                precision=named.get(block.name, "float"),
                nodes=(*block.nodes, *block.float_nodes),
                float_nodes={},
            )
            for block in default_plan(graph.proto, graph.spec).blocks
        )
    )


def options(network: ForeignNetwork, out: Path, **changed: Any) -> BuildOptions:
    """BF16 for ONNX Runtime on two phantoms, unless something else is asked for."""
    asked = {"precisions": ("bf16",), "calib": None, "eval": "phantom:2@9"}
    return make_options(network, out, **(asked | changed))
