"""Whether `keypoints.npz` and `mask.npz` fit their inputs: shapes from the headers before anything is unpacked, then the values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wanlab.files import arrays
from wanlab.pose.wholebody import NAMES, SEEN

KEYPOINTS, MASK = "keypoints.npz", "mask.npz"
FAR = 10  # sides of the image, beyond which no joint can be meant: upstream's may lie outside it
MOST_SIDE = 8192  # pixels of a reference image
FEW = 17  # joints that are seen in all of a clip: so many are never at the edge
AGAIN = "preprocess again, or take it out of the folder: the inputs are then read as another tool's"


def check_keypoints(path: Path, num_frames: int, height: int, width: int) -> None:
    """Refuse keypoints that do not fit the working clip, or that cannot be meant.

    Args:
        path: keypoints.npz.
        num_frames, height, width: of the working clip.

    Raises:
        ValueError: naming the file, the place, the rule and the remedy.
    """
    headers = _headers(path)
    rule = f"{path.name} must hold keypoints of {num_frames} frames, {len(NAMES)} points and 3 numbers (x, y, score)"
    shape, dtype = headers.get("keypoints", ((), np.dtype(object)))
    if shape != (num_frames, len(NAMES), 3) or dtype.kind != "f":
        got = " x ".join(map(str, shape)) or "none"
        raise ValueError(f"{rule}, got {got}{f' of {dtype}' if dtype.kind != 'f' else ''}; {AGAIN}")
    shape, dtype = headers.get("reference_keypoints", ((len(NAMES), 3), np.dtype(float)))
    if shape != (len(NAMES), 3) or dtype.kind not in "fiu":
        raise ValueError(
            f"{path.name} must hold reference_keypoints of {len(NAMES)} points and 3 numbers, got "
            f"{' x '.join(map(str, shape))} of {dtype}; {AGAIN}"
        )
    with _readable(path), np.load(path, allow_pickle=False) as saved:
        points, reference = saved["keypoints"], saved.get("reference_keypoints")
        size = saved["size"] if headers.get("size", ((), None))[0] == (2,) else None
    if size is not None and tuple(size.tolist()) != (height, width):
        raise ValueError(
            f"{path.name} must hold keypoints of the working clip ({height}x{width}), got those of "
            f"{'x'.join(map(str, size.tolist()))[:80]}; {AGAIN}"
        )
    _check_values(path.name, points, FAR * max(height, width))
    _check_pixels(path.name, points, height, width)
    if reference is not None:
        _check_values(f"reference_keypoints of {path.name}", reference[None].astype(float), FAR * MOST_SIDE)


def check_mask(path: Path, num_frames: int, height: int, width: int) -> None:
    """Refuse masks of another shape than the inputs', from the file's headers alone: unpacked they could fill the memory.

    Args:
        path: mask.npz.
        num_frames, height, width: of the inputs.

    Raises:
        ValueError: naming the file, the rule and the remedy.
    """
    headers = _headers(path)
    expected = num_frames, height, -(-width // 8)
    for name in ("mask", "mask_final"):
        shape, dtype = headers.get(name, ((), np.dtype(object)))
        if shape != expected or dtype != np.uint8:
            raise ValueError(
                f"{path.name} must hold {name} as {' x '.join(map(str, expected))} bytes, 8 pixels each, as the inputs have "
                f"{num_frames} frames of {height}x{width}, got {' x '.join(map(str, shape)) or 'none'}; {AGAIN}"
            )
    shape, dtype = headers.get("shape", ((), np.dtype(object)))
    if shape == (3,) and dtype.kind in "iu":
        with _readable(path), np.load(path, allow_pickle=False) as saved:
            if saved["shape"].tolist() == [num_frames, height, width]:
                return
    raise ValueError(f"{path.name} must hold its shape as {num_frames}, {height}, {width}, got another; {AGAIN}")


def _headers(path: Path) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    with _readable(path):
        return arrays.headers(path)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file cannot be read through, and what to do."""
    try:
        yield
    except arrays.UNREADABLE as error:
        raise ValueError(
            f"{path.name} must be as wanlab wrote it, got one that cannot be read ({str(error)[:80]}); {AGAIN}"
        ) from error


def _check_pixels(name: str, points: np.ndarray, height: int, width: int) -> None:
    """Refuse places that are no pixels: shares of the sides, or columns in another order."""
    seen = points[points[..., 2] >= SEEN]
    for axis, letter in enumerate("xy"):
        values = seen[:, axis]
        if len(values) >= FEW and np.abs(values).max() < 2:
            raise ValueError(
                f"{name} must hold places in pixels of the working clip ({height}x{width}), got every {letter} between "
                f"{values.min():.3g} and {values.max():.3g}; multiply shares by width and height, in the order x, y, score, or {AGAIN}"
            )


def _check_values(name: str, points: np.ndarray, far: float) -> None:
    """Refuse numbers that no detector gives: [T, 133, 3]."""
    endless = ~np.isfinite(points)
    corner = (points[..., :2] == 0).all(axis=-1) & (points[..., 2] >= SEEN)
    outside = (np.abs(np.where(endless, 0, points))[..., :2] > far).any(axis=-1)
    for wrong, rule in (
        (endless.any(axis=-1), "finite numbers"),
        (outside, f"places within {far:g} pixels"),
        (corner, f"a score below {SEEN:g} where x and y are 0, as of a joint that was not found"),
    ):
        places = np.argwhere(wrong)
        if len(places):
            t, joint = places[0]
            x, y, score = points[t, joint].tolist()
            raise ValueError(
                f"{name} must hold {rule}, got x {x:g}, y {y:g}, score {score:g} of {NAMES[joint]} (joint {joint}) in frame {t}"
                f"{f', and {len(places) - 1} more' if len(places) > 1 else ''}; set the score of what was not found to 0, or {AGAIN}"
            )
