"""A plugin for pytest that notes every test at once, so that a crash loses none of them.

Loaded with ``-p gpu_test_log``; appends a JSON document a line to the file that the variable
``MAHTRT_TEST_LOG`` names. Tests that the file of ``MAHTRT_TESTS_DONE`` lists are left out: pytest's
own ``--deselect`` also leaves out those whose names begin so.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

OURS = ("mahtrt", "experiments", "tests")
PLACE, DONE = "MAHTRT_TEST_LOG", "MAHTRT_TESTS_DONE"


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what is done."""
    done = set(Path(os.environ[DONE]).read_text(encoding="utf-8").splitlines())
    config.hook.pytest_deselected(items=[each for each in items if each.nodeid in done])
    items[:] = [each for each in items if each.nodeid not in done]


def pytest_collection_finish(session: Any) -> None:
    """What is to be run: the rest is what there was no time for."""
    _note(collected=[each.nodeid for each in session.items])


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins; where it is the last line, it ended the process."""
    _note(test=nodeid, status="started", began=time.time())


def pytest_runtest_logreport(report: Any) -> None:
    """A test was run, could not be set up, or failed while it was taken down."""
    if report.when == "call" or report.outcome != "passed":
        reason = "" if report.outcome == "passed" else _reason(report)
        _note(
            test=report.nodeid,
            status=report.outcome,
            seconds=round(float(report.duration), 3),
            reason=reason,
        )


def pytest_collectreport(report: Any) -> None:
    """A file that cannot be imported, or that skips itself.

    One whose package is missing is skipped: what is missing is no failure of what is there.
    """
    if report.outcome == "passed":
        return
    status, reason = report.outcome, _reason(report)
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", reason)
    if missing and missing[1].partition(".")[0] not in OURS:
        status, reason = "skipped", f"no Python package {missing[1]}"
    _note(test=report.nodeid, status=status, reason=reason)


def _reason(report: Any) -> str:
    told = report.longrepr
    if isinstance(told, tuple):  # path, line and why, of a test that is skipped
        return str(told[-1]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    text = str(crash.message if crash is not None else told).strip()
    return (text.splitlines() or [""])[0 if crash is not None else -1][:500]


def _note(**facts: Any) -> None:
    with open(os.environ[PLACE], "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
