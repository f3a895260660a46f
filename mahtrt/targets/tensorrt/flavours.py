"""The two TensorRTs that one builder path serves, and where they differ.

TensorRT-RTX compiles with neither a GPU nor a driver, for compute capabilities that are chosen, and
has no API for plugins in Python. Of the rest of the configuration 1.7 takes the workspace limit and
the profiling verbosity; hardware compatibility is logged as unsupported, the timing cache is a
deprecated no-op, and every optimization level gave the same plan, byte by byte. The enterprise
TensorRT builds for the GPU in the machine, by timing kernels on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
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
        oldest: First version that has all we use.
        before: First major version that is unknown to us; None: there is no such bound.
        newest_opset: Major version of TensorRT to the newest ONNX opset its parser documents. The
            parser itself takes any number without a word.
        capabilities: Compute capabilities that it has kernels for, so that the package, some
            hundred megabytes, need not be imported for its own list; empty where a build on the
            card itself finds out.
        chooses_capabilities: Compiles for compute capabilities that are named, without a GPU;
            otherwise for the GPU in the machine.
        has_hardware_compatibility: Takes ``hardware_compatibility_level``.
        has_optimization_levels: ``builder_optimization_level`` has an effect.
        has_timing_cache: A timing cache shortens later builds.
        has_python_plugins: Has ``tensorrt.plugin``.
    """

    name: FlavourName
    title: str
    module: str
    extra: str
    distributions: tuple[tuple[str, ...], ...]
    oldest: tuple[int, ...]
    before: int | None
    newest_opset: tuple[tuple[int, int], ...]
    capabilities: tuple[str, ...]
    chooses_capabilities: bool
    has_hardware_compatibility: bool
    has_optimization_levels: bool
    has_timing_cache: bool
    has_python_plugins: bool

    @property
    def install(self) -> str:
        """What to do where it is missing or unusable."""
        return (
            f"Install it: pip install 'mahtrt[{self.extra}]'. Its libraries come from NVIDIA's own "
            "package index, which has to be reachable."
        )

    @property
    def versions(self) -> str:
        """The supported versions, for messages."""
        oldest = ".".join(map(str, self.oldest))
        return f"{oldest} to {self.before - 1}.x" if self.before else f"{oldest} or newer"

    def supports(self, version: str) -> bool:
        """Whether this version of the package is one we know."""
        numbers = version_numbers(version)
        return numbers >= self.oldest and (self.before is None or numbers[0] < self.before)

    def opset_limit(self, version: str) -> int:
        """The newest ONNX opset this version's parser documents."""
        major = version_numbers(version)[0]
        return max(opset for since, opset in self.newest_opset if since <= major)


FLAVOURS: dict[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            name="tensorrt",
            title="TensorRT",
            module="tensorrt",
            extra="tensorrt",
            distributions=(("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),),
            oldest=(10, 12),
            before=12,
            newest_opset=((10, 24), (11, 25)),
            capabilities=(),
            chooses_capabilities=False,
            has_hardware_compatibility=True,
            has_optimization_levels=True,
            has_timing_cache=True,
            has_python_plugins=True,
        ),
        Flavour(
            name="tensorrt-rtx",
            title="TensorRT-RTX",
            module="tensorrt_rtx_bindings",
            extra="tensorrt-rtx",
            distributions=(("tensorrt-rtx-cu13-libs",), ("tensorrt-rtx-cu13-bindings",)),
            oldest=(1, 2),
            before=None,
            newest_opset=((1, 25),),
            capabilities=("SM75", "SM80", "SM86", "SM89", "SM120", "SM121"),
            chooses_capabilities=True,
            has_hardware_compatibility=False,
            has_optimization_levels=False,
            has_timing_cache=False,
            has_python_plugins=False,
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


def load_flavour(flavour: Flavour, load: Callable[..., ModuleType | Any] = require) -> Any:
    """Import a flavour's package.

    Args:
        load: Imports a module as :func:`mahtrt.errors.require` does; for tests.

    Raises:
        MissingComponentError: It is not installed, cannot be loaded, or is a version we do not
            know.
    """
    subject = f"target {flavour.name}"
    try:
        trt = load(flavour.module, extra=flavour.extra, needed_for=subject)
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


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, ``(10, 16, 1, 11)``; ``(0,)`` where there are none."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)
