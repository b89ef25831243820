"""The simulation sees: each deliberate bug of the product breaks an invariant in some seed."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.simulation.mutants import table
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.patching import Edit, Override, StaleMutantError, edit
from tests.simulation.mutants.search import broken, is_right

FURTHER: Final = 40
"""So many seeds behind the kept one are tried: what a seed does changes with the product."""

NAMED_IN_THE_ISSUE = {
    "fence removed": "fence_removed",
    "ack before commit": "ack_before_commit",
    "publish before commit": "publish_before_commit",
    "outbox row deleted before confirm": "outbox_row_deleted_before_confirm",
    "duplicate reply accepted": "duplicate_reply_accepted",
    "lease not renewed": "lease_not_renewed",
    "load in the acquiring snapshot": "load_in_acquiring_snapshot",
    "timer lost on takeover": "timer_lost_on_takeover",
    "abort does not bump the epoch": "abort_keeps_epoch",
    "wake_at too late": "wake_too_late",
    "dedupe of start removed": "start_not_deduplicated",
    "queue time spends attempts": "waiting_spends_attempts",
}


def seeds_of(name: str) -> Iterator[int]:
    """Go through the seeds that should show a mutant, the best one first."""
    kept = table.read()[name].seed
    yield from range(kept, kept + FURTHER + 1)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_seen(name: str) -> None:
    """Each deliberate bug breaks an invariant in the seed that was found, or in the next ones."""
    mutant = MUTANTS[name]
    seen = any(
        broken(mutant, seed) and (not mutant.beside or is_right(mutant, seed))
        for seed in seeds_of(name)
    )
    assert seen, f"nothing shows {name!r} any more: run `make mutants` to search again"


@pytest.mark.parametrize("name", NAMED_IN_THE_ISSUE.values(), ids=NAMED_IN_THE_ISSUE)
def test_a_mutant_has_been_searched_for(name: str) -> None:
    """The twelve bugs that have to be found by all means are mutants, and seeds show them."""
    assert name in MUTANTS
    assert table.read()[name].invariants


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_leaves_nothing_behind(name: str) -> None:
    """Every mutant changes what runs, and only inside its block."""
    changes = MUTANTS[name].changes
    before = [_present(change) for change in changes]
    with MUTANTS[name].planted():
        within = [_present(change) for change in changes]
    assert all(one is not other for one, other in zip(before, within, strict=True))
    after = [_present(change) for change in changes]
    assert all(one is other for one, other in zip(before, after, strict=True))


def _present(change: Edit | Override) -> object:
    if isinstance(change, Edit):
        return change.function.__code__
    return vars(change.owner)[change.name]


def answer() -> int:
    """Return what the tests below have changed."""
    return 40 + 2


def test_an_edit_changes_what_everybody_calls() -> None:
    """An edited function does the other thing for those who have got hold of it before, too."""
    asked = answer
    with edit(answer, ("40 + 2", "40 + added"), added=3).planted():
        assert asked() == 43
    assert asked() == 42


@pytest.mark.parametrize(("old", "times"), [("41", 0), ("e", 9)])
def test_an_edit_of_what_is_not_there_once_is_stale(old: str, times: int) -> None:
    """A mutant is stale if the product does not hold what it replaces, or not only once."""
    with pytest.raises(StaleMutantError, match=f"{times} times"), edit(answer, (old, "")).planted():
        pass


def test_an_override_of_what_is_not_there_is_stale() -> None:
    """A mutant is stale if the class does not define the method that it replaces."""
    override = Override(Edit, "nowhere", lambda method: method)
    with pytest.raises(StaleMutantError, match="nowhere"), override.planted():
        pass
