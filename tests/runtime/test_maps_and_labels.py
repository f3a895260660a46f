"""Maps, labels and visibility from a network's outputs to results, files and pictures."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import tiny_maps
import tiny_network as tiny
from foreign_network import run
from PIL import Image

from mahtrt.data.preprocess import Placement, preprocess
from mahtrt.errors import DataError, InputError, UsageError
from mahtrt.runtime.decode import decode, landmark_names, needed_outputs
from mahtrt.runtime.labels import Labels
from mahtrt.runtime.landmarks import Landmarks, landmarks_from_outputs
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.overlay import draw_overlay
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.spec import OutputSpec

SPEC = replace(
    tiny.SPEC,
    outputs=(
        *tiny.SPEC.outputs,
        OutputSpec("seen", "visibility", threshold=0.3),
        OutputSpec("change", "map"),
        OutputSpec("findings", "logits", threshold=0.75),
    ),
)
STILL = Placement((1.0, 1.0), (0.0, 0.0))


def outputs(images: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "landmarks": rng.random((images, 3, 2)).astype(np.float32),
        "seen": np.tile(np.array([[0.2, 0.3, np.nan]], np.float32), (images, 1)),
        "change": rng.random((images, 2, 16, 24)).astype(np.float32),
        "findings": np.tile(np.array([[0.0, 2.0]], np.float32), (images, 1)),
    }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: Any) -> Path:
    return tiny_maps.build_bundle(tmp_path_factory.mktemp("maps") / "maps.mahtrt")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    place = tmp_path / "chest.png"
    cv2.imwrite(str(place), tiny_maps.make_image(0))
    return place


def test_all_outputs_that_are_judged_are_needed() -> None:
    assert needed_outputs(SPEC) == (
        *("landmarks", "confidence", "spread"),
        *("seen", "change", "findings"),
    )
    assert needed_outputs(tiny_maps.spec_of("a", outputs=("logits",))) == ("findings",)
    assert landmark_names(tiny_maps.spec_of("a")) == ()


def test_a_result_has_visibility_maps_and_labels_beside_landmarks() -> None:
    (found,) = landmarks_from_outputs(outputs(), SPEC, [STILL])
    assert found.visible is not None
    assert found.visible.tolist() == [False, True, False]
    assert found.maps["change"].shape == (2, 16, 24)
    labels = found.labels["findings"]
    assert labels.names == ("0", "1")
    np.testing.assert_allclose(labels.probabilities, [0.5, 1 / (1 + np.exp(-2))], rtol=1e-6)
    assert labels.present.tolist() == [False, True]
    plain = json.loads(json.dumps(found.to_dict()))
    assert [(row["visibility"], row["visible"]) for row in plain["landmarks"]] == [
        (0.2, False),
        (0.3, True),
        (None, False),
    ]
    assert plain["labels"]["findings"][1] == {
        "name": "1",
        "probability": 0.8808,
        "logit": 2.0,
        "present": True,
    }
    assert plain["maps"]["change"]["size"] == [2, 16, 24]
    assert found.outputs is None


def test_a_network_without_landmarks_decodes_to_none() -> None:
    given = {name: outputs(3)[name] for name in ("change", "findings")}
    found = decode(given, tiny_maps.spec_of("image"))
    assert found.points_px.shape == (3, 0, 2)
    assert set(found.others) == {"change", "findings"}


def test_labels_that_are_not_finite_are_not_present() -> None:
    labels = Labels(("a", "b"), np.array([np.nan, np.inf], np.float32))
    assert labels.present.tolist() == [False, True]
    assert [row["logit"] for row in labels.to_dict()] == [None, None]


def test_a_map_lies_over_the_image_that_was_run(bundle: Path) -> None:
    image = tiny_maps.make_image(1, (90, 40))
    with open_session(bundle) as session:
        found = session.run(image)
    tensor, placement = preprocess(image, session.spec.input)
    net = onnxruntime.InferenceSession(tiny_maps.make_model(session.spec).SerializeToString())
    (change, findings) = net.run(None, {"image": tensor[None]})
    np.testing.assert_allclose(found.maps["change"], change[0], atol=1e-5)
    np.testing.assert_allclose(found.labels["findings"].logits, findings[0], atol=1e-5)
    ours = found.map_in_image("change", image.shape)
    assert ours.shape == (1, 90, 40)
    for x, y in ((20, 45), (5, 10), (33, 80)):
        column, row = np.round(placement.network_from_image(np.array([x, y]))).astype(int)
        around = change[0, 0, row - 1 : row + 2, column - 1 : column + 2]
        assert around.min() - 0.05 <= ours[0, y, x] <= around.max() + 0.05
    with pytest.raises(InputError, match="one of change"):
        found.map_in_image("heat", image.shape)


def test_maps_are_written_as_16_bit_gray(bundle: Path, picture: Path, tmp_path: Path) -> None:
    result = predict(PredictOptions(bundle, [picture], maps=tmp_path / "maps", threads=1))
    (only,) = result.predictions
    assert (only.landmarks.maps, only.landmarks.outputs) == ({}, None)  # many fill the memory
    assert only.maps["change"]["size"] == [1, *tiny_maps.SIZE]
    assert json.loads(result.to_json())["images"][0]["maps"] == only.maps
    written = json.loads(result.to_json())["images"][0]["map_files"]["change"]
    assert written == {"files": [str(tmp_path / "maps/chest.change.png")], "black": 0, "white": 1}
    pixels: Any = cv2.imread(written["files"][0], cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16
    with open_session(bundle, threads=1) as session:
        expected = session.run(tiny_maps.make_image(0)).map_in_image("change", (40, 60))[0]
    np.testing.assert_allclose(pixels / 65535, expected, atol=1e-4)


def test_a_folder_stands_for_the_images_below_it(
    bundle: Path, picture: Path, tmp_path: Path
) -> None:
    for name in ("10.png", "9.png", "deep/1.png"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "all" / name), tiny_maps.make_image(1))
    (tmp_path / "all" / "spacing.json").write_text('{"images": {"deep/1.png": 0.5}}')
    found = predict(PredictOptions(bundle, [picture, tmp_path / "all"])).predictions
    names = [str(tmp_path / "all" / name) for name in ("9.png", "10.png", "deep/1.png")]
    assert [each.image for each in found] == [str(picture), *names]
    assert [each.landmarks.spacing_mm for each in found] == [None, None, None, (0.5, 0.5)]
    for part in ("image", "map"):  # a folder with annotated maps holds cases
        (tmp_path / "cases" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "cases" / part / "1.png"), tiny_maps.make_image(1))
    (only,) = predict(PredictOptions(bundle, [tmp_path / "cases"])).predictions
    assert only.image == str(tmp_path / "cases" / "image" / "1.png")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="a folder without images"):
        predict(PredictOptions(bundle, [tmp_path / "none"]))


def test_the_table_and_the_csv_have_a_row_per_label(
    bundle: Path, picture: Path, tmp_path: Path
) -> None:
    done = run("predict", bundle, picture, "--threads=1")
    assert done.exit_code == 0
    assert all(word in done.output for word in ("mass", "edema", "change", "probability"))
    done = run("predict", bundle, picture, "--csv", tmp_path / "a.csv", "--threads=1")
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [row["label"] for row in rows] == ["mass", "edema"]
    labels = {"label", "probability", "logit", "present"}
    assert set(rows[0]) == {"image", *labels, "engine", "device"}
    assert 0 <= float(rows[0]["probability"]) <= 1


def test_rows_of_landmarks_and_labels_share_a_csv() -> None:
    from mahtrt.runtime.results import Prediction, csv_from_predictions

    (found,) = landmarks_from_outputs(outputs(), SPEC, [STILL])
    rows = list(csv.DictReader(io.StringIO(csv_from_predictions([Prediction("a", found)]))))
    assert [row["landmark"] for row in rows] == ["red", "green", "blue", "", ""]
    assert [row["label"] for row in rows] == ["", "", "", "0", "1"]
    assert [row["visible"] for row in rows[:3]] == ["false", "true", "false"]
    assert rows[4]["present"] == "true"


def test_maps_in_a_csv_are_refused_before_anything_is_written(
    tmp_path: Path, picture: Path
) -> None:
    spec = tiny_maps.spec_of("image", outputs=("map",))
    bundle = tiny_maps.build_bundle(tmp_path / "only.mahtrt", spec)
    out = tmp_path / "out"
    done = run("predict", bundle, picture, "--csv", out / "a.csv", "--maps", out / "maps")
    assert done.exit_code == 2
    assert done.output.count("error:") == 1
    assert "--maps FOLDER" in " ".join(done.output.split())
    assert not out.exists()
    found = predict(PredictOptions(bundle, [picture]))
    with pytest.raises(UsageError, match="no landmarks and no labels"):
        found.to_csv()


def test_maps_of_a_network_without_maps_are_refused(
    tiny_bundle: Path, picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="one with maps"):
        predict(PredictOptions(tiny_bundle, [picture], maps=tmp_path / "maps"))
    assert not (tmp_path / "maps").exists()


def test_all_maps_are_written_or_none(bundle: Path, picture: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    options = ("--maps", tmp_path / "maps", "--overlay", tmp_path / "over", "--threads=1")
    assert run("predict", bundle, picture, bad, *options).exit_code == 1
    assert not (tmp_path / "maps").exists()
    assert not (tmp_path / "over").exists()
    assert run("predict", bundle, picture, bad, *options, "--skip-bad").exit_code == 0
    assert [each.name for each in (tmp_path / "maps").iterdir()] == ["chest.change.png"]
    assert [each.name for each in (tmp_path / "over").iterdir()] == ["chest.overlay.png"]


def test_a_map_beyond_0_and_1_says_what_black_and_white_are(tmp_path: Path) -> None:
    from mahtrt.runtime.map_files import write_maps

    values = np.linspace(-3, 5, 16 * 24, dtype=np.float32).reshape(1, 16, 24)
    values = np.concatenate([values, np.full_like(values, np.nan)])
    found = Landmarks(*(np.empty((0, 2), np.float32), *(np.empty(0, np.float32),) * 2), ())
    found = replace(found, maps={"heat": values}, placement=STILL, input_size=(16, 24))
    written = write_maps(tmp_path, "a", found, (16, 24))
    assert (written["heat"]["black"], written["heat"]["white"]) == (-3, 5)
    files = [Path(place) for place in written["heat"]["files"]]
    assert [place.name for place in files] == ["a.heat-0.png", "a.heat-1.png"]
    first, second = (cv2.imread(str(place), cv2.IMREAD_UNCHANGED) for place in files)
    assert (first.min(), first.max(), second.max()) == (0, 65535, 0)


def test_the_names_of_maps_choose_no_folder(tmp_path: Path) -> None:
    """A bundle from elsewhere says what its outputs are called."""
    from mahtrt.runtime.map_files import names_in_files, write_maps

    names = ("x/../../evil", "x_.._.._evil", "c:\\heat", "h" * 300)
    parts = ("x_______evil", "x_______evil_2", "c__heat", "h" * 64)
    assert names_in_files(names) == dict(zip(names, parts, strict=True))
    values = np.zeros((1, 16, 24), np.float32)
    found = Landmarks(*(np.empty((0, 2), np.float32), *(np.empty(0, np.float32),) * 2), ())
    maps = dict.fromkeys(names, values)
    found = replace(found, maps=maps, placement=STILL, input_size=(16, 24))
    write_maps(tmp_path / "in" / "maps", "a", found, (16, 24))
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert sorted(each.name for each in files) == sorted(f"a.{part}.png" for part in parts)
    assert {each.parent for each in files} == {tmp_path / "in" / "maps"}


def test_no_two_maps_have_the_same_file(tmp_path: Path) -> None:
    """Neither a channel of one and another, nor a map and an overlay, nor maps of two images."""
    from mahtrt.runtime.map_files import names_in_files, write_maps

    names = ("m", "m-0", "m-1-1", "n-0", "n", "overlay", "a.b", "b")
    parts = ("m", "m-0_2", "m-1-1", "n-0", "n_2", "overlay_2", "a_b", "b")
    assert names_in_files(names) == dict(zip(names, parts, strict=True))
    values = np.zeros((2, 16, 24), np.float32)
    found = Landmarks(*(np.empty((0, 2), np.float32), *(np.empty(0, np.float32),) * 2), ())
    maps = {name: values[:1] if name in ("m-0", "b") else values for name in names}
    found = replace(found, maps=maps, placement=STILL, input_size=(16, 24))
    for stem in ("1", "1.a"):
        write_maps(tmp_path, stem, found, (16, 24))
    assert len(list(tmp_path.iterdir())) == 2 * sum(len(each) for each in maps.values())


def test_an_overlay_tints_the_picture_where_the_map_is_high() -> None:
    values = np.zeros((1, 600, 600), np.float32)
    values[0, :300] = 1.0
    empty = np.empty(0, np.float32)
    found = Landmarks(
        empty.reshape(0, 2),
        empty,
        empty,
        (),
        maps={"change": values},
        placement=STILL,
        input_size=(600, 600),
    )
    picture = np.asarray(draw_overlay(np.full((600, 600), 100, np.uint8), found))
    assert (picture[310:] == 100).all()
    red, _, blue = picture[10, 10]
    assert red > 180 > blue
    assert Image.fromarray(picture).size == (600, 600)


def test_a_landmark_that_is_not_visible_has_a_gray_cross() -> None:
    points = np.array([[100, 300], [400, 300]], np.float32)
    spread = np.full(2, 30, np.float32)
    found = Landmarks(points, spread, spread, ("a", "b"), visibility=np.array([0.9, 0.1], "f"))
    picture = np.asarray(draw_overlay(np.zeros((600, 600), np.uint8), found))
    assert tuple(picture[300, 100]) == (255, 214, 10)
    assert tuple(picture[300, 400]) == (150, 150, 150)
    blue = np.argwhere((picture == (90, 200, 250)).all(-1))
    assert blue[:, 1].max() < 200
