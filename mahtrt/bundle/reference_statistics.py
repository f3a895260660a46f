"""``reference-statistics.json`` of a bundle: how images and results looked when it was built.

What a service watches for drift is held against it (:mod:`mahtrt.monitoring.drift`). Of every
statistic a few order statistics are kept, and nothing of a single image: no pixels, no names, and
no two numbers that are known to be of the same image. The manifest lists the file by its digest, as
every other; bundles of earlier versions have none.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise

from mahtrt import files
from mahtrt.bundle.bundle import Bundle, BundleWriter
from mahtrt.errors import IntegrityError
from mahtrt.parsing import first_repeat, read_json
from mahtrt.schema import Count, check_schema, dataclass_from, plain

NAME = "reference-statistics.json"
SCHEMA = "mahtrt.reference-statistics/1"
MOST_KNOTS = 63
_MOST_STATISTICS = 10_000


@dataclass(frozen=True, slots=True)
class StatisticRecord:
    """One statistic over the reference images.

    Attributes:
        name: Which one, such as ``image.p50`` (docs/drift.md lists them).
        images: Images in which it was known.
        mean: Over these images.
        deviation: Standard deviation over them.
        knots: Some of the values, ascending: number j of m, counted from 1, is the value of rank
            ``round(j (images + 1) / (m + 1))`` among all.
    """

    name: str
    images: Count
    mean: float
    deviation: float
    knots: tuple[float, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank of every knot among all values, from 1."""
        return knot_ranks(self.images, len(self.knots))


@dataclass(frozen=True, slots=True)
class ReferenceStatistics:
    """How images, and what an engine found in them, looked when a bundle was built.

    Attributes:
        engine: Name of the engine that gave the results.
        images: How many images there were.
        statistics: One record each.
        schema: The version of the format.
    """

    engine: str
    images: Count
    statistics: tuple[StatisticRecord, ...]
    schema: str = SCHEMA


def knot_ranks(images: int, knots: int) -> tuple[int, ...]:
    """The ranks, from 1, of so many values that are kept of all, evenly spread."""
    # Halves are rounded up, so that every language gives the same ranks.
    return tuple(
        (2 * j * (images + 1) + knots + 1) // (2 * (knots + 1)) for j in range(1, knots + 1)
    )


def write_reference(writer: BundleWriter, reference: ReferenceStatistics) -> None:
    """Write the file into a bundle."""
    data = plain(reference)
    text = json.dumps({"schema": data.pop("schema"), **data}, indent=1) + "\n"
    files.write_text(writer.place(NAME), text)


def copy_reference(writer: BundleWriter, bundle: Bundle) -> None:
    """Take over the file of another bundle, where that has it.

    Raises:
        IntegrityError: It is not what the manifest there says.
    """
    if NAME in bundle.records:
        writer.take(bundle, [NAME])


def read_reference(bundle: Bundle) -> ReferenceStatistics | None:
    """What a bundle says of its images; None where it keeps nothing, as earlier versions did.

    Raises:
        IntegrityError: The file was changed, is newer than this version reads, or contradicts
            itself.
    """
    if NAME not in bundle.records:
        return None
    file = bundle.file(NAME)
    where = str(file)
    data = read_json(file.read_bytes(), where, "reference statistics", error=IntegrityError)
    schema = data.get("schema") if isinstance(data, dict) else None
    check_schema(str(schema), SCHEMA, where)
    found = dataclass_from(ReferenceStatistics, data, where, error=IntegrityError)
    _check(found, where)
    return found


def _check(found: ReferenceStatistics, where: str) -> None:
    """Refuse statistics that contradict themselves."""
    if len(found.statistics) > _MOST_STATISTICS:
        got = f"{len(found.statistics)} statistics"
        raise IntegrityError(where, got=got, expected=f"at most {_MOST_STATISTICS}")
    repeated = first_repeat([each.name for each in found.statistics])
    if repeated is not None:
        raise IntegrityError(where, got=f"statistic {repeated} twice", expected="it once")
    for each in found.statistics:
        ascends = all(a <= b for a, b in pairwise(each.knots))
        fits = 1 <= len(each.knots) <= min(each.images, MOST_KNOTS) and each.images <= found.images
        finite = all(map(math.isfinite, (each.mean, each.deviation))) and each.deviation >= 0
        if not (ascends and fits and finite):
            raise IntegrityError(
                f"{where}: {each.name}",
                got=f"{len(each.knots)} values of {each.images} images",
                expected=f"1 to {MOST_KNOTS} ascending values of as many images or more",
            )
