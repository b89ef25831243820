"""Write histories of this version: `python -m tests.histories.make FOLDER`.

Run it only when a machine type gets a new version, into new files: what is there already must
never change.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flow import Execution, Fail, Flow, RetryPolicy, Skip, Step, StepContext
from flow.testing import FlowHarness

JsonObject = dict[str, Any]

app = Flow("histories", broker="memory://", store="memory://")


@app.step
async def hold(order: JsonObject) -> JsonObject:
    """Answer with text and a number that are easily damaged."""
    return {"id": f"h{order['total']}", "text": "ünïcode", "big": 2**53 + 1}


@app.step(requires=[hold], retry=RetryPolicy(max_attempts=3, initial=1))
async def pay(hold: JsonObject, context: StepContext) -> JsonObject:
    """Fail once."""
    if context.attempt == 1:
        raise ConnectionError("the bank is away")
    return {"receipt": hold["id"]}


@app.step
async def check() -> None:
    """Have nothing to do."""
    raise Skip("nothing to check")


@app.step(optional=True)
async def gift() -> str:
    """Fail, which does not matter."""
    raise Fail("no gifts left")


@app.step
async def courier() -> str:
    """Fail, so that the post stands in."""
    raise Fail("the courier is ill")


@app.step
async def post() -> str:
    """Stand in."""
    return "by post"


@app.step
async def thank(outcome: JsonObject) -> str:
    """Run after the end."""
    return str(outcome["status"])


@app.step
async def seat(order: JsonObject) -> JsonObject:
    """Be taken back later."""
    return {"seat": order["total"]}


@app.step
async def give_back(undone: JsonObject) -> str:
    """Take back, but fail for one seat."""
    if undone["seat"] == 13:
        raise Fail("nobody sits there")
    return "given back"


label = app.workflow("label", Step.call("histories.check", id="inner"))
by_post = Step.call("histories.post", id="by-post")
send = Step.call("histories.courier", id="send", fallback=by_post, requires=[pay])
paid = Step.publish("orders.paid", id="paid", input={"receipt": pay.output.receipt})
complete = app.workflow(
    "order",
    *(hold, pay, check, gift, send, Step.sub_workflow(label, id="sub", requires=[hold]), paid),
    output={"receipt": pay.output.receipt, "way": send.output},
    on_success=thank,
    timeout=3600,
    labels={"shop": "a"},
)
failing = app.workflow("fails", hold, courier)
back = Step.call("histories.give_back", input={"seat": Step.call("histories.seat").output.seat})
taken = Step.call("histories.seat", id="seat", undo=back)
trip = app.workflow(
    "trip",
    taken,
    Step.call("histories.check", id="nothing", requires=[taken]),
    Step.call("histories.courier", id="bring", requires=["nothing"], undo="histories.check"),
    on_error="compensate",
    on_end=thank,
)
waiting = app.workflow("slow", Step.call("histories.nobody", id="nobody", start_within=5))


async def history_of(execution: Execution[Any]) -> Mapping[str, Any]:
    """Return everything that a test needs to compare."""
    records = await app.client.ask("history", {}, execution.id)
    report = await execution.describe()
    known = await app.client.ask("workflow.load", {"workflow": report["workflow"]})
    for record in records:
        del record["snapshot"]
    return {**known, "records": records, "report": report}


async def make() -> Mapping[str, Mapping[str, Any]]:
    """Run one execution of each kind; return the histories by name."""
    async with FlowHarness(app) as test:
        first = await complete.execute({"total": 5}, id="complete", headers={"tenant": "t1"})
        await first.result()
        second = await complete.execute({"total": 6}, id="controlled")
        await second.suspend(clock="stop", reason="lunch")
        await second.resume()
        await second.abort("wrong address")
        third = await failing.execute({"total": 7}, id="failed")
        await test.settle()
        await third.resume()
        await test.settle()
        fourth = await waiting.execute({}, id="waiting")
        fifth = await complete.execute({"total": 8}, id="waited")
        await app.workflows.pause("order", reason="release")
        sixth = await complete.execute({"total": 9}, id="paused")
        await sixth.suspend(reason="by hand")
        await app.workflows.unpause("order")
        await app.client.ask("result", {"durable": True}, "waited", within_s=None)
        seventh = await trip.execute({"total": 7}, id="compensated")
        eighth = await trip.execute({"total": 13}, id="resolved")
        await test.settle()
        await eighth.resolve("seat", "the seat was sold")
        await test.settle()
        made = (first, second, third, fourth, fifth, sixth, seventh, eighth)
        return {each.id: await history_of(each) for each in made}


def main() -> None:
    """Write one file for each history."""
    for name, history in asyncio.run(make()).items():
        # Tracebacks name files; where they were does not matter.
        here = str(Path.cwd())
        text = json.dumps(history, indent=1, ensure_ascii=False).replace(here, "/app")
        (Path(sys.argv[1]) / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
