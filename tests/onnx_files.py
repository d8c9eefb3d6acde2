"""ONNX files of a few nodes, written as protobuf writes them: the package onnx is no dependency of wanlab's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7  # ONNX's numbers of types


def write(
    path: Path,
    nodes: Sequence[bytes],
    given: tuple[str, Sequence[int | str]],
    result: str,
    tensors: Mapping[str, np.ndarray],
    data: str | None = None,
) -> Path:
    """Write a model with one input and one output.

    Args:
        path: of the file.
        nodes: from `node`, in order.
        given: the input's name and shape; a word stands for any size.
        result: name of the output.
        tensors: the constants by name.
        data: name of the file beside it that holds them; None: they are in the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written, outside, offset = [], [], 0
    for name, array in tensors.items():
        kind = INT64 if array.dtype == np.int64 else FLOAT
        head = b"".join(_field(1, side) for side in array.shape) + _field(2, kind) + _field(8, name)
        if data and kind == FLOAT:  # shapes must be known when the graph is opened
            where = {"location": data, "offset": str(offset), "length": str(array.nbytes)}
            outside.append(array)
            offset += array.nbytes
            pairs = (_field(13, _field(1, key) + _field(2, value)) for key, value in where.items())
            written.append(head + b"".join(pairs) + _field(14, 1))
        else:
            written.append(head + _field(9, array.tobytes()))
    if data:
        with (path.parent / data).open("wb") as beside:
            for array in outside:
                array.tofile(beside)
    graph = b"".join(_field(1, each) for each in nodes) + _field(2, "graph")
    graph += b"".join(_field(5, each) for each in written)
    graph += _field(11, _value(*given)) + _field(12, _value(result, ()))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(2, 17)))
    return path


def node(kind: str, given: Sequence[str], result: str, **attributes: int | Sequence[int]) -> bytes:
    """Return a node with attributes of whole numbers."""
    found = b"".join(_field(1, name) for name in given) + _field(2, result) + _field(4, kind)
    for name, value in attributes.items():
        plain = isinstance(value, int)
        numbers = _field(3, value) if plain else b"".join(_field(8, each) for each in value)
        found += _field(5, _field(1, name) + numbers + _field(20, 2 if plain else 7))
    return found


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(_field(1, _field(1 if isinstance(side, int) else 2, side)) for side in shape)
    kind = _field(1, FLOAT) + (_field(2, sides) if shape else b"")
    return _field(1, name) + _field(2, _field(1, kind))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value % 2**64)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def stand_ins(folder: Path, batch: int | str = "batch", data: str | None = "end2end.bin") -> Path:
    """Write networks of the checkpoint's signatures into `process_checkpoint` below `folder`, and return it.

    The person detector's box is told by the image's mean colour: x1 and y1 are red and green of 255 times 640 in its
    input, the sides half of that; a second row is a chair. The pose network's heatmaps are the brightness in 4x4 pixels
    in different shares.

    Args:
        folder: of the checkpoint.
        batch: images that they take at once; a word: any number.
        data: name of the file that holds the pose network's weights; None: they are in the graph.
    """
    place = folder / "process_checkpoint"
    person = np.zeros((3, 12), np.float32)
    person[0, [0, 2]], person[1, [1, 3]] = 640, 640
    constant = np.array([0, 0, 160, 320, 0.9, 0, 500, 500, 600, 600, 0.8, 56], np.float32)
    write(
        place / "det" / "yolov10m.onnx",
        [
            node("ReduceMean", ["images"], "mean", axes=[2, 3], keepdims=0),
            node("MatMul", ["mean", "w"], "scaled"),
            node("Add", ["scaled", "b"], "rows"),
            node("Reshape", ["rows", "shape"], "output0"),
        ],
        ("images", [batch, 3, 640, 640]),
        "output0",
        {"w": person, "b": constant, "shape": np.array([-1, 2, 6])},
    )
    shares = np.random.default_rng(0).uniform(0.1, 0.4, (133, 3, 1, 1)).astype(np.float32)
    write(
        place / "pose2d" / "vitpose_h_wholebody.onnx" / "end2end.onnx",
        [
            node("AveragePool", ["input"], "small", kernel_shape=[4, 4], strides=[4, 4]),
            node("Conv", ["small", "shares"], "output", kernel_shape=[1, 1]),
        ],
        ("input", [batch, 3, 256, 192]),
        "output",
        {"shares": shares},
        data,
    )
    return folder
