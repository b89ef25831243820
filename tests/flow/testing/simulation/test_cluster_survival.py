"""Tests of `flow.testing.simulation.cluster`: a flow survives whatever happens, and repeatably."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from flow.testing.simulation import simulate
from tests.flow.testing.simulation.worlds import Troubles, hash_of, survive

ROOT: Final = Path(__file__).parents[4]
SEEDS: Final = range(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_ends_in_success(seed: int) -> None:
    """Kills, pauses, cuts, wipes, outages, jumps and faults of all ports end no execution badly."""
    troubles: Counter[str] = simulate(survive, seed=seed)
    assert sorted(troubles) == sorted(Troubles.KINDS)


def test_the_same_seed_runs_the_same_way() -> None:
    """Two runs of one seed make the same trace and the same choices; another seed does not."""
    first, again, other = hash_of(11), hash_of(11), hash_of(12)
    assert first == again
    assert first != other


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_other_processes_run_the_same_way(hash_seed: str) -> None:
    """A seed runs the same way in another process, whatever its hashes are."""
    code = "from tests.flow.testing.simulation.worlds import hash_of; print(hash_of(11))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hash_of(11)
