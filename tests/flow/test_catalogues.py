"""The catalogue as users hold it, through the harness."""

import pytest

from flow import Flow, Step
from flow.errors import MissingSteps, UnknownStep, UnresolvedSteps
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import echo


def a_shop() -> Flow:
    """Return a flow with two steps of its own."""
    app = Flow("shop", broker="memory://", store="memory://")

    @app.step
    async def reserve(order: int) -> int:
        return order

    @app.service("payments").step(requires=[reserve], timeout=5)
    async def charge(order: int, reserve: int) -> str:
        return f"{order}/{reserve}"

    return app


async def test_steps_of_the_program_are_in_the_catalogue() -> None:
    """What a running program declares can be listed, with endpoint, policy and schemas."""
    app = a_shop()
    async with FlowHarness(app):
        rows = await app.catalogue.list()
        assert [(row["id"], row["service"], row["endpoint"]) for row in rows] == [
            ("charge", "payments", "payments.charge"),
            ("reserve", "shop", "shop.reserve"),
        ]
        charge = await app.catalogue.get("charge")
        assert charge == rows[0]
        assert charge["requires"] == ["reserve"]
        assert charge["policy"]["timeout_ms"] == 5_000
        assert charge["input"]["required"] == ["order", "reserve"]
        assert charge["output"] == {"type": "string"}


async def test_a_step_is_forgotten_until_it_is_announced_again() -> None:
    """A forgotten step is unknown; its service announces it again when it is started again."""
    app = a_shop()
    async with FlowHarness(app) as test:
        await app.catalogue.forget("charge")
        with pytest.raises(UnknownStep, match="'charge'"):
            await app.catalogue.get("charge")
        with pytest.raises(UnknownStep, match="did you mean 'reserve'"):
            await app.catalogue.forget("reserv")
        await test.restart()
        assert (await app.catalogue.get("charge"))["service"] == "payments"


async def test_a_workflow_of_missing_steps_can_be_declared() -> None:
    """A flow starts although a workflow names a step of nobody; a start says what is missing."""
    app = a_shop()
    lost = app.workflow("lost", "charg")
    good = app.workflow("good", "charge", output="charge")
    async with FlowHarness(app):
        with pytest.raises(MissingSteps, match=r"'charg' .did you mean 'charge'"):
            await lost.run(1)
        with pytest.raises(UnresolvedSteps, match="'charg'"):
            lost.steps()
        assert await good.run(7) == "7/7"


async def test_a_client_names_announced_steps() -> None:
    """A workflow that is created while the flow runs may name steps; they are closed with."""
    app = a_shop()
    async with FlowHarness(app) as test:
        test.stub("mail.send", echo)
        mail = Step.call(
            "mail.send", requires=["charge"], input={"paid": Step.call("x.charge").output}
        )
        made = await app.workflows.create("mailing", mail, "charge", output="send")
        assert await made.run(3) == {"paid": "3/3"}
        loaded = await app.workflows.load("mailing")
        levels = [[step.id for step in level] for level in loaded.steps()]
        assert levels == [["reserve"], ["charge"], ["send"]]
        with pytest.raises(MissingSteps, match="'lost'"):
            await app.workflows.create("bad", "lost")
