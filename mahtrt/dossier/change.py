"""The change report: what differs between two bundles, and what that does to landmarks.

Both bundles run over the same images; the earlier one takes the place of the reference. A change
is held to the limits of a reduced precision whatever the engines compute in: those are the limits
that a caller declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.dossier.change_facts import BLOCK, check_same_network, differences
from mahtrt.dossier.cohort import ImageSet
from mahtrt.dossier.protocol import bundle_facts
from mahtrt.dossier.side_by_side import contender, side_by_side
from mahtrt.errors import BuildError, MissingComponentError
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.opening import open_engine
from mahtrt.schema import plain

SCHEMA = "mahtrt.change/1"
FILE_NAME = "change.json"
JUDGED_AS = "int8"  # the limits that callers declare


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """Two versions of one network.

    Attributes:
        images: What both run over.
        limits: How far the new one's results may be from the old one's.
        threads: Threads of one inference; None leaves their number to the runtime.
    """

    old: Bundle
    new: Bundle
    images: ImageSet
    limits: Limits
    threads: int | None = None


def change_document(versions: Versions, progress: StageProgress = silent) -> dict[str, Any]:
    """The change report.

    Raises:
        DataError: The bundles are of different networks.
        MissingComponentError: There is no engine of the old bundle, or none of the new one, that
            runs here.
    """
    old, new, images = versions.old, versions.new, versions.images.to_dict()
    check_same_network(old, new)
    found, absent = differences(old, new), dict[str, str]()
    measured = list(_measured(versions, absent, progress))
    if not measured:
        raise MissingComponentError(
            f"--changed-from {old.path}",
            got="; ".join(f"{name}: {reason}" for name, reason in absent.items()),
            expected="an engine of each bundle that runs here",
            fix="Compile the bundle for this machine with mahtrt compile.",
        )
    default = tuple(f"{a} {b.engine().name}" for a, b in (("old", old), ("new", new)))
    complete = any((each["first"], each["second"]) == default for each in measured)
    return {
        "schema": SCHEMA,
        "old": bundle_facts(old),
        "new": bundle_facts(new),
        "changed": [plain(each) for each in found if each.changed],
        "unchanged": [each.what for each in found if not each.changed and each.known],
        "not_known": [each.what for each in found if not each.known],
        "cohort": {name: images[name] for name in ("source", "images", "sha256")},
        "limits": versions.limits.to_dict(),
        "judged_as": JUDGED_AS,
        "engines": measured,
        "left_out": absent,
        "complete": complete,
        "passed": complete and all(each["passed"] for each in measured),
    }


def values_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the template of a change report is filled with."""
    blocks = [what for what in document["unchanged"] if what.startswith(f"{BLOCK} ")]
    return {**document, "unchanged_blocks": blocks}


def _measured(
    versions: Versions, absent: dict[str, str], progress: StageProgress
) -> Iterator[dict[str, Any]]:
    """Every two engines that belong together, compared.

    Args:
        absent: Gets the engines that do not run here, with the reason.
    """
    old, new = versions.old, versions.new
    for before, after in _pairs(old, new):
        with ExitStack() as stack:
            opened = []
            for bundle, record, age in ((old, before, "old"), (new, after, "new")):
                name = f"{age} {record.name}"
                try:
                    session = open_engine(bundle, engine=record.name, threads=versions.threads)
                except (MissingComponentError, BuildError) as error:
                    absent[name] = str(error)
                    break
                stack.callback(session.close)
                opened.append(contender(name, record, session))
            else:
                first, second = opened
                pair = side_by_side(first, second, versions.images.dataset, progress)
                yield pair.to_dict(versions.limits, JUDGED_AS)


def _pairs(old: Bundle, new: Bundle) -> list[tuple[EngineRecord, EngineRecord]]:
    """The two default engines, then the engines of the same name."""
    names = {engine.name: engine for engine in old.manifest.engines}
    same = [(names[e.name], e) for e in new.manifest.engines if e.name in names]
    default = old.engine(), new.engine()
    return [default, *(pair for pair in same if pair != default)]
