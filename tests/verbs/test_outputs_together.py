"""The outputs of one command appear together, or not at all."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from foreign_network import run
from PIL import Image
from tiny_bundle import write_tiny

from mahtrt import files
from mahtrt.atomic import together, write_text_atomic
from mahtrt.errors import BuildError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return write_tiny(tmp_path / "given/a.mahtrt")


def picture(bundle: Path, name: bytes = b"a.png") -> Path:
    place = bundle.parent / os.fsdecode(name)
    Image.new("L", (40, 50), 100).save(place)
    return place


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, and what is in it."""
    places = sorted(place for place in folder.rglob("*") if place.is_file())
    return {place.relative_to(folder).as_posix(): place.read_bytes() for place in places}


def predict(bundle: Path, out: Path, *images: Path) -> int:
    options = (f"--json={out}/a.json", f"--csv={out}/a.csv", f"--overlay={out}/drawn")
    return run("predict", bundle, *images, *options, "--threads=1").exit_code


def test_a_name_that_is_no_text_loses_no_results(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(bundle, out, picture(bundle, b"caf\xe9.png"), picture(bundle)) == 0
    document = json.loads((out / "a.json").read_bytes())
    shown = bundle.parent.as_posix() + "/caf\\xe9.png"
    assert document["images"][0]["image"] == shown
    assert document["images"][0]["overlay"].endswith("/drawn/caf\\xe9.overlay.png")
    with (out / "a.csv").open(encoding="utf-8", newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {
            shown,
            str(bundle.parent / "a.png"),
        }
    assert sorted(map(os.fsencode, os.listdir(out / "drawn"))) == [
        b"a.overlay.png",
        b"caf\xe9.overlay.png",
    ]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "drawn/a.overlay.png"])
def test_one_output_that_fails_takes_none_or_leaves_all(
    bundle: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place in turn cannot be renamed to, first as a new file, then as an old one."""
    out, image = tmp_path / "out", picture(bundle)
    for before in ({}, {"drawn/a.overlay.png": b"old", "a.json": b"old", "a.csv": b"old"}):
        for place, content in before.items():
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            (out / place).write_bytes(content)
        with monkeypatch.context() as patch:
            refuse(patch, out / name)
            assert predict(bundle, out, image) == 1
        assert tree(out) == before
        assert not before or sorted(p.name for p in out.iterdir()) == ["a.csv", "a.json", "drawn"]
        assert before or not out.exists()


def refuse(patch: pytest.MonkeyPatch, place: Path) -> None:
    """No rename to a place succeeds."""
    honest = files.call

    def call(function: object, *arguments: object) -> object:
        if len(arguments) == 2 and Path(str(arguments[1])) == place:
            raise PermissionError(13, "Permission denied", str(place))
        return honest(function, *arguments)  # type: ignore[arg-type]

    patch.setattr(files, "call", call)


def write_all(places: list[Path]) -> None:
    before = {place.read_text() for place in places}
    with together():
        for place in places:
            write_text_atomic(place, "new")
        assert {place.read_text() for place in places} == before


def test_without_an_exchange_the_old_files_come_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "exchange", lambda first, second: False)
    places = [tmp_path / name for name in "abc"]
    for place in places:
        place.write_text("old")
    with monkeypatch.context() as patch:
        refuse(patch, places[2])
        with pytest.raises(BuildError, match=f"writing {places[2]}"):
            write_all(places)
    assert {place.read_text() for place in tmp_path.iterdir()} == {"old"}
    write_all(places)
    assert {place.read_text() for place in tmp_path.iterdir()} == {"new"}


def test_many_images_tell_how_far_they_are(bundle: Path) -> None:
    result = run("predict", bundle, picture(bundle), "--json=-", "--threads=1")
    assert "predicting" in result.stderr
    json.loads(result.stdout)
