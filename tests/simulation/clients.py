"""What clients do: they start executions, wait for them, control them, and do not give up.

A client that is killed and comes back does again what it had no answer to, with the same ids, as
a program does that reads its orders from a table. What it was answered is remembered outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from flow import Execution, ExecutionAborted, ExecutionFailed, Flow, Status, Workflow
from flow.errors import (
    ExecutionCompensated,
    NotPossible,
    UnavailableError,
    UnknownExecution,
    UnknownWorkflow,
)
from flow.ports import Binding, Delivery, Envelope, Publication, Queue, Topology
from flow.report import Report
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import Answer
from flow.runtime.tasks import TaskGroup
from flow.testing.simulation.cluster import Member
from flow.workflows import ExecuteOptions
from tests.simulation.scenario import Control, Start, Verb
from tests.simulation.world import NAMESPACE, World

__all__ = ["COMMANDS", "ClientDriver", "answered", "failed_undos", "resolve_one"]

COMMANDS: Final = {"stop": "suspend", "retry": "resume", "undo step": "undo"}
"""What a verb is called in the ledger, where that is something else."""
AGAIN_S: Final = 2.0
TRIGGER_AGAIN_S: Final = 45.0


class ClientDriver:
    """Everything that one client does, through all of its processes.

    Args:
        world: The world.
        name: The client's name.

    Attributes:
        name: The client's name.
        is_served: Set when it waits for nothing any more.
    """

    def __init__(self, world: World, name: str) -> None:
        """Begin with everything still to be done."""
        number = int(name.partition("-")[2])
        self.name = name
        self._world = world
        self._starts: dict[str, Start] = {}
        for start in world.scenario.executions:
            for copy, client in enumerate(start.clients):
                if client == number:
                    self._starts[f"{start.id} copy {copy}"] = start
        controls = (each for each in world.scenario.controls if each.client == number)
        self._controls = dict(enumerate(controls))
        self.is_served = asyncio.Event()
        self._look()

    @property
    def left(self) -> list[str]:
        """What it still waits for."""
        return [*self._starts, *(f"{each.verb} {each.target}" for each in self._controls.values())]

    async def main(self, member: Member) -> None:
        """Do what is left to be done, in one process.

        Args:
            member: The process.
        """
        app = Flow(NAMESPACE, broker="memory://", store="memory://")
        workflows = [program.declare(app) for program in self._world.scenario.programs]
        app.use(member.adapters)
        app.play()
        async with app:
            member.ready.set()
            async with TaskGroup() as tasks:
                for key, start in list(self._starts.items()):
                    workflow = workflows[start.program]
                    tasks.start(self._start(member, workflow, start, key), key)
                for number, control in list(self._controls.items()):
                    tasks.start(self._control(app, number, control), control.verb)
                await asyncio.Event().wait()

    # ---------------------------------------------------------------------------- starts

    async def _start(self, member: Member, workflow: Workflow[Any], start: Start, key: str) -> None:
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "execute": lambda: self._execute(member, workflow, start),
            "run": lambda: self._run(member, workflow, start),
            "trigger": lambda: self._trigger(member, start),
            "trigger and wait": lambda: self._trigger(member, start),
        }
        await self._until(start.at_s)
        while True:
            try:
                await ways[start.way]()
            except UnavailableError:
                self._world.counts["a start that was not answered in time"] += 1
                await asyncio.sleep(AGAIN_S)
            else:
                break
        self._starts.pop(key, None)
        self._look()
        self._world.counts[f"an answered start: {start.way}"] += 1

    async def _execute(self, member: Member, workflow: Workflow[Any], start: Start) -> None:
        self._world.ledger.asked(start.id)
        await workflow.execute(start.id, **_options(start))
        self._world.ledger.accepted(start.id)

    async def _run(self, member: Member, workflow: Workflow[Any], start: Start) -> None:
        self._world.ledger.asked(start.id)
        run = workflow.run(start.id, **_options(start))
        await answered(self._world, member, start.id, run)
        self._world.ledger.accepted(start.id)

    async def _trigger(self, member: Member, start: Start) -> None:
        """Start by a plain message, again and again until it is answered."""
        broker, addresses = member.adapters.broker, Addresses(NAMESPACE)
        number = member.adapters.chance.new_id()
        queue = addresses.reply_queue(number)
        bindings = (Binding(queue, addresses.reply, number),)
        await broker.declare(Topology((), (Queue(queue, exclusive=True),), bindings))
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()

        def receive(delivery: Delivery) -> None:
            delivery.ack()
            if not answer.done():
                answer.set_result(delivery.envelope)

        await broker.consume(queue, 10, receive)
        envelope = _trigger(start, queue, number)
        waiting = self._world.ledger.waits(member.process.name, f"the answer to {start}")
        while not answer.done():
            self._world.ledger.asked(start.id)
            publication = Publication(addresses.trigger, self._workflow_of(start), envelope)
            try:
                await broker.publish([publication])
                await asyncio.wait([answer], timeout=TRIGGER_AGAIN_S)
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
        self._world.ledger.served(waiting)
        self._take(start, Answer.read(answer.result()))

    def _take(self, start: Start, answer: Answer) -> None:
        if answer.error is not None:
            self._world.object_to("a refused start", f"{start.id}: {answer.error!r}")
            return
        self._world.ledger.accepted(start.id)
        if start.way == "trigger and wait":
            output = answer.value.get("output")
            self._world.ledger.answered(start.id, answer.value["status"], output)

    def _workflow_of(self, start: Start) -> str:
        return self._world.scenario.programs[start.program].id

    # -------------------------------------------------------------------------- controls

    async def _control(self, app: Flow, number: int, control: Control) -> None:
        await self._until(control.at_s)
        ledger, target, verb = self._world.ledger, control.target, control.verb
        told = COMMANDS.get(verb, verb)
        while not self._world.is_healed:
            if target:
                ledger.wants(target, told)
            try:
                status = await _command(app, control)
            except (NotPossible, UnknownExecution, UnknownWorkflow) as error:
                self._world.counts[f"refused: {verb}, {type(error).__name__}"] += 1
                break
            except UnavailableError:
                self._world.counts["a control that was not answered in time"] += 1
                await asyncio.sleep(AGAIN_S)
            else:
                if target:
                    ledger.controlled(target, told, status)
                self._world.counts[f"obeyed: {verb}"] += 1
                break
        self._controls.pop(number, None)
        self._look()

    def _look(self) -> None:
        if not self.left:
            self.is_served.set()

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(at_s - self._world.now_s, 0.0))


async def answered(
    world: World, member: Member, execution: str, asking: Awaitable[Any]
) -> Status | None:
    """Wait for the end of an execution, and write it down.

    Args:
        world: The world.
        member: The process that waits.
        execution: The id of the execution.
        asking: Returns its result, or raises how it ended.

    Returns:
        How it ended.

    Raises:
        UnavailableError: Nobody answers.
    """
    ledger = world.ledger
    waiting = ledger.waits(member.process.name, f"the end of {execution}")
    try:
        output = await asking
    except (ExecutionFailed, ExecutionAborted) as ended:
        ledger.served(waiting)
        status = _how(ended)
        ledger.answered(execution, status.value)
        return status
    except (UnavailableError, asyncio.CancelledError):
        ledger.served(waiting)
        raise
    ledger.served(waiting)
    ledger.answered(execution, Status.SUCCESS.value, output)
    return Status.SUCCESS


def _how(ended: ExecutionFailed | ExecutionAborted) -> Status:
    if isinstance(ended, ExecutionAborted):
        return Status.ABORTED
    is_undone = isinstance(ended, ExecutionCompensated)
    return Status.COMPENSATED if is_undone else Status.FAILURE


def _options(start: Start) -> ExecuteOptions:
    options: ExecuteOptions = {"id": start.id, "optional": start.optional}
    if start.on_error:
        options["on_error"] = start.on_error
    if start.on_undo_error:
        options["on_undo_error"] = start.on_undo_error
    return options


async def _command(app: Flow, control: Control) -> str:
    """Return the status that was answered to a command, if it is about one execution."""
    target = control.target
    match control.verb:
        case "pause":
            await app.workflows.pause(target)
        case "unpause":
            await app.workflows.unpause(target)
        case "suspend all":
            await app.executions.suspend_all()
        case "resume all":
            await app.executions.resume_all()
        case _:
            return (await _command_one(app.executions.get(target), control)).value
    return ""


async def _command_one(execution: Execution[Any], control: Control) -> Status:
    ways: dict[Verb, Callable[[], Awaitable[Status]]] = {
        "suspend": execution.suspend,
        "stop": lambda: execution.suspend("stop"),
        "resume": execution.resume,
        "retry": execution.resume,
        "abort": execution.abort,
        "compensate": lambda: execution.abort(compensate=True),
        "undo": execution.undo,
        "undo step": lambda: execution.undo(control.step),
        "resolve": lambda: resolve_one(execution),
    }
    return await ways[control.verb]()


async def resolve_one(execution: Execution[Any]) -> Status:
    """Deal with the first undo of an execution that has failed.

    Args:
        execution: The execution.

    Returns:
        What it was answered.

    Raises:
        NotPossible: None has failed.
    """
    report = await execution.report()
    failed = next(failed_undos(report), None)
    if failed is None:
        raise NotPossible("resolve", execution.id, report.status.value, "no undo has failed")
    return await execution.resolve(failed, "it was done by hand")


def failed_undos(report: Report, inside: str = "") -> Iterator[str]:
    """Go through the steps whose undos have failed: their ids, with slashes between.

    Args:
        report: The report of an execution, or of a sub-workflow in it.
        inside: The sub-workflow, with a slash behind.
    """
    for step in report.steps:
        if step.report is not None:
            yield from failed_undos(step.report, f"{inside}{step.step}/")
        elif step.action == "undo" and step.status is Status.FAILURE:
            yield f"{inside}{step.step}"


def _trigger(start: Start, queue: str, number: str) -> Envelope:
    waits = "result" if start.way == "trigger and wait" else "accepted"
    return Envelope(
        type="",
        body=f'"{start.id}"'.encode(),
        message_id=number,
        correlation_id=number,
        reply_to=queue,
        headers={"flow-id": start.id, "flow-wait": waits},
    )
