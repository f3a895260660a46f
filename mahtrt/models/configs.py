"""What the configs of all families share: as plain data, and by the name of a variant."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from mahtrt.errors import ModelError
from mahtrt.schema import dataclass_from


class Config(Protocol):
    """A frozen dataclass whose fields are the settings of a network."""

    def to_dict(self) -> dict[str, Any]: ...


C = TypeVar("C", bound=Config)


def settings_of(config: Any) -> dict[str, Any]:
    """A config as JSON gives it back: a spec that was read equals the one written."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def config_of(
    family: str, variants: Mapping[str, C], variant: str, overrides: Mapping[str, Any]
) -> C:
    """The config of a variant with some fields replaced.

    Args:
        variants: The family's configs by name, at least one.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    name = f"{family}/{variant}"
    if variant not in variants:
        expected = f"one of {', '.join(variants)}"
        raise ModelError(name, got="an unknown variant", expected=expected)
    config = variants[variant]
    values = {**config.to_dict(), **overrides}
    return dataclass_from(type(config), values, name, error=ModelError)
