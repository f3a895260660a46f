from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mahtrt.data.coco import read_coco
from mahtrt.data.datasets import open_dataset
from mahtrt.data.file_dataset import natural_key
from mahtrt.data.readers import is_isbi_tree, read_csv, read_folder, read_isbi
from mahtrt.errors import DataError


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.arange(16, dtype=np.uint8), (16, 1))).save(path)


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_folder_is_recursive_naturally_sorted_and_only_images(folder: Path) -> None:
    entries = read_folder(folder)
    assert [entry.name for entry in entries] == ["1.png", "2.png", "10.png", "sub/3.png"]
    assert all(entry.path.is_file() and entry.points_px is None for entry in entries)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "a.txt", "")
    with pytest.raises(DataError, match="without images"):
        read_folder(tmp_path)


@given(st.lists(st.text(alphabet="ab10.²", max_size=6)))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(backwards, key=natural_key) == sorted(names, key=natural_key)


def test_natural_order_by_number() -> None:
    names = ["img10", "img9", "img1b", "img1"]
    assert sorted(names, key=natural_key) == ["img1", "img1b", "img9", "img10"]


@pytest.mark.parametrize("place", ["", "points", "images"])
def test_csv_finds_images_beside_in_its_stem_and_in_images(tmp_path: Path, place: str) -> None:
    draw(tmp_path / place / "a.png")
    (entry,) = read_csv(table(tmp_path / "points.csv", ",0,1\na.png,3,4.5\n"))
    assert entry.path == tmp_path / place / "a.png"
    assert entry.points_px is not None
    assert entry.points_px.tolist() == [[3, 4.5]]
    assert entry.points_px.dtype == np.float32


@pytest.mark.parametrize("header", ["", "name,x0,y0\n", ",0,1\n", "\ufefffile,x0,y0\n"])
def test_csv_with_and_without_header(tmp_path: Path, header: str) -> None:
    entries = read_csv(table(tmp_path / "p.csv", header + "a.png,1,2\nb.JPG,3,4\n\n"))
    assert [entry.name for entry in entries] == ["a.png", "b.JPG"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiters_and_missing_points(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["a.png", "1", "2", "", "4", "nan", "nan"])
    (entry,) = read_csv(table(tmp_path / "p.csv", text))
    assert entry.points_px is not None
    assert entry.points_px[0].tolist() == [1, 2]
    assert np.isnan(entry.points_px[1:]).all()  # half a point is no point


def test_csv_of_names_only_and_names_that_come_again(tmp_path: Path) -> None:
    entries = read_csv(table(tmp_path / "p.csv", "a.png\nb.png\na.png\n"))
    assert [entry.name for entry in entries] == ["a.png", "b.png", "a.png#2"]
    assert entries[0].points_px is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,1,2\nb.png,1\n", r"p\.csv row 2: got 2 cells; expected 3"),
        ("n,x0,y0\na.png,1,2\nb.png,1,2,3\n", r"row 3: got 4 cells"),
        ("a.png,1,two\n", r"row 1: got 'two'; expected a coordinate"),
        ("a.png,1,inf\n", r"row 1: got inf; expected a coordinate"),
        ("a.png,1,2,3\n", r"got 3 coordinates per row; expected x and y"),
        ("name,x0,y0\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_csv_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(table(tmp_path / "p.csv", text))


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(tmp_path / "p.csv")


def isbi_tree(root: Path) -> Path:
    for number, part in ((1, "TrainingData"), (2, "TrainingData"), (151, "Test1Data")):
        draw(root / "RawImage" / part / f"{number:03}.bmp")
        for doctor, shift in (("400_junior", 0), ("400_senior", 4)):
            lines = [f"{number + i + shift},{100 + i}" for i in range(19)] + ["1", "2"]
            path = root / "AnnotationsByMD" / doctor / f"{number:03}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    return root


def test_isbi_tree_gives_the_mean_of_the_doctors(tmp_path: Path) -> None:
    root = isbi_tree(tmp_path)
    assert is_isbi_tree(root)
    entries = read_isbi(root)
    names = ["Test1Data/151.bmp", "TrainingData/001.bmp", "TrainingData/002.bmp"]
    assert [entry.name for entry in entries] == names
    points = entries[1].points_px
    assert points is not None
    assert points.shape == (19, 2)
    assert points[3].tolist() == [1 + 3 + 2, 103]
    assert entries[0].spacing_mm == (0.1, 0.1)


def test_isbi_one_image_folder(tmp_path: Path) -> None:
    part = isbi_tree(tmp_path) / "RawImage" / "Test1Data"
    assert is_isbi_tree(part)
    assert [entry.name for entry in read_isbi(part)] == ["151.bmp"]
    assert not is_isbi_tree(tmp_path / "AnnotationsByMD")


def test_isbi_damage_is_named(tmp_path: Path) -> None:
    root = isbi_tree(tmp_path)
    file = root / "AnnotationsByMD" / "400_junior" / "002.txt"
    file.write_text("1,2\n")
    with pytest.raises(DataError, match=r"002\.txt: got 1 and 19 points"):
        read_isbi(root)
    (root / "AnnotationsByMD" / "400_senior" / "002.txt").write_text("1,2\n")
    with pytest.raises(DataError, match=r"1 points for TrainingData/002\.bmp and 19"):
        read_isbi(root)
    file.write_text("1,x\n")
    with pytest.raises(DataError, match=r"002\.txt: got 'x'"):
        read_isbi(root)
    file.unlink()
    with pytest.raises(DataError, match=r"002\.txt"):
        read_isbi(root)


def coco(path: Path, annotations: list[dict[str, Any]], **extra: Any) -> Path:
    images = [{"id": 7, "file_name": "10.png"}, {"id": 3, "file_name": "9.png"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, **extra}))
    return path


def test_coco_takes_the_largest_annotation_and_marks_the_invisible(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "9.png")
    path = coco(
        tmp_path / "annotations.json",
        [
            {"id": 1, "image_id": 3, "keypoints": [1, 2, 2, 3, 4, 1], "area": 10},
            {"id": 2, "image_id": 3, "keypoints": [5, 6, 1, 0, 0, 0], "area": 99},
            {"id": 3, "image_id": 3, "keypoints": [0, 0, 0, 0, 0, 0], "area": 500},
            {"id": 4, "image_id": 7, "keypoints": [7, 8, 2, 9, 9, 2], "bbox": [0, 0, 5, 5]},
            {"id": 5, "image_id": 7, "keypoints": [1, 1, 2, 1, 1, 2], "bbox": [0, 0, 4, 4]},
            {"id": 6, "image_id": 99, "keypoints": [1, 1, 2, 1, 1, 2]},
        ],
    )
    first, second = read_coco(path)
    assert (first.name, second.name) == ("9.png", "10.png")
    assert first.path == tmp_path / "images" / "9.png"
    assert first.points_px is not None
    assert first.points_px[0].tolist() == [5, 6]
    assert np.isnan(first.points_px[1]).all()
    assert second.points_px is not None
    assert second.points_px.tolist() == [[7, 8], [9, 9]]
    assert first.visible is not None
    assert np.array_equal(first.visible, [0, np.nan], equal_nan=True)
    assert second.visible is not None
    assert second.visible.tolist() == [1, 1]


def test_visibility_goes_with_its_points(tmp_path: Path) -> None:
    draw(tmp_path / "9.png")
    keypoints = [5, 6, 1, 0, 0, 0, 7, 8, 2]
    path = coco(tmp_path / "a.json", [{"image_id": 3, "keypoints": keypoints}])
    sample = open_dataset(path, points=[2, 1, 0])[0]
    assert sample.points_px is not None
    assert sample.visible is not None
    assert sample.points_px[[0, 2]].tolist() == [[7, 8], [5, 6]]
    assert np.array_equal(sample.visible, [1, np.nan, 0], equal_nan=True)


def test_coco_leaves_out_images_without_keypoints(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", [{"image_id": 3, "keypoints": [1, 1, 2]}])
    assert [entry.name for entry in read_coco(path)] == ["9.png"]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([], "no keypoints"),
        ([{"image_id": 3, "keypoints": [1, 2]}], "2 keypoint values; expected x, y, v"),
        ([{"image_id": 3, "keypoints": ["a", 2, 2]}], "no numbers"),
        (
            [{"image_id": 3, "keypoints": [1, 2, 2]}, {"image_id": 7, "keypoints": [1, 2, 2] * 2}],
            "1 points for 9.png and 2 for 10.png",
        ),
    ],
)
def test_coco_refused(tmp_path: Path, annotations: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(coco(tmp_path / "a.json", annotations))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images": []}', '{"images": [1], "annotations": []}',
             '{"images": [{"id": 1}], "annotations": []}']
)  # fmt: skip
def test_json_of_another_kind(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"a\.json"):
        read_coco(table(tmp_path / "a.json", text))
