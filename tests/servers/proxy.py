"""A way to a server that can be cut: answers get lost, or everything, or the connections end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["Proxy", "proxied"]

PORTS = {"amqp": 5672, "postgresql": 5432}
CHUNK = 65_536
END_S = 1.0


class Proxy:
    """Passes bytes on, until it is told otherwise.

    Attributes:
        url: The server, through the proxy.
        is_deaf: Whether the server's answers are swallowed: who asks believes to be heard, and is.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or PORTS[parts.scheme])
        self.url = ""
        self.is_deaf = False
        self._there = _open_gate()
        self._back = _open_gate()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Cut all connections, so that both ends notice."""
        for writer in self._writers:
            writer.transport.abort()

    def sever(self, *, there: bool = True, back: bool = True) -> None:
        """Pass nothing on for now, as a network that is cut: nobody notices, nothing is closed.

        Bytes that come in wait, and so do ends of connections. New connections are taken, and
        nothing answers on them.

        Args:
            there: Whether the server gets nothing.
            back: Whether the client gets nothing.
        """
        for gate, is_shut in ((self._there, there), (self._back, back)):
            if is_shut:
                gate.clear()

    def mend(self) -> None:
        """Pass everything on again, and first what has waited."""
        self._there.set()
        self._back.set()

    async def end(self) -> None:
        """Cut all connections, and wait until nothing is left of them."""
        self.mend()
        while self._serving:
            self.cut()
            await asyncio.wait(list(self._serving), timeout=END_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one client and the server say."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            # The server is down: who wants to reach it notices, as without a proxy.
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        try:
            await asyncio.gather(
                self._pump(reader, back, self._there, swallow=False),
                self._pump(there, writer, self._back, swallow=True),
            )
        finally:
            self._writers -= ends
            for each in ends:
                each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event,
        *,
        swallow: bool,
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await gate.wait()
                if not (swallow and self.is_deaf):
                    writer.write(data)
                    await writer.drain()
            await gate.wait()
        except ConnectionError:
            return
        finally:
            writer.close()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@asynccontextmanager
async def proxied(url: str) -> AsyncGenerator[Proxy]:
    """Run a proxy to a server.

    Args:
        url: Where the server is, such as `amqp://guest:guest@127.0.0.1:5672/`.
    """
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    proxy.url = parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
    async with server:
        try:
            yield proxy
        finally:
            await proxy.end()
