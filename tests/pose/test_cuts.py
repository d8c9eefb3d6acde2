"""New shots, on shots made here and on the samples: cuts of like colours, fades, flashes, motion."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wanlab import config, media
from wanlab.pose.cuts import mark_shots


def cuts(frames: Iterable[np.ndarray]) -> list[int]:
    return [t for t, (_, begins) in enumerate(mark_shots(frames)) if begins]


def shot(seed: int, count: int, speed: int = 3) -> list[np.ndarray]:
    """Return frames of a random scene around the same grey in which a patch moves."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.uniform(85, 135, (9, 7, 3)), (96, 128), interpolation=cv2.INTER_LINEAR)
    frames = []
    for n in range(count):
        frame = scene + rng.normal(0, 1, scene.shape)
        frame[40:80, 10 + speed * n : 30 + speed * n] = 200
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def small(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA).astype(float)


def test_a_hard_cut_between_like_colours_is_found() -> None:
    one, other = shot(1, 15), shot(2, 15)
    assert 10 < np.abs(small(one[-1]) - small(other[0])).mean() < 28  # the change that used to be needed
    assert cuts([*one, *other]) == [15]
    assert cuts([*one, *other, *shot(3, 2)]) == [15, 30]


def blended(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return np.round(one * (1 - share) + other * share).astype(np.uint8)


@pytest.mark.parametrize("length", [3, 8, 16])
def test_a_dissolve_and_a_fade_through_black_are_one_new_shot_at_most(length: int) -> None:
    one, other = shot(1, 30, 0), shot(2, 30, 0)
    between = [blended(one[10 + n], other[n], (n + 1) / (length + 1)) for n in range(length)]
    found = cuts([*one[:10], *between, *other[length:]])
    assert len(found) <= 1
    if length == 3:
        assert 10 < found[0] <= 14
    black = np.zeros_like(one[0])
    down = [blended(one[10 + n], black, (n + 1) / length) for n in range(length)]
    up = [blended(black, other[n], (n + 1) / length) for n in range(length)]
    assert len(cuts([*one[:10], *down, *up, *other[length:]])) <= 1
    assert cuts([*up, *other[length:]]) == []  # a clip that begins with it


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_and_another_light_are_no_cut(length: int) -> None:
    frames = shot(1, 20)
    bright = [np.clip(frame * 1.3 + 30.0, 0, 255).astype(np.uint8) for frame in frames]
    assert cuts([*frames[:8], *bright[8 : 8 + length], *frames[8 + length :]]) == []
    assert cuts([*frames[:8], *bright[8:]]) == []


@pytest.mark.parametrize("name", ["half", "walk"])
def test_motion_is_no_cut(sample: Path, name: str) -> None:
    frames = media.open_clip(sample / f"{name}.mp4").read()
    assert cuts(frames) == []
    assert cuts(frames[::4]) == []  # four times as fast
    assert cuts(frames[:30].repeat(3, axis=0)) == []  # frames that stand, as after a change of rate


@pytest.fixture(scope="module")
def shots() -> dict[str, list[np.ndarray]]:
    """Return frames of bundled clips at a quarter of their size."""
    folder = config.ASSETS / "sample"
    opened = {name: media.open_clip(folder / f"{name}.mp4", max_frames=60) for name in ("half", "dark", "two_people")}
    return {
        name: [cv2.resize(frame, (96, 128), interpolation=cv2.INTER_AREA) for frame in clip]
        for name, clip in opened.items()
    }


@pytest.mark.parametrize("length", [8, 16, 24])
@pytest.mark.parametrize("names", [("dark", "half"), ("two_people", "dark")])
def test_a_slow_dissolve_is_one_new_shot(
    shots: dict[str, list[np.ndarray]], names: tuple[str, str], length: int
) -> None:
    one, other = (shots[name] for name in names)
    between = [blended(one[20 + n], other[n], (n + 1) / (length + 1)) for n in range(length)]
    found = cuts([*one[:20], *between, *other[length : length + 20]])
    assert len(found) == 1
    assert 20 + length // 2 <= found[0] <= 20 + length + 2


def test_a_hard_cut_between_moving_shots_is_found(shots: dict[str, list[np.ndarray]]) -> None:
    one, other = shots["half"][::4], shots["dark"][::4]
    moved = [np.roll(frame, 4 * n, axis=1) for n, frame in enumerate(other)]
    assert cuts([*one, *moved]) == [len(one)]
    assert cuts([*moved, *one]) == [len(moved)]


def pan(image: np.ndarray, count: int, step: int) -> list[np.ndarray]:
    return [image[:64, step * n : 64 + step * n] for n in range(count)]


def zoom(image: np.ndarray, count: int, most: float) -> list[np.ndarray]:
    height, width = image.shape[:2]
    found = []
    for n in range(count):
        high, wide = (round(side / most ** (n / (count - 1))) for side in (height, width))
        y, x = (height - high) // 2, (width - wide) // 2
        found.append(cv2.resize(image[y : y + high, x : x + wide], (64, 64), interpolation=cv2.INTER_AREA))
    return found


def test_a_camera_that_moves_is_no_cut(shots: dict[str, list[np.ndarray]]) -> None:
    for frames in shots.values():
        wide = np.concatenate([frames[0], frames[-1][:, ::-1], frames[30]], axis=1)
        for step in (3, 15):
            assert cuts(pan(wide, 220 // step, step)) == []
        for count in (8, 30):
            assert cuts(zoom(frames[0], count, 3)) == []
            assert cuts(zoom(frames[0], count, 3)[::-1]) == []


@pytest.mark.parametrize("length", [4, 20])
def test_another_light_or_focus_is_no_cut(shots: dict[str, list[np.ndarray]], length: int) -> None:
    for frames in shots.values():
        scene = frames[0].astype(np.float32)
        ends = {
            "brighter": scene * 2.2, "darker": scene * 0.2, "gamma": 255 * (scene / 255) ** 2.5,
            "warm": scene * (1.2, 0.8, 0.3), "out of focus": cv2.GaussianBlur(scene, (0, 0), 5),
        }  # fmt: skip
        for name, end in ends.items():
            there = [np.clip(scene + (end - scene) * n / length, 0, 255).astype(np.uint8) for n in range(length + 1)]
            assert cuts([*[there[0]] * 8, *there, *[there[-1]] * 8]) == [], name
