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
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from flow.codec.documents import decode_failure, encode_failure
from flow.codec.json import dumps, fragment, loads
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


@dataclass(frozen=True, slots=True)
class Record:
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


class _Field(NamedTuple):
    name: str
    default: Any
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def encode_record(record: Record) -> bytes:
    """Return a record as JSON.

    Args:
        record: The record.
    """
    return dumps(
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
    machine = node.machine
    if machine is None or node.state is None:
        return [node.path, None, node.updated]
    name = f"{machine.name}@{machine.version}"
    data = _encode_data(machine.data, node.data)
    return [node.path, name, node.state.name, data, node.created, node.updated]


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


def _encode_data(kind: type[Any], data: object) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for item in _fields_of(kind):
        value = getattr(data, item.name)
        if value != item.default:
            document[item.name] = None if value is None else item.encode(value)
    return document


def _decode_data(kind: type[Any], document: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for item in _fields_of(kind):
        if item.name in document:
            value = document[item.name]
            values[item.name] = item.decode(value)
    return kind(**values)


_KNOWN_FIELDS: Final[dict[type[Any], tuple[_Field, ...]]] = {}


def _fields_of(kind: type[Any]) -> tuple[_Field, ...]:
    if kind not in _KNOWN_FIELDS:
        hints = get_type_hints(kind)
        _KNOWN_FIELDS[kind] = tuple(
            _Field(item.name, _default(item), *_conversion(hints[item.name]))
            for item in fields(kind)
        )
    return _KNOWN_FIELDS[kind]


def _default(item: Any) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def _conversion(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return how a field's values become JSON values, and how these become values again."""
    kinds = {hint, *get_args(hint)}
    if bytes in kinds:
        # A body that is JSON's null comes back as the text, not as "there is none": where there
        # is none, the field is at its default and is not written at all.
        return fragment, dumps
    if Failure in kinds:
        return encode_failure, decode_failure
    return _as_it_is, _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
