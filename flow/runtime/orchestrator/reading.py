"""Reading: questions that are answered from the store or by others, and so not in the loop.

Each is answered in a task of its own. Who asks the same again meanwhile is answered by that one:
what takes long may need messages of its own through the same queue, and these could not come if
all that may be taken from it at once were the same question, asked again and again.
"""

import logging
from collections import Counter

from flow.errors import FlowError, RequestError
from flow.ports import Delivery
from flow.runtime.orchestrator.requests import Requests
from flow.runtime.protocol import Answer, Request
from flow.runtime.tasks import TaskGroup

__all__ = ["Reading", "told"]

_log = logging.getLogger("flow.orchestrator")


class Reading:
    """Answers questions, each in a task of its own.

    Args:
        requests: What can be asked.
        tasks: Who runs the tasks.
    """

    def __init__(self, requests: Requests, tasks: TaskGroup) -> None:
        """Begin with no question."""
        self._requests = requests
        self._tasks = tasks
        self._present: Counter[tuple[str, str]] = Counter()

    def begin(self, delivery: Delivery, request: Request) -> None:
        """Answer a question, unless the same one is being answered.

        Args:
            delivery: The message that asks.
            request: The question.
        """
        key = (request.reply_to, request.correlation)
        if request.reply_to and key in self._present and not delivery.redelivered:
            delivery.ack()
            return
        self._present[key] += 1
        self._tasks.start(self._read(delivery, request, key), f"request {request.verb}")

    async def _read(self, delivery: Delivery, request: Request, key: tuple[str, str]) -> None:
        try:
            answer = Answer(await self._requests.reading[request.verb](request))
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it
            answer = Answer(error=told(error, request))
        self._present[key] -= 1
        if not self._present[key]:
            del self._present[key]
        self._requests.answer(request, answer)
        delivery.ack()


def told(error: Exception, request: Request) -> FlowError:
    """Return what whoever asked is told of an error; one that is not ours is logged.

    Args:
        error: What went wrong.
        request: What was asked.
    """
    if isinstance(error, FlowError):
        return error
    _log.error("the request %r cannot be answered", request.verb, exc_info=error)
    return RequestError(f"the request failed: {error!r}")
