"""What happens when another process has the store's file."""

from pathlib import Path

import pytest

from flow import Flow, app
from flow.errors import StoreLocked
from flow.ports import Namespace
from store.sqlite import SqliteStore


async def test_a_file_that_can_be_neither_owned_nor_joined_names_its_owner(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After some tries the error says which process has the file."""
    monkeypatch.setattr(app, "JOIN_TRIES", 2)
    monkeypatch.setattr(app, "JOIN_PAUSE_S", 0.0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    file = tmp_path / "shop.db"
    owner = SqliteStore(file, lambda: 0)
    await owner.open(Namespace("shop", 1))
    try:
        with pytest.raises(StoreLocked, match=r"in use by process \d+"):
            async with Flow("shop", store=f"sqlite:///{file}"):
                pytest.fail("it was entered")
    finally:
        await owner.close()
