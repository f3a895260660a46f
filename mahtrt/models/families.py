"""The table of network families, resolved on use.

A family is a module with ``build(variant, overrides) -> nn.Module`` (the module has ``.spec``),
``variants() -> tuple[str, ...]``, and ``FREE_SETTINGS``, the settings that change no weight.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mahtrt.errors import ModelError, require
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

FAMILIES: Mapping[str, str] = {
    "maht-net": "mahtrt.models.maht_net.maht_net",
}


def build_model(name: str, **overrides: Any) -> nn.Module:
    """A network with random weights, in training mode.

    Args:
        name: ``family`` or ``family/variant``, e.g. ``"maht-net/nano"``.
        overrides: Settings of the family's config to replace, e.g. ``input_size=(256, 256)``.

    Raises:
        ModelError: An unknown family, variant or setting.
        MissingComponentError: PyTorch, timm or transformers is not installed.
    """
    family, _, variant = name.partition("/")
    return _family(family).build(variant, overrides)


def model_from_spec(spec: ModelSpec) -> nn.Module:
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


def _family(name: str) -> ModuleType:
    if name not in FAMILIES:
        raise ModelError(
            name,
            got="an unknown model family",
            expected=f"{', '.join(FAMILIES)}, package.module:factory or path/file.py:factory",
        )
    for module in ("torch", "timm", "transformers"):
        require(module, extra="export", needed_for=f"building {name}")
    return importlib.import_module(FAMILIES[name])
