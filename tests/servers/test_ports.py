"""Ports are free, nobody else's, and never a client's own."""

import socket
from pathlib import Path

from tests.servers.ports import HOST, Port


def test_a_port_is_taken_once() -> None:
    """A port that was handed out is not handed out again until it is given back."""
    ports = [Port() for _ in range(200)]
    numbers = [port.number for port in ports]
    assert len(set(numbers)) == len(numbers)
    for port in ports:
        port.give_back()


def test_a_server_can_listen_on_it() -> None:
    """A server can listen on a port that was handed out."""
    port = Port()
    with socket.create_server((HOST, port.number)) as server:
        assert server.getsockname()[1] == port.number
    port.give_back()


def test_no_outgoing_connection_gets_it() -> None:
    """Ports lie outside the range from which the kernel serves outgoing connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = Port()
    assert port.number < first
    port.give_back()
