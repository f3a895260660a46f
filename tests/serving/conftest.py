"""A bundle that takes no time, and an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_nodes import Archive, forget_sockets
from tiny_bundle import write_tiny


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pynetdicom leaves it to Python to close the socket of a connection that was refused."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"))


@pytest.fixture(autouse=True, scope="module")
def _no_sockets_left() -> Iterator[None]:
    yield
    forget_sockets()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.mahtrt", off_px=0.0, golden=())


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive().open() as opened:
        yield opened
