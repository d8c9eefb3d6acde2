"""What was clicked or boxed is found and followed without a skeleton and without SAM2."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from wanlab.mask import carry, grabcut, person
from wanlab.mask.prompts import Box, Click, Prompts

FRAMES, HEIGHT, WIDTH = 24, 120, 160
NOBODY = np.zeros((FRAMES, 133, 3), np.float32)


def _places() -> np.ndarray:
    return np.stack([40 + 3 * np.arange(FRAMES), 60 + 12 * np.sin(np.arange(FRAMES) / 4)], axis=1).round().astype(int)


@pytest.fixture(scope="module")
def toy() -> tuple[np.ndarray, np.ndarray]:
    """Return a ball that rolls over a grey ground with a pattern, [T, H, W, 3], and its true masks."""
    ground = np.random.default_rng(0).integers(70, 130, (HEIGHT // 8, WIDTH // 8)).astype(np.uint8)
    ground = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    frames, masks = [], []
    for x, y in _places().tolist():
        frame = np.repeat(ground[..., None], 3, axis=-1)
        mask = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), 18, 1, -1)
        frame[mask > 0] = (200, 80, 40)
        frames.append(cv2.circle(frame, (x + 6, y - 6), 4, (220, 120, 90), -1))
        masks.append(mask > 0)
    return np.stack(frames), np.stack(masks)


def _iou(found: Iterable[np.ndarray], true: np.ndarray) -> list[float]:
    return [float((a & b).sum() / (a | b).sum()) for a, b in zip(found, true, strict=True)]


@pytest.mark.parametrize("t", [0, 11, 23])
def test_one_click_is_followed_through_the_clip_both_ways(toy: tuple[np.ndarray, np.ndarray], t: int) -> None:
    frames, true = toy
    x, y = _places()[t]
    found = list(grabcut.grabcut(frames, NOBODY, Prompts((Click(t, float(x - 6), float(y + 6), True),))))
    assert min(_iou(found, true)) > 0.8


def test_a_box_is_enough(toy: tuple[np.ndarray, np.ndarray]) -> None:
    frames, true = toy
    x, y = map(float, _places()[5])
    found = list(grabcut.grabcut(frames, NOBODY, Prompts((), (Box(5, x - 22, y - 22, x + 22, y + 22),))))
    assert min(_iou(found, true)) > 0.8


def test_a_box_around_a_plain_thing_takes_it() -> None:
    frame = np.full((200, 300, 3), 90, np.uint8)
    cv2.circle(frame, (150, 100), 50, (40, 200, 60), -1)
    found = carry.within(frame, Box(0, 95, 45, 205, 155))
    assert _iou([found], (frame[None] == (40, 200, 60)).all(axis=-1))[0] > 0.95
    assert carry.within(np.full((40, 40, 3), 9, np.uint8), Box(0, 10, 10, 20, 20)).sum() == 100  # nothing stands out


def test_at_a_cut_it_is_lost(toy: tuple[np.ndarray, np.ndarray]) -> None:
    frames = toy[0].copy()
    frames[12:] = (30, 60, 160)
    x, y = map(float, _places()[0])
    found = np.stack(list(carry.carry(frames, {0: toy[1][0]})))
    assert found[:12].any(axis=(1, 2)).all()
    assert not found[12:].any()
    prompts = Prompts((Click(0, x, y, True),))
    assert "nobody was found in frame 0" in person._carried(found, prompts)
    found[6:] = False
    with pytest.raises(
        ValueError, match=r"got none in 18 of 24 \(frames 6 to 23\): .* click or draw a box on more frames"
    ):
        person._carried(found, prompts)


def test_where_somebody_was_clicked_nothing_is_carried() -> None:
    found = NOBODY.copy()
    found[3, 5] = (10, 10, 0.9)
    assert carry.is_needed(found, Prompts((Click(2, 5, 5, True),)))
    assert not carry.is_needed(found, Prompts((Click(2, 5, 5, True), Click(3, 5, 5, True))))
    assert not carry.is_needed(found, Prompts(()))
