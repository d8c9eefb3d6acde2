"""Who is who in a clip: the people of each frame get numbers from 1, which stay through crossings and absences.

Two steps: neighbouring frames are linked by place, motion and clothes into stretches; stretches of one person, before
and after an absence, are joined by clothes and place.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import config
from wanlab.pose.people import People
from wanlab.pose.wholebody import SEEN

PATCHES = (
    (5, 6, 0.15, 0.5),
    (5, 6, 0.5, 0.85),
    (11, 12, 0.1, 0.7),
)  # left, right, and from where to where down the torso or thighs
NEXT = {5: (11, 12), 11: (13, 14)}  # what lies below shoulders and hips
LIGHTNESS = 0.5  # of its difference counts: a turned back is darker, not in other clothes
MAX_STEP = 0.35  # of the person's size between two frames, after the motion so far
MAX_UNSEEN = 12  # frames after which a stretch ends; later it is joined again by clothes
SAME_CLOTHES, OTHER_CLOTHES = 0.10, 0.16  # mean difference of colours: below, one person; above, two people
UNKNOWN = 0.05  # that difference where one of the two shows no clothes
CLOTHES = 1.5  # weight of clothes beside distance in sizes of the person
TOUCH = 0.15  # of the smaller box: from this overlap on, two people may be taken for each other
BODIES_APART, JOINTS_TOGETHER = 0.1, 0.04  # of the person's size, between two people: the median joint, a mixed one
FEW = 3  # frames: who is seen in fewer counts as nobody
_NUMBER = r"[0-9]{1,5}(?:\.[0-9]{1,4})?"
_CLICK, _CLICK_PARTS = rf"{_NUMBER},\s?{_NUMBER}(?:@[0-9]{{1,7}})?", rf"({_NUMBER}),\s?({_NUMBER})(?:@([0-9]{{1,7}}))?"


class Click(NamedTuple):
    """A point on the person to be followed: frame, and x and y in pixels of the clip."""

    frame: int
    x: float
    y: float


@dataclasses.dataclass
class _Stretch:
    """One person in neighbouring frames: the row of each frame's people, and what is known of them so far."""

    rows: dict[int, int]
    points: np.ndarray
    box: np.ndarray
    shot: int
    speed: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    looks: list[np.ndarray] = dataclasses.field(default_factory=list)
    mixed_look: np.ndarray | None = None
    first_box: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(4))

    @property
    def first(self) -> int:
        return next(iter(self.rows))

    @property
    def last(self) -> int:
        return next(reversed(self.rows))

    @property
    def look(self) -> np.ndarray:
        return _mean(self.looks) if self.looks or self.mixed_look is None else self.mixed_look

    @property
    def size(self) -> float:
        return max(float((self.box[2:] - self.box[:2]).max()), 1.0)


def look_of(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how each person is dressed: [n, 3, 3], Lab of upper and lower torso and thighs, 0 to 1; NaN where unseen.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [n, 17, 3], x, y in pixels, score.
    """
    looks = np.full((len(points), len(PATCHES), 3), np.nan)
    for look, body in zip(looks, points, strict=True):
        for patch, (left, right, start, end) in zip(look, PATCHES, strict=True):
            rows = [left, right, *NEXT[left]]
            if body[rows, 2].min() < SEEN:
                continue
            top, down = body[[left, right], :2], body[list(NEXT[left]), :2]
            ends = np.concatenate([top + share * (down - top) for share in (start, end)])
            middle = ends.mean(axis=0)
            x1, y1 = np.maximum((ends - middle).min(axis=0) * (0.6, 1) + middle, 0).astype(int)
            x2, y2 = np.minimum((ends - middle).max(axis=0) * (0.6, 1) + middle + 1, frame.shape[1::-1]).astype(int)
            if x2 > x1 and y2 > y1:
                colour = np.median(frame[y1:y2, x1:x2].reshape(-1, 3), axis=0).astype(np.uint8)
                patch[:] = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2LAB)[0, 0] / 255.0
    return looks


def link(found: Sequence[People], looks: Sequence[np.ndarray], cuts: Collection[int] = ()) -> list[np.ndarray]:
    """Number the people of a clip.

    Args:
        found: the people of each frame.
        looks: [n, 3, 3] each, from `look_of`.
        cuts: first frames of new shots.

    Returns:
        [n] each, int: numbers from 1 in the order in which people appear, the largest first; 0 for who is seen too
        briefly, or so mixed with another person that they cannot be told apart.
    """
    stretches = _stretches(found, looks, set(cuts))
    persons = _joined(stretches)
    enough = min(FEW, len(found))
    persons = [person for person in persons if sum(len(each.rows) for each in person) >= enough]
    persons.sort(key=lambda person: (person[0].first, -_area(person[0].first_box)))
    numbers = [np.zeros(len(people.scores), int) for people in found]
    for number, person in enumerate(persons, 1):
        for stretch in person:
            for t, row in stretch.rows.items():
                numbers[t][row] = number
    _drop_mixed(found, numbers, len(persons))
    return numbers


def read_person(value: int | str) -> int | tuple[Click, ...]:
    """Return whom the setting `person` means: a number, or clicks (`120,300@0 140,310@40`; without @frame, frame 0).

    Raises:
        ValueError: it is neither.
    """
    text = str(value).strip()
    if re.fullmatch("0*[1-9][0-9]{0,3}", text):
        return int(text)
    if not re.fullmatch(rf"{_CLICK}([\s;]+{_CLICK})*", text):
        raise ValueError(
            f"person must be a number from 1, or clicks such as 120,300@0 (x, y in pixels of the working clip, frame), got {text[:60]!r}; use 1"
        )
    return tuple(Click(int(frame or 0), float(x), float(y)) for x, y, frame in re.findall(_CLICK_PARTS, text))


def check_clicks(person: int | tuple[Click, ...] | None, num_frames: int, height: int, width: int) -> None:
    """Refuse clicks outside a working clip of this length, and this size in pixels.

    Raises:
        SettingsError: a click outside it.
    """
    for click in person if isinstance(person, tuple) else ():
        if click.frame >= num_frames:
            raise config.SettingsError(
                f"person must be clicked in a frame from 0 to {num_frames - 1}, got frame {click.frame}; use x,y@frame"
            )
        if click.x > width or click.y > height:
            raise config.SettingsError(
                f"person must be clicked inside the working clip ({height}x{width}, height x width), got x {click.x:g}, y {click.y:g}; "
                "use a place in the picture"
            )


def chosen(
    numbers: Sequence[np.ndarray], boxes: np.ndarray, person: int | tuple[Click, ...]
) -> tuple[int, tuple[Click, ...]]:
    """Return the number of the person who is meant, and the clicks that mean them.

    Args:
        numbers: from `link`.
        boxes: [P, T, 4], x1, y1, x2, y2 of each numbered person in pixels, 0 where they are not seen.
        person: a number from 1, or clicks.

    Raises:
        SettingsError: nobody has the number, or nobody is where was clicked.
    """
    if isinstance(person, int):
        if person > max(len(boxes), 1):
            raise config.SettingsError(
                f"person must be a number from 1 to {max(len(boxes), 1)}, got {person}: {_in_words(len(boxes))} in the video; "
                "use one of these, or click: x,y or x,y@frame"
            )
        return person, ()
    votes = [number for click in person if (number := _clicked(boxes, click)) is not None]
    if not votes:
        clicks = ", ".join(f"{c.x:g},{c.y:g}@{c.frame}" for c in person)
        raise config.SettingsError(
            f"person must be clicked where somebody is found, got {clicks}; use a number from the contact sheet"
        )
    return max(set(votes), key=votes.count), person


def _in_words(count: int) -> str:
    return "nobody is" if not count else "one person is" if count == 1 else f"{count} people are"


def _clicked(boxes: np.ndarray, click: Click) -> int | None:
    """Return whose box holds a click, the smallest one; of boxes in frames near it, where there is none in its own."""
    for near in range(MAX_UNSEEN + 1):
        hit = []
        for t in {click.frame - near, click.frame + near} & set(range(boxes.shape[1])):
            for number, box in enumerate(boxes[:, t], 1):
                room = 0.05 * float((box[2:] - box[:2]).max())
                inside = box[0] - room <= click.x <= box[2] + room and box[1] - room <= click.y <= box[3] + room
                if box.any() and inside:
                    hit.append((_area(box), number))
        if hit:
            return min(hit)[1]
    return None


def row_of(numbers: np.ndarray, person: int) -> int | None:
    """Return the row of a frame's people ([n], numbers) who has this number, None where they are not seen."""
    rows = np.flatnonzero(numbers == person)
    return int(rows[0]) if len(rows) else None


def are_crossing(boxes: np.ndarray) -> bool:
    """Return whether any two of the boxes ([n, 4]) overlap so far that their people may be taken for each other."""
    return any(overlap(one, other) > TOUCH for one, other in itertools.combinations(boxes, 2))


def unmixed(people: People) -> People:
    """Return the people without joints that a network put on the wrong one of two who are close together.

    Where two bodies lie apart but a joint of theirs in one place, it is that of whom the network is surer; of the other one
    its score is 0.
    """
    points = people.points.copy()
    for one, other in itertools.combinations(range(len(points)), 2):
        if overlap(people.boxes[one], people.boxes[other]) <= TOUCH:
            continue
        sure = (people.points[[one, other], :, 2] > SEEN).all(axis=0)
        apart = np.linalg.norm(people.points[one, :, :2] - people.points[other, :, :2], axis=1)
        size = max(float((people.boxes[one, 2:] - people.boxes[one, :2]).max()), 1.0)
        if sure.any() and np.median(apart[sure]) > BODIES_APART * size:
            shared = sure & (apart < JOINTS_TOGETHER * size)
            first = people.points[one, :, 2] >= people.points[other, :, 2]
            points[other, shared & first, 2] = points[one, shared & ~first, 2] = 0
    return people._replace(points=points)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return which share of the smaller of two boxes (x1, y1, x2, y2) lies in the other."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / max(min(_area(one), _area(other)), 1.0)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return how alike two boxes (x1, y1, x2, y2) are: their shared area over their common one."""
    shared = overlap(one, other) * min(_area(one), _area(other))
    return shared / max(_area(one) + _area(other) - shared, 1.0)


def _stretches(found: Sequence[People], looks: Sequence[np.ndarray], cuts: set[int]) -> list[_Stretch]:
    done: list[_Stretch] = []
    alive: list[_Stretch] = []
    shot = 0
    for t, (people, look) in enumerate(zip(found, looks, strict=True)):
        if t in cuts:
            shot += 1
            done, alive = done + alive, []
        done += [each for each in alive if t - each.last > MAX_UNSEEN]
        alive = [each for each in alive if t - each.last <= MAX_UNSEEN]
        costs = np.array([[_cost(each, t, people, look, row, alive) for row in range(len(look))] for each in alive])
        taken = _assign(costs.reshape(len(alive), len(look)))
        for i, row in taken.items():
            _extend(alive[i], t, people, look, row, alive)
        for row in set(range(len(look))) - set(taken.values()):
            begun = _Stretch({}, people.points[row], people.boxes[row], shot, first_box=people.boxes[row])
            _extend(begun, t, people, look, row, alive)
            alive.append(begun)
    return sorted(done + alive, key=lambda each: each.first)


def _cost(each: _Stretch, t: int, people: People, look: np.ndarray, row: int, alive: Sequence[_Stretch]) -> float:
    """Return how unlike a stretch's next frame a person is: distance in sizes, and clothes where others are near."""
    moved = each.speed * (t - each.last)
    points = people.points[row]
    sure = (points[:, 2] > SEEN) & (each.points[:, 2] > SEEN)
    if sure.sum() >= 4:
        apart = np.linalg.norm(points[sure, :2] - each.points[sure, :2] - moved, axis=1).mean()
    else:
        apart = np.abs(people.boxes[row] - each.box - np.tile(moved, 2)).mean()
    cost = float(apart) / each.size
    if cost > MAX_STEP * (1 + 0.15 * (t - each.last - 1)):
        return np.inf
    place = each.box + np.tile(moved, 2)
    near = [other for other in alive if other is not each and overlap(place, other.box) > TOUCH]
    if not near and t - each.last == 1:
        return cost
    change = _change(each.look, look[row])
    seen_near = sum(overlap(place, box) > TOUCH for box in people.boxes)
    if change > OTHER_CLOTHES and seen_near <= len(near):  # somebody is hidden: is it this one?
        return np.inf
    return cost + CLOTHES * change


def _extend(each: _Stretch, t: int, people: People, look: np.ndarray, row: int, alive: Sequence[_Stretch]) -> None:
    box = people.boxes[row]
    if each.rows:
        step = (box.reshape(2, 2).mean(axis=0) - each.box.reshape(2, 2).mean(axis=0)) / (t - each.last)
        each.speed = 0.6 * each.speed + 0.4 * step
    each.points, each.box = people.points[row], box
    others = [points for i, points in enumerate(people.points) if i != row]
    others += [other.points for other in alive if other is not each and t - other.last > 0]
    own = look[row].copy()
    for patch, middle in zip(own, _middles(people.points[row]), strict=True):
        if any(_covers(points, middle) for points in others):  # the colour may be another person's
            patch[:] = np.nan
    if np.isfinite(own).any():
        each.looks = [*each.looks[-30:], own]
    elif each.mixed_look is None:
        each.mixed_look = look[row]
    each.rows[t] = row


def _middles(points: np.ndarray) -> np.ndarray:
    """Return the middles of the patches that tell how a person is dressed: [3, 2], pixels."""
    middles = []
    for left, right, start, end in PATCHES:
        top, down = points[[left, right], :2].mean(axis=0), points[list(NEXT[left]), :2].mean(axis=0)
        middles.append(top + (start + end) / 2 * (down - top))
    return np.array(middles)


def _covers(points: np.ndarray, place: np.ndarray) -> bool:
    """Return whether a person's trunk and thighs ([17, 3]) may be at a place ([2])."""
    core = points[5:15][points[5:15, 2] > SEEN, :2]
    if len(core) < 2:
        core = points[:, :2]
    low, high = core.min(axis=0), core.max(axis=0)
    return bool((place > low - 0.1 * (high - low).max()).all() and (place < high + 0.1 * (high - low).max()).all())


def _assign(costs: np.ndarray) -> dict[int, int]:
    """Return which column each row gets ([n, m], inf: never): as many pairs as possible, then the least sum."""
    n, m = costs.shape
    pairs = sorted((float(costs[i, j]), i, j) for i in range(n) for j in range(m) if np.isfinite(costs[i, j]))
    if max(n, m) > 6:  # of crowds, the nearest first
        taken: dict[int, int] = {}
        for _, i, j in pairs:
            if i not in taken and j not in taken.values():
                taken[i] = j
        return taken
    best: tuple[float, dict[int, int]] = (np.inf, {})
    padded = [*range(m), *[-1] * n]
    for order in set(itertools.permutations(padded, n)) if n else ():
        chosen = {i: j for i, j in enumerate(order) if j >= 0}
        total = sum(float(costs[i, j]) for i, j in chosen.items()) + (n - len(chosen)) * 1.0  # 1: more than any cost
        if total < best[0]:
            best = total, chosen
    return best[1]


def _joined(stretches: Sequence[_Stretch]) -> list[list[_Stretch]]:
    """Return the stretches of each person."""
    persons: list[list[_Stretch]] = []
    for shot, group in itertools.groupby(
        sorted(stretches, key=lambda each: (each.shot, each.first)), lambda each: each.shot
    ):
        before = len(persons)
        for each in sorted(group, key=lambda each: (each.first, -_area(each.first_box))):
            likely = [
                (cost, i) for i, person in enumerate(persons) if (cost := _join_cost(person, each, shot)) < np.inf
            ]
            if likely:
                persons[min(likely)[1]].append(each)
            else:
                persons.append([each])
        _take_over(persons, before, shot)
    return persons


def _join_cost(person: Sequence[_Stretch], each: _Stretch, shot: int) -> float:
    """Return how unlike a person a later stretch is; inf: another one."""
    last = max(person, key=lambda one: one.last)
    if last.last >= each.first:
        return np.inf
    change = _change(_mean([look for one in person for look in one.looks] or [last.look]), each.look)
    if shot != last.shot:
        return change if change < SAME_CLOTHES else np.inf
    gap = each.first - last.last
    middle = last.box.reshape(2, 2).mean(axis=0) + last.speed * min(gap, 8)
    apart = float(np.linalg.norm(each.first_box.reshape(2, 2).mean(axis=0) - middle)) / last.size
    near = apart * float(np.exp(-gap / 16))  # after a second, somebody may come back from anywhere
    limit = OTHER_CLOTHES if apart < MAX_STEP else SAME_CLOTHES
    return change + 0.2 * near if change < limit else np.inf


def _take_over(persons: list[list[_Stretch]], before: int, shot: int) -> None:
    """Let the people of a new shot whom nobody's clothes fit be the people missing in it: light and view have changed."""
    missing = [i for i in range(before) if all(each.shot != shot for each in persons[i])]
    longest = sorted(
        range(before, len(persons)), key=lambda i: -sum(len(each.rows) * _area(each.box) for each in persons[i])
    )
    taken = list(zip(missing, longest, strict=False))
    for old, new in taken:
        persons[old] += persons[new]
    for new in sorted((new for _, new in taken), reverse=True):
        del persons[new]


def _drop_mixed(found: Sequence[People], numbers: list[np.ndarray], count: int) -> None:
    """Take the number from who, where two people cross and one is seen, lies nearer to where the other one must be."""
    places = {number: _places(found, numbers, number) for number in range(1, count + 1)}
    for t, people in enumerate(found):
        seen = numbers[t].copy()  # who loses a number below hides nobody: rows come in any order
        hidden = [n for n in places if n not in seen and t in places[n]]
        for row, number in enumerate(seen):
            if not number or not hidden:
                continue
            mine = _without(places[number], found, numbers, number, t)
            own = _apart(people.points[row], mine)
            if any(_apart(people.points[row], places[n][t]) < own for n in hidden):
                numbers[t][row] = 0


def _places(found: Sequence[People], numbers: Sequence[np.ndarray], number: int) -> dict[int, np.ndarray]:
    """Return a person's points in the frames in which they are seen, and straight between them through short gaps."""
    seen = {t: found[t].points[row] for t in range(len(found)) if (row := row_of(numbers[t], number)) is not None}
    for before, after in itertools.pairwise(sorted(seen)):
        for t in range(before + 1, after if after - before <= 2 * MAX_UNSEEN else before + 1):
            seen[t] = _between(seen[before], seen[after], (t - before) / (after - before))
    return seen


def _without(
    places: dict[int, np.ndarray], found: Sequence[People], numbers: Sequence[np.ndarray], number: int, t: int
) -> np.ndarray:
    """Return where a person must be in frame `t`, by the nearest frames around in which all are seen apart."""

    def clear(s: int) -> bool:
        row = row_of(numbers[s], number)
        return row is not None and (numbers[s] > 0).sum() > 1

    before = next((s for s in range(t - 1, max(t - 3 * MAX_UNSEEN, -1), -1) if clear(s)), None)
    after = next((s for s in range(t + 1, min(t + 3 * MAX_UNSEEN, len(found))) if clear(s)), None)
    if before is None or after is None:
        return places[t]
    return _between(places[before], places[after], (t - before) / (after - before))


def _between(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    points = (1 - share) * one + share * other
    points[:, 2] = np.minimum(one[:, 2], other[:, 2])
    return points


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    sure = (one[:, 2] > SEEN) & (other[:, 2] > SEEN)
    return float(np.linalg.norm(one[sure, :2] - other[sure, :2], axis=1).mean()) if sure.any() else np.inf


def _mean(looks: Sequence[np.ndarray]) -> np.ndarray:
    if not looks:
        return np.full((len(PATCHES), 3), np.nan)
    stacked = np.ma.masked_invalid(np.stack(looks))
    return np.ma.median(stacked, axis=0).filled(np.nan)


def _change(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of two looks, UNKNOWN where they have nothing in common."""
    change = np.abs(one - other) * (LIGHTNESS, 1, 1)
    rows = change[np.isfinite(change).all(axis=-1)]
    return float(np.linalg.norm(rows, axis=-1).mean()) if len(rows) else UNKNOWN


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))
