"""The targets ``tensorrt`` and ``tensorrt-rtx``: NVIDIA GPUs, by either flavour of TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Feed
from mahtrt.reading import Content
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.graph_kinds import FloatType, GraphKind, Half, Int8
from mahtrt.targets.kernel_decode.record import DECODE_ROLE
from mahtrt.targets.layers import LAYERS_ROLE, EngineLayers, Layer
from mahtrt.targets.target import (
    DEFAULT_OPTIONS,
    EngineHeader,
    EngineOptions,
    Finding,
    Host,
    Target,
)
from mahtrt.targets.tensorrt.findings import can_build_without_gpu, can_run
from mahtrt.targets.tensorrt.flavours import Flavour, find_flavour, load_flavour
from mahtrt.targets.tensorrt.options import TensorRtOptions

_WEIGHT_BITS = 8  # GPUs add INT8 products in 32 bits
_NOT_OPENED = (
    "Layers, tensors and the GPU it is for are inside the engine; reading them means "
    "deserialising it, which needs a GPU and the TensorRT that made it."
)


@dataclass(frozen=True)
class TensorRt(Target):
    """See :class:`mahtrt.targets.target.Target`. The graph's types are the engine's."""

    device = "cuda"
    least_int8_channels = 16  # as NVIDIA's own quantiser has it: of fewer, FP16 kernels are faster

    @property
    def flavour(self) -> Flavour:
        """Which TensorRT it is."""
        return find_flavour(self.name)

    def finding(self, host: Host | None = None) -> Finding:
        """A package that mahtrt knows, and a GPU that it has kernels for."""
        return can_run(self.flavour, host or Host())

    def abilities(self, host: Host) -> Mapping[str, Finding]:
        if self.flavour.chooses_capabilities:
            return {
                f"build {self.name}": can_build_without_gpu(self.flavour, host),
                f"run {self.name}": self.finding(host),
            }
        return {f"build and run {self.name}": self.finding(host)}

    def require(self) -> None:
        load_flavour(self.flavour)

    def check(self, options: EngineOptions) -> None:
        from mahtrt.targets.tensorrt.build import check_request

        check_request(self.flavour, options)

    def check_timing(self, options: EngineOptions) -> None:
        from mahtrt.targets.tensorrt.profile import check_runs_here

        check_runs_here(self.flavour, options)

    def can_run(self, engine: EngineRecord) -> bool:
        """A build notes the card in its machine that the engine is for, where there is one."""
        return bool(engine.device.name)

    def float_type(self, asked: FloatType) -> FloatType:
        return asked

    def weight_bits(self, asked: int | None) -> int:
        return asked or _WEIGHT_BITS

    def graph_kind(
        self,
        precision: str,
        int8_float: FloatType = "fp16",
        weight_bits: int | None = None,
        *,
        planned: bool = False,
    ) -> GraphKind:
        if precision == "bf16":
            return Half("bf16", planned)
        if precision == "int8":
            return Int8(int8_float, self.weight_bits(weight_bits))
        return super().graph_kind(precision, int8_float, weight_bits, planned=planned)

    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        self.require()
        from mahtrt.targets.tensorrt.build import build_engine

        return build_engine(onnx, precision, out_dir, self.flavour, options)

    def engine_layers(self, files: Mapping[str, Content]) -> EngineLayers | None:
        """As the engine inspector tells, where the engine could be inspected."""
        from mahtrt.targets.tensorrt.inspector import read_layers

        return read_layers(files[LAYERS_ROLE]) if LAYERS_ROLE in files else None

    def recognise(self, path: Path) -> EngineHeader | None:
        """By the header of TensorRT-RTX, which alone has a known one, or else by the name."""
        from mahtrt.targets.tensorrt.engine_file import SUFFIXES, has_rtx_header, version_of

        if self.flavour.chooses_capabilities:
            known = has_rtx_header(path)
            return EngineHeader(self.name, version_of(path), _NOT_OPENED) if known else None
        if path.suffix in SUFFIXES and not has_rtx_header(path):
            return EngineHeader("", version_of(path), _NOT_OPENED)
        return None

    def describe_build(self, engine: EngineRecord) -> str:
        built = engine.build
        if built is None:
            return ""
        facts, how = built.facts, "from the cache, built in" if built.cached else "built in"
        memory = facts.peak_memory_mib
        peak = f", at most {memory} MiB of memory" if memory else ""
        return (
            f"{how} {built.seconds:.1f} s{peak}; {facts.plan_bytes / 2**20:.1f} MiB for "
            f"{', '.join(engine.device.capabilities)}; timing cache {facts.timing_cache}"
        )

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        return ("plan", DECODE_ROLE) if DECODE_ROLE in engine.files else ("plan",)

    def open(self, engine: EngineToOpen) -> Backend:
        from mahtrt.targets.tensorrt.run import TensorRtBackend

        return TensorRtBackend.open(engine)

    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        """Profile of the open engine itself: another build may choose other kernels."""
        from mahtrt.targets.tensorrt.profile import layers_of_engine
        from mahtrt.targets.tensorrt.run import TensorRtBackend

        engine = cast(TensorRtBackend, backend)
        return layers_of_engine(engine, artifact.files.get("layers"), feed)

    def reference(self) -> Target:
        """A CPU's: TensorRT multiplies FP32 with the mantissa of FP16 (TF32)."""
        from mahtrt.targets.table import find_target, reference_target

        return find_target(reference_target())


def _target(name: str) -> TensorRt:
    flavour = find_flavour(name)
    return TensorRt(
        name,
        package=flavour.module,
        precisions=("fp32", "fp16", "bf16", "int8"),
        extra=flavour.extra,
        options_type=TensorRtOptions,
        rank=1,
    )


TENSORRT, TENSORRT_RTX = _target("tensorrt"), _target("tensorrt-rtx")
