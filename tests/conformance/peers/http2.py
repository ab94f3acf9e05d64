"""HTTP/2 by hand: a client that does what no gRPC library lets anybody do.

Frames are written as fast as the socket takes them; limits that the other side names are not kept.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodes.peers.wire.client import Credentials

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str) -> bytes:
    """Write a request's headers, each as a literal that no table remembers."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", path.encode()),
        (b":authority", b"parent"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    return b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )


def call(stream: int, block: bytes, message: bytes) -> bytes:
    """Write a whole call with one message."""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)


def context_of(shown: Credentials, folder: Path) -> ssl.SSLContext:
    """Make what connections are opened with; ``ssl`` reads certificate and key from a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if shown.certificate and shown.key:
        pem = folder / "shown.pem"
        pem.write_bytes(shown.certificate + shown.key)
        context.load_cert_chain(pem)
    return context


@contextmanager
def connected(address: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Open a TLS connection and begin HTTP/2 on it."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        secured.sendall(PREFACE + frame(SETTINGS, 0, 0))
        yield secured


@dataclass
class Blast:
    """What came of calls that were written without waiting for answers."""

    written: int = 0
    answered: int = 0
    reset: int = 0
    ended: bool = False


def blast(secured: ssl.SSLSocket, path: str, message: bytes, until: float, ahead: int) -> Blast:
    """Write calls until a moment of ``time.monotonic``, at most ``ahead`` unanswered; count what
    comes back."""
    secured.setblocking(False)
    done, block, stream = Blast(), headers(path), 1
    outgoing, incoming = bytearray(), bytearray()
    while time.monotonic() < until and not done.ended:
        while len(outgoing) < 64 * 1024 and done.written - done.answered - done.reset < ahead:
            outgoing += call(stream, block, message)
            stream, done.written = stream + 2, done.written + 1
        wants = [secured] if outgoing else []
        select.select([secured], wants, [], 0.05)
        try:
            while outgoing:
                del outgoing[: secured.send(outgoing[: 16 * 1024])]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            done.ended = True
        try:
            while data := secured.recv(64 * 1024):
                incoming += data
            done.ended = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            done.ended = True
        outgoing += _take_in(incoming, done)
    return done


def _take_in(incoming: bytearray, done: Blast) -> bytes:
    """Take whole frames; return what has to be answered to them."""
    replies = b""
    while len(incoming) >= 9:
        length = int.from_bytes(incoming[:3], "big")
        if len(incoming) < 9 + length:
            break
        kind, flags = incoming[3], incoming[4]
        payload = bytes(incoming[9 : 9 + length])
        del incoming[: 9 + length]
        if kind == SETTINGS and not flags & ACK:
            replies += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            replies += frame(PING, ACK, 0, payload)
        elif kind == HEADERS and flags & END_STREAM:
            done.answered += 1
        elif kind == RST_STREAM:
            done.reset += 1
        elif kind == GOAWAY:
            done.ended = True
    return replies
