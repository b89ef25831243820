"""Tests of `flow.testing.serving`: workers for stubs."""

from __future__ import annotations

from flow import Flow
from flow.testing import FlowHarness


async def test_stubs_of_one_service_do_not_get_in_each_others_way() -> None:
    """Each stub gets the requests for its own endpoint, however many a service has."""
    app = Flow("shop", broker="memory://", store="memory://")

    @app.service("a").endpoint
    def real() -> str:
        return "real"

    async with FlowHarness(app) as test:
        for number in range(10):
            test.stub(f"a.m{number}", number)
        for number in range(10):
            assert await app.call(f"a.m{number}") == number
        assert await app.call("a.real") == "real"


async def test_stubs_come_back_after_a_restart() -> None:
    """After a restart all stubs are served again, also those that were made while it was down."""
    app = Flow("shop", broker="memory://", store="memory://")
    async with FlowHarness(app) as test:
        test.stub("a.b", 1)
        test.crash()
        test.stub("a.c", 2)
        await test.restart()
        assert [await app.call("a.b"), await app.call("a.c")] == [1, 2]
