"""Runs a program of this folder as the README advises users to run theirs.

`flow orchestrator` and `flow worker` set up their processes by themselves; a program that enters a
`Flow` has to do it.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine

import uvloop

__all__ = ["ADVISED", "run"]

ADVISED = "advised"
"""What the command line says for it."""


def run(main: Callable[[], Coroutine[None, None, None]], *, is_advised: bool) -> None:
    """Run a program's main coroutine, once all is imported.

    Args:
        main: Makes the coroutine.
        is_advised: Whether it runs on uvloop, with less garbage collection; else Python's own ways.
    """
    if not is_advised:
        asyncio.run(main())
        return
    gc.freeze()
    gc.set_threshold(50_000)
    uvloop.run(main())
