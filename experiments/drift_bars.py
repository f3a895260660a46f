"""The bars of drift: how soon shifts are flagged, and false alarms on images of the same kind.

    python experiments/drift_bars.py nano.mahtrt --out drift.json [--work FOLDER]

Phantoms run once through the bundle's default engine; their statistics are kept in the work folder.
Then monitors with many references (disjoint sets of 32, 64 and 200 images, and the bundle's own)
watch two runs of 2,000 phantoms of the same family, and 200 phantoms with each shift. Last, single
charts watch pure numbers, to hold the false-alarm rate that is computed against the one there is.
The bundle has to be one of cephalometric phantoms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.reference_statistics import ReferenceStatistics, knot_ranks, read_reference
from mahtrt.data.datasets import open_dataset
from mahtrt.monitoring.chart import CHANGES, Charts
from mahtrt.monitoring.facts import facts_of
from mahtrt.monitoring.limits import FALSE_ALARMS, SAME_KIND_IMAGES, chart_limits
from mahtrt.monitoring.reference import reference_of
from mahtrt.monitoring.scores import Kind, scores_of
from mahtrt.monitoring.statistics import values_of
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.session import Session

Image = NDArray[Any]
Rows = list[dict[str, float]]
Change = tuple[Callable[[Image, np.random.Generator], Image], float]  # pixels, factor of spacing

POOL, PRODUCTION = "phantom:2000@9001", ("phantom:2000@9101", "phantom:2000@9102")
SHIFTED = ("phantom:200@9201", "phantom:200@9202")
SIZES = (32, 64, 200)
REPLICATIONS = 20_000


def gamma(exponent: float) -> Change:
    table = np.rint(255 * (np.arange(256) / 255.0) ** exponent).astype(np.uint8)

    def change(image: Image, rng: np.random.Generator) -> Image:
        changed: Image = table[image]
        return changed

    return change, 1.0


def spacing(factor: float) -> Change:
    return (lambda image, rng: image), factor


def resized(factor: float) -> Change:
    """Another detector, whose spacing is right."""

    def change(image: Image, rng: np.random.Generator) -> Image:
        changed: Image = cv2.resize(image, None, fx=factor, fy=factor)
        return changed

    return change, 1 / factor


def noise(deviation: float) -> Change:
    def change(image: Image, rng: np.random.Generator) -> Image:
        return np.clip(image + rng.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)

    return change, 1.0


def blur(sigma: float) -> Change:
    return (lambda image, rng: cv2.GaussianBlur(image, (0, 0), sigma)), 1.0


SHIFTS: Mapping[str, Change] = {
    "gamma 0.7": gamma(0.7),
    "gamma 1.4": gamma(1.4),
    "spacing 10% too large": spacing(1.1),
    "spacing 10% too small": spacing(1 / 1.1),
    "detector with 1.25x the pixels": resized(1.25),
    "detector with 0.8x the pixels": resized(0.8),
    "inverted": ((lambda image, rng: 255 - image), 1.0),
    "noise, deviation 8": noise(8),
    "blur, sigma 1.5 px": blur(1.5),
}
MILD: Mapping[str, Change] = {
    "gamma 0.9": gamma(0.9),
    "gamma 1.1": gamma(1.1),
    "spacing 3% too large": spacing(1.03),
    "spacing 5% too large": spacing(1.05),
    "noise, deviation 3": noise(3),
    "blur, sigma 0.7 px": blur(0.7),
}
ANATOMIES = ("phantom-spine", "phantom-pose", "phantom-chest")


def rows_of(session: Session, source: str, change: Change, seed: int = 0) -> Rows:
    """The statistics of every image of a DATA, after a change."""
    alter, factor = change
    rng, rows = np.random.default_rng(seed), []
    for sample in open_dataset(source):
        image = alter(sample.image, rng)
        known = sample.spacing_mm
        scaled = None if known is None else (known[0] * factor, known[1] * factor)
        rows.append(values_of(facts_of(image, scaled), session.run(image, spacing_mm=scaled)))
    return rows


def kept_rows(place: Path, make: Callable[[], Rows]) -> Rows:
    if place.exists():
        loaded: Rows = json.loads(place.read_text())
        return loaded
    rows = make()
    place.write_text(json.dumps(rows))
    return rows


def everything(session: Session, work: Path) -> dict[str, list[Rows]]:
    """What is watched: a list of runs for each shift, and for the same kind."""
    same = spacing(1.0)
    found = {"pool": [kept_rows(work / "pool.json", lambda: rows_of(session, POOL, same))]}
    found["same"] = [
        kept_rows(work / f"same-{i}.json", lambda s=source: rows_of(session, s, same))  # type: ignore[misc]
        for i, source in enumerate(PRODUCTION)
    ]
    plans = [(name, SHIFTED, change) for name, change in {**SHIFTS, **MILD}.items()]
    plans += [(f"anatomy {name}", (f"{name}:200@1", f"{name}:200@2"), same) for name in ANATOMIES]
    for name, sources, change in plans:
        stem = "".join(c if c.isalnum() else "-" for c in name)
        found[name] = [
            kept_rows(
                work / f"{stem}-{i}.json",
                lambda s=source, c=change, i=i: rows_of(session, s, c, i),  # type: ignore[misc]
            )
            for i, source in enumerate(sources)
        ]
        print(name, flush=True)
    return found


def references(pool: Rows, own: ReferenceStatistics | None) -> dict[str, list[ReferenceStatistics]]:
    found = {
        str(size): [
            reference_of(pool[start : start + size], "drift-bars")
            for start in range(0, len(pool) - size + 1, size)
        ]
        for size in SIZES
    }
    return found | ({"own": [own]} if own else {})


def watched(reference: ReferenceStatistics, rows: Rows) -> list[tuple[int, str]]:
    """Image and statistic of each alarm that is raised."""
    chance = FALSE_ALARMS / (len(CHANGES) * len(reference.statistics))
    charts = [Charts(each, chance) for each in reference.statistics]
    return [
        (image, f"{each.record.name} {change}")
        for image, row in enumerate(rows, start=1)
        for each in charts
        if (change := each.add(row.get(each.record.name, np.nan))) and each.alarmed
    ]


def of_shift(name: str, runs: list[Rows], refs: Iterable[ReferenceStatistics]) -> dict[str, Any]:
    firsts, which = [], dict[str, int]()
    for reference in refs:
        for rows in runs:
            alarms = watched(reference, rows)
            firsts.append(alarms[0][0] if alarms else None)
            if alarms:
                which[alarms[0][1]] = which.get(alarms[0][1], 0) + 1
    flagged = [first for first in firsts if first is not None]
    return {
        "shift": name,
        "runs": len(firsts),
        "flagged": len(flagged),
        "median_images": float(np.median(flagged)) if flagged else None,
        "most_images": max(flagged, default=None),
        "first_by": dict(sorted(which.items(), key=lambda item: -item[1])[:3]),
    }


def of_same(runs: list[Rows], refs: Iterable[ReferenceStatistics]) -> dict[str, Any]:
    found = [watched(reference, rows) for reference in refs for rows in runs]
    which = [f"{name} at {image}" for alarms in found for image, name in alarms[:1]]
    return {"runs": len(found), "with_an_alarm": sum(map(bool, found)), "which": which[:10]}


def rate(images: int, kind: Kind, chance: float, seed: int = 0) -> dict[str, Any]:
    """How often a chart raises an alarm on numbers of the reference's own distribution."""
    ranks = knot_ranks(images, min(images, 63))
    limits, scores = chart_limits(images, ranks, kind, chance), scores_of(images, ranks, kind)
    assert limits is not None
    rng, count = np.random.default_rng(seed), REPLICATIONS
    knots = np.sort(rng.random((count, images)), axis=1)[:, np.array(ranks) - 1]
    sums, alarmed = np.zeros(count), np.zeros(count, bool)
    offsets = np.arange(count)
    flat = (knots + offsets[:, None]).ravel()
    for _ in range(SAME_KIND_IMAGES):
        values = rng.random(count) + offsets
        cells = np.searchsorted(flat, values) - offsets * knots.shape[1]
        sums = np.maximum(0, sums + scores.values[cells] - limits.allowance)
        alarmed |= sums >= limits.limit
    return {"images": images, "chart": kind, "asked": chance, "found": float(alarmed.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("drift-work"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    bundle, began_s = read_bundle(given.bundle), time.monotonic()
    with open_engine(bundle, threads=1) as session:
        rows = everything(session, given.work)
    refs = references(rows.pop("pool")[0], read_reference(bundle))
    same = rows.pop("same")
    document: dict[str, Any] = {"rates": [], "same": {}, "shifts": {}}
    for images in (16, *SIZES):
        for kind in ("place", "width"):
            for chance in (0.01, 0.001):
                document["rates"].append(rate(images, kind, chance))
                print(document["rates"][-1], flush=True)
    for size, each in refs.items():
        document["same"][size] = of_same(same, each)
        print(size, document["same"][size], flush=True)
        document["shifts"][size] = [of_shift(name, runs, each[:20]) for name, runs in rows.items()]
        for line in document["shifts"][size]:
            print(size, line, flush=True)
    document["took_s"] = round(time.monotonic() - began_s, 1)
    given.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
