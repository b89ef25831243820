"""Handlers: from a function's signature to what it is called with, and from its result to JSON.

`bind` reads a signature once, where the function is decorated: it says what a step's input is
made of, and makes the `Handler` that turns bodies into arguments and results into bodies.
Nothing else in flowmq knows pydantic.
"""

from flow.handler.binding import Binding, Output, bind, bind_prepare, bind_undo, wants_run
from flow.handler.calling import Arguments, Handler, Schema, schema
from flow.handler.failures import failure_of
from flow.handler.undoing import UndoHandler
from flow.handler.values import decode_result, encode_value, value_of

__all__ = [
    "Arguments",
    "Binding",
    "Handler",
    "Output",
    "Schema",
    "UndoHandler",
    "bind",
    "bind_prepare",
    "bind_undo",
    "decode_result",
    "encode_value",
    "failure_of",
    "schema",
    "value_of",
    "wants_run",
]
