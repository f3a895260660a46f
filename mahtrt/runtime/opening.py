"""Opening an engine of a bundle: which one, and with what to tell of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import UsageError
from mahtrt.runtime.engine_choice import Require, choose_engine
from mahtrt.runtime.session import Session
from mahtrt.runtime.verdict import verdict_of
from mahtrt.targets.backend import Backend, EngineToOpen, pool_of
from mahtrt.targets.cpu import SATURATES
from mahtrt.targets.table import find_target
from mahtrt.targets.target import Target

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


def open_session(  # noqa: PLR0913 - each is a choice of the caller, by keyword
    bundle: str | Path,
    *,
    engine: str | None = None,
    threads: int | None = None,
    streams: int = 1,
    verify: bool = True,
    trust: Trust | None = None,
    require_signature: bool = False,
    require: Require = "any",
) -> Session:
    """Open an engine of a bundle.

    Args:
        bundle: The ``.mahtrt`` folder.
        engine: ``openvino-int8``, or a target such as ``openvino``; None is the bundle's default,
            or, where its package or GPU is missing, the fastest engine that can run (see
            ``Session.engine_notes``).
        threads: Threads of one inference; None leaves their number to the runtime. With several
            streams, of all of them together.
        streams: How many inferences run at a time, each with its share of the threads, for callers
            in several threads: more images a second, and each takes longer.
        verify: Hash the files that are about to be opened; always done with ``trust``.
        trust: Whose signature the bundle has to have: it is checked, and every file hashed, before
            anything is opened.
        require_signature: Refuse to open without ``trust``, where that may be left out by mistake.
        require: ``gpu`` or ``cpu``: only an engine for that kind of device is opened.

    Raises:
        DataError: There is no bundle.
        IntegrityError: It was changed, is newer than this version reads, or has no signature by
            whom the caller trusts.
        UsageError: It has no such engine, the engine asked for is not for the device required, or
            a signature is required and nobody trusted.
        MissingComponentError: The package that runs the engine is not installed, or no engine can
            run on the device required.
        BuildError: The runtime refuses the engine.
    """
    if require_signature and trust is None:
        raise UsageError("require_signature", got="no trusted key", expected="trust=Trust(key)")
    opened = read_bundle(bundle, verify=False, trust=trust)
    checked = verify or trust is not None
    return open_engine(
        opened, engine=engine, threads=threads, streams=streams, verify=checked, require=require
    )


def open_engine(
    bundle: Bundle,
    *,
    engine: str | None = None,
    threads: int | None = None,
    streams: int = 1,
    verify: bool = True,
    require: Require = "any",
) -> Session:
    """Open an engine of a bundle that was read; the rest is as for :func:`open_session`."""
    if threads is not None and not (isinstance(threads, int) and threads >= 1):
        expected = "a whole number of at least 1, or None"
        raise UsageError("threads", got=repr(threads), expected=expected)
    if not (isinstance(streams, int) and streams >= 1):
        raise UsageError("streams", got=repr(streams), expected="a whole number of at least 1")
    record, note = choose_engine(bundle, engine, require)
    target = find_target(record.target)
    target.require()
    files = bundle.engine_files(record, verify=verify)
    backend = target.open(EngineToOpen(record, files, bundle.spec, threads, streams))
    version = bundle.manifest.preprocess_version
    session = Session(backend, bundle.spec, record, preprocess_version=version)
    session.verdict = verdict_of(bundle.manifest, record)
    notes = (note, _doubt_int8(bundle, record, target), _older_pixels(backend, version))
    session.opening_notes = tuple(filter(None, notes))
    return session


def _older_pixels(backend: Backend, version: int) -> str:
    """What to tell of a GPU whose kernel does not prepare images as the bundle was judged."""
    if version == PREPROCESS_VERSION or pool_of(backend) is None:
        return ""
    return (
        f"Images are prepared on the CPU: the bundle's preprocessing is of version {version}, and "
        f"the GPU's of version {PREPROCESS_VERSION}; build it again to have them prepared there."
    )


def _doubt_int8(bundle: Bundle, record: EngineRecord, target: Target) -> str:
    """What to tell of weights with more bits than this device multiplies exactly."""
    graphs = (graph for graph in bundle.manifest.graphs if graph.file in record.files.values())
    bits = max((graph.weight_bits or 0 for graph in graphs), default=0)
    return SATURATES if bits > target.weight_bits(None) else ""
