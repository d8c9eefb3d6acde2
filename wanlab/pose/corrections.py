"""Corrections of a pose made by hand: a joint moved, a gap filled, hands swapped, a part hidden.

[{"do": "move", "frame": 12, "joint": 9, "x": 400.0, "y": 200.0},          # joint: a row of COCO-WholeBody
 {"do": "interpolate", "part": "left hand", "first": 20, "last": 24},      # part: a name of wholebody.PARTS or a joint
 {"do": "swap hands", "first": 30, "last": 30},
 {"do": "swap sides", "part": "body", "first": 30, "last": 31},            # part: a name of SIDES
 {"do": "hide", "part": "left hand", "first": 20, "last": 24}]             # frames first to last, inclusive
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, get_args

import numpy as np

from wanlab import config, media
from wanlab.pose import drawing, face, wholebody

MOVED_SCORE = 1.0  # of a joint placed by hand: it is drawn, and nothing is surer
WRISTS = (9, 10)  # left, right
HANGING = tuple(
    (wrist, *wholebody.PARTS[f"{side} hand"]) for wrist, side in zip(WRISTS, ("left", "right"), strict=True)
)
_ARMS = ((7, *HANGING[0]), (8, *HANGING[1]))
_LEGS = ((13, 15, 17, 18, 19), (14, 16, 20, 21, 22))
SIDES = {  # what a detector exchanges: left rows, right rows
    "arms": _ARMS,
    "legs": _LEGS,
    "body": tuple(
        (*head, *trunk, *arm, *leg)
        for head, trunk, arm, leg in zip(((1, 3), (2, 4)), ((5, 11), (6, 12)), _ARMS, _LEGS, strict=True)
    ),
}


@dataclasses.dataclass(frozen=True)
class Move:
    """A joint put at another place on one frame.

    Attributes:
        frame: of the clip.
        joint: row of the keypoints.
        x: pixels of the working clip.
        y: pixels of the working clip.
    """

    do: ClassVar[str] = "move"
    frame: int
    joint: int
    x: float
    y: float

    def apply(self, points: np.ndarray, cuts: Collection[int] = ()) -> None:
        """Change `points` ([T, 133, 3], float32) in place."""
        points[self.frame, self.joint] = self.x, self.y, MOVED_SCORE


@dataclasses.dataclass(frozen=True)
class Interpolate:
    """A part, or one joint, drawn again in some frames from the frames beside them.

    Each point goes straight from the frame before to the frame after; where only one of the two shows it, it stays as it
    is there, and where neither does, it is left alone. A hand moves with its wrist, if all these frames show the wrist.

    Attributes:
        part: name of the part, or row of the joint.
        first: first frame.
        last: last frame.
    """

    do: ClassVar[str] = "interpolate"
    part: str | int
    first: int
    last: int

    def apply(self, points: np.ndarray, cuts: Collection[int] = ()) -> None:
        """Change `points` ([T, 133, 3], float32) in place; each shot's frames come from its own.

        Args:
            points: the keypoints.
            cuts: first frames of new shots.

        Raises:
            ValueError: if no neighbour shows any of the part's points.
        """
        borders = [self.first, *sorted(t for t in cuts if self.first < t <= self.last), self.last + 1]
        pieces = [
            (first, end - 1, frames_beside(first, end - 1, len(points), cuts))
            for first, end in itertools.pairwise(borders)
        ]
        rows = list(rows_of(self.part))
        if not any(seen(points[t])[rows].any() for *_, ends in pieces for t in ends):
            beside = " and ".join(str(t) for *_, ends in pieces for t in ends) or "none"
            raise ValueError(
                f"{name_of(self.part)} must be seen in a frame beside the stretch to be interpolated in "
                f"{media.describe_frames(range(self.first, self.last + 1))}, got nothing there (frames beside it: {beside}); use a longer stretch"
            )
        for first, last, ends in pieces:
            self._apply(points, first, last, ends)

    def _apply(self, points: np.ndarray, first: int, last: int, ends: list[int]) -> None:
        """Interpolate frames of one shot between the frames beside them (`ends`, one or two)."""
        rows = np.array(rows_of(self.part))
        there = np.array([seen(points[t])[rows] for t in ends]).reshape(len(ends), len(rows))
        frames = np.arange(first, last + 1)
        wrist = {"left hand": WRISTS[0], "right hand": WRISTS[1]}.get(str(self.part))
        base = np.zeros((len(points), 2))
        if wrist is not None and seen(points[[*ends, *frames]])[:, wrist].all():
            base = points[:, wrist, :2].astype(np.float64)
        for row, shown in zip(rows, there.T, strict=True):
            known = [t for t, here in zip(ends, shown, strict=True) if here]
            if known:
                offsets = points[known, row, :2] - base[known]
                for axis in (0, 1):
                    points[frames, row, axis] = base[frames, axis] + np.interp(frames, known, offsets[:, axis])
                points[frames, row, 2] = points[known, row, 2].min()


@dataclasses.dataclass(frozen=True)
class SwapHands:
    """Left and right hand exchanged in some frames, so that each hangs on its own wrist.

    A detector crops hands around the wrists, so a hand on the wrong side mostly belongs to a wrist on the wrong side: then
    the wrists are exchanged too, and with them the forearms, drawn to the wrists. Where a hand lies at the other side's
    wrist, the wrists are right and stay.

    Attributes:
        first: first frame.
        last: last frame.
    """

    do: ClassVar[str] = "swap hands"
    first: int
    last: int

    def apply(self, points: np.ndarray, cuts: Collection[int] = ()) -> None:
        """Change `points` ([T, 133, 3], float32) in place."""
        hands = [list(rows_of(f"{side} hand")) for side in ("left", "right")]
        for frame in points[self.first : self.last + 1]:
            left, right = hands
            if not _are_crossed(frame):
                left, right = [WRISTS[0], *left], [WRISTS[1], *right]
            frame[left + right] = frame[right + left]


@dataclasses.dataclass(frozen=True)
class SwapSides:
    """Left and right exchanged in some frames, of the arms with their hands, the legs, or the whole body.

    A detector that takes a back for a front exchanges all of it.

    Attributes:
        part: a name of SIDES.
        first: first frame.
        last: last frame.
    """

    do: ClassVar[str] = "swap sides"
    part: str
    first: int
    last: int

    def apply(self, points: np.ndarray, cuts: Collection[int] = ()) -> None:
        """Change `points` ([T, 133, 3], float32) in place."""
        left, right = (list(rows) for rows in SIDES[self.part])
        frames = points[self.first : self.last + 1]
        frames[:, left + right] = frames[:, right + left]


@dataclasses.dataclass(frozen=True)
class Hide:
    """A part, or one joint, removed from some frames: its score becomes 0, so it is not drawn.

    A face takes its crop along: it is black there.

    Attributes:
        part: name of the part, or row of the joint.
        first: first frame.
        last: last frame.
    """

    do: ClassVar[str] = "hide"
    part: str | int
    first: int
    last: int

    def apply(self, points: np.ndarray, cuts: Collection[int] = ()) -> None:
        """Change `points` ([T, 133, 3], float32) in place."""
        points[self.first : self.last + 1, rows_of(self.part), 2] = 0


Entry = Move | Interpolate | SwapHands | SwapSides | Hide
KINDS: dict[str, type[Entry]] = {kind.do: kind for kind in get_args(Entry)}


def rows_of(part: str | int) -> tuple[int, ...]:
    """Return the rows of COCO-WholeBody that a part's name, or a joint's number, means."""
    return wholebody.PARTS[part] if isinstance(part, str) else (part,)


def name_of(part: str | int) -> str:
    """Return a part or a joint in words: `left hand`, `left wrist`, `left hand point 4`."""
    if isinstance(part, str):
        return part
    words = wholebody.NAMES[part].split("_")
    return " ".join([*words[:-1], "point", words[-1]] if words[-1].isdigit() else words)


def seen(points: np.ndarray) -> np.ndarray:
    """Return which points ([..., 133, 3]) count: those that are drawn, and those that a face's box is taken from."""
    least = np.full(points.shape[-2], drawing.DRAWN_FROM, np.float32)
    least[wholebody.FACE] = face.MIN_SCORE
    return points[..., 2] >= least


def apply(points: np.ndarray, entries: Iterable[Entry], cuts: Collection[int] = ()) -> np.ndarray:
    """Return the keypoints with every correction, in the order in which they were made.

    Args:
        points: [T, 133, 3], float32; x, y in pixels of the working clip, score 0 to 1; not changed.
        entries: from `parse`, or made here.
        cuts: first frames of new shots, across which nothing is interpolated.

    Raises:
        ValueError: a part is to be interpolated that neither frame beside the stretch shows.
    """
    changed = np.array(points, dtype=np.float32)
    for entry in entries:
        entry.apply(changed, cuts)
    return changed


def hidden(entries: Iterable[Entry], num_frames: int) -> np.ndarray:
    """Return which joints are hidden by hand once all corrections are made: [num_frames, 133], bool."""
    return apply(np.ones((num_frames, len(wholebody.NAMES), 3), np.float32), entries)[..., 2] == 0


def hidden_faces(entries: Iterable[Entry], num_frames: int) -> tuple[int, ...]:
    """Return the frames whose face is hidden by hand, so that its crop is black."""
    return tuple(np.flatnonzero(hidden(entries, num_frames)[:, wholebody.FACE].all(axis=1)).tolist())


def frames_of(entry: Entry) -> range:
    """Return the frames that a correction changes."""
    return range(entry.frame, entry.frame + 1) if isinstance(entry, Move) else range(entry.first, entry.last + 1)


def frames_beside(first: int, last: int, num_frames: int, cuts: Collection[int]) -> list[int]:
    """Return the frames beside a stretch that are of its shot."""
    before = [first - 1] if first > 0 and first not in cuts else []
    return [*before, last + 1] if last + 1 < num_frames and last + 1 not in cuts else before


def parse(content: Sequence[Any], name: str, num_frames: int, height: int, width: int) -> tuple[Entry, ...]:
    """Return the corrections that a file means.

    Args:
        content: the list that JSON gave; the form stands on top of this module.
        name: what messages call it.
        num_frames, height, width: of the working clip.

    Raises:
        ValueError: an unknown correction, part or joint, or a place outside the clip.
    """
    return tuple(
        _entry(one, f"{name}, correction {number}", num_frames, height, width) for number, one in enumerate(content, 1)
    )


def to_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return corrections as `parse` takes them."""
    return [{"do": entry.do, **dataclasses.asdict(entry)} for entry in entries]


def describe(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return what was changed by hand, a sentence for each kind of change and part, in the order in which they began."""
    frames: dict[tuple[str, str | int], set[int]] = {}
    joints: dict[str, set[int]] = {}
    for entry in entries:
        what: str | int = "" if isinstance(entry, SwapHands) else entry.joint if isinstance(entry, Move) else entry.part
        if isinstance(entry, Move):
            what = next(part for part, rows in wholebody.PARTS.items() if entry.joint in rows)
            joints.setdefault(what, set()).add(entry.joint)
        frames.setdefault((entry.do, what), set()).update(frames_of(entry))
    sentences = []
    for (do, what), changed in frames.items():
        where = media.describe_frames(sorted(changed))
        if do == Move.do:
            moved = joints[str(what)]
            one = name_of(min(moved))
            sentences.append(f"{one if len(moved) == 1 else f'{len(moved)} points of the {what}'} moved in {where}")
        elif do == SwapHands.do:
            sentences.append(f"hands swapped in {where}")
        elif do == SwapSides.do:
            sentences.append(f"left and right of the {what} swapped in {where}")
        else:
            sentences.append(f"{name_of(what)} {'hidden' if do == Hide.do else 'interpolated'} in {where}")
    return tuple(sentences)


def _are_crossed(frame: np.ndarray) -> bool:
    """Return whether the hands of a frame ([133, 3]) lie at each other's wrists; False where hands or wrists are not seen."""
    wrists = frame[list(WRISTS), :2]
    roots = [rows_of(f"{side} hand")[0] for side in ("left", "right")]
    shown = seen(frame)
    there = [i for i, root in enumerate(roots) if shown[root]]
    if not there or not shown[list(WRISTS)].all():
        return False
    own, other = (
        sum(float(np.linalg.norm(frame[roots[i], :2] - wrists[abs(i - swap)])) for i in there) for swap in (0, 1)
    )
    return other < own


def _entry(one: Any, name: str, num_frames: int, height: int, width: int) -> Entry:
    do = one.get("do") if isinstance(one, dict) else None
    if not isinstance(do, str) or do not in KINDS:
        raise ValueError(config.unknown_choice(f"{name}: do", str(do), list(KINDS)))
    kind = KINDS[do]
    fields = [field.name for field in dataclasses.fields(kind)]
    if set(one) != {"do", *fields}:
        raise ValueError(f"{name} must hold do, {', '.join(fields)}, got {', '.join(map(str, one)) or 'nothing'}")
    given = {field: one[field] for field in fields}
    for field in ("frame", "first", "last"):
        if field in given and not (_is_complete(given[field]) and 0 <= given[field] < num_frames):
            raise ValueError(
                f"{name} must have a {field} from 0 to {num_frames - 1}, got {given[field]!r}; use a frame of the working clip"
            )
    if "first" in given and given["first"] > given["last"]:
        raise ValueError(
            f"{name} must have first up to last, got {given['first']} and {given['last']}; change them over"
        )
    for axis, side in (("x", width), ("y", height)):
        if axis in given:
            given[axis] = _number(given[axis])
            if given[axis] is None or not 0 <= given[axis] <= side:
                raise ValueError(
                    f"{name} must have {axis} from 0 to {side} (pixels of the working clip), got {str(one[axis])[:40]}; use a place in the picture"
                )
    if "joint" in given:
        given["joint"] = _joint(given["joint"], name)
    if kind is SwapSides:
        if not isinstance(given["part"], str) or given["part"] not in SIDES:
            raise ValueError(config.unknown_choice(f"{name}: part", str(given["part"]), list(SIDES)))
    elif "part" in given:
        part = given["part"]
        if not isinstance(part, str) or part.isdecimal():
            given["part"] = _joint(int(part) if isinstance(part, str) else part, name)
        elif part not in wholebody.PARTS:
            raise ValueError(config.unknown_choice(f"{name}: part", part, list(wholebody.PARTS)))
    return kind(**given)


def _joint(value: Any, name: str) -> int:
    if not _is_complete(value) or not 0 <= value < len(wholebody.NAMES):
        raise ValueError(
            f"{name} must have a joint from 0 to {len(wholebody.NAMES) - 1} (a row of COCO-WholeBody), got {str(value)[:40]}; use one of those"
        )
    return value


def _is_complete(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:  # JSON takes whole numbers of any length
        return None
