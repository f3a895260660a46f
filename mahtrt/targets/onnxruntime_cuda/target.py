"""The target ``onnxruntime-cuda``: an NVIDIA GPU, and any graph that ONNX can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Feed
from mahtrt.errors import MissingComponentError
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.graph_kinds import FloatType, GraphKind, Int8
from mahtrt.targets.layers import Layer
from mahtrt.targets.onnxruntime_cuda.findings import can_run, find_package
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions, Finding, Host, Target

_WEIGHT_BITS = 8  # products are computed in floating point


@dataclass(frozen=True)
class OnnxRuntimeCuda(Target):
    """See :class:`mahtrt.targets.target.Target`.

    An engine is its graph, so engines of one precision share a file with those of other targets.
    The provider has no BF16 of Resize and ConvTranspose (its list of kernels, 1.31), so that BF16
    is rounded by arithmetic; its QuantizeLinear takes FP32 and FP16.
    """

    device = "cuda"

    @property
    def installed(self) -> bool:
        """Whether the package with the provider is there: the other one has the same module."""
        return find_package().able

    def finding(self, host: Host | None = None) -> Finding:
        """The package with the provider, the driver, a GPU, and CUDA's libraries."""
        return can_run(host)

    def abilities(self, host: Host) -> Mapping[str, Finding]:
        return {f"run {self.name}": self.finding(host)}

    def check_timing(self, options: EngineOptions) -> None:
        finding = self.finding()
        if not finding.able:
            raise MissingComponentError(
                f"planning for {self.name}",
                got=finding.detail,
                expected="a GPU to time engines on",
                fix=finding.fix,
            )

    def can_run(self, engine: EngineRecord) -> bool:
        """A build notes the GPU in its machine, where there is one."""
        return bool(engine.device.name)

    def float_type(self, asked: FloatType) -> FloatType:
        return "fp32" if asked == "bf16" else asked

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
        if precision == "int8":
            return Int8(self.float_type(int8_float), self.weight_bits(weight_bits))
        return super().graph_kind(precision, int8_float, weight_bits, planned=planned)

    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        self.require()
        from mahtrt.targets.onnxruntime_cuda.build import build_engine

        return build_engine(onnx, precision)

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        return ("onnx",)

    def open(self, engine: EngineToOpen) -> Backend:
        from mahtrt.targets.onnxruntime_cuda.run import OnnxRuntimeCudaBackend

        return OnnxRuntimeCudaBackend.open(engine)

    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        from mahtrt.targets.onnxruntime_cuda.profile import profile

        return profile(artifact.files["onnx"], feed)

    def reference(self) -> Target:
        """A CPU's: what engines are compared with depends on no GPU library."""
        from mahtrt.targets.table import find_target, reference_target

        return find_target(reference_target())


TARGET = OnnxRuntimeCuda(
    "onnxruntime-cuda",
    package="onnxruntime",
    precisions=("fp32", "fp16", "bf16", "int8"),
    extra="gpu",
)
