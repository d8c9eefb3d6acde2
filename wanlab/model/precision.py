"""Where the official code keeps float32: the residual stream, the time embedding and the head (docs/parity.md)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextlib.contextmanager
def as_official(transformer: Any, dtype: torch.dtype) -> Iterator[None]:
    """Let diffusers' Wan-Animate transformer compute in the types of the official code, inside this context.

    Products are computed in `dtype`, as under the official autocast. What flows from block to block is float32, and so are
    the time embedding (its phase float64) and the head; diffusers rounds all of them to `dtype`. Layers whose weights are
    quantised stay as they are.

    Args:
        transformer: the network.
        dtype: of its weights; with float32 only the phase of the time embedding changes.

    Source: `WanAnimateModel.forward`, `WanAnimateAttentionBlock.forward` and `HeadAnimate.forward` of Wan2.2.
    """
    embedder = transformer.condition_embedder
    in_full = (*embedder.time_embedder.modules(), embedder.time_proj, transformer.proj_out)
    replaced = [(layer, _in_float32(layer)) for layer in in_full if type(layer) is nn.Linear]
    replaced.append((embedder.timesteps_proj, _sinusoid(embedder.timesteps_proj.num_channels)))
    hooks = (
        transformer.blocks[0].register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:])),
        embedder.register_forward_pre_hook(lambda _, given: (given[0], given[1].float(), *given[2:])),
    )
    is_half = dtype in (torch.bfloat16, torch.float16)
    try:
        for layer, forward in replaced:
            setattr(layer, "forward", forward)  # noqa: B010 (a checker takes forward for a method)
        with torch.autocast(transformer.device.type, dtype if is_half else torch.bfloat16, enabled=is_half):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, _ in replaced:
            del layer.forward  # the class has its own


def _in_float32(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return what a linear layer does, in float32 whatever the type of its weights."""

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), layer.weight.float(), None if layer.bias is None else layer.bias.float())

    return forward


def _sinusoid(width: int) -> Callable[[Tensor], Tensor]:
    """Return the embedding of timesteps, [n] to [n, width], its phase in float64."""

    def forward(timesteps: Tensor) -> Tensor:
        place = torch.arange(width // 2, dtype=torch.float64, device=timesteps.device)
        phase = timesteps.double()[:, None] * torch.exp(-math.log(10000) * place / (width // 2))
        return torch.cat([phase.cos(), phase.sin()], dim=1).float()

    return forward
