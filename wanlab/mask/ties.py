"""Where a clicked place is on another frame: it keeps its place relative to the nearest keypoints, if it looks alike there."""

from __future__ import annotations

import cv2
import numpy as np

from wanlab.mask.silhouette import body_size
from wanlab.pose.wholebody import SEEN

SAME_COLOUR = 14.0  # CIELAB distance up to which a place on another frame still counts as the clicked one


def moved(place: tuple[float, float], points: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Return a place on another frame: x, y; None where it cannot be told.

    Args:
        place: x, y on its own frame.
        points: keypoints of that frame, [133, 3], x, y, score.
        other: keypoints of the other frame.
    """
    seen = np.flatnonzero(points[:, 2] >= SEEN)
    nearest = seen[np.argsort(np.linalg.norm(points[seen, :2] - place, axis=1))[:3]]
    if not len(nearest) or (other[nearest, 2] < SEEN).any():
        return None
    offset = (np.array(place) - points[nearest, :2].mean(axis=0)) / body_size(points)
    return other[nearest, :2].mean(axis=0) + offset * body_size(other)


def colour(frame: np.ndarray, place: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Return the mean colour around a place: CIELAB, L from 0 to 100."""
    x, y = int(place[0]), int(place[1])
    patch = frame[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].astype(np.float32) / 255
    return cv2.cvtColor(patch, cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(axis=0)


def looks_alike(frame: np.ndarray, place: np.ndarray, clicked: np.ndarray) -> bool:
    """Return whether a place lies in a frame and has the colour `clicked` there."""
    inside = (place >= 0).all() and (place < frame.shape[1::-1]).all()
    return bool(inside) and float(np.linalg.norm(colour(frame, place) - clicked)) <= SAME_COLOUR
