"""What a TensorRT engine file tells without being deserialised.

The header of TensorRT-RTX engines (seen with 1.7.1; not documented): ``vtrt``, four zero bytes, a
64-bit 2, the size of the whole file as 64 bits, then four bytes of version. It is believed only
where magic and size agree with the file.
"""

from __future__ import annotations

from pathlib import Path

from mahtrt.errors import ModelError

RTX_MAGIC = b"vtrt"
HEADER_BYTES = 28
SUFFIXES = (".plan", ".engine", ".trt")


def has_rtx_header(path: Path) -> bool:
    """Whether a file begins as engines of TensorRT-RTX do."""
    with path.open("rb") as file:
        return file.read(len(RTX_MAGIC)) == RTX_MAGIC


def version_of(path: Path) -> str:
    """The version of TensorRT-RTX that made an engine, by its header; "" for another's engine.

    Raises:
        ModelError: The file is empty, or its size is not what its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if not head:
        raise ModelError(str(path), got="an empty file", expected="a TensorRT engine")
    if not head.startswith(RTX_MAGIC):
        return ""
    said = int.from_bytes(head[16:24], "little")
    if len(head) < HEADER_BYTES or said != size:
        raise ModelError(
            str(path),
            got=f"{size} bytes" + (f" where its header says {said}" if said else ""),
            expected="a whole TensorRT-RTX engine",
            fix="Copy it again from where it was whole, or build it again.",
        )
    return ".".join(str(byte) for byte in head[24:28])
