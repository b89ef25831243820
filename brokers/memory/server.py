"""The server end of the socket: lets other processes of the machine use a hub.

Each connection is a session of the hub. When the connection ends, for whatever reason, so does
the session, and what the client had not settled goes back to its queue.

The server waits for nobody. A client that does not read is sent nothing more and is not listened
to any more, so it costs at most what `FLUSH_BYTES` and one frame need; a client that never says
hello is cut off. Whoever may connect is decided by the file: the folder belongs to this user
alone, and so does the socket.
"""

import asyncio
import errno
import os
import socket
import stat
from functools import partial
from pathlib import Path
from typing import Final

from brokers.memory.frames import (
    VERSION,
    Answer,
    Cancel,
    Consume,
    Declare,
    Deliver,
    Find,
    Frame,
    Goodbye,
    Hello,
    Publish,
    Refusal,
    Settle,
    Verdict,
    Welcome,
    encode,
)
from brokers.memory.hub import Hub, Listener, Session
from brokers.memory.link import Link
from brokers.memory.queues import Consumer
from flow.errors import ConfigurationError, CorruptRecord, FlowError
from flow.ports import Delivery, Settlement

__all__ = ["PATH_BYTES", "SETTLEMENTS", "SocketServer", "check_path"]

PATH_BYTES: Final = 107
"""Bytes of the longest path that a Unix socket may have."""
CONNECTIONS_MAX: Final = 256
"""Connections of one server; those above are closed at once."""
SETTLEMENTS: Final = tuple(Settlement)
"""Settlements as the numbers of an `Answer`: their index."""

_CODES: Final = {settlement: code for code, settlement in enumerate(SETTLEMENTS)}


def check_path(path: str) -> None:
    """Make sure that a socket can have this path.

    Raises:
        ConfigurationError: It is too long.
    """
    size = len(os.fsencode(path))
    if size > PATH_BYTES:
        raise ConfigurationError(
            f"socket {path!r}",
            f"its path has {size} bytes; a Unix socket allows {PATH_BYTES}. Use a shorter folder",
        )


class ServerConnection(Listener):
    """One client.

    Args:
        server: Who it is connected to.
        hub: What it uses.
        hello_s: Seconds within which it has to say hello.
    """

    def __init__(self, server: "SocketServer", hub: Hub, hello_s: float) -> None:
        self.link: Link | None = None
        self._server = server
        self._hub = hub
        self._hello_s = hello_s
        self._session: Session | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._consumers: dict[int, Consumer] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._tag = 0

    def opened(self, link: Link) -> None:
        """Wait for its hello, but not for long."""
        self.link = link
        if self._server.admit(self):
            late = partial(link.abort, "the client said no hello")
            self._hello_timer = asyncio.get_running_loop().call_later(self._hello_s, late)
        else:
            link.abort("there are too many connections")

    def received(self, frame: Frame) -> None:
        """Do what it asks for, and answer.

        Raises:
            CorruptRecord: It says something that a client does not say at this point.
        """
        if self._session is None:
            self._greet(frame)
        elif not self._session.is_open:
            raise CorruptRecord("a client's frame", "it comes after the goodbye")
        elif isinstance(frame, Settle):
            self._settle(frame)
        else:
            answer: Answer | Refusal
            try:
                answer = self._answer(frame, self._session)
            except ConfigurationError as error:
                answer = Refusal(error.what, error.reason)
            self._send(answer)

    def stalled(self, is_stalled: bool) -> None:  # noqa: FBT001 - see LinkOwner
        """Hand out and take in nothing while the client does not read."""
        if self._session is None or self.link is None:
            return
        if is_stalled:
            self.link.pause_reading()
            self._session.pause()
        else:
            self.link.resume_reading()
            self._session.resume()

    def closed(self, reason: str) -> None:
        """Give back to the hub what the client had."""
        self.end()
        self._server.dismiss(self)

    def end(self) -> None:
        """End the session."""
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._session is not None:
            self._session.close()

    def close(self) -> None:
        """End the session, then the connection."""
        self.end()
        if self.link is not None:
            self.link.close()

    def lost(self) -> None:
        """Let the client go: the hub has ended its session."""
        if self.link is not None:
            self.link.abort("the hub has ended the session")

    def _greet(self, frame: Frame) -> None:
        if not isinstance(frame, Hello):
            raise CorruptRecord("a client's first frame", "it is no hello")
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if frame.version == VERSION:
            self._session = self._hub.connect(self)
        self._send(Welcome())
        if frame.version != VERSION:
            self.close()

    def _answer(self, frame: Frame, session: Session) -> Answer:
        values = b""
        match frame:
            case Publish(publications):
                values = bytes([_CODES[each] for each in session.publish(publications)])
            case Declare(topology):
                session.declare(topology)
            case Find(exchange):
                values = bytes([session.has_exchange(exchange)])
            case Consume(number, queue, prefetch):
                self._consume(number, queue, prefetch)
            case Cancel(number):
                if number in self._consumers:
                    session.cancel(self._consumers.pop(number))
            case Goodbye():
                self._deliveries.clear()
                session.close()
            case _:
                raise CorruptRecord("a client's frame", f"{type(frame).__name__} is the server's")
        return Answer(values)

    def _consume(self, number: int, queue: str, prefetch: int) -> None:
        if number in self._consumers:
            raise CorruptRecord("a client's frame", f"consumer {number} is there already")
        if self._session is not None:
            receive = partial(self._deliver, number)
            self._consumers[number] = self._session.consume(queue, prefetch, receive)

    def _deliver(self, consumer: int, delivery: Delivery) -> None:
        self._tag += 1
        frame = Deliver(
            consumer, self._tag, delivery.redelivered, delivery.routing_key, delivery.envelope
        )
        try:
            data = encode(frame)
        except FlowError as error:
            # It came from this process and cannot leave it. Giving it back would not help.
            delivery.reject()
            _report("a message cannot be sent to another process; it was rejected", error)
            return
        self._deliveries[self._tag] = delivery
        if self.link is not None:
            self.link.send(data)

    def _settle(self, frame: Settle) -> None:
        for tag, verdict in frame.verdicts:
            delivery = self._deliveries.pop(tag, None)
            if delivery is None:
                continue
            if verdict is Verdict.ACK:
                delivery.ack()
            elif verdict is Verdict.REQUEUE:
                delivery.requeue()
            else:
                delivery.reject()

    def _send(self, frame: Frame) -> None:
        if self.link is not None:
            self.link.send(encode(frame))


class SocketServer:
    """Offers a hub on a Unix socket.

    Two servers that start at the same moment on the path of a dead one could replace each
    other's socket: whoever starts a server holds the lock of what it serves.

    Args:
        hub: What is offered.
        path: Where the socket will be: in a folder that belongs to this user alone.
        deadline_s: Seconds that a client may take to say hello, and `stop` to send the rest.
    """

    def __init__(self, hub: Hub, path: str | os.PathLike[str], deadline_s: float = 10.0) -> None:
        self._hub = hub
        self._path = os.fspath(path)
        self._deadline_s = deadline_s
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._connections: dict[ServerConnection, None] = {}
        self._drained: asyncio.Future[None] | None = None

    @property
    def path(self) -> str:
        """Where the socket is."""
        return self._path

    async def start(self) -> None:
        """Make the socket and take connections. Does nothing on a server that has started.

        Raises:
            ConfigurationError: The path is too long, its folder is open to others, or something
                else is there already.
        """
        if self._server is not None:
            return
        listener = _listener(self._path)
        try:
            self._identity = _identity(self._path)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(
                partial(self._accept, loop), sock=listener, start_serving=False
            )
        except BaseException:
            listener.close()
            raise
        await self._server.start_serving()

    async def stop(self) -> None:
        """Remove the socket and end every connection. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        # The file goes first: nobody replaces it as long as we still answer on it.
        _remove_own(self._path, self._identity)
        server.close()
        for connection in list(self._connections):
            connection.close()
        try:
            await self._drain()
        except TimeoutError:
            for connection in list(self._connections):
                if connection.link is not None:
                    connection.link.abort("the server has stopped")
            await self._drain()

    def admit(self, connection: ServerConnection) -> bool:
        """Return whether one more client is welcome."""
        self._connections[connection] = None
        return self._server is not None and len(self._connections) <= CONNECTIONS_MAX

    def dismiss(self, connection: ServerConnection) -> None:
        """Take note that a client is gone."""
        self._connections.pop(connection, None)
        if not self._connections and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _accept(self, loop: asyncio.AbstractEventLoop) -> Link:
        return Link(ServerConnection(self, self._hub, self._deadline_s), loop)

    async def _drain(self) -> None:
        if self._connections:
            self._drained = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(self._deadline_s):
                await self._drained


def _listener(path: str) -> socket.socket:
    """Return a socket that is bound to *path* and nobody else may use."""
    check_path(path)
    _check_folder(Path(path).parent)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        # Before it listens, nobody can have connected.
        Path(path).chmod(0o600)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"socket {path!r}", str(error)) from error
    return listener


def _check_folder(folder: Path) -> None:
    try:
        found = folder.stat()
    except OSError as error:
        raise ConfigurationError(f"folder {str(folder)!r} of the socket", str(error)) from error
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode & 0o077:
        raise ConfigurationError(
            f"folder {str(folder)!r} of the socket",
            f"it must belong to this user alone (mode 0700); it belongs to user {found.st_uid} "
            f"and has mode {mode:04o}",
        )


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that is dead, and nothing else."""
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"socket {path!r}", "something else is there; remove it first")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    if outcome not in (errno.ECONNREFUSED, errno.ENOENT):
        raise ConfigurationError(f"socket {path!r}", "another process answers on it")
    Path(path).unlink(missing_ok=True)


def _remove_own(path: str, identity: tuple[int, int] | None) -> None:
    """Remove the socket unless another one has taken its place."""
    if identity is not None and identity == _identity(path):
        Path(path).unlink(missing_ok=True)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _report(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
