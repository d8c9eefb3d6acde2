"""Weights that stay as their file has them, in 8 bits or GGUF's blocks: each matrix is widened when it is used.

ConvRot turns the columns of a matrix in groups before it is rounded, so that no large number stands out. The turn is a
Hadamard matrix that is its own inverse; undone on the matrix it costs less than on the tokens, which are more than rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8)
KINDS = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
SMALLEST = 1e-12  # of a token: one of zeros has a scale too
_FOUR = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))  # a Hadamard matrix; symmetric, as its powers are


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor as its file has it.

    Attributes:
        numbers: of the tensor's shape; of GGUF's blocks [rows, bytes], uint8.
        scale: what the numbers are multiplied by: one, a number or of no dimension, or [rows, 1], float32.
        rotation: how many columns ConvRot has turned together; 0: none.
        blocks: kind of GGUF's blocks, one of `single_files.BLOCKS`; empty: none.
    """

    numbers: Tensor
    scale: float | Tensor = 1.0
    rotation: int = 0
    blocks: str = ""

    @property
    def is_quantised(self) -> bool:
        """Whether the numbers take less room than weights."""
        return bool(self.blocks) or self.numbers.dtype in EIGHT_BITS

    def cut(self, count: int) -> list[Stored]:
        """Return `count` equal parts along the first axis."""
        rows = self.scale if isinstance(self.scale, Tensor) and self.scale.ndim else None
        scales = [self.scale] * count if rows is None else rows.chunk(count)
        pairs = zip(self.numbers.chunk(count), scales, strict=True)
        return [dataclasses.replace(self, numbers=numbers, scale=scale) for numbers, scale in pairs]

    def to(self, device: torch.device) -> Stored:
        """Return the same on another device."""
        scale = self.scale.to(device) if isinstance(self.scale, Tensor) else self.scale
        return dataclasses.replace(self, numbers=self.numbers.to(device), scale=scale)

    def weights(self, dtype: torch.dtype) -> Tensor:
        """Return the tensor itself in a floating type."""
        if self.blocks:
            return _unpacked(self.numbers, self.blocks).to(dtype)
        found = self.numbers.to(dtype)
        if self.rotation:
            turned = found.unflatten(-1, (-1, self.rotation)) @ hadamard(self.rotation, found.device).to(dtype)
            found = turned.flatten(-2)
        if isinstance(self.scale, Tensor):
            return (found.float() * self.scale).to(dtype) if self.scale.ndim else found * self.scale
        return found if self.scale == 1.0 else found * self.scale


def by_row(weights: Tensor, kind: str) -> Stored:
    """Return a matrix in 8 bits with a scale for each row.

    Args:
        weights: [out, in].
        kind: fp8 (e4m3fn) or int8.
    """
    dtype = KINDS[kind]
    most = torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max
    full = weights.float()
    scale = full.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny * most) / most
    numbers = (full / scale).clamp_(-most, most)
    return Stored((numbers if dtype.is_floating_point else numbers.round_()).to(dtype), scale)


def quantise(network: nn.Module, kind: str, device: torch.device) -> None:
    """Replace the linear layers of a network by quantised ones; those that are quantised stay as they are.

    Args:
        network: on any device; each layer stays on its own.
        kind: as of `by_row`.
        device: that computes.
    """
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Linear:
            above, _, own = name.rpartition(".")
            stored = by_row(layer.weight.detach().to(device), kind).to(layer.weight.device)
            network.get_submodule(above).register_module(own, QuantisedLinear(stored, layer.bias))


class QuantisedLinear(nn.Module):
    """A linear layer whose weights stay quantised.

    Attributes:
        numbers, scale, rotation, blocks: as in `Stored`; a scale is a tensor unless it is 1, or each would be compiled for itself.
        bias: [out] or None.
        added: products that are added to the weights, of LoRAs.
        multiplies: whether the input is rounded to 8 bits too, so that the product is one of 8-bit numbers.
    """

    multiplies: bool = False
    numbers: Tensor
    weight = None  # who asks for its type wants to convert the input to it

    def __init__(self, stored: Stored, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.register_buffer("numbers", stored.numbers)
        if isinstance(stored.scale, float) and stored.scale == 1.0:
            self.scale = stored.scale
        else:
            self.register_buffer(
                "scale", torch.as_tensor(stored.scale, dtype=torch.float32, device=stored.numbers.device)
            )
        self.rotation, self.blocks = stored.rotation, stored.blocks
        self.bias = bias
        self.added: Any = nn.ModuleList()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the weights."""
        rows, columns = self.numbers.shape
        if self.blocks:
            from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

            block, size = GGML_QUANT_SIZES[GGMLQuantizationType[self.blocks]]
            columns = columns // size * block
        return rows, columns

    def add(self, products: Iterable[tuple[Tensor, ...]]) -> None:
        """Add products of matrices to the weights, which stay as they are: each the first to meet the input first."""
        self.added.extend(nn.ParameterList(nn.Parameter(each, False) for each in product) for product in products)

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weights.T + bias: [..., in] to [..., out], in the type of `x`."""
        if self.multiplies:
            y = _product(x, self.numbers, self.scale, self.bias)
        else:
            stored = Stored(self.numbers, self.scale, self.rotation, self.blocks)
            y = F.linear(x, stored.weights(x.dtype), self.bias)
        for *first, last in self.added:
            z = x
            for matrix in first:
                z = F.linear(z, matrix.to(x.dtype))
            y.flatten(0, -2).addmm_(z.flatten(0, -2), last.to(x.dtype).t())  # in place: a wide layer's output is large
        return y


def multiply(network: nn.Module, on: bool) -> None:
    """Let the layers of a network whose weights are in fp8 multiply in fp8, each token with a scale of its own, or no more."""
    for layer in network.modules():
        if isinstance(layer, QuantisedLinear):
            layer.multiplies = on and layer.numbers.dtype == torch.float8_e4m3fn and not layer.rotation


def _product(x: Tensor, numbers: Tensor, scale: float | Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ (numbers * scale).T + bias, `x` rounded to e4m3 with a scale for each row."""
    rows = x.flatten(0, -2)
    most = torch.finfo(numbers.dtype).max
    own = rows.abs().amax(dim=1, keepdim=True).float().clamp_min(SMALLEST) / most
    short = (rows.float() / own).to(numbers.dtype)
    shape = 1, len(numbers)
    scales = scale.reshape(1, -1).expand(shape) if isinstance(scale, Tensor) else own.new_full(shape, scale)
    bias = None if bias is None else bias.to(x.dtype)
    y = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
        short, numbers.t(), own, scales.contiguous(), bias, out_dtype=x.dtype, use_fast_accum=True
    )
    return y.unflatten(0, x.shape[:-1])


def hadamard(size: int, device: torch.device) -> Tensor:
    """Return the matrix that turns `size` columns: [size, size], float32, its own inverse; not kept, which compilers cannot trace.

    Args:
        size: a power of 4.
        device: where it shall live.
    """
    four = torch.tensor(_FOUR, dtype=torch.float32, device=device) / 2
    found = four
    while len(found) < size:
        found = torch.kron(found, four)
    return found


def _unpacked(numbers: Tensor, kind: str) -> Tensor:
    """Return what GGUF's blocks hold: [rows, bytes] to [rows, columns], float32."""
    import gguf
    from diffusers.quantizers.gguf.utils import dequantize_functions

    name = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[name]
    found = dequantize_functions[name](numbers.reshape(-1, size), block, size, torch.float32)
    return found.reshape(*numbers.shape[:-1], -1)
