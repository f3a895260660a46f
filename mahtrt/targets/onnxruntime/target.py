"""The target ``onnxruntime``: a CPU, and any graph that ONNX can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.spec import ModelSpec
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, Tensor
from mahtrt.targets.layers import DEFAULT_RUNS, Layer
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions, Target


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """See :class:`mahtrt.targets.target.Target`."""

    def build(
        self,
        onnx_path: Path,
        precision: str,
        out_dir: Path,
        options: EngineOptions = DEFAULT_OPTIONS,
    ) -> EngineArtifact:
        self.require()
        from mahtrt.targets.onnxruntime.build import build_engine

        return build_engine(onnx_path, precision, out_dir, options)

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        return ("onnx",)

    def open(
        self,
        engine: EngineRecord,
        files: Mapping[str, Path],
        spec: ModelSpec,
        *,
        threads: int | None = None,
    ) -> Backend:
        from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend

        return OnnxRuntimeBackend.open(engine, files, spec, threads=threads)

    def profile(
        self,
        artifact: EngineArtifact,
        backend: Backend,
        tensor: Tensor,
        *,
        threads: int | None = None,
        runs: int = DEFAULT_RUNS,
    ) -> list[Layer]:
        from mahtrt.targets.onnxruntime.profile import profile

        return profile(artifact.files["onnx"], tensor, threads=threads, runs=runs)


TARGET = OnnxRuntime(
    "onnxruntime",
    package="onnxruntime",
    precisions=("fp32", "fp16", "bf16", "int8"),
    extra="cpu",
)
