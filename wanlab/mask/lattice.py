"""The latent grid that masks live on: 4 frames and 16 pixels a cell."""

from __future__ import annotations

from typing import Any

import numpy as np

TEMPORAL_STRIDE = 4  # frames that the VAE packs into a latent, after the first frame


def snap(mask: np.ndarray, size: int = 16, *, hold: bool = False) -> np.ndarray:
    """Widen a mask outwards to the lattice of the latents, so that no cell is half kept.

    The model takes one pixel per 8x8 cell for all of it: black pixels in a cell that counts as kept become a halo.

    Args:
        mask: [T, H, W], bool.
        size: of a cell in pixels: 8 for the latents, 16 for the transformer's patches.
        hold: one mask for all frames that share a latent: the first alone, then groups of 4.
    """
    frames, height, width = mask.shape
    size = min(size, max(height, width))  # a larger cell is the whole frame too
    padded = np.zeros((frames, -(-height // size) * size, -(-width // size) * size), bool)
    padded[:, :height, :width] = mask
    coarse: Any = padded.reshape(frames, padded.shape[1] // size, size, -1, size).any(axis=(2, 4))
    if hold:
        for start in (0, *range(1, frames, TEMPORAL_STRIDE)):
            group = slice(start, 1 if start == 0 else start + TEMPORAL_STRIDE)
            coarse[group] = coarse[group].any(axis=0)
    return coarse.repeat(size, axis=1).repeat(size, axis=2)[:, :height, :width]


def pack_mask(known: np.ndarray) -> np.ndarray:
    """Pack a mask per frame into the model's 4 channels per latent; the first frame stands for 4.

    Args:
        known: [T, h, w], float32, 0 to 1, T = 4n + 1: 1 where a pixel of the latent grid is given, 0 where it is made.

    Returns:
        [4, n + 1, h, w], float32.

    Source: `get_i2v_mask` of Wan2.2's `wan/animate.py`.
    """
    frames = np.concatenate([np.repeat(known[:1], TEMPORAL_STRIDE, axis=0), known[1:]])
    return np.ascontiguousarray(frames.reshape(-1, TEMPORAL_STRIDE, *known.shape[1:]).swapaxes(0, 1))


def known_pixels(num_frames: int, num_given: int, height: int, width: int, generated: np.ndarray | None) -> np.ndarray:
    """Return what is given to a segment on the latent grid: the frames taken over, and in replace the kept image.

    Args:
        num_frames: frames of the segment.
        num_given: frames taken over from the segment before.
        height, width: of the latent grid.
        generated: [T, H, W], float32 or bool, 1 where the image is generated; None in animate.

    Returns:
        [T, height, width], float32, as `pack_mask` takes it; sampled at the first pixel of each cell, as upstream.
    """
    known = np.zeros((num_frames, height, width), np.float32)
    if generated is not None:
        rows = np.arange(height) * generated.shape[1] // height
        columns = np.arange(width) * generated.shape[2] // width
        known = 1 - generated[:, rows][:, :, columns].astype(np.float32)
    known[:num_given] = 1
    return known
