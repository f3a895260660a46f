"""Peers calibrate on images that the bench does not measure on, or say why they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_fakes import FakeDataset, make_spec

from mahtrt.benchmarks import peer_images as module
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.peer_images import LEAST_IMAGES, peer_images
from mahtrt.data.feed import prepare
from mahtrt.data.subset import NetworkTensors, left_over, spread_out
from mahtrt.errors import DataError

SPEC = make_spec()


def images(measured: Any, preprocess_version: int = 3, **options: Any) -> NetworkTensors:
    given = BenchOptions(Path("x.mahtrt"), **options)
    return peer_images(given, measured, SPEC, preprocess_version)()


@pytest.mark.parametrize(("total", "count"), [(24, 8), (17, 1), (40, 24)])
def test_what_is_not_measured_calibrates(total: int, count: int) -> None:
    data = FakeDataset(total)
    rest, taken = left_over(data, count), spread_out(data, count)
    assert sorted((*rest.names, *taken.names)) == sorted(data.names)
    found = images(data, images=count)
    assert (len(found), found.source) == (total - count, "fake:5")
    wanted = [prepare((sample.image,), SPEC)[0]["image"] for sample in rest]
    for feed, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(feed["image"], expected)


def test_too_few_that_are_not_measured() -> None:
    with pytest.raises(DataError) as caught:
        images(FakeDataset(10), images=8)
    assert str(caught.value) == (
        "calibration images in fake:5: got 2 that are not measured; expected at least "
        f"{LEAST_IMAGES}. Give --peer-calib, or fewer --images."
    )


def test_too_few_that_were_given() -> None:
    with pytest.raises(DataError, match="phantom:3@1: got 3; expected at least 16"):
        images(FakeDataset(10), peer_calib="phantom:3@1")


def test_what_is_measured_does_not_calibrate() -> None:
    with pytest.raises(DataError, match="calibration and evaluation images: got 4 in both"):
        images(FakeDataset(40), images=4, peer_calib=FakeDataset(40, source="copy"))


def test_there_are_enough_at_some_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 20)
    assert len(images(FakeDataset(100), images=8)) == 20


def test_images_are_prepared_as_for_the_engines_of_an_old_bundle() -> None:
    rng = np.random.default_rng(3)
    shades = rng.integers(0, 256, (20, 23, 19), np.uint8)

    class Shades(FakeDataset):
        def __getitem__(self, index: int) -> Any:
            sample = super().__getitem__(index)
            return type(sample)(sample.name, shades[index])

    now, before = (images(Shades(20), version, images=2) for version in (3, 2))
    rest = left_over(Shades(20), 2)
    for found, version in ((now, 3), (before, 2)):
        for place in (0, 17):
            wanted = prepare((rest[place].image,), SPEC, version)[0]["image"]
            np.testing.assert_array_equal(found[place]["image"], wanted)
    assert (now[0]["image"] != before[0]["image"]).any()
