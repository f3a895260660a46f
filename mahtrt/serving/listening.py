"""pynetdicom's server with limits, times and TLS of its own.

This module needs pynetdicom: import it where a service starts.
"""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pynetdicom import evt
from pynetdicom._handlers import (
    standard_dimse_recv_handler,
    standard_dimse_sent_handler,
    standard_pdu_recv_handler,
    standard_pdu_sent_handler,
)
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer

from mahtrt.serving.summing import RefusedConnections

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server needs besides what pynetdicom knows."""

    tls: ssl.SSLContext | None
    timeout_s: float
    most_connections: int
    refused: RefusedConnections


class Server(ThreadedAssociationServer):
    """pynetdicom's server, with a limit on connections, times for all of them, and TLS apart.

    pynetdicom greets by TLS where it accepts, so that one who says nothing keeps others out.
    """

    daemon_threads = True
    request_queue_size = 128  # with 5, who comes in a burst waits a second for another try

    def __init__(self, *args: Any, setup: Setup, **named: Any) -> None:
        self._setup, self._is_begun = setup, False
        self._greeted = threading.BoundedSemaphore(setup.most_connections)
        super().__init__(*args, **named)
        # What they log names objects, and costs time whether it is shown or not.
        self.unbind(evt.EVT_DIMSE_RECV, standard_dimse_recv_handler)
        self.unbind(evt.EVT_DIMSE_SENT, standard_dimse_sent_handler)
        self.unbind(evt.EVT_PDU_RECV, standard_pdu_recv_handler)
        self.unbind(evt.EVT_PDU_SENT, standard_pdu_sent_handler)

    def begin(self) -> None:
        """Listen, and serve in a thread of its own."""
        super().server_activate()
        self._is_begun = True
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True).start()

    def end(self) -> None:
        """Close the port; associations go on."""
        if self._is_begun:  # else it would wait for a thread that is not there
            BaseServer.shutdown(self)
        self.server_close()

    def server_activate(self) -> None:
        """Not yet: the port is taken, and opens in :meth:`begin`."""

    def service_actions(self) -> None:
        """Let go of connections that ended before they asked for an association.

        pynetdicom waits for that request until its time is over, so that a few who look whether
        the port is open, as balancers do, would keep everybody else out.
        """
        super().service_actions()
        self._setup.refused.tell_due()
        for association in self.active_associations:
            if _is_over(association):
                waiting: Any = association.dul.to_user_queue
                waiting.put(None)  # in place of the request that never came

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        assert self.socket is not None
        client, address = self.socket.accept()
        client.settimeout(self._setup.timeout_s)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        has_room = len(self.active_associations) < self._setup.most_connections
        if has_room and self._greeted.acquire(blocking=False):
            return True
        self._setup.refused.add(str(client_address[0]), "too-many-connections")
        return False

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            if self._setup.tls is not None:
                request = self._setup.tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        finally:
            self._greeted.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self._setup.refused.add(str(client_address[0]), "tls" if self._setup.tls else "broken")


def _is_over(association: Association) -> bool:
    """Whether no request can come any more: the connection is closed, or its thread has ended."""
    if not association._started_dul or association.requestor.primitive is not None:
        return False
    transport = association.dul.socket
    return not association.dul.is_alive() or transport is None or transport.socket is None
