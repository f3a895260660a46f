"""The dossier's folder: it exists whole or not at all, and lists the digest of every file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.atomic import move_into_place, naming_place, scratch_beside
from mahtrt.digest import sha256_of_file
from mahtrt.errors import MahtrtError, UsageError, some_of
from mahtrt.interrupt import interrupt_later
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted

SCHEMA = "mahtrt.dossier/1"
MANIFEST_NAME, SUMS_NAME = "manifest.json", "SHA256SUMS"


class DossierWriter:
    """What :func:`write_folder` gives: a folder to fill.

    Attributes:
        root: Where the files are until all are there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, name: str, text: str) -> None:
        """Write a text file as UTF-8."""
        files.write_text(self.root / name, text)

    def json(self, name: str, document: Mapping[str, Any]) -> str:
        """Write a JSON document.

        Returns:
            SHA-256 (hex) of the file.
        """
        self.text(name, text_of_json(document))
        return sha256_of_file(self.root / name)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the list of files, with size and digest, and the same for ``sha256sum -c``.

        Args:
            about: What the dossier is about.
        """
        listed = [
            {"path": place.name, "sha256": sha256_of_file(place), "size": place.stat().st_size}
            for place in sorted(self.root.iterdir())
        ]
        digest = self.json(MANIFEST_NAME, {"schema": SCHEMA, **about, "files": listed})
        sums = {str(each["path"]): each["sha256"] for each in listed} | {MANIFEST_NAME: digest}
        self.text(SUMS_NAME, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def text_of_json(document: Mapping[str, Any]) -> str:
    """A document as indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[DossierWriter]:
    """Write a dossier that appears at ``path`` only when the block ends well.

    A dossier that is there is replaced then. An exception or Ctrl-C in the block leaves what was
    there, and nothing else.

    Raises:
        UsageError: Something that is not a dossier is at ``path``.
        BuildError: The disk is full, or the place cannot be written.
    """
    path = Path(path).resolve()
    check_replaceable(path)
    with scratch_beside(path) as folder:
        root = folder / "dossier"
        files.make_folder(root)
        yield DossierWriter(root)
        check_replaceable(path)
        with naming_place(path), interrupt_later():
            move_into_place(root, path)


def check_replaceable(path: Path) -> None:
    """Refuse a place that holds something other than a dossier or an empty folder.

    Raises:
        UsageError: It does.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.is_dir() and _is_dossier(path):
        _refuse_edited(path)
        return
    raise UsageError(
        f"--dossier {path}",
        got="a folder that holds something else" if path.is_dir() else "a file",
        expected="a free name, or a dossier to replace",
        fix="Choose another folder.",
    )


def _refuse_edited(path: Path) -> None:
    """Refuse a dossier in which somebody worked: what a team filled in or added is theirs.

    Raises:
        UsageError: A file was added, or changed since it was written.
    """
    data = read_json_file(path / MANIFEST_NAME, Wanted("a manifest"))
    listed = data.get("files") if isinstance(data, dict) else None
    known = {
        each.get("path"): each.get("sha256") for each in listed or () if isinstance(each, dict)
    }
    own = {MANIFEST_NAME, SUMS_NAME}
    edited = [
        place.name
        for place in sorted(path.iterdir())
        if place.name not in own
        and (not place.is_file() or known.get(place.name) != sha256_of_file(place))
    ]
    if edited:
        raise UsageError(
            f"--dossier {path}",
            got=f"a dossier in which files were edited or added since: {some_of(edited)}",
            expected="a free name, or a dossier as it was written",
            fix="Choose another folder, or move these files away.",
        )


def _is_dossier(path: Path) -> bool:
    """Whether a folder says that it is a dossier, whatever its version."""
    try:
        data = read_json_file(path / MANIFEST_NAME, Wanted("a manifest"))
    except MahtrtError:
        return False
    schema = data.get("schema") if isinstance(data, dict) else None
    return str(schema).startswith(SCHEMA.partition("/")[0] + "/")
