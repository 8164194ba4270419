"""A way to Redis that a test makes slow, cuts to pieces or ends, or that speaks TLS where the server does not."""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Link:
    """
    A way to Redis that the test makes bad.

    Attributes:
        piece: At most so many bytes go on at once, each way; 0 for as they come.
        delay: The least and most seconds that each answer is late.
        tls: What it presents to clients.
        cut_off: Source addresses whose connections are refused.
    """

    target: str
    piece: int = 0
    delay: tuple[float, float] = (0, 0)
    tls: ssl.SSLContext | None = None
    port: int = 0
    pieces: int = 0
    cut_off: set[str] = field(default_factory=set)
    _random: random.Random = field(default_factory=lambda: random.Random(10))
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("peername")[0] in self.cut_off:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._clients.add(writer)
        task.add_done_callback(lambda _: self._clients.discard(writer))
        parts = urlsplit(self.target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, forth = await asyncio.open_connection(parts.hostname, parts.port)
            with contextlib.closing(writer), contextlib.closing(forth):
                answers = asyncio.create_task(self._pass(back, writer, self.delay))
                await self._pass(reader, forth, (0, 0))
                answers.cancel()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay: tuple[float, float],
    ) -> None:
        # uvloop raises RuntimeError for a write to what has been closed.
        with contextlib.suppress(OSError, RuntimeError):
            while chunk := await reader.read(65_536):
                await asyncio.sleep(self._random.uniform(*delay))
                step = self.piece or len(chunk)
                for at in range(0, len(chunk), step):
                    writer.write(chunk[at : at + step])
                    await writer.drain()
                    self.pieces += 1
                    await asyncio.sleep(0)  # so that it is sent, and other links have their turn
            writer.close()

    async def cut(self, *, reset: bool = False) -> None:
        """End all connections, with `reset` as one whose other side has forgotten them."""
        for writer in self._clients if reset else ():
            lingering = writer.get_extra_info("socket")
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def partition(self, address: str) -> None:
        """End the connections from that source address and refuse new ones; all others stay."""
        self.cut_off.add(address)
        for writer in self._clients:
            if writer.get_extra_info("peername")[0] == address:
                writer.transport.abort()


@asynccontextmanager
async def link_to(url: str, **about: object) -> AsyncIterator[Link]:
    link = Link(url, **about)  # type: ignore[arg-type]
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0, ssl=link.tls)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        await link.cut()


def by_way_of(url: str, link: Link) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{link.port}/")
