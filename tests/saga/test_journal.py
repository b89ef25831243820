"""The predecessor's journals can be said in ours and said back, and are resumed as it says."""

from typing import Any

import pytest

from flow.errors import BrokerUnavailable, ExecutionCompensated
from flow.testing import FlowHarness
from tests.saga.journals import journal_of, run_of
from tests.saga.loader import STATUSES, Played, fixtures


def _of_kind(kind: str) -> list[Any]:
    """Return the journals of a kind; the parameter that skips is of every kind."""
    return [
        one for one in fixtures("journal") if not one.values[0] or one.values[0]["kind"] == kind
    ]


@pytest.mark.parametrize("fixture", _of_kind("roundtrip"))
def test_a_journal_goes_there_and_back(fixture: dict[str, Any]) -> None:
    """A tree that stands where a journal says, written and loaded again, says the same journal."""
    theirs = fixture["journal"]
    run = run_of(theirs)
    assert journal_of(run, theirs) == theirs
    assert journal_of(run.reload(), theirs) == theirs


@pytest.mark.parametrize("fixture", _of_kind("resume"))
async def test_a_journal_is_resumed_as_its_fixture_says(fixture: dict[str, Any]) -> None:
    """After a crash at that point the expected steps run, and it ends as expected."""
    theirs, expect, played = fixture["journal"], fixture["expect"], Played()
    saga = {
        "id": theirs["workflow_id"],
        "executionMode": theirs["execution_mode"],
        "rollbackMode": theirs["rollback_mode"],
        "steps": [{"id": each["id"], "execute": "success"} for each in theirs["steps"]],
    }
    workflow = played.workflow(saga)
    is_done = theirs["cursor"]["phase"] == "done"
    async with FlowHarness(played.app) as test:
        execution = await workflow.execute()
        if is_done:
            await test.settle()
        else:
            # Nothing new goes out behind the step that is recorded, until the flow has crashed.
            await execution.suspend()
            await test.settle()
        completed = [each["id"] for each in theirs["steps"] if each["state"] == "completed"]
        assert played.ran == completed
        played.ran.clear()
        await test.restart()
        if not is_done:
            await execution.resume()
        await test.settle()
        report = await execution.report()
    assert played.ran == expect["reExecute"]
    assert played.undone == expect["compensate"]
    assert STATUSES[report.status] == expect["workflowStatus"]


@pytest.mark.parametrize("at", ["ran b", "ran c", "undone c", "undone b", "undone a"])
async def test_a_crash_in_a_saga_repeats_only_what_was_under_way(at: str) -> None:
    """What was recorded before a crash is not done again, forward or backward; the rest is done."""
    played = Played()
    outcomes = {"a": "success", "b": "success", "c": "failed"}
    steps = [{"id": name, "execute": outcome} for name, outcome in outcomes.items()]
    workflow = played.workflow({"id": "w", "executionMode": "rollback", "steps": steps})
    async with FlowHarness(played.app) as test:
        played.interrupt = at, test.crash
        with pytest.raises(BrokerUnavailable):
            await workflow.run(id="saga-1")
        await test.restart()
        with pytest.raises(ExecutionCompensated):
            await played.app.executions.get("saga-1").result()
    kind, name = at.split()
    ran, undone = ["a", "b", "c"], ["c", "b", "a"]
    done = ran if kind == "ran" else undone
    done.insert(done.index(name), name)
    assert (played.ran, played.undone) == (ran, undone)
