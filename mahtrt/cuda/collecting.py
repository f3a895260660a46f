"""No garbage collection while something that it could break goes on."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_inside, _was_on = 0, False


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Collect no cycles in any thread; afterwards it is as it was before the first came in.

    A collection runs in whichever thread allocates. One that frees an array, an event or a stream
    of another library calls CUDA there, and what it calls may be forbidden during a capture.
    """
    global _inside, _was_on
    with _lock:
        if not _inside:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_on:
                gc.enable()
