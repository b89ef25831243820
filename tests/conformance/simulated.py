"""Runs what is asked of every adapter inside a simulation.

The suites are asynchronous; a simulation owns its event loop. So each test of a suite becomes an
ordinary function that runs a simulation and, within it, the test.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from flow.testing.simulation import Simulation, simulate

Supply: TypeAlias = Callable[[Simulation], AbstractAsyncContextManager[Mapping[str, Any]]]
"""Makes, for one simulation, what tests ask for by name, and cleans up afterwards."""


def in_simulation(
    test: Callable[..., Awaitable[None]], supply: Supply, names: frozenset[str], seed: int = 0
) -> Callable[..., None]:
    """Return an ordinary function that runs a coroutine function in a simulation.

    Args:
        test: The coroutine function, such as a test method.
        supply: Makes what it is called with in the simulation.
        names: The parameters that come from there; pytest is asked for the others only.
        seed: What the simulation follows from.
    """
    wanted = inspect.signature(test)
    supplied = [name for name in wanted.parameters if name in names]

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main(simulation: Simulation) -> None:
            async with supply(simulation) as values:
                await test(*args, **kwargs, **{name: values[name] for name in supplied})

        simulate(main, seed=seed)

    others = [each for name, each in wanted.parameters.items() if name not in names]
    setattr(run, "__signature__", wanted.replace(parameters=others))  # noqa: B010 - untyped
    return run


def simulated_suite(*suites: type, supply: Supply, names: frozenset[str], seed: int = 0) -> type:
    """Return a suite whose tests run in simulations.

    Args:
        suites: Classes with tests that are coroutine functions.
        supply: Makes what they are called with, for each test anew.
        names: The parameters that come from there.
        seed: What the simulations follow from.
    """
    tests = {
        name: in_simulation(value, supply, names, seed)
        for suite in reversed(suites)
        for each in reversed(suite.__mro__)
        for name, value in vars(each).items()
        if name.startswith("test_")
    }
    return type("SimulatedSuite", suites, tests)
