"""The broker inside the process, and the same broker for other processes of the machine.

`Hub` is the server: what there is. `MemoryBroker` is a connection to it from within the process.
`SocketServer` offers a hub on a Unix socket, and `SocketBroker` is a connection through one.
"""

from brokers.memory.broker import MemoryBroker
from brokers.memory.hub import Hub
from brokers.memory.server import SocketServer
from brokers.memory.socket import SocketBroker

__all__ = ["Hub", "MemoryBroker", "SocketBroker", "SocketServer"]
