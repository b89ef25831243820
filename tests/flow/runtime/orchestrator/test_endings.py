"""Tests of `orchestrator.endings`: what waiters are told, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

from brokers.memory import MemoryBroker
from flow import Status, codec
from flow.ports import Delivery, Envelope, Publication, Queue, Topology
from flow.runtime.publisher import Told
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.plain import REPLY_TO, plain_client
from tests.flow.runtime.worlds import chain, echo, single, stub_chain

WAIT = {"flow-id": "e-1", "flow-wait": "result"}


async def test_a_waiter_is_told_after_a_crash() -> None:
    """Whoever waits and never asks again is answered by whoever comes after."""
    app, _ = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", NEVER)
        async with plain_client(test) as client:
            asked = await client.trigger("chain", b"1", WAIT)
            await test.settle()
            test.stub("work.s2", 2)
            await test.restart()
            await test.advance(100)
            told = {"execution": "e-1", "status": "SUCCESS", "output": 3}
            assert client.answers_to(asked) == [("success", told)]


async def test_an_answer_that_was_on_its_way_is_sent_again() -> None:
    """An answer whose confirm did not come before the crash is in the outbox, and is sent."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        await test.settle()
        assert app.host is not None
        assert app.host.engine is not None
        publisher = app.host.engine.dispatcher._publisher
        post = publisher.post

        def lose_answers(publication: Publication, told: Told) -> None:
            if publication.envelope.type != "answer" or not publication.mandatory:
                post(publication, told)

        publisher.post = lose_answers  # type: ignore[method-assign]
        asked = await client.trigger("single", b"8", WAIT)
        await test.settle()
        assert (await app.executions.get("e-1").status(), client.answers) == (Status.SUCCESS, [])
        await test.restart()
        await test.settle()
        told = {"execution": "e-1", "status": "SUCCESS", "output": 8}
        assert client.answers_to(asked) == [("success", told)]


async def test_a_waiter_that_is_gone_is_let_go() -> None:
    """An answer to a queue that is no more is settled, and nothing is tried for ever."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        await client.trigger("single", b"8", WAIT, reply_to="world.reply.gone")
        await test.advance(5)
        assert await app.executions.get("e-1").result() == 8
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.dispatcher.unsettled == 0
        await test.advance(5)
        assert await app.host.engine.store.outbox(3, 0, 10) == []


async def test_a_request_can_wait_durably() -> None:
    """A plain client may ask for the result of an execution that runs, and needs an address."""
    app, workflow = single()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 5

    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", wait)
        await workflow.execute(id="e-1")
        asked = await client.ask("result", "e-1", durable=True)
        await client.ask("result", "e-1", durable=True, reply_to="")
        await test.settle()
        assert client.reasons() == ["durable: an answer needs a queue to go to: reply_to is empty"]
        gate.set()
        await test.settle()
        told = {"execution": "e-1", "status": "SUCCESS", "output": 5}
        assert client.answers_to(asked) == [("success", told)]
        history = await app.executions.get("e-1").history()
        assert [event.type for event in history].count("AnswerRequested") == 1


async def test_a_huge_report_leaves_out_the_outputs() -> None:
    """The report of a failure is answered even if the outputs would be too much for it."""
    app, workflow = chain(12)
    async with FlowHarness(app) as test:
        for number in range(1, 12):
            test.stub(f"work.s{number}", "x" * 200_000)
        test.stub("work.s12", ValueError("no"))
        execution = await workflow.execute(id="e-1")
        async with plain_client(test) as client:
            asked = await client.ask("result", "e-1", durable=True)
            await test.settle()
            ((outcome, answer),) = client.answers_to(asked)
            assert (outcome, answer["status"]) == ("success", "FAILURE")
            assert {step["output"] for step in answer["report"]["steps"]} == {None}
        assert len(codec.dumps((await execution.describe())["steps"])) > 2_000_000


async def test_a_takeover_answers_the_waiters_of_the_dead() -> None:
    """The next owner of a partition answers those who waited at the one that died."""
    async with Cluster() as cluster:
        await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        broker, answers = MemoryBroker(cluster.hub), list[Envelope]()

        def receive(delivery: Delivery) -> None:
            delivery.ack()
            answers.append(delivery.envelope)

        await broker.open()
        await broker.declare(Topology(queues=(Queue(REPLY_TO, exclusive=True),)))
        await broker.consume(REPLY_TO, 10, receive)
        trigger = Envelope("", b"7", "e-1", "c-1", REPLY_TO, {"flow-wait": "result"})
        await broker.publish([Publication("world.trigger", "pair", trigger)])
        await cluster.advance(1)
        assert [name for name, _ in cluster.calls] == ["first"]
        await cluster.kill("a")
        await cluster.start("b")
        cluster.gate.set()
        await cluster.advance(60)
        assert [codec.loads(answer.body) for answer in answers] == [
            {"execution": "e-1", "status": "SUCCESS", "output": 7}
        ]
        assert answers[0].correlation_id == "c-1"
        await broker.close()
