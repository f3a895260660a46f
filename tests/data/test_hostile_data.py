"""Folders, lists and annotations made to harm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import write_tiny

from mahtrt.data.coco import read_coco
from mahtrt.data.datasets import check_spacing, open_dataset, read_spacing_file
from mahtrt.data.readers import read_csv, read_folder
from mahtrt.errors import DataError, UsageError
from mahtrt.runtime.predict import PredictOptions, predict

NO_SPACINGS: list[Any] = [
    0,
    -0.1,
    float("nan"),
    float("inf"),
    1e-300,
    10**200,
    10**5000,
    True,
    "0.1",
    None,
]


def draw(path: Path) -> Path:
    Image.fromarray(np.tile(np.arange(16, dtype=np.uint8), (16, 1))).save(path)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_fifos_among_the_images_and_in_place_of_lists(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    for name in ("b.png", "c.csv", "d.json", "spacing.json"):
        os.mkfifo(tmp_path / name)
    assert [entry.name for entry in read_folder(tmp_path)] == ["a.png"]
    for name in ("c.csv", "d.json"):
        with pytest.raises(DataError, match="got a FIFO"):
            open_dataset(tmp_path / name)
    with pytest.raises(DataError, match=r"spacing\.json: got a FIFO"):
        open_dataset(tmp_path)
    (tmp_path / "e.csv").write_text("b.png,1,2\n")
    (tmp_path / "spacing.json").unlink()
    with pytest.raises(DataError, match=r"no image b\.png"):
        open_dataset(tmp_path / "e.csv")


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_named_like_a_spacing_file_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    image, place = draw(tmp_path / "a.png"), tmp_path / "spacing.json"
    bundle = write_tiny(tmp_path / "a.mahtrt")
    make = {"fifo": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("nothing")}
    make[kind](place)
    with pytest.raises(DataError, match=r"spacing\.json: got"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"spacing\.json: got"):
        predict(PredictOptions(bundle, [image]))


def test_links_in_circles_and_deep_folders_are_walked(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to("self.png")
    here, deep = os.getcwd(), 1500  # deeper than Python's stack
    try:
        os.chdir(tmp_path)
        for _ in range(deep):
            os.mkdir("d")
            os.chdir("d")
        assert [entry.name for entry in read_folder(tmp_path)] == ["a.png"]
        for _ in range(deep):
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a.png,"' + b"x" * 200_000 + b'"\n', "field larger than field limit"),
        (b"a.png,1\0,2\n", "NUL"),
        (b"a" * 5000 + b".png,1,2\n", "the name of an image file"),
        (b"a.png,1e300,2\n", "got 1e\\+300; expected a coordinate"),
        (b"a.png,inf,2\n", "got inf; expected a coordinate"),
        (b"a.png," + b"9" * 5000 + b",2\n", "got inf; expected a coordinate"),
    ],
)
def test_csv_cells_that_cannot_be(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "p.csv")


def test_a_list_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    for name in ("p.csv", "p.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(DataError, match=r"1099511627776 bytes, of at most"):
            open_dataset(tmp_path / name)


@pytest.mark.parametrize("content", ["a.png" + "," * 5_000_000, "\n" * 5_000_001, "\r" * 5_000_001])
def test_a_list_of_more_cells_than_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.csv").write_text(content, newline="")
    with pytest.raises(DataError, match=r"got 500000\d cells; expected at most 5000000"):
        read_csv(tmp_path / "p.csv")


def test_names_that_no_file_system_takes_are_missing_files(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("a" * 500 + ".png,1,2\n")
    with pytest.raises(DataError, match="no image aaa"):
        open_dataset(tmp_path / "p.csv")
    with pytest.raises(DataError, match="nothing there"):
        open_dataset("a" * 5000)


GOOD: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "annotations": [{"image_id": 1, "keypoints": [1, 2, 2], "area": 3}],
}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("images", "id"), [1]),
        (("images", "id"), {}),
        (("images", "id"), None),
        (("images", "file_name"), {"a": 1}),
        (("images", "file_name"), ""),
        (("images", "file_name"), "9" * 6000 + ".png"),
        (("annotations", "image_id"), [1]),
        (("annotations", "keypoints"), 7),
        (("annotations", "keypoints"), "abc"),
        (("annotations", "keypoints"), {"x": 1}),
        (("annotations", "keypoints"), [1e300, 2, 2]),
        (("annotations", "keypoints"), [[1, 2], [3]]),
        (("annotations", "area"), [1]),
        (("annotations", "area"), "wide"),
        (("annotations", "bbox"), [1]),
    ],
)
def test_coco_of_wrong_types(tmp_path: Path, place: tuple[str, str], value: Any) -> None:
    document = json.loads(json.dumps(GOOD))
    table, field = place
    document["annotations"].append(dict(document["annotations"][0]))
    document[table][0][field] = value
    if field == "bbox":
        del document["annotations"][0]["area"]
    (tmp_path / "p.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"p\.json"):
        read_coco(tmp_path / "p.json")


def test_coco_nested_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"images": ' + "[" * 200_000)
    with pytest.raises(DataError, match=r"p\.json"):
        read_coco(tmp_path / "p.json")


@pytest.mark.parametrize("value", NO_SPACINGS, ids=range(len(NO_SPACINGS)))
def test_a_spacing_that_cannot_be_is_refused_everywhere(tmp_path: Path, value: Any) -> None:
    draw(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"--spacing-mm.*a number from 1e-06 to 1e\+06"):
        check_spacing(value)
    if value is not None:
        with pytest.raises(DataError, match="--spacing-mm"):
            open_dataset(tmp_path, spacing_mm=value)
    if value == 10**5000:
        return  # which JSON is not written for
    for document in ({"images": {"a.png": value}}, {"images": {"a.png": [0.1, value]}}):
        (tmp_path / "spacing.json").write_text(json.dumps(document))
        with pytest.raises(DataError, match=r"spacing\.json"):
            read_spacing_file(tmp_path / "spacing.json")


@pytest.mark.parametrize(
    "source", ["phantom:" + "9" * 5000, "phantom:1000001", "phantom:1@" + "9" * 20]
)
def test_phantoms_without_an_end_are_refused(source: str) -> None:
    with pytest.raises(DataError):
        open_dataset(source)
