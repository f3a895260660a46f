"""Whether an engine that was built somewhere may run here.

TensorRT itself refuses some engines with "version tag does not match" and runs others that were
tuned for another card. Here both values are said, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import BuildError
from mahtrt.targets.backend import compile_here
from mahtrt.targets.tensorrt.flavours import find_flavour

LEVEL = "hardware_compatibility"  # among the settings of an engine's device
_OLDEST_COMPATIBLE = 80  # Ampere, where hardware compatibility "ampere_plus" begins


@dataclass(frozen=True, slots=True)
class Here:
    """What would run an engine on this machine.

    Attributes:
        flavour: ``tensorrt`` or ``tensorrt-rtx``.
        version: Version of its package.
        platform: ``linux_x86_64``.
        gpu: The card's name.
        capability: Its compute capability, ``SM89``.
    """

    flavour: str
    version: str
    platform: str
    gpu: str
    capability: str


def check_compatible(engine: EngineRecord, here: Here) -> None:
    """Compare what an engine was built with and for with what would run it.

    Raises:
        BuildError: They differ; the message has both values and a command that mends it.
    """
    built = engine.target
    _compare(engine, "TensorRT flavour", built, here.flavour)
    version = engine.versions.get(built, "of unknown version")
    _compare(engine, f"{find_flavour(built).title} version", version, here.version)
    _compare(engine, "platform", engine.device.platform or here.platform, here.platform)
    _check_gpu(engine, here)


def _check_gpu(engine: EngineRecord, here: Here) -> None:
    device = engine.device
    built_for, level = device.capabilities, device.settings.get(LEVEL, "none")
    if here.flavour == "tensorrt" and level == "ampere_plus":
        if _number(here.capability) < _OLDEST_COMPATIBLE:
            _refuse(engine, "GPU", f"SM{_OLDEST_COMPATIBLE} or newer", _card(here))
        return
    if here.capability not in built_for:
        _refuse(engine, "GPU", ", ".join(built_for) or "none that it names", _card(here))
    if here.flavour == "tensorrt" and level == "none":
        # Kernels were chosen and timed for the card, not only for its compute capability.
        _compare(engine, "GPU", device.name or here.gpu, here.gpu)


def _compare(engine: EngineRecord, what: str, built: str, here: str) -> None:
    if built != here:
        _refuse(engine, what, built, here)


def _refuse(engine: EngineRecord, what: str, built: str, here: str) -> None:
    raise BuildError(
        f"engine {engine.name}: {what}",
        got=f"{here} here",
        expected=f"{built}, which it was built for",
        fix=compile_here(engine.target),
    )


def _card(here: Here) -> str:
    return f"{here.gpu} ({here.capability})"


def _number(capability: str) -> int:
    return int(capability.removeprefix("SM"))
