"""A model file cut down to what one of its outputs needs, by the wire format of protobuf alone.

ONNX Runtime runs every node of a file, whichever outputs are asked for. The `onnx` package, which could take nodes out,
is not in the base install; but a file is a list of fields, and leaving some of them out needs no schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_GRAPH = 7
"""Of ModelProto."""
_NODE, _OUTPUT = 1, 12
"""Of GraphProto."""
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND = 1, 2, 4
"""Of NodeProto."""
_NAME = 1
"""Of ValueInfoProto."""
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
"""Wire types."""
_WITH_GRAPHS = {b"If", b"Loop", b"Scan"}
"""Kinds of nodes that may read values which they do not list."""


class _Field(NamedTuple):
    number: int
    whole: bytes
    """With its key and length."""
    content: bytes
    """Of a counted field: a string, or a message."""


def keep_output(model: bytes, name: str) -> bytes:
    """Leave out of an .onnx file the other outputs and the nodes that only these need.

    Args:
        model: the file.
        name: of an output.

    Returns:
        A smaller file; the same one if it has nodes that hold graphs of their own.

    Raises:
        ValueError: if the bytes are cut short, or there is no such output.
    """
    return b"".join(
        _write(_GRAPH, _prune(field.content, name.encode())) if field.number == _GRAPH else field.whole
        for field in _read(model)
    )


def _prune(graph: bytes, name: bytes) -> bytes:
    fields = list(_read(graph))
    outputs = [_first(field.content, _NAME) for field in fields if field.number == _OUTPUT]
    if name not in outputs:
        raise ValueError(f"there is no output {name.decode()!r}")
    needed, left_out = {name}, set()
    for place in reversed(range(len(fields))):  # nodes stand in the order in which they are run
        field = fields[place]
        if field.number == _OUTPUT and _first(field.content, _NAME) != name:
            left_out.add(place)
        if field.number == _NODE:
            if _first(field.content, _NODE_KIND) in _WITH_GRAPHS:
                return graph
            if needed.isdisjoint(_all(field.content, _NODE_OUTPUT)):
                left_out.add(place)
            else:
                needed.update(_all(field.content, _NODE_INPUT))
    return b"".join(field.whole for place, field in enumerate(fields) if place not in left_out)


def _all(message: bytes, number: int) -> list[bytes]:
    return [field.content for field in _read(message) if field.number == number]


def _first(message: bytes, number: int) -> bytes:
    return next((field.content for field in _read(message) if field.number == number), b"")


def _read(message: bytes) -> Iterator[_Field]:
    """The fields of a message, in their order."""
    place = 0
    while place < len(message):
        start = place
        key, place = _read_number(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            content, (_, place) = b"", _read_number(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            content, place = b"", place + (8 if kind == _EIGHT_BYTES else 4)
        elif kind == _COUNTED:
            length, place = _read_number(message, place)
            content, place = message[place : place + length], place + length
        else:
            raise ValueError(f"a field of the unknown wire type {kind}")
        if place > len(message):
            raise ValueError("the file is cut short")
        yield _Field(number, message[start:place], content)


def _read_number(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value, shift = 0, 0
    while place < len(message):
        byte = message[place]
        value, place, shift = value | (byte & 127) << shift, place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("the file is cut short")


def _write(number: int, content: bytes) -> bytes:
    return _write_number(number << 3 | _COUNTED) + _write_number(len(content)) + content


def _write_number(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
