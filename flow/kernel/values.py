"""The machine of a value: what a handler has left with its step, beside its result.

A value stands below its step (or undo), under one of three names: `state/…` is for later attempts
of the step and for its undo, `shared/…` also for the steps that depend on it, and `metadata/…` for
people. It is written when an attempt ends, and a later attempt may replace it.
"""

from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from flow.kept import Kept
from flow.kernel.machine import MachineType, Transition
from flow.kernel.tree import Node
from flow.status import Status

__all__ = ["METADATA", "SHARED", "STATE", "VALUE", "ValueData", "keep", "values_of"]

STATE: Final = "state"
SHARED: Final = "shared"
METADATA: Final = "metadata"


class ValueData(NamedTuple):
    """A value.

    Args:
        body: The value (JSON).
    """

    body: bytes


def _replace(_data: ValueData, body: bytes) -> ValueData:
    return ValueData(body)


REPLACE: Final = Transition("replace", frozenset({Status.SUCCESS}), Status.SUCCESS, _replace)

VALUE: Final = MachineType("value", 1, Status, ValueData)


def keep(node: Node, kept: Kept) -> None:
    """Write down what an attempt leaves.

    Args:
        node: The step or undo.
        kept: What it leaves.
    """
    for kind, values in zip((STATE, SHARED, METADATA), kept, strict=True):
        for name, body in values.items():
            # A name may be any text, and a key may not.
            _write(node, f"{kind}/{quote(name, safe='')}", body)


def values_of(node: Node, kind: str) -> dict[str, bytes]:
    """Return what was left with a step or an undo: values (JSON) by name.

    Args:
        node: The step or undo.
        kind: `STATE`, `SHARED` or `METADATA`.
    """
    found = node.collection(kind, VALUE)
    return {unquote(value.key.partition("/")[2]): value.read(VALUE).body for value in found}


def _write(node: Node, key: str, body: bytes) -> None:
    value = node.find(key)
    if value is None:
        node.add_child(key, VALUE, Status.SUCCESS, ValueData(body))
    elif value.read(VALUE).body != body:
        value.apply(REPLACE, body)
