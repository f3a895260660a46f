"""A network of two images: the same answer however the pair is given, and clear errors."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_maps

from mahtrt.bundle.bundle import read_bundle, write_bundle
from mahtrt.bundle.golden import GoldenVector, copy_golden, read_golden, write_golden
from mahtrt.errors import DataError, ImageError, InputError, IntegrityError
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.session import Session

BEFORE, AFTER = tiny_maps.make_image(1), tiny_maps.make_image(2, (70, 50))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = tiny_maps.spec_of("before", "after")
    return tiny_maps.build_bundle(tmp_path_factory.mktemp("pairs") / "pairs.mahtrt", spec)


@pytest.fixture(params=tiny_maps.TARGETS)
def session(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Session]:
    with open_session(bundle, engine=request.param) as opened:
        yield opened


def test_a_pair_is_given_in_order_or_by_name_or_in_a_batch(session: Session) -> None:
    wanted = session.run(BEFORE, AFTER).maps["change"]
    swapped = session.run(AFTER, BEFORE).maps["change"]
    assert np.abs(wanted - swapped).max() > 0.01
    by_name = session.run({"after": AFTER, "before": BEFORE}).maps["change"]
    np.testing.assert_array_equal(by_name, wanted)
    batch = session.run_batch([(BEFORE, AFTER), {"before": AFTER, "after": BEFORE}])
    np.testing.assert_array_equal(batch[0].maps["change"], wanted)
    np.testing.assert_array_equal(batch[1].maps["change"], swapped)


def test_tensors_are_given_by_name(session: Session) -> None:
    feed = {
        name: np.random.default_rng(seed).standard_normal((3, 1, *tiny_maps.SIZE), np.float32)
        for seed, name in enumerate(session.spec.input_names)
    }
    found = session.infer(feed)["change"]
    assert found.shape == (3, 1, *tiny_maps.SIZE)
    alone = session.infer({name: tensor[1:2] for name, tensor in feed.items()})["change"]
    np.testing.assert_allclose(found[1:2], alone, atol=1e-6)


def test_wrong_pairs_are_one_clear_line(session: Session) -> None:
    with pytest.raises(InputError, match=r"run: got 1 image\(s\); expected 2 image\(s\): before"):
        session.run(BEFORE)
    with pytest.raises(InputError, match=r"got 3 image\(s\)"):
        session.run(BEFORE, AFTER, AFTER)
    with pytest.raises(InputError, match="got images for before, later"):
        session.run({"before": BEFORE, "later": AFTER})
    with pytest.raises(InputError, match=r"image 1: got 1 image\(s\)"):
        session.run_batch([(BEFORE, AFTER), BEFORE])
    with pytest.raises(ImageError, match="float64"):
        session.run(BEFORE, AFTER.astype(float))
    tensor = np.zeros((1, 1, *tiny_maps.SIZE), np.float32)
    with pytest.raises(InputError, match="expected a mapping with before, after"):
        session.infer(tensor)
    with pytest.raises(InputError, match="got a mapping with before"):
        session.infer({"before": tensor})
    with pytest.raises(InputError, match="tensors of 1 and 2 images"):
        session.infer({"before": tensor, "after": np.concatenate([tensor] * 2)})


def test_pairs_are_predicted_from_folders_and_lists(bundle: Path, tmp_path: Path) -> None:
    for side, image in (("before", BEFORE), ("after", AFTER)):
        (tmp_path / "visits" / side).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "visits" / side / "1.png"), image)
    table = tmp_path / "pairs.csv"
    table.write_text("before,after\nvisits/before/1.png,visits/after/1.png\n")
    sides = [tmp_path / "visits" / side for side in ("before", "after")]
    ways = ([table], [tmp_path / "visits"], sides, [side / "1.png" for side in sides])
    found = [predict(PredictOptions(bundle, images)).predictions for images in ways]
    assert [len(each) for each in found] == [1] * 4
    for (each,) in found[1:]:
        assert each.maps == found[0][0].maps
        assert each.maps["change"]["max"] > each.maps["change"]["min"]
    assert found[0][0].extra["other_images"] == [str(sides[1] / "1.png")]
    with pytest.raises(DataError, match=r"images: got 1 path\(s\); expected the images of a case"):
        predict(PredictOptions(bundle, [sides[0] / "1.png"]))
    (sides[1] / "1.png").unlink()
    with pytest.raises(DataError, match="after: got a folder without images"):
        predict(PredictOptions(bundle, sides))


def test_pairs_with_the_same_first_image_are_told_apart(bundle: Path, tmp_path: Path) -> None:
    """Visits of one patient: rows, maps and overlays of each follow-up have names of their own."""
    for name, image in (("base", BEFORE), ("may", AFTER), ("june", BEFORE), ("new", AFTER)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    table = tmp_path / "pairs.csv"
    table.write_text("before,after\nbase.png,may.png\nbase.png,june.png\nnew.png,june.png\n")
    out = tmp_path / "out"
    result = predict(PredictOptions(bundle, [table], maps=out, overlay=out))
    stems = ["base+may", "base+june", "new"]
    base, may, june, new = (
        str(tmp_path / f"{name}.png") for name in ("base", "may", "june", "new")
    )
    cases = [f"{base} + {may}", f"{base} + {june}", new]
    files = {f"{stem}.{kind}.png" for stem in stems for kind in ("change", "overlay")}
    assert {each.name for each in out.iterdir()} == files
    images = json.loads(result.to_json())["images"]
    assert [(row["image"], row["case"]) for row in images] == list(
        zip((base, base, new), cases, strict=True)
    )
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert list(dict.fromkeys(row["case"] for row in rows)) == cases


def test_golden_vectors_keep_every_image(bundle: Path, tmp_path: Path) -> None:
    source = read_bundle(bundle)
    none = np.zeros((0, 2), np.float32)
    pair = GoldenVector("a", BEFORE, none, None, (AFTER[..., None].astype(np.uint16) * 257,))
    with write_bundle(tmp_path / "new.mahtrt") as writer:
        writer.take(source, source.manifest.pointed)
        writer.finish(replace(source.manifest, golden=write_golden(writer, "arithmetic", [pair])))
    (found,) = read_golden(read_bundle(tmp_path / "new.mahtrt"))
    np.testing.assert_array_equal(found.image, BEFORE)
    np.testing.assert_array_equal(found.others[0], AFTER.astype(np.uint16) * 257)
    copy = read_bundle(tmp_path / "new.mahtrt")
    with write_bundle(tmp_path / "copy.mahtrt") as writer:
        writer.take(copy, source.manifest.pointed)
        writer.finish(replace(copy.manifest, golden=copy_golden(writer, copy)))
    (again,) = read_golden(read_bundle(tmp_path / "copy.mahtrt"))
    np.testing.assert_array_equal(again.others[0], found.others[0])
    with write_bundle(tmp_path / "short.mahtrt") as writer:
        writer.take(source, source.manifest.pointed)
        alone = GoldenVector("a", BEFORE, none)
        writer.finish(replace(source.manifest, golden=write_golden(writer, "arithmetic", [alone])))
    with pytest.raises(IntegrityError, match=r"golden image a: got 1 image\(s\); expected one for"):
        read_golden(read_bundle(tmp_path / "short.mahtrt"))
