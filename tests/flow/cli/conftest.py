"""What the tests of the command line begin with."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow import ExecutionFailed, Flow
from flow.cli.loading import load, locate
from tests.flow.cli.console import folder


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the surroundings say which flow is meant."""
    for name in ("FLOW_APP", "FLOW_NAME", "FLOW_STORE", "FLOW_BROKER", "FLOW_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "tester")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """Return the present folder, which has a program that has never run."""
    with folder(tmp_path):
        yield tmp_path


@pytest.fixture(scope="session")
def _history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history")
    with folder(path):
        asyncio.run(_live(load(locate("shop.py:app"))))
    return path


async def _live(app: Flow) -> None:
    async with app:
        checkout: Any = app.defined["checkout"]
        await checkout.run({"total": 5}, id="order-1", labels={"shop": "north"})
        with pytest.raises(ExecutionFailed):
            await checkout.run({"bad": True}, id="order-2")
        await app.defined["parcels"].run({"total": 7}, id="order-3")


@pytest.fixture
def store(shop: Path, _history: Path) -> Path:
    """Return the present folder, in which three executions have ended."""
    shutil.copytree(_history / ".flow", shop / ".flow")
    return shop
