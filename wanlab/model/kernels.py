"""What computes attention, and the compiler of blocks: which one is used on which GPU, and what is said where it cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from wanlab import config

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes queries [n, tokens, heads, D], keys and values [n, other tokens, heads, D]; returns [n, tokens, heads, D]."""

EIGHT_BIT_MAX = torch.finfo(torch.float8_e4m3fn).max
PROGRAMS_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
PROGRAMS = 64  # one for each size, type and precision in a kernel's life
MANY = 4096  # tokens; the few of text, image and face take no time


class Ways(NamedTuple):
    """How the networks compute.

    Attributes:
        attention: name of the kernel, one of `KERNELS`.
        fp8_products: whether layers with weights in fp8 multiply in fp8.
        compiled: whether torch compiles the transformer's blocks.
        vae_in_bfloat16: whether the VAE is in bfloat16, else in float32.
    """

    attention: str = "sdpa"
    fp8_products: bool = False
    compiled: bool = False
    vae_in_bfloat16: bool = False


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by PyTorch, which takes the quickest kernel that it has: cuDNN on Hopper, FlashAttention 2 before."""
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


@torch.library.custom_op("wanlab::flash3", mutates_args=(), device_types="cuda")
def _flash3(query: Tensor, key: Tensor, value: Tensor, value_scale: Tensor | None) -> Tensor:
    import fa3_fwd_interface  # pyright: ignore[reportMissingImports]

    found = fa3_fwd_interface.flash_attn_func(query, key, value, v_descale=value_scale)
    return found[0] if isinstance(found, tuple) else found


@_flash3.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, value_scale: Tensor | None) -> Tensor:
    is_short = query.dtype == torch.float8_e4m3fn
    return torch.empty(query.shape, dtype=torch.bfloat16 if is_short else query.dtype, device=query.device)


def flash3(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by FlashAttention 3, of the wheel fa3-fwd."""
    return _flash3(query, key, value, None)


def flash3_fp8(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by FlashAttention 3 in 8 bits where many tokens look at many.

    Queries and keys are normed, so that e4m3's range fits them as they are; values have a scale for each head.
    """
    if key.shape[1] < MANY:
        return flash3(query, key, value)
    scale = value.abs().amax(dim=(1, 3)).float().clamp_min(1e-12) / EIGHT_BIT_MAX
    short = (value / scale[:, None, :, None]).to(torch.float8_e4m3fn)
    query, key = (each.clamp(-EIGHT_BIT_MAX, EIGHT_BIT_MAX).to(torch.float8_e4m3fn) for each in (query, key))
    return _flash3(query, key, short, scale)


def flash2(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by FlashAttention 2, of the package flash-attn."""
    import flash_attn  # pyright: ignore[reportMissingImports]

    return flash_attn.flash_attn_func(query, key, value)


@torch.library.custom_op("wanlab::sage", mutates_args=(), device_types="cuda")
def _sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    import sageattention  # pyright: ignore[reportMissingImports]

    return sageattention.sageattn(query, key, value, tensor_layout="NHD")


@_sage.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(query)


def sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by SageAttention, which multiplies queries and keys in int8; the few tokens of text and face by PyTorch."""
    return _sage(query, key, value) if key.shape[1] >= MANY else sdpa(query, key, value)


KERNELS: dict[str, Attend] = {"sdpa": sdpa, "flash2": flash2, "flash3": flash3, "flash3_fp8": flash3_fp8, "sage": sage}


class Compiled:
    """A function compiled by torch when it is first called; as it is where that fails.

    Attributes:
        failure: why it is not compiled, None as long as it is.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        if os.environ.get(PROGRAMS_FOLDER) in (None, default_cache_dir()):  # below /tmp; torch itself may have set it
            os.environ[PROGRAMS_FOLDER] = str(config.outputs_root() / ".compiled")
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, PROGRAMS)
        self._function = function
        self._compiled = torch.compile(function, dynamic=False)
        self.failure: str | None = None

    def __call__(self, *given: Any) -> Tensor:
        """Call the function."""
        if self.failure is None:
            try:
                return self._compiled(*given)
            except TorchDynamoException as error:
                cause = getattr(error, "inner_exception", None) or error
                self.failure = f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:200]}"
        return self._function(*given)
