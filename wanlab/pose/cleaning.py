"""Corrections of a pose found by rule: gaps, jumps, exchanged sides, unsure parts; each is an entry that can be undone.

cleaning.propose(points, "swaps,jumps,hands:0.6,gaps:6")   # in this order, whatever the text's
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np

from wanlab.pose import corrections, faults, wholebody
from wanlab.pose.smooth import stretches

GROUPS = {  # what a threshold is given for: parts of the body
    "head": ("head",),
    "face": ("face",),
    "body": ("torso", "left arm", "right arm", "left leg", "right leg"),
    "hands": ("left hand", "right hand"),
    "feet": ("left foot", "right foot"),
}
FORM = "gaps:6 (frames), jumps, swaps, or a least score: " + ", ".join(f"{name}:0.6" for name in GROUPS)
LIMBS = (
    ((7, 9), (8, 10)),
    ((13, 15, 17, 18, 19), (14, 16, 20, 21, 22)),
)  # left and right rows that a detector exchanges
LONGEST_JUMP = 3  # frames after which a joint that jumped away is back, else it has moved
LONGEST_SWAP = 24  # frames of exchanged sides; a longer stretch is a turn
NEARER = 0.5  # of the way: with sides exchanged, a limb's joints must come so much nearer to where they were
Rule = tuple[str, float]


def read(text: str) -> tuple[Rule, ...]:
    """Return the rules that a text names, in the order in which they are applied.

    Raises:
        ValueError: a rule that there is not, or a number out of its range.
    """
    rules = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, _, number = word.partition(":")
        plain = bool(re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", number))
        good = {
            "gaps": plain and "." not in number and 1 <= float(number) <= 240,
            "jumps": not number,
            "swaps": not number,
        }
        good |= {group: plain and 0 < float(number) <= 1 for group in GROUPS}
        if not good.get(name, False) or word.endswith(":"):
            raise ValueError(
                f"pose_cleaning must be made of {FORM}, with commas between, got {word[:40]!r}; use gaps:6,jumps,swaps"
            )
        rules.append((name, float(number or 0)))
    order = ("swaps", "jumps", *GROUPS, "gaps")
    return tuple(sorted(dict(rules).items(), key=lambda rule: order.index(rule[0])))


def propose(points: np.ndarray, text: str, cuts: Collection[int] = ()) -> tuple[corrections.Entry, ...]:
    """Return the corrections that the rules of a text make of a pose.

    Args:
        points: [T, 133, 3], float32; x, y in pixels of the working clip, score.
        text: rules, see `read`.
        cuts: first frames of new shots: nothing is mended across them.

    Raises:
        ValueError: as `read`.
    """
    found: list[corrections.Entry] = []
    now = np.array(points, np.float32)
    for name, number in read(text):
        entries = list(_found(now, name, number, cuts))
        now = corrections.apply(now, entries)
        found += entries
    return tuple(found)


def _found(points: np.ndarray, name: str, number: float, cuts: Collection[int]) -> Iterator[corrections.Entry]:
    if name == "swaps":
        return _swaps(points, cuts)
    if name == "jumps":
        return _jumps(points, cuts)
    return _gaps(points, int(number), cuts) if name == "gaps" else _unsure(points, name, number)


def _gaps(points: np.ndarray, most: int, cuts: Collection[int]) -> Iterator[corrections.Entry]:
    """Yield interpolations of what is unseen for at most `most` frames between two that show it, in one shot."""
    seen = corrections.seen(points)
    parts: dict[str | int, np.ndarray] = {row: seen[:, row] for row in range(23)}
    for name in GROUPS["hands"]:
        parts[name] = np.asarray(seen[:, list(wholebody.PARTS[name])].any(axis=1))
    for part, shown in parts.items():
        for first, end in stretches(np.asarray(~shown), cuts):
            inside = first > 0 and end < len(points) and not {first, end} & set(cuts)
            if inside and end - first <= most and shown[first - 1] and shown[end]:
                yield corrections.Interpolate(part, first, end - 1)


def _jumps(points: np.ndarray, cuts: Collection[int]) -> Iterator[corrections.Entry]:
    """Yield interpolations of body joints that jump away and are back within a few frames."""
    jumps, seen = faults.jumping(points, cuts), corrections.seen(points)
    for row in range(23):
        t = 1
        while t < len(points) - 1:
            back = next(
                (end for end in range(t + 1, min(t + LONGEST_JUMP, len(points) - 1) + 1) if jumps[end, row]), None
            )
            if (
                jumps[t, row]
                and back is not None
                and seen[[t - 1, back], row].all()
                and not set(range(t, back + 1)) & set(cuts)
            ):
                away = np.linalg.norm(points[t, row, :2] - points[t - 1, row, :2])
                if np.linalg.norm(points[back, row, :2] - points[t - 1, row, :2]) < NEARER * away:
                    yield corrections.Interpolate(row, t, back - 1)
                    t = back
            t += 1


def _swaps(points: np.ndarray, cuts: Collection[int]) -> Iterator[corrections.Entry]:
    """Yield moves of both arms or legs in frames in which a detector has exchanged them, with the hands."""
    seen = corrections.seen(points)
    for left, right in LIMBS:
        both = np.array([*left, *right])
        other = np.array([*right, *left])
        since = None
        for t in range(1, len(points)):
            if t in cuts:
                since = None
            shown = seen[t, both] & seen[t - 1, both] & seen[t - 1, other]
            if shown.sum() < 2 or not _exchanges(points[t - 1], points[t], both[shown], other[shown]):
                continue
            if since is not None and t - since <= LONGEST_SWAP:
                yield from _exchanged(points, since, t - 1, left, right)
                since = None
            else:
                since = t


def _exchanges(before: np.ndarray, now: np.ndarray, rows: np.ndarray, other: np.ndarray) -> bool:
    """Return whether joints ([133, 3]) come much nearer to where they were once left and right are exchanged."""
    straight = np.linalg.norm(now[rows, :2] - before[rows, :2], axis=1)
    crossed = np.linalg.norm(now[rows, :2] - before[other, :2], axis=1)
    size = max(float(np.ptp(before[:17, :2][before[:17, 2] > 0], axis=0).max(initial=0)), 1.0)
    return bool(crossed.sum() < NEARER * straight.sum() and straight.mean() > faults.LEAST_STEP * size)


def _exchanged(
    points: np.ndarray, first: int, last: int, left: tuple[int, ...], right: tuple[int, ...]
) -> Iterator[corrections.Entry]:
    for t in range(first, last + 1):
        for one, other in (*zip(left, right, strict=True), *zip(right, left, strict=True)):
            if points[t, other, 2] > 0:
                yield corrections.Move(t, one, float(points[t, other, 0]), float(points[t, other, 1]))
    if left == LIMBS[0][0]:  # the wrists are moved already, so the hands lie at each other's
        yield corrections.SwapHands(first, last)


def _unsure(points: np.ndarray, group: str, least: float) -> Iterator[corrections.Entry]:
    """Yield what hides parts, or joints of the body, whose score is lower."""
    for part in GROUPS[group]:
        rows = wholebody.PARTS[part]
        named = {part: points[:, list(rows), 2].mean(axis=1)} if group in ("hands", "face") else {}
        scores: dict[str | int, np.ndarray] = named or {row: points[:, row, 2] for row in rows}
        for name, score in scores.items():
            for first, end in stretches(np.asarray((score < least) & (score > 0)), ()):
                yield corrections.Hide(name, first, end - 1)
