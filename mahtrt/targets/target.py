"""What a target is: one object that knows what it builds, where it runs, and how.

A target is a folder with a subclass of :class:`Target` and one line in
:mod:`mahtrt.targets.table`. Shared code asks the object, never the target's name. The defaults here
are those of a runtime on the CPU that comes as a Python package; what needs that package is
imported by the methods that use it.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeVar

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import Precision
from mahtrt.cuda.probe import CudaProbe, probe_cuda
from mahtrt.data.feed import Feed
from mahtrt.errors import require
from mahtrt.machine import describe_machine, package_version
from mahtrt.reading import Content
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.cpu import weight_bits_here
from mahtrt.targets.graph_kinds import FloatType, Fp32, GraphKind, Half, Int8, RoundedBf16
from mahtrt.targets.layers import EngineLayers, Layer

T = TypeVar("T")


def has_module(name: str) -> bool:
    """Whether a module is there, and not only a folder of that name. Nothing is imported."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


@dataclass(frozen=True, slots=True)
class Host:
    """Where a target looks for what it needs; tests put other answers in."""

    version_of: Callable[[str], str | None] = package_version
    has_module: Callable[[str], bool] = has_module
    probe_cuda: Callable[[], CudaProbe] = probe_cuda


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something can be done on this machine.

    Attributes:
        able: The answer.
        detail: What was found, without a "yes" or "no" in front.
        fix: What the user can do, where the answer is no.
    """

    able: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class EngineHeader:
    """What an engine file tells without being opened.

    Attributes:
        target: Name of the target that made it; "" where the file does not say.
        version: Version of the library that made it; "" where the file does not say.
        note: What cannot be known of it, in a sentence.
    """

    target: str
    version: str
    note: str


class TargetOptions(Protocol):
    """A dataclass of options that only some targets have; all of them have defaults.

    Attributes:
        title: What messages call those targets.
    """

    title: ClassVar[str]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        threads: Threads of one inference, or of a builder; None leaves their number to the runtime.
        trial: The engine is only compared with others: nothing is tuned by measurement.
        progress: Takes a line of text about once a second of a long build.
        cache: Whether engines of earlier builds are used again, and this one is kept.
        cache_dir: Folder in which they are kept; None: :func:`mahtrt.cache.cache_folder` says.
        target_options: Options that only some targets have, one object of each kind.
    """

    threads: int | None = None
    trial: bool = False
    progress: Callable[[str], None] | None = None
    cache: bool = True
    cache_dir: Path | None = None
    target_options: tuple[TargetOptions, ...] = ()

    def of(self, kind: type[T]) -> T:
        """The options of one kind, or its defaults where none were given."""
        return next((each for each in self.target_options if isinstance(each, kind)), kind())


DEFAULT_OPTIONS = EngineOptions()


@dataclass(frozen=True)
class Target(ABC):
    """One way to run a network.

    Attributes:
        name: As on the command line.
        package: Import name of the package that it needs.
        precisions: What it builds.
        extra: The extra of mahtrt that brings the package; "" for a core dependency.
        options_type: Class of the options that only this target has, see :class:`EngineOptions`.
        least_int8_channels: The fewest channels, in and out, of convolutions that are worth INT8.
        rank: Which target a plan is made for where several run here: the one of the highest rank.
        device: Kind of device that its engines run on, in PyTorch's words: the PyTorch network that
            they are compared with runs there too.
    """

    device: ClassVar[Literal["cpu", "cuda"]] = "cpu"
    least_int8_channels: ClassVar[int] = 1

    name: str
    package: str
    precisions: tuple[Precision, ...]
    extra: str = ""
    options_type: type[TargetOptions] | None = None
    rank: int = 0

    @property
    def installed(self) -> bool:
        """Whether the package is there (it is not imported)."""
        return has_module(self.package)

    @property
    def runs_here(self) -> bool:
        """Whether its engines can be expected to run on this machine."""
        return self.finding().able

    def finding(self, host: Host | None = None) -> Finding:
        """Whether its engines can be expected to run on this machine, and why not."""
        host = host or Host()
        if host.has_module(self.package):
            return Finding(True, f"{self.name} is installed")
        wanted = f"mahtrt[{self.extra}]" if self.extra else "mahtrt"
        return Finding(False, f"{self.name} is not installed", f"pip install '{wanted}'")

    def abilities(self, host: Host) -> Mapping[str, Finding]:
        """What ``mahtrt doctor`` tells of the target beyond its package, by name."""
        return {}

    def require(self) -> None:
        """Raises MissingComponentError where the package is missing or cannot be used."""
        require(self.package, extra=self.extra, needed_for=f"target {self.name}")

    def check(self, options: EngineOptions) -> None:
        """Refuse what can be refused of a build before there is a graph.

        Raises:
            UsageError: Options that contradict each other.
            MissingComponentError: Something that building needs is not on this machine.
        """
        self.require()

    def check_timing(self, options: EngineOptions) -> None:
        """Refuse to plan for a target whose engines cannot be timed on this machine.

        Raises:
            MissingComponentError: They cannot.
            UsageError: Options that contradict each other.
        """
        self.require()

    def can_run(self, engine: EngineRecord) -> bool:
        """Whether an engine of this target is for a device that is in this machine."""
        return True

    def float_type(self, asked: FloatType) -> FloatType:
        """What an INT8 engine computes in where its plan has no INT8.

        Args:
            asked: Taken where the types of the graph decide.
        """
        return "fp32"

    def keeps_fp32(self, op: str, *, weighted: bool) -> bool:
        """Whether a product can stay FP32 in an engine that computes in half precision.

        Args:
            op: Its ONNX operator.
            weighted: Whether it has constant weights.
        """
        return True

    def weight_bits(self, asked: int | None) -> int:
        """Bits of quantised weights: as asked, else as many as the device multiplies exactly."""
        return asked or weight_bits_here(describe_machine())

    def graph_kind(
        self,
        precision: str,
        int8_float: FloatType = "fp16",
        weight_bits: int | None = None,
        *,
        planned: bool = False,
    ) -> GraphKind:
        """The graph that an engine is compiled from.

        Args:
            int8_float: Type beside INT8, taken where the types of the graph decide.
            weight_bits: As for :meth:`weight_bits`.
            planned: Whether a plan of half precision keeps blocks in FP32.
        """
        kinds: dict[str, GraphKind] = {
            "fp32": Fp32(),
            "fp16": Half("fp16", planned),
            "bf16": RoundedBf16(planned),
            "int8": Int8(None, self.weight_bits(weight_bits)),
        }
        return kinds[precision]

    @abstractmethod
    def build(
        self, onnx: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> EngineArtifact:
        """Compile a graph of the right kind for this machine.

        Args:
            onnx: Static shapes, weights inside.
            precision: One of :attr:`precisions`.
            out_dir: Gets the engine's files; made if missing.

        Raises:
            BuildError: The target refuses the graph.
            ModelError: Its shapes are not static.
            MissingComponentError: Something that building needs is not on this machine.
        """

    def engine_layers(self, files: Mapping[str, Content]) -> EngineLayers | None:
        """What the build noted of an engine's layers; None where it did not.

        Args:
            files: The engine's, by role; only that of ``LAYERS_ROLE`` is read.
        """
        return None

    def recognise(self, path: Path) -> EngineHeader | None:
        """What a file tells of the engine in it; None where it is not an engine of this target.

        Raises:
            ModelError: The file is cut short.
        """
        return None

    def describe_build(self, engine: EngineRecord) -> str:
        """How the build of an engine went, in a line; "" where there is nothing to tell."""
        return ""

    @abstractmethod
    def roles(self, engine: EngineRecord) -> tuple[str, ...]:
        """The engine's files that :meth:`open` reads on this machine."""

    @abstractmethod
    def open(self, engine: EngineToOpen) -> Backend:
        """Open an engine whose files have been checked.

        Raises:
            BuildError: The runtime refuses the engine.
            MissingComponentError: Something that running needs is not on this machine.
        """

    @abstractmethod
    def profile(
        self, artifact: EngineArtifact, backend: Backend, feed: Feed, threads: int | None = None
    ) -> list[Layer]:
        """How long each layer of a built engine takes.

        Args:
            backend: The engine, open.
            feed: Each input by name (B, C, H, W).
            threads: As the engine was opened with.
        """

    def reference(self) -> Target:
        """What runs the FP32 export when engines of this target are compared with it."""
        return self
