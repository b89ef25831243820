"""What the system tests share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Crew


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """Processes that end with the test, in a folder that goes with it."""
    # The path of a socket has at most 107 bytes, which pytest's own folders may use up.
    with tempfile.TemporaryDirectory(prefix="flow-test-") as folder, Crew(Path(folder)) as crew:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield crew
