"""Colour hold: an injected drift is taken back, in replace inside the mask alone."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.model import colours


@pytest.fixture
def frames() -> np.ndarray:
    """Return three frames of many colours, [3, 32, 24, 3], 0.2 to 0.8, float32."""
    return np.random.default_rng(3).uniform(0.2, 0.8, (3, 32, 24, 3)).astype(np.float32)


def test_a_drift_is_taken_back(frames: np.ndarray) -> None:
    drifted = frames * np.float32([0.95, 0.9, 0.9]) + np.float32([0.05, 0, 0.02])
    first, now = colours.measure(frames), colours.measure(drifted)
    assert first is not None
    assert now is not None
    assert np.abs(first.mean - now.mean).max() > 3
    back = colours.measure(colours.hold(drifted, first, now))
    assert back is not None
    np.testing.assert_allclose(back.mean, first.mean, atol=0.1)
    np.testing.assert_allclose(back.deviation, first.deviation, atol=0.1)
    assert np.abs(colours.hold(drifted, first, now) - frames).mean() < np.abs(drifted - frames).mean() / 2


def test_equal_colours_change_nothing(frames: np.ndarray) -> None:
    first = colours.measure(frames)
    assert first is not None
    np.testing.assert_allclose(colours.hold(frames, first, first), frames, atol=2e-3)


def test_another_content_is_moved_no_further_than_a_drift_goes(frames: np.ndarray) -> None:
    first, now = colours.measure(frames), colours.measure(frames * 0.2)
    assert first is not None
    assert now is not None
    moved = colours.measure(colours.hold(frames * np.float32(0.2), first, now))
    assert moved is not None
    assert moved.mean[0] - now.mean[0] == pytest.approx(colours.MOST_SHIFT, abs=0.5)


def test_outside_the_region_every_bit_stays(frames: np.ndarray) -> None:
    region = np.zeros(frames.shape[:3], bool)
    region[:, 8:20, 4:16] = True
    drifted = np.where(region[..., None], frames * np.float32(0.9), frames)
    first, now = colours.measure(frames, region), colours.measure(drifted, region)
    assert first is not None
    assert now is not None
    held = colours.hold(drifted, first, now, region)
    np.testing.assert_array_equal(held[~region], frames[~region])
    assert np.abs(held[region] - frames[region]).mean() < 0.02
    assert colours.measure(frames, region & False) is None
    whole = (frames * 255).astype(np.uint8)
    np.testing.assert_allclose(colours.measure(whole).mean, colours.measure(frames).mean, atol=0.5)  # type: ignore[union-attr]
