"""The person's silhouette from the bundled networks (BlazePose, U2-Net): a probability per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from wanlab.media.colour import IMAGENET_DEVIATION, IMAGENET_MEAN
from wanlab.pose.people import run_network
from wanlab.pose.wholebody import SEEN

MARGIN = 1.3  # side of the crop: of the box around the keypoints; hair and clothes reach beyond them
THIGH = 0.8  # of the torso, the length of a thigh
CROWN = 133  # row after the 133 keypoints
REACH = 0.5  # of the body's size; farther from the skeleton nothing belongs to the person
SMOOTHING = np.array([0.25, 0.5, 0.25])  # weights of the frames before, here and after
LIMBS = (
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14),
    (14, 16), (15, 17), (15, 19), (16, 20), (16, 22), (9, 103), (10, 124),
)  # fmt: skip  # of the 133 keypoints


def segment(frames: Iterable[np.ndarray], keypoints: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the followed person's mask frame by frame, [H, W], bool; empty where the keypoints are.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.
    """
    probabilities = (person_probability(frame, points) for frame, points in zip(frames, keypoints, strict=True))
    return (probability > 127 for probability in _smoothed(probabilities))


def person_probability(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how likely each pixel shows the person: [H, W], float32, 0 to 1.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [133, 3], x, y in pixels, score; all 0 gives 0 everywhere.
    """
    height, width = frame.shape[:2]
    points = _whole(points)
    crop_of = _crop(points)
    if crop_of is None:
        return np.zeros((height, width), np.float32)
    centre, size = crop_of
    pose_crop = _square_crop(frame, centre, size, 256)
    logits = run_network("pose_landmark_full", pose_crop[None].astype(np.float32) / 255)[2][0, ..., 0]
    pose_mask = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    salient_crop = _square_crop(frame, centre, size, 320)
    values = (salient_crop.astype(np.float32) / 255 - np.array(IMAGENET_MEAN, np.float32)) / np.array(
        IMAGENET_DEVIATION, np.float32
    )
    salient = run_network("u2netp", values.transpose(2, 0, 1)[None])[0][0, 0]
    salient = (salient - salient.min()) / max(float(np.ptp(salient)), 1e-6)
    mean = (cv2.resize(pose_mask, (320, 320)) + salient) / 2
    return _paste(mean, centre, size, height, width) * _near(points, height, width)


def _smoothed(probabilities: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield each frame's probability (0 to 255) averaged with its neighbours; an empty neighbour does not count."""
    window: list[np.ndarray] = []
    for probability in probabilities:
        window.append((probability * 255).astype(np.uint8))
        if len(window) == 1:
            continue
        yield _weighted(window[-3] if len(window) > 2 else None, window[-2], window[-1])
        del window[:-2]
    if window:
        yield _weighted(window[-2] if len(window) > 1 else None, window[-1], None)


def _weighted(before: np.ndarray | None, here: np.ndarray, after: np.ndarray | None) -> np.ndarray:
    if not here.any():
        return here.astype(np.float32)
    parts = [
        (w, part) for w, part in zip(SMOOTHING, (before, here, after), strict=True) if part is not None and part.any()
    ]
    return sum(w * part.astype(np.float32) for w, part in parts) / sum(w for w, _ in parts)  # type: ignore[return-value]


def _whole(points: np.ndarray) -> np.ndarray:
    """Return the keypoints with inferred ones: [134, 3]; thighs below visible hips, and the crown.

    Where knees were not detected, the body continues below the hips; hair and hats rise above the face (row CROWN).
    """
    out = np.concatenate([points, np.zeros((1, 3), points.dtype)])
    for hip, knee, shoulder in ((11, 13, 5), (12, 14, 6)):
        if points[knee, 2] < SEEN <= min(points[hip, 2], points[shoulder, 2]):
            out[knee, :2] = points[hip, :2] + THIGH * (points[hip, :2] - points[shoulder, :2])
            out[knee, 2] = SEEN
    if points[[0, 5, 6], 2].min() >= SEEN:
        out[CROWN, :2] = points[0, :2] + points[0, :2] - points[[5, 6], :2].mean(axis=0)
        out[CROWN, 2] = SEEN
    return out


def _crop(points: np.ndarray) -> tuple[np.ndarray, float] | None:
    seen = points[points[:, 2] >= SEEN, :2]
    if len(seen) < 3:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    return (low + high) / 2, MARGIN * float(max(high - low))


def body_size(points: np.ndarray) -> float:
    """Return the longer side of the box around the joints seen, in pixels; points: [K, 3], x, y, score; 1 where none is seen."""
    seen = points[points[:, 2] >= SEEN, :2]
    return float(np.ptp(seen, axis=0).max()) if len(seen) else 1.0


def _near(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return 1 near the skeleton, falling to 0 at REACH shoulder widths or heads away: [H, W], float32."""
    canvas = np.full((height, width), 255, np.uint8)
    for a, b in (*LIMBS, (0, CROWN)):
        if points[a, 2] >= SEEN and points[b, 2] >= SEEN:
            ends = [tuple(int(v) for v in np.clip(points[i, :2], -9999, 9999)) for i in (a, b)]
            cv2.line(canvas, *ends, 0, 1)  # type: ignore[call-overload]
    for x, y in points[points[:, 2] >= SEEN, :2]:
        if 0 <= x < width and 0 <= y < height:
            canvas[int(y), int(x)] = 0
    shoulders = float(np.linalg.norm(points[5, :2] - points[6, :2])) if min(points[5, 2], points[6, 2]) >= SEEN else 0.0
    reach = REACH * max(shoulders, body_size(points) / 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    return np.clip(2 - distance / reach, 0, 1).astype(np.float32)


def _square_crop(frame: np.ndarray, centre: np.ndarray, size: float, side: int) -> np.ndarray:
    """Return the square of `size` pixels around `centre` as [side, side, C]."""
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    return cv2.warpAffine(frame, _square_to_frame(centre, size, side), (side, side), flags=flags)


def _paste(values: np.ndarray, centre: np.ndarray, size: float, height: int, width: int) -> np.ndarray:
    """Put a square back where it was cropped: [H, W], float32."""
    move = _square_to_frame(centre, size, values.shape[0])
    return cv2.warpAffine(values.astype(np.float32), move, (width, height), flags=cv2.INTER_LINEAR)


def _square_to_frame(centre: np.ndarray, size: float, side: int) -> np.ndarray:
    """Return the 2x3 map from a crop's pixels to the frame's."""
    scale = size / side
    return np.array([[scale, 0, centre[0] - size / 2], [0, scale, centre[1] - size / 2]])
