"""What the tests of handlers have in common: a few types, and what an error says."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from flow.errors import FlowError


class Order(BaseModel):
    """An order, as a model."""

    total: int
    lines: list[str] = []


class Hold(BaseModel):
    """A hold on stock, as a model."""

    id: str


@dataclass
class Receipt:
    """A receipt, as a dataclass."""

    amount: float
    note: str | None = None


def complaint(action: Callable[[], object]) -> str:
    """Return the type and the text of the error that *action* ends in.

    Args:
        action: What is expected to fail.
    """
    try:
        result = action()
    except FlowError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"nothing was raised, but returned: {result!r}")
