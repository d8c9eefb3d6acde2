"""Sizes, letterboxes and frame choices, as the official preprocessing makes them (golden 05)."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np


class Letterbox(NamedTuple):
    """Where an image lies on a canvas that it fills in one direction.

    Attributes:
        y0: first row.
        y1: row after the last.
        x0: first column.
        x1: column after the last.
    """

    y0: int
    y1: int
    x0: int
    x1: int

    def place(self, points: np.ndarray, height: int, width: int) -> np.ndarray:
        """Map points of the image onto the canvas.

        Args:
            points: [..., 2 or more], x and y first, pixels of the image.
            height, width: the image's size in pixels.

        Returns:
            a float64 copy with x and y in pixels of the canvas, further entries as they were.
        """
        placed = np.array(points, dtype=np.float64)
        placed[..., 0] = self.x0 + placed[..., 0] * (self.x1 - self.x0) / width
        placed[..., 1] = self.y0 + placed[..., 1] * (self.y1 - self.y0) / height
        return placed


def area_of(resolution: str) -> int:
    """Return how many pixels a resolution such as `1280 720` means: width and height stand for their product."""
    width, height = map(int, resolution.split())
    return width * height


def area_size(height: int, width: int, area: int, divisor: int = 16) -> tuple[int, int]:
    """Return the size of about `area` pixels with the shape of `height` x `width`.

    Sides are floored to multiples of `divisor`, so the shape may change a little: upstream's search for a closer one
    always fails, and its fallback is what everybody's results were made with.

    Args:
        height, width: pixels of the image.
        area: pixels wanted.
        divisor: both sides become multiples of it.

    Raises:
        ValueError: if a side would be floored to 0.

    Source: `resize_by_area` of Wan2.2's animate preprocessing.
    """
    aspect = width / height
    new_height = math.sqrt(area / aspect)
    new_width = new_height * aspect
    new_height, new_width = int(new_height) // divisor * divisor, int(new_width) // divisor * divisor
    if not new_height or not new_width:
        side = max(height, width) / min(height, width)
        raise ValueError(
            f"resolution must leave both sides at least {divisor} pixels, got an area of {area} for an image of "
            f"{height}x{width}; use at least {math.ceil(side * (divisor + 1) ** 2)} pixels"
        )
    return new_height, new_width


def resize_by_area(image: np.ndarray, area: int, divisor: int = 16) -> np.ndarray:
    """Resize an image to about `area` pixels (see `area_size`), letterboxed in black where flooring changed its shape.

    Args:
        image: [H, W, 3], 0 to 255, uint8.
        area: pixels wanted.
        divisor: both sides become multiples of it.

    Returns:
        [H', W', 3], 0 to 255, uint8.
    """
    height, width = area_size(image.shape[0], image.shape[1], area, divisor)
    smaller = height * width < image.shape[0] * image.shape[1]
    return letterbox(image, height, width, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def letterbox_geometry(height: int, width: int, out_height: int, out_width: int) -> Letterbox:
    """Return where an image of `height` x `width` comes to lie on a canvas, centred, its shape kept.

    The truncations are upstream's: an image of the canvas's own shape may lose a row or column.

    Raises:
        ValueError: if the image is so narrow that nothing of it would be left.

    Source: `padding_resize` of Wan2.2's animate preprocessing.
    """
    if height / width > out_height / out_width:
        new_height, new_width = out_height, int(out_height / height * width)
    else:
        new_height, new_width = int(out_width / width * height), out_width
    if not new_height or not new_width:
        raise ValueError(
            f"an image of {height}x{width} must keep a pixel on {out_height}x{out_width}, got none; use a wider one"
        )
    y0, x0 = int((out_height - new_height) / 2), int((out_width - new_width) / 2)
    return Letterbox(y0, y0 + new_height, x0, x0 + new_width)


def letterbox(
    image: np.ndarray,
    height: int,
    width: int,
    colour: tuple[int, int, int] = (0, 0, 0),
    interpolation: int = cv2.INTER_LINEAR,
) -> np.ndarray:
    """Resize an image onto a canvas of `height` x `width`, centred, its shape kept, the rest in `colour`.

    Args:
        image: [H, W, 3], 0 to 255, uint8.
        height, width: the canvas in pixels.
        colour: of the borders, in the image's channel order.
        interpolation: OpenCV's code.

    Returns:
        [height, width, 3], 0 to 255, uint8.
    """
    box = letterbox_geometry(image.shape[0], image.shape[1], height, width)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = colour
    small = cv2.resize(image, (box.x1 - box.x0, box.y1 - box.y0), interpolation=interpolation)
    canvas[box.y0 : box.y1, box.x0 : box.x1] = small
    return canvas


def frame_indices(num_frames: int, source_fps: float, clip_length: int, target_fps: float) -> np.ndarray:
    """Return which source frame each frame of a clip shows after a change of rate.

    Args:
        num_frames: frames of the source.
        source_fps, target_fps: frames per second before and after.
        clip_length: frames of the clip; upstream takes int(num_frames / source_fps * target_fps).

    Returns:
        [clip_length], int: the nearest source frame in time, the last one where the source has ended.

    Source: `get_frame_indices` of Wan2.2's animate preprocessing.
    """
    times = np.arange(clip_length) / target_fps
    return np.minimum(np.round(times * source_fps).astype(int), num_frames - 1)
