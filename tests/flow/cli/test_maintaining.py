"""`flow pause`, `flow unpause` and `flow prune`."""

import json
from pathlib import Path

from tests.flow.cli.console import flow


def test_a_workflow_is_paused_and_goes_on(store: Path) -> None:
    """A paused workflow is marked in the list, and is not any more when it goes on."""
    assert flow("pause", "checkout").out == "checkout  paused\n"
    assert json.loads(flow("pause", "checkout", "--json").out) == {
        "workflow": "checkout",
        "paused": True,
    }
    marked = [line for line in flow("workflows").out.splitlines() if line.endswith("paused")]
    assert [line.split()[0] for line in marked] == ["checkout"]
    assert flow("unpause", "checkout").out == "checkout  goes on\n"
    assert "paused" not in flow("workflows").out


def test_a_workflow_that_is_not_there(store: Path) -> None:
    """A name that no workflow has is refused, with the nearest one."""
    ended = flow("pause", "chekout")
    assert ended.code == 3
    assert "did you mean 'checkout'" in ended.err


def test_old_executions_are_pruned(store: Path) -> None:
    """Only what ended longer ago than was said is deleted; the numbers are told."""
    ended = flow("prune", "--older-than", "1h")
    assert (ended.code, ended.out) == (0, "0 executions deleted, 0 ids forgotten\n")
    told = json.loads(flow("prune", "--older-than", "1h", "--dedupe-for", "1d", "--json").out)
    assert told == {"executions": 0, "tombstones": 0}
    assert "order-1" in flow("list").out


def test_an_age_has_to_be_given(store: Path) -> None:
    """Without an age, or with none, nothing is deleted."""
    assert flow("prune").code == 2
    assert "at least 1s" in flow("prune", "--older-than", "0s").err
