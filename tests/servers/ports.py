"""Ports for servers that are stopped and started again.

A port of the range from which the kernel serves outgoing connections would not do: while the
server is down, a client that keeps trying to reach it may be given that very port, and would
then be connected with itself. So these come from below that range.
"""

import random
import socket

__all__ = ["HOST", "Port"]

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 32_000


class Port:
    """A free TCP port that no other test takes until it is given back, in no process.

    Its sign is a UDP socket of the same number, so that it is free again when the process dies.

    Raises:
        RuntimeError: None of many ports was free.
    """

    def __init__(self) -> None:
        for number in random.sample(range(FIRST, LAST), 500):
            sign = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sign.bind((HOST, number))
                _try_to_listen(number)
            except OSError:
                sign.close()
                continue
            self.number = number
            self._sign = sign
            return
        raise RuntimeError(f"no free port between {FIRST} and {LAST}")

    def give_back(self) -> None:
        """Let others have it."""
        self._sign.close()


def _try_to_listen(number: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, number))
