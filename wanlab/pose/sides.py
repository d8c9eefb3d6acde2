"""Where a detector takes left for right: of the whole body, as when it takes a back for a front, of arms, legs or hands."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from wanlab.pose import corrections
from wanlab.pose.wholebody import NUM_BODY

LEAST_STEP = 0.08  # of the person's size; a faster dance gives less from one frame to the next on the sample clips
LONGEST = 24  # frames of exchanged sides; a longer stretch is a turn
NEARER = 0.5  # of the way: with sides exchanged, joints must come so much nearer to where they were
STILL = 0.05  # of the person's size: joints near the middle are as near to either side
TRUNK = (5, 11, 6, 12)  # a body is exchanged where its shoulders and hips are
ROWS = {  # joints that tell, left then right: hands follow their wrists
    "body": ((5, 7, 9, 11, 13, 15), (6, 8, 10, 12, 14, 16)),
    "arms": ((7, 9), (8, 10)),
    "legs": ((13, 15, 17, 18, 19), (14, 16, 20, 21, 22)),
    "hands": ((9,), (10,)),
}
Swap = corrections.SwapSides | corrections.SwapHands


def exchanged(points: np.ndarray, cuts: Collection[int] = ()) -> tuple[Swap, ...]:
    """Return what changes exchanged sides back, the whole body first.

    Args:
        points: [T, 133, 3], float32; x, y in pixels, score.
        cuts: first frames of new shots: sides are compared within one.
    """
    found: list[Swap] = []
    now = np.array(points, np.float32)
    for part in ROWS:
        entries = list(_exchanged(now, part, cuts))
        now = corrections.apply(now, entries)
        found += entries
    return tuple(found)


def _exchanged(points: np.ndarray, part: str, cuts: Collection[int]) -> Iterator[Swap]:
    """Yield the stretches between two frames in which the sides of a part change over."""
    left, right = ROWS[part]
    both, other = np.array([*left, *right]), np.array([*right, *left])
    seen = corrections.seen(points)
    since = None
    for t in range(1, len(points)):
        if t in cuts:
            since = None
            continue
        shown = seen[t, both] & seen[t - 1, both] & seen[t - 1, other]
        if shown.sum() < 2 or not _changes(points[t - 1], points[t], both[shown], other[shown]):
            continue
        if part == "body" and not _changes(points[t - 1], points[t], np.array(TRUNK), np.array(TRUNK[2:] + TRUNK[:2])):
            continue
        if since is not None and t - since <= LONGEST:
            hands = part == "hands"
            yield corrections.SwapHands(since, t - 1) if hands else corrections.SwapSides(part, since, t - 1)
            since = None
        else:
            since = t


def _changes(before: np.ndarray, now: np.ndarray, rows: np.ndarray, other: np.ndarray) -> bool:
    """Return whether joints ([133, 3]) come much nearer to where they were once left and right are exchanged."""
    straight = np.linalg.norm(now[rows, :2] - before[rows, :2], axis=1)
    crossed = np.linalg.norm(now[rows, :2] - before[other, :2], axis=1)
    body = before[:NUM_BODY]
    size = max(float(np.ptp(body[body[:, 2] > 0, :2], axis=0).max(initial=0)), 1.0)
    if (crossed > straight + STILL * size).any():  # this one has stayed on its side
        return False
    return bool(crossed.sum() < NEARER * straight.sum() and straight.mean() > LEAST_STEP * size)
