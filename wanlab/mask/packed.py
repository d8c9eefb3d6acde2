"""Masks in files: packed bits in mask.npz, white on black in videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wanlab import media


def read_mask(path: Path) -> np.ndarray:
    """Return a mask video as [T, H, W], bool, True from 128 on: H.264 leaves soft values."""
    return np.stack([frame[..., 0] >= 128 for frame in media.open_clip(path)])


def unpack(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as packed:
        return np.unpackbits(packed[name], axis=-1)[..., : int(packed["shape"][2])].astype(bool)
