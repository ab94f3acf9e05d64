"""Carries TCP connections one way: what stands between a network and whoever is behind NAT.

    python relay.py HOST TARGET PORT [PORT …]

Listens on ``HOST:PORT`` and connects each connection on to ``TARGET:PORT``. The other side sees
the relay's address, and has no way back but the connections that are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def relay(host: str, target: str, ports: list[int]) -> None:
    """Carry connections until cancelled."""

    async def listen(port: int) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                onward, back = await asyncio.open_connection(target, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(_carry(reader, back), _carry(onward, writer))

        return await asyncio.start_server(accept, host, port)

    servers = [await listen(port) for port in ports]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]))
