"""TensorRT-RTX builds of MAHT-Net: variants, encoders, bottlenecks, precisions, target GPUs.

    python experiments/tensorrt_builds.py --out builds.json

writes builds.json and builds.md: plan bytes, build seconds, peak memory of the building process,
and in which precision the products of each graph compute. It needs neither GPU nor driver, and the
extras export, cpu and tensorrt-rtx. Weights are random (seed 0): they change neither a plan's size
nor how it is built. ``int8`` is INT8 where the default plan says so and FP16 elsewhere, with ranges
calibrated on phantoms.

Both files are written again after each network. The exit status is 1 if a build failed or a bar was
missed, else 0. These are TensorRT-RTX builds: evidence that the graphs parse and compile, no proof
for the enterprise TensorRT, and no plan was run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mahtrt.atomic import write_text_atomic
from mahtrt.errors import MahtrtError
from mahtrt.machine import describe_machine, package_versions

# The encoder that each variant has by itself; each is also built with the other one.
VARIANTS = {
    "nano": "efficientnet_b0",
    "small": "efficientnet_b1",
    "base": "efficientnet_b3",
    "efficient": "efficientnet_b0",
}
OTHER_ENCODER = "resnet34"
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
CAPABILITIES = ("SM86", "SM89", "SM120")
NETWORKS = [
    (variant, encoder, bottleneck)
    for variant, own in VARIANTS.items()
    for encoder, bottleneck in product((own, OTHER_ENCODER), ("vit", "swin"))
]
# Networks and their precisions: any two of variant, encoder, bottleneck and precision meet in one
# of these. Base has both bottlenecks in FP32 and INT8, whose sizes are compared.
COVERING = {
    ("nano", "efficientnet_b0", "vit"): ("fp32", "int8"),
    ("nano", OTHER_ENCODER, "swin"): ("fp16", "bf16"),
    ("small", "efficientnet_b1", "swin"): ("fp32", "bf16"),
    ("small", OTHER_ENCODER, "vit"): ("fp16", "int8"),
    ("base", "efficientnet_b3", "vit"): PRECISIONS,
    ("base", OTHER_ENCODER, "swin"): ("fp32", "int8"),
    ("efficient", "efficientnet_b0", "vit"): ("fp16", "bf16"),
    ("efficient", OTHER_ENCODER, "swin"): ("fp32", "int8"),
}
# What a build may take; the share is of INT8 plans of base in their FP32 plans.
MAX_SECONDS, MAX_MEMORY_MIB, MAX_INT8_SHARE = 30.0, 3 * 1024, 0.45
COLUMNS = ("variant", "encoder", "bottleneck", "precision", "capabilities", "input_size",
           "plan_bytes", "seconds", "peak_memory_mib", "products", "error")  # fmt: skip

Row = dict[str, Any]


def main() -> int:
    given = _arguments()
    rows: list[Row] = []
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        pending = [
            pool.submit(build_network, network, precisions, given)
            for network, precisions in _networks(given).items()
        ]
        for future in as_completed(pending):
            rows += future.result()
            missed = judge(rows)
            _write(given, rows, missed)
            print(f"{len(rows)} builds, {len(missed)} bars missed", file=sys.stderr, flush=True)
    for reason in missed:
        print(f"MISSED: {reason}", file=sys.stderr)
    return 1 if missed else 0


def build_network(
    network: tuple[str, str, str], precisions: Sequence[str], given: argparse.Namespace
) -> list[Row]:
    """Export a network once, and build it in some precisions for every target GPU."""
    import torch

    variant, encoder, bottleneck = network

    torch.set_num_threads(1)  # the other processes have the other cores
    spec, model = _exported(variant, encoder, bottleneck, given.size)
    rows = []
    with tempfile.TemporaryDirectory(prefix="tensorrt-builds-") as folder:
        export = Path(folder) / "export.onnx"
        export.write_bytes(model.SerializeToString())
        for precision in precisions:
            row = {"variant": variant, "encoder": encoder, "bottleneck": bottleneck,
                   "precision": precision, "error": "",
                   "inputs": {each.name: each.size for each in spec.inputs}}  # fmt: skip
            try:
                graph = _graph(model, spec, precision, export, given.images)
                path = Path(folder) / f"{precision}.onnx"
                path.write_bytes(graph.SerializeToString())
                row |= _described(graph)
            except Exception as error:  # a table of failures is what this is for
                row["error"] = _one_line(error)
            targets = [CAPABILITIES] if given.one_plan else [(each,) for each in CAPABILITIES]
            for capabilities in targets:
                built = {} if row["error"] else _built(path, precision, capabilities)
                rows.append({**row, "capabilities": capabilities, **built})
    return rows


def judge(rows: Iterable[Row]) -> list[str]:
    """Failed builds and missed bars, one sentence each."""
    known = {tuple(row[name] for name in COLUMNS[:5]): row for row in rows}
    reasons = []
    for (*network, precision, capabilities), row in known.items():
        name = f"{' '.join(network)} {precision} {'+'.join(capabilities)}"
        full = known.get((*network, "fp32", capabilities), {"error": "not built"})
        if row["error"]:
            reasons.append(f"{name}: {row['error']}")
            continue
        if row["seconds"] > MAX_SECONDS:
            reasons.append(f"{name}: {row['seconds']:.1f} s, more than {MAX_SECONDS:.0f} s")
        if row["peak_memory_mib"] > MAX_MEMORY_MIB:
            reasons.append(f"{name}: {row['peak_memory_mib']} MiB, more than {MAX_MEMORY_MIB} MiB")
        if row["variant"] == "base" and precision == "int8" and not full["error"]:
            share = row["plan_bytes"] / full["plan_bytes"]
            if share > MAX_INT8_SHARE:
                reasons.append(f"{name}: {share:.2f}x of FP32, more than {MAX_INT8_SHARE}x")
    return reasons


def _exported(variant: str, encoder: str, bottleneck: str, size: int) -> tuple[Any, Any]:
    """Spec and ONNX of a network as ``mahtrt export`` writes it, without the parity check."""
    import onnx_ir as ir
    import torch

    from mahtrt.export.passes.pipeline import export_passes, run_passes
    from mahtrt.export.tracing import OPSETS, trace
    from mahtrt.models.families import build_model

    settings: dict[str, Any] = {"input_size": (size, size)} if size else {}
    torch.manual_seed(0)
    module = build_model(f"maht-net/{variant}", encoder=encoder, transformer=bottleneck, **settings)
    graph = trace(module, module.spec, batch=1, opset=OPSETS[0])
    run_passes(graph, export_passes())
    return module.spec, ir.to_proto(graph)


def _graph(model: Any, spec: Any, precision: str, export: Path, images: int) -> Any:
    """The graph that TensorRT-RTX gets for a precision."""
    from mahtrt.calibration.int8_check import check_int8
    from mahtrt.calibration.plan import default_plan
    from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
    from mahtrt.calibration.ranges import collect_ranges
    from mahtrt.data.datasets import open_dataset
    from mahtrt.data.subset import NetworkTensors, Unannotated
    from mahtrt.graph.describe import describe_graph
    from mahtrt.precision.float_graph import float_graph
    from mahtrt.targets.tensorrt.target import TENSORRT_RTX

    graph = float_graph(model, TENSORRT_RTX.graph_kind(precision))
    if precision != "int8":
        return graph
    plan = default_plan(model, spec)
    cases = Unannotated(open_dataset(f"phantom:{images}"), len(spec.inputs))
    tensors = NetworkTensors(cases, spec)
    ranges = collect_ranges(export, tensors_to_calibrate(model, plan), tensors)
    graph = quantize(graph, ranges, plan, weight_bits=8)
    check_int8(describe_graph(graph), plan)
    return graph


def _networks(given: argparse.Namespace) -> Mapping[tuple[str, str, str], Sequence[str]]:
    return COVERING if given.covering else dict.fromkeys(NETWORKS, PRECISIONS)


def _described(graph: Any) -> Row:
    from mahtrt.graph.describe import describe_graph

    found = describe_graph(graph)
    return {
        "onnx_bytes": graph.ByteSize(),
        "products": dict(found.products),
        "nodes": found.nodes_by_precision,
        "int8_layers": found.int8_layers,
    }


def _built(onnx: Path, precision: str, capabilities: Sequence[str]) -> Row:
    """What one build took; the seconds are a caller's, with the start of the process."""
    from mahtrt.targets.target import EngineOptions
    from mahtrt.targets.tensorrt.options import TensorRtOptions
    from mahtrt.targets.tensorrt.target import TENSORRT_RTX

    own = TensorRtOptions(compute_capabilities=tuple(capabilities))
    options, started = EngineOptions(cache=False, target_options=(own,)), time.monotonic()
    try:
        artifact = TENSORRT_RTX.build(onnx, precision, onnx.parent, options)
    except MahtrtError as error:
        return {"error": _one_line(error)}
    assert artifact.build is not None
    facts = artifact.build.facts
    artifact.files["plan"].unlink()
    return {
        "plan_bytes": facts.plan_bytes,
        "parse_s": round(facts.parse_s, 2),
        "build_s": round(facts.build_s, 2),
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_mib": facts.peak_memory_mib or 0,
        "network_layers": dict(facts.layers),
    }


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _write(given: argparse.Namespace, rows: Sequence[Row], missed: Sequence[str]) -> None:
    """The JSON and, beside it, the Markdown table."""
    document = {
        "schema": "mahtrt.tensorrt-builds/2",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": "TensorRT-RTX builds without a GPU; no plan was run",
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "settings": {name: str(value) for name, value in vars(given).items() if name != "out"},
        "passed": not missed,
        "missed": list(missed),
        "rows": list(rows),
    }
    write_text_atomic(given.out, json.dumps(document, indent=1) + "\n")
    table = [COLUMNS, ["---"] * len(COLUMNS), *([row.get(c, "") for c in COLUMNS] for row in rows)]
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in table]
    write_text_atomic(given.out.with_suffix(".md"), "\n".join(lines) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--one-plan", action="store_true", help="one plan for all target GPUs")
    parser.add_argument("--size", type=int, default=0, help="input side; 0: the variant's own")
    parser.add_argument("--images", type=int, default=2, help="phantoms to calibrate on")
    parser.add_argument("--covering", action="store_true", help="the fewest that pair all parts")
    parser.add_argument("--out", type=Path, required=True, help="JSON; .md goes beside it")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time (times get worse)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
