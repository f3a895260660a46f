"""The file of reference statistics: written, read, carried along, and refused where it is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from watched_bundles import some_reference, with_reference

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.bundle.reference_statistics import (
    MOST_KNOTS,
    NAME,
    SCHEMA,
    knot_ranks,
    read_reference,
)
from mahtrt.errors import IntegrityError


def test_what_is_written_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    reference = some_reference()
    bundle = with_reference(tiny_bundle, tmp_path / "a.mahtrt", reference)
    assert read_reference(bundle) == reference
    assert json.loads((bundle.path / NAME).read_text())["schema"] == SCHEMA
    names = [each.name for each in reference.statistics]
    assert names == ["image.p50", "image.spacing_mm"]
    assert [len(each.knots) for each in reference.statistics] == [40, 40]


def test_a_packed_bundle_has_them_too(tiny_bundle: Path, tmp_path: Path) -> None:
    reference = some_reference()
    with_reference(tiny_bundle, tmp_path / "a.mahtrt", reference)
    packed = pack(PackOptions(tmp_path / "a.mahtrt", tmp_path / "b.mahtrt"))
    assert read_reference(read_bundle(packed.path)) == reference


def test_a_bundle_without_them_opens(tiny_bundle: Path) -> None:
    assert read_reference(read_bundle(tiny_bundle)) is None


def test_a_changed_file_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_reference(tiny_bundle, tmp_path / "a.mahtrt", some_reference())
    place = bundle.path / NAME
    place.write_text(place.read_text().replace("0.1", "0.2", 1))
    with pytest.raises(IntegrityError, match="SHA-256"):
        read_reference(bundle)


@pytest.mark.parametrize("what", ["order", "many", "twice", "images", "empty"])
def test_statistics_that_contradict_themselves_are_refused(
    what: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    reference = some_reference()
    first, second = reference.statistics
    wrong = {
        "order": (replace(first, knots=first.knots[::-1]),),
        "many": (replace(first, images=10),),
        "twice": (first, replace(second, name=first.name)),
        "images": (replace(first, images=4000),),
        "empty": (replace(first, knots=()),),
    }[what]
    bundle = with_reference(
        tiny_bundle, tmp_path / "a.mahtrt", replace(reference, statistics=wrong)
    )
    with pytest.raises(IntegrityError, match="twice" if what == "twice" else "values of"):
        read_reference(bundle)


def test_a_newer_schema_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    newer = replace(some_reference(), schema="mahtrt.reference-statistics/2")
    bundle = with_reference(tiny_bundle, tmp_path / "a.mahtrt", newer)
    with pytest.raises(IntegrityError, match="reference-statistics/2"):
        read_reference(bundle)


@pytest.mark.parametrize("images", [1, 2, 32, 63, 64, 100, 200])
def test_ranks_are_spread_evenly(images: int) -> None:
    knots = min(images, MOST_KNOTS)
    ranks = knot_ranks(images, knots)
    assert sorted(set(ranks)) == list(ranks)
    assert 1 <= ranks[0] <= ranks[-1] <= images
    assert images > MOST_KNOTS or ranks == tuple(range(1, images + 1))
