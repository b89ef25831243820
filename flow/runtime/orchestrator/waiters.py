"""Waiters: who wants to hear how an execution goes on, or ends.

They are kept in memory only. A client asks again from time to time, so one that was forgotten in
a takeover is known to the new owner soon.
"""

from collections.abc import Callable

__all__ = ["Waiters"]

Notify = Callable[[], None]


class _Party:
    __slots__ = ("changed", "ended")

    def __init__(self) -> None:
        self.ended: dict[str, Notify] = {}
        self.changed: dict[str, Notify] = {}


class Waiters:
    """Who waits for what, by execution.

    Args:
        limit: How many may wait for one execution; the oldest ones go first, and ask again.
    """

    def __init__(self, limit: int = 1_000) -> None:
        """Begin with nobody waiting."""
        self._limit = limit
        self._parties: dict[str, _Party] = {}

    def __len__(self) -> int:
        """Return for how many executions somebody waits."""
        return len(self._parties)

    def wait_for_end(self, execution: str, key: str, notify: Notify) -> None:
        """Notify once the execution has ended.

        Args:
            execution: Its id.
            key: Who asks; asking again replaces the first time.
            notify: Called once.
        """
        self._keep(self._party(execution).ended, key, notify)

    def wait_for_change(self, execution: str, key: str, notify: Notify) -> None:
        """Notify once the execution has changed.

        Args:
            execution: Its id.
            key: Who asks; asking again replaces the first time.
            notify: Called once.
        """
        self._keep(self._party(execution).changed, key, notify)

    def changed(self, execution: str, *, ended: bool) -> None:
        """Notify those who waited for a commit of an execution.

        Args:
            execution: Its id.
            ended: Whether it has ended by it.
        """
        party = self._parties.get(execution)
        if party is None:
            return
        if not ended and not party.changed:
            return
        notify = list(party.changed.values())
        party.changed.clear()
        if ended:
            notify += party.ended.values()
            party.ended.clear()
        if not party.ended and not party.changed:
            del self._parties[execution]
        for each in notify:
            each()

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Forget who waits for executions that are somebody else's now; they ask again.

        Args:
            is_gone: Whether an execution is.
        """
        self._parties = {name: party for name, party in self._parties.items() if not is_gone(name)}

    def _party(self, execution: str) -> _Party:
        party = self._parties.get(execution)
        if party is None:
            party = self._parties[execution] = _Party()
        return party

    def _keep(self, waiting: dict[str, Notify], key: str, notify: Notify) -> None:
        waiting.pop(key, None)
        waiting[key] = notify
        while len(waiting) > self._limit:
            del waiting[next(iter(waiting))]
