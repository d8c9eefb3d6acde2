"""Prompts for SAM2 and GrabCut that keypoints give."""

from __future__ import annotations

import numpy as np

from wanlab import pose
from wanlab.mask.prompts import Click, Prompts
from wanlab.pose.wholebody import FACE, SEEN

PROMPTED = [0, 1, 2, 5, 8, 11, 10, 13]  # of upstream's body points: nose, neck, shoulders, hips, ankles


def key_frames(num_frames: int, chunk: int = 400) -> list[int]:
    """Return the frames on which upstream prompts SAM2: four or five in each chunk, one where there are four or fewer.

    Args:
        num_frames: frames of the clip.
        chunk: frames after which upstream starts again.

    Source: `get_mask` of Wan2.2's animate preprocessing (golden 11).
    """
    frames: list[int] = []
    for start in range(0, num_frames, chunk):
        length = min(chunk, num_frames - start)
        frames += range(start, start + length, length // 4 if length > 4 else length)
    return frames


def body_prompts(body: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return upstream's eight prompts of each frame: nose, neck, shoulders, hips, ankles; scores do not count.

    Args:
        body: [T, 20, 2 or more], float32, as `pose.Meta.body`: x / width, y / height.
        height, width: of the clip in pixels.

    Returns:
        [T, 8, 2], int32, x and y in pixels; they may lie outside the image.

    Source: as `key_frames`.
    """
    return (body[:, PROMPTED, :2] * np.array([width, height])).astype(np.int32)


def keypoint_prompts(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return upstream's prompts for SAM2: its eight points on each key frame, seen or not, inside the image or not.

    A key frame without a detected person has none: upstream's detector has no such frames.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.

    Source: as `key_frames`.
    """
    prompts = body_prompts(pose.to_meta(keypoints, height, width).body, height, width)
    found = [t for t in key_frames(len(keypoints)) if keypoints[t, :, 2].any()]
    return Prompts(tuple(Click(t, float(x), float(y), True) for t in found for x, y in prompts[t]))


def keypoint_clicks(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return upstream's prompts for GrabCut, which takes each at its word: points that were not seen are left out.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.
    """
    body = pose.to_meta(keypoints, height, width).body
    prompts = body_prompts(body, height, width)
    return Prompts(
        tuple(
            Click(t, float(x), float(y), True)
            for t in key_frames(len(keypoints))
            for (x, y), score in zip(prompts[t], body[t, PROMPTED, 2], strict=True)
            if score >= SEEN and 0 <= x < width and 0 <= y < height
        )
    )


def centre_clicks(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return two clicks on the first frame with a person: the middle of the face and of the torso, where seen.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.
    """
    for t, points in enumerate(keypoints):
        parts = (points[FACE], points[[5, 6, 11, 12]])  # face; shoulders and hips
        seen = [part[part[:, 2] >= SEEN, :2] for part in parts]
        middles = [(part.min(axis=0) + part.max(axis=0)) / 2 for part in seen if len(part) > 1]
        clicks = [Click(t, float(x), float(y), True) for x, y in middles if 0 <= x < width and 0 <= y < height]
        if clicks:
            return Prompts(tuple(clicks))
    return Prompts(())
