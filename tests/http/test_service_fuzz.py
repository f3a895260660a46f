"""A service under requests that no client should make: the short form of the thousand of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from service_attacks import KINDS
from service_fuzzing import FuzzPlan, fuzz, problems


@pytest.mark.slow
def test_bad_requests_get_the_protocols_error_and_leave_nothing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    plan = FuzzPlan(tiny_bundle, each=25, lot=25, settle=10, rest_s=1.5)
    found = fuzz(plan, tmp_path)
    assert problems(found) == []
    assert {kind: sum(found.replies[kind].values()) for kind in KINDS} == dict.fromkeys(KINDS, 25)
    assert found.replies["slow"] == {"408": 25}
    assert found.replies["malformed"]["400"] > 10
    assert "PATIENT" not in found.log.upper()
