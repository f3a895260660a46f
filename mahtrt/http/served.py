"""A bundle that is served: its open engine, whether it may answer, and why not."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.data.spacing import Spacing
from mahtrt.errors import UsageError, shown
from mahtrt.http.options import HttpOptions
from mahtrt.http.refusals import NOT_READY, Refusal
from mahtrt.measure.quantities import Selection
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.monitoring.drift import DriftAlarm, DriftMonitor
from mahtrt.monitoring.facts import facts_of
from mahtrt.monitoring.self_test import SelfTest
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.engine_choice import choose_engine
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.table import find_target

_ENDING = ".mahtrt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Source:
    """A bundle as the options name it: what clients call it, and where it lies."""

    name: str
    path: Path


class Opened:
    """An open engine of a bundle, closed when it was replaced and nobody uses it any more.

    Attributes:
        version: The first twelve letters of the manifest's digest: what the protocol calls the
            version of a model.
        self_test: Replays the golden images.
        drift: Watches the images and what is found in them; None where the bundle keeps nothing to
            hold them against.
        alarmed: Is told of every statistic that leaves its range or comes back.
    """

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle, self.session = bundle, session
        self.version = bundle.manifest_sha256[:12]
        self.self_test = SelfTest(session, bundle)
        self.drift = DriftMonitor.of_bundle(bundle)
        self.alarmed: Callable[[DriftAlarm], None] = lambda alarm: None
        self._lock = threading.Lock()
        self._users, self._is_dropped = 0, False
        self._selections: dict[str, Selection | None] = {}

    @property
    def spec(self) -> ModelSpec:
        return self.session.spec

    def selection(self, quantities: str) -> Selection | None:
        """The clinical quantities of a request, "auto" or "none"."""
        if quantities not in self._selections:
            found = quantities_for(quantities, landmark_names(self.spec))
            self._selections[quantities] = found
        return self._selections[quantities]

    def observe(
        self, image: NDArray[np.generic], spacing_mm: Spacing | None, found: Landmarks
    ) -> None:
        """Watch an image and what was found in it; nothing of its pixels is kept."""
        if self.drift is not None:
            for alarm in self.drift.observe(facts_of(image, spacing_mm), found):
                self.alarmed(alarm)

    @contextlib.contextmanager
    def used(self) -> Iterator[Opened]:
        """The engine stays open while the block runs."""
        with self._lock:
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1
                is_last = self._is_dropped and not self._users
            if is_last:
                self.session.close()

    def drop(self) -> None:
        """Close the engine as soon as nobody uses it."""
        with self._lock:
            self._is_dropped, is_free = True, not self._users
        if is_free:
            self.session.close()


class Served:
    """A bundle by the name that clients call it.

    Attributes:
        why_not: Why it does not answer, in a sentence; "" where it does.
    """

    def __init__(self, source: Source, options: HttpOptions) -> None:
        self.name, self.path = source.name, source.path
        self._options = options
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self.why_not = "It is being opened."

    @property
    def is_ready(self) -> bool:
        return not self.why_not

    @property
    def opened(self) -> Opened | None:
        """What is open, whether it may answer or not."""
        return self._opened

    @contextlib.contextmanager
    def used(self) -> Iterator[Opened]:
        """The open engine, which stays open while the block runs.

        Raises:
            Refusal: The bundle is not ready.
        """
        with self._lock:
            opened = self._opened
            if opened is None or self.why_not:
                raise self.refusal()
            use = opened.used()
            use.__enter__()
        try:
            yield opened
        finally:
            use.__exit__(None, None, None)

    def refusal(self) -> Refusal:
        """What a client is told while the bundle is not ready."""
        return Refusal(NOT_READY, f"model {self.name} is not ready. {self.why_not}".strip())

    def check(self) -> None:
        """Refuse, before anything is opened, a bundle that nobody could serve.

        Raises:
            DataError, IntegrityError: There is no bundle, or none that can be read.
            UsageError, MissingComponentError: It has no such engine, or none that runs here.
        """
        bundle = read_bundle(self.path, verify=False)
        record, _ = choose_engine(bundle, self._options.engine, self._options.require)
        find_target(record.target).require()

    def open_beside(self) -> Opened:
        """Open what lies at the place now; nothing is replayed or swapped yet.

        Raises:
            MahtrtError: As ``mahtrt.open`` raises it.
        """
        options = self._options
        bundle = read_bundle(self.path, verify=False, trust=options.trust)
        session = open_engine(
            bundle,
            engine=options.engine,
            threads=options.threads,
            streams=options.streams,
            require=options.require,
        )
        try:
            return Opened(bundle, session)
        except BaseException:
            session.close()
            raise

    def swap(self, opened: Opened) -> None:
        """Answer by another engine from now on."""
        with self._lock:
            before, self._opened, self.why_not = self._opened, opened, ""
        if before is not None:
            before.drop()

    def fail(self, why_not: str) -> None:
        """Answer nobody until :meth:`swap` or :meth:`recover`."""
        with self._lock:
            self.why_not = why_not

    def recover(self) -> None:
        """Answer again by the engine that is open."""
        with self._lock:
            self.why_not = "" if self._opened is not None else self.why_not

    def close(self) -> None:
        """Close the engine as soon as nobody uses it."""
        with self._lock:
            before, self._opened, self.why_not = self._opened, None, "The service ends."
        if before is not None:
            before.drop()


def sources_from_texts(bundles: Sequence[Path | str]) -> list[Source]:
    """``NAME=PATH`` or a path as bundles with names of their own.

    Raises:
        UsageError: A name that a URL cannot have as it is, or one name twice.
    """
    sources: list[Source] = []
    for given in bundles:
        name, equals, path = str(given).partition("=")
        is_named = bool(equals) and _NAME.fullmatch(name) is not None and not Path(given).exists()
        place = Path(path) if is_named else Path(given)
        name = name if is_named else place.resolve().name.removesuffix(_ENDING)
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"bundle {place}",
                got=f"the name {shown(name)}",
                expected="letters, digits, dots, hyphens and underscores",
                fix="Give it a name: NAME=PATH.",
            )
        if name in (each.name for each in sources):
            raise UsageError(
                f"bundle {place}",
                got=f"the name {name} twice",
                expected="a name for each bundle",
                fix="Give it another: NAME=PATH.",
            )
        sources.append(Source(name, place))
    return sources
