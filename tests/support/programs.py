"""Python programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys


def run_python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter; the caller looks at how it ended.

    Args:
        environment: Variables added to those of this process.
    """
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
