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


def refuse_settings(config: Config, *checks: tuple[str, object, str]) -> None:
    """Refuse the first setting that cannot be.

    Args:
        checks: Field, whether it can be, and what could.

    Raises:
        ModelError: There is one.
    """
    for name, holds, expected in checks:
        if not holds:
            raise ModelError(name, got=repr(getattr(config, name)), expected=expected)


def check_input_size(size: tuple[int, int], multiple: int, why: str) -> None:
    """Refuse an input of other sides than multiples of a number.

    Args:
        size: (height, width) in pixels.
        why: Why it has to be, for the message.

    Raises:
        ModelError: It is one; names the nearest size that can be.
    """
    if all(side >= multiple and side % multiple == 0 for side in size):
        return
    near = "x".join(str(max(1, round(side / multiple)) * multiple) for side in size)
    raise ModelError(
        "input size",
        got=f"{size[0]}x{size[1]}",
        expected=f"multiples of {multiple}",
        fix=f"{why}; choose e.g. {near}.",
    )
