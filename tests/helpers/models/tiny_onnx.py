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


CLASSES = ("bowl", "brick wall", "car")
PROTOTYPES, YOLO_PX = 6, 64


def yolo_seg(
    seed: int = 0, classes: Sequence[str] = CLASSES, side: int = YOLO_PX, bias: float = 0.0, **told: str
) -> bytes:
    """A segmentation model of YOLO's outputs as ultralytics exports it, with random weights: two convolutions.

    One place a cell of 8 pixels, whose box is around its cell; prototypes at a quarter of the side.
    """
    draw = np.random.default_rng(seed)
    grid, channels = side // 8, 4 + len(classes) + PROTOTYPES
    places = grid * grid
    kernel = draw.normal(0, 0.12, (channels, 3, 8, 8)).astype(np.float32)
    kernel[4 : 4 + len(classes)] *= 2.0
    middle = (np.arange(grid) * 8 + 4).astype(np.float32)
    shift = np.zeros((1, channels, places), np.float32)
    shift[0, 0], shift[0, 1] = np.tile(middle, grid), np.repeat(middle, grid)
    shift[0, 2:4] = side / 3
    shift[0, 4 : 4 + len(classes)] = bias
    scale = np.ones((1, channels, 1), np.float32)
    scale[0, :2], scale[0, 2:4] = 2.0, 6.0
    of_prototypes = draw.normal(0, 0.4, (PROTOTYPES, 3, 4, 4)).astype(np.float32)
    constants = {
        "kernel": kernel,
        "of_prototypes": of_prototypes,
        "centred": np.array(-0.5, np.float32),
        "shape": np.array([0, channels, places], np.int64),
        "scale": scale,
        "shift": shift,
        "parts": np.array([4, len(classes), PROTOTYPES], np.int64),
    }
    nodes = [
        node("Add", ["images", "centred"], ["seen"]),
        node("Conv", ["seen", "kernel"], ["cells"], strides=[8, 8]),
        node("Reshape", ["cells", "shape"], ["rows"]),
        node("Mul", ["rows", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["shifted"]),
        node("Split", ["shifted", "parts"], ["boxes", "logits", "coefficients"], axis=1),
        node("Sigmoid", ["logits"], ["scores"]),
        node("Concat", ["boxes", "scores", "coefficients"], ["output0"], axis=1),
        node("Conv", ["seen", "of_prototypes"], ["output1"], strides=[4, 4]),
    ]
    names = {
        "names": str(dict(enumerate(classes))),
        "imgsz": f"[{side}, {side}]",
        "stride": "32",
        "task": "segment",
    }
    return model(
        nodes,
        constants,
        {"images": ["batch", 3, side, side]},
        {"output0": ["batch", channels, places], "output1": ["batch", PROTOTYPES, side // 4, side // 4]},
        names | told,
    )
