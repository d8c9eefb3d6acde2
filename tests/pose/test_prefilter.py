"""Filtered frames: lighter where they are dark, less noisy, and there again for a second pass."""

from __future__ import annotations

import numpy as np

from wanlab.pose.prefilter import Filtered

FRAME = np.random.default_rng(0).normal(64, 12, (48, 64, 3)).clip(0, 255).astype(np.uint8)


def test_dark_frames_become_lighter_and_black_and_white_stay() -> None:
    assert next(iter(Filtered([FRAME], "brighten"))).mean() > 120
    for level in (0, 255):
        flat = np.full((8, 8, 3), level, np.uint8)
        np.testing.assert_array_equal(next(iter(Filtered([flat], "brighten"))), flat)


def test_noise_is_taken_out_and_the_light_stays() -> None:
    once, again = ([*frames] for frames in [Filtered([FRAME, FRAME], "blur")] * 2)
    np.testing.assert_array_equal(once, again)
    assert len(once) == 2
    assert abs(once[0].mean() - FRAME.mean()) < 1
    assert once[0].std() < FRAME.std() / 2
