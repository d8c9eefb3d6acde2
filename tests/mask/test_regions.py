"""What regions do to an outline: where they hold, what locked frames and the stretch keep, when a mask jumps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wanlab.inputs.edits import Edits
from wanlab.mask import regions
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.mask.regions import Lock, Mark
from wanlab.mask.strokes import Stroke

SIZE = HEIGHT, WIDTH = 30, 45
BEFORE = np.zeros(SIZE, bool)
BEFORE[5:15, 5:15] = True


def square(x: int, y: int = 5) -> np.ndarray:
    found = np.zeros(SIZE, bool)
    found[y : y + 5, x : x + 5] = True
    return found


def decided(*clicks: Click, **more: object) -> Edits:
    return Edits(points=Prompts(clicks), **more)  # type: ignore[arg-type]


def test_marks_know_the_clicks_against_them_and_count_inside_the_stretch_only() -> None:
    inside, outside, not_there = Click(3, 1, 1, True), Click(3, 9, 9, False), Click(7, 1, 1, True)
    box, stroke = Box(4, 1, 1, 9, 9, 2), Stroke(5, False, 2.0, ((1.0, 1.0),), True)
    made = Edits((2, 6), Prompts((inside, outside, not_there), (box,)), (stroke, stroke._replace(carried=False)))
    assert regions.marks(made) == [Mark(inside, (outside,)), Mark(outside, (inside,)), Mark(box), Mark(stroke)]
    assert [mark.adds for mark in regions.marks(made)] == [True, False, True, False]
    assert regions.unused(made) == 1
    locked = dataclasses.replace(made, locked=(Lock.of(3, BEFORE), Lock.of(5, BEFORE)))
    assert regions.marks(locked) == [Mark(box)]
    assert regions.unused(locked) == 3


def test_regions_are_followed_up_to_the_stretch_and_to_locked_frames() -> None:
    made = Edits((2, 17), locked=tuple(Lock.of(t, BEFORE) for t in (4, 9)))
    assert regions.reach(made, 6, 20) == range(5, 9)
    assert regions.reach(made, 3, 20) == range(2, 4)
    assert regions.reach(made, 12, 20) == range(10, 18)
    assert regions.reach(Edits(), 12, 20) == range(20)


def test_the_nearer_click_holds_and_strokes_are_painted_last() -> None:
    add, remove = Click(2, 20, 5, True), Click(8, 20, 5, False, 2)
    made = decided(add, remove)
    known = lambda mark, t: square(20) if mark.adds else square(22)  # noqa: E731
    early, late = (regions.composed(made, t, BEFORE, known) for t in (3, 7))
    np.testing.assert_array_equal(early, (BEFORE & ~square(22)) | square(20))
    np.testing.assert_array_equal(late, (BEFORE | square(20)) & ~square(22))
    np.testing.assert_array_equal(regions.composed(made, 3, BEFORE, lambda *_: None), BEFORE)  # nothing is known
    painted = dataclasses.replace(made, strokes=(Stroke(7, False, 50.0, ((1.0, 1.0),)),))
    assert not regions.composed(painted, 7, BEFORE, known)[:, :40].any()
    objects = regions.objects(decided(add, Click(3, 20, 5, True, 2)), 3, lambda mark, t: square(19 + mark.object))
    np.testing.assert_array_equal(objects[2], square(21))
    np.testing.assert_array_equal(objects[1], square(20) & ~square(21))


def test_a_locked_frame_is_what_it_was_locked_as() -> None:
    mask = np.random.default_rng(0).random(SIZE) > 0.5
    lock = Lock.of(3, mask)
    made = decided(Click(2, 20, 5, True), locked=(lock,), strokes=(Stroke(3, True, 9.0, ((1.0, 1.0),)),))
    np.testing.assert_array_equal(regions.composed(made, 3, BEFORE, lambda *_: square(20)), mask)
    assert regions.objects(made, 3, lambda *_: square(20)) == {}
    for wrong in ("", "nonsense!", lock.mask[:-8]):
        with pytest.raises(ValueError, match="locked frame 3 must be 30x45 pixels; unlock the frame"):
            Lock(3, wrong).bits(*SIZE)
    with pytest.raises(ValueError, match="must be 31x45 pixels"):
        lock.bits(31, WIDTH)


def test_a_jump_is_an_outline_unlike_those_beside_it() -> None:
    person = np.zeros(SIZE, bool)
    person[5:25, 5:15] = True
    hand, wall = person | square(15), np.ones(SIZE, bool)
    before = (person, person, person)
    assert not regions.jumps((person, hand, person), before)
    assert regions.jumps((person, wall, person), before)
    assert regions.jumps((None, np.zeros(SIZE, bool), person), (None, person, person))
    assert not regions.jumps((wall, wall, wall), before)  # all of them have changed
    empty = np.zeros(SIZE, bool)
    assert not regions.jumps((empty, hand, empty), (empty, empty, empty))  # nothing to compare with
