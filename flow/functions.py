"""Decorated functions: steps and services made from what a program already has."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from flow.errors import DuplicateDefinition
from flow.handler import Binding, bind
from flow.names import check_part
from flow.options import check_options
from flow.runtime.service import Endpoint
from flow.step import Step, StepKind, StepOptions

__all__ = ["Functions", "Service", "StepFunction"]

Parameters = ParamSpec("Parameters")
ReturnT = TypeVar("ReturnT")
ResultT = TypeVar("ResultT")


class StepFunction(Step[ResultT], Generic[Parameters, ReturnT, ResultT]):
    """A step that a function of this program carries out. Called, it is the plain function.

    Args:
        function: The function.
        endpoint: `service.method`.
        binding: What its signature means.
        options: The step's options.
    """

    def __init__(
        self,
        function: Callable[Parameters, ReturnT],
        endpoint: str,
        binding: Binding,
        **options: Unpack[StepOptions],
    ) -> None:
        """Keep the function; its input follows from its signature unless the options say it."""
        if "input" not in options and binding.template is not None:
            options["input"] = binding.template
        super().__init__(StepKind.CALL, endpoint, binding.returns, **options)
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.id)
        self.__wrapped__ = function

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> ReturnT:
        """Call the plain function: no broker, no store, no retry."""
        return self.function(*args, **kwargs)


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

    def add_endpoint(self, name: str, binding: Binding) -> None:
        """Serve an endpoint.

        Raises:
            InvalidName: Its name breaks the rules.
            DuplicateDefinition: It is served already.
        """
        if name in self.endpoints:
            raise DuplicateDefinition("endpoints", [name], "this program")
        self.endpoints[name] = Endpoint(name, binding.handler)

    def add_step(self, step: Step[Any]) -> None:
        """Know a step by its id.

        Raises:
            DuplicateDefinition: There is another one of this id.
        """
        if step.id in self.steps:
            raise DuplicateDefinition("steps", [step.id], "this program")
        self.steps[step.id] = step

    def declare(
        self,
        function: Callable[..., Any],
        service: str,
        options: StepOptions,
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
        requires: Sequence[Step[Any] | str] | None = options.get("requires", ())
        # A step with an input of its own gets that as one body, like an endpoint.
        binding = bind(function, requires=None if "input" in options else requires, owner=endpoint)
        step: StepFunction[..., Any, Any] = StepFunction(function, endpoint, binding, **options)
        if binding.requires:
            step.require(*binding.requires)
        if step.id in self.steps:
            raise DuplicateDefinition("steps", [step.id], "this program")
        self.add_endpoint(endpoint, binding)
        self.add_step(step)
        return step


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

    def endpoint(self, function: Callable[Parameters, ReturnT]) -> Callable[Parameters, ReturnT]:
        """Serve a function as `service.function`. It stays the plain function.

        Args:
            function: Takes one input and, if it wants, a context.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The endpoint is served already.
        """
        name = f"{self.name}.{check_part('method', getattr(function, '__name__', ''))}"
        self.functions.add_endpoint(name, bind(function, owner=name))
        return function

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
    def step(self, function: None = None, /, **options: Unpack[StepOptions]) -> "Decorator": ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        **options: Unpack[StepOptions],
    ) -> Any:
        """Serve a function, and make it a step that workflows can be made of.

        Args:
            function: The function; left out when options are given.
            options: See `Step`.

        Raises:
            BindingError: Its signature does not say where a parameter comes from.
            DuplicateDefinition: The step or the endpoint exists.
        """
        if function is not None:
            return self.functions.declare(function, self.name, options)
        return Decorator(self.name, self.functions, options)


class Decorator:
    """What `@app.step(...)` returns: makes the function below it a step."""

    def __init__(self, service: str, functions: Functions, options: StepOptions) -> None:
        """Keep the options for the function that follows; wrong ones are refused here."""
        check_options(f"a step of service {service!r}", options, StepOptions)
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
