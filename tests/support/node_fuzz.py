"""Connections that do to a DICOM node what no sender should, each by a seed."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

from dicom_units import (
    ABORT,
    COMMAND,
    CONTEXTS,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    RELEASE,
    STORE,
    VERIFICATION,
    XRAY,
    command,
    data,
    item,
    receive,
    request,
    unit,
)

PATIENCE_S = 10.0


@contextlib.contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """A raw connection to the node."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield made


@contextlib.contextmanager
def association(port: int) -> Iterator[socket.socket]:
    """A connection whose association was accepted; one that was not is closed."""
    with connection(port) as made:
        made.sendall(request())
        kind, _ = receive(made)
        if kind == 2:
            yield made
        else:
            raise ConnectionError("no association")


def end(made: socket.socket, chance: random.Random) -> None:
    """Wait for an answer, close, or break the connection."""
    way = chance.choice(("wait", "close", "break"))
    if way == "wait":
        made.settimeout(0.05)
        with contextlib.suppress(OSError):
            made.recv(4096)
    elif way == "break":  # a RST instead of a FIN
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def random_bytes(port: int, chance: random.Random) -> None:
    """Anything, half of the time with the head of a unit."""
    content = chance.randbytes(chance.choice((1, 5, 6, 7, 60, 600, 6000)))
    if chance.random() < 0.5:
        content = unit(chance.randint(0, 9), content)
    with connection(port) as made:
        made.sendall(content)
        end(made, chance)


def cut_off(port: int, chance: random.Random) -> None:
    """A request, or a unit within an association, that ends too early."""
    if chance.random() < 0.5:
        with connection(port) as made:
            whole = request()
            made.sendall(whole[: chance.randrange(len(whole))])
            end(made, chance)
        return
    with association(port) as made:
        whole = data(1, COMMAND | LAST, command(ECHO, VERIFICATION)) + RELEASE
        made.sendall(whole[: chance.randrange(len(whole))])
        end(made, chance)


def mutated(port: int, chance: random.Random) -> None:
    """A request and a message in which some bytes are others."""
    units = [bytearray(request()), bytearray(data(1, COMMAND | LAST, command(ECHO, VERIFICATION)))]
    for _ in range(chance.randint(1, 8)):
        each = chance.choice(units)
        each[chance.randrange(len(each))] = chance.randrange(256)
    with connection(port) as made:
        made.sendall(units[0])
        made.settimeout(0.05)
        with contextlib.suppress(OSError):
            receive(made)
        made.sendall(units[1])
        end(made, chance)


def too_long(port: int, chance: random.Random) -> None:
    """Lengths of units, items and fragments that are not so."""
    length = chance.choice((2**32 - 1, 2**31, 2**24, 2**20 + 1, 70_000))
    way = chance.choice(("request", "item", "data", "fragment"))
    if way in ("request", "item"):
        whole = bytearray(request())
        if way == "item":  # of the application context
            struct.pack_into(">H", whole, 76, chance.randrange(22, 2**16))
        else:
            struct.pack_into(">I", whole, 2, length)
        with connection(port) as made:
            made.sendall(whole)
            end(made, chance)
        return
    with association(port) as made:
        content = command(ECHO, VERIFICATION)
        whole = bytearray(data(1, COMMAND | LAST, content))
        struct.pack_into(">I", whole, 2 if way == "data" else 6, length)
        made.sendall(whole)
        end(made, chance)


def wrong_order(port: int, chance: random.Random) -> None:
    """Units that are right each, one after the other as they come."""
    known = (
        *(request(), RELEASE, ABORT),
        *(unit(2, request()[6:]), unit(3, bytes(4)), unit(6, bytes(4))),
        *(data(1, COMMAND | LAST, command(ECHO, VERIFICATION)), data(3, LAST, b"\0" * 8)),
    )
    with connection(port) as made:
        if chance.random() < 0.5:
            made.sendall(request())
            receive(made)
        for _ in range(chance.randint(1, 6)):
            made.sendall(chance.choice(known))
        end(made, chance)


def broken_data(port: int, chance: random.Random) -> None:
    """Messages that cannot be, within an association that is right."""
    good = command(STORE, XRAY, instance=b"1.2.3.%d" % chance.randrange(10**9))
    junk = chance.randbytes(chance.randint(0, 300))
    broken = (
        lambda: data(chance.randrange(256), chance.randrange(256), junk),
        lambda: data(3, COMMAND | LAST, junk),
        lambda: data(3, COMMAND | LAST, good[: chance.randrange(len(good))]),
        lambda: data(3, LAST, junk),  # data before a command
        lambda: data(3, COMMAND | LAST, good) + data(1, LAST, junk),
        lambda: data(3, COMMAND | LAST, good) + data(3, LAST, junk),
        lambda: data(3, COMMAND | LAST, good) + data(3, 0, junk) + data(3, COMMAND | LAST, good),
        lambda: data(3, COMMAND | LAST, good) * 2,
        lambda: data(1, COMMAND | LAST, command(chance.randrange(2**16), VERIFICATION)),
        lambda: data(3, COMMAND | LAST, command(STORE, XRAY)),  # of no instance
        lambda: (
            data(3, COMMAND | LAST, command(STORE, b"1.2.3", instance=b"1.2.4"))
            + data(3, LAST, junk)
        ),
        lambda: (
            data(3, COMMAND | LAST, command(STORE, XRAY, instance=b"\xff not a UID"))
            + data(3, LAST, junk)
        ),
        lambda: unit(4, junk),
        lambda: unit(4, struct.pack(">IBB", chance.randrange(2), 1, 3)),
    )
    with association(port) as made:
        for _ in range(chance.randint(1, 3)):
            made.sendall(chance.choice(broken)())
        end(made, chance)


def slow(port: int, chance: random.Random) -> None:
    """A request, or a unit within an association, of a few bytes at a time, until it is cut."""
    in_association = chance.random() < 0.5
    with (association if in_association else connection)(port) as made:
        whole = data(3, COMMAND | LAST, bytes(400)) if in_association else request()
        made.settimeout(chance.uniform(0.01, 0.1))
        for at in range(0, len(whole), 3):
            made.sendall(whole[at : at + 3])
            with contextlib.suppress(TimeoutError):
                if not made.recv(1):
                    return


def dropped(port: int, chance: random.Random) -> None:
    """A connection that ends while an object comes in."""
    with association(port) as made:
        instance = b"1.2.3.%d" % chance.randrange(10**9)
        made.sendall(data(3, COMMAND | LAST, command(STORE, XRAY, instance=instance)))
        for _ in range(chance.randint(0, 20)):
            made.sendall(data(3, 0, bytes(chance.randint(1, 16000))))
        end(made, chance)


def stranger(port: int, chance: random.Random) -> None:
    """Titles, contexts and syntaxes that the node does not know."""
    titles = (
        *(b"", b"CT1", b"ct1", b"X" * 16, b"\x00" * 16, b"\xff\xfe\x80 \\^=", b"CT1\n\x1b[2J"),
        chance.randbytes(16),
    )
    contexts = chance.choice(
        (
            CONTEXTS,
            ((1, b"1.2.3.4", IMPLICIT),),
            ((1, XRAY, b"1.2.3.4"),),
            (),
            tuple((number, XRAY, EXPLICIT) for number in range(1, 256, 2)),
            ((2, XRAY, EXPLICIT), (2, XRAY, EXPLICIT)),
            ((1, b"", b""), (3, b"\xff" * 200, b"x")),
        )
    )
    asked = request(chance.choice(titles), chance.choice((*titles, b"MAHTRT")), contexts)
    if chance.random() < 0.2:  # with an item of user information that nobody knows
        asked = unit(1, asked[6:] + item(0x50, item(chance.randrange(256), chance.randbytes(9))))
    with connection(port) as made:
        made.sendall(asked)
        end(made, chance)


KINDS: dict[str, Callable[[int, random.Random], None]] = {
    "random-bytes": random_bytes,
    "cut-off": cut_off,
    "mutated": mutated,
    "too-long": too_long,
    "wrong-order": wrong_order,
    "broken-data": broken_data,
    "slow": slow,
    "dropped": dropped,
    "stranger": stranger,
}


def idle(port: int, count: int, wait_s: float) -> int:
    """Open connections that say nothing; how many of them the node has closed after a while."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(connection(port)) for _ in range(count)]
        time.sleep(wait_s)
        closed = 0
        for each in made:
            each.setblocking(False)
            try:
                closed += each.recv(1) == b""
            except BlockingIOError:
                pass
            except OSError:
                closed += 1
        return closed
