"""Networks of the sizes of YOLOv10m and ViTPose-H with random weights, as ONNX files and as the same operations in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Node = tuple[str, list[str], str, dict[str, Any]]
TANH, HEAT = 0.05, 0.8  # share of the random network in the answers, and height of the bumps that it is added to
PERSON = (220, 40, 420, 620, 0.9, 0)  # the box that is answered, in pixels of the input


class Graph:
    """Operations in order, with their weights."""

    def __init__(self, given: str, shape: tuple[int, ...], seed: int = 0) -> None:
        """Take the input's name and shape without the batch."""
        self.given, self.shape, self.nodes = given, shape, list[Node]()
        self.weights: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(seed)

    def add(self, kind: str, *given: str | np.ndarray, **attributes: Any) -> str:
        """Add an operation and return its output's name; arrays become weights."""
        names = [each if isinstance(each, str) else self._kept(each) for each in given]
        self.nodes.append((kind, names, f"n{len(self.nodes)}", attributes))
        return self.nodes[-1][2]

    def random(self, *shape: int, spread: float) -> np.ndarray:
        """Return random weights, float32."""
        return self._rng.standard_normal(shape, np.float32) * np.float32(spread)

    def parameters(self) -> int:
        return sum(array.size for array in self.weights.values() if array.dtype == np.float32)

    def write(self, path: Path, writer: Any, data: str | None) -> Path:
        """Write it with tests/onnx_files.py."""
        nodes = [writer.node(kind, given, result, **attributes) for kind, given, result, attributes in self.nodes]
        return writer.write(path, nodes, (self.given, ["batch", *self.shape]), self.nodes[-1][2], self.weights, data)

    def in_torch(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return a function that runs it."""
        constants: dict[str, Any] = {
            name: array.tolist() if array.dtype == np.int64 else torch.from_numpy(array).to(device)
            for name, array in self.weights.items()
        }

        def run(images: Tensor) -> Tensor:
            values = {**constants, self.given: images}
            for kind, given, result, attributes in self.nodes:
                values[result] = OPERATIONS[kind](*(values[name] for name in given), **attributes)
            return values[self.nodes[-1][2]]

        return run

    def _kept(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(array)
        return name


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(shape)])


def _conv(
    x: Tensor, w: Tensor, b: Tensor, kernel_shape: Any, strides: Any = (1, 1), pads: Any = (0, 0, 0, 0)
) -> Tensor:
    return functional.conv2d(x, w, b, stride=tuple(strides), padding=tuple(pads[:2]))


def _norm(x: Tensor, w: Tensor, b: Tensor, axis: int) -> Tensor:
    return functional.layer_norm(x, w.shape, w, b, eps=1e-5)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add, "Mul": torch.mul, "MatMul": torch.matmul, "Erf": torch.erf, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh,
    "Relu": torch.relu, "Reshape": _reshape, "Conv": _conv, "LayerNormalization": _norm,
    "Transpose": lambda x, perm: x.permute(perm),
    "Softmax": lambda x, axis: torch.softmax(x, axis),
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "ConvTranspose": lambda x, w, b, kernel_shape, strides, pads: functional.conv_transpose2d(x, w, b, stride=2, padding=1),
}  # fmt: skip


def person_detector(scale: float = 1.0) -> Graph:
    """Return a graph of YOLOv10m's size (15.4 M parameters, 59 GFLOP at 640x640): [N, 3, 640, 640] → [N, 300, 6]."""
    graph = Graph("images", (3, 640, 640))
    widths = [max(8, int(width * scale)) for width in (48, 96, 192, 384, 576)]
    x, before = "images", 3
    for width, blocks in zip(widths, (0, 3, 5, 3, 2), strict=True):
        x, before = _silu(graph, _convolved(graph, x, before, width, stride=2)), width
        for _ in range(blocks):
            x = graph.add("Add", x, _silu(graph, _convolved(graph, x, width, width)))
    pooled = graph.add("Reshape", graph.add("GlobalAveragePool", x), np.array([0, -1]))
    rows = np.zeros((300, 6), np.float32)
    rows[0] = PERSON
    spread = np.tile(
        np.array([2, 2, 2, 2, 0.02, 0], np.float32), 300
    )  # pixels and score that the random part moves it by
    random = graph.add("Tanh", graph.add("MatMul", pooled, graph.random(before, 1800, spread=before**-0.5)))
    moved = graph.add("Add", graph.add("Mul", random, spread), rows.reshape(-1))
    graph.add("Reshape", moved, np.array([0, 300, 6]))
    return graph


def pose_network(dim: int = 1280, depth: int = 32, heads: int = 16) -> Graph:
    """Return ViTPose-H's graph (637 M parameters) for 133 points: [N, 3, 256, 192] → [N, 133, 64, 48].

    Each heatmap is a bump of its own, in another place, to which the network's answer is added in small: noise alone has
    several highest values, and which of them wins would be the rounding's choice.
    """
    graph = Graph("input", (3, 256, 192), seed=1)
    x = graph.add("Conv", "input", graph.random(dim, 3, 16, 16, spread=0.03), np.zeros(dim, np.float32), kernel_shape=[16, 16], strides=[16, 16])  # fmt: skip
    x = graph.add("Transpose", graph.add("Reshape", x, np.array([0, dim, 192])), perm=[0, 2, 1])
    x = graph.add("Add", x, graph.random(1, 192, dim, spread=0.02))
    for _ in range(depth):
        x = _block(graph, x, dim, heads)
    x = graph.add("Transpose", _normed(graph, x, dim), perm=[0, 2, 1])
    x, before = graph.add("Reshape", x, np.array([0, dim, 16, 12])), dim
    for _ in range(2):
        w = graph.random(before, 256, 4, 4, spread=(4 * before) ** -0.5)
        x, before = graph.add("Relu", graph.add("ConvTranspose", x, w, np.zeros(256, np.float32), kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1])), 256  # fmt: skip
    x = graph.add(
        "Conv", x, graph.random(133, 256, 1, 1, spread=1 / 16), np.zeros(133, np.float32), kernel_shape=[1, 1]
    )
    bumps = graph.random(133, 2, spread=8) + np.array([24, 32], np.float32)
    rows, columns = np.mgrid[:64, :48]
    away = (columns - bumps[:, :1, None].clip(4, 43)) ** 2 + (rows - bumps[:, 1:, None].clip(4, 59)) ** 2
    heat = (HEAT * np.exp(-away / 8)).astype(np.float32)[None]
    graph.add("Add", graph.add("Mul", graph.add("Tanh", x), np.array([TANH], np.float32)), heat)
    return graph


def _convolved(graph: Graph, x: str, given: int, width: int, stride: int = 1) -> str:
    w = graph.random(width, given, 3, 3, spread=(9 * given) ** -0.5)
    return graph.add("Conv", x, w, np.zeros(width, np.float32), kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _normed(graph: Graph, x: str, dim: int) -> str:
    return graph.add("LayerNormalization", x, np.ones(dim, np.float32), np.zeros(dim, np.float32), axis=-1)


def _linear(graph: Graph, x: str, given: int, width: int) -> str:
    product = graph.add("MatMul", x, graph.random(given, width, spread=given**-0.5))
    return graph.add("Add", product, np.zeros(width, np.float32))


def _block(graph: Graph, x: str, dim: int, heads: int) -> str:
    """Add a block of a vision transformer: attention as products and a softmax, as exported files have it."""
    normed, side = _normed(graph, x, dim), dim // heads
    split = np.array([0, 192, heads, side])
    query, key, value = (graph.add("Reshape", _linear(graph, normed, dim, dim), split) for _ in range(3))
    query = graph.add("Mul", graph.add("Transpose", query, perm=[0, 2, 1, 3]), np.array([side**-0.5], np.float32))
    key, value = graph.add("Transpose", key, perm=[0, 2, 3, 1]), graph.add("Transpose", value, perm=[0, 2, 1, 3])
    mixed = graph.add("MatMul", graph.add("Softmax", graph.add("MatMul", query, key), axis=-1), value)
    mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 192, dim]))
    x = graph.add("Add", x, _linear(graph, mixed, dim, dim))
    wide = _linear(graph, _normed(graph, x, dim), dim, 4 * dim)
    bent = graph.add("Add", graph.add("Erf", graph.add("Mul", wide, np.array([0.5**0.5], np.float32))), np.array([1], np.float32))  # fmt: skip
    active = graph.add("Mul", graph.add("Mul", wide, bent), np.array([0.5], np.float32))
    return graph.add("Add", x, _linear(graph, active, 4 * dim, dim))
