"""Serve an ASGI app over TLS from a thread of this process; it takes no signals."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn

from nodes.config.addresses import is_wildcard
from nodes.errors import NodeError
from nodes.flower.guard import App
from nodes.trust.tls import TlsFiles

START_S = 30.0
GRACE_S, STOP_S = 1.0, 5.0


class TlsServer:
    """Serves ``app`` on ``host:port`` (port 0: one that is free) from ``start`` to ``stop``."""

    def __init__(self, app: App, host: str, port: int, tls: TlsFiles) -> None:
        self._app, self._host, self._port, self._tls = app, host, port, tls
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._served = b""

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address; the real port after ``start``."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def start(self) -> None:
        """Listen, and return when requests are answered.

        Raises ``NodeError`` ``cannot-listen``.
        """
        try:
            listening = _listen(self._host, self._port)
        except OSError as error:
            raise NodeError(
                "cannot-listen",
                f"Cannot listen on {self.address}: {error.strerror or error}. "
                "Set [downlink] host to an address of this machine, or port to one that is free.",
            ) from None
        self._port = listening.getsockname()[1]
        self._served = self._tls.certificate.read_bytes()
        server = uvicorn.Server(self._config())
        thread = threading.Thread(
            target=_serve, args=(server, listening), name="flower-server", daemon=True
        )
        self._server, self._thread = server, thread
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise NodeError("cannot-listen", f"The server on {self.address} did not start.")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop listening; requests under way get a moment to end. A second call does nothing."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(GRACE_S)
        self._server.force_exit = True
        self._thread.join(STOP_S)
        self._server = self._thread = None

    def take_certificate(self) -> bool:
        """Serve the certificate that the files hold now; return whether it is another one.

        New connections get it; those that are open stay as they are.
        """
        present = self._tls.certificate.read_bytes()
        context = self._server.config.ssl if self._server else None
        if context is None or present == self._served:
            return False
        context.load_cert_chain(self._tls.certificate, self._tls.key)
        self._served = present
        return True

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            ssl_certfile=self._tls.certificate,
            ssl_keyfile=self._tls.key,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws="none",
            # h11 hands over the request line as it was sent; the faster parser takes absolute
            # addresses apart, and the guard would not see them.
            http="h11",
            loop="asyncio",
            proxy_headers=False,
            timeout_keep_alive=60,
        )


def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    with listening:
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Named IPPROTO_TCP, or asyncio does not set TCP_NODELAY: 0.41 s a round trip instead of 0.19.
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and is_wildcard(host):
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 as well
        listening.bind(where)
        listening.listen(256)
    except BaseException:
        listening.close()
        raise
    return listening
