"""A denoising step of Wan-Animate's transformer: the weights are those of diffusers' network, the way through them is here.

What stays the same from step to step is made once and kept: the keys and values of text, image and face, and the rotations. Each
block is one function, so that torch.compile makes one program for all of them.

Precision *official* is float32 where the official code has it: in what flows from block to block, in the time embedding (its phase
in float64) and in the head; products are in the weights' type, as under its autocast (docs/parity.md).

Source: `WanAnimateModel.forward`, `WanAnimateAttentionBlock.forward` and `HeadAnimate.forward` of Wan2.2,
`WanAnimateTransformer3DModel.forward` of diffusers.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanlab.model import kernels
from wanlab.model.memory import IMAGE_LAYERS, TEXT_LAYERS

TEXTS = 2  # kept: with and without the prompt
FACES = 2  # of a segment, and none
FED = 32_768  # tokens, at most, that go through a feed-forward network at once: all of 832x480, a third of 1280x720
CROPS = 8  # face crops that the motion encoder takes at once


class Context(NamedTuple):
    """Keys and values that a block's tokens look at: of the text, then of the image, [1, tokens, heads, D] each."""

    text: tuple[Tensor, Tensor]
    image: tuple[Tensor, Tensor]


class Block(nn.Module):
    """What a block computes with in every step: all of its layers but those that make keys and values of text and image.

    Streaming keeps these out of what travels.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.take(block)

    def take(self, block: Any) -> None:
        """Take the layers of diffusers' block, once more where some of them were replaced."""
        first, second = block.attn1, block.attn2
        self.to_q, self.to_k, self.to_v, self.to_out = first.to_q, first.to_k, first.to_v, first.to_out[0]
        self.norm_q, self.norm_k = first.norm_q, first.norm_k
        self.cross_q, self.cross_norm_q, self.cross_out = second.to_q, second.norm_q, second.to_out[0]
        self.norm1, self.norm2, self.norm3, self.ffn = block.norm1, block.norm2, block.norm3, block.ffn
        self.scale_shift_table = block.scale_shift_table
        self.heads = first.heads

    def forward(self, run: Callable[..., Tensor], *given: Any) -> Tensor:
        """Compute with the weights in place; hooks bring them before."""
        return run(self, *given)


class Transformer:
    """diffusers' Wan-Animate transformer, ready to denoise.

    Attributes:
        network: diffusers' own, whose weights these are.
        blocks: in the order in which they compute.
    """

    def __init__(self, network: Any, dtype: torch.dtype, attend: kernels.Attend = kernels.sdpa) -> None:
        """Look at a network; nothing of it is copied.

        Args:
            network: diffusers' WanAnimateTransformer3DModel.
            dtype: of products.
            attend: computes attention.
        """
        self.network, self.dtype, self.attend = network, dtype, attend
        self.blocks = [Block(block) for block in network.blocks]
        self._run: Callable[..., Tensor] = _block
        self._run_face: Callable[..., Tensor] = _face
        self._texts, self._images, self._faces = _Kept(TEXTS), _Kept(1), _Kept(FACES)
        self._rotations: tuple[Any, tuple[Tensor, Tensor]] = None, (torch.empty(0), torch.empty(0))

    def compile(self) -> None:
        """Have the blocks compiled when they are first used; one program serves all of them."""
        self._run, self._run_face = kernels.Compiled(_block), kernels.Compiled(_face)

    @property
    def failure(self) -> str | None:
        """Why the blocks are not compiled that were to be; None: they are, or were not to be."""
        return self._run.failure if isinstance(self._run, kernels.Compiled) else None

    def velocity(
        self,
        latents: Tensor,
        pose: Tensor,
        face: Tensor,
        image: Tensor,
        text: Tensor,
        timestep: Tensor,
        *,
        pose_strength: float = 1.0,
        face_strength: float = 1.0,
        official: bool = False,
    ) -> Tensor:
        """Return the network's output, [16, t + 1, h, w], float32.

        Args:
            latents: [36, t + 1, h, w], noise and condition.
            pose: [16, t, h, w].
            face: [3, T, S, S]. It, `image` and `text` are known again by being the same tensor.
            image: [1, tokens, D].
            text: [1, 512, D].
            timestep: 0 to 1000, of no dimension.
            pose_strength, face_strength: as of `Networks.denoise`.
            official: whether float32 is used where the official code has it.
        """
        network, embedder = self.network, self.network.condition_embedder
        x = network.patch_embedding(latents[None].to(self.dtype))
        added = network.pose_patch_embedding(pose[None].to(self.dtype))
        x[:, :, 1:] += added if pose_strength == 1 else added * pose_strength
        grid = x.shape[2:]
        x = x.flatten(2).transpose(1, 2).contiguous()
        x = x.float() if official else x
        embedding, modulation = self._time(timestep[None], official)
        texts = self._texts.get(
            text, official, lambda: self._keys(embedder.text_embedder(text.to(self.dtype)), *TEXT_LAYERS)
        )
        images = self._images.get(image, official, lambda: self._keys(embedder.image_embedder(image), *IMAGE_LAYERS))
        faces = self._faces.get(face, official, lambda: self._face_keys(face.bfloat16() if official else face))
        rotations = self._rotations_of(grid, x.device)
        every = network.config["inject_face_latents_blocks"]
        for number, block in enumerate(self.blocks):
            context = Context(texts[number], images[number])
            x = block(self._run, x, modulation, rotations, context, self.attend)
            if number % every == 0:
                adapter, keys = network.face_adapter[number // every], faces[number // every]
                x = self._run_face(adapter, x, *keys, face_strength, self.attend, self.dtype)
        return self._head(x, embedding, grid)[0].float()

    def _time(self, timestep: Tensor, official: bool) -> tuple[Tensor, Tensor]:
        """Return the embedding of a timestep, [1, D], and what it makes of the blocks' modulation, [1, 6, D]."""
        embedder = self.network.condition_embedder
        first, last = embedder.time_embedder.linear_1, embedder.time_embedder.linear_2
        if official:
            phase = _sinusoid(timestep, embedder.timesteps_proj.num_channels)
            embedding = _in_float32(last, F.silu(_in_float32(first, phase)))
            return embedding, _in_float32(embedder.time_proj, F.silu(embedding)).unflatten(1, (6, -1))
        embedding = embedder.time_embedder(embedder.timesteps_proj(timestep).to(first.weight.dtype)).to(self.dtype)
        return embedding, embedder.time_proj(embedder.act_fn(embedding)).unflatten(1, (6, -1))

    def _keys(self, states: Tensor, *layers: str) -> list[tuple[Tensor, Tensor]]:
        """Return each block's keys and values of text or image, [1, tokens, heads, D] each; by TEXT_LAYERS or IMAGE_LAYERS."""
        states = states.to(self.dtype)
        found = []
        for attention in (block.attn2 for block in self.network.blocks):
            to_k, norm, to_v = (_there(getattr(attention, name), states.device) for name in layers)
            keys = norm(to_k(states)).unflatten(2, (attention.heads, -1))
            found.append((keys, to_v(states).unflatten(2, (attention.heads, -1))))
        return found

    def _face_keys(self, face: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each face adapter's keys and values, [t + 1, tokens of a latent frame, heads, D]."""
        network = self.network
        crops = face.to(self.dtype).transpose(0, 1)
        vectors = torch.cat([network.motion_encoder(batch) for batch in crops.split(CROPS)])
        states = network.face_encoder(vectors[None])
        states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)  # the reference has no face of its own
        found = []
        for adapter in network.face_adapter:
            normed = adapter.pre_norm_kv(states)[0]
            keys = adapter.norm_k(adapter.to_k(normed).unflatten(-1, (adapter.heads, -1)))
            found.append((keys, adapter.to_v(normed).unflatten(-1, (adapter.heads, -1))))
        return found

    def _rotations_of(self, grid: torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of the tokens' angles, [1, tokens, 1, D / 2] each, float32."""
        if self._rotations[0] != (grid, device):
            steps = self.network.config["patch_size"]
            like = torch.empty(1, 1, *(side * step for side, step in zip(grid, steps, strict=True)), device="meta")
            cosines, sines = self.network.rope(like)
            kept = cosines[..., 0::2].contiguous().to(device), sines[..., 1::2].contiguous().to(device)
            self._rotations = (grid, device), kept
        return self._rotations[1]

    def _head(self, x: Tensor, embedding: Tensor, grid: torch.Size) -> Tensor:
        """Return the patches of tokens put together, [1, 16, t + 1, h, w]."""
        network = self.network
        shift, scale = (network.scale_shift_table + embedding[:, None]).chunk(2, dim=1)
        x = (network.norm_out(x.float()) * (1 + scale) + shift).to(x.dtype)
        x = _in_float32(network.proj_out, x) if x.dtype == torch.float32 else network.proj_out(x)
        patch = network.config["patch_size"]
        x = x.reshape(1, *grid, *patch, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _block(
    block: Block,
    x: Tensor,
    modulation: Tensor,
    rotations: tuple[Tensor, Tensor],
    context: Context,
    attend: kernels.Attend,
) -> Tensor:
    """Return the tokens after a block, [1, tokens, D], in the type of `x`; the products are in that of the keys."""
    dtype = context.text[0].dtype
    table = block.scale_shift_table + modulation.float()
    shift, scale, gate, shift_after, scale_after, gate_after = table.chunk(6, dim=1)

    y = (block.norm1(x.float()) * (1 + scale) + shift).to(dtype)
    query = _turned(block.norm_q(block.to_q(y)).unflatten(2, (block.heads, -1)), rotations)
    key = _turned(block.norm_k(block.to_k(y)).unflatten(2, (block.heads, -1)), rotations)
    y = attend(query, key, block.to_v(y).unflatten(2, (block.heads, -1)))
    x = (x.float() + block.to_out(y.flatten(2)) * gate).to(x.dtype)

    y = block.norm2(x.float()).to(dtype)
    query = block.cross_norm_q(block.cross_q(y)).unflatten(2, (block.heads, -1))
    y = attend(query, *context.text) + attend(query, *context.image)
    x = x + block.cross_out(y.flatten(2))

    y = (block.norm3(x.float()) * (1 + scale_after) + shift_after).to(dtype)
    parts = [block.ffn(part) for part in y.tensor_split(-(-y.shape[1] // FED), dim=1)]  # what is between is wide
    y = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    return (x.float() + y.float() * gate_after).to(x.dtype)


def _face(
    adapter: Any, x: Tensor, keys: Tensor, values: Tensor, strength: float, attend: kernels.Attend, dtype: torch.dtype
) -> Tensor:
    """Return the tokens with what a face adapter adds: those of each latent frame look at the face of their own frame."""
    query = adapter.norm_q(adapter.to_q(adapter.pre_norm_q(x.float()).to(dtype)).unflatten(2, (adapter.heads, -1)))
    frames = len(keys)
    y = attend(query.unflatten(1, (frames, -1))[0], keys, values)
    y = adapter.to_out(y.flatten(2).flatten(0, 1)[None])
    return (y if strength == 1 else y * strength) + x


def _turned(x: Tensor, rotations: tuple[Tensor, Tensor]) -> Tensor:
    """Return queries or keys turned by their tokens' places: [1, tokens, heads, D]; pairs of channels turn together."""
    cosine, sine = rotations
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(-2).to(x.dtype)


class _Kept:
    """The last results of a function, known by the very tensor that they were made of."""

    def __init__(self, limit: int) -> None:
        self._seen: collections.deque[tuple[Tensor, bool, Any]] = collections.deque(maxlen=limit)

    def get(self, given: Tensor, official: bool, make: Callable[[], Any]) -> Any:
        for known, was_official, made in self._seen:
            if known is given and official == was_official:
                return made
        made = make()
        self._seen.append((given, official, made))
        return made


def _there(layer: nn.Module, device: torch.device) -> Callable[..., Any]:
    """Return a layer that computes on a device; where its weights lie elsewhere, copies of them are used and forgotten."""
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    if all(tensor.device == device for tensor in tensors.values()):
        return layer
    copies = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    return lambda x: torch.func.functional_call(layer, copies, (x,))


def _in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a linear layer makes of `x`, in float32 whatever the type of its weights; quantised layers as they are."""
    if type(layer) is not nn.Linear:
        return layer(x)
    return F.linear(x.float(), layer.weight.float(), None if layer.bias is None else layer.bias.float())


def _sinusoid(timesteps: Tensor, width: int) -> Tensor:
    """Return the embedding of timesteps, [n] to [n, width], float32, its phase in float64."""
    place = torch.arange(width // 2, dtype=torch.float64, device=timesteps.device)
    phase = timesteps.double()[:, None] * torch.exp(-math.log(10000) * place / (width // 2))
    return torch.cat([phase.cos(), phase.sin()], dim=1).float()
