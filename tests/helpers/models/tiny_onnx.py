"""ONNX files written by hand: the few fields of its protobuf messages that a small model needs.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. The package `onnx` is not among vistag's own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

_KINDS = {"float32": 1, "int64": 7}
"""TensorProto.DataType"""
_IR_VERSION, _OPSET = 8, 17
_FLOAT, _INT, _INTS = 1, 2, 7
"""AttributeProto.AttributeType"""


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, side) for side in values.shape)
    return dims + _number(2, _KINDS[values.dtype.name]) + _bytes(8, name) + _bytes(9, values.tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of float32."""
    dims = b"".join(
        _bytes(1, _number(1, side) if isinstance(side, int) else _bytes(2, side)) for side in shape
    )
    tensor_type = _number(1, _KINDS["float32"]) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor_type))


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    head = _bytes(1, name)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _INT)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    return head + b"".join(_number(8, each) for each in value) + _number(20, _INTS)


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | float | Sequence[int]
) -> bytes:
    """A NodeProto."""
    return (
        b"".join(_bytes(1, name) for name in inputs)
        + b"".join(_bytes(2, name) for name in outputs)
        + _bytes(4, operator)
        + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
    )


def model(
    nodes: Sequence[bytes],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A ModelProto of one graph; shapes may name a side that is free."""
    graph = (
        b"".join(_bytes(1, each) for each in nodes)
        + _bytes(2, "tiny")
        + b"".join(_bytes(5, _tensor(name, values)) for name, values in constants.items())
        + b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
        + b"".join(_bytes(12, _value(name, shape)) for name, shape in outputs.items())
    )
    told = b"".join(_bytes(14, _bytes(1, key) + _bytes(2, value)) for key, value in (metadata or {}).items())
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET)) + told
