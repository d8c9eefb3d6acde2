"""Weights and inputs of golden 13, built from its recipe: the same bits with every numpy."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "13_model"
SALT = "wan13"


def facts(part: str) -> dict[str, Any]:
    """Return what golden 13 says of a part: its configuration, cases and tensors."""
    return json.loads((GOLDEN / f"{part}.json").read_text(encoding="utf-8"))


def expected(part: str) -> dict[str, np.ndarray]:
    """Return the numbers that the official code gave for a part."""
    with np.load(GOLDEN / f"{part}.npz", allow_pickle=False) as archive:
        return dict(archive)


def weights(part: str) -> dict[str, np.ndarray]:
    """Return the tensors of a part by their official names: float32."""
    return {name: _weight(name, how) for name, how in facts(part)["keys"].items()}


def tensor(name: str, shape: Sequence[int], amp: float, shift: float = 0.0) -> np.ndarray:
    """Return numbers of uniform distribution, `amp` around `shift`: float32."""
    raw = _raw(name, math.prod(shape))
    unit = ((raw >> np.uint64(40)).astype(np.float64) * 2**-23 - 1).astype(np.float32)
    return (np.float32(amp) * unit + np.float32(shift)).reshape(shape)


def ints(name: str, shape: Sequence[int], mod: int) -> np.ndarray:
    """Return whole numbers from 0 up to `mod`, exclusive: int64."""
    return ((_raw(name, math.prod(shape)) >> np.uint64(32)) % np.uint64(mod)).astype(np.int64).reshape(shape)


def image(name: str, frames: int, height: int, width: int, cell: int = 64) -> np.ndarray:
    """Return a smooth film: [T, H, W, 3], 0 to 255, uint8."""
    shape = (-(-height // cell) + 1, -(-width // cell) + 1, 3)
    starts, ends = (_grown(ints(f"{name}/{grid}", shape, 224), height, width, cell) for grid in "AB")
    y, x, channel = np.ogrid[:height, :width, :3]
    last = max(frames - 1, 1)
    return np.stack(
        [
            ((last - t) * starts + t * ends) // (cell * cell * last) + (3 * x + 5 * y + 7 * t + 11 * channel) % 32
            for t in range(frames)
        ]
    ).astype(np.uint8)


def pixels(film: np.ndarray) -> np.ndarray:
    """Return a film as the networks take it: [3, T, H, W], -1 to 1, float32."""
    return np.ascontiguousarray((film / 127.5 - 1).astype(np.float32).transpose(3, 0, 1, 2))


def transformer_inputs(case: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Return latents, condition, pose, face, image and text of a case of the transformer, as `Networks.denoise` takes them."""
    (height, width), count = case["latent_hw"], case["face_frames"]
    length, tag = (count - 1) // 4 + 1, f"{count}x{height}x{width}"
    mask = np.zeros((4, 1 + length, height, width), np.float32)
    mask[:, 0] = 1
    if case["mask"] == "mix":
        mask[:, 1:] = ints("in/mask", (4, length, height, width), 3) == 0

    def given(name: str, shape: Sequence[int], amp: float = 1.73205) -> np.ndarray:
        return tensor(f"in/{name}", shape, amp)

    latents = given(f"latents/{tag}", (16, 1 + length, height, width))
    condition = np.concatenate([mask, given(f"cond/{tag}", latents.shape)])
    text = np.zeros((1, 512, facts("transformer")["config"]["text_dim"]), np.float32)
    text[0, : case["text_tokens"]] = given(f"text/{case['text_tokens']}", (case["text_tokens"], text.shape[-1]), 3.4641)
    face = -np.ones((3, count, 512, 512), np.float32)
    if case["face"] != "null":
        face = pixels(image(f"in/face/{case['face']}", count, 512, 512))
    pose, clip = given(f"pose/{tag}", (16, length, height, width)), given("clip", (1, 257, 1280))
    crc = {"latents": latents, "pose": pose, "clip": clip, "y": condition, "face": face}
    for name, each in crc.items():
        assert f"{zlib.crc32(each.tobytes()):08x}" == case["input_crc32"][name], name
    return latents, condition, pose, face, clip, text


def _weight(name: str, how: dict[str, Any]) -> np.ndarray:
    if how.get("fixed") == "blur":
        line = np.array([1, 3, 3, 1], np.float32)
        return np.outer(line, line) / 64
    return tensor(name, how["shape"], how["amp"], how.get("shift", 0.0))


def _raw(name: str, count: int) -> np.ndarray:
    return np.random.Philox(key=zlib.crc32(f"{SALT}/{name}".encode())).random_raw(count)


def _grown(grid: np.ndarray, height: int, width: int, cell: int) -> np.ndarray:
    y, x = np.arange(height), np.arange(width)
    down, right = (y % cell)[:, None, None], (x % cell)[None, :, None]
    corner = [[grid[np.ix_(y // cell + i, x // cell + j)] for j in (0, 1)] for i in (0, 1)]
    above = (cell - right) * corner[0][0] + right * corner[0][1]
    below = (cell - right) * corner[1][0] + right * corner[1][1]
    return (cell - down) * above + down * below
