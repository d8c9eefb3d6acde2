"""Blocks of a network that stay in host memory and travel to the GPU while the blocks before them compute."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SLOTS = 2  # one block computes, the next one arrives
ALIGNED = 256  # bytes: where each tensor begins, as CUDA's own allocations do


def stream(blocks: Sequence[nn.Module], device: torch.device, resident: int = 0) -> int:
    """Keep the weights of blocks in host memory; each block travels to `device` when it is soon to be used.

    What the blocks compute stays the same to the bit: the same numbers of the same types are multiplied on the same
    device. On `device` are only two blocks at a time, and those that stay.

    Args:
        blocks: in the order in which they are used, over and over; with tensors of the same types and shapes.
        device: where the blocks compute; with a GPU the host memory is pinned, and copying takes no time of the blocks'.
        resident: how many blocks stay on `device`; they lie evenly between the others, which gives these more time to arrive.

    Returns:
        bytes of pinned host memory.

    Raises:
        ValueError: if the blocks differ in the types or shapes of their tensors.
    """
    away = _spread(len(blocks), len(blocks) - resident)
    for number, block in enumerate(blocks):
        if number not in away:
            block.to(device)
    if not away:
        return 0
    return _Stream([blocks[number] for number in away], device).host_bytes


def _spread(count: int, chosen: int) -> list[int]:
    """Return `chosen` of the numbers below `count`, as evenly as can be."""
    return [number * count // chosen for number in range(chosen)]


class _Stream:
    """Host copies of blocks, the slots on the device that they travel to, and who is in which slot.

    A block's tensors are views of its slot for good, so that nothing about it changes when its bytes arrive.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        layout, size = _layout(blocks[0])
        for number, block in enumerate(blocks):
            if _layout(block)[0] != layout:
                raise ValueError(
                    f"blocks that are streamed must be alike, got another one at place {number}; use offload none"
                )
        self._slots = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(SLOTS)]
        self._inside: list[int | None] = [None] * SLOTS
        self._copying: Any = torch.cuda.Stream(device) if self._cuda else None
        self._arrived = [torch.cuda.Event() if self._cuda else None for _ in range(SLOTS)]
        self._used = [torch.cuda.Event() if self._cuda else None for _ in range(SLOTS)]
        self._held = []
        for number, block in enumerate(blocks):
            self._held.append(self._hold(block, layout, size))
            for tensor, (start, dtype, shape) in zip(_tensors(block), layout, strict=True):
                tensor.data = _view(self._slots[number % SLOTS], start, dtype, shape)
            block.register_forward_pre_hook(functools.partial(self._before, number))
            block.register_forward_hook(functools.partial(self._after, number))

    @property
    def host_bytes(self) -> int:
        """Bytes of the copies in host memory."""
        return sum(held.numel() for held in self._held)

    def _hold(self, block: nn.Module, layout: Sequence[_Place], size: int) -> Tensor:
        held = torch.empty(size, dtype=torch.uint8, pin_memory=self._cuda)
        for tensor, (start, dtype, shape) in zip(_tensors(block), layout, strict=True):
            _view(held, start, dtype, shape).copy_(tensor)
        return held

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
            self._slots[slot].copy_(self._held[number])
            return
        with torch.cuda.stream(self._copying):
            self._copying.wait_event(self._used[slot])
            self._slots[slot].copy_(self._held[number], non_blocking=True)
            self._arrived[slot].record(self._copying)


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


def _view(memory: Tensor, start: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    count = shape.numel() * dtype.itemsize
    return memory[start : start + count].view(dtype).view(shape)
