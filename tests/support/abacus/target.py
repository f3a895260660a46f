"""The target ``abacus``, for machines with an abacus.

Its engine is a file of its own: a line that says which abacus it is for, then the graph. ONNX
Runtime stands in for the beads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import DeviceRecord
from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, MissingComponentError, ModelError, UsageError
from mahtrt.reading import Content
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen, Tensor
from mahtrt.targets.graph_kinds import FloatType, GraphKind, Half, Int8
from mahtrt.targets.layers import EngineLayer, EngineLayers, Layer
from mahtrt.targets.onnxruntime.profile import profile
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, batch_of, open_onnx
from mahtrt.targets.target import (
    DEFAULT_OPTIONS,
    EngineHeader,
    EngineOptions,
    Finding,
    Host,
    Target,
)

# What stands on the table; None: nothing. Tests put one there and take it away.
on_the_table: str | None = "Soroban 23"
MAGIC = b"ABACUS "


@dataclass(frozen=True, slots=True)
class AbacusOptions:
    """Options that no other target has."""

    title: ClassVar[str] = "an abacus"

    rods: int = 23


class AbacusBackend(OnnxRuntimeBackend):
    """An engine that was opened on an abacus."""

    moves = 0

    def infer(self, feed: Feed, outputs: object = None) -> dict[str, Tensor]:
        AbacusBackend.moves += 1
        return super().infer(feed, outputs)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Abacus(Target):
    """Computes in the types of the graph, on a device that may be missing."""

    def finding(self, host: Host | None = None) -> Finding:
        if on_the_table is None:
            return Finding(False, "no abacus on the table", "Put one there.")
        return Finding(True, f"on {on_the_table}")

    def abilities(self, host: Host) -> Mapping[str, Finding]:
        return {f"run {self.name}": self.finding(host)}

    def require(self) -> None:
        """A build needs nothing but wood."""

    def check(self, options: EngineOptions) -> None:
        if options.of(AbacusOptions).rods < 1:
            raise UsageError("rods", got="0", expected="at least 1")

    def check_timing(self, options: EngineOptions) -> None:
        finding = self.finding()
        if not finding.able:
            raise MissingComponentError("planning", got=finding.detail, expected="an abacus")

    def can_run(self, engine: EngineRecord) -> bool:
        return on_the_table is not None and engine.device.name == on_the_table

    def float_type(self, asked: FloatType) -> FloatType:
        return asked

    def weight_bits(self, asked: int | None) -> int:
        return asked or 8

    def graph_kind(
        self,
        precision: str,
        int8_float: FloatType = "fp16",
        weight_bits: int | None = None,
        *,
        planned: bool = False,
    ) -> GraphKind:
        if precision == "int8":
            return Int8(int8_float, self.weight_bits(weight_bits))
        if precision == "bf16":
            return Half("bf16", planned)
        return super().graph_kind(precision, planned=planned)

    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        try:
            session = open_onnx(onnx, str(onnx), threads=options.threads)
        except ModelError as error:
            raise BuildError(error.subject, got=error.got, expected="a graph for beads") from error
        beads = out_dir / "model.beads"
        out_dir.mkdir(parents=True, exist_ok=True)
        beads.write_bytes(MAGIC + str(on_the_table).encode() + b"\n" + onnx.read_bytes())
        return EngineArtifact(
            files={"onnx": onnx, "beads": beads},
            batch=batch_of(session, str(onnx)),
            device=DeviceRecord(
                on_the_table or "",
                settings={"rods": str(options.of(AbacusOptions).rods), "beads": "5"},
            ),
            versions={"abacus": "1200 BC"},
        )

    def describe_build(self, engine: EngineRecord) -> str:
        return f"built with {engine.device.settings['beads']} beads a rod"

    def engine_layers(self, files: Mapping[str, Content]) -> EngineLayers:
        count = files["beads"].read_bytes().count(b"QuantizeLinear")
        layers = (EngineLayer(f"rod {i}", "rod", "int8", True) for i in range(count))
        return EngineLayers(tuple(layers), (), detailed=True)

    def recognise(self, path: Path) -> EngineHeader | None:
        made_for = path.read_bytes().partition(b"\n")[0]
        known = made_for.startswith(MAGIC)
        return EngineHeader(self.name, "", "Only an abacus knows more.") if known else None

    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        return ("beads",)

    def open(self, engine: EngineToOpen) -> Backend:
        name = engine.record.name
        if on_the_table is None:
            raise MissingComponentError(f"engine {name}", got="no abacus on the table")
        magic, _, graph = engine.files["beads"].read_bytes().partition(b"\n")
        if magic != MAGIC + on_the_table.encode():
            raise BuildError(f"engine {name}", got=magic.decode(), expected=on_the_table)
        session = open_onnx(graph, name, threads=engine.threads)
        return AbacusBackend(session, engine.spec, name)

    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        return profile(artifact.files["onnx"], feed, threads)


TARGET = Abacus(
    "abacus",
    package="abacus",
    precisions=("fp32", "fp16", "int8"),
    options_type=AbacusOptions,
    rank=2,
)
