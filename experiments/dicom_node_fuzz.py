"""Connections to a DICOM node that no sender should make, a thousand of each kind.

``python experiments/dicom_node_fuzz.py BUNDLE --engine NAME`` looks after each hundred whether the
node still answers an echo and takes an image, and at its memory, files and threads; then it opens
hundreds of connections that say nothing. The last line is one JSON document; exit code 1 where a
bar is missed. docs/log.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from dicom_nodes import Archive
from node_fuzzing import FuzzFound, FuzzPlan, fuzz, problems


def main() -> int:
    """Run both parts, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    plan = FuzzPlan(given.bundle, given.engine, each=given.each, seed=given.seed)
    many = replace(plan, kinds=(), associations=200, lot=200)
    document: dict[str, Any] = {}
    for name, each in (("all kinds", plan), ("hundreds idle", many)):
        with tempfile.TemporaryDirectory() as folder, Archive().open() as archive:
            began = time.monotonic()
            found = fuzz(each, archive, Path(folder))
            document[name] = told(found, archive, time.monotonic() - began)
            print(name, json.dumps(document[name]), file=sys.stderr)
    print(json.dumps(document))
    return int(any(part["problems"] for part in document.values()))


def told(found: FuzzFound, archive: Archive, seconds: float) -> dict[str, Any]:
    """What a part found, as plain data."""
    last = {state.kind: state for state in found.states}
    return {
        "problems": problems(found, archive),
        "seconds": round(seconds, 1),
        "connections": found.connections,
        "ended_by_node": found.refused,
        "events": found.events,
        "images": found.images,
        "reports": len(archive.stored),
        "times_stored": dict(Counter(archive.count.values())),
        "longest_check_s": round(max(state.check_s for state in found.states), 2),
        "after": {
            kind: (round(state.rss_mib, 1), state.files, state.threads)
            for kind, state in last.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
