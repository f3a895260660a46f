"""``multipart/form-data`` (RFC 7578) in memory: no part is written to a disk."""

from __future__ import annotations

from typing import Any

from mahtrt.errors import InputError

_KIND = b"multipart/form-data"
_MOST_PARTS = 16


def boundary_of(content_type: str) -> bytes | None:
    """What stands between the parts; None where the body is one file.

    Raises:
        InputError: The type says that there are parts, and not what stands between them.
    """
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    if kind.lower() != _KIND:
        return None
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise InputError("content-type", got="no boundary", expected="that of multipart/form-data")
    return bytes(boundary)


def parts_of(body: bytes, boundary: bytes) -> dict[str, bytes]:
    """The content of each part by the name of its field; names of files are passed over.

    Raises:
        InputError: It is no such body, has a part without a name, or a name twice.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise InputError("body", got="no multipart/form-data", expected="one") from error
    if not reader.is_ended:
        raise InputError("body", got="a part that is cut off", expected="the last boundary")
    return reader.parts


class _Reader:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.is_ended = False
        self._field, self._value, self._name = bytearray(), bytearray(), ""
        self._content = bytearray()

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._add(self._content_now),
            "on_part_end": self._end,
            "on_header_field": self._add(lambda: self._field),
            "on_header_value": self._add(lambda: self._value),
            "on_header_end": self._header,
            "on_end": self._finish,
        }

    def _content_now(self) -> bytearray:
        return self._content

    @staticmethod
    def _add(where: Any) -> Any:
        def add(data: bytes, start: int, end: int) -> None:
            where().extend(memoryview(data)[start:end])

        return add

    def _begin(self) -> None:
        self._name, self._content = "", bytearray()

    def _header(self) -> None:
        from python_multipart.multipart import parse_options_header

        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field.clear()
        self._value.clear()

    def _end(self) -> None:
        if not self._name or self._name in self.parts or len(self.parts) >= _MOST_PARTS:
            got = "a part without a name" if not self._name else "a name twice, or too many parts"
            raise InputError("body", got=got, expected="a part for each input, by its name")
        self.parts[self._name] = bytes(self._content)

    def _finish(self) -> None:
        self.is_ended = True
