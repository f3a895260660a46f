"""An archive becomes a data set: every image a row, once, whatever happened on the way."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from archives import make_archive, rows_of, same_rows

import mahtrt
from mahtrt.data.images import read_image
from mahtrt.distributed.data_set import MANIFEST, WRITER
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.loading import Loader
from mahtrt.distributed.options import DatasetOptions, DatasetResult
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.errors import DataError, IntegrityError, MahtrtError, UsageError
from mahtrt.runtime.session import Session


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive")


@pytest.fixture
def options(tiny_bundle: Path, archive: Path, tmp_path: Path) -> DatasetOptions:
    return DatasetOptions(
        tiny_bundle, [archive], tmp_path / "rows", engine="onnxruntime-fp32", files_per_part=3
    )


def test_rows_are_what_predict_gives(options: DatasetOptions, archive: Path) -> None:
    written = predict_dataset(options)
    rows = rows_of(Path(options.out)).set_index("image")
    assert (written.rows, written.errors) == (len(rows), 1) == (11, 1)
    (bad,) = rows.index[rows["error"].notna()]
    assert bad == str(archive / "bad.png")
    assert rows.loc[bad, "error"] == "ImageError"
    found = mahtrt.predict(
        mahtrt.PredictOptions(options.bundle, [archive], engine=options.engine, skip_bad=True)
    )
    assert {each.image for each in found.predictions} == set(rows.index) - {bad}
    for each in found.predictions:
        row, landmarks = rows.loc[each.image], each.landmarks
        name = landmarks.names[0]
        assert [row[f"{name}_x"], row[f"{name}_y"]] == landmarks.points[0].tolist()
        assert row["spacing_source"] == each.extra["spacing_source"]
        if landmarks.spacing_mm:
            assert (row["spacing_row_mm"], row["spacing_column_mm"]) == landmarks.spacing_mm


def test_what_is_done_is_not_done_again(options: DatasetOptions, archive: Path) -> None:
    predict_dataset(options)
    out = Path(options.out)
    first = rows_of(out)
    removed = sorted(out.glob("part-*"))[0]
    removed.unlink()
    sorted(out.glob("part-*"))[0].write_bytes(b"cut off by a power failure")
    (archive / "s0" / "new.png").write_bytes((archive / "s1" / "1.png").read_bytes())
    again = predict_dataset(options)
    now = rows_of(out)
    assert again.done_before + again.rows >= 10
    assert 0 < again.rows < len(now)
    assert set(now["image"]) == {*first["image"], str(archive / "s0" / "new.png")}
    assert now["image"].is_unique
    assert predict_dataset(options).rows == 0


def test_parts_of_other_sizes_give_the_same_rows(options: DatasetOptions, tmp_path: Path) -> None:
    predict_dataset(options)
    predict_dataset(replace(options, out=tmp_path / "other", files_per_part=100))
    assert same_rows(Path(options.out), tmp_path / "other")


@pytest.mark.parametrize("spoilt", [False, True])
def test_an_engine_of_a_batch_runs_images_together(
    options: DatasetOptions, tiny_batch_bundle: Path, monkeypatch: pytest.MonkeyPatch, spoilt: bool
) -> None:
    """Four at a time, also across files that give no row; one that fails does not take others."""
    singly, sizes = Session.run, list[int]()

    def run_batch(session: Session, images: Any, **named: Any) -> Any:
        sizes.append(len(images))
        if spoilt:
            raise RuntimeError("one of them")
        return together(session, images, **named)

    together = Session.run_batch
    monkeypatch.setattr(Session, "run_batch", run_batch)
    four = replace(options, bundle=tiny_batch_bundle, engine=None, files_per_part=100)
    written = predict_dataset(four)
    assert (written.rows, written.errors) == (11, 1)
    assert sizes == [4, 4, 2]
    rows = rows_of(Path(four.out)).set_index("image")
    with mahtrt.open(tiny_batch_bundle) as session:
        for place in sorted(Path(four.archives[0]).rglob("*.png")):
            if place.name == "bad.png":
                continue
            found = singly(session, read_image(place).pixels)
            name = found.names[0]
            point = rows.loc[str(place), [f"{name}_x", f"{name}_y"]].astype(float)
            np.testing.assert_allclose(point, found.points[0], atol=1e-3)


def test_files_are_decoded_while_the_engine_runs(
    options: DatasetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more than one thread, and with the rows of one."""
    predict_dataset(replace(options, threads=1, files_per_part=100))
    loading, running = set[str](), set[str]()
    load, run = Loader.load, Session.run

    def load_and_note(loader: Loader, listed: ListedFile) -> Any:
        loading.add(threading.current_thread().name)
        return load(loader, listed)

    def run_and_note(session: Session, *args: Any, **named: Any) -> Any:
        running.add(threading.current_thread().name)
        return run(session, *args, **named)

    monkeypatch.setattr(Loader, "load", load_and_note)
    monkeypatch.setattr(Session, "run", run_and_note)
    several = replace(options, threads=3, files_per_part=100, out=tmp_path / "several")
    predict_dataset(several)
    assert len(loading) > 1
    assert loading.isdisjoint(running)
    assert same_rows(Path(options.out), tmp_path / "several")


@pytest.mark.parametrize("change", [{"engine": "openvino-fp32"}, {"spacing_mm": 0.1}])
def test_a_data_set_of_another_run_is_refused(
    options: DatasetOptions, change: dict[str, object]
) -> None:
    predict_dataset(options)
    with pytest.raises(DataError, match="results of another run") as caught:
        predict_dataset(replace(options, **change))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_folder_of_other_files_is_refused(options: DatasetOptions) -> None:
    Path(options.out).mkdir()
    (Path(options.out) / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"thesis\.tex"):
        predict_dataset(options)


def test_a_writer_that_was_left_behind_writes_no_more(options: DatasetOptions) -> None:
    seen = []

    def another_begins(stage: str, done: int, total: int, detail: str = "") -> None:
        seen.append(done)
        if done == 3:
            (Path(options.out) / WRITER).write_text(json.dumps({"writer": "another"}))

    with pytest.raises(IntegrityError, match="another run"):
        predict_dataset(options, another_begins)
    assert seen[-1] == 3


def test_a_store_gives_the_rows_that_files_give(options: DatasetOptions, archive: Path) -> None:
    store = fsspec.filesystem("memory")
    for file in archive.rglob("*"):
        if file.is_file():
            store.pipe_file(f"/shelf/{file.relative_to(archive).as_posix()}", file.read_bytes())
    predict_dataset(options)
    out = "memory://rows"
    written = predict_dataset(
        replace(options, archives=["memory://shelf"], out=out, overlay="memory://drawn")
    )
    rows = rows_of(Path(options.out))
    assert (written.rows, written.errors) == (11, 1)
    names = {
        name.removeprefix("memory://shelf/")
        for part in store.glob("/rows/part-*")
        for name in _column(store.cat_file(part), "image")
    }
    assert names == {Path(name).relative_to(archive).as_posix() for name in rows["image"]}
    assert len(store.glob("/drawn/*.png")) == 10
    again = predict_dataset(replace(options, archives=[Path("memory://shelf")], out=out))
    assert (again.rows, again.done_before) == (0, 9)
    store.rm("/shelf", recursive=True)


def _column(content: bytes, name: str) -> list[str]:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(pyarrow.BufferReader(content))
    return list(table.column(name).to_pylist())


def test_a_list_names_files_from_its_folder(options: DatasetOptions, archive: Path) -> None:
    listed = archive / "list.csv"
    listed.write_text(
        f"file;note\ns0/0.png;a\n\n{archive / 's1' / '1.png'};b\nrun.dcm#2;\n0.png;\n"
    )
    written = predict_dataset(replace(options, archives=[listed, archive / "s0" / "0.png"]))
    rows = rows_of(Path(options.out))
    wanted = [archive / name for name in ("0.png", "run.dcm#2", "s0/0.png", "s1/1.png")]
    assert rows["image"].tolist() == [str(each) for each in wanted]
    assert (written.rows, written.errors) == (4, 1)  # there is no 0.png beside the list


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"archives": []}, DataError, "archive"),
        ({"archives": ["nowhere"]}, DataError, "nothing there"),
        ({"archives": ["s3://user:word@host/x"]}, UsageError, "a user in it"),
        ({"archives": ["nope://host/x"]}, UsageError, "the protocol nope"),
        ({"files_per_part": 0}, UsageError, "files_per_part"),
        ({"workers": 0}, UsageError, "workers"),
        ({"spacing_mm": -1.0}, UsageError, "spacing"),
        ({"out": "{archive}/bad.png"}, DataError, "a file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    options: DatasetOptions,
    archive: Path,
    change: dict[str, object],
    error: type[MahtrtError],
    match: str,
) -> None:
    if "out" in change:
        change = {"out": archive / "bad.png"}
    with pytest.raises(error, match=match):
        predict_dataset(replace(options, **change))  # type: ignore[arg-type]
    assert not (Path(options.out) / MANIFEST).exists() or "out" in change


def test_the_result_tells_its_rate() -> None:
    result = DatasetResult("rows", "net", "cpu", rows=10, errors=1, done_before=2, seconds=4.0)
    assert result.images_per_s == 2.5
    assert result.to_dict()["images_per_s"] == 2.5
    assert replace(result, seconds=0.0).images_per_s == 0.0
