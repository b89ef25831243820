"""The effects of handlers: a file that only grows, one line for each time that a handler ran.

It is what a handler does to the world, and outlives whoever is killed.
"""

import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)


def effects_file() -> Path:
    """Return the file that the environment names."""
    return Path(os.environ["FLOW_TEST_EFFECTS"])


def append(path: Path, effect: dict[str, Any]) -> None:
    """Write one effect, at once and as a whole.

    Args:
        path: The file.
        effect: A JSON object.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(effect)}\n".encode())
    finally:
        os.close(descriptor)


def count(path: Path) -> int:
    """Return how many effects there are."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def load(path: Path) -> list[dict[str, Any]]:
    """Return all effects, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def repeated(items: Iterable[ItemT]) -> dict[ItemT, int]:
    """Return the items that are there more than once, and how often."""
    return {item: times for item, times in Counter(items).items() if times > 1}
