"""Tests of `flow.testing.simulation.refusing_loop`: an event loop without the real world."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from flow.errors import SimulationRefused
from flow.testing.simulation import SimulatedLoop


def test_no_method_is_forgotten() -> None:
    """Whatever an event loop has is either done by the simulated one or refused."""
    abstract = {
        name
        for name, method in vars(asyncio.AbstractEventLoop).items()
        if not name.startswith("_") and getattr(SimulatedLoop, name) is method
    }
    assert abstract == set()
    assert not inspect.isabstract(SimulatedLoop)


@pytest.mark.parametrize(
    "name",
    ["create_connection", "create_server", "add_signal_handler", "subprocess_exec", "sock_recv"],
)
def test_the_real_world_is_refused(name: str) -> None:
    """Sockets, signals and programs are refused by name, whatever the arguments."""
    with pytest.raises(SimulationRefused, match=f"refuses {name}: .* cannot be repeated"):
        getattr(SimulatedLoop(), name)(1, two=2)


@pytest.mark.parametrize("name", ["set_debug", "set_exception_handler", "set_task_factory"])
def test_the_set_up_stays(name: str) -> None:
    """Nobody changes how the loop makes tasks and what it does with errors."""
    loop = SimulatedLoop()
    with pytest.raises(SimulationRefused, match=f"refuses {name}: the simulation"):
        getattr(loop, name)(None)
    assert loop.get_task_factory() is loop.get_exception_handler() is None  # type: ignore[func-returns-value]
    assert not loop.get_debug()
