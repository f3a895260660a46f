"""A flood of refused connections is a line a second, and nothing of it is lost."""

from __future__ import annotations

from dicom_nodes import Log

from mahtrt.serving.summing import RefusedConnections


def test_lines_are_one_a_second_and_reason() -> None:
    log, now = Log(), [0.0]
    refused = RefusedConnections(log, lambda: now[0])
    for step in range(2500):
        now[0] = step / 1000
        refused.add(f"10.0.0.{step % 100}", "tls" if step % 5 else "too-many-connections")
    lines = [(event.facts["reason"], event.facts["count"]) for event in log.events]
    assert len(lines) == 6
    assert lines[:2] == [("too-many-connections", 1), ("tls", 1)]
    refused.tell_due()  # nothing is due
    assert len(log.events) == 6
    now[0] = 9.0
    refused.tell_due()
    refused.tell_due(all_of_them=True)
    assert len(log.events) == 8
    assert sum(int(event.facts["count"]) for event in log.events) == 2500
    assert log.events[-1].facts["from"] in ("10.0.0.99", "10.0.0.95")


def test_the_end_tells_what_is_left() -> None:
    log = Log()
    refused = RefusedConnections(log, lambda: 5.0)
    for _ in range(3):
        refused.add("10.0.0.1", "broken")
    refused.tell_due(all_of_them=True)
    assert [event.facts["count"] for event in log.events] == [1, 2]
