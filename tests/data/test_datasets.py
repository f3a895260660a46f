from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mahtrt.data.datasets import open_dataset, read_spacing_file
from mahtrt.data.file_dataset import FileDataset
from mahtrt.errors import DataError, ImageError


@pytest.fixture
def csv(folder: Path) -> Path:
    path = folder.parent / "points.csv"
    path.write_text("file,x0,y0,x1,y1,x2,y2\n1.png,1,2,3,4,5,6\n2.png,7,8,9,10,,\n")
    return path


def test_folder(folder: Path, picture: np.ndarray) -> None:
    dataset = open_dataset(folder)
    assert len(dataset) == 4
    assert dataset.source == str(folder)
    assert [sample.name for sample in dataset] == list(dataset.names)
    assert np.array_equal(dataset[2].image, picture)
    assert dataset[0].points_px is None
    assert dataset[0].spacing_mm is None
    assert open_dataset(str(folder), limit=2).names == ("1.png", "2.png")


def test_images_are_decoded_on_use_only(folder: Path) -> None:
    dataset = open_dataset(folder)
    (folder / "2.png").write_bytes(b"gone bad")
    assert dataset[0].image.shape == (40, 60)
    with pytest.raises(ImageError, match=r"2\.png"):
        dataset[1]


def test_skip_bad_names_what_it_left_out(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no image")
    dataset = open_dataset(folder, skip_bad=True)
    assert isinstance(dataset, FileDataset)
    assert dataset.names == ("1.png", "10.png", "sub/3.png")
    assert dataset.skipped == ("2.png",)
    limited = open_dataset(folder, skip_bad=True, limit=2)
    assert limited.names == ("1.png", "10.png")


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 images of which none can be read"):
        open_dataset(tmp_path, skip_bad=True)


def test_points_select_and_reorder(csv: Path) -> None:
    dataset = open_dataset(csv, points=[2, 0])
    points = dataset[0].points_px
    assert points is not None
    assert points.tolist() == [[5, 6], [1, 2]]
    second = dataset[1].points_px
    assert second is not None
    assert np.isnan(second[0]).all()


@pytest.mark.parametrize(("points", "message"), [([3], "point 3"), ([-1], "-1"), ([], "empty")])
def test_points_out_of_range(csv: Path, points: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(csv, points=points)


def test_points_of_a_folder(folder: Path) -> None:
    with pytest.raises(DataError, match="no annotations"):
        open_dataset(folder, points=[0])


def test_missing_images_of_a_csv(csv: Path) -> None:
    csv.write_text("1.png,1,2\nlost.png,1,2\n")
    with pytest.raises(DataError, match=r"no image lost\.png \(1 of 2 missing\)"):
        open_dataset(csv)
    dataset = open_dataset(csv, skip_bad=True)
    assert isinstance(dataset, FileDataset)
    assert dataset.skipped == ("lost.png",)


def test_spacing_argument_wins_over_the_sidecar(folder: Path, csv: Path) -> None:
    document = {"spacing_mm": 0.2, "images": {"2.png": [0.3, 0.1]}}
    for place in (folder, csv.parent):
        (place / "spacing.json").write_text(json.dumps(document))
    for source in (folder, csv):
        dataset = open_dataset(source)
        assert dataset[0].spacing_mm == (0.2, 0.2)
        assert dataset[1].spacing_mm == (0.3, 0.1)
        assert open_dataset(source, spacing_mm=0.5)[1].spacing_mm == (0.5, 0.5)


@pytest.mark.parametrize(
    "text", ["{", "0.1", '{"spacing": 1}', '{"spacing_mm": 0}', '{"spacing_mm": [1]}',
             '{"images": 1}', '{"images": {"a": "b"}}', '{"spacing_mm": true}']
)  # fmt: skip
def test_spacing_file_of_another_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "spacing.json").write_text(text)
    with pytest.raises(DataError, match=r"spacing\.json"):
        read_spacing_file(tmp_path / "spacing.json")


@pytest.mark.parametrize(
    ("source", "count", "name"),
    [
        ("phantom", 64, "phantom-0-0"),
        ("phantom:5", 5, "phantom-0-0"),
        ("phantom:5@9", 5, "phantom-9-0"),
    ],
)
def test_phantom(source: str, count: int, name: str) -> None:
    dataset = open_dataset(source)
    assert (len(dataset), dataset.names[0]) == (count, name)
    assert len(open_dataset(source, limit=3)) == 3


def test_phantom_points_and_spacing() -> None:
    every, two = open_dataset("phantom:1")[0], open_dataset("phantom:1", points=[5, 1])[0]
    assert every.points_px is not None
    assert np.array_equal(two.points_px, every.points_px[[5, 1]])  # type: ignore[arg-type]
    assert every.spacing_mm == two.spacing_mm
    with pytest.raises(DataError, match="phantoms know theirs"):
        open_dataset("phantom", spacing_mm=0.1)
    with pytest.raises(DataError, match="0 phantoms"):
        open_dataset("phantom:0")


def test_other_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing there.*Check the path"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="nothing there"):
        open_dataset("phantom:many")
    (tmp_path / "a.xml").write_text("")
    with pytest.raises(DataError, match=r"ending in '\.xml'"):
        open_dataset(tmp_path / "a.xml")


@pytest.mark.parametrize(("limit", "spacing"), [(0, None), (None, 0.0), (None, float("nan"))])
def test_options_out_of_range(folder: Path, limit: int | None, spacing: float | None) -> None:
    with pytest.raises(DataError):
        open_dataset(folder, limit=limit, spacing_mm=spacing)


def test_reading_data_loads_no_torch() -> None:
    code = (
        "import sys, mahtrt.data.datasets as d, mahtrt.data.preprocess, mahtrt.spec;"
        "d.open_dataset('phantom:1')[0];"
        "print([m for m in ('torch', 'onnx', 'pydicom', 'openvino') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
