"""The predecessor's sagas run on our engine as it says: order, undos, statuses."""

from typing import Any

import pytest

from flow.errors import DefinitionError
from flow.testing import FlowHarness
from tests.saga.loader import STATUSES, Played, fixtures, told


@pytest.mark.parametrize("fixture", fixtures("behavior"))
async def test_a_saga_behaves_as_its_fixture_says(fixture: dict[str, Any]) -> None:
    """What ran, what was undone, in which order, and how each step ended, are as expected."""
    expect, played = fixture["expect"], Played()
    try:
        workflow = played.workflow(fixture["workflow"])
    except DefinitionError:
        # With us a workflow that is none is refused before anything of it could run.
        assert (expect["workflowStatus"], expect["workflowAction"]) == ("failed", "prepare")
        assert not expect["executionOrder"]
        return
    async with FlowHarness(played.app) as test:
        execution = await workflow.execute()
        await test.settle()
        report = await execution.report()
    assert STATUSES[report.status] == expect["workflowStatus"]
    assert played.ran == expect["executionOrder"]
    assert played.undone == expect["rollbackOrder"]
    found = told(report)
    for step, wanted in expect["steps"].items():
        assert {name: found[step].get(name) for name in wanted} == wanted, step


def _chain(*outcomes: str) -> dict[str, Any]:
    """Return a saga of steps called by name and outcome, that takes back what it did."""
    steps = [dict(zip(("id", "execute"), each.split(":"), strict=True)) for each in outcomes]
    return {"id": "restart", "executionMode": "rollback", "steps": steps}


@pytest.mark.parametrize(
    ("saga", "count"),
    [
        (_chain("stop:success", "fetch:success", "notify:skipped", "restart:failed"), 8),
        (_chain("stop:success", "fetch:success", "restart:failed", "notify:skipped"), 6),
        (_chain("stop:success", "fetch:success", "restart:success"), 3),
    ],
    ids=["notify in the middle", "notify at the end", "all goes well"],
)
async def test_the_oracle_of_the_first_generation(saga: dict[str, Any], count: int) -> None:
    """Each step that ran is reported once, and once more if it was taken back."""
    played = Played()
    workflow = played.workflow(saga)
    async with FlowHarness(played.app) as test:
        execution = await workflow.execute()
        await test.settle()
        report = await execution.report()
    assert len(report.steps) == count
    assert played.undone == (played.ran[::-1] if count > 3 else [])
