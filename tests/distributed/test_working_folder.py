"""Where relative paths of a command begin in a worker, whose own folder is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahtrt.distributed.working_folder import WorkingFolder
from mahtrt.errors import DataError


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a worker starts in."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_worker_goes_to_the_folder_of_the_command(node: Path) -> None:
    folder = WorkingFolder.of_command(["/data/a", "s3://bucket/b", "c", "d"])
    assert folder == WorkingFolder(str(node), "c")
    WorkingFolder(str(node.parent), "c").enter()
    assert Path.cwd() == node.parent


def test_a_node_without_the_folder_is_refused_where_a_path_is_relative(node: Path) -> None:
    missing = str(node / "home")
    with pytest.raises(DataError, match=r"archive: got no folder .*home on the node"):
        WorkingFolder(missing, "archive").enter()
    WorkingFolder(missing).enter()
    assert Path.cwd() == node
