"""Ray: one of our own on this machine, or a cluster that is there already.

Our own starts as little as possible: no dashboard, no usage statistics, no port that other machines
reach, and everything that it writes in a folder that is gone afterwards. Its processes end with us,
however we end.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.distributed.answers import first_line, unreachable, wants_token
from mahtrt.errors import MissingComponentError, require
from mahtrt.machine import describe_machine
from mahtrt.scratch import scratch_folder

LOCAL, AUTO = "local", "auto"
_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 200 * 2**20  # of shared memory: chunks are lists of names, and results stay small
_END_S = 5.0
_LONGEST_FOLDER = 45  # characters; Ray's sockets lie 60 deeper, and their names hold 107 bytes
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # lines of other processes; our result tells of dead workers
}
_LOGGERS = ("ray", "ray.data")
_MODE = "RAY_AUTH_MODE"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Ray, ready for work.

    Attributes:
        ray: The package.
        address: As it was given.
    """

    ray: Any
    address: str

    def workers(self, cores: int, gpus: int) -> int:
        """How many actors of so many cores and GPUs the nodes have room for; at least one."""
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if gpus:
            return max(1, sum(int(node.get("GPU", 0)) // gpus for node in alive))
        return max(1, sum(int(node.get("CPU", 0)) // cores for node in alive))


@contextlib.contextmanager
def joined_cluster(address: str, *, cores: int | None = None) -> Iterator[Cluster]:
    """Ray at an address, for as long as the block runs.

    Args:
        address: ``local``; ``auto`` for the cluster that this machine is a node of; HOST:PORT of a
            cluster's head, from one of its nodes.
        cores: How many a Ray of our own has; None for all that this process may use.

    Raises:
        UsageError: Something else.
        MissingComponentError: Ray is not installed, or nothing answers.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment(_QUIET))
        stack.enter_context(_mode_as_before())
        if address == LOCAL:
            stack.enter_context(_own_token())
        ray = require("ray", extra="ray", needed_for="--ray")
        require("ray.data", extra="ray", needed_for="--ray")
        stack.enter_context(_quiet_logs())
        if ray.is_initialized():  # by the caller, who ends it
            yield Cluster(ray, address)
            return
        if address == LOCAL:
            _start(ray, cores, stack)
        else:
            _join(ray, address)
        stack.callback(_shut_down, ray)
        yield Cluster(ray, address)


def _start(ray: Any, cores: int | None, stack: contextlib.ExitStack) -> None:
    """Start Ray here, with a core for each that this process may use."""
    system = tempfile.gettempdir()
    parent = Path(system if len(system) < _LONGEST_FOLDER - 35 else "/tmp")
    folder = stack.enter_context(scratch_folder(parent))
    _read_again(ray)
    try:
        with _without_native_lines():
            ray.init(
                address=LOCAL,
                num_cpus=cores or describe_machine().cores_usable,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                object_store_memory=_STORE_BYTES,
                _temp_dir=str(folder),
                _node_ip_address=_LOOPBACK,
            )
    except Exception as error:  # of many kinds, from the processes that it starts
        raise MissingComponentError(
            "--ray local",
            got=f"a Ray that does not start ({first_line(error)})",
            expected="one on this machine",
        ) from error


def _shut_down(ray: Any) -> None:
    """Leave Ray, and wait until the processes that we started are gone: they write into a folder.

    Ray itself ends them without waiting.
    """
    node = getattr(ray._private.worker, "_global_node", None)
    started = getattr(node, "all_processes", {}).values()
    processes = [each.process for several in started for each in several]
    ray.shutdown()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_S)


def _join(ray: Any, address: str) -> None:
    if address != AUTO and wants_token(address):
        os.environ[_MODE] = "token"  # as Ray does it for ``auto``
    _read_again(ray)
    try:
        with _without_native_lines():
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except Exception as error:
        raise unreachable(address, first_line(error)) from error


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """A word that only our processes know: other users of this machine cannot join.

    Ray asks for one by itself where the user did not say otherwise, and would keep it in the user's
    home folder.
    """
    wanted = {} if _MODE in os.environ else {"RAY_AUTH_TOKEN": _token()}
    with _environment(wanted):
        yield


@contextlib.contextmanager
def _mode_as_before() -> Iterator[None]:
    """Undo what is set so that Ray uses a token, by itself or by us."""
    before = os.environ.get(_MODE)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_MODE, None)


def _read_again(ray: Any) -> None:
    """Let Ray read whether and which token this run uses: a process keeps those of its last run."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


@functools.cache
def _token() -> str:
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Variables that Ray and its processes read; what the user set stays."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _without_native_lines() -> Iterator[None]:
    """Keep what Ray's native code writes to stderr as it starts from the user's terminal."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Let Ray's own loggers tell of errors alone."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level, disabled in before:
            logger.setLevel(level)
            logger.disabled = disabled
