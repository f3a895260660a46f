"""Fixtures that several packages' tests share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign_network import ForeignNetwork, make_network
from hypothesis import settings
from made_once import made_once
from tiny_network import build_bundle

pytest_plugins = ["cpus", "graph_fixtures", "planning_fixtures"]

# How long an example takes says more about the machine's load than about the code.
settings.register_profile("mahtrt", deadline=None)
settings.load_profile("mahtrt")


def pytest_configure() -> None:
    """Commands that tests start get signals, also where these are ignored here (nohup, ``&``).

    What is ignored stays ignored in a new program; what has a handler does not.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_finish() -> None:
    """Imported modules are no garbage: looking through them took a third of all the time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines of other runs, and of the user, are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAHTRT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_timed_round() -> Iterator[None]:
    """A build ranks its engines; tests don't mind in which order."""
    from mahtrt.build import judge as judge_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_module, "TIMED_ROUNDS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_round_of_tuning() -> Iterator[None]:
    """A bench looks for PyTorch's fastest setting, and a build for OpenVINO's; any will do here."""
    from mahtrt.models import torch_tuning
    from mahtrt.targets.openvino import tune

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_tuning, "ROUNDS", 1)
        patch.setattr(tune, "ROUNDS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_cold_starts() -> Iterator[None]:
    """A bench starts a few processes of each engine; its tests have one that does."""
    from mahtrt.benchmarks import measuring as measuring_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring_module, "measure_startup", lambda *_, **__: ((), ()))
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny network, batch 1. Not to be changed: copy it first."""
    return made_once(tmp_path_factory, "tiny", lambda at: build_bundle(at / "tiny.mahtrt"))


@pytest.fixture(scope="session")
def tiny_batch_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with batch 4."""
    return made_once(
        tmp_path_factory, "tiny4", lambda at: build_bundle(at / "tiny.mahtrt", batch=4)
    )


@pytest.fixture(scope="session")
def foreign_network(tmp_path_factory: pytest.TempPathFactory) -> ForeignNetwork:
    """A U-Net outside the package, exported through the command line. Not to be changed."""
    return made_once(tmp_path_factory, "foreign", make_network)
