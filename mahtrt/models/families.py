"""The table of network families, resolved on use.

A family is a Python module with the names of :class:`Family`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from mahtrt.errors import ModelError, require
from mahtrt.interrupt import interrupt_later
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from mahtrt.models.demo_recipe import DemoRecipe
    from mahtrt.models.network import Network

FAMILIES: Mapping[str, str] = {
    "maht-net": "mahtrt.models.maht_net.maht_net",
    "unet": "mahtrt.models.unet.unet",
    "pose-spi": "mahtrt.models.pose_spi.pose_spi",
    "longitudinal": "mahtrt.models.longitudinal.longitudinal",
    "spine": "mahtrt.models.spine.spine",
}


class Family(Protocol):
    """What the module of a family offers.

    Attributes:
        FREE_SETTINGS: Settings that change no weight's name or shape: a checkpoint decides them
            whatever the variant.
        DEFAULT_VARIANT: What the family's name alone means.
        EXAMPLE_DATA: The synthetic DATA that fits the family, a name of
            :data:`mahtrt.data.datasets.PHANTOMS`; where its variants differ in what they take,
            one per variant.
        DEMO: How ``nano`` is trained for the demo; None where mahtrt ships its weights.
    """

    FREE_SETTINGS: tuple[str, ...]
    DEFAULT_VARIANT: str
    EXAMPLE_DATA: str | Mapping[str, str]
    DEMO: DemoRecipe | None

    def build(self, variant: str, overrides: Mapping[str, Any]) -> Network:
        """A network with random weights; an empty variant means the family's default."""

    def variants(self) -> tuple[str, ...]:
        """The names that may follow ``family/``."""


def build_model(name: str, **overrides: Any) -> Network:
    """A network with random weights, in training mode.

    Args:
        name: ``family`` or ``family/variant``, e.g. ``"maht-net/nano"``.
        overrides: Settings of the family's config to replace, e.g. ``input_size=(256, 256)``.

    Raises:
        ModelError: An unknown family, variant or setting.
        MissingComponentError: PyTorch, or another package that the family needs, is not installed.
    """
    family, _, variant = name.partition("/")
    if family not in FAMILIES:
        raise _unknown(name)
    return _family(family).build(variant, overrides)


def model_from_spec(spec: ModelSpec) -> Network:
    """The network that a spec describes, with random weights.

    Raises:
        ModelError: The family is not one of mahtrt's, or its config does not fit.
    """
    return _family(spec.family).build("", spec.config)


def model_names() -> tuple[str, ...]:
    """Every ``family/variant``."""
    return tuple(
        f"{family}/{variant}" for family in FAMILIES for variant in _family(family).variants()
    )


def example_data(name: str) -> str:
    """The synthetic DATA that fits a network, such as ``phantom``; ``:N@SEED`` may follow it.

    Args:
        name: ``family`` or ``family/variant``.

    Raises:
        ModelError: An unknown family or variant.
        MissingComponentError: A package that the family needs is not installed.
    """
    family, _, variant = name.partition("/")
    module = _family(family)
    data = module.EXAMPLE_DATA
    if isinstance(data, str):
        return data
    variant = variant or module.DEFAULT_VARIANT
    if variant not in data:
        expected = f"one of {', '.join(data)}"
        raise ModelError(name, got="an unknown variant", expected=expected)
    return data[variant]


def demo_recipe(name: str) -> DemoRecipe | None:
    """How the ``nano`` of a network's family is trained for the demo; None with shipped weights.

    Raises:
        ModelError: An unknown family.
        MissingComponentError: A package that the family needs is not installed.
    """
    return _family(name.partition("/")[0]).DEMO


def settings_from_checkpoint(name: str, spec: ModelSpec) -> dict[str, Any]:
    """What a checkpoint's spec decides about the network of a name.

    For a bare family that is everything. A variant fixes what the weights look like, so that a
    checkpoint of another variant is found out by its keys.
    """
    family, _, variant = name.partition("/")
    free = _family(family).FREE_SETTINGS
    return {key: value for key, value in spec.config.items() if not variant or key in free}


def is_known(name: str) -> bool:
    """Whether a model reference names a family of mahtrt (and not foreign code)."""
    return name.partition("/")[0] in FAMILIES


def _unknown(name: str) -> ModelError:
    """What says that a name, as it was given, is of no family."""
    expected = f"one of {', '.join(FAMILIES)}, or a variant of it such as unet/nano"
    fix = "A network of your own can be exported and fine-tuned, but not trained." * (":" in name)
    return ModelError(name, got="an unknown model family", expected=expected, fix=fix)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise _unknown(name)
    require("torch", extra="export", needed_for=f"building {name}")
    try:
        with interrupt_later():  # some native modules abort the process when interrupted here
            return cast(Family, importlib.import_module(FAMILIES[name]))
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing != "mahtrt":
            require(missing, extra="export", needed_for=f"building {name}")
        raise
