"""Stepping: tells when a coroutine waits for the first time.

Many handlers compute something and never wait. What is only needed while they wait, such as a timer
for their timeout or a task of their own, need not be made for them.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import CoroutineType, coroutine
from typing import Any, TypeVar, cast

__all__ = ["run_apart", "run_until_waiting"]

ResultT = TypeVar("ResultT")


@coroutine
def run_until_waiting(
    body: Awaitable[ResultT], on_wait: Callable[[], None]
) -> Generator[Any, None, ResultT]:
    """Run something that can be awaited, and tell when it waits for the first time.

    Args:
        body: What is awaited. If it is no coroutine of Python's own, one tells at once.
        on_wait: Is called when the body waits; never if it ends without. It must not raise.

    Returns:
        What the body returns; and what it raises is raised.
    """
    if not isinstance(body, CoroutineType):
        on_wait()
        return (yield from body.__await__())
    running = cast("CoroutineType[Any, None, ResultT]", body)
    try:
        waited = running.send(None)
        on_wait()
        while True:
            try:
                yield waited
            except GeneratorExit:
                running.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the body's to handle
                waited = running.throw(error)
            else:
                # Event loops send nothing but None, and that is what this begins with.
                return (yield from running.__await__())
    except StopIteration as end:
        result: ResultT = end.value
        return result


@coroutine
def run_apart(
    body: Coroutine[Any, Any, None], on_wait: Callable[[], None]
) -> Generator[Any, None, bool]:
    """Run a coroutine in a context of its own, as a task of its own would.

    Args:
        body: The coroutine.
        on_wait: Is called when it waits for the first time; never if it ends without. It must
            not raise.

    Returns:
        Whether it has waited. What it raises is raised.
    """
    run = copy_context().run
    has_waited = False
    try:
        waited = run(body.send, None)
        has_waited = True
        on_wait()
        while True:
            try:
                yield waited
            except GeneratorExit:
                run(body.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is the body's to handle
                waited = run(body.throw, error)
            else:
                waited = run(body.send, None)
    except StopIteration:
        return has_waited
