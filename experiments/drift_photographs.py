"""Drift on real images: alarms on those of the same kind, and how soon shifts are flagged.

    python experiments/drift_photographs.py nano.mahtrt FOLDER --out drift.json

The images of FOLDER are put into random orders; in each the first 200 are the reference and all
others what a service gets. Shifts are those of ``drift_bars.py`` that need no spacing, on
200 of the others. In the order of their names, a source's images mostly come in series, which the
last part shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from experiments.drift_bars import SHIFTS, Rows, of_same, of_shift, rows_of, spacing, watched
from mahtrt.bundle.bundle import read_bundle
from mahtrt.monitoring.reference import reference_of
from mahtrt.runtime.opening import open_engine

ORDERS, REFERENCE, SHIFTED = 20, 200, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shifts = {name: shift for name, shift in SHIFTS.items() if "spacing" not in name}
    with open_engine(read_bundle(given.bundle), threads=1) as session:
        rows = rows_of(session, given.folder, spacing(1.0))
        shifted = {name: rows_of(session, given.folder, shift) for name, shift in shifts.items()}
    found = summary(rows, shifted)
    given.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def summary(rows: Rows, shifted: dict[str, Rows]) -> dict[str, Any]:
    """Of the statistics of all images as they are, and after each shift."""
    rng = np.random.default_rng(17)
    orders = [rng.permutation(len(rows)) for _ in range(ORDERS)]
    references = [
        reference_of([rows[i] for i in order[:REFERENCE]], "photographs") for order in orders
    ]
    same = [
        of_same([[rows[i] for i in order[REFERENCE:]]], [reference])
        for order, reference in zip(orders, references, strict=True)
    ]
    in_order = watched(references[0], rows)
    return {
        "images": len(rows),
        "orders": ORDERS,
        "with_an_alarm": sum(each["with_an_alarm"] for each in same),
        "which": [name for each in same for name in each["which"]],
        "shifts": [_of_shift(name, each, orders, references) for name, each in shifted.items()],
        "in_the_order_of_names": {"alarms": len(in_order), "first": in_order[:5]},
    }


def _of_shift(name: str, rows: Rows, orders: list[Any], references: list[Any]) -> dict[str, Any]:
    """All orders of a shift; each has its own reference."""
    runs = [
        of_shift(name, [[rows[i] for i in order[REFERENCE : REFERENCE + SHIFTED]]], [reference])
        for order, reference in zip(orders, references, strict=True)
    ]
    flagged = [run["most_images"] for run in runs if run["flagged"]]
    return {
        "shift": name,
        "runs": len(runs),
        "flagged": len(flagged),
        "median_images": float(np.median(flagged)) if flagged else None,
        "most_images": max(flagged, default=None),
    }


if __name__ == "__main__":
    main()
