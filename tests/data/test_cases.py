from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mahtrt.data.cases import cases_of_paths
from mahtrt.data.datasets import open_dataset
from mahtrt.errors import DataError, ImageError

PAIR = ("before", "after")
NAMES = ("1", "2", "10")


def draw(path: Path, value: int, size: tuple[int, int] = (12, 8)) -> None:
    """A gray image of (columns, rows) filled with a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs, of other endings in one folder than in the other, with maps."""
    root = tmp_path / "visits"
    for value, name in enumerate(NAMES):
        draw(root / "before" / f"{name}.png", value)
        draw(root / "after" / f"{name}.bmp", 100 + value)
        draw(root / "map" / f"{name}.png", 51 * value)
    return root


def test_a_folder_of_cases_is_paired_by_name(folder: Path) -> None:
    found = open_dataset(folder, inputs=PAIR)
    assert found.names == ("1.png", "2.png", "10.png")
    for value, sample in enumerate(found):
        assert [int(image[0, 0]) for image in sample.images] == [value, 100 + value]
        assert sample.target_map is not None
        assert (sample.target_map.shape, sample.target_map.dtype.name) == ((1, 8, 12), "float32")
        assert float(sample.target_map.max()) == pytest.approx(51 * value / 255)


def test_a_network_of_one_image_takes_a_folder_with_maps(folder: Path) -> None:
    (sample, *_) = open_dataset(folder, inputs=("before",))
    assert len(sample.images) == 1
    assert sample.target_map is not None
    assert len(open_dataset(folder)) == 9  # of another input name: a plain folder of images


def test_a_csv_of_cases_has_a_column_for_all_that_is_known(folder: Path) -> None:
    table = folder / "list.csv"
    rows = [
        "after,before,map,label:nodule,label:scar,x0,y0",
        "after/1.bmp,before/1.png,,1,,3,4",
        "after/2.bmp,before/2.png,map/2.png,0,1,,",
    ]
    table.write_text("\n".join(rows))
    first, second = open_dataset(table, inputs=PAIR)
    assert (first.name, second.name) == ("before/1.png", "before/2.png")
    assert [int(image[0, 0]) for image in second.images] == [1, 101]
    assert first.target_map is None
    assert second.target_map is not None
    assert first.labels is not None
    np.testing.assert_array_equal(first.labels, [1, np.nan])
    assert first.label_names == ("nodule", "scar")
    assert first.points_px is not None
    np.testing.assert_array_equal(first.points_px, [[3, 4]])
    assert second.points_px is not None
    assert np.isnan(second.points_px).all()


def test_labels_are_found_by_name(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("before,after,label:b,label:a,label:c\nbefore/1.png,after/1.bmp,1,0,")
    (sample,) = open_dataset(table, inputs=PAIR)
    np.testing.assert_array_equal(sample.labels_of(("a", "b")), [0, 1])
    np.testing.assert_array_equal(sample.labels_of(()), [1, 0, np.nan])
    with pytest.raises(DataError, match="got labels b, a, c; expected also d, which the network"):
        sample.labels_of(("a", "d"))


@pytest.mark.parametrize("first", ["x" * 200_000, ""], ids=["a cell of 200 KB", "an empty line"])
def test_a_first_line_that_is_no_header(tmp_path: Path, first: str) -> None:
    table = tmp_path / "cases.csv"
    table.write_text(f"{first}\na.png,b.png")
    for inputs in (PAIR, ("image",)):
        with pytest.raises(DataError, match=r"cases\.csv"):
            open_dataset(table, inputs=inputs)


def test_lines_may_end_as_on_an_old_mac(folder: Path) -> None:
    (folder / "list.csv").write_bytes(b"before,after\rbefore/1.png,after/1.bmp\r")
    assert len(open_dataset(folder / "list.csv", inputs=PAIR)) == 1
    (folder / "plain.csv").write_bytes(b"before/1.png,3,4\rbefore/2.png,5,6\r")
    assert len(open_dataset(folder / "plain.csv")) == 2


def test_what_a_user_names_to_predict(folder: Path) -> None:
    pairs = [folder / side / name for name in ("1", "2") for side in PAIR]
    files = [path.with_suffix(".png" if path.parent.name == "before" else ".bmp") for path in pairs]
    by_folders = cases_of_paths([folder / "before", folder / "after"], PAIR)
    assert [entry.others[0].name for entry in by_folders] == ["1.bmp", "2.bmp", "10.bmp"]
    assert cases_of_paths([folder / "after", folder / "before"], PAIR) == by_folders
    swapped = cases_of_paths([folder / "after", folder / "before"], ("first", "second"))
    assert swapped[0].path.name == "1.bmp"
    assert len(cases_of_paths([folder], PAIR)) == 3
    one_by_one = cases_of_paths(files, PAIR)
    assert [(entry.path, *entry.others) for entry in one_by_one] == [
        (files[0], files[1]),
        (files[2], files[3]),
    ]
    with pytest.raises(DataError, match=r"got 3 path\(s\); expected the images of a case"):
        cases_of_paths(files[:3], PAIR)
    with pytest.raises(DataError, match=r"got 4 path\(s\)"):
        cases_of_paths([folder, *files[:3]], PAIR)


def test_folders_of_other_images_do_not_pair(folder: Path) -> None:
    (folder / "after" / "2.bmp").unlink()
    message = r"after: got 3 image\(s\) in before and 2 in after; after lacks 2; expected images"
    with pytest.raises(DataError, match=message):
        open_dataset(folder, inputs=PAIR)
    draw(folder / "before" / "1.bmp", 3)
    with pytest.raises(DataError, match=r"got 1\.(png and 1\.bmp|bmp and 1\.png); expected one"):
        open_dataset(folder, inputs=PAIR)


def test_a_folder_without_an_input_says_which(folder: Path) -> None:
    with pytest.raises(DataError, match="got no folder 'later'; expected folders before, later"):
        open_dataset(folder, inputs=("before", "later"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("before,map\na.png,b.png", "got no column 'after'; expected a header with before, after"),
        ("before,after,after\n1,2,3", "got twice 'after'"),
        ("before,after,age\n1,2,3", "got an unknown column 'age'"),
        ("before,after,label: \n1,2,1", "got a label without a name, 'label:'"),
        ("before,after\n1", "row 2: got 1 cells; expected 2, as the header has"),
        ("before,after", "got no rows"),
        ("before,after,x0\na,b,1", "columns x0; expected x and y of each point"),
        ("before,after,x1,y1\na,b,1,2", "columns x1, y1"),
        ("before,after,x0,y0\na,b,1,up", "row 2: got 'up'; expected a number"),
        ("before,after,label:a\na,b,2", "row 2, label:a: got '2'; expected 1, 0, or nothing"),
        ("before,after\n,b", "row 2: got ''; expected the name of an image"),
        ("before,after\na.png,b.png", r"got no image a\.png \(1 of 1 missing\)"),
    ],
)
def test_a_csv_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "cases.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(table, inputs=PAIR)


def test_a_map_of_another_size_is_refused(folder: Path) -> None:
    draw(folder / "map" / "1.png", 0, (8, 8))
    data = open_dataset(folder, inputs=PAIR)
    with pytest.raises(ImageError, match=r"map/1\.png: got shape \(8, 8\); expected .* 12x8"):
        _ = data[0]
    assert open_dataset(folder, inputs=PAIR, skip_bad=True).names == ("2.png", "10.png")


def test_other_kinds_of_data_hold_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match="expected a folder with folders before, after, or a CSV"):
        open_dataset(tmp_path / "a.json", inputs=PAIR)
