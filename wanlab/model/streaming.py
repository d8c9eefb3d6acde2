"""Networks on a GPU that has no room for them: blocks travel while others compute, or each comes when it is used.

`stream` is for a network that is used again and again: its blocks lie in pinned memory, and copying takes no time of the
computing. `visit` is for one that is used once: nothing is pinned, its files are read as it computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SLOTS = 2  # one block computes, the next one arrives
ALIGNED = 256  # bytes: where each tensor begins, as CUDA's own allocations do
SMALLEST = 2**20  # bytes of pinned memory in one piece: it is handed out in powers of two, 1 GiB for a block of 0.75


def stream(
    blocks: Sequence[nn.Module],
    device: torch.device,
    resident: int = 0,
    prepare: Callable[[int], None] = lambda number: None,
) -> int:
    """Keep the weights of blocks in host memory; each block travels to `device` when it is soon to be used.

    What the blocks compute stays the same to the bit: the same numbers of the same types are multiplied on the same
    device. On `device` are only two blocks at a time, and those that stay.

    Args:
        blocks: in the order in which they are used, over and over; on the device or not yet.
        device: where the blocks compute; with a GPU the host memory is pinned, and copying takes no time of the blocks'.
        resident: how many blocks stay on `device`; they lie evenly between the others, which gives these more time to arrive.
        prepare: is called with the number of a block on `device` before its weights are put away, to change them.

    Returns:
        bytes of pinned host memory.
    """
    away = _spread(len(blocks), len(blocks) - resident)
    found = _Stream(device)
    for number, block in enumerate(blocks):
        block.to(device)
        prepare(number)
        if number in away:
            found.put_away(block)
    found.begin()
    return found.host_bytes


def visit(network: nn.Module, device: torch.device) -> None:
    """Let a network on the host compute on `device`: the weights of each layer are there while it computes.

    Args:
        network: whose tensors stay where they are, in mapped files say; tables of embeddings are looked up there.
        device: that computes; what goes into the network must be there.
    """
    for layer in network.modules():
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        if isinstance(layer, nn.Embedding):
            layer.register_forward_pre_hook(lambda table, given: given[0].to(table.weight.device))
            layer.register_forward_hook(lambda table, given, found: found.to(device))
        elif own:
            kept = [tensor.data for tensor in own]
            layer.register_forward_pre_hook(functools.partial(_bring, own, kept, device))
            layer.register_forward_hook(functools.partial(_take_away, own, kept))


def _bring(own: Sequence[Tensor], kept: Sequence[Tensor], device: torch.device, *_: Any) -> None:
    for tensor, data in zip(own, kept, strict=True):
        tensor.data = data.to(device)


def _take_away(own: Sequence[Tensor], kept: Sequence[Tensor], *_: Any) -> None:
    for tensor, data in zip(own, kept, strict=True):
        tensor.data = data


def _spread(count: int, chosen: int) -> list[int]:
    """Return `chosen` of the numbers below `count`, as evenly as can be."""
    return [number * count // chosen for number in range(chosen)]


class _Stream:
    """Host copies of blocks, the slots on the device that they travel to, and who is in which slot.

    A block's tensors are views of its slot for good, so that nothing about it changes when its bytes arrive.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._cuda = device, device.type == "cuda"
        self._blocks: list[nn.Module] = []
        self._layouts: list[tuple[list[_Place], int]] = []
        self._held: list[list[Tensor]] = []
        self._slots: list[Tensor] = []
        self._inside: list[int | None] = [None] * SLOTS
        self._copying: Any = torch.cuda.Stream(device) if self._cuda else None
        self._arrived: list[Any] = [torch.cuda.Event() if self._cuda else None for _ in range(SLOTS)]
        self._used: list[Any] = [torch.cuda.Event() if self._cuda else None for _ in range(SLOTS)]

    def put_away(self, block: nn.Module) -> None:
        """Copy the weights of the next block to the host, and give back their room on the device."""
        layout, size = _layout(block)
        self._blocks.append(block)
        self._layouts.append((layout, size))
        self._held.append(self._hold(block, layout, size))
        for tensor in _tensors(block):
            tensor.data = tensor.data.new_empty(0)

    def begin(self) -> None:
        """Give the blocks their slots; from here on they bring their weights when they are called."""
        size = max((size for _, size in self._layouts), default=0)
        self._slots = [torch.empty(size, dtype=torch.uint8, device=self._device) for _ in range(SLOTS)]
        for number, (block, (layout, _)) in enumerate(zip(self._blocks, self._layouts, strict=True)):
            for tensor, (start, dtype, shape) in zip(_tensors(block), layout, strict=True):
                tensor.data = _view(self._slots[number % SLOTS], start, dtype, shape)
            block.register_forward_pre_hook(functools.partial(self._before, number))
            block.register_forward_hook(functools.partial(self._after, number))

    @property
    def host_bytes(self) -> int:
        """Bytes of the copies in host memory."""
        return sum(piece.numel() for pieces in self._held for piece in pieces)

    def _hold(self, block: nn.Module, layout: Sequence[_Place], size: int) -> list[Tensor]:
        """Return the bytes of a block, in pieces of host memory."""
        pieces = [torch.empty(length, dtype=torch.uint8, pin_memory=self._cuda) for length in _powers_of_two(size)]
        for tensor, (start, *_) in zip(_tensors(block), layout, strict=True):
            _fill(pieces, start, tensor.detach().contiguous().view(-1).view(torch.uint8))
        return pieces

    def _before(self, number: int, *_: Any) -> None:
        """Wait for a block to be there, and send for the next one."""
        slot = number % SLOTS
        self._send(number)
        if self._cuda:
            torch.cuda.current_stream().wait_event(self._arrived[slot])
        following = (number + 1) % len(self._held)
        if following % SLOTS != slot:
            self._send(following)

    def _after(self, number: int, *_: Any) -> None:
        if self._cuda:
            self._used[number % SLOTS].record()

    def _send(self, number: int) -> None:
        """Have a block copied into its slot as soon as the one that is in there has computed."""
        slot = number % SLOTS
        if self._inside[slot] == number:
            return
        self._inside[slot] = number
        if not self._cuda:
            self._copy(slot, number)
            return
        with torch.cuda.stream(self._copying):
            self._copying.wait_event(self._used[slot])
            self._copy(slot, number)
            self._arrived[slot].record(self._copying)

    def _copy(self, slot: int, number: int) -> None:
        begin = 0
        for piece in self._held[number]:
            self._slots[slot][begin : begin + piece.numel()].copy_(piece, non_blocking=self._cuda)
            begin += piece.numel()


def _fill(pieces: Sequence[Tensor], start: int, content: Tensor) -> None:
    """Write bytes that begin at `start` into the pieces that a block's memory consists of."""
    for piece in pieces:
        if 0 <= start < len(piece):
            length = min(len(piece) - start, len(content))
            piece[start : start + length].copy_(content[:length])
            start, content = start + length, content[length:]
        if not len(content):
            return
        start -= len(piece)


_Place = tuple[int, torch.dtype, torch.Size]


def _tensors(block: nn.Module) -> Iterator[Tensor]:
    yield from block.parameters()
    yield from block.buffers()


def _layout(block: nn.Module) -> tuple[list[_Place], int]:
    """Return where each tensor of a block lies among its bytes, and how many these are."""
    places, end = [], 0
    for tensor in _tensors(block):
        places.append((end, tensor.dtype, tensor.shape))
        end += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
    return places, end


def _powers_of_two(size: int) -> list[int]:
    """Return powers of two, the largest first, whose sum is `size`; the last one is what is left below SMALLEST."""
    found = []
    while size > SMALLEST:
        found.append(1 << (size.bit_length() - 1))
        size -= found[-1]
    return [*found, size] if size else found


def _view(memory: Tensor, start: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    count = shape.numel() * dtype.itemsize
    return memory[start : start + count].view(dtype).view(shape)
