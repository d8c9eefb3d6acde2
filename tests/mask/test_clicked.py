"""Clicks are found once, followed once, and what still holds is kept whatever else is clicked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from wanlab import media
from wanlab.inputs.edits import Edits
from wanlab.mask import person
from wanlab.mask.clicked import Clicked
from wanlab.mask.local_regions import disc
from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.mask.regions import Lock, Mark
from wanlab.mask.strokes import Stroke

FRAMES, HEIGHT, WIDTH = 12, 40, 60
FIRST, SECOND = Click(3, 20.5, 20.5, True), Click(8, 40.5, 20.5, True, 2)


class World:
    """Finds discs, follows them to the right by a pixel a frame, and counts."""

    def __init__(self) -> None:
        self.found: list[Click | Box] = []
        self.followed: list[tuple[int, int, range]] = []
        self.lost_from = FRAMES

    def of_click(self, click: Click, against: Sequence[Click]) -> np.ndarray:
        self.found.append(click)
        return disc((HEIGHT, WIDTH), click.x, click.y, 4)

    def of_box(self, box: Box, against: Sequence[Click]) -> np.ndarray:
        self.found.append(box)
        return np.zeros((HEIGHT, WIDTH), bool)

    def follow(self, marks: Sequence[Mark], seeds: Sequence[np.ndarray], within: range) -> Iterator[tuple[int, list]]:
        start = marks[0].frame
        self.followed.append((start, len(seeds), within))
        for t in within:
            if t != start and t < self.lost_from:
                yield t, [np.roll(seed, t - start, axis=1) for seed in seeds]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clicked(world: World) -> Clicked:
    return Clicked(PackedMasks.empty(FRAMES, HEIGHT, WIDTH), lambda: world, world)


def decided(*clicks: Click, **more: object) -> Edits:
    return Edits(points=Prompts(clicks), **more)  # type: ignore[arg-type]


def test_a_region_is_followed_to_every_frame_as_it_comes(clicked: Clicked) -> None:
    made = decided(FIRST)
    assert clicked.waiting(made)
    steps = clicked.steps(made)
    seen = [t for t in clicked.follow(made) if clicked.outline(made, t).any()]
    assert len(seen) == steps == FRAMES - 1
    assert clicked.waiting(made) == []
    for t in range(FRAMES):
        np.testing.assert_array_equal(clicked.outline(made, t), disc((HEIGHT, WIDTH), 17.5 + t, 20.5, 4))


def test_what_still_holds_is_not_followed_again(clicked: Clicked, world: World) -> None:
    list(clicked.follow(decided(FIRST)))
    both = decided(FIRST, SECOND)
    assert [mark.what for mark in clicked.waiting(both)] == [SECOND]
    assert clicked.outline(both, 9)[20, 26]  # the first is still there
    list(clicked.follow(both))
    assert [start for start, *_ in world.followed] == [3, 8]
    assert not clicked.outline(decided(SECOND), 9)[20, 26]  # gone at once
    list(clicked.follow(decided(FIRST)))
    assert len(world.followed) == 2
    moved = decided(FIRST._replace(x=25.5), SECOND)
    list(clicked.follow(moved))
    assert [start for start, *_ in world.followed] == [3, 8, 3]


def test_marks_of_one_frame_go_together_and_what_is_nowhere_does_not(clicked: Clicked, world: World) -> None:
    made = Edits(points=Prompts((FIRST, FIRST._replace(x=40.5)), (Box(3, 1, 1, 9, 9),)))
    list(clicked.follow(made))
    assert world.followed == [(3, 2, range(FRAMES))]
    assert clicked.waiting(made) == []


def test_a_locked_frame_and_the_stretch_are_barriers(clicked: Clicked, world: World) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    made = decided(FIRST, stretch=(1, 10), locked=(Lock.of(6, mask),))
    list(clicked.follow(made))
    assert world.followed == [(3, 1, range(1, 6))]
    assert [clicked.outline(made, t).any() for t in range(FRAMES)] == [False, *[True] * 5, *[False] * 6]
    assert clicked.waiting(dataclasses.replace(made, locked=()))


def test_where_a_region_is_lost_the_frame_keeps_its_outline(world: World) -> None:
    before = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    before[:, 30:35, 5:50] = True
    clicked = Clicked(PackedMasks.of(before), lambda: world, world)
    world.lost_from = 5
    made = decided(FIRST)
    list(clicked.follow(made))
    assert clicked.waiting(made) == []
    assert clicked.outline(made, 4)[20, 21]
    np.testing.assert_array_equal(clicked.outline(made, 7), before[7])


def test_a_stopped_propagation_keeps_what_it_had(clicked: Clicked) -> None:
    made = decided(FIRST)
    following = clicked.follow(made)
    first = next(following)
    following.close()
    assert clicked.outline(made, first).any()
    assert clicked.waiting(made)
    list(clicked.follow(made))
    assert not clicked.waiting(made)


def test_a_carried_stroke_is_a_region_of_its_own_shape(clicked: Clicked, world: World) -> None:
    stroke = Stroke(2, True, 3.0, ((10.0, 10.0), (20.0, 10.0)), True)
    made = Edits(strokes=(stroke, stroke._replace(frame=5, carried=False)))
    list(clicked.follow(made))
    assert world.found == []
    assert [bool(clicked.outline(made, t)[10, 12 + t]) for t in range(FRAMES)] == [True] * FRAMES
    assert not clicked.outline(made, 6)[10, 9]
    assert clicked.outline(made, 5)[10, 9]  # painted there


def test_motion_is_followed_once_for_a_clip(tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    video = np.repeat(rng.integers(40, 80, (1, 96, 128, 3), np.uint8), 8, axis=0)
    for t, frame in enumerate(video):
        cv2.circle(frame, (30 + 6 * t, 48), 12, (220, 180, 60), -1)
    media.write_video(tmp_path / "clip.mkv", video, Fraction(8), lossless=True)
    clip = media.open_clip(tmp_path / "clip.mkv")

    class Silent:
        progress = None

        def add_notes(self, *notes: str) -> None: ...

    def followed() -> list[np.ndarray]:
        masker = person.PersonMasker(None, False, Silent())  # type: ignore[arg-type]
        before = PackedMasks.empty(8, 96, 128)
        made = masker.clicked(clip, media.Frames(clip), lambda: np.zeros((8, 133, 3), np.float32), before)
        click = decided(Click(3, 48.0, 48.0, True))
        list(made.follow(click))
        return [made.outline(click, t) for t in range(8)]

    first = followed()
    for t, mask in enumerate(first):
        true = disc((96, 128), 30.5 + 6 * t, 48.5, 12)
        assert (mask & true).sum() / (mask | true).sum() > 0.8, t
    assert len(list((outputs / person.KEPT).glob("*.npz"))) == 1
    monkeypatch.setattr(person.carry, "follow", lambda *_: pytest.fail("was followed again"))
    np.testing.assert_array_equal(followed(), first)
