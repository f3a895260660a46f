"""One client of a service, in a process of its own that does little but wait.

``python -S service_client.py PORT FILE`` connects once and reads lines: ``SECONDS COUNT`` sends the
bytes of FILE again and again, one request after the other, until the time or the count is over. It
writes a line of JSON (requests, answers by status, milliseconds of each) after each.
"""

import json
import socket
import sys
import time


def exchange(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; the connection stays open."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("the service closed the connection")
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    parts, have = [body], len(body)
    while have < length:
        parts.append(connection.recv(262144))
        if not parts[-1]:
            raise ConnectionError("the answer was cut off")
        have += len(parts[-1])
    return int(head[9:12]), b"".join(parts)


def main() -> None:
    port, place = int(sys.argv[1]), sys.argv[2]
    with open(place, "rb") as file:
        request = file.read()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for line in sys.stdin:
        seconds, most = line.split()
        end = time.monotonic() + float(seconds)
        statuses: dict[int, int] = {}
        times_ms: list[float] = []
        while len(times_ms) < int(most) and time.monotonic() < end:
            begun = time.monotonic()
            status, _ = exchange(connection, request)
            times_ms.append(round((time.monotonic() - begun) * 1e3, 2))
            statuses[status] = statuses.get(status, 0) + 1
        print(json.dumps({"statuses": statuses, "times_ms": times_ms}), flush=True)


if __name__ == "__main__":
    main()
