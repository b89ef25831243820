"""The handler of an undo: takes apart what is told of the run that is to be taken back.

The body of its request is what `FromRun()` stands for: an object with the run's `input`,
`status`, `output`, `failure`, `run_key` and `attempts`. The function gets the input as the run
got it, and the rest in its context.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from flow import codec
from flow.context import StepContext, UndoContext
from flow.errors import InvalidInput, TooLarge
from flow.handler.calling import Arguments, Handler
from flow.handler.values import problems, type_name
from flow.message import Message
from flow.names import REQUEST_LIMIT
from flow.status import Status

__all__ = ["UndoHandler"]


class UndoHandler:
    """A function that takes a run back; made by `bind_undo`.

    Args:
        handler: Calls the function with the run's input.
        returns: The type of the run's output.
        adapter: Reads the run's output, or None where it is taken as it is.

    Attributes:
        function: The function.
        is_async: Whether what it returns has to be awaited.
        wants_context: Whether a parameter takes the context.
    """

    __slots__ = ("_adapter", "_handler", "_returns", "function", "is_async", "wants_context")

    def __init__(self, handler: Handler, returns: object, adapter: TypeAdapter[Any] | None) -> None:
        """Keep what `bind_undo` has found out."""
        self._handler = handler
        self._returns = returns
        self._adapter = adapter
        self.function: Callable[..., Any] = handler.function
        self.is_async = handler.is_async
        self.wants_context = handler.wants_context

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> Arguments:
        """Return what to call the function with, and tell the context of the run.

        Args:
            body: The JSON text of the request.
            headers: All headers of the request; the function sees those of users.
            context: The attempt: an UndoContext; needed only if `wants_context`.

        Raises:
            InvalidInput: The body does not tell of a run, or its input or its output is not what
                the annotations say.
            TooLarge: The body has more than REQUEST_LIMIT bytes.
        """
        run = self._read(body)
        plain: StepContext | None = context
        if isinstance(context, UndoContext):
            self._tell(cast("UndoContext[Any]", context), run)
        return self._handler.arguments(codec.dumps(run["input"]), headers, plain)

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of the response; see `Handler.encode`."""
        return self._handler.encode(result)

    @property
    def _what(self) -> str:
        return f"the run that {self._handler.name} is to undo"

    def _read(self, body: bytes) -> dict[str, Any]:
        if len(body) > REQUEST_LIMIT:
            raise TooLarge(self._what, len(body), REQUEST_LIMIT)
        run: Any = codec.loads(body, self._what)
        if not isinstance(run, dict) or "input" not in run:
            raise InvalidInput(self._what, "it is no object with the run's input")
        return cast("dict[str, Any]", run)

    def _tell(self, context: UndoContext[Any], run: Mapping[str, Any]) -> None:
        status, attempts = run.get("status"), run.get("attempts")
        if not isinstance(status, str) or status not in Status.__members__:
            raise InvalidInput(self._what, f"its status is {status!r}")
        context.status = Status[status]
        context.run_key = str(run.get("run_key") or "")
        context.run_attempts = attempts if isinstance(attempts, int) else 0
        failure = run.get("failure")
        context.error = None if failure is None else codec.decode_failure(failure)
        output = run.get("output")
        # Of a run that was ended by force its output may have been heard later.
        is_known = output is not None or context.status is Status.SUCCESS
        context.output = self._output(output) if is_known else None

    def _output(self, value: Any) -> Any:
        if self._returns is Message:
            return Message(body=codec.dumps(value))
        if self._adapter is None:
            return value
        try:
            return self._adapter.validator.validate_json(codec.dumps(value))
        except ValidationError as error:
            declared = f"its output is expected to be {type_name(self._returns)}, but "
            raise InvalidInput(self._what, declared + problems(error)) from error
