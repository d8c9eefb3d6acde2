"""Corrections of a pose found by rule: gaps, jumps, exchanged sides, unsure parts; each is an entry that can be undone.

cleaning.propose(points, "swaps,jumps,hands:0.6,gaps:6")   # in this order, whatever the text's
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np

from wanlab.pose import corrections, faults, sides, wholebody
from wanlab.pose.smooth import stretches

GROUPS = {  # what a threshold is given for: parts of the body
    "head": ("head",),
    "face": ("face",),
    "body": ("torso", "left arm", "right arm", "left leg", "right leg"),
    "hands": ("left hand", "right hand"),
    "feet": ("left foot", "right foot"),
}
FORM = "gaps:6 (frames), jumps, swaps, or a least score: " + ", ".join(f"{name}:0.6" for name in GROUPS)
LONGEST_JUMP = 3  # frames after which a joint that jumped away is back, else it has moved
NEARER = 0.5  # of the way: a joint that jumped away comes back so near
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
        now = corrections.apply(now, entries, cuts)
        found += entries
    return tuple(found)


def _found(points: np.ndarray, name: str, number: float, cuts: Collection[int]) -> Iterator[corrections.Entry]:
    if name == "swaps":
        return iter(sides.exchanged(points, cuts))
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


def _unsure(points: np.ndarray, group: str, least: float) -> Iterator[corrections.Entry]:
    """Yield what hides parts, or joints of the body, whose score is lower."""
    for part in GROUPS[group]:
        rows = wholebody.PARTS[part]
        named = {part: points[:, list(rows), 2].mean(axis=1)} if group in ("hands", "face") else {}
        scores: dict[str | int, np.ndarray] = named or {row: points[:, row, 2] for row in rows}
        for name, score in scores.items():
            for first, end in stretches(np.asarray((score < least) & (score > 0)), ()):
                yield corrections.Hide(name, first, end - 1)
