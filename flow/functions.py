"""Decorated functions: steps and services made from what a program already has."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from flow.catalogue import Announcement
from flow.errors import DuplicateDefinition, InvalidOption
from flow.handler import Binding, Schema, bind, bind_prepare, bind_undo, schema
from flow.names import check_part, check_topics, service_of
from flow.options import check_options, check_seconds
from flow.retry import RetryPolicy
from flow.runtime.service import SUBSCRIBER_RETRY, Endpoint
from flow.step import Step, StepKind, StepOptions
from flow.template import FromRun

__all__ = ["Functions", "Service", "StepFunction"]

Parameters = ParamSpec("Parameters")
ReturnT = TypeVar("ReturnT")
ResultT = TypeVar("ResultT")
UndoParameters = ParamSpec("UndoParameters")
UndoT = TypeVar("UndoT")


class UndoOptions(TypedDict, total=False):
    """The options of a step's undo; see `StepFunction.undo`."""

    id: str
    timeout: float
    start_within: float
    retry: RetryPolicy
    heartbeat: float
    labels: Mapping[str, str]
    exactly_once: bool


class StepFunction(Step[ResultT], Generic[Parameters, ReturnT, ResultT]):
    """A step that a function of this program carries out. Called, it is the plain function.

    Args:
        function: The function.
        endpoint: `service.method`.
        binding: What its signature means.
        functions: Where the endpoint is served.
        options: The step's options.
    """

    def __init__(
        self,
        function: Callable[Parameters, ReturnT],
        endpoint: str,
        binding: Binding,
        functions: "Functions",
        **options: Unpack[StepOptions],
    ) -> None:
        """Keep the function; its input follows from its signature unless the options say it."""
        if "input" not in options and binding.template is not None:
            options["input"] = binding.template
        super().__init__(StepKind.CALL, endpoint, binding.returns, **options)
        self.function = function
        self._binding = binding
        self._functions = functions
        self._schema: Schema | None = None
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.id)
        self.__wrapped__ = function

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> ReturnT:
        """Call the plain function: no broker, no store, no retry."""
        return self.function(*args, **kwargs)

    @overload
    def undo(
        self, function: Callable[UndoParameters, UndoT], /
    ) -> Callable[UndoParameters, UndoT]: ...

    @overload
    def undo(self, function: None = None, /, **options: Unpack[UndoOptions]) -> "Undoing": ...

    def undo(
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[UndoOptions]
    ) -> Any:
        """Say by which function the step is taken back. It stays the plain function.

        It is served as `service.function`, by the step's service. Its parameters take what the
        step's function takes, by the same rules, and one that is annotated `UndoContext[…]` takes
        what is known of the run. Workflows that were made before are not changed.

        Args:
            function: The function; left out when options are given.
            options: `id`, `timeout`, `start_within`, `retry`, `heartbeat` and `labels`, as for a
                step; and `exactly_once`: its effect and its reply are one transaction, in which a
                run that comes later is refused, if its endpoint is `exactly_once` too.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The endpoint is served already.
            InvalidOption: There is an undo already, or an option makes no sense.
        """
        undoing = Undoing(self, self._binding, self._functions, options)
        return undoing if function is None else undoing(function)

    def prepare(self, function: Callable[UndoParameters, UndoT]) -> Callable[UndoParameters, UndoT]:
        """Have a function called in front of the step's, by the same worker and within its time.

        Its parameters take what the step's function takes, by the same rules. If it raises, the
        attempt fails and the step's function is not called, so that nothing is to be undone. It
        may raise `Skip`, `Fail` and `Retry` too. What it returns is not looked at.

        Args:
            function: The function. It stays the plain function.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            InvalidOption: There is one already.
        """
        endpoint = self._functions.endpoints[self.target]
        name = str(getattr(function, "__name__", "prepare"))
        if endpoint.prepare is not None:
            raise InvalidOption(repr(self), "prepare", name, "it has a prepare hook already")
        hook = bind_prepare(function, self._binding, owner=f"{self.target} ({name})")
        self._functions.endpoints[self.target] = replace(endpoint, prepare=hook)
        return function

    def announcement(self) -> Announcement:
        """Return what its service announces: the step, and the JSON that it takes and returns."""
        shape = self._schema = self._schema or schema(self._binding.handler)
        return Announcement(step=self.definition(), input=shape["input"], output=shape["output"])


class Undoing:
    """What `@step.undo(...)` returns: has a function take the step back.

    Args:
        step: The step.
        run: What the signature of its function means.
        functions: Where the undo is served.
        options: Its options; wrong ones are refused here.
    """

    def __init__(
        self, step: Step[Any], run: Binding, functions: "Functions", options: UndoOptions
    ) -> None:
        """Keep them for the function that follows."""
        check_options(f"the undo of step {step.id!r}", options, UndoOptions)
        self._step = step
        self._run = run
        self._functions = functions
        self._options = options

    def __call__(
        self, function: Callable[UndoParameters, UndoT]
    ) -> Callable[UndoParameters, UndoT]:
        """Serve the function, and take the step back by it; it stays the plain function."""
        name = check_part("method", getattr(function, "__name__", ""))
        endpoint = f"{service_of(self._step.target)}.{name}"
        handler = bind_undo(function, self._run, owner=endpoint)
        options = {**_without_exactly_once(self._options), "input": FromRun()}
        undo: Step[Any] = Step(StepKind.CALL, endpoint, Any, **cast("StepOptions", options))
        exactly_once = self._options.get("exactly_once", False)
        served = Endpoint(endpoint, handler, exactly_once, is_undo=True)
        if self._step.undo_step is None:
            # Whatever is wrong with it must be found before the step is changed.
            self._functions.add_endpoint(served)
        self._step.undo_with(undo)
        return function


def _without_exactly_once(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "exactly_once"}


class FunctionOptions(StepOptions, total=False):
    """The options of a step that is a function; see `Step` and `Service.endpoint`."""

    exactly_once: bool


class Functions:
    """The endpoints and steps that this program declares.

    Attributes:
        endpoints: What it serves, by name.
        steps: Its steps, by id.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.endpoints: dict[str, Endpoint] = {}
        self.steps: dict[str, Step[Any]] = {}

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Serve an endpoint.

        Args:
            endpoint: What is served.

        Raises:
            DuplicateDefinition: It is served already.
            InvalidOption: Its effect is to happen exactly once, but it runs in a thread.
        """
        name = endpoint.name
        if name in self.endpoints:
            raise DuplicateDefinition("endpoints", [name], "this program")
        if endpoint.exactly_once and not endpoint.handler.is_async:
            rule = "only an `async def` can use the transaction"
            raise InvalidOption(repr(name), "exactly_once", "True", rule)
        self.endpoints[name] = endpoint

    def add_step(self, step: Step[Any]) -> None:
        """Know a step by its id.

        Raises:
            DuplicateDefinition: There is another one of this id.
        """
        if step.id in self.steps:
            raise DuplicateDefinition("steps", [step.id], "this program")
        self.steps[step.id] = step

    def announcements(self) -> list[Announcement]:
        """Return what a process that serves the endpoints announces."""
        made = self.steps.values()
        return [step.announcement() for step in made if isinstance(step, StepFunction)]

    def declare(
        self,
        function: Callable[..., Any],
        service: str,
        options: FunctionOptions,
    ) -> StepFunction[..., Any, Any]:
        """Make a function a step, and serve its endpoint.

        Args:
            function: The function.
            service: The service that the endpoint belongs to.
            options: The step's options.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The step or the endpoint exists.
        """
        name = check_part("method", getattr(function, "__name__", ""))
        endpoint = f"{service}.{name}"
        exactly_once = options.get("exactly_once", False)
        of_step = cast("StepOptions", _without_exactly_once(options))
        requires: Sequence[Step[Any] | str] | None = options.get("requires", ())
        # A step with an input of its own gets that as one body, like an endpoint.
        binding = bind(function, requires=None if "input" in options else requires, owner=endpoint)
        step: StepFunction[..., Any, Any] = StepFunction(
            function, endpoint, binding, self, **of_step
        )
        if binding.requires:
            step.require(*binding.requires)
        if step.id in self.steps:
            raise DuplicateDefinition("steps", [step.id], "this program")
        self.add_endpoint(Endpoint(endpoint, binding.handler, exactly_once))
        self.add_step(step)
        return step


class Registering:
    """What `@service.endpoint(...)` and `@service.subscribe(...)` return: serves a function."""

    def __init__(self, service: "Service", **options: Any) -> None:
        """Keep the options of the endpoint for the function that follows."""
        self._service = service
        self._options = options

    def __call__(self, function: Callable[Parameters, ReturnT]) -> Callable[Parameters, ReturnT]:
        """Serve the function; it stays the plain function."""
        method = check_part("method", getattr(function, "__name__", ""))
        name = f"{self._service.name}.{method}"
        endpoint = Endpoint(name, bind(function, owner=name).handler, **self._options)
        self._service.functions.add_endpoint(endpoint)
        return function


class Service:
    """A named group of endpoints in one microservice.

    Args:
        name: Its name.
        functions: Where its endpoints are kept.
    """

    def __init__(self, name: str, functions: Functions) -> None:
        """Begin without endpoints."""
        self.name = check_part("service", name)
        self.functions = functions

    @overload
    def endpoint(
        self,
        function: Callable[Parameters, ReturnT],
        /,
    ) -> Callable[Parameters, ReturnT]: ...

    @overload
    def endpoint(
        self, function: None = None, /, *, exactly_once: bool = False
    ) -> "Registering": ...

    def endpoint(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        exactly_once: bool = False,
    ) -> Any:
        """Serve a function as `service.function`. It stays the plain function.

        Args:
            function: Takes one input and, if it wants, a context; left out when options are given.
            exactly_once: Whether its effect and its reply are one transaction, which it finds in
                `context.transaction`. The flow needs an `inbox` for that.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The endpoint is served already.
            InvalidOption: `exactly_once` is for an `async def` only.
        """
        decorate = Registering(self, exactly_once=exactly_once)
        return decorate if function is None else decorate(function)

    def subscribe(
        self, *topics: str, retry: RetryPolicy | None = None, timeout: float = 60.0
    ) -> "Registering":
        """Have a function called with everything that is published to topics.

        Every function that subscribes gets a copy of its own. The processes that serve the same
        function share its copies. A message may come twice; `context.idempotency_key` is the same
        then. One that cannot be handled goes to the dead letters.

        Args:
            topics: Patterns: `orders.paid`, `orders.*` (one word) or `orders.#` (any words).
            retry: How often and how soon it is tried again, in the same process; by default
                three attempts.
            timeout: Seconds that one attempt may run.

        Raises:
            InvalidName: A pattern breaks the rules.
            InvalidOption: There is no pattern, or the timeout makes no sense.
        """
        owner = f"a subscriber of service {self.name!r}"
        if not topics:
            raise InvalidOption(owner, "topics", "()", "it needs one at least, such as 'orders.*'")
        check_seconds(owner, "timeout", timeout)
        return Registering(
            self,
            topics=tuple(check_topics(topic) for topic in topics),
            retry=retry or SUBSCRIBER_RETRY,
            timeout_ms=round(timeout * 1000),
        )

    @overload
    def step(
        self,
        function: Callable[Parameters, Awaitable[ResultT]],
        /,
    ) -> StepFunction[Parameters, Awaitable[ResultT], ResultT]: ...

    @overload
    def step(
        self,
        function: Callable[Parameters, ResultT],
        /,
    ) -> StepFunction[Parameters, ResultT, ResultT]: ...

    @overload
    def step(self, function: None = None, /, **options: Unpack[FunctionOptions]) -> "Decorator": ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        **options: Unpack[FunctionOptions],
    ) -> Any:
        """Serve a function, and make it a step that workflows can be made of.

        Args:
            function: The function; left out when options are given.
            options: See `Step`; and `exactly_once`, see `endpoint`.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The step or the endpoint exists.
        """
        if function is not None:
            return self.functions.declare(function, self.name, options)
        return Decorator(self.name, self.functions, options)


class Decorator:
    """What `@app.step(...)` returns: makes the function below it a step."""

    def __init__(self, service: str, functions: Functions, options: FunctionOptions) -> None:
        """Keep the options for the function that follows; wrong ones are refused here."""
        check_options(f"a step of service {service!r}", options, FunctionOptions)
        self._service = service
        self._functions = functions
        self._options = options

    @overload
    def __call__(
        self,
        function: Callable[Parameters, Awaitable[ResultT]],
    ) -> StepFunction[Parameters, Awaitable[ResultT], ResultT]: ...

    @overload
    def __call__(
        self,
        function: Callable[Parameters, ResultT],
    ) -> StepFunction[Parameters, ResultT, ResultT]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Make the function a step."""
        return self._functions.declare(function, self._service, self._options)
