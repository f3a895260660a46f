"""A model repository on disk: models of ours are put in whole, and nothing else is touched.

The layout is that of Triton's user guide, "Model Repository": a folder for each model, with its
``config.pbtxt`` and a folder for each version. A model of ours has ``mahtrt-model.json`` besides,
which Triton does not read: only such a model is ever replaced.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt import files
from mahtrt.atomic import move_into_place, naming_place, scratch_beside
from mahtrt.errors import IntegrityError, UsageError
from mahtrt.interrupt import interrupt_later
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import check_schema, dataclass_from, plain

SCHEMA = "mahtrt.triton-model/1"
CONFIG_FILE, MARK_FILE = "config.pbtxt", "mahtrt-model.json"


@dataclass(frozen=True, slots=True)
class ModelMark:
    """What a model of ours says of itself.

    Attributes:
        part_of: The model that is asked for landmarks: itself, or the ensemble that it belongs to.
        backend: How it was exported: ``python``, ``onnx``, ``openvino`` or ``tensorrt``.
    """

    part_of: str
    backend: str
    schema: str = SCHEMA


class RepositoryWriter:
    """What :func:`write_models` gives: a folder for each new model."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def model(self, name: str, mark: ModelMark, config: str) -> Path:
        """A new model's folder, with its configuration and its mark."""
        folder = self.root / name
        files.make_folder(folder)
        files.write_text(folder / CONFIG_FILE, config)
        files.write_text(folder / MARK_FILE, json.dumps(plain(mark), indent=2) + "\n")
        return folder


@contextlib.contextmanager
def write_models(repository: Path, name: str, version: int) -> Iterator[RepositoryWriter]:
    """Models that appear in a repository, all of them, when the block ends well.

    Args:
        name: The model that is asked for landmarks. Its parts of an earlier export go.
        version: The version that is written; others that the model has stay where they were made
            for the same configuration.

    Raises:
        UsageError: The folder is no model repository, a model of that name is somebody else's, or
            its other versions were made for another configuration.
        BuildError: The disk is full, or the place cannot be written.
    """
    repository = Path(repository).resolve()
    old = _models_of(repository, name)
    with scratch_beside(repository) as scratch:
        new, gone = scratch / "models", scratch / "gone"
        for folder in (new, gone):
            files.make_folder(folder)
        yield RepositoryWriter(new)
        names = sorted(place.name for place in new.iterdir())
        for each in names:
            _check_free(repository / each, name)
        _keep_versions(repository, [*old], new, version)
        with naming_place(repository), interrupt_later():
            if not repository.exists():
                move_into_place(new, repository)
                return
            # The model that is asked comes last: its parts are there when Triton sees it.
            names.sort(key=lambda each: each == name)
            _swap(repository, names, new)
            for stale in sorted(set(old) - set(names)):
                files.rename(repository / stale, gone / stale)


def _swap(repository: Path, names: Sequence[str], new: Path) -> None:
    """Put models in their places; after an error, what was there is there again."""
    done: list[tuple[str, bool]] = []
    try:
        for each in names:
            was_there = move_into_place(new / each, repository / each)
            done.append((each, was_there))
    except BaseException:
        for each, was_there in reversed(done):
            with contextlib.suppress(OSError):
                if was_there:
                    move_into_place(new / each, repository / each)
                else:
                    files.rename(repository / each, new / each)
        raise


def check_repository(repository: Path, name: str) -> None:
    """Refuse a place for a model before long work; raises as :func:`write_models` does."""
    _models_of(Path(repository).resolve(), name)


def _models_of(repository: Path, name: str) -> list[str]:
    """Folders of a model of ours and of its parts; none where the repository is new or empty."""
    if not repository.exists():
        return []
    if not repository.is_dir():
        raise _no_repository(repository, "a file")
    folders = [p for p in sorted(repository.iterdir()) if p.is_dir() and p.name[0] != "."]
    if any(not _is_model(folder) for folder in folders):
        raise _no_repository(repository, "a folder that holds something else")
    if not folders and any(place.name[0] != "." for place in repository.iterdir()):
        raise _no_repository(repository, "a folder of files")
    _check_free(repository / name, name)
    return [each.name for each in folders if (mark := _mark(each)) and mark.part_of == name]


def _check_free(place: Path, name: str) -> None:
    if not place.exists():
        return
    mark = _mark(place)
    if mark is None or mark.part_of != name:
        owner = f"a part of model {mark.part_of}" if mark else "a model that mahtrt did not write"
        raise UsageError(
            str(place), got=owner, expected="a free name, or a model to replace",
            fix="Choose another --name.",
        )  # fmt: skip


def _no_repository(repository: Path, got: str) -> UsageError:
    expected = "a new or empty folder, or a model repository of Triton"
    return UsageError(str(repository), got=got, expected=expected, fix="Choose another --out.")


def _is_model(folder: Path) -> bool:
    if (folder / CONFIG_FILE).is_file():
        return True
    return any(place.is_dir() and place.name.isdigit() for place in folder.iterdir())


def _mark(folder: Path) -> ModelMark | None:
    """What a model of ours says of itself; None for a model of others."""
    place = folder / MARK_FILE
    if not place.is_file():
        return None
    data = read_json_file(place, Wanted("a mark of mahtrt export-triton", IntegrityError))
    schema = data.get("schema") if isinstance(data, dict) else None
    check_schema(str(schema), SCHEMA, str(place))
    return dataclass_from(ModelMark, data, str(place), error=IntegrityError)


def _keep_versions(repository: Path, old: Sequence[str], new: Path, version: int) -> None:
    """Copy the other versions of models that are about to be replaced.

    Raises:
        UsageError: They were made for another configuration, or are of an ensemble, whose steps
            name the version of each model once for all.
    """
    for each in old:
        before, after = repository / each, new / each
        others = [p for p in before.iterdir() if p.name.isdigit() and p.name != str(version)]
        if not others:
            continue
        mark = _mark(before)
        same = after.is_dir() and _config(before) == _config(after)
        if mark is None or mark.backend != "python" or not same:
            versions = ", ".join(sorted(place.name for place in others))
            raise UsageError(
                str(before),
                got=f"version {versions}, made for another configuration",
                expected="versions that Triton can read by one config.pbtxt",
                fix="Choose another --name, or the --model-version to replace.",
            )
        for place in others:
            copy_folder(place, after / place.name)


def _config(folder: Path) -> bytes:
    return (folder / CONFIG_FILE).read_bytes()


def copy_folder(source: Path, place: Path) -> None:
    """Copy a folder with everything in it."""
    files.make_folder(place)
    for each in sorted(source.iterdir()):
        if each.is_dir():
            copy_folder(each, place / each.name)
        else:
            files.copy(each, place / each.name)
