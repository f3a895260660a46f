"""What can be asked of a TensorRT build."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from mahtrt.errors import UsageError
from mahtrt.targets.tensorrt.flavours import Flavour

HardwareCompatibility = Literal["none", "ampere_plus", "same_compute_capability"]

# Consumer cards from Ampere on, where no GPU says which one is meant.
DEFAULT_CAPABILITIES = ("SM86", "SM89", "SM120")
# Of the enumeration, but no compute capability that an engine could be built for without a GPU.
_NOT_A_CAPABILITY = ("NONE", "CURRENT")


@dataclass(frozen=True, slots=True)
class TensorRtOptions:
    """Options of one build; those that change the engine are part of its cache key.

    Attributes:
        workspace_mib: Most scratch memory a kernel may use on the GPU; None: TensorRT's default.
        optimization_level: 0 (quick build) to 5 (fast engine); None: TensorRT's default.
        hardware_compatibility: Which other GPUs the engine runs on, at some cost in speed
            (enterprise only; TensorRT-RTX has compute capabilities instead).
        compute_capabilities: Such as ``SM86`` (TensorRT-RTX only). Empty: the GPU's here, without
            a GPU ``DEFAULT_CAPABILITIES``.
        fuse_soft_argmax: Experimental: the soft-argmax as one kernel of mahtrt, which a session
            launches behind the engine.
        timeout_s: A build that takes longer is stopped; None: no limit.
    """

    title: ClassVar[str] = "TensorRT"

    workspace_mib: int | None = None
    optimization_level: int | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    compute_capabilities: tuple[str, ...] = ()
    fuse_soft_argmax: bool = False
    timeout_s: float | None = None


def check_options(options: TensorRtOptions, flavour: Flavour) -> None:
    """Refuse options that have no meaning, or none for this flavour.

    Raises:
        UsageError: A value out of range, or an option of the other flavour.
    """
    _check_ranges(options)
    if options.hardware_compatibility != "none" and not flavour.has_hardware_compatibility:
        raise UsageError(
            "--hardware-compatibility",
            got=f"{options.hardware_compatibility!r} for {flavour.title}",
            expected="'none': it has no such setting",
            fix="Name compute capabilities instead: one engine can hold several.",
        )
    if options.compute_capabilities and not flavour.chooses_capabilities:
        raise UsageError(
            "--compute-capability",
            got=f"{', '.join(options.compute_capabilities)} for {flavour.title}",
            expected="none: it builds for the GPU in this machine",
            fix="Use target tensorrt-rtx, or build on a machine with that GPU.",
        )


def ignored_options(options: TensorRtOptions, flavour: Flavour) -> tuple[str, ...]:
    """A sentence for each option that was given and has no effect."""
    if options.optimization_level is None or flavour.has_optimization_levels:
        return ()
    return (
        f"optimization_level {options.optimization_level} was given; "
        f"{flavour.title} makes the same engine at every level.",
    )


def _check_ranges(options: TensorRtOptions) -> None:
    def refuse(name: str, value: object, expected: str) -> UsageError:
        return UsageError(name, got=repr(value), expected=expected)

    if options.workspace_mib is not None and options.workspace_mib < 1:
        raise refuse("--workspace-mib", options.workspace_mib, "at least 1")
    if options.optimization_level is not None and not 0 <= options.optimization_level <= 5:
        raise refuse("--optimization-level", options.optimization_level, "0 to 5")
    if options.timeout_s is not None and not options.timeout_s > 0:
        raise refuse("--timeout", options.timeout_s, "more than 0")
    known = get_args(HardwareCompatibility)
    if options.hardware_compatibility not in known:
        expected = ", ".join(map(repr, known))
        raise refuse("--hardware-compatibility", options.hardware_compatibility, expected)


def known_capabilities(trt: Any) -> tuple[str, ...]:
    """The compute capabilities that this TensorRT-RTX compiles for, ``("SM75", "SM80", …)``."""
    names = (each for each in trt.ComputeCapability.__members__ if each not in _NOT_A_CAPABILITY)
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def check_capabilities(names: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Compute capabilities in the order of ``known``, each once.

    Raises:
        UsageError: One is not known.
    """
    wanted = {name.upper() for name in names}
    if wanted - set(known):
        raise UsageError(
            "--compute-capability",
            got=", ".join(sorted(wanted - set(known))),
            expected=f"of {', '.join(known)}",
        )
    return tuple(name for name in known if name in wanted)
