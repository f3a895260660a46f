"""The target ``onnxruntime``: a CPU, and any graph that ONNX can say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Feed
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.layers import Layer
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions, Target


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """See :class:`mahtrt.targets.target.Target`."""

    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        self.require()
        from mahtrt.targets.onnxruntime.build import build_engine

        return build_engine(onnx, precision, out_dir, options)

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        return ("onnx",)

    def open(self, engine: EngineToOpen) -> Backend:
        from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend

        return OnnxRuntimeBackend.open(engine)

    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        from mahtrt.targets.onnxruntime.profile import profile

        return profile(artifact.files["onnx"], feed, threads)


TARGET = OnnxRuntime(
    "onnxruntime",
    package="onnxruntime",
    precisions=("fp32", "fp16", "bf16", "int8"),
    extra="cpu",
)
