"""TensorRT-RTX builds of MAHT-Net: variants, encoders, bottlenecks, precisions, target GPUs.

    python experiments/tensorrt_builds.py --out builds.json

writes builds.json and builds.md: plan bytes, build seconds, peak memory of the building process,
and in which precision the products of each graph compute. It needs neither GPU nor driver, and the
extras export, cpu and tensorrt-rtx. Weights are random (seed 0): they change neither a plan's size
nor how it is built. ``int8`` is INT8 where the default plan says so and FP16 elsewhere, with ranges
calibrated on phantoms.

A row is written as soon as its build is done; ``--resume`` goes on where a run was stopped. The
exit status is 1 if a build failed or a bar was missed, else 0. These are TensorRT-RTX builds:
evidence that the graphs parse and compile, no proof for the enterprise TensorRT, and no plan was
run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tensorrt_builds_table import FLAVOUR, Row, judge, rows_of, write_results

from mahtrt.errors import MahtrtError

VARIANTS = ("nano", "small", "base", "efficient")
OWN = "own"  # the encoder that the variant has by itself
ENCODERS = (OWN, "resnet34")
BOTTLENECKS = ("vit", "swin")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
CAPABILITIES = ("SM86", "SM89", "SM120")


@dataclass(frozen=True)
class Network:
    """One MAHT-Net: a variant with an encoder and a bottleneck."""

    variant: str
    encoder: str
    bottleneck: str

    def __str__(self) -> str:
        return f"{self.variant} {self.encoder} {self.bottleneck}"


@dataclass(frozen=True)
class Settings:
    """How all of them are built.

    Attributes:
        size: Side of the square input in pixels, 0 for each variant's own.
        images: Phantoms to calibrate on.
        capabilities: Compute capabilities of each plan; a network is built once per entry.
    """

    precisions: tuple[str, ...] = PRECISIONS
    capabilities: tuple[tuple[str, ...], ...] = tuple((each,) for each in CAPABILITIES)
    size: int = 0
    images: int = 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    settings = Settings(
        precisions=options.precisions,
        capabilities=(options.sm,) if options.one_plan else tuple((sm,) for sm in options.sm),
        size=options.size,
        images=options.images,
    )
    networks = [
        Network(variant, _encoder(variant, encoder), bottleneck)
        for variant, encoder, bottleneck in product(
            options.variants, options.encoders, options.bottlenecks
        )
    ]
    rows = rows_of(options.out, asdict(settings)) if options.resume else []
    done = {row.key for row in rows if not row.error}
    rows = [row for row in rows if not row.error]
    wanted = len(networks) * len(settings.precisions) * len(settings.capabilities)
    for row in _build_all(networks, settings, done, options.jobs):
        rows.append(row)
        write_results(options.out, rows, asdict(settings))
        state = row.error or f"{row.plan_bytes / 1e6:.1f} MB in {row.seconds:.1f} s"
        print(f"[{len(rows)}/{wanted}] {' '.join(map(str, row.key[:4]))} "
              f"{'+'.join(row.capabilities)}: {state}", file=sys.stderr, flush=True)  # fmt: skip
    write_results(options.out, rows, asdict(settings))
    missed = judge(rows)
    for reason in missed:
        print(f"MISSED: {reason}", file=sys.stderr)
    return 1 if missed else 0


def build_network(network: Network, settings: Settings, done: set[Any]) -> Iterator[Row]:
    """Export a network once, and build it in every precision for every target GPU."""
    with tempfile.TemporaryDirectory(prefix="tensorrt-builds-") as scratch:
        graphs: _Graphs | None = None
        for precision in settings.precisions:
            rows = [
                Row(network.variant, network.encoder, network.bottleneck, precision, capabilities)
                for capabilities in settings.capabilities
            ]
            rows = [row for row in rows if row.key not in done]
            if not rows:
                continue
            try:
                graphs = graphs or _Graphs(network, settings, Path(scratch))
                path, facts = graphs.write(precision)
            except Exception as error:  # a table of failures is what this is for
                yield from (row.with_(error=_one_line(error)) for row in rows)
                continue
            for row in rows:
                yield _built(row.with_(**facts), path, Path(scratch))


class _Graphs:
    """The ONNX of one network in every precision."""

    def __init__(self, network: Network, settings: Settings, folder: Path) -> None:
        self.folder, self.settings = folder, settings
        self.source = folder / "export.onnx"
        self.spec, self.model = export_network(network, settings.size)
        self.source.write_bytes(self.model.SerializeToString())
        self._fp16: Any = None

    def write(self, precision: str) -> tuple[Path, dict[str, Any]]:
        """Write the graph of a precision; returns where, and what the row says of it."""
        from mahtrt.digest import sha256_of_file
        from mahtrt.graph.describe import describe_graph

        path, proto = self.source, self._proto(precision)
        if proto is not self.model:
            path = self.folder / f"{precision}.onnx"
            path.write_bytes(proto.SerializeToString())
        found = describe_graph(proto)
        return path, {
            "input_size": tuple(self.spec.input.size),
            "onnx_bytes": path.stat().st_size,
            "onnx_sha256": sha256_of_file(path),
            "products": dict(found.products),
            "nodes": found.nodes_by_precision,
            "int8_layers": found.int8_layers,
        }

    def _proto(self, precision: str) -> Any:
        from mahtrt.precision.half import to_half

        if precision == "fp32":
            return self.model
        if precision == "bf16":
            return to_half(self.model, "bf16")
        self._fp16 = to_half(self.model, "fp16") if self._fp16 is None else self._fp16
        return self._fp16 if precision == "fp16" else self._quantized()

    def _quantized(self) -> Any:
        from mahtrt.calibration.int8_check import check_int8
        from mahtrt.calibration.plan import default_plan
        from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
        from mahtrt.calibration.ranges import collect_ranges
        from mahtrt.data.datasets import open_dataset
        from mahtrt.data.subset import NetworkTensors
        from mahtrt.graph.describe import describe_graph

        plan = default_plan(self.model, self.spec)
        images = NetworkTensors(open_dataset(f"phantom:{self.settings.images}"), self.spec.input)
        tensors = tensors_to_calibrate(self.model, plan)
        ranges = collect_ranges(self.source, tensors, images)
        proto = quantize(self._fp16, ranges, plan, weight_bits=8)
        check_int8(describe_graph(proto), plan)
        return proto


def export_network(network: Network, size: int) -> tuple[Any, Any]:
    """A network with random weights as ``mahtrt export`` writes it, without the parity check.

    Returns:
        Its spec, and its ONNX model.
    """
    import onnx_ir as ir
    import torch

    from mahtrt.export.onnx import SPEC_KEY
    from mahtrt.export.passes.pipeline import export_passes, run_passes
    from mahtrt.export.tracing import OPSETS, trace
    from mahtrt.models.families import build_model

    settings: dict[str, Any] = {"encoder": network.encoder, "transformer": network.bottleneck}
    if size:
        settings["input_size"] = (size, size)
    torch.manual_seed(0)
    module: Any = build_model(f"maht-net/{network.variant}", **settings)
    graph = trace(module, module.spec, batch=1, opset=OPSETS[0])
    run_passes(graph, export_passes())
    proto = ir.to_proto(graph)
    entry = proto.metadata_props.add()
    entry.key, entry.value = SPEC_KEY, module.spec.to_json()
    return module.spec, proto


def _built(row: Row, onnx: Path, scratch: Path) -> Row:
    from mahtrt.targets.table import find_target
    from mahtrt.targets.target import EngineOptions
    from mahtrt.targets.tensorrt.options import TensorRtOptions

    own = TensorRtOptions(compute_capabilities=row.capabilities)
    started = time.monotonic()
    try:
        artifact = find_target(FLAVOUR).build(
            onnx, row.precision, scratch, EngineOptions(cache=False, target_options=(own,))
        )
    except MahtrtError as error:
        return row.with_(error=_one_line(error))
    assert artifact.build is not None
    seconds, facts = time.monotonic() - started, artifact.build.facts
    artifact.files["plan"].unlink()
    return row.with_(
        plan_bytes=facts.plan_bytes,
        parse_s=round(facts.parse_s, 2),
        build_s=round(facts.build_s, 2),
        seconds=round(seconds, 2),
        peak_memory_mib=facts.peak_memory_mib or 0,
        network_layers=dict(facts.layers),
    )


def _build_all(
    networks: Sequence[Network], settings: Settings, done: set[Any], jobs: int
) -> Iterator[Row]:
    if jobs == 1:
        for network in networks:
            yield from build_network(network, settings, done)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(_rows, network, settings, done) for network in networks]
        for future in pending:
            yield from future.result()


def _rows(network: Network, settings: Settings, done: set[Any]) -> list[Row]:
    import torch

    torch.set_num_threads(1)  # the other processes have the other cores
    return list(build_network(network, settings, done))


def _encoder(variant: str, encoder: str) -> str:
    from mahtrt.models.maht_net.config import VARIANTS as CONFIGS

    return CONFIGS[variant].encoder if encoder == OWN else encoder


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def several(*known: str) -> Any:
        def parse(text: str) -> tuple[str, ...]:
            values = tuple(dict.fromkeys(text.split(",")))
            unknown = set(values) - set(known)
            if known and unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
            return values

        return parse

    for name, known, default in (
        ("variants", (*VARIANTS, "large"), VARIANTS),
        ("encoders", (), ENCODERS),
        ("bottlenecks", BOTTLENECKS, BOTTLENECKS),
        ("precisions", PRECISIONS, PRECISIONS),
        ("sm", (), CAPABILITIES),
    ):
        parser.add_argument(f"--{name}", type=several(*known), default=default,
                            help=f"comma-separated; default {','.join(default)}")  # fmt: skip
    parser.add_argument("--one-plan", action="store_true", help="one plan for all of --sm")
    parser.add_argument("--size", type=int, default=0, help="input side; 0: the variant's own")
    parser.add_argument("--images", type=int, default=2, help="phantoms to calibrate on")
    parser.add_argument("--out", type=Path, required=True, help="JSON; .md goes beside it")
    parser.add_argument("--resume", action="store_true", help="keep the rows that --out has")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time (times get worse)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
