"""Results that are no images are said, and images are not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wanlab import media
from wanlab.results import oddities


def said_of(video: Iterable[np.ndarray]) -> list[str]:
    found = oddities.Oddities()
    for _ in found.watch(video):
        pass
    return list(found.describe())


def test_black_grey_and_noise_are_said_with_their_frames(sample: Path) -> None:
    dice = np.random.default_rng(0)
    image = next(iter(media.open_clip(sample / "half.mp4")))
    black = dice.integers(0, 5, image.shape, np.uint8)
    grey = np.full_like(image, (128, 127, 126))
    grey[::4] += 1
    noise = dice.integers(0, 255, image.shape, np.uint8)
    blotches = np.kron(dice.normal(128, 50, (64, 48, 1)).clip(0, 255), np.ones((8, 8, 3))).astype(np.uint8)
    said = said_of([image, black, black, grey, image, noise, blotches])
    assert [each.partition(":")[0] for each in said] == [
        "the result is black in frames 1 to 2",
        "the result is of one colour (about 128, 127, 126) in frame 3",
        "the result is noise in frames 5 to 6",
    ]


def test_real_pictures_are_none_of_it(sample: Path) -> None:
    for path in sorted(sample.glob("*.mp4")):
        assert said_of(list(media.open_clip(path, max_frames=3))) == [], path.name
