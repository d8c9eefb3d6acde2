"""What is likely wrong with a pose: parts of low confidence, joints that are missing or jump, the worst frames first."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Container, Sequence
from typing import NamedTuple

import numpy as np

from wanlab.pose import corrections, sides, wholebody
from wanlab.pose.sides import LEAST_STEP

WINDOW = 8  # frames to each side that a joint's speed is compared with: half a second at 16 per second
DEVIATIONS = 3.0  # of a speed from the window's median, in robust standard deviations: Hampel's rule
MAD = 1.4826  # a normal distribution's standard deviation in median absolute deviations
USUAL = 0.5  # of the frames with a person: a joint seen in fewer is not missed where it is not seen
SHARE = 0.25  # of a part's joints: with fewer at fault a frame is not brought up


class Fault(NamedTuple):
    """Neighbouring frames with the same fault.

    Attributes:
        first: first frame.
        last: last frame.
        reason: in words.
        weight: how many parts are at fault, each counted by the share of its joints.
        part: the part with the most joints at fault, None in frames without a person.
    """

    first: int
    last: int
    reason: str
    weight: float
    part: str | None


class Review(NamedTuple):
    """What is measured about the pose of a clip.

    The rows of the arrays are the parts of the body, and last the face crop, which counts as sure where the frame has a
    usable face.

    Attributes:
        sure: [parts + 1, T], float64; confidence of each part.
        lost: [parts + 1, T], bool; where joints of a part are missing.
        jumps: [parts + 1, T], bool; where joints of a part jump, or left and right are swapped.
        faults: the worst first.
    """

    sure: np.ndarray
    lost: np.ndarray
    jumps: np.ndarray
    faults: list[Fault]


def confidence(points: np.ndarray) -> np.ndarray:
    """Return the mean score of each part in each frame: [len(wholebody.PARTS), T], float64.

    Args:
        points: [T, 133, 3], float32; x, y in pixels, score 0 to 1.
    """
    return np.stack([points[:, list(rows), 2].mean(axis=1, dtype=np.float64) for rows in wholebody.PARTS.values()])


def missing(points: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """Return where a joint is not seen that is seen in at least half of the frames with a person, or soon before and after.

    Legs outside the image all the time, or from some frame on, are not missing; a hand that is found in single frames is
    missing between them. Returns [T, 133], bool.

    Args:
        points: as in `confidence`.
        hidden: [T, 133], bool, joints that the user hid; they do not count as missing.
    """
    seen = corrections.seen(points)
    with_person = max(int(seen.any(axis=1).sum()), 1)
    lost = ~seen & ((seen.sum(axis=0) >= USUAL * with_person) | _in_gaps(seen))
    return lost if hidden is None else lost & ~hidden


def _in_gaps(seen: np.ndarray) -> np.ndarray:
    """Return where a joint is unseen for at most 2 * WINDOW frames between frames that show it and a person: [T, 133], bool."""
    frames = np.arange(len(seen))[:, None]
    last = np.maximum.accumulate(np.where(seen, frames, -len(seen) - 4 * WINDOW), axis=0)
    following = np.minimum.accumulate(np.where(seen, frames, 2 * len(seen) + 4 * WINDOW)[::-1], axis=0)[::-1]
    return (following - last <= 2 * WINDOW + 1) & ~seen & seen.any(axis=1, keepdims=True)


def jumping(points: np.ndarray, cuts: Collection[int] = ()) -> np.ndarray:
    """Return where a joint jumps: [T, 133], bool, True in the frame in which it arrives.

    A jump is a step of at least 8 % of the person's size that is more than three robust standard deviations above the
    median of the joint's steps in the frames around. Steady fast motion raises that median, so it is none.

    Args:
        points: as in `confidence`.
        cuts: first frames of new shots; what changes there is no jump.

    Source: the Hampel identifier (Pearson, "Outliers in Process Modeling and Identification", IEEE TCST 2002) on speeds.
    """
    steps = _steps(points, cuts)
    border = np.full((WINDOW, steps.shape[1]), np.nan, np.float32)
    around = np.lib.stride_tricks.sliding_window_view(np.concatenate([border, steps, border]), 2 * WINDOW + 1, axis=0)
    usual = _median(around)
    spread = MAD * _median(np.abs(around - usual[..., None]))
    return (steps >= LEAST_STEP) & (steps > usual + DEVIATIONS * spread)


def share(joints: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Return which share of the joints `rows` is marked in each frame ([T, 133], bool): [T], float64."""
    return joints[:, list(rows)].mean(axis=1)


def review(
    points: np.ndarray,
    no_face: Collection[int] = (),
    cuts: Collection[int] = (),
    hidden: np.ndarray | None = None,
) -> Review:
    """Measure what the timeline of a pose and its list of suspicious frames show.

    Args:
        points: [T, 133, 3]; x, y in pixels, score.
        cuts: as in `jumping`.
        no_face: frames without a usable face of their own.
        hidden: [T, 133], bool; as in `missing`.
    """
    swaps = sides.exchanged(points, cuts)
    lost, jumps = missing(points, hidden), jumping(corrections.apply(points, swaps), cuts)  # a swap is no jump
    swapped = _swapped(swaps, len(points))
    crop = ~np.isin(np.arange(len(points)), list(no_face))[None]
    of_parts = (
        np.stack([share(joints, rows) >= SHARE for rows in wholebody.PARTS.values()])
        for joints in (lost, jumps | swapped)
    )
    rows = zip((confidence(points), *of_parts), (crop, ~crop, np.zeros_like(crop)), strict=True)
    empty = set(np.flatnonzero(~corrections.seen(points).any(axis=1)))
    hidden_faces = set() if hidden is None else set(np.flatnonzero(hidden[:, wholebody.FACE].all(axis=1)))
    found = _faults(lost, jumps, swapped, empty, set(no_face) - hidden_faces)
    sure, part_lost, part_jumps = (np.concatenate(each) for each in rows)
    return Review(sure, part_lost, part_jumps, found)


def _swapped(swaps: Collection[sides.Swap], num_frames: int) -> np.ndarray:
    """Return where joints lie on the other side: [num_frames, 133], bool."""
    swapped = np.zeros((num_frames, len(wholebody.NAMES)), bool)
    for swap in swaps:
        for rows in corrections.SIDES[swap.part] if isinstance(swap, corrections.SwapSides) else corrections.HANGING:
            swapped[swap.first : swap.last + 1, list(rows)] = True
    return swapped


def _faults(
    lost: np.ndarray, jumps: np.ndarray, swapped: np.ndarray, empty: Container[int], no_face: Container[int]
) -> list[Fault]:
    """Return what is wrong in stretches of frames, by the joints that are lost, jump or lie on the other side ([T, 133], bool)."""
    of_parts = {"missing": _by_part(lost), "jumping": _by_part(jumps), "swapped, left and right": _by_part(swapped)}
    found = []
    for t in range(len(lost)):
        if t in empty:
            found.append(Fault(t, t, "no person", float(len(wholebody.PARTS)), None))
            continue
        wrong = [each for parts in of_parts.values() for each in parts[t]]
        words = [f"{', '.join(name for _, _, name in parts[t])} {word}" for word, parts in of_parts.items() if parts[t]]
        if t in no_face:
            wrong.append((1.0, "face", "face"))
            words.append("no usable face")
        if wrong:
            worst = max(wrong, key=lambda each: each[0])
            found.append(Fault(t, t, "; ".join(words), sum(share for share, *_ in wrong), worst[1]))
    groups = itertools.groupby(enumerate(found), key=lambda each: (each[1].first - each[0], each[1].reason))
    stretches = [[fault for _, fault in group] for _, group in groups]
    merged = [s[0]._replace(last=s[-1].last, weight=max(fault.weight for fault in s)) for s in stretches]
    return sorted(merged, key=lambda fault: (-fault.weight, fault.first))


def _by_part(wrong: np.ndarray) -> list[list[tuple[float, str, str]]]:
    """Return for each frame the parts at fault ([T, 133], bool: the joints): share of joints, part, and its name in messages."""
    said: list[list[tuple[float, str, str]]] = [[] for _ in wrong]
    for part, rows in wholebody.PARTS.items():
        shares = share(wrong, rows)
        for t in np.flatnonzero(shares >= SHARE):
            one = np.flatnonzero(wrong[t, list(rows)])
            name = corrections.name_of(rows[one[0]]) if len(one) == 1 else part
            said[t].append((float(shares[t]), part, name))
    return said


def _steps(points: np.ndarray, cuts: Collection[int]) -> np.ndarray:
    """Return how far each joint went since the frame before, in sizes of the person: [T, 133], float32, NaN unknown."""
    seen = corrections.seen(points)
    steps = np.full(points.shape[:2], np.nan, np.float32)
    apart = np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1) / _median_extent(points, seen)
    steps[1:] = np.where(seen[1:] & seen[:-1], apart, np.nan)
    steps[[t for t in cuts if t < len(steps)]] = np.nan
    return steps


def _median_extent(points: np.ndarray, seen: np.ndarray) -> float:
    """Return the person's size in pixels: the longer side around the body's points, the median of the frames."""
    sizes = [
        float(np.ptp(p[s, :2], axis=0).max())
        for p, s in zip(points[:, : wholebody.NUM_BODY], seen[:, : wholebody.NUM_BODY], strict=True)
        if s.sum() > 1
    ]
    return max(float(np.median(sizes)), 1.0) if sizes else 1.0


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median along the last axis without its NaNs, NaN where nothing is left (numpy's takes 50 times as long)."""
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(values).sum(axis=-1)[..., None]
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    low, high = (np.minimum(index, np.maximum(count - 1, 0)) for index in (low, high))
    pair = np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1)
    return np.where(count, pair / 2, np.nan)[..., 0]
