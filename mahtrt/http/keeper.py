"""Opens bundles, holds them against their golden images, and takes over replaced ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from mahtrt.bundle.manifest import MANIFEST_NAME
from mahtrt.digest import sha256_of_file
from mahtrt.errors import MahtrtError
from mahtrt.http.metrics import Metrics
from mahtrt.http.options import HttpOptions
from mahtrt.http.served import Opened, Served
from mahtrt.monitoring.drift import DriftAlarm
from mahtrt.serving.events import ServeEvent, Tell

_MOST_OPENED_AT_A_TIME = 4
_LONGEST_PAUSE_S = 64.0


@dataclass(slots=True)
class _Watch:
    """What is known of a bundle's place.

    Attributes:
        seen: Size, time and number of the manifest that was looked at last.
        told: What was told of the last attempt, so that it is told once.
        next_s: When to look again, and when to replay again, on the monotonic clock.
    """

    served: Served
    seen: tuple[int, ...] = ()
    told: str = ""
    pause_s: float = 0.0
    next_look_s: float = 0.0
    next_replay_s: float = 0.0


class Keeper:
    """Keeps bundles open and honest, in a thread of its own.

    A bundle is opened beside the one that answers, replayed, and swapped in; one that cannot be
    opened, or leaves its golden images, never replaces one that answers.
    """

    def __init__(
        self, served: Sequence[Served], options: HttpOptions, metrics: Metrics, tell: Tell
    ) -> None:
        self._options, self._metrics, self._tell = options, metrics, tell
        self._watches = [_Watch(each) for each in served]
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.is_opened = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._is_ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        with ThreadPoolExecutor(_MOST_OPENED_AT_A_TIME) as pool:
            list(pool.map(self._open, self._watches))
        self.is_opened.set()
        while not self._is_ended.wait(self._pause_s()):
            for watch in self._watches:
                self._care(watch, time.monotonic())

    def _care(self, watch: _Watch, now_s: float) -> None:
        """Look after a bundle, where it is time."""
        try:
            if self._options.reload_s and now_s >= watch.next_look_s:
                self._look(watch)
            if self._options.replay_hours and now_s >= watch.next_replay_s:
                self._replay(watch)
        except Exception as error:  # the other bundles are looked after all the same
            self._plan(watch)
            facts = {"model": watch.served.name, "error": type(error).__name__}
            self._tell(ServeEvent("keeper-defect", facts))

    def _pause_s(self) -> float | None:
        """Until the next thing to do; None where there is none."""
        options = self._options
        times = [w.next_look_s for w in self._watches] if options.reload_s else []
        times += [w.next_replay_s for w in self._watches] if options.replay_hours else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _open(self, watch: _Watch) -> None:
        """Open what lies at the place, and let it answer if it is what it should be."""
        served, is_first = watch.served, watch.served.opened is None
        watch.seen = _manifest_of(served)
        try:
            opened = self._opened(served)
        except Exception as error:
            self._refuse(watch, error, is_first)
            return
        opened.alarmed = partial(self._alarmed, served.name)
        served.swap(opened)
        watch.told, watch.pause_s = "", self._options.reload_s
        self._plan(watch)
        self._note(served, opened)
        facts = {"model": served.name, "version": opened.version, "engine": opened.session.name}
        self._tell(ServeEvent("golden", {**facts, "images": opened.self_test.images}))
        if opened.drift is None:
            reason = {"model": served.name, "reason": "no-reference-statistics"}
            self._tell(ServeEvent("drift-unwatched", reason))
        if not is_first:
            self._metrics.reloads.labels(served.name, "taken").inc()
            self._tell(ServeEvent("reloaded", facts))

    def _opened(self, served: Served) -> Opened:
        """What lies at the place, open and true to its golden images; raises as these two do."""
        opened = served.open_beside()
        try:
            opened.self_test.run()
        except BaseException:
            self._metrics.replays.labels(served.name, "failed").inc()
            opened.drop()
            raise
        self._metrics.replays.labels(served.name, "passed").inc()
        return opened

    def _refuse(self, watch: _Watch, error: Exception, is_first: bool) -> None:
        """Keep what answers; say once why what lies there does not."""
        served, why = watch.served, _reason(error)
        watch.pause_s = min(max(self._options.reload_s, 2 * watch.pause_s), _LONGEST_PAUSE_S)
        watch.seen = ()  # tried again: files beside the manifest may still be on their way
        self._plan(watch)
        if is_first:
            served.fail(why)
            self._metrics.ready.labels(served.name).set(0)
        if why == watch.told:
            return
        watch.told = why
        if not is_first:
            self._metrics.reloads.labels(served.name, "refused").inc()
        event = "not-ready" if is_first else "replacement-refused"
        self._tell(ServeEvent(event, {"model": served.name, "why": why}))

    def _look(self, watch: _Watch) -> None:
        """Take over a bundle that was replaced."""
        now = _manifest_of(watch.served)
        watch.next_look_s = time.monotonic() + self._options.reload_s
        if not now or now == watch.seen:
            return
        opened = watch.served.opened
        if opened is not None and opened.bundle.manifest_sha256 == _digest_of(watch.served):
            watch.seen = now
            return
        self._open(watch)

    def _replay(self, watch: _Watch) -> None:
        """Hold the engine that answers against its golden images once more."""
        watch.next_replay_s = time.monotonic() + self._options.replay_hours * 3600
        served = watch.served
        opened = served.opened
        if opened is None:
            return
        try:
            with opened.used():
                count = opened.self_test.run().images
        except Exception as error:
            why = _reason(error)
            served.fail(why)
            self._metrics.ready.labels(served.name).set(0)
            self._metrics.replays.labels(served.name, "failed").inc()
            self._tell(ServeEvent("not-ready", {"model": served.name, "why": why}))
            return
        served.recover()
        self._metrics.ready.labels(served.name).set(1)
        self._metrics.replays.labels(served.name, "passed").inc()
        facts = {"model": served.name, "version": opened.version, "engine": opened.session.name}
        self._tell(ServeEvent("golden", {**facts, "images": count}))

    def _alarmed(self, name: str, alarm: DriftAlarm) -> None:
        """Tell of a statistic that left its range, or is back in it."""
        self._metrics.drift_alarms.labels(name, alarm.statistic, alarm.state).inc()
        self._tell(ServeEvent("drift", {"model": name, **alarm.to_dict()}))

    def _plan(self, watch: _Watch) -> None:
        now = time.monotonic()
        watch.next_look_s = now + (watch.pause_s or self._options.reload_s)
        watch.next_replay_s = now + self._options.replay_hours * 3600

    def _note(self, served: Served, opened: Opened) -> None:
        """Metrics of a bundle that answers."""
        for labels in list(self._metrics.info._metrics):
            if labels[0] == served.name:
                self._metrics.info.remove(*labels)
        session = opened.session
        self._metrics.info.labels(served.name, opened.version, session.name, session.device).set(1)
        self._metrics.ready.labels(served.name).set(1)


def _reason(error: Exception) -> str:
    """Why a bundle does not answer; of a defect, nothing but that it is one."""
    return str(error) if isinstance(error, MahtrtError) else f"a defect ({type(error).__name__})."


def _manifest_of(served: Served) -> tuple[int, ...]:
    """What tells a manifest from another without reading it; empty where there is none."""
    try:
        found = (served.path / MANIFEST_NAME).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest_of(served: Served) -> str:
    try:
        return sha256_of_file(served.path / MANIFEST_NAME)
    except (OSError, MahtrtError):
        return ""
