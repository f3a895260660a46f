"""A server that runs commands, and what they read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_cases import World, make_world
from foreign_network import ForeignNetwork
from fork_server import ForkServer
from tiny_bundle import write_tiny


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands make temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="session")
def world(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("faults")
    network = foreign_network
    export = (
        *("export", f"{network.code}:make", f"--checkpoint={network.checkpoint}"),
        *(f"--spec={network.spec}", "--kwarg=landmarks=3"),
    )
    tiny = write_tiny(folder / "tiny.mahtrt", off_px=0.0)
    return make_world(folder, export, network.onnx, tiny)


@pytest.fixture(scope="session")
def servers(
    tmp_path_factory: pytest.TempPathFactory, temporary: Path
) -> Iterator[tuple[ForkServer, ForkServer]]:
    """Two, for commands that run at the same time."""
    environment = {"TMPDIR": str(temporary)}
    places = [tmp_path_factory.mktemp("server") for _ in range(2)]
    with (
        ForkServer(places[0], environment) as first,
        ForkServer(places[1], environment) as second,
    ):
        yield first, second
