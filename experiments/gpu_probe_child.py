"""The parts of gpu_probe.py that run in processes of their own, since they may crash.

What they find goes to standard output as lines of JSON after a mark: native libraries print there
too. What was found before a crash is kept.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if importlib.util.find_spec("mahtrt") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mahtrt.targets.tensorrt.flavours import FLAVOURS, Flavour
from mahtrt.targets.tensorrt.options import known_capabilities

MARK = "@@ "
IMAGES, TIMED_RUNS = "phantom:8@99", 50
# Of the image's pixels, between the engine's landmarks and ONNX Runtime's on the same graph.
AGREEMENT_PX = {"fp32": 0.1, "fp16": 0.5, "int8": 0.5}


def main(arguments: Sequence[str] | None = None) -> int:
    """Import a flavour, or build and run one engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("import", "run"))
    parser.add_argument("flavour", choices=list(FLAVOURS))
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--precision", choices=list(AGREEMENT_PX))
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--int8-onnx", type=Path)
    options = parser.parse_args(arguments)
    if options.what == "import":
        import_here(FLAVOURS[options.flavour], build=options.build)
    else:
        graphs = options.onnx, options.int8_onnx
        for part in measure(options.flavour, options.precision, *graphs):
            _print(part)  # at once: what comes next may crash
    return 0


def import_here(flavour: Flavour, *, build: bool) -> None:
    """In a child: import a flavour, let it build for the card, and print what comes of it."""
    trt = importlib.import_module(flavour.module)
    found = {"imports": True, "version": trt.__version__}
    if flavour.chooses_capabilities:
        found["compute_capabilities"] = known_capabilities(trt)
    _print(found)  # before what may crash
    if build:
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


def measure(
    flavour: str, precision: str, onnx: Path, int8_onnx: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Build, load and run one engine, and say after each step what it gave; or the problem."""
    with tempfile.TemporaryDirectory(prefix="mahtrt-gpu-probe-") as folder:
        try:
            graph = int8_onnx if precision == "int8" else _as(precision, onnx, Path(folder))
            assert graph is not None
            yield from run_one(flavour, precision, onnx, graph, Path(folder))
        except Exception as error:  # whatever goes wrong on that machine is a finding
            yield {"problem": f"{type(error).__name__}: {error}"}


def _as(precision: str, onnx: Path, folder: Path) -> Path:
    """The graph in another precision."""
    if precision == "fp32":
        return onnx
    import onnx as onnx_package

    from mahtrt.precision.half import to_half

    path = folder / f"model.{precision}.onnx"
    onnx_package.save(to_half(onnx_package.load(str(onnx)), "fp16"), path)
    return path


def run_one(
    flavour: Any, precision: Any, fp32_onnx: Path, graph: Path, folder: Path
) -> Iterator[dict[str, Any]]:
    """One engine: built, opened, its landmarks beside ONNX Runtime's on the same graph, timed."""
    from mahtrt.bundle.manifest import EngineRecord
    from mahtrt.data.datasets import open_dataset
    from mahtrt.graph.graph_file import read_graph
    from mahtrt.runtime.session import Session
    from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx
    from mahtrt.targets.table import find_target
    from mahtrt.targets.target import EngineOptions
    from mahtrt.targets.tensorrt.run import TensorRtBackend

    spec = read_graph(fp32_onnx).spec
    started = time.monotonic()
    options = EngineOptions(cache=False)
    built = find_target(flavour).build(graph, precision, folder, options)
    yield {
        "build_s": round(time.monotonic() - started, 2),
        "plan_bytes": built.files["plan"].stat().st_size,
        "device": dict(built.device),
        "versions": dict(built.versions),
        "notes": list(built.notes),
    }
    name = f"{flavour}-{precision}"
    engine = EngineRecord(
        name, flavour, precision, {}, device=built.device, versions=built.versions
    )
    # INT8 kernels of a CPU may saturate where the GPU's do not.
    mode = OrtMode.LITERAL_INT8 if precision == "int8" else OrtMode.ENGINE
    opened = open_onnx(graph, "oracle", mode=mode)
    oracle = Session(OnnxRuntimeBackend(opened, spec, "oracle"), spec)
    started = time.monotonic()
    session = Session(TensorRtBackend.open(engine, built.files, spec), spec, engine)
    try:
        yield {"open_s": round(time.monotonic() - started, 2)}
        images = [sample.image for sample in _each(open_dataset(IMAGES))]
        yield compare(session, oracle, images, AGREEMENT_PX[precision])
        yield time_engine(session, images[0])
    finally:
        session.close()


def _each(dataset: Any) -> list[Any]:
    return [dataset[index] for index in range(len(dataset))]


def compare(session: Any, oracle: Any, images: Sequence[Any], allowed_px: float) -> dict[str, Any]:
    """Displacement of the landmarks against the oracle's, in the images' pixels."""
    import numpy as np

    moved = np.concatenate(
        [
            np.linalg.norm(session.run(image).points - oracle.run(image).points, axis=1)
            for image in images
        ]
    )
    finite = bool(np.isfinite(moved).all())
    return {
        "images": len(images),
        "mean_px": float(moved.mean()) if finite else None,
        "max_px": float(moved.max()) if finite else None,
        "allowed_px": allowed_px,
        "agrees": finite and float(moved.max()) <= allowed_px,
    }


def time_engine(session: Any, image: Any) -> dict[str, Any]:
    """Median time from an image in memory to its landmarks, after a warm-up."""
    samples = []
    for index in range(TIMED_RUNS + 5):
        started = time.perf_counter()
        session.run(image)
        if index >= 5:
            samples.append(1000 * (time.perf_counter() - started))
    samples.sort()
    return {
        "end_to_end_p50_ms": round(samples[len(samples) // 2], 3),
        "end_to_end_max_ms": round(samples[-1], 3),
        "timed_runs": len(samples),
    }


def _print(found: Mapping[str, Any]) -> None:
    """In a child: hand something to the parent."""
    print(MARK + json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
