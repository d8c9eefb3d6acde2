"""ViTPose as upstream uses it: a box → its input, its heatmaps → 133 keypoints in pixels of the image (golden 07)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np

from wanlab.media.colour import IMAGENET_DEVIATION, IMAGENET_MEAN

Order = Literal["bgr", "rgb"]
HEIGHT, WIDTH = 256, 192  # pixels of the input
MARGIN = 1.25  # side of the crop: of the box
LEAST = 10  # pixels of a box's sides; below, the whole image is taken
UNIT = 200.0  # pixels of `scale`
KERNEL = 11  # of the blur, that of the training's heatmaps
EMPTY = 1e-10  # least value of a heatmap before its logarithm
MEAN, DEVIATION = (255 * np.array(each, np.float32) for each in (IMAGENET_MEAN, IMAGENET_DEVIATION))


class Window(NamedTuple):
    """The part of an image that the network sees.

    Attributes:
        centre: x, y in pixels.
        scale: width, height in units of 200 pixels.
    """

    centre: np.ndarray
    scale: np.ndarray


def window(box: np.ndarray | None, height: int, width: int) -> Window:
    """Return the box with a margin, in the input's shape.

    Args:
        box: [5], x1, y1, x2, y2 in pixels, score; None, a score of at most 0 or a tiny one: the whole image.
        height, width: of the image in pixels.
    """
    if box is None or box[4] <= 0 or (box[2:4] - box[:2]).min() < LEAST:
        box = np.array([0, 0, width, height])
    wide, high = box[2] - box[0], box[3] - box[1]
    aspect = HEIGHT / WIDTH
    longer = max(wide * aspect, high)
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    return Window(centre, np.array([longer / aspect, longer]) / UNIT * MARGIN)


def source(seen: Window) -> tuple[int, int, int, int]:
    """Return the pixels that a window takes: x1, y1, x2, y2, end-exclusive; they may lie outside the image."""
    high = UNIT * float(seen.scale.max())
    wide = high / (HEIGHT / WIDTH)
    forth = np.eye(3)  # from the image to the input; upstream's inverse decides where a half is rounded to
    forth[[0, 1], [0, 1]] = WIDTH / wide, HEIGHT / high
    forth[:2, 2] = WIDTH * (0.5 - float(seen.centre[0]) / wide), HEIGHT * (0.5 - float(seen.centre[1]) / high)
    back = np.linalg.inv(forth)
    (x1, y1), (x2, y2) = (back @ (0, 0, 1))[:2], (back @ (WIDTH, HEIGHT, 1))[:2]
    return round(x1), round(y1), round(x2), round(y2)


def tensor(frame: np.ndarray, seen: Window, order: Order = "bgr") -> np.ndarray:
    """Return the network's input: [3, 256, 192], float32; what lies outside the image is black.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        seen: from `window`.
        order: bgr: the image's channels exchanged, but scaled as if they were not, as upstream; rgb: as ComfyUI's nodes.
    """
    x1, y1, x2, y2 = source(seen)
    inside = frame[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    crop = np.zeros((y2 - y1, x2 - x1, 3), np.float32)
    crop[max(-y1, 0) :, max(-x1, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    small = cv2.resize(crop, (WIDTH, HEIGHT))  # of floats, as upstream's: bytes would be rounded
    channels = range(3) if order == "rgb" else (2, 1, 0)
    return np.stack([(small[..., c] - MEAN[i]) / DEVIATION[i] for i, c in enumerate(channels)])


def keypoints(heatmaps: np.ndarray, windows: list[Window]) -> np.ndarray:
    """Return the keypoints of a batch: [N, K, 3], float32; x, y in pixels of each image, score the heatmap's highest value.

    The place of the highest value is refined by a step of Newton's method on the logarithm of the blurred heatmap; where
    nothing is above 0 it is -1, -1 of the heatmap.

    Args:
        heatmaps: [N, K, h, w], float32.
        windows: of the N images.

    Source: Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020.
    """
    count, num_points, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, num_points, -1)
    at, scores = flat.argmax(axis=2), flat.max(axis=2)
    places = np.where(scores[..., None] > 0, np.stack([at % width, at // width], axis=-1), -1).astype(np.float32)
    x, y = places[..., 0].astype(int), places[..., 1].astype(int)
    within = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    if within.any():
        places[within] += _steps(_surroundings(heatmaps[within], scores[within], x[within], y[within]))
    sides = np.array([seen.scale for seen in windows])[:, None] * UNIT
    centres = np.array([seen.centre for seen in windows])[:, None]
    points = places * (sides / (width, height)) + centres - sides * 0.5
    return np.concatenate([points, scores[..., None]], axis=2).astype(np.float32)


def _surroundings(heatmaps: np.ndarray, scores: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the logarithm of blurred heatmaps around their highest values: [M, 5, 5], float32.

    The blur sees black around a heatmap, which is then made as high as before.

    Args:
        heatmaps: [M, h, w], float32.
        scores: [M], their highest values.
        x, y: [M], where they are highest, at least 2 from the border.
    """
    height, width = heatmaps.shape[1:]
    gap = KERNEL // 2  # black rows between heatmaps that lie below each other, so that one call blurs all
    tall = np.zeros((len(x), height + gap, width), np.float32)
    tall[:, :height] = heatmaps
    blurred = cv2.GaussianBlur(tall.reshape(-1, width), (KERNEL, KERNEL), 0, borderType=cv2.BORDER_CONSTANT)
    maps = blurred.reshape(tall.shape)
    scale = scores / maps[:, :height].max(axis=(1, 2))
    near = np.arange(-2, 3)
    around = maps[np.arange(len(x))[:, None, None], y[:, None, None] + near[:, None], x[:, None, None] + near]
    return np.log(np.maximum(around * scale[:, None, None], EMPTY))


def _steps(around: np.ndarray) -> np.ndarray:
    """Return the step from the middle of a surface to its maximum, [M, 2], float32; 0 where the surface has none.

    Args:
        around: [M, 5, 5], float32.
    """
    here = around[:, 2, 2]
    dx, dy = 0.5 * (around[:, 2, 3] - around[:, 2, 1]), 0.5 * (around[:, 3, 2] - around[:, 1, 2])
    dxx = 0.25 * (around[:, 2, 4] - 2 * here + around[:, 2, 0])
    dyy = 0.25 * (around[:, 4, 2] - 2 * here + around[:, 0, 2])
    dxy = 0.25 * (around[:, 3, 3] - around[:, 1, 3] - around[:, 3, 1] + around[:, 1, 1])
    determinant = dxx * dyy - dxy**2
    divisor = np.where(determinant == 0, 1, determinant)
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1) / divisor[:, None]
    return np.where(determinant[:, None] == 0, 0, step)
