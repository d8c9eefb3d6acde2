"""Whether a mask can be meant: it is not empty, not inverted, and covers the person that was found."""

from __future__ import annotations

import cv2
import numpy as np

from wanlab import media
from wanlab.mask.packed import Masks
from wanlab.pose.wholebody import NUM_BODY, SEEN

CELL = 64  # pixels: of a smaller mask than one 8x8 cell of the latents nothing is generated
COVERED = 0.2  # of the joints: a mask of the head alone holds 0.29 of them
REACH = 0.02  # of the image's longer side: so far from the mask a joint still counts, a wrist lies near the outline
JOINTS = 4  # of the body, without which a frame says nothing about where the person is
PERSON = 0.1  # of the box around the joints: whoever is masked covers more of it
FEW, MOST = 0.1, 0.9  # of the frames with a person: said, and refused, where so many are not covered


def check(name: str, mask: Masks, keypoints: np.ndarray | None = None) -> tuple[str, ...]:
    """Refuse a mask that cannot be meant; return what a reader must know of it, a sentence each.

    Args:
        name: what the message calls it.
        mask: True is generated anew.
        keypoints: [T, 133, 3], x, y in pixels of the mask, score; None leaves out what depends on the person.

    Raises:
        ValueError: nothing, or next to nothing, is white; most of the image is, but not the person; or the person is
            hardly covered in nearly all frames.
    """
    rule = f"{name} must be white where the image is generated anew and black where it is kept"
    height, width = mask.shape[1:]
    areas = np.array([int(frame.sum()) for frame in mask])
    if not areas.any():
        raise ValueError(
            f"{rule}, got black in all {len(mask)} frames; use a video with one person in full view, or click on them"
        )
    if areas.max() < min(CELL, height * width // 4):
        raise ValueError(
            f"{rule}, got at most {areas.max()} white pixels in any of {len(mask)} frames, less than one cell of the latents "
            f"({CELL}); mask the whole person, or click on them"
        )
    if keypoints is None:
        return ()
    frames, on_mask, covered, boxes = _covered(mask, keypoints)
    if not len(frames):
        return ()
    share = float(areas.mean()) / (height * width)
    if share >= 0.5 and on_mask.mean() < 0.3:
        raise ValueError(
            f"{rule}, got white on {share:.0%} of the image but on {on_mask.mean():.0%} of the person; invert it"
        )
    bare = frames[covered < COVERED]
    tiny = float(np.median(areas[frames] / boxes)) < PERSON
    said = f"on {covered.mean():.0%} of the person's joints: in {len(bare)} of {len(frames)} frames with a person it covers none, or next to none, of them"
    if len(bare) > MOST * len(frames) and tiny:
        raise ValueError(
            f"{rule}, got white on {share:.2g} of the image and {said}; use a mask of the person in this video, or "
            "click on them"
        )
    if len(bare) > FEW * len(frames):
        return (
            f"{name} is white {said} ({media.describe_frames(bare.tolist())}): the video is kept as it is there, and another "
            "person or thing than the one whose pose is used may be masked",
        )
    return ()


def _covered(mask: Masks, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the frames with a person, which share of the joints is on the mask there and which is near it, and the area of the box around them."""
    height, width = mask.shape[1:]
    points = keypoints[:, :NUM_BODY]
    places = np.nan_to_num(points[..., :2], nan=-1, posinf=-1, neginf=-1)
    inside = ((places >= 0) & (places < (width, height))).all(axis=-1)
    seen = (points[..., 2] >= SEEN) & inside
    radius = max(1, round(REACH * max(height, width)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    rows = []
    for t in np.flatnonzero(seen.sum(axis=1) >= JOINTS).tolist():
        here = places[t, seen[t]]
        x, y = here.astype(int).T
        masked = mask[t]
        near = cv2.dilate(masked.view(np.uint8), disc)
        rows.append((t, masked[y, x].mean(), near[y, x].mean(), max(float(np.prod(np.ptp(here, axis=0))), 1.0)))
    frames, on_mask, near_it, boxes = np.array(rows, float).reshape(-1, 4).T
    return frames.astype(int), on_mask, near_it, boxes
