"""Layer times of TensorRT, and which nodes of the ONNX each layer came from.

The times are those that TensorRT itself tells a profiler on an execution context. A layer is named
by the nodes that were fused into it, unless TensorRT's graph compiler made its kernel: such a name
(``__myl_MulAddCast_myl0_12``) says nothing. Then the nodes stand in the metadata that the engine
inspector gives for the layer, and the layers that read it follow from its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.feed import Feed
from mahtrt.errors import MissingComponentError
from mahtrt.targets.layers import RUNS, WARM_UP, Layer, layers_from_profile, undisturbed
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt.flavours import Flavour
from mahtrt.targets.tensorrt.inspector import read_document
from mahtrt.targets.tensorrt.network import NODE
from mahtrt.targets.tensorrt.run import TensorRtBackend


def check_runs_here(flavour: Flavour, options: EngineOptions) -> None:
    """Refuse to plan for a GPU that is not here, before anything is built.

    Raises:
        MissingComponentError: No GPU, none that the engines are for, or no such TensorRT.
        UsageError: Options that contradict each other.
    """
    subject = f"planning for target {flavour.name}"
    fix = (
        "Plan on the machine with that GPU, plan for --target openvino here, or give "
        "mahtrt build a finished plan with --plan FILE."
    )
    probe = probe_cuda()
    if not probe.devices:
        raise MissingComponentError(
            subject,
            got=probe.problem or "no CUDA device",
            expected="an NVIDIA GPU: plans are chosen by timing engines where they run",
            fix=fix,
        )
    from mahtrt.targets.tensorrt.build import check_request

    _, device = check_request(flavour, options)
    if device.gpu is None:
        raise MissingComponentError(
            subject,
            got=f"engines for {', '.join(device.capabilities)}, which {probe.devices[0]} here "
            "cannot run",
            expected="engines that can be timed on this machine",
            fix=fix,
        )


def layers_of_engine(backend: TensorRtBackend, inspector: Path | None, feed: Feed) -> list[Layer]:
    """The layers of an open engine.

    Args:
        inspector: The engine inspector's JSON, where the builder wrote it.
        feed: Each input by name (B, C, H, W).

    Raises:
        MahtrtError: The engine tells no times, or an inference fails.
    """
    found: dict[str, list[float]] = {}
    for run in backend.layer_times(feed, WARM_UP + RUNS):
        for name, ms in run.items():
            found.setdefault(name, []).append(ms)
    times = {name: undisturbed(durations) for name, durations in found.items()}
    data = read_document(inspector) if inspector is not None else {}
    return layers_with_origins(times, data)


def layers_with_origins(times_ms: Mapping[str, float], inspector: Any) -> list[Layer]:
    """Layers from a table of times, with what the engine inspector knows of each.

    Args:
        times_ms: By the layers' names.
        inspector: The inspector's JSON. Where it holds bare names, the names have to do.
    """
    layers = inspector.get("Layers", ()) if isinstance(inspector, Mapping) else ()
    tables = {str(t["Name"]): t for t in layers if isinstance(t, Mapping) and "Name" in t}
    readers: dict[str, list[str]] = {}
    for name, table in tables.items():
        for tensor in _tensors(table, "Inputs"):
            readers.setdefault(tensor, []).append(name)
    return [_known(layer, tables, readers) for layer in layers_from_profile(times_ms)]


def _known(
    layer: Layer, tables: Mapping[str, Mapping[str, Any]], readers: Mapping[str, list[str]]
) -> Layer:
    if layer.name not in tables:
        return layer
    table = tables[layer.name]
    nodes = NODE.findall(str(table.get("Metadata", "")))
    after = (name for tensor in _tensors(table, "Outputs") for name in readers.get(tensor, ()))
    return replace(
        layer,
        origins=tuple(dict.fromkeys((*nodes, *layer.origins))),
        readers=tuple(dict.fromkeys(after)),
    )


def _tensors(table: Mapping[str, Any], key: str) -> list[str]:
    tensors = table.get(key)
    named = tensors if isinstance(tensors, list) else []
    return [str(each["Name"]) for each in named if isinstance(each, Mapping) and "Name" in each]
