"""The broker's end of a publisher's connection, and what goes wrong with what it publishes.

Publishers have a connection of their own, with several channels, the lanes: publications overtake
each other and all else. When it breaks, what goes over the other connection is done until the
process has heard of it and hangs up.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from flow.errors import FlowError
from flow.ports import PartlyPublished, Publication, Settlement
from flow.testing.simulation.line import URL, Line, named
from flow.testing.simulation.network import Stream
from flow.testing.simulation.tasks import Tasks, Turns

__all__ = ["Publishing"]


class Publishing:
    """Publishes what comes over the lanes of one connection.

    Args:
        line: The connection.
        tasks: The owner of the tasks that do it.
        ended: Called when nothing more comes over any lane.
    """

    def __init__(self, line: Line, tasks: Tasks, ended: Callable[[], None]) -> None:
        """Begin with nothing."""
        self._line = line
        self._ended = ended
        self._open = dict.fromkeys(line.lanes)
        self._turns = {lane: Turns(tasks) for lane in line.lanes}
        self._held: list[tuple[int, Stream, Sequence[Publication]]] = []
        self._is_lost = False

    @property
    def is_open(self) -> bool:
        """Whether anything may still come over a lane."""
        return bool(self._open)

    def publish(self, number: int, lane: Stream, publications: Sequence[Publication]) -> None:
        """Publish, and answer with the settlements.

        Args:
            number: The number of the question.
            lane: What it came over.
            publications: The messages.
        """
        if not self._is_lost:
            self._do(lane, lambda: self._publish(number, lane, publications))

    def hang_up(self, lane: Stream) -> None:
        """Take note that nothing more comes over a lane.

        Args:
            lane: The lane.
        """

        async def leave() -> None:
            self._open.pop(lane, None)
            self._ended()

        self._do(lane, leave)

    def go_on(self) -> None:
        """Publish what was put aside while the broker took no messages."""
        held, self._held = self._held, []
        for number, lane, publications in held:
            self.publish(number, lane, publications)

    def stop(self) -> None:
        """Forget what was not published yet."""
        self._held.clear()
        for turns in self._turns.values():
            turns.clear()

    async def _publish(
        self, number: int, lane: Stream, publications: Sequence[Publication]
    ) -> None:
        """Publish, and answer with the settlements. So much can go wrong."""
        line = self._line
        if line.blocked:
            self._held.append((number, lane, publications))
            return
        link, faults = line.link, line.conditions.faults
        if link.happens(faults.lost):
            await self._lose(number, lane, publications)
            return
        try:
            settlements = await self._put(publications)
            if link.happens(faults.duplicated):
                line.note("duplicate", f"{len(publications)}")
                await self._put(publications)
        except FlowError as error:
            line.reply(number, None, error, lane)
            return
        line.conditions.reach(link.process, "publish.done")
        if link.happens(faults.unconfirmed):
            self._break_off("lost before the confirm", lane)
        else:
            line.reply(number, settlements, None, lane)

    async def _lose(self, number: int, lane: Stream, publications: Sequence[Publication]) -> None:
        """Publish the first ones only. Confirms of some may reach the process before the end."""
        line, known = self._line, list[Settlement]()
        with contextlib.suppress(FlowError):
            known += await self._put(publications[: int(line.link.upto(len(publications)))])
        reason = "lost before the broker had all"
        known = known[: int(line.link.upto(len(known) + 1))]
        partly = None
        if known:
            unknown = [None] * (len(publications) - len(known))
            partly = PartlyPublished(URL, reason, [*known, *unknown])
        self._break_off(reason, lane, number, partly)

    def _break_off(
        self, reason: str, lane: Stream, number: int = 0, partly: PartlyPublished | None = None
    ) -> None:
        """Have the publisher's connection break: what is on its way there is lost."""
        line = self._line
        if line.is_over or self._is_lost:
            return
        self._is_lost = True
        self.stop()
        for each in line.lanes:
            each.drop()

        def tell() -> None:
            # In one step: whoever is told of the confirms finds the connection lost.
            if partly is not None:
                line.peer.answered(number, None, partly)
            line.peer.lost(reason)

        lane.answer(tell)
        self._open.clear()
        self._ended()

    def _do(self, lane: Stream, operation: Callable[[], Awaitable[None]]) -> None:
        """Do something after all that came over a lane, unless the connection has ended."""
        if not self._line.is_over:
            self._turns[lane].add(operation)

    async def _put(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Put messages into their queues; return their settlements, in the given order."""
        line = self._line
        refused = line.conditions.faults.refused
        order = [place for place in range(len(publications)) if not line.link.happens(refused)]
        if len(order) < len(publications):
            line.note("refuse", f"{len(publications) - len(order)}")
        if len(order) > 1 and line.link.happens(line.conditions.faults.reordered):
            order.sort(key=lambda _: line.link.upto(1.0))
            line.note("reorder", str(order))
        outcome = await line.opened().publish([publications[place] for place in order])
        for place in order:
            publication = publications[place]
            where = f"{publication.exchange}/{publication.routing_key}"
            for what in named(publication.envelope):
                line.note("publish", f"{what} {where}")
        settlements = dict(zip(order, outcome, strict=True))
        return [settlements.get(place, Settlement.REFUSED) for place in range(len(publications))]
