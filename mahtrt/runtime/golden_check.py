"""A service's self-test: an engine that left its golden images serves nobody."""

from __future__ import annotations

from collections.abc import Sequence

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.golden import GoldenVector, read_golden
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import GateError, IntegrityError
from mahtrt.runtime.replay import replay, replay_limits
from mahtrt.runtime.session import Session
from mahtrt.targets.backend import compile_here


def check_golden(session: Session, bundle: Bundle) -> int:
    """Replay the golden images of a bundle, so that an engine that is damaged serves nobody.

    Returns:
        How many there are; 0 where the bundle keeps none.

    Raises:
        GateError: The engine is further from them than it may be.
        IntegrityError: The session has no record in the bundle.
    """
    vectors = read_golden(bundle)
    if vectors:
        check_vectors(session, bundle, vectors)
    return len(vectors)


def check_vectors(
    session: Session, bundle: Bundle, vectors: Sequence[GoldenVector]
) -> AccuracyRecord:
    """Replay golden vectors that were read before, at least one.

    Returns:
        How far the engine is from them; no further than it may be.

    Raises:
        GateError, IntegrityError: As :func:`check_golden`.
    """
    record = session.engine
    if record is None:
        raise IntegrityError(str(bundle.path), got="an engine that it does not list")
    found = replay(session, vectors)
    limits = replay_limits(bundle.manifest, found.mean_mm is not None, record)
    if over := limits.over(found, record.precision):
        raise GateError(
            f"{record.name} on golden images",
            got="; ".join(over),
            expected="what the build's gate allows, or what it gave then",
            fix=compile_here(record.target),
        )
    return found
