"""The table of what was found: for each mutant the seeds that show it, and what they break."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["PATH", "Found", "read", "write"]

PATH: Final = Path(__file__).with_name("found.json")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found of a mutant.

    Args:
        seed: The first seed that shows it.
        seeds: How many seeds it took to find that.
        invariants: The names of the invariants that are broken there.
    """

    seed: int
    seeds: int
    invariants: tuple[str, ...]


def read() -> dict[str, Found]:
    """Return what was found, by the name of the mutant."""
    if not PATH.exists():
        return {}
    table = json.loads(PATH.read_text())
    return {
        name: Found(each["seed"], each["seeds"], tuple(each["invariants"]))
        for name, each in table.items()
    }


def write(table: Mapping[str, Found]) -> None:
    """Keep what was found.

    Args:
        table: What was found, by the name of the mutant.
    """
    rows = {name: asdict(found) for name, found in table.items()}
    PATH.write_text(json.dumps(rows, indent=2) + "\n")
