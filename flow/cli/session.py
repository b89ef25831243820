"""Which process answers: the one that has the store, this one, or nobody but the file itself.

While a process runs an embedded flow, everything goes through its socket. While nobody does,
what only looks reads the file, and what changes something makes this process the owner for as
long as it takes.
"""

import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

from flow.app import Flow, holder_of, reading_store
from flow.cli.target import Target
from flow.clock import SystemClock, sleep
from flow.config import Url
from flow.errors import BrokerUnavailable, ConfigurationError, StoreLocked, StoreUnavailable
from flow.runtime.orchestrator.reader import Reader
from flow.runtime.tasks import TaskGroup

__all__ = ["Asker", "Mode", "Session", "changing", "reading"]

JOIN_WITHIN_S: Final = 3.0
"""Seconds in which a process that has just taken a store has to offer its socket."""
LATE_S: Final = 3.0
"""Seconds after which somebody who waits for an answer is told so."""
_TRY_AGAIN_S: Final = 0.1

Tell = Callable[[str], None]


class Asker(Protocol):
    """Who answers: a client, or a reader."""

    async def ask(
        self,
        verb: str,
        arguments: Mapping[str, Any],
        execution: str = "",
        within_s: float | None = 30.0,
    ) -> Any:
        """Ask, and return the answer; see `flow.client.Client`."""
        ...


class Mode(Enum):
    """Where answers come from."""

    JOINED = "another process"
    OWNER = "this process"
    READING = "the file"


@dataclass(frozen=True, slots=True)
class Session:
    """A way to ask.

    Args:
        asker: Who answers.
        mode: Where the answers come from.
        target: The flow.
        flow: What programs have to ask with; None if only the file answers.
        tell: Says that an answer takes long, if anybody wants to hear that.
    """

    asker: Asker
    mode: Mode
    target: Target
    flow: Flow | None = None
    tell: Tell | None = None

    @property
    def acting(self) -> Flow:
        """What programs have to ask with.

        Raises:
            ConfigurationError: This session only looks.
        """
        if self.flow is None:
            raise ConfigurationError(self.target.name, "nothing runs it that could be asked")
        return self.flow

    async def ask(
        self,
        verb: str,
        arguments: Mapping[str, Any] | None = None,
        execution: str = "",
        within_s: float | None = 30.0,
    ) -> Any:
        """Ask, and return the answer.

        Args:
            verb: What to do; see `flow.runtime.orchestrator.requests`.
            arguments: A JSON object.
            execution: The execution that it is about, or an empty string.
            within_s: Seconds within which it has to be answered; None to wait for an execution.

        Raises:
            FlowError: It was refused.
        """
        if self.tell is None or within_s is None:
            return await self.asker.ask(verb, arguments or {}, execution, within_s)
        async with TaskGroup() as tasks:
            tasks.start(self._tell_late(self.tell, within_s), "late")
            return await self.asker.ask(verb, arguments or {}, execution, within_s)

    async def _tell_late(self, tell: Tell, within_s: float) -> None:
        await sleep(SystemClock(), LATE_S)
        name = self.target.name
        tell(f"no orchestrator of {name} has answered yet; waiting for up to {within_s:g} s")


@asynccontextmanager
async def reading(target: Target, tell: Tell | None = None) -> AsyncGenerator[Session]:
    """Open a session that only looks.

    Args:
        target: The flow.
        tell: Is told when an orchestrator behind a broker takes long to answer.

    Raises:
        UnavailableError: The store or the broker cannot be reached.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_explained(target))
        file = target.file
        flow = await _joined(target, stack)
        if flow is not None:
            yield _session(target, flow, tell)
        elif file is None:
            flow = await stack.enter_async_context(target.flow().play())
            yield _session(target, flow, tell)
        else:
            clock = SystemClock()
            reader = Reader(reading_store(file, clock), clock, target.name)
            stack.push_async_callback(reader.close)
            await reader.open()
            yield Session(reader, Mode.READING, target)


@asynccontextmanager
async def changing(target: Target, tell: Tell | None = None) -> AsyncGenerator[Session]:
    """Open a session that may change something.

    Args:
        target: The flow.
        tell: Is told when an orchestrator behind a broker takes long to answer.

    Raises:
        UnavailableError: The store or the broker cannot be reached.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_explained(target))
        flow = await _joined(target, stack)
        while flow is None:
            flow = await _owning(target, stack) or await _joined(target, stack)
        yield _session(target, flow, tell)


def _session(target: Target, flow: Flow, tell: Tell | None) -> Session:
    flow.client.actor = f"cli/{os.environ.get('USER') or os.getuid()}"
    mode = Mode.JOINED if flow.joined else Mode.OWNER
    # A process of this machine that has the file answers at once.
    return Session(flow.client, mode, target, flow, None if target.file is not None else tell)


async def _joined(target: Target, stack: AsyncExitStack) -> Flow | None:
    """Return a flow that has joined the process which has the file; None if nobody has it."""
    clock, file = SystemClock(), target.file
    deadline = clock.monotonic() + JOIN_WITHIN_S
    while file is not None and (holder := holder_of(file)):
        try:
            return await stack.enter_async_context(target.flow().play())
        except BrokerUnavailable as error:
            # It may have begun, or may be about to end, this very moment.
            if clock.monotonic() >= deadline:
                hint = "it cannot be joined, so stop it first"
                raise StoreLocked(file.path, holder, hint) from error
            await sleep(clock, _TRY_AGAIN_S)
    return None


async def _owning(target: Target, stack: AsyncExitStack) -> Flow | None:
    """Return a flow that orchestrates in this process; None if another one came first."""
    file = target.file
    if file is None:
        return await stack.enter_async_context(target.flow().play())
    if target.app is None and not _exists(file):
        # Nobody wants a new, empty store because of a typing mistake.
        raise StoreUnavailable(str(file), "there is no such file")
    try:
        return await stack.enter_async_context(target.flow().play("orchestrator"))
    except BrokerUnavailable:
        # Somebody has taken the file meanwhile, and does not listen yet.
        return None


def _exists(file: Url) -> bool:
    return Path(file.path).exists()


@contextmanager
def _explained(target: Target) -> Generator[None]:
    """Turn errors about what people have not typed into errors about what they have."""
    file = target.file
    try:
        yield
    except ConfigurationError as error:
        if target.is_guessed and "namespace" in error.reason:
            reason = f"{error.reason}, or say the name with --name"
            raise ConfigurationError(error.what, reason) from error
        raise
    except BrokerUnavailable as error:
        if file is not None:
            reason = "the process that had it has ended; ask again"
            raise StoreUnavailable(str(file), reason) from error
        raise
