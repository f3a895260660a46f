"""The user's file of predictions: its three forms, and what is refused with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mahtrt.errors import DataError
from mahtrt.runtime.expectation.matching import matched
from mahtrt.runtime.expectation.predictions import Predictions, read_predictions
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.results import Prediction, csv_from_predictions

NAMES = ("Sella", "a point")
POINTS = np.array([[1.5, 2.5], [30.25, 40.0]])


def _written(tmp_path: Path, text: str) -> Path:
    place = tmp_path / "p.csv"
    place.write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("text", "has_names"),
    [
        ("a.png,1.5,2.5,30.25,40\n", False),
        ("file,x0,y0,x1,y1\na.png,1.5,2.5,30.25,40\n", False),
        ("file;x1;x2;y1;y2\na.png;1.5;30.25;2.5;40\n", False),
        ("image,score,A_point_x,a-point_y,sella_x,SELLA_Y\na.png,0.9,30.25,40,1.5,2.5\n", True),
        (",file,sella_x,sella_y,a_point_x,a_point_y\n0,a.png,1.5,2.5,30.25,40\n", True),
        ("patient,file,x0,y0,x1,y1\n7,a.png,1.5,2.5,30.25,40\n", False),
        ("image,landmark,x,y\na.png,a point,30.25,40\na.png,sella,1.5,2.5\n", True),
        (
            "image,landmark,x,y,label\na.png,,,,big\n"
            "a.png,sella,1.5,2.5,\na.png,a_point,30.25,40,\n",
            True,
        ),
    ],
)
def test_forms(tmp_path: Path, text: str, has_names: bool) -> None:
    found = read_predictions(_written(tmp_path, text), NAMES)
    assert found.has_names == has_names
    np.testing.assert_array_equal(found.points["a.png"], POINTS)


def test_what_predict_writes_is_read(tmp_path: Path) -> None:
    unknown = np.full(2, np.nan, np.float32)
    landmarks = Landmarks(POINTS.astype(np.float32), unknown, unknown, NAMES, (0.1, 0.1))
    text = csv_from_predictions([Prediction("some/a.png", landmarks)])
    found = read_predictions(_written(tmp_path, text), NAMES)
    np.testing.assert_array_equal(found.points["some/a.png"], POINTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file; expected predictions"),
        ("file,x0,y0,x1,y1\n", "got no predictions; expected a row for each image"),
        ("file,a,b,c,d\na.png,1,2,3,4\n", "got a header 'file,a,b,c,d'; expected file,x0,y0"),
        ("a.png,1,2,3\n", "got 3 coordinates per row; expected x and y"),
        ("a.png,1,2\n", "got 1 landmarks; expected 2, the network's: Sella, a point"),
        ("file,x0,y0,x1\na.png,1,2,3\n", "got one column for landmark 1; expected x and y"),
        ("file,x0,y0,x5,y5\na.png,1,2,3,4\n", "expected x0, y0 to x1, y1"),
        ("file,x0,y0,x0,y0\na.png,1,2,3,4\n", "got two columns 'x0'; expected one"),
        ("file,nose_x,nose_y,sella_x,sella_y\na.png,1,2,3,4\n", "got landmarks nose; expected 2"),
        ("a.png,1,2,3,4\na.png,1,2,3,4\n", "row 2: got 'a.png' again; expected a row for each"),
        ("a.png,1,2,3,4\nb.png,1,2,3\n", "row 2: got 4 cells; expected 5"),
        ("a.png,1,2,nan,4\n", "row 1: got 'nan'; expected a coordinate in image pixels"),
        ("a.png,1,2,,4\n", "row 1: got ''; expected a coordinate in image pixels"),
        ("a.png,1,2,inf,4\n", "row 1: got 'inf'; expected a coordinate in image pixels"),
        ("a.png,1,2,1e9,4\n", "row 1: got '1e9'; expected a coordinate in image pixels"),
        ("a.png,1,2,left,4\n", "row 1: got 'left'; expected a coordinate in image pixels"),
        ("image,landmark,x,y\na.png,sella,1,2\n", "got no a point for a.png; expected the network"),
        ("image,landmark,x,y\na.png,nose,1,2\n", "row 2: got landmark 'nose'; expected one of"),
        (
            "image,landmark,x,y\na.png,sella,1,2\na.png,sella,1,2\n",
            "row 3: got Sella twice; expected once for each image",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as refused:
        read_predictions(_written(tmp_path, text), NAMES)
    told = str(refused.value)
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("rows", "images"),
    [
        (("b.png", "a.png"), ("a.png", "b.png")),
        (("/home/me/x/b.png", "/home/me/x/a.png"), ("a.png", "b.png")),
        (("two/1.png", "one/1.png"), ("data/one/1.png", "data/two/1.png")),
        (("C:\\me\\b.jpg", "C:\\me\\a.jpg"), ("a.dcm", "b.dcm")),
    ],
)
def test_rows_find_their_images(rows: tuple[str, ...], images: tuple[str, ...]) -> None:
    points = {name: np.full((1, 2), row, float) for row, name in enumerate(rows)}
    found = matched(Predictions("p.csv", points, has_names=False), images)
    assert [float(each[0, 0]) for each in found] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("rows", "images", "message"),
    [
        (("a.png",), ("a.png", "b.png"), "1 image(s) where DATA has 2; no row for b.png"),
        (("a.png", "c.png"), ("a.png", "b.png"), "rows for c.png, which DATA lacks"),
        (("x/1.png", "y/1.png"), ("p/1.png", "q/1.png"), "names that fit several images"),
    ],
)
def test_other_images_are_refused(
    rows: tuple[str, ...], images: tuple[str, ...], message: str
) -> None:
    predictions = Predictions("p.csv", dict.fromkeys(rows, POINTS), has_names=False)
    with pytest.raises(DataError) as refused:
        matched(predictions, images)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
