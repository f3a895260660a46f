"""Images sent to a DICOM node while its process is killed -9 at random moments.

``python experiments/dicom_node_kills.py BUNDLE --engine NAME`` sends 500 images, kills 20 times,
and counts the reports at the other end; then it sends 500 more without a kill, for the memory. The
last line is one JSON document. docs/log.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from dicom_nodes import Archive
from node_kills import Found, Plan, run_with_kills


def main() -> None:
    """Run both parts, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    document: dict[str, Any] = {}
    for name, kills in (("killed", given.kills), ("not killed", 0)):
        plan = Plan(
            given.bundle,
            given.engine,
            images=given.images,
            side=given.side,
            kills=kills,
            life_s=(0.5, 12.0),
            seed=given.seed,
        )
        with tempfile.TemporaryDirectory() as folder, Archive().open() as archive:
            began = time.monotonic()
            found = run_with_kills(plan, archive, Path(folder))
            seconds = time.monotonic() - began
            left = sum(1 for path in Path(folder, "queue").rglob("*.dcm"))
            document[name] = told(found, archive, seconds) | {"files_left": left}
            print(name, json.dumps(document[name]), file=sys.stderr)
    print(json.dumps(document))


def told(found: Found, archive: Archive, seconds: float) -> dict[str, Any]:
    """What a part found, as plain data."""
    steps: dict[int, float] = {}
    for reports, mib in found.memory_mib:
        steps[reports // 50 * 50] = max(steps.get(reports // 50 * 50, 0.0), round(mib, 1))
    return {
        "seconds": round(seconds, 1),
        "images_sent": found.tries,
        "kills": found.kills,
        "lives_s": found.lives,
        "reports": len(archive.stored),
        "times_stored": dict(Counter(archive.count.values())),
        "asked": archive.asked,
        "most_memory_mib_by_reports": steps,
    }


if __name__ == "__main__":
    main()
