"""Skeletons: the official metas, and the drawing that the model was trained to follow (golden 01, 02).

Metas are normalised (x / width, y / height, float32) and multiplied out in float64 before they are truncated: any other
order moves points by a pixel.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.media.resize import letterbox_geometry

DRAWN_FROM = 0.5  # score; the official drawing hides what is below
BODY_NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
    "right ear", "left ear", "left toe", "right toe",
)  # fmt: skip
# COCO-WholeBody rows that are averaged into each body point: the neck lies between the shoulders, a toe between two toes.
BODY_SOURCES = (
    (0, 0), (5, 6), (6, 6), (8, 8), (10, 10), (5, 5), (7, 7), (9, 9), (12, 12), (14, 14), (16, 16), (11, 11), (13, 13),
    (15, 15), (2, 2), (1, 1), (4, 4), (3, 3), (17, 18), (20, 21),
)  # fmt: skip
HEEL_AND_FACE = slice(22, 91)  # the right heel and 68 face points: upstream's face metas begin one early
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (10, 19),
)  # fmt: skip
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85), (200, 200, 0), (100, 100, 0),
)  # fmt: skip
LIMB_SHADE = 0.6  # limbs are drawn darker than the joints on them
FINGERS = tuple((0 if i == 0 else 4 * f + i, 4 * f + i + 1) for f in range(5) for i in range(4))
FINGER_COLOURS = tuple(tuple(255 * c for c in colorsys.hsv_to_rgb(i / len(FINGERS), 1, 1)) for i in range(len(FINGERS)))
FINGERTIP_COLOUR = (0, 0, 255)


class Meta(NamedTuple):
    """Poses as the official code passes them: float32; x / width, y / height, score.

    Attributes:
        body: [T, 20, 3], in the order of BODY_NAMES.
        left_hand: [T, 21, 3], NaN for a dropped point.
        right_hand: [T, 21, 3], likewise.
        face: [T, 69, 3], the right heel and 68 face points.
    """

    body: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    face: np.ndarray


def to_meta(keypoints: np.ndarray, height: int, width: int) -> Meta:
    """Turn whole-body keypoints into the official metas.

    A frame in which every body point has a negative x or y takes over the body of the frame before; as the first frame,
    where upstream crashes, it is an empty body (all 0).

    Args:
        keypoints: [T, 133, 3], float32, x and y in pixels of the working clip, score; COCO-WholeBody order.
        height, width: of the working clip in pixels.

    Returns:
        the normalised metas.

    Source: `load_pose_metas_from_kp2ds_seq` of Wan2.2's animate preprocessing.
    """
    points = np.asarray(keypoints, dtype=np.float32).copy()
    points[..., 0] /= np.float32(width)
    points[..., 1] /= np.float32(height)
    first, second = np.array(BODY_SOURCES).T
    body = (points[:, first] + points[:, second]) / np.float32(2)
    outside = (body[..., :2].min(axis=-1) < 0).all(axis=1)
    for t in np.flatnonzero(outside):
        body[t] = body[t - 1] if t else 0
    return Meta(body, points[:, LEFT_HAND], points[:, RIGHT_HAND], points[:, HEEL_AND_FACE])


def letterbox_meta(meta: Meta, clip_height: int, clip_width: int, height: int, width: int) -> Meta:
    """Move metas from the clip's canvas onto the result's, through the letterbox that the clip would get there.

    Skeletons are drawn at the result's size: drawn large and shrunk, hands vanish.

    Args:
        meta: normalised on the clip's canvas.
        clip_height, clip_width: of the clip in pixels.
        height, width: of the result in pixels.

    Returns:
        metas normalised on the result's canvas.
    """
    box = letterbox_geometry(clip_height, clip_width, height, width)

    def move(points: np.ndarray) -> np.ndarray:
        placed = box.place(points, 1, 1)  # the image's own units are 0 to 1
        placed[..., 0] /= width
        placed[..., 1] /= height
        return placed.astype(np.float32)

    return Meta(*map(move, meta))


def draw(meta: Meta, height: int, width: int) -> Iterator[np.ndarray]:
    """Draw each frame's skeleton on black: yields [height, width, 3], 0 to 255, uint8 RGB."""
    for body, left_hand, right_hand in zip(meta.body, meta.left_hand, meta.right_hand, strict=True):
        yield draw_frame(body, left_hand, right_hand, height, width)


def draw_frame(
    body: np.ndarray,
    left_hand: np.ndarray,
    right_hand: np.ndarray,
    height: int,
    width: int,
    canvas: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one skeleton: limbs as filled ellipses, a dot on each joint, then the hands.

    Args:
        body: [20, 3], float32, x and y in 0 to 1 of the canvas, score.
        left_hand, right_hand: [21, 3], the same.
        height, width: of the canvas in pixels.
        canvas: [height, width, 3], uint8 RGB to draw on (a copy is made); None: black.

    Returns:
        [height, width, 3], 0 to 255, uint8 RGB.

    Source: `draw_aapose` of Wan2.2's animate preprocessing.
    """
    image = np.zeros((height, width, 3), np.uint8) if canvas is None else canvas.copy()
    stick = half_limb(height, width)
    points, scores = _pixels(body, height, width), body[:, 2]
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        if scores[a] < DRAWN_FROM or scores[b] < DRAWN_FROM:
            continue
        (xa, ya), (xb, yb) = points[a], points[b]
        half, angle = int(math.hypot(xa - xb, ya - yb) / 2), int(math.degrees(math.atan2(ya - yb, xa - xb)))
        outline = cv2.ellipse2Poly((int((xa + xb) / 2), int((ya + yb) / 2)), (half, stick), angle, 0, 360, 1)
        cv2.fillConvexPoly(image, np.array(outline), [int(c * LIMB_SHADE) for c in colour])
    for (x, y), score, colour in zip(points, scores, COLOURS, strict=True):
        if score >= DRAWN_FROM:
            cv2.circle(image, (int(x), int(y)), stick, colour, -1)
    for hand in (left_hand, right_hand):
        _draw_hand(image, hand, max(stick // 2, 1))
    return image


def half_limb(height: int, width: int) -> int:
    """Return half the width of a limb, and the radius of a joint, in pixels of a canvas."""
    return max(int(min(height, width) / 200) - 1, 1)


def _draw_hand(image: np.ndarray, hand: np.ndarray, thickness: int) -> None:
    points = _pixels(hand, *image.shape[:2])
    shown = (hand[:, 2] >= DRAWN_FROM) & np.isfinite(points).all(axis=1)
    whole = np.where(shown[:, None], points, 0).astype(int)
    shown &= (whole > 0).all(axis=1)  # upstream skips a hand point on the image's left or upper border
    for (a, b), colour in zip(FINGERS, FINGER_COLOURS, strict=True):
        if shown[a] and shown[b]:
            cv2.line(image, tuple(map(int, whole[a])), tuple(map(int, whole[b])), colour, thickness)
    for point in whole[shown]:
        cv2.circle(image, tuple(map(int, point)), thickness, FINGERTIP_COLOUR, -1)


def _pixels(points: np.ndarray, height: int, width: int) -> np.ndarray:
    return points[:, :2].astype(np.float64) * (width, height)
