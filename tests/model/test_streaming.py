"""Blocks in host memory: the same numbers, two blocks at a time on the device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wanlab.model import streaming
from wanlab.model.quantised import QuantisedLinear, Stored

CPU = torch.device("cpu")


class Block(nn.Module):
    """Weights in two types, as a block whose norms keep float32, and a buffer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        made = torch.manual_seed(seed)
        self.first = nn.Linear(24, 24, dtype=torch.bfloat16)
        numbers = torch.randint(-100, 100, (24, 24), generator=made).to(torch.float8_e4m3fn)
        self.second = QuantisedLinear(Stored(numbers, 0.01), None)
        self.scale = nn.Parameter(torch.rand(24, generator=made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.second(self.first(x)) * self.scale).to(torch.bfloat16)


def run(blocks: list[Block]) -> list[torch.Tensor]:
    seen = []
    for step in range(3):
        x = torch.full((2, 24), 0.1 * step, dtype=torch.bfloat16)
        for block in blocks:
            x = block(x)
        seen.append(x)
    return seen


@pytest.mark.parametrize(("count", "resident"), [(1, 0), (2, 0), (5, 0), (6, 0), (6, 3), (7, 5), (4, 4)])
@torch.inference_mode()
def test_streamed_blocks_compute_the_same_bits(count: int, resident: int) -> None:
    expected = run([Block(seed) for seed in range(count)])
    blocks = [Block(seed) for seed in range(count)]
    of_one = sum(each.numel() * each.element_size() for each in [*blocks[0].parameters(), *blocks[0].buffers()])
    held = streaming.stream(blocks, CPU, resident)
    assert held >= (count - resident) * of_one
    assert all(torch.equal(one, other) for one, other in zip(expected, run(blocks), strict=True))


def test_only_two_blocks_are_on_the_device() -> None:
    blocks = [Block(seed) for seed in range(8)]
    streaming.stream(blocks, CPU, resident=2)
    places = {block.first.weight.untyped_storage().data_ptr() for block in blocks}
    assert len(places) == 2 + streaming.SLOTS


def test_blocks_are_changed_before_they_are_put_away() -> None:
    blocks, seen = [Block(seed) for seed in range(4)], []

    def double(number: int) -> None:
        seen.append(number)
        with torch.no_grad():
            blocks[number].scale.mul_(2)

    wanted = [block.scale.detach() * 2 for block in blocks]
    streaming.stream(blocks, CPU, resident=1, prepare=double)
    assert seen == [0, 1, 2, 3]
    for block, scale in zip(blocks, wanted, strict=True):
        block(torch.zeros(1, 24, dtype=torch.bfloat16))  # it is there when it was used
        assert torch.equal(block.scale, scale)


def test_the_blocks_that_travel_lie_between_those_that_stay() -> None:
    assert streaming._spread(40, 10) == list(range(0, 40, 4))
    assert streaming._spread(40, 40) == list(range(40))
    assert streaming._spread(5, 2) == [0, 2]
    assert streaming._spread(5, 0) == []


def test_blocks_in_another_order_are_waited_for() -> None:
    expected = [Block(seed) for seed in range(4)]
    blocks = [Block(seed) for seed in range(4)]
    streaming.stream(blocks, CPU)
    x = torch.ones(2, 24, dtype=torch.bfloat16)
    with torch.inference_mode():
        for number in (2, 0, 0, 3, 1):
            assert torch.equal(blocks[number](x), expected[number](x))


@torch.inference_mode()
def test_blocks_may_differ() -> None:
    """GGUF files mix kinds of blocks, and not every layer of a block has a LoRA."""

    def made() -> list[Block]:
        blocks = [Block(seed) for seed in range(4)]
        blocks[1].second.add([(torch.ones(2, 24), torch.ones(24, 2))])
        blocks[2].first = nn.Linear(24, 24, bias=False, dtype=torch.bfloat16)
        return blocks

    torch.manual_seed(0)
    expected = run(made())
    torch.manual_seed(0)
    blocks = made()
    streaming.stream(blocks, CPU, resident=1)
    assert all(torch.equal(one, other) for one, other in zip(expected, run(blocks), strict=True))


def test_pinned_pieces_are_powers_of_two_but_for_the_last() -> None:
    for size in (0, 1, streaming.SMALLEST, 3 * streaming.SMALLEST, 807_000_123, 2**30):
        found = streaming._powers_of_two(size)
        assert sum(found) == size
        assert all(part & (part - 1) == 0 for part in found[:-1])
        assert len(found) < 12


@pytest.mark.gpu
def test_on_a_gpu_too() -> None:
    gpu = torch.device("cuda")
    expected = run_on(gpu, [Block(seed).to(gpu) for seed in range(9)])
    blocks = [Block(seed) for seed in range(9)]
    streaming.stream(blocks, gpu, resident=3)
    for one, other in zip(expected, run_on(gpu, blocks), strict=True):
        assert torch.equal(one, other)


@torch.inference_mode()
def run_on(device: torch.device, blocks: list[Block]) -> list[torch.Tensor]:
    seen = []
    for step in range(3):
        x = torch.full((4096, 24), 0.1 * step, dtype=torch.bfloat16, device=device)
        for block in blocks:
            x = block(x)
        seen.append(x)
    return seen


@pytest.mark.gpu
@torch.inference_mode()
def test_a_visited_network_has_its_weights_only_while_it_computes() -> None:
    gpu, table, block = torch.device("cuda"), nn.Embedding(10, 24, dtype=torch.bfloat16), Block(3)
    network, ids = nn.Sequential(table, block), torch.tensor([[1, 5]], device="cuda")
    expected = nn.Sequential(nn.Embedding.from_pretrained(table.weight.data.cuda()), Block(3).cuda())(ids)
    streaming.visit(network, gpu)
    seen, place = [], block.first.weight.data_ptr()
    block.first.register_forward_pre_hook(lambda layer, _: seen.append(layer.weight.device.type))
    assert torch.equal(network(ids), expected)
    assert seen == ["cuda"]
    assert (block.first.weight.device.type, block.first.weight.data_ptr()) == ("cpu", place)
    assert table.weight.device.type == "cpu"
