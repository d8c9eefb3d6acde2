"""The tiny decoder for Wan 2.1's latents (`taew2_1`): a clearer picture of what the model foresees than a linear map.

    decoder, notes = find(checkpoint, height=160)
    decoder.shown(latents)

The network is published with its weights; this is the half that decodes, one frame a latent and at a size for a small
picture: the last of each latent's frames, and no more doublings of the size than it needs. It takes standardised latents, as the
transformer makes them.

Source: the layout of madebyollin/taehv (`decoder.*` of `taehv.py`), which leaves both upsamplings out for cheaper previews.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wanlab import config
from wanlab.model.tensors import Tensors

NAME = "taew2_1*"
PLACES = "", "vae_approx", "models/vae_approx"  # of a folder of weights; the last two are ComfyUI's
LATENT_CHANNELS = 16
WIDTHS = 256, 128, 64  # channels of the three stages
BLOCKS = 3  # of a stage; each sees a frame and the one before
STAGE = (
    6  # layers of a stage as they are numbered: its blocks, doubling of the size, growth in time, change of channels
)
FIRST, OUTPUT = 3, 22  # layers: the first block, the colours
AT_ONCE = 4  # latents: at 160x90 the widest layer of these takes 59 MB in half precision


class TinyDecoder:
    """The network; its weights move to where the latents are.

    Attributes:
        name: of its file.
    """

    def __init__(self, weights: Mapping[str, Tensor], name: str, height: int) -> None:
        """Take the weights by their published names, and the height in pixels from which a picture is not doubled any more.

        Raises:
            ValueError: if a weight is missing or of another shape; the message names the first.
        """
        self.name, self._height = name, height
        self._weights: dict[str, Tensor] = {}
        for key, shape in layout():
            found = tuple(weights[key].shape) if key in weights else None
            is_growth = shape[2:] == (1, 1)  # has rows for each frame that it makes of one
            if found != shape and not (is_growth and found == (2 * shape[0], *shape[1:])):
                raise ValueError(f"{key} must be {list(shape)}, got {list(found) if found else 'none'}")
            self._weights[key] = weights[key][-shape[0] :]  # those of the last frame

    @torch.inference_mode()
    def shown(self, latents: Tensor) -> Tensor:
        """Return what latents look like: [16, t, h, w] → [t, H, W, 3], 0 to 255, uint8 RGB, on their device.

        H and W are h and w, doubled until H is `height` or more, at most three times.
        """
        doublings = next((n for n in range(3) if latents.shape[2] * 2**n >= self._height), 3)
        memory: dict[int, Tensor] = {}
        parts = latents.transpose(0, 1).split(AT_ONCE)
        images = torch.cat([self.decoded(part, memory, doublings) for part in parts])
        return (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def decoded(self, latents: Tensor, memory: dict[int, Tensor], doublings: int) -> Tensor:
        """Decode latents that follow those decoded before: [t, 16, h, w] → [t, 3, H, W], 0 to 1.

        Args:
            latents: of any type.
            memory: of each block what it saw last; empty: nothing came before. It is changed.
            doublings: of height and width, 0 to 3, in the last stages, which cost the least.
        """
        self._move(latents.device)
        x = torch.tanh(latents.to(self._weights["decoder.1.weight"]) / 3) * 3  # as it was trained: softly within ±3
        x = F.relu(self._convolved(x, "decoder.1"))
        for stage in range(len(WIDTHS)):
            start = FIRST + STAGE * stage
            for block in range(start, start + BLOCKS):
                x = self._remembered(x, block, memory)
            if stage >= len(WIDTHS) - doublings:
                x = F.interpolate(x, scale_factor=2.0)
            x = self._convolved(x, f"decoder.{start + 4}.conv")
            x = self._convolved(x, f"decoder.{start + 5}")
        return self._convolved(F.relu(x), f"decoder.{OUTPUT}").clamp(0, 1)

    def _remembered(self, x: Tensor, block: int, memory: dict[int, Tensor]) -> Tensor:
        before = torch.cat([memory.get(block, torch.zeros_like(x[:1])), x[:-1]])
        memory[block] = x[-1:]
        made = torch.cat([x, before], dim=1)
        for layer in (0, 2):
            made = F.relu(self._convolved(made, f"decoder.{block}.conv.{layer}"))
        return F.relu(self._convolved(made, f"decoder.{block}.conv.4") + x)

    def _convolved(self, x: Tensor, layer: str) -> Tensor:
        weight = self._weights[f"{layer}.weight"]
        return F.conv2d(x, weight, self._weights.get(f"{layer}.bias"), padding=weight.shape[-1] // 2)

    def _move(self, device: torch.device) -> None:
        kind = torch.float16 if device.type == "cuda" else torch.float32
        if any(each.device != device or each.dtype != kind for each in self._weights.values()):
            self._weights = {key: each.to(device, kind) for key, each in self._weights.items()}


def layout() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each weight; those of growth in time, 1x1, as one frame of a latent needs them."""

    def layer(name: str, before: int, after: int, has_bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (after, before, 3, 3)
        if has_bias:
            yield f"{name}.bias", (after,)

    yield from layer("decoder.1", LATENT_CHANNELS, WIDTHS[0])
    for stage, width in enumerate(WIDTHS):
        start = FIRST + STAGE * stage
        for block in range(start, start + BLOCKS):
            for number, before in ((0, 2 * width), (2, width), (4, width)):
                yield from layer(f"decoder.{block}.conv.{number}", before, width)
        yield f"decoder.{start + 4}.conv.weight", (width, width, 1, 1)
        yield from layer(f"decoder.{start + 5}", width, WIDTHS[min(stage + 1, len(WIDTHS) - 1)], has_bias=False)
    yield from layer(f"decoder.{OUTPUT}", WIDTHS[-1], 3)


def find(checkpoint: Path, height: int) -> tuple[TinyDecoder | None, tuple[str, ...]]:
    """Return the decoder of the first file that holds one, None without, and sentences about files that were passed over.

    Args:
        checkpoint: looked into first, then `config.weight_folders`.
        height: see `TinyDecoder`.
    """
    notes: list[str] = []
    for folder in config.weight_folders(checkpoint):
        for place in PLACES:
            files = [file for file in (folder / place).glob(NAME) if file.suffix in (".safetensors", ".pth")]
            for file in sorted(files, key=lambda file: (file.suffix == ".pth", file.name)):
                try:
                    return TinyDecoder(Tensors([file]), file.name, height), tuple(notes)
                except (ValueError, OSError, RuntimeError) as error:
                    notes.append(passed_over(file.name, str(error)))
    return None, tuple(notes)


def passed_over(name: str, why: str) -> str:
    """Return the sentence about a file that is not used."""
    return f"{name} was passed over for the live view, whose colours stay a linear map: {why}"
