"""Corrections that mend a fault of the list: of all that is wrong there, over all frames in which it is.

found = mending.mend(points, 20, 23)       # wrist and hand, although they are missing from 19 to 24
after = corrections.apply(points, found)
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

import numpy as np

from wanlab.pose import corrections, faults, sides, wholebody
from wanlab.pose.smooth import stretches

LONGEST = 16  # frames without a person that are filled: a second; in more, anything may have happened
ROUNDS = 4  # what is filled may show what jumps
FEET = 23  # rows before it are joints of body and feet, which come one by one; face and hands come as a whole
HANDS_OF: dict[str | int, str] = dict(zip(corrections.WRISTS, ("left hand", "right hand"), strict=True))
BACK = 0.5  # of the way: a joint that jumped away and is back comes so near to where it was
Runs = list[tuple[int, int]]  # first and last frames


def mend(
    points: np.ndarray,
    first: int,
    last: int,
    no_face: Collection[int] = (),
    cuts: Collection[int] = (),
    hidden: np.ndarray | None = None,
) -> tuple[corrections.Entry, ...]:
    """Return what mends the faults in some frames, as far as the frames beside them show what is missing.

    Args:
        points: [T, 133, 3], float32; x, y in pixels, score.
        first, last: frames of the fault.
        no_face, cuts, hidden: as `faults.review` takes them.
    """
    found: list[corrections.Entry] = []
    now, without = points, set(no_face)
    for _ in range(ROUNDS):
        entries = _round(now, first, last, without, cuts, hidden)
        if not entries:
            break
        found += entries
        now = corrections.apply(now, entries, cuts)
        for entry in entries:
            frames = corrections.frames_of(entry)
            first, last = min(first, frames[0]), min(max(last, frames[-1] + 1), len(points) - 1)  # back one frame later
            without -= set(frames) if getattr(entry, "part", "") == "face" else set()
    return tuple(found)


def _round(
    points: np.ndarray,
    first: int,
    last: int,
    no_face: Collection[int],
    cuts: Collection[int],
    hidden: np.ndarray | None,
) -> list[corrections.Entry]:
    """Return what is to be done first: change sides back, then fill what is missing, then steady what jumps."""
    swaps = [swap for swap in sides.exchanged(points, cuts) if swap.first <= last and first <= swap.last + 1]
    if swaps:
        return list(swaps)
    seen = corrections.seen(points)
    empty = np.asarray(~seen.any(axis=1))
    lost = faults.missing(points, hidden) | empty[:, None]
    for t in no_face:
        lost[t, wholebody.FACE] = True
    if hidden is not None:
        lost &= ~hidden
    runs: dict[str | int, Runs] = {}
    for unit, rows in _units():
        of_hand = runs.get(HANDS_OF.get(unit, ""), [])  # a wrist is mended wherever its hand is
        start, end = min([first, *(run[0] for run in of_hand)]), max([last, *(run[1] for run in of_hand)])
        share = np.asarray(lost[:, rows].mean(axis=1) >= faults.SHARE)
        near = [(one, other - 1) for one, other in stretches(share, cuts) if one <= end and start < other]
        runs[unit] = [run for run in near if _can_be_filled(np.asarray(seen[:, rows].any(axis=1)), empty, *run, cuts)]
    filled = list(_as_parts(runs))
    return filled or list(_as_parts({unit: _astray(points, rows, first, last, cuts) for unit, rows in _units()}))


def _units() -> Iterator[tuple[str | int, list[int]]]:
    """Yield what is interpolated at a time, and its rows: face and hands, then joints of body and feet."""
    yield from ((part, list(rows)) for part, rows in wholebody.PARTS.items() if rows[0] >= FEET)
    yield from ((row, [row]) for row in range(FEET))


def _can_be_filled(shown: np.ndarray, empty: np.ndarray, first: int, last: int, cuts: Collection[int]) -> bool:
    """Return whether the frames beside a run show the part ([T], bool): one, or where nobody was seen (`empty`) both, if it is short."""
    ends = corrections.frames_beside(first, last, len(shown), cuts)
    if empty[first : last + 1].any():
        return len(ends) == 2 and bool(shown[ends].all()) and last - first < LONGEST
    return bool(shown[ends].any())


def _astray(points: np.ndarray, rows: list[int], first: int, last: int, cuts: Collection[int]) -> Runs:
    """Return the runs in which joints have jumped away, by the jumps in some frames that are jumps there or back."""
    jumps = np.asarray(faults.jumping(points, cuts)[:, rows].mean(axis=1) >= faults.SHARE)
    seen = np.asarray(corrections.seen(points)[:, rows].all(axis=1))
    places = points[:, rows, :2].mean(axis=1)
    found: Runs = []
    for start, back in itertools.combinations(np.flatnonzero(jumps).tolist(), 2):
        touches = start <= last and first <= back
        if not touches or back - start > faults.WINDOW or (found and start <= found[-1][1]):
            continue
        if any(start <= cut <= back for cut in cuts) or not seen[start - 1 : back + 1].all():
            continue
        if np.linalg.norm(places[back] - places[start - 1]) < BACK * np.linalg.norm(places[start] - places[start - 1]):
            found.append((start, back - 1))
    return found


def _as_parts(runs: dict[str | int, Runs]) -> Iterator[corrections.Entry]:
    """Yield the interpolations of all runs; of a part's joints with the same ones as one. Hands come last: they hang on wrists."""
    for part, rows in sorted(wholebody.PARTS.items(), key=lambda each: each[0].endswith("hand")):
        if rows[0] >= FEET:
            yield from (corrections.Interpolate(part, *run) for run in runs[part])
        elif all(runs[row] == runs[rows[0]] for row in rows):
            yield from (corrections.Interpolate(part, *run) for run in runs[rows[0]])
        else:
            yield from (corrections.Interpolate(row, *run) for row in rows for run in runs[row])
