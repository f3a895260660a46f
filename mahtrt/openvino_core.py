"""The one OpenVINO core of the process.

Its CPU plugin gives the thread that loads it another stack for signals, and takes it away when it
is destroyed (``SigAltStackSetup`` in OpenVINO's sources). Two cores that are not destroyed in the
opposite order of their creation, or not by the thread that created them, leave a thread with a
stack that is no longer mapped, and the next signal (Ctrl-C, SIGTERM) ends the process with a
segmentation fault (seen with OpenVINO 2026.4.1). A core that lives as long as the process cannot.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from mahtrt.errors import require

_LOCK = threading.Lock()


def shared_core() -> Any:
    """The core that everything here uses: it is thread-safe, and loads its plugin once.

    Raises:
        MissingComponentError: OpenVINO is not installed.
    """
    with _LOCK:  # the cache alone may let two threads make one each
        return _core()


@functools.cache
def _core() -> Any:
    return require("openvino", extra="", needed_for="target openvino").Core()
