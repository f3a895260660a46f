"""What a shell completes: the values of options that have a closed list of them.

The lists are read when a shell asks, so that no command waits for them. None imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]


def one_of(*names: str) -> Complete:
    """Names that are known here."""
    return lambda incomplete: _beginning_with(incomplete, names)


def families(incomplete: str) -> list[str]:
    """Families of networks."""
    from mahtrt.models.families import FAMILIES

    return _beginning_with(incomplete, FAMILIES)


def networks(incomplete: str) -> list[str]:
    """Families of networks, and their variants."""
    from mahtrt.models.families import FAMILIES
    from mahtrt.models.summary import models

    return _beginning_with(incomplete, (*FAMILIES, *(model.name for model in models())))


def targets(incomplete: str) -> list[str]:
    """Runtimes that engines are built for."""
    from mahtrt.targets.table import TARGETS

    return _beginning_with(incomplete, ("auto", *TARGETS))


def one_target(incomplete: str) -> list[str]:
    """Runtimes that a bundle is compiled for, one at a time."""
    return [name for name in targets(incomplete) if name != "auto"]


def peers(incomplete: str) -> list[str]:
    """What can be measured beside the engines."""
    from mahtrt.benchmarks.peers import ALL_CPU, PEERS

    return _beginning_with(incomplete, (*PEERS, ALL_CPU))


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
