from __future__ import annotations

import pytest

from mahtrt.errors import UsageError
from mahtrt.export.passes.pipeline import (
    export_passes,
    optimization_passes,
    optimizations_applied,
)


def names(skip: tuple[str, ...] = ()) -> list[str]:
    return [type(graph_pass).__name__ for graph_pass in export_passes(skip)]


@pytest.mark.parametrize("name", list(optimization_passes()))
def test_each_optimization_can_be_left_out(name: str) -> None:
    left_out = type(optimization_passes()[name]).__name__
    assert left_out in names()
    assert names((name,)) == [other for other in names() if other != left_out]


def test_all_optimizations_can_be_left_out() -> None:
    skip = tuple(optimization_passes())
    assert len(names(skip)) == len(names()) - len(skip)


def test_the_names_are_those_of_the_classes() -> None:
    for name, graph_pass in optimization_passes().items():
        words = "".join(part.capitalize() for part in name.split("-"))
        assert type(graph_pass).__name__ == f"{words}Pass"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"merge-sibling-convs or split-pyramid-conv"):
        export_passes(("fold-constants",))


def test_what_was_applied_is_told_from_what_was_skipped() -> None:
    first, second = optimization_passes()
    changes = {"MergeSiblingConvsPass": 3, "FoldConstantsPass": 5}
    assert optimizations_applied(changes) == {first: 3, second: 0}
    assert optimizations_applied(changes, (second,)) == {first: 3, second: None}
