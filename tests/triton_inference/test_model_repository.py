"""A model repository: what is put in, what is refused, and nothing half of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mahtrt import files
from mahtrt.atomic import move_into_place
from mahtrt.cli import app
from mahtrt.errors import DataError, IntegrityError, MahtrtError, UsageError
from mahtrt.triton.export import export_triton
from mahtrt.triton.options import TritonOptions
from mahtrt.verbs.export_triton import ExportTritonArguments


def tree(folder: Path) -> set[str]:
    return {place.relative_to(folder).as_posix() for place in folder.rglob("*")}


def names(repository: Path) -> set[str]:
    return {place.name for place in repository.iterdir()}


@pytest.fixture
def out(models: Path, tmp_path: Path) -> Path:
    """A repository with two models, to be changed."""
    for name in ("tiny", "onnx", "onnx_prepare", "onnx_network", "onnx_decode"):
        shutil.copytree(models / name, tmp_path / "models" / name)
    return tmp_path / "models"


def test_the_name_is_the_bundle_s(tiny_bundle: Path, tmp_path: Path) -> None:
    odd = tmp_path / "ä b.mahtrt"
    shutil.copytree(tiny_bundle, odd)
    result = export_triton(TritonOptions(odd, tmp_path / "models", engine="openvino"))
    assert (result.model, result.models) == ("b", ("b",))
    assert names(tmp_path / "models") == {"b"}
    assert result.to_dict()["schema"] == "mahtrt.export-triton/1"


def test_the_readme_says_what_can_be_installed(models: Path) -> None:
    """The extra dicom asks for packages that want numpy 2; Triton's wheel wants numpy 1."""
    told = (models / "tiny" / "README.md").read_text()
    assert "pip install 'mahtrt[dicom]'" in told
    (line,) = (line for line in told.splitlines() if "numpy<2" in line)
    assert "pip install 'numpy<2' mahtrt 'pydicom>=3' imagecodecs" in line


def test_a_version_joins_those_that_are_there(out: Path, tiny_bundle: Path) -> None:
    before = tree(out / "tiny/1")
    export_triton(TritonOptions(tiny_bundle, out, name="tiny", version=7, engine="openvino"))
    assert tree(out / "tiny/1") == before == tree(out / "tiny/7")


def test_a_version_of_another_configuration_is_refused(out: Path, tiny_bundle: Path) -> None:
    for options in (
        TritonOptions(tiny_bundle, out, name="tiny", version=2, engine="openvino", instances=2),
        TritonOptions(tiny_bundle, out, name="onnx", version=2, backend="onnx"),
        TritonOptions(tiny_bundle, out, name="tiny", version=2, backend="onnx"),
    ):
        before = tree(out)
        with pytest.raises(UsageError, match="another configuration"):
            export_triton(options)
        assert tree(out) == before


def test_another_backend_takes_the_parts_of_the_old_one_along(out: Path, tiny_bundle: Path) -> None:
    export_triton(TritonOptions(tiny_bundle, out, name="onnx", engine="openvino"))
    assert names(out) == {"onnx", "tiny"}
    export_triton(TritonOptions(tiny_bundle, out, name="onnx", backend="openvino"))
    assert names(out) == {"tiny", "onnx", "onnx_prepare", "onnx_network", "onnx_decode"}


def test_models_of_others_stay(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    (out / "theirs/1").mkdir(parents=True)
    (out / "theirs/config.pbtxt").write_text('name: "theirs"\n', "utf-8")
    (out / "notes.txt").write_text("mine\n", "utf-8")
    export_triton(TritonOptions(tiny_bundle, out, name="tiny", engine="openvino"))
    assert names(out) == {"theirs", "tiny", "notes.txt"}
    with pytest.raises(UsageError, match="a model that mahtrt did not write"):
        export_triton(TritonOptions(tiny_bundle, out, name="theirs"))


def test_a_part_of_another_model_is_no_free_name(out: Path, tiny_bundle: Path) -> None:
    with pytest.raises(UsageError, match="a part of model onnx"):
        export_triton(TritonOptions(tiny_bundle, out, name="onnx_prepare"))


def test_a_folder_of_something_else_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    (photographs / "2026").mkdir(parents=True)
    (photographs / "2026/a.jpg").write_bytes(b"x")
    folder = tmp_path / "files"
    folder.mkdir()
    file = folder / "file"
    file.write_bytes(b"x")
    for place in (photographs, folder, file):
        with pytest.raises(UsageError, match="model repository"):
            export_triton(TritonOptions(tiny_bundle, place))
    assert tree(photographs) == {"2026", "2026/a.jpg"}
    with pytest.raises(UsageError, match="the bundle itself"):
        export_triton(TritonOptions(tiny_bundle, tiny_bundle / "models"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"backend": "torch"}, "--backend"),
        ({"name": "a/b"}, "--name"),
        ({"name": ""}, "--name"),
        ({"version": 0}, "--model-version"),
        ({"instances": 0}, "--instances"),
        ({"threads": 0}, "--threads"),
        ({"max_batch": 0}, "--max-batch"),
        ({"queue_delay_us": -1}, "--queue-delay-us"),
        ({"backend": "onnx", "max_batch": 2}, "the engine's batch is fixed"),
        ({"backend": "tensorrt"}, "tensorrt"),
        ({"backend": "onnx", "engine": "openvino"}, "an engine of target openvino"),
        ({"engine": "nothing"}, "no such engine"),
    ],
)
def test_what_cannot_be_is_refused(
    tiny_bundle: Path, tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    options = TritonOptions(tiny_bundle, tmp_path / "models", **changed)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=told):
        export_triton(options)
    assert not (tmp_path / "models").exists()


def test_a_bundle_that_is_damaged_or_missing_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        export_triton(TritonOptions(tmp_path / "no.mahtrt", tmp_path / "models"))
    bundle = tmp_path / "b.mahtrt"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "more.bin").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="more"):
        export_triton(TritonOptions(bundle, tmp_path / "models"))
    assert names(tmp_path) == {"b.mahtrt"}


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_write_that_fails_leaves_what_was_there(
    out: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The fourth of the four models of an ensemble is the last that can fail."""

    def content() -> dict[str, bytes]:
        return {name: (out / name).read_bytes() for name in tree(out) if (out / name).is_file()}

    before, calls = content(), list[Path]()

    def failing_move(new: Path, path: Path) -> bool:
        calls.append(path)
        if len(calls) == failing:
            raise OSError(28, "No space left on device", str(path))
        return move_into_place(new, path)

    monkeypatch.setattr("mahtrt.triton.repository.move_into_place", failing_move)
    with pytest.raises(MahtrtError):
        export_triton(TritonOptions(tiny_bundle, out, name="onnx", backend="openvino", instances=2))
    assert content() == before
    assert not [name for name in names(out.parent) if name.endswith(".tmp")]


def test_the_command_asks_for_what_python_does() -> None:
    here = Path("x")
    asked = ExportTritonArguments(bundle=here, out=here).options()
    assert asked == TritonOptions(here, here)


def test_copies_of_versions_keep_their_folders(tmp_path: Path) -> None:
    from mahtrt.triton.repository import copy_folder

    files.make_folders(tmp_path / "a/b")
    files.write_bytes(tmp_path / "a/b/c", b"x")
    copy_folder(tmp_path / "a", tmp_path / "z")
    assert tree(tmp_path / "z") == {"b", "b/c"}


def test_the_command_writes_its_document(tiny_bundle: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "models")
    asked = ["export-triton", str(tiny_bundle), f"--out={out}", "--backend=onnx", "--name=net"]
    result = CliRunner().invoke(app, [*asked, "--json=-"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    parts = ["net", "net_decode", "net_network", "net_prepare"]
    assert (document["schema"], document["models"]) == ("mahtrt.export-triton/1", parts)
    refused = CliRunner().invoke(app, [*asked, "--model-version=2"])
    assert refused.exit_code == 2
    assert "another configuration" in refused.stderr
