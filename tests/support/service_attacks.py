"""Requests that no client of a service should make, each by a seed."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 15.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_IMAGE = "/v1/landmarks/net"
_INFER = "/v2/models/net/infer"


@dataclass(frozen=True, slots=True)
class Target:
    """A service under attack, and right requests to spoil.

    Attributes:
        images: Image files, DICOM among them, as bytes.
        input: Name and shape of the network's input.
        body_bytes: Its limit.
        timeout_s: Its patience.
        message: A right message of gRPC, as bytes.
        call: Sends a message to its gRPC port; gives the name of the status, and its words.
    """

    port: int
    grpc_port: int
    images: tuple[bytes, ...]
    input: tuple[str, tuple[int, ...]]
    body_bytes: int
    timeout_s: float
    message: bytes
    call: Callable[[bytes], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status of HTTP or of gRPC, or how the connection ended.

    Attributes:
        status: ``400``, ``INVALID_ARGUMENT``, ``closed`` (by the service), ``dropped`` (by us).
    """

    status: str
    headers: Mapping[str, str]
    body: bytes


def head(path: str, length: int | str, extra: str = "", method: str = "POST") -> bytes:
    """The head of a request."""
    return (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{extra}\r\n"
    ).encode("latin-1")


@contextlib.contextmanager
def _connected(port: int) -> Any:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield made


def read_reply(made: socket.socket) -> Reply:
    """The answer of HTTP on a connection, or how that ended."""
    made.settimeout(PATIENCE_S)
    answer = b""
    try:
        while b"\r\n\r\n" not in answer:
            part = made.recv(65536)
            if not part:
                return Reply("closed", {}, answer)
            answer += part
        text, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.partition(":")[::2] for line in lines)
        headers = {name.lower(): value.strip() for name, value in pairs}
        while len(body) < int(headers.get("content-length", 0)):
            part = made.recv(65536)
            if not part:
                break
            body += part
        return Reply(first.split(" ")[1], headers, body)
    except TimeoutError:
        return Reply("silent", {}, answer)
    except OSError:
        return Reply("closed", {}, answer)


def _sent(port: int, *parts: bytes) -> Reply:
    with _connected(port) as made:
        with contextlib.suppress(OSError):  # it may refuse before all is sent
            for part in parts:
                made.sendall(part)
        return read_reply(made)


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Bytes with some changed, cut, doubled or put in."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        at = chance.randrange(len(spoilt) + 1)
        way = chance.randrange(5)
        if way == 0:
            del spoilt[at:]
        elif way == 1:
            spoilt[at : at + chance.randrange(64)] = b""
        elif way == 2:
            spoilt[at:at] = chance.randbytes(chance.randrange(1, 64))
        elif way == 3:
            spoilt[at:at] = spoilt[at : at + chance.randrange(256)]
        elif at < len(spoilt):
            spoilt[at] = chance.choice((0, 255, spoilt[at] ^ 1 << chance.randrange(8)))
    return bytes(spoilt)


def oversized(target: Target, chance: random.Random) -> Reply:
    """More than may be: bodies announced or sent, pixels, heads, numbers, messages."""
    most, way = target.body_bytes, chance.randrange(7)
    path = chance.choice((_IMAGE, _INFER))
    if way == 0:
        return _sent(target.port, head(path, most + chance.choice((1, 2**20, 2**40, 2**63, 2**80))))
    if way == 1:
        length = most + chance.randrange(1, most)
        return _sent(target.port, head(path, length), bytes(length))
    if way == 2:
        first = f"POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        return _sent(target.port, first, *([chunk] * (most // 65536 + 2)))
    if way == 3:
        body = wide_png(*(chance.randrange(20_000, 2**31) for _ in range(2)))
        return _sent(target.port, head(_IMAGE, len(body)), body)
    if way == 4:
        return _sent(
            target.port, head(path, 0, f"x-long: {'a' * chance.randrange(70_000, 300_000)}\r\n")
        )
    if way == 5:
        body = _inference(
            target, [chance.choice((2**31 - 1, 2**40, 2**70, -1)) for _ in range(4)], [0]
        )
        return _sent(target.port, head(_INFER, len(body)), body)
    return Reply(*_called(target, target.message + bytes(2 * most)))


def wide_png(width: int, height: int) -> bytes:
    """A small file that says that it is a large image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(4096))
    parts = (chunk(b"IHDR", size), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _called(target: Target, message: bytes) -> tuple[str, dict[str, str], bytes]:
    status, words = target.call(message)
    return status, {"content-type": "grpc"}, words.encode()


def _inference(
    target: Target, shape: list[int], data: Any, other: Mapping[str, Any] | None = None
) -> bytes:
    given = {"name": target.input[0], "datatype": "FP32", "shape": shape, "data": data}
    return json.dumps({"inputs": [{**given, **(other or {})}]}).encode()


def malformed(target: Target, chance: random.Random) -> Reply:
    """What is no HTTP, JSON, tensor, form, image or message of gRPC."""
    return chance.choice(
        (_no_http, _no_json, _no_tensor, _no_form, _no_image, _no_image, _no_frame, _no_message)
    )(target, chance)


def _no_http(target: Target, chance: random.Random) -> Reply:
    right = head(_IMAGE, 4) + b"body"
    bad = (
        chance.randbytes(chance.randrange(1, 4096)) + b"\r\n\r\n",
        spoiled(right, chance) + b"\r\n\r\n",
        head(_IMAGE, chance.choice(("-1", "1e3", "0x10", "1, 2", "", "four"))),
        head(_IMAGE, 4, "content-length: 5\r\n") + b"body!",
        head(_IMAGE, 4, "no colon here\r\n") + b"body",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET " + chance.randbytes(64).replace(b" ", b"") + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /v1/landmarks/net HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v2/models/%00%ff HTTP/1.1\r\nhost: a\r\n\r\n",
    )
    return _sent(target.port, chance.choice(bad))


def _no_json(target: Target, chance: random.Random) -> Reply:
    shape = list(target.input[1])
    right = _inference(target, shape, [0.5] * 8)
    values: tuple[Any, ...] = (None, True, -1, 1e308, "", [], {}, [[]], "FP64", [1, [2]], 2**80)
    bad = (
        spoiled(right, chance),
        b"[" * chance.randrange(1, 200_000),
        b'{"inputs":' * chance.randrange(1, 10_000),
        b"\xff\xfe" + right,
        json.dumps(chance.choice(values)).encode(),
        json.dumps({"inputs": chance.choice(values)}).encode(),
        json.dumps({"inputs": [chance.choice(values)]}).encode(),
        _inference(target, shape, [float("nan"), float("inf")]),
        _inference(target, chance.choice(([], [0], [1, 2], shape * 4)), [0]),
        *(
            _inference(target, shape, [0.5], {name: chance.choice(values)})
            for name in ("name", "datatype", "shape", "data", "parameters")
        ),
        json.dumps({**json.loads(right), "outputs": [chance.choice(values)]}).encode(),
    )
    body = chance.choice(bad)
    return _sent(target.port, head(_INFER, len(body)), body)


def _no_tensor(target: Target, chance: random.Random) -> Reply:
    size = chance.choice((-1, 0, 3, 4, 2**31, 2**70, "8", None, 1.5, True))
    given = {"name": target.input[0], "datatype": "FP32", "shape": list(target.input[1])}
    text = json.dumps({"inputs": [{**given, "parameters": {"binary_data_size": size}}]}).encode()
    raw = chance.randbytes(chance.choice((0, 3, 4, 64)))
    length = chance.choice((len(text), 0, -1, len(text) + 1, 2**70, "a", "", len(text) // 2))
    extra = f"inference-header-content-length: {length}\r\n"
    return _sent(target.port, head(_INFER, len(text) + len(raw), extra), text + raw)


def _no_form(target: Target, chance: random.Random) -> Reply:
    def part(name: str) -> bytes:
        named = f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'
        return named.encode() + target.images[0] + b"\r\n"

    one = part(target.input[0])
    bad = (
        spoiled(one + b"--b--\r\n", chance),
        one,
        one * 2 + b"--b--\r\n",
        b"".join(part(f"{k}") for k in range(40)) + b"--b--\r\n",
        b"--b--\r\n",
        chance.randbytes(512),
    )
    body = chance.choice(bad)
    kind = chance.choice(("boundary=b", "boundary=b", "", "boundary=", f"boundary={'b' * 300}"))
    extra = f"content-type: multipart/form-data; {kind}\r\n"
    return _sent(target.port, head(_IMAGE, len(body), extra), body)


def _no_image(target: Target, chance: random.Random) -> Reply:
    body = spoiled(chance.choice(target.images), chance)
    query = chance.choice(
        ("", "", "?spacing_mm=x", "?frame=0", "?frame=9", "?a=b", "?spacing_mm=1e999")
    )
    return _sent(target.port, head(_IMAGE + query, len(body)), body)


def _no_frame(target: Target, chance: random.Random) -> Reply:
    """Frames of HTTP/2 (RFC 9113) that the gRPC port should not get."""
    frames = b"".join(
        struct.pack(">I", chance.randrange(64))[1:]
        + bytes((chance.randrange(12), chance.randrange(256)))
        + struct.pack(">I", chance.choice((0, 1, 3, 2**31 - 1)))
        + chance.randbytes(chance.randrange(64))
        for _ in range(chance.randrange(1, 8))
    )
    first = chance.choice((_PREFACE + b"\0\0\0\4\0\0\0\0\0", _PREFACE, b""))
    with _connected(target.grpc_port) as made, contextlib.suppress(OSError):
        made.sendall(first + frames)
        made.settimeout(0.02)
        made.recv(65536)
    return Reply("dropped", {}, b"")


def _no_message(target: Target, chance: random.Random) -> Reply:
    return Reply(*_called(target, spoiled(target.message, chance)))


def slow(target: Target, chance: random.Random) -> Reply:
    """A head or a body that comes byte by byte, or not at all."""
    way = chance.randrange(5)
    image = target.images[0]
    first = head(_IMAGE, len(image))
    if way == 0:
        return _sent(target.port, b"")
    if way == 1:
        return _sent(target.port, first[: chance.randrange(1, len(first) - 1)])
    if way == 2:
        return _sent(target.port, first)
    if way == 3:
        return _sent(target.port, first, image[: chance.randrange(1, len(image) - 1)])
    whole = first if chance.random() < 0.5 else first + image
    begin = 0 if whole is first else len(first)
    with _connected(target.port) as made:
        made.sendall(whole[:begin])
        end = time.monotonic() + 1.5 * target.timeout_s
        with contextlib.suppress(OSError):
            for at in range(begin, len(whole)):
                made.sendall(whole[at : at + 1])
                made.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if made.recv(1, socket.MSG_PEEK):
                        break
                if time.monotonic() > end:
                    break
        return read_reply(made)


def dropped(target: Target, chance: random.Random) -> Reply:
    """A connection that ends, or breaks, in the middle of something."""
    image = target.images[0]
    whole = head(_IMAGE, len(image)) + image
    if chance.random() < 0.2:
        port, whole = target.grpc_port, _PREFACE + b"\0\0\0\4\0\0\0\0\0" + chance.randbytes(64)
    else:
        port = target.port
    cut = len(whole) if chance.random() < 0.5 else chance.randrange(len(whole))
    with _connected(port) as made:
        if chance.random() < 0.5:  # a reset in place of an end
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            made.sendall(whole[:cut])
        time.sleep(chance.choice((0, 0, 0.001, 0.01)))
    return Reply("dropped", {}, b"")


KINDS: Mapping[str, Callable[[Target, random.Random], Reply]] = {
    "oversized": oversized,
    "malformed": malformed,
    "slow": slow,
    "dropped": dropped,
}
