"""The one OpenVINO core of the process, and its reader of ONNX.

Its CPU plugin gives the thread that loads it another stack for signals, and takes it away when it
is destroyed (``SigAltStackSetup`` in OpenVINO's sources). Two cores that are not destroyed in the
opposite order of their creation, or not by the thread that created them, leave a thread with a
stack that is no longer mapped, and the next signal (Ctrl-C, SIGTERM) ends the process with a
segmentation fault (seen with OpenVINO 2026.4.1). A core that lives as long as the process cannot.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
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


def read_onnx(place: Path) -> Any:
    """An ONNX file as an OpenVINO model.

    Only OpenVINO's reader of ONNX sees the file: ``Core.read_model`` would also hand it to the
    readers of TensorFlow, Paddle and others, until one takes it.

    Raises:
        MissingComponentError: OpenVINO is not installed.
        RuntimeError: OpenVINO's own error.
    """
    readers: Any = require("openvino.frontend", extra="", needed_for="target openvino")
    try:
        reader = readers.FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(place)))
    except Exception as error:  # the readers' errors have no base of their own
        raise RuntimeError(str(error)) from error
