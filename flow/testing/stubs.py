"""Stubs and spies: what answers in place of an endpoint, and who notes down the calls."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, NoReturn

from flow import codec
from flow.clock import sleep_until
from flow.context import StepContext
from flow.handler import bind, bind_undo, encode_value, wants_run
from flow.message import Message, check_headers
from flow.ports import Clock
from flow.runtime.service import Handler

__all__ = ["NEVER", "Call", "Hook", "Spy", "Stub"]


class _Never:
    """The type of `NEVER`."""

    def __repr__(self) -> str:
        """Return the name that users know."""
        return "NEVER"


NEVER: Final = _Never()
"""A stub that does not answer, until the time of its step is over or somebody aborts it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an endpoint.

    Args:
        endpoint: `service.method`.
        input: The input, decoded from JSON.
        attempt: The number of the attempt.
        execution: The execution's id, or an empty string in a plain call.
        headers: The metadata that came with it.
        idempotency_key: The same for every attempt of the step.
    """

    endpoint: str
    input: Any
    attempt: int = 1
    execution: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    idempotency_key: str = ""


class _Bound:
    """A function that answers, and what it returns is written as it declares it."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler


class Stub:
    """Answers that a test has given; satisfies `flow.runtime.service.Handler`.

    Args:
        endpoint: What it answers for.
        answers: Values, exceptions and functions, one for each call; the last one is for all
            calls that follow too.
        clock: The time.

    Raises:
        BindingError: The signature of a function does not say what it takes.
    """

    is_async = True
    wants_context = True

    def __init__(self, endpoint: str, answers: Sequence[Any], clock: Clock) -> None:
        """Keep the answers; functions are bound to their arguments at once."""
        self._answers = [_bound(endpoint, answer) for answer in answers]
        self._clock = clock
        self._next = 0

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the next answer, with what it is called with if it is a function."""
        answer = self._answers[min(self._next, len(self._answers) - 1)]
        self._next += 1
        if isinstance(answer, _Bound):
            args, kwargs = answer.handler.arguments(body, headers, context)
            return (answer, *args), kwargs
        return (answer,), {}

    async def function(self, answer: Any, /, *args: Any, **kwargs: Any) -> object:
        """Give an answer."""
        if answer is NEVER:
            await sleep_until(self._clock, inf)
        if isinstance(answer, BaseException) or _is_error_type(answer):
            _raise(answer)
        if not isinstance(answer, _Bound):
            return answer
        handler = answer.handler
        result = handler.function(*args, **kwargs)
        return _Result(handler, await result if handler.is_async else result)

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of the response."""
        what = "the stub's result"
        if isinstance(result, _Result):
            return result.handler.encode(result.value)
        if isinstance(result, Message):
            return codec.check_body(result.body, what), check_headers(result.headers)
        return codec.check_body(encode_value(result, what), what), {}


def _any_run(value: Any) -> Any:
    return value


_ANY_RUN: Final = bind(_any_run)
"""A function that takes its input as one value, and says nothing of its result."""


def _bound(endpoint: str, answer: Any) -> Any:
    if callable(answer) and not _is_error_type(answer):
        if wants_run(answer):
            return _Bound(bind_undo(answer, _ANY_RUN, owner=endpoint))
        return _Bound(bind(answer, owner=endpoint).handler)
    return answer


def _is_error_type(answer: object) -> bool:
    return isinstance(answer, type) and issubclass(answer, BaseException)


def _raise(answer: Any) -> NoReturn:
    error: BaseException = answer() if isinstance(answer, type) else answer
    # The same one may be raised again and again, and would gather tracebacks.
    raise error.with_traceback(None)


@dataclass(frozen=True, slots=True)
class _Result:
    """What was returned, and who knows how to write it."""

    handler: Handler
    value: object


class Spy:
    """Notes down the calls of an endpoint; satisfies `flow.runtime.service.Handler`.

    Args:
        endpoint: What is called.
        handler: What answers unless there is a stub; None for an endpoint without code.
        note: Takes note of a call.
        handling: Entered around every call of something that is awaited.

    Attributes:
        stub: What answers in place of the handler, or None.
    """

    wants_context = True

    def __init__(
        self,
        endpoint: str,
        handler: Handler | None,
        note: Callable[[Call], None],
        handling: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Begin without a stub."""
        self.stub: Stub | None = None
        self._endpoint = endpoint
        self._handler = handler
        self._note = note
        self._handling = handling

    @property
    def is_async(self) -> bool:
        """Whether what the function returns has to be awaited."""
        return self._present.is_async

    @property
    def _present(self) -> Handler:
        present = self.stub or self._handler
        assert present is not None, "an endpoint without code is served with a stub only"
        return present

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to call the function with, and take note of the call."""
        present = self._present
        args, kwargs = present.arguments(body, headers, context)
        seen = context or StepContext(endpoint=self._endpoint)
        call = Call(
            endpoint=self._endpoint,
            input=codec.loads(body),
            attempt=seen.attempt,
            execution=seen.execution_id,
            headers=dict(headers),
            idempotency_key=seen.idempotency_key,
        )
        self._note(call)
        return (present, *args), kwargs

    def function(self, present: Handler, /, *args: Any, **kwargs: Any) -> Any:
        """Call what answers."""
        if present.is_async:
            return self._await(present, args, kwargs)
        return _Result(present, present.function(*args, **kwargs))

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of the response."""
        assert isinstance(result, _Result), "it is what `function` returned"
        return result.handler.encode(result.value)

    async def _await(self, present: Handler, args: Any, kwargs: Any) -> _Result:
        with self._handling():
            return _Result(present, await present.function(*args, **kwargs))


class Hook:
    """A prepare hook that rests while a stub answers; satisfies `flow.runtime.service.Handler`.

    Args:
        hook: The hook.
        spy: Who knows whether there is a stub.
    """

    def __init__(self, hook: Handler, spy: Spy) -> None:
        """Keep both."""
        self._hook = hook
        self._spy = spy
        self.wants_context = hook.wants_context

    @property
    def is_async(self) -> bool:
        """Whether what the function returns has to be awaited."""
        return self._hook.is_async and self._spy.stub is None

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to call the hook with: nothing if it rests."""
        return ((), {}) if self._spy.stub else self._hook.arguments(body, headers, context)

    def function(self, *args: Any, **kwargs: Any) -> Any:
        """Call the hook, unless it rests."""
        return None if self._spy.stub else self._hook.function(*args, **kwargs)

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of a response, which nobody asks for."""
        return self._hook.encode(result)
