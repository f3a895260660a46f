"""Signals unwind, except where they are held back."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

UNWIND = """
import os, signal, sys, threading, time
from mahtrt.interrupt import interrupt_later, unwind_on_signals
signal.signal(signal.SIGINT, signal.default_int_handler)
unwind_on_signals()
number = int(sys.argv[1])
"""
CLEANED = """
try:
    print("ready", flush=True)
    time.sleep(30)
finally:
    print("cleaned", flush=True)
"""
HELD = """
# A thread that does not block the signal takes it, as threads of native code do.
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
try:
    with interrupt_later():
        print("ready", flush=True)
        os.kill(os.getpid(), number)
        time.sleep(0.3)
        print("whole", flush=True)
    print("too far", flush=True)
finally:
    print("cleaned", flush=True)
"""
FREED = """
class Slow:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(1)  # the signal comes now, and Python drops what is raised here

try:
    Slow()
    time.sleep(30)
finally:
    print("cleaned", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.parametrize(
    ("program", "said"), [(CLEANED, "cleaned"), (HELD, "whole\ncleaned"), (FREED, "cleaned")]
)
def test_a_signal_unwinds_and_says_so_by_its_status(
    number: int, status: int, program: str, said: str
) -> None:
    command = [sys.executable, "-c", UNWIND + program, str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if program is not HELD:
            process.send_signal(number)
        told, _ = process.communicate(timeout=20)
    assert told.decode().strip() == said
    assert process.returncode == status


def test_what_is_ignored_stays_ignored() -> None:
    program = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + UNWIND
    program += "os.kill(os.getpid(), number); print('goes on')"
    command = [sys.executable, "-c", program, str(int(signal.SIGHUP))]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"goes on\n"
