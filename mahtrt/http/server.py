"""The life of the service: ports, event loop, readiness, and an end in good order.

This module needs kserve: import it where a service starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Iterator

import uvicorn

from mahtrt.http.addresses import Address
from mahtrt.http.app import make_app
from mahtrt.http.connections import Server, connection_class
from mahtrt.http.grpc_service import make_grpc_server
from mahtrt.http.keeper import Keeper
from mahtrt.http.model import Plane
from mahtrt.http.state import Service
from mahtrt.serving.events import Fact, ServeEvent

_POLL_S = 0.05
_KEEP_ALIVE_S = 65


class Life:
    """A service from its first port to its last answer.

    Args:
        listening: The REST port, which is bound.
        grpc: Where gRPC listens; None opens no such port.
    """

    def __init__(
        self, service: Service, keeper: Keeper, listening: socket.socket, grpc: Address | None
    ) -> None:
        self._service, self._keeper = service, keeper
        self._listening, self._grpc = listening, grpc
        self._end = threading.Event()

    def end(self) -> None:
        """Ask the service to end, from whatever thread."""
        self._end.set()

    def run(self, tls: ssl.SSLContext | None) -> None:
        """Serve until a signal or :meth:`end`; every request under way gets its answer."""
        asyncio.run(self._run(tls))

    async def _run(self, tls: ssl.SSLContext | None) -> None:
        plane = Plane(self._service)
        rest = Server(self._config(plane, tls))
        grpc, grpc_port = None, 0
        if self._grpc is not None:
            grpc, grpc_port = make_grpc_server(self._service, plane, self._grpc)
            await grpc.start()
        with self._signals():
            serving = asyncio.ensure_future(rest.serve(sockets=[self._listening]))
            told = asyncio.ensure_future(self._tell_ready(grpc_port))
            while not (self._end.is_set() or serving.done()):
                await asyncio.sleep(_POLL_S)
            told.cancel()
            self._service.is_ending.set()
            self._service.tell(ServeEvent("ending"))
            rest.should_exit = True
            stopping = [serving]
            if grpc is not None:
                stopping.append(asyncio.ensure_future(grpc.stop(self._service.options.drain_s)))
            await asyncio.gather(*stopping)

    def _config(self, plane: Plane, tls: ssl.SSLContext | None) -> uvicorn.Config:
        options = self._service.options
        config = uvicorn.Config(
            make_app(self._service, plane),
            http=connection_class(options.timeout_s, options.connections),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(options.drain_s)),
        )
        config.load()
        config.ssl = tls
        return config

    async def _tell_ready(self, grpc_port: int) -> None:
        """Tell once that every bundle was opened, or refused."""
        while not self._keeper.is_opened.is_set():
            await asyncio.sleep(_POLL_S / 5)
        host, port = self._listening.getsockname()[:2]
        facts: dict[str, Fact] = {"host": host, "port": port}
        facts |= {"grpc_port": grpc_port} if grpc_port else {}
        ready = sum(queue.served.is_ready for queue in self._service.queues.values())
        facts |= {"models": len(self._service.queues), "ready": ready}
        self._service.tell(ServeEvent("ready", facts))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the service in good order, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            loop.add_signal_handler(number, self._end.set)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
