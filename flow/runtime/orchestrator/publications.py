"""Publications: from a committed command to the message that carries it out."""

from collections.abc import Mapping

from flow.codec.bodies import assemble_source
from flow.kernel.commands import CancelStep, SendAnswer
from flow.kernel.tree import Node
from flow.ports import Chance, Envelope, Publication
from flow.runtime import protocol
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.commands import Command, attempt_in
from flow.runtime.orchestrator.endings import answer_to
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.protocol import correlation_of, request_headers
from flow.step import StepKind

__all__ = ["Publications"]


class Publications:
    """Makes messages of commands.

    Args:
        addresses: The names of the namespace.
        chance: Message ids.
    """

    def __init__(self, addresses: Addresses, chance: Chance) -> None:
        """Keep the names."""
        self._addresses = addresses
        self._chance = chance

    def of(self, command: Command, node: Node) -> Publication:
        """Return the message that carries a command out.

        Args:
            command: The command.
            node: What it is for.

        Raises:
            FlowError: Its body cannot be put together.
        """
        if isinstance(command.task, CancelStep):
            return self._cancellation(command)
        if isinstance(command.task, SendAnswer):
            return answer_to(command.live, node, self._chance.new_id())
        live = command.live
        command.step = definition = live.program.definition(node)
        body = self._body(live, node)
        headers = live.input.headers
        message_id = self._chance.new_id()
        attempt = attempt_in(command)
        correlation = correlation_of(live.id, attempt)
        if definition.kind is StepKind.PUBLISH:
            metadata = _topic(command, headers)
            envelope = Envelope(protocol.TOPIC, body, message_id, correlation, "", metadata)
            return Publication(self._addresses.topics, definition.target, envelope, mandatory=False)
        metadata = {
            **headers,
            **request_headers(definition),
            "flow-execution": live.id,
            "flow-path": command.path,
            "flow-attempt": str(attempt.number),
        }
        reply_to = self._addresses.mailbox_queue(live.partition)
        envelope = Envelope(protocol.REQUEST, body, message_id, correlation, reply_to, metadata)
        return Publication(self._addresses.steps, definition.target, envelope)

    def _body(self, live: LiveExecution, node: Node) -> bytes:
        bodies = live.program.bodies_of(live.tree, node)
        kind, _, name = node.key.partition("/")
        source = bodies.hook_input(name) if kind == "hooks" else bodies.step_input(name)
        return assemble_source(source, f"the input of step {name!r}")

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


def _topic(command: Command, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        **headers,
        "flow-execution": command.live.id,
        "flow-path": command.path,
        "flow-key": f"{command.live.id}:{command.path}",
    }
