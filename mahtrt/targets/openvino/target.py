"""The target ``openvino``: a CPU, with the runtime that mahtrt always brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Feed
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.graph_kinds import FloatType, Fp32, GraphKind, NativeBf16
from mahtrt.targets.layers import Layer
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions, Target


@dataclass(frozen=True)
class OpenVino(Target):
    """See :class:`mahtrt.targets.target.Target`."""

    def float_type(self, asked: FloatType) -> FloatType:
        """BF16 where the CPU multiplies it natively."""
        return "bf16" if _native_bf16() else "fp32"

    def keeps_fp32(self, op: str, *, weighted: bool) -> bool:
        """Not where OpenVINO makes a fully connected layer, which forgets that it is precise.

        Where it computes in FP32 everything is kept: a graph says itself what is rounded.
        """
        return not (weighted and op in ("MatMul", "Gemm") and _native_bf16())

    def graph_kind(
        self,
        precision: str,
        int8_float: FloatType = "fp16",
        weight_bits: int | None = None,
        *,
        planned: bool = False,
    ) -> GraphKind:
        """A CPU with BF16 of its own needs no rounding in the graph."""
        if precision == "bf16" and _native_bf16():
            return NativeBf16() if planned else Fp32()
        return super().graph_kind(precision, int8_float, weight_bits, planned=planned)

    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        self.require()
        from mahtrt.targets.openvino.build import build_engine

        return build_engine(onnx, precision, out_dir, options)

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        from mahtrt.targets.openvino.run import OpenVinoBackend

        return OpenVinoBackend.roles(engine)

    def open(self, engine: EngineToOpen) -> Backend:
        from mahtrt.targets.openvino.run import OpenVinoBackend

        return OpenVinoBackend.open(engine)

    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        from mahtrt.targets.openvino.profile import profile

        precision = artifact.device.inference_precision
        return profile(artifact.files["onnx"], feed, threads, inference_precision=precision)


def _native_bf16() -> bool:
    from mahtrt.targets.openvino.run import has_native_bf16

    return has_native_bf16()


TARGET = OpenVino("openvino", package="openvino", precisions=("fp32", "bf16", "int8"))
