"""Journal records: what happened to an execution, and what its nodes were afterwards, as JSON.

A record is an object:

    {"execution": id, "seq": number, "hlc": stamp, "causes": [[type, id, actor, reason], …],
     "nodes": [[path, "type@version", state, {data}, created, updated], [path, null, number], …]}

`[path, null, number]` says that the node is gone with all below it since that transition. Data
leaves out what is at its
default. Bodies stand in it as what they are, JSON, so that a journal can be read.
"""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from flow.codec.documents import decode_failure, encode_failure
from flow.codec.json import dumps, dumps_finite, expect_finite, fragment, loads
from flow.errors import CorruptRecord, InvalidInput, UnsupportedVersion
from flow.failure import Failure
from flow.kernel.machine import MachineType, Registry
from flow.kernel.tree import NodeSnapshot

__all__ = ["Cause", "Record", "decode_record", "encode_record"]


class Cause(NamedTuple):
    """Why something happened.

    Args:
        type: The kind of event, such as `StepSucceeded`.
        id: The id of the message or command behind it, or an empty string.
        actor: Who is behind it, or an empty string.
        reason: Why they wanted it, or what it was about.
    """

    type: str
    id: str = ""
    actor: str = ""
    reason: str = ""


class Record(NamedTuple):
    """One journal record.

    Args:
        execution: The execution's id.
        seq: The record's number, 1 for the first.
        stamp: When it was made (hybrid logical clock).
        causes: Why, one for each event that was decided.
        nodes: The nodes that changed, as they are now.
    """

    execution: str
    seq: int
    stamp: str
    causes: tuple[Cause, ...]
    nodes: tuple[NodeSnapshot, ...]


class _Form(NamedTuple):
    """How the data of a machine becomes JSON values, and how these become data again.

    Args:
        names: The names of the fields.
        defaults: Their defaults.
        encode: How their values become JSON values; None for those that are JSON values.
        decode: How JSON values become values of these again.
    """

    names: tuple[str, ...]
    defaults: tuple[Any, ...]
    encode: tuple[Callable[[Any], Any] | None, ...]
    decode: Mapping[str, Callable[[Any], Any]]


def encode_record(record: Record) -> bytes:
    """Return a record as JSON.

    Args:
        record: The record.
    """
    # What could hold an odd number is looked at by itself, in `_conversion`.
    return dumps_finite(
        {
            "execution": record.execution,
            "seq": record.seq,
            "hlc": record.stamp,
            "causes": [list(cause) for cause in record.causes],
            "nodes": [_encode_node(node) for node in record.nodes],
        },
    )


def decode_record(text: bytes, registry: Registry) -> Record:
    """Return the record that JSON describes.

    Args:
        text: What `encode_record` made.
        registry: Knows the machine types; data of older versions is brought up to date.

    Raises:
        CorruptRecord: It is not a record.
        NotRegistered: It holds a node of an unknown type.
        UnsupportedVersion: It holds a node of a newer version.
    """
    try:
        document = loads(text, "the journal record")
        return Record(
            document["execution"],
            document["seq"],
            document["hlc"],
            tuple(Cause(*cause) for cause in document["causes"]),
            tuple(_decode_node(node, registry) for node in document["nodes"]),
        )
    except InvalidInput as error:
        raise CorruptRecord("a journal record", error.reason) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CorruptRecord("a journal record", repr(error)) from error


def _encode_node(node: NodeSnapshot) -> list[Any]:
    path, machine, state, data, created, updated = node
    if machine is None or state is None:
        return [path, None, updated]
    names, defaults, encode, _ = _KNOWN_FORMS.get(machine.data) or _form_of(machine.data)
    values = data if isinstance(data, tuple) else [getattr(data, name) for name in names]
    document: dict[str, Any] = {}
    # By place, without a `zip`: two thirds of the price.
    for place, value in enumerate(values):
        default = defaults[place]
        # Most of them are at their default, and are the very same object.
        if value is not default and value != default:
            convert = encode[place]
            known = value if convert is None or value is None else convert(value)
            document[names[place]] = known
    # An enum makes `name` in Python, each time; it is the same.
    return [path, machine.tag, state._name_, document, created, updated]


def _decode_node(entry: Sequence[Any], registry: Registry) -> NodeSnapshot:
    if entry[1] is None:
        return NodeSnapshot(entry[0], None, updated=entry[2])
    path, type_name, state, document, created, updated = entry
    name, _, version = type_name.rpartition("@")
    machine = registry.machine(name)
    data = _decode_data(machine.data, _upcast(machine, int(version), document))
    return NodeSnapshot(path, machine, _state(machine, state), data, created, updated)


def _state(machine: MachineType[Any, Any], name: str) -> Enum:
    states: Mapping[str, Enum] = machine.states.__members__
    return states[name]


def _upcast(machine: MachineType[Any, Any], version: int, document: dict[str, Any]) -> Any:
    if version > machine.version:
        raise UnsupportedVersion(f"machine type {machine.name!r}", version, machine.version)
    for old in range(version, machine.version):
        if old not in machine.upcasters:
            raise CorruptRecord(f"machine type {machine.name!r}", f"version {old} has no upcaster")
        document = machine.upcasters[old](document)
    return document


def _decode_data(kind: type[Any], document: Mapping[str, Any]) -> Any:
    names, _, _, decode = _form_of(kind)
    return kind(
        **{
            name: decode[name](document[name]) if name in decode else document[name]
            for name in names
            if name in document
        },
    )


_PLAIN: Final = frozenset({str, int, bool, type(None)})
"""What is never a number that JSON has no form for."""

_KNOWN_FORMS: Final[dict[type[Any], _Form]] = {}


def _form_of(kind: type[Any]) -> _Form:
    if kind not in _KNOWN_FORMS:
        _KNOWN_FORMS[kind] = _new_form(kind)
    return _KNOWN_FORMS[kind]


def _new_form(kind: type[Any]) -> _Form:
    defaults = _defaults(kind)
    hints = get_type_hints(kind)
    converted = [(name, _conversion(hints[name])) for name in defaults]
    return _Form(
        tuple(defaults),
        tuple(defaults.values()),
        tuple(None if pair is None else pair[0] for _, pair in converted),
        {name: pair[1] for name, pair in converted if pair is not None},
    )


def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a named tuple or a dataclass, with their defaults."""
    if is_dataclass(kind):
        return {item.name: _default(item) for item in fields(kind)}
    defaults: Mapping[str, Any] = kind._field_defaults
    return {name: defaults.get(name, MISSING) for name in kind._fields}


def _default(item: Any) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def _conversion(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """Return how a field's values become JSON values, and how these become values again.

    None stands for values that are JSON values, and among them no number that JSON lacks.
    """
    kinds = set(get_args(hint) or (hint,))
    if bytes in kinds:
        # A body that is JSON's null comes back as the text, not as "there is none": where there
        # is none, the field is at its default and is not written at all.
        return fragment, dumps
    if Failure in kinds:
        return _encode_failure, decode_failure
    return None if kinds <= _PLAIN else (_look, _as_it_is)


def _encode_failure(failure: Failure) -> Any:
    return _look(encode_failure(failure))


def _look(value: Any) -> Any:
    expect_finite(value, "the value")
    return value


def _as_it_is(value: Any) -> Any:
    return value
