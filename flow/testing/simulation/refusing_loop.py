"""An event loop that refuses everything: what a simulated one does not override stays refused."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from flow.errors import SimulationRefused

__all__ = ["RefusingLoop"]

_REAL = "the real world cannot be repeated; put a function of the test in its place"
_OURS = "the simulation sees to it"


def _refusal(name: str, reason: str = _REAL) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise SimulationRefused(name, reason)

    return refuse


class RefusingLoop(asyncio.AbstractEventLoop):
    """Refuses sockets, subprocesses, signals, and to be set up differently."""

    # The types are left open: each of these is one function that takes anything.
    add_reader: Any = _refusal("add_reader")
    add_signal_handler: Any = _refusal("add_signal_handler")
    add_writer: Any = _refusal("add_writer")
    connect_accepted_socket: Any = _refusal("connect_accepted_socket")
    connect_read_pipe: Any = _refusal("connect_read_pipe")
    connect_write_pipe: Any = _refusal("connect_write_pipe")
    create_connection: Any = _refusal("create_connection")
    create_datagram_endpoint: Any = _refusal("create_datagram_endpoint")
    create_server: Any = _refusal("create_server")
    create_unix_connection: Any = _refusal("create_unix_connection")
    create_unix_server: Any = _refusal("create_unix_server")
    getaddrinfo: Any = _refusal("getaddrinfo")
    getnameinfo: Any = _refusal("getnameinfo")
    remove_reader: Any = _refusal("remove_reader")
    remove_signal_handler: Any = _refusal("remove_signal_handler")
    remove_writer: Any = _refusal("remove_writer")
    sendfile: Any = _refusal("sendfile")
    sock_accept: Any = _refusal("sock_accept")
    sock_connect: Any = _refusal("sock_connect")
    sock_recv: Any = _refusal("sock_recv")
    sock_recv_into: Any = _refusal("sock_recv_into")
    sock_recvfrom: Any = _refusal("sock_recvfrom")
    sock_recvfrom_into: Any = _refusal("sock_recvfrom_into")
    sock_sendall: Any = _refusal("sock_sendall")
    sock_sendfile: Any = _refusal("sock_sendfile")
    sock_sendto: Any = _refusal("sock_sendto")
    start_tls: Any = _refusal("start_tls")
    subprocess_exec: Any = _refusal("subprocess_exec")
    subprocess_shell: Any = _refusal("subprocess_shell")

    set_debug: Any = _refusal("set_debug", _OURS)
    set_default_executor: Any = _refusal("set_default_executor", _OURS)
    set_exception_handler: Any = _refusal("set_exception_handler", _OURS)
    set_task_factory: Any = _refusal("set_task_factory", _OURS)

    def get_debug(self) -> bool:
        """Return False: there is no debug mode."""
        return False

    def get_exception_handler(self) -> None:
        """Return None: what nobody looked at is kept in the loop."""

    def get_task_factory(self) -> None:
        """Return None: the loop makes its tasks itself."""

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: the burial closes asynchronous generators."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is none."""
