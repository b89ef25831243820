"""The broker's end of a simulated connection.

Theory of operation
-------------------
Each connection has a broker of its own behind it: a real connection to the real thing, which is
closed when the simulated one ends. So whatever a broker does for a connection that ends is done
by the real one: what was not settled goes back, exclusive queues go.

All of it happens in the outside world. What a connection is asked for is done in the order in
which it arrives, one after the other. Publications come over lanes of their own, because a
publisher has a connection of its own, with several channels: they overtake each other and all
else, and when their connection breaks, what goes over the other one is done until the process has
heard of it and hangs up. Messages that are published while the broker is blocked are
put aside, as they are in the buffers of a socket that nobody reads: they are published when that
ends, whether anybody still waits for it or not.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from flow.errors import BrokerUnavailable, FlowError
from flow.ports import Broker, BrokerEvent, Topology
from flow.testing.simulation.delivering import Delivering
from flow.testing.simulation.line import URL, Consuming, Line
from flow.testing.simulation.network import HEARTBEAT_S, Silence
from flow.testing.simulation.processes import OUTSIDE
from flow.testing.simulation.publishing import Publishing
from flow.testing.simulation.tasks import Tasks, Turns

__all__ = ["BrokerEnd"]


class BrokerEnd:
    """The broker's end of one connection.

    Args:
        connect: Makes a connection to the real broker.
        line: What the connection goes over, and who is at the other end.

    Attributes:
        publishing: The broker's end of the publisher's connection.
    """

    def __init__(self, connect: Callable[[], Broker], line: Line) -> None:
        """Wait to be asked for a connection."""
        self._connect = connect
        self._line = line
        self._tasks = Tasks(line.link.loop)
        self._turns = Turns(self._tasks)
        self._is_left = False
        self.publishing = Publishing(line, self._tasks, self._end_if_left)
        self._delivering = Delivering(line, self._do)
        self._silence = Silence(
            line.link,
            OUTSIDE,
            lambda: not (line.link.process.is_running and line.link.is_open_there),
            lambda: self.end("the process was silent for too long"),
        )

    # ----------------------------------------------------------------- asked by the process

    def accept(self, number: int) -> None:
        """Connect to the real broker, and answer.

        Args:
            number: The number of the question.
        """
        self._do(lambda: self._line.answer(number, self._open))

    def ask(self, number: int, operation: Callable[[Broker], Awaitable[Any]]) -> None:
        """Do something with the real broker, and answer.

        Args:
            number: The number of the question.
            operation: Called with the real broker.
        """
        self._try(number, lambda: operation(self._line.opened()))

    def restore(self, number: int, topology: Topology, consumers: Sequence[Consuming]) -> None:
        """Declare and consume, and answer with the consumers that have no queue.

        Args:
            number: The number of the question.
            topology: What has to exist.
            consumers: The consumers.
        """
        restore = self._delivering.restore
        self._try(number, lambda: restore(topology, consumers))

    def consume(self, number: int, topology: Topology, consumer: Consuming) -> None:
        """Declare and start a consumer, and answer.

        Args:
            number: The number of the question.
            topology: What has to exist.
            consumer: The consumer.
        """
        consume = self._delivering.consume
        self._try(number, lambda: consume(topology, consumer))

    def cancel(self, number: int, consumer: Consuming) -> None:
        """End a consumer, and answer.

        Args:
            number: The number of the question.
            consumer: The consumer.
        """
        self._do(lambda: self._line.answer(number, lambda: self._delivering.cancel(consumer)))

    def settle(self, settle: Callable[[], None]) -> None:
        """Settle a delivery.

        Args:
            settle: Does it.
        """

        async def do() -> None:
            settle()

        if self._line.link.happens(self._line.conditions.faults.lost):
            self._break_off("lost with a settlement")
        else:
            self._do(do)

    def leave(self, number: int) -> None:
        """Give everything back and end, and answer.

        Args:
            number: The number of the question.
        """

        async def leave() -> None:
            self._stop()
            await self._close()

        self._do(lambda: self._line.answer(number, leave))

    def hang_up(self) -> None:
        """Take note that nothing more comes, unless it is publications; see `Publishing`."""

        async def leave() -> None:
            self._is_left = True
            self._end_if_left()

        self._do(leave)

    # ------------------------------------------------------------------- done by the broker

    def end(self, reason: str) -> None:
        """End the connection, and tell the process if it can be told.

        Args:
            reason: Why.
        """
        if self._line.is_over:
            return
        self._stop()
        self._line.stream.answer(self._line.peer.lost, reason)
        self._tasks.start(self._close(), "broker: close a connection", OUTSIDE.copy())

    def tell_blocked(self) -> None:
        """Tell the process whether the broker takes messages."""
        line = self._line
        if line.is_over or line.inner is None:
            return
        line.stream.answer(line.peer.blocked, line.blocked)
        if not line.blocked:
            self.publishing.go_on()

    def cancel_all(self, queue: str) -> None:
        """End all consumers of a queue, and tell the process.

        Args:
            queue: The queue's name.
        """
        self._delivering.cancel_all(queue)

    # ----------------------------------------------------------------------------- helpers

    def _do(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Do something in its turn, unless the connection has ended."""
        if not self._line.is_over:
            self._turns.add(operation)

    def _try(self, number: int, operation: Callable[[], Awaitable[Any]]) -> None:
        """Do something in its turn and answer, unless the connection breaks under it."""
        line = self._line

        async def answer() -> None:
            if not line.link.happens(line.conditions.faults.unconfirmed):
                await line.answer(number, operation)
                return
            with contextlib.suppress(FlowError):
                await operation()
            self._break_off("lost before the answer")

        if self._line.link.happens(self._line.conditions.faults.lost):
            self._break_off("lost with a call")
        else:
            self._do(answer)

    def _end_if_left(self) -> None:
        if self._is_left and not self.publishing.is_open:
            self.end("the process is gone")

    def _break_off(self, reason: str) -> None:
        """Have the connection break: what is on its way in either direction is lost."""
        if not self._line.is_over:
            self._line.stream.drop()
            self.end(reason)

    async def _open(self) -> None:
        line = self._line
        if not line.conditions.is_up:
            raise BrokerUnavailable(URL, "connection refused")
        inner = self._connect()
        await inner.open()
        line.inner = inner
        inner.watch(self._hear)
        line.conditions.ends[self] = None
        self._silence.listen(line.link.upto(HEARTBEAT_S))
        if line.blocked:
            self.tell_blocked()

    def _hear(self, event: BrokerEvent) -> None:
        """Hear what happens to the real connection."""
        if event is BrokerEvent.LOST:
            self.end("the broker has ended it")
        elif event is not BrokerEvent.CONNECTED:
            self.tell_blocked()

    def _stop(self) -> None:
        self._line.is_over = True
        self._line.conditions.ends.pop(self, None)
        self._turns.clear()
        self.publishing.stop()
        self._silence.stop()

    async def _close(self) -> None:
        if self._line.inner is not None:
            await self._line.inner.close()
