"""What a process that flowmq owns sets for itself: its garbage collector and its event loop.

Only `flow serve`, `flow worker` and `flow orchestrator` do this. A program that enters a `Flow`
itself owns its process, and nothing of it is changed.
"""

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Final, TypeVar

from flow.errors import ConfigurationError

__all__ = ["LOOPS", "new_loop", "play", "tune_collector"]

ResultT = TypeVar("ResultT")

LOOPS: Final = ("asyncio", "uvloop")
"""What FLOW_LOOP may say; without it, uvloop is taken where it is installed."""
_VARIABLE: Final = "FLOW_LOOP"

# By default Python looks for garbage each time that there are 700 objects more, which with a
# thousand executions at work takes a quarter of the processor: 1,460 µs for an execution of three
# steps, against 840 µs with 50,000 and 780 µs without a collector. The other two numbers are
# Python's own, so that old garbage is found as it always was and memory does not grow.
_THRESHOLDS: Final = (50_000, 10, 10)


def play(main: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run the main coroutine of a process that lives long, and return its result.

    Args:
        main: Makes the coroutine, once the process is set up.

    Raises:
        ConfigurationError: FLOW_LOOP names no event loop, or one that is not installed.
    """
    factory = new_loop(os.environ.get(_VARIABLE, ""))
    tune_collector()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def new_loop(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: that of uvloop, or None for that of asyncio.

    Args:
        wanted: What FLOW_LOOP says; an empty string for uvloop where it is installed.

    Raises:
        ConfigurationError: There is no such event loop, or it is not installed.
    """
    if wanted not in ("", *LOOPS):
        raise ConfigurationError(f"{_VARIABLE}={wanted}", f"it is one of {', '.join(LOOPS)}")
    if wanted == "asyncio":
        return None
    try:
        uvloop = import_module("uvloop")
    except ImportError as error:
        if not wanted:
            return None
        reason = "it is not installed: pip install 'flowmq[fast]'"
        raise ConfigurationError(f"{_VARIABLE}={wanted}", reason) from error
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def tune_collector() -> None:
    """Take what was imported out of the garbage collector's sight, and have it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
