"""The number of a stream, whatever library it comes from."""

from __future__ import annotations

from typing import Any

from mahtrt.cuda.device import CudaError
from mahtrt.errors import shown

# Where PyTorch, CuPy, and PyCUDA keep the number of a stream.
_ATTRIBUTES = ("cuda_stream", "ptr", "handle")
_DEFAULT_STREAMS = (0, 1, 2)  # of the context, legacy, per thread


def handle_of_stream(stream: Any) -> int:
    """The ``CUstream`` of a stream as an integer.

    Args:
        stream: An integer, or an object with ``__cuda_stream__`` (cuda-core's protocol: a method
            that answers version and handle), ``cuda_stream``, ``ptr`` or ``handle``.

    Raises:
        CudaError: It is no stream.
    """
    handle = stream
    if callable(getattr(stream, "__cuda_stream__", None)):
        _version, handle = stream.__cuda_stream__()
    elif not isinstance(stream, int):
        found = [name for name in _ATTRIBUTES if hasattr(stream, name)]
        handle = getattr(stream, found[0]) if found else None
    try:
        number = -1 if isinstance(handle, bool) else int(handle)
    except (TypeError, ValueError):
        number = -1
    # The driver follows the handle as an address: what cannot be one would crash the process.
    if number in _DEFAULT_STREAMS or 4096 <= number < 2**64:
        return number
    raise CudaError(
        "cuStreamGetCtx",
        0,
        got=f"{shown(stream)} as a stream",
        expected="an integer, or an object with __cuda_stream__, cuda_stream, ptr or handle",
    )
