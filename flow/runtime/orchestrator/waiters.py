"""Waiters: who wants to hear how an execution goes on, or ends.

They are kept in memory only. A client asks again from time to time, so one that was forgotten in
a takeover is known to the new owner soon.
"""

from collections.abc import Callable

__all__ = ["Waiters"]

Notify = Callable[[], None]


class Waiters:
    """Who waits for what, by execution.

    Args:
        limit: How many may wait for one execution; the oldest ones go first, and ask again.
    """

    def __init__(self, limit: int = 1_000) -> None:
        """Begin with nobody waiting."""
        self._limit = limit
        self._ended: dict[str, dict[str, Notify]] = {}
        self._changed: dict[str, dict[str, Notify]] = {}

    def __len__(self) -> int:
        """Return for how many executions somebody waits."""
        return len(self._ended.keys() | self._changed.keys())

    def wait_for_end(self, execution: str, key: str, notify: Notify) -> None:
        """Notify once the execution has ended.

        Args:
            execution: Its id.
            key: Who asks; asking again replaces the first time.
            notify: Called once.
        """
        self._keep(self._ended, execution, key, notify)

    def wait_for_change(self, execution: str, key: str, notify: Notify) -> None:
        """Notify once the execution has changed.

        Args:
            execution: Its id.
            key: Who asks; asking again replaces the first time.
            notify: Called once.
        """
        self._keep(self._changed, execution, key, notify)

    def changed(self, execution: str, *, ended: bool) -> None:
        """Notify those who waited for a commit of an execution.

        Args:
            execution: Its id.
            ended: Whether it has ended by it.
        """
        told = self._changed.pop(execution, None) if self._changed else None
        told_of_end = self._ended.pop(execution, None) if ended else None
        for each in told.values() if told else ():
            each()
        for each in told_of_end.values() if told_of_end else ():
            each()

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Forget who waits for executions that are somebody else's now; they ask again.

        Args:
            is_gone: Whether an execution is.
        """
        for parties in (self._ended, self._changed):
            for execution in [name for name in parties if is_gone(name)]:
                del parties[execution]

    def _keep(
        self, parties: dict[str, dict[str, Notify]], execution: str, key: str, notify: Notify
    ) -> None:
        waiting = parties.get(execution)
        if waiting is None:
            parties[execution] = {key: notify}
            return
        waiting.pop(key, None)
        waiting[key] = notify
        while len(waiting) > self._limit:
            del waiting[next(iter(waiting))]
