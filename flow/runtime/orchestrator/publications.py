"""Publications: from a committed command to the message that carries it out."""

from collections.abc import Mapping
from typing import Final

from flow.bags import write_object
from flow.codec.bodies import assemble_source
from flow.errors import TooLarge
from flow.kept import SHARED_LIMIT
from flow.kernel.commands import CancelStep, SendAnswer
from flow.kernel.events import Attempt
from flow.kernel.tree import Node
from flow.kernel.values import STATE, values_of
from flow.ports import Chance, Envelope, Publication
from flow.programs.places import UNDO
from flow.runtime import protocol
from flow.runtime.addresses import Addresses
from flow.runtime.keeping import SHARED_HEADER, STATE_HEADER
from flow.runtime.orchestrator.commands import Command, attempt_in
from flow.runtime.orchestrator.endings import answer_to
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.protocol import correlation_of, request_headers
from flow.step import StepDefinition, StepKind

__all__ = ["Publications"]

DEFINITIONS: Final = 10_000
"""Of so many steps it is remembered what they say in headers."""


class Publications:
    """Makes messages of commands.

    Args:
        addresses: The names of the namespace.
        chance: Message ids.

    What is remembered of a step is found by where its definition is in memory, which is kept along
    with it: to look it up by all that it says would cost more than to make it anew.
    """

    def __init__(self, addresses: Addresses, chance: Chance) -> None:
        """Keep the names."""
        self._addresses = addresses
        self._chance = chance
        self._mailboxes: dict[int, str] = {}
        self._headers: dict[int, tuple[StepDefinition, Mapping[str, str]]] = {}

    def of(self, command: Command, node: Node) -> Publication:
        """Return the message that carries a command out.

        Args:
            command: The command.
            node: What it is for.

        Raises:
            FlowError: Its body cannot be put together.
        """
        live, task = command.live, command.task
        if isinstance(task, CancelStep):
            return self._cancellation(command)
        if isinstance(task, SendAnswer):
            return answer_to(live, node, self._chance.new_id())
        command.step = definition = live.program.definition(node)
        body = _body(live, node)
        headers = live.input.headers
        message_id = self._chance.new_id()
        correlation = correlation_of(live.id, Attempt(command.node, task.epoch, task.attempt))
        if definition.kind is StepKind.PUBLISH:
            metadata = _topic(command, headers)
            envelope = Envelope(protocol.TOPIC, body, message_id, correlation, "", metadata)
            return Publication(self._addresses.topics, definition.target, envelope, mandatory=False)
        metadata = {
            **headers,
            **self._headers_of(definition),
            "flow-execution": live.id,
            "flow-path": command.path,
            "flow-attempt": str(task.attempt),
        }
        if command.again:
            metadata[protocol.AGAIN_HEADER] = "1"
            live.has_copies = True
        _add_bags(metadata, live, node)
        reply_to = self._mailboxes.get(live.partition) or self._mailbox(live.partition)
        envelope = Envelope(protocol.REQUEST, body, message_id, correlation, reply_to, metadata)
        return Publication(self._addresses.steps, definition.target, envelope)

    def _mailbox(self, partition: int) -> str:
        """Return the queue for replies of a partition, and remember its name."""
        name = self._mailboxes[partition] = self._addresses.mailbox_queue(partition)
        return name

    def _headers_of(self, definition: StepDefinition) -> Mapping[str, str]:
        """Return what a definition says in headers, and remember it for as long as it is there."""
        found = self._headers.get(id(definition))
        if found is None:
            if len(self._headers) >= DEFINITIONS:
                self._headers.clear()
            found = self._headers[id(definition)] = (definition, request_headers(definition))
        return found[1]

    def _cancellation(self, command: Command) -> Publication:
        headers = {"flow-execution": command.live.id}
        envelope = Envelope(
            protocol.CANCEL,
            b"null",
            self._chance.new_id(),
            correlation_of(command.live.id, attempt_in(command)),
            "",
            headers,
        )
        return Publication(self._addresses.cancel, "", envelope, mandatory=False)


def _body(live: LiveExecution, node: Node) -> bytes:
    if node.key == UNDO:
        return _undo_body(live, node)
    bodies = live.program.bodies_of(live.tree, node)
    kind, _, name = node.key.partition("/")
    source = bodies.hook_input(name) if kind == "hooks" else bodies.step_input(name)
    return assemble_source(source, f"the input of step {name!r}")


def _add_bags(metadata: dict[str, str], live: LiveExecution, node: Node) -> None:
    """Add what earlier attempts of the step have kept, and what the steps before have shared."""
    step = node.parent if node.key == UNDO and node.parent is not None else node
    state = values_of(step, STATE) if step.children else {}
    if state:
        metadata[STATE_HEADER] = write_object(state)
    shared = live.program.sharing.seen_by(node)
    if shared:
        metadata[SHARED_HEADER] = text = write_object(shared)
        # One more than what its reader counts: braces, and a comma less than fields.
        size = len(text.encode()) - 1
        if size > SHARED_LIMIT:
            what = f"the shared state that {step.path} would see"
            raise TooLarge(what, size, SHARED_LIMIT, sorted(shared)[:5])


def _undo_body(live: LiveExecution, undo: Node) -> bytes:
    step = undo.parent
    assert step is not None, "an undo stands below its step"
    bodies = live.program.bodies_of(live.tree, step)
    source = bodies.for_undo(step, f"{live.id}:{step.path}").undo_input()
    name = step.key.partition("/")[2]
    return assemble_source(source, f"the input of the undo of step {name!r}")


def _topic(command: Command, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        **headers,
        "flow-execution": command.live.id,
        "flow-path": command.path,
        "flow-key": f"{command.live.id}:{command.path}",
    }
