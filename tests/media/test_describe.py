"""Frame numbers and rates as text."""

from __future__ import annotations

from fractions import Fraction

import pytest

from wanlab import media


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([12], "frame 12"),
        (range(20, 25), "frames 20 to 24"),
        ([3, 4, 5, 9], "frames 3-5, 9"),
        ([0, 2], "frames 0, 2"),
        ([0, 1, 3, 4], "frames 0-1, 3-4"),
    ],
)
def test_frames_are_named_as_one_as_a_stretch_or_as_several(frames: list[int], text: str) -> None:
    assert media.describe_frames(frames) == text


@pytest.mark.parametrize(
    ("fps", "text"), [(Fraction(24000, 1001), "23.976"), ("24000/1001", "23.976"), (Fraction(25), "25"), (12.5, "12.5"), ("30", "30"), (100, "100")]
)  # fmt: skip
def test_a_rate_has_three_decimals_at_most(fps: Fraction | str | float, text: str) -> None:
    assert media.describe_rate(fps) == text
