"""The weights in an ONNX file, read where they lie: no library, and no copy of the file in memory.

An ONNX model is a Protocol Buffers message (protobuf.dev/programming-guides/encoding). The numbers of its fields are
those of onnx.proto in github.com/onnx/onnx.
"""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vits.errors import BrokenCheckpoint
from vits.files import AN_ONNX_FILE, what_it_is

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_DTYPES = {_FLOAT: torch.float32, _FLOAT16: torch.float16, _DOUBLE: torch.float64, _BFLOAT16: torch.bfloat16}
"""The element types of weights, by onnx.TensorProto.DataType."""
_EXTERNAL = 1
"""onnx.TensorProto.DataLocation of numbers that lie in another file."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, tuple[int, ...]]
    """Its attributes that are lists of whole numbers, such as strides."""


@dataclass(slots=True)
class OnnxFile:
    """What was read of a file."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The initializers of floating-point numbers, by name; they lie in the mapped file."""
    nodes: list[Node] = field(default_factory=list)
    """The operations, in the file's order."""


class _Malformed(Exception):
    """The bytes are no such message."""


Value = int | memoryview


def read_onnx(path: Path) -> OnnxFile:
    """Return the weights and operations of an ONNX file.

    Raises:
        BrokenCheckpoint: the file cannot be read, or is no ONNX file whose weights are inside it.

    """
    try:
        with path.open("rb") as file:
            # A private copy of pages that nothing writes to: PyTorch does not take memory that it may not write to.
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except ValueError as error:
        raise BrokenCheckpoint(f"{path}: is no ONNX file: {what_it_is(path) or error}") from error
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: cannot be read: {error.strerror or error}") from error
    found = OnnxFile()
    try:
        for number, graph in _fields(content):
            if number == 7:
                _read_graph(_message(graph), found)
    except _Malformed as error:
        kind = what_it_is(path)
        raise BrokenCheckpoint(
            f"{path}: is no whole ONNX file: {error if kind in (None, AN_ONNX_FILE) else kind}"
        ) from error
    if not found.tensors:
        raise BrokenCheckpoint(f"{path}: is no whole ONNX file: there are no weights in it")
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message, each as its number and its value."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise _Malformed(f"there is a field of the unknown kind {wire_type} in it")
        if length > len(message) - position:
            raise _Malformed("it ends too early")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, seven bits a byte, and the position after it."""
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise _Malformed("it ends too early")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise _Malformed("there is a number where there should be a message")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")


def _read_graph(graph: memoryview, found: OnnxFile) -> None:
    for number, value in _fields(graph):
        if number == 1:
            found.nodes.append(_node(_message(value)))
        elif number == 5:
            _read_tensor(_message(value), found)


def _node(message: memoryview) -> Node:
    name = kind = ""
    inputs: list[str] = []
    outputs: list[str] = []
    numbers: dict[str, tuple[int, ...]] = {}
    for number, value in _fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 3:
            name = _text(value)
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            key, values = _attribute(_message(value))
            numbers[key] = values
    return Node(name, kind, tuple(inputs), tuple(outputs), numbers)


def _attribute(message: memoryview) -> tuple[str, tuple[int, ...]]:
    name = ""
    values: list[int] = []
    for number, value in _fields(message):
        if number == 1:
            name = _text(value)
        elif number == 8:
            values += [value] if isinstance(value, int) else _packed(value)
    return name, tuple(values)


def _packed(message: memoryview) -> list[int]:
    values: list[int] = []
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        values.append(value)
    return values


def _read_tensor(message: memoryview, found: OnnxFile) -> None:
    """Add one initializer, where it is one of floating-point numbers."""
    name, kind, location = "", 0, 0
    shape: list[int] = []
    content: memoryview | None = None
    for number, value in _fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number in (4, 9, 10):  # 32-bit numbers, raw bytes, 64-bit numbers
            content = _message(value)
        elif number == 8:
            name = _text(value)
        elif number == 14 and isinstance(value, int):
            location = value
    if kind not in _DTYPES:
        return
    if location == _EXTERNAL:
        raise _Malformed(f"its weights, such as {name}, lie in another file; export it with the weights inside")
    dtype = _DTYPES[kind]
    size = math.prod(shape) * dtype.itemsize
    if content is None or len(content) != size:
        raise _Malformed(f"{name} has {0 if content is None else len(content)} bytes, expected {size}")
    # A message does not align its bytes; whatever reads these copies them, which needs no alignment.
    flat = torch.from_numpy(np.frombuffer(content, np.uint8)) if size else torch.empty(0, dtype=torch.uint8)
    found.tensors[name] = flat.view(dtype).view(shape)
