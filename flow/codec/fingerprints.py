"""Fingerprints: short hashes by which one start is told from another."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from flow.codec.json import canonical, loads

__all__ = ["fingerprint"]

_FRACTION: Final = re.compile(rb"[0-9][.eE]")
_LOWEST: Final = -(2.0**63)
_BEYOND: Final = 2.0**64
"""Integers of JSON bodies are below this and not below the other."""


def fingerprint(workflow: str, body: bytes, options: Mapping[str, Any]) -> str:
    """Return a hash of what an execution is started with: 64 hexadecimal digits.

    It is the same for starts that are the same by `same`: neither the order of keys matters, nor
    how a number is written.

    Args:
        workflow: The workflow's id.
        body: The input (JSON).
        options: The start options as a JSON object.
    """
    value = loads(body)
    if _FRACTION.search(body):
        value = _plain(value)
    return sha256(canonical([workflow, value, options])).hexdigest()


def _plain(value: Any) -> Any:
    """Return a JSON value in which whole numbers are written as such."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and _LOWEST <= value < _BEYOND else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
