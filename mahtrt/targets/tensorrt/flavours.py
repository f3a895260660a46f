"""The two TensorRTs that one builder path serves, and where they differ.

TensorRT-RTX compiles with neither a GPU nor a driver, for compute capabilities that are chosen.
Of the rest of the configuration 1.7 takes the workspace limit and the profiling verbosity; hardware
compatibility is logged as unsupported, the timing cache is a deprecated no-op, and every
optimization level gave the same engine, byte by byte. The enterprise TensorRT builds for the GPU in
the machine, by timing kernels on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.errors import MissingComponentError, UsageError, require

FlavourName = Literal["tensorrt", "tensorrt-rtx"]


@dataclass(frozen=True, slots=True)
class Flavour:
    """One TensorRT.

    Attributes:
        title: As messages call it.
        module: Import name.
        extra: The extra of mahtrt that brings the package.
        distributions: Distributions that it consists of, each under all its names.
        supported: From the first version that has all we use to the last that we know.
        versions: The same in words, for messages.
        capabilities: Compute capabilities that it has kernels for, so that the package, some
            hundred megabytes, need not be imported for its own list; empty where a build on the
            card itself finds out.
        chooses_capabilities: Compiles for compute capabilities that are named, without a GPU;
            otherwise for the GPU in the machine.
        has_hardware_compatibility: Takes ``hardware_compatibility_level``.
        has_optimization_levels: ``builder_optimization_level`` has an effect.
        has_timing_cache: A timing cache shortens later builds.
    """

    name: FlavourName
    title: str
    module: str
    extra: str
    distributions: tuple[tuple[str, ...], ...]
    supported: str
    versions: str
    capabilities: tuple[str, ...]
    chooses_capabilities: bool
    has_hardware_compatibility: bool
    has_optimization_levels: bool
    has_timing_cache: bool

    @property
    def install(self) -> str:
        """What to do where it is missing or unusable."""
        return (
            f"Install it: pip install 'mahtrt[{self.extra}]'. Its libraries come from NVIDIA's own "
            "package index, which has to be reachable."
        )

    def supports(self, version: str) -> bool:
        """Whether this version of the package is one we know."""
        from packaging.specifiers import SpecifierSet  # lazily: a host without packages looks too

        return SpecifierSet(self.supported).contains(version, prereleases=True)


FLAVOURS: dict[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            name="tensorrt",
            title="TensorRT",
            module="tensorrt",
            extra="tensorrt",
            distributions=(("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),),
            supported=">=10.12,<12",
            versions="10.12 to 11.x",
            capabilities=(),
            chooses_capabilities=False,
            has_hardware_compatibility=True,
            has_optimization_levels=True,
            has_timing_cache=True,
        ),
        Flavour(
            name="tensorrt-rtx",
            title="TensorRT-RTX",
            module="tensorrt_rtx_bindings",
            extra="tensorrt-rtx",
            distributions=(("tensorrt-rtx-cu13-libs",), ("tensorrt-rtx-cu13-bindings",)),
            supported=">=1.2",
            versions="1.2 or newer",
            capabilities=("SM75", "SM80", "SM86", "SM89", "SM120", "SM121"),
            chooses_capabilities=True,
            has_hardware_compatibility=False,
            has_optimization_levels=False,
            has_timing_cache=False,
        ),
    )
}


def find_flavour(name: str) -> Flavour:
    """A flavour by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in FLAVOURS:
        raise UsageError(
            f"TensorRT flavour {name!r}", got="no such flavour", expected=" or ".join(FLAVOURS)
        )
    return FLAVOURS[name]


def load_flavour(flavour: Flavour) -> Any:
    """Import a flavour's package.

    Raises:
        MissingComponentError: It is not installed, cannot be loaded, or is a version we do not
            know.
    """
    subject = f"target {flavour.name}"
    try:
        trt: Any = require(flavour.module, extra=flavour.extra, needed_for=subject)
    except MissingComponentError as error:
        raise MissingComponentError(
            subject, got=error.got, expected=error.expected, fix=flavour.install
        ) from error
    except (ImportError, OSError) as error:  # a library that it loads is missing or broken
        raise MissingComponentError(
            subject,
            got=f"{flavour.module}, which cannot be loaded ({error})",
            expected=f"a working {flavour.title}",
            fix=flavour.install,
        ) from error
    version = getattr(trt, "__version__", None)
    if version is None or not flavour.supports(version):
        raise MissingComponentError(
            subject,
            got=f"{flavour.title} {version}" if version else f"a folder named {flavour.module}",
            expected=flavour.versions,
            fix=flavour.install,
        )
    return trt
