"""Requests to a service that no client should make, a thousand of each kind.

``python experiments/service_fuzz.py BUNDLE`` sends oversized, malformed, slow and dropped requests
over HTTP and gRPC, and looks after each hundred whether the service is ready, finds the same
landmarks in a right image, and stays as it was. The last line is one JSON document; exit code 1
where a bar is missed. docs/log.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from service_fuzzing import FuzzPlan, fuzz, problems


def main() -> int:
    """Run all kinds, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(FuzzPlan(given.bundle, given.each, seed=given.seed), Path(folder))
    document = {
        "problems": problems(found),
        "seconds": round(time.monotonic() - begun, 1),
        "replies": found.replies,
        "events": found.events,
        "longest_check_s": round(max(found.checks_s), 2),
        "resident_mib": [round(look.resident_bytes / 2**20) for look in found.looks],
        "settled": asdict(found.looks[0]),
        "end": asdict(found.looks[-1]),
    }
    print(json.dumps(document))
    return int(bool(document["problems"]))


if __name__ == "__main__":
    sys.exit(main())
