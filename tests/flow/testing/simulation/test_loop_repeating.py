"""Tests of `flow.testing.simulation.loop`: the same seed gives the same run, everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flow.testing import Simulation
from tests.flow.testing.simulation import repeating
from tests.style.source import ROOT

SEEDS = 5


def test_a_seed_repeats_in_one_process() -> None:
    """The same seed gives the same trace twice, and another seed another trace."""
    first = repeating.hashes(range(SEEDS))
    assert repeating.hashes(range(SEEDS)) == first
    assert len(set(first)) == SEEDS


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_a_seed_repeats_in_another_process(hash_seed: str) -> None:
    """Another PYTHONHASHSEED and other addresses change nothing."""
    command = [sys.executable, "-m", repeating.__name__, f"{hash_seed}0"[:4], str(SEEDS)]
    found = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.splitlines() == repeating.hashes(range(SEEDS))


def test_the_program_is_worth_it() -> None:
    """The program that is compared does a lot, and notes it: cancellations, timeouts and ends."""
    simulation = Simulation(0)
    simulation.run(repeating.play)
    kinds = [line.what for line in simulation.trace.lines]
    assert kinds.count("cancelled") > 100
    assert kinds.count("end") > 50
    assert kinds.count("timeout") > 3
    assert kinds.count("found") >= 12
