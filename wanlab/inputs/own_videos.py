"""What is likely wrong with a user's own pose or face video: black, colours exchanged, mirrored, or the driving video itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from wanlab import media
from wanlab.media.look import correlation
from wanlab.media.resize import letterbox

LOOKED_AT = 8  # frames, spread over the clip
SIDE = 48  # cells of a thumbnail, each way: what is drawn a little thicker or elsewhere is still like it
DARK = 32  # of 255: a frame without anything lighter is black
GROUND = 24.0  # of 255: the median of a skeleton's frame; compression leaves less on black
SAME = 0.9  # correlation of thumbnails from which they show the same
BETTER = 0.5  # a variant fits that differs by so little of what the video itself does,
CLOSE, OFF = 40.0, 8.0  # and by no more levels, where the video itself is off by more than these
MOVED, STILL = 48.0, 6.0  # levels by which cells change where something moves, and where nothing does: compression's
SKIN = 15.0  # levels by which red and blue differ in a face that tells
KINDS = {"pose_video": "a skeleton on black", "face_video": "the face of each frame"}
VARIANTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda thumbs: thumbs,
    "red and blue exchanged": lambda thumbs: thumbs[..., ::-1],
    "left and right exchanged": lambda thumbs: thumbs[:, :, ::-1],
    "red and blue, and left and right, exchanged": lambda thumbs: thumbs[:, :, ::-1, ::-1],
    "top and bottom exchanged": lambda thumbs: thumbs[:, ::-1],
    "top and bottom, and left and right, exchanged": lambda thumbs: thumbs[:, ::-1, ::-1],
}


def look(
    name: str, own: media.Clip, driving: media.Clip, expected: Callable[[Sequence[int]], Iterable[np.ndarray]]
) -> tuple[str, ...]:
    """Return what a reader must know of a user's own video, a sentence each.

    Args:
        name: pose_video or face_video.
        own: the video.
        driving: the working clip.
        expected: returns what would be made of some frames of the working clip, of the video's size, [h, w, 3], uint8 RGB.

    Raises:
        ValueError: if a pose video is black in all frames.
    """
    black = black_frames(own)
    said = []
    if len(black) == len(own):
        if name == "pose_video":
            raise ValueError(all_black(name, len(own)))
        return (f"{name} is black in all {len(own)} frames: no expression is driven",)
    if black:
        said.append(f"{name} is black in {media.describe_frames(black)}: nothing is driven there")
    count = min(len(own), len(driving))
    frames = sorted({*np.linspace(0, count - 1, min(LOOKED_AT, count)).round().astype(int).tolist()} - {*black})
    if not frames:
        return tuple(said)
    mine, ours = _thumbs(own.at(frames)), _thumbs(expected(frames))
    square = name == "face_video"
    video = _thumbs(f if square else letterbox(f, own.height, own.width) for f in driving.at(frames))
    ground = float(np.median(mine))
    alike = float(np.median([correlation(a, b) for a, b in zip(mine, video, strict=True)]))
    if alike >= SAME and alike > float(np.median([correlation(a, b) for a, b in zip(mine, ours, strict=True)])):
        said.append(
            f"{name} shows the driving video itself (correlation {alike:.2f}): it should show {KINDS[name]}; leave it out "
            "to have it made"
        )
    elif name == "pose_video" and ground > GROUND:
        said.append(
            f"{name} has a ground of about {ground:.0f} of 255: it should show {KINDS[name]}; paint the ground black (0)"
        )
    if _moves(ours) > MOVED and _moves(mine) < STILL:
        said.append(f"{name} shows one image in all its frames, though the person moves: it should show {KINDS[name]}")
    said += _exchanged(name, mine, ours)
    return tuple(said)


def black_frames(clip: Iterable[np.ndarray]) -> list[int]:
    """Return the numbers of the frames, each [H, W, 3], uint8 RGB, that show nothing."""
    return [t for t, frame in enumerate(clip) if is_black(frame)]


def is_black(frame: np.ndarray) -> bool:
    """Return whether a frame, [H, W, 3], uint8 RGB, shows nothing."""
    return int(frame.max()) < DARK


def all_black(name: str, count: int) -> str:
    """Return the refusal of a pose without any skeleton; `name` is what it calls the video."""
    return (
        f"{name} must show a skeleton in at least one frame, got black in all {count}: the character would not be driven; use "
        "a video with one person in full view, or a pose video of your own"
    )


def _exchanged(name: str, mine: np.ndarray, ours: np.ndarray) -> list[str]:
    """Return whether channels or sides of a video are exchanged ([n, SIDE, SIDE, 3], float32, both), none or one sentence."""
    told = ours.max(axis=(1, 2, 3)) >= DARK / 2
    if not told.any():
        return []
    mine, ours = mine[told], ours[told]
    off = {}
    for what, turn in VARIANTS.items():
        lit = (np.maximum(turn(mine), ours).max(axis=-1) >= DARK / 2)[..., None]
        off[what] = float((np.abs(turn(mine) - ours) * lit).sum() / (3 * lit.sum()))
    best = min(off, key=lambda what: off[what])
    if best and off[best] < min(BETTER * off[""], CLOSE) and off[""] > OFF:
        return [
            f"{name} fits the driving video with {best} ({off[best]:.0f} of 255 off, {off['']:.0f} as it is): exchange them back"
        ]
    middle = slice(SIDE // 4, -SIDE // 4)
    tints = [float((each[:, middle, middle, 0] - each[:, middle, middle, 2]).mean()) for each in (mine, ours)]
    if name == "face_video" and tints[0] < -SKIN and tints[1] > SKIN:
        return [
            f"{name} looks as if red and blue were exchanged: its faces are bluer than red by {-tints[0]:.0f} of 255, the "
            f"driving video's redder by {tints[1]:.0f}; exchange them back"
        ]
    return []


def _moves(thumbs: np.ndarray) -> float:
    """Return by how much the cells change that change most, in levels of 255; single ones do by compression alone."""
    return float(np.percentile(np.ptp(thumbs, axis=0), 99))


def _thumbs(frames: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames]).astype(np.float32)
