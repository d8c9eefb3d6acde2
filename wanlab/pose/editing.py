"""What an image model is asked for before retargeting, so that driver and reference show their bones in one pose (golden 10)."""

from __future__ import annotations

from typing import Literal

import numpy as np

Shown = Literal["legs", "arms", "none"]

ARMS, LEGS = (3, 4, 6, 7), (9, 10, 12, 13)  # of the official body: elbows and wrists, knees and ankles
SURE = 0.75  # score of a limb's point that counts
TAIL = {
    "legs": " The person is standing. Feet and Hands are visible in the image.",
    "arms": " Hands are visible in the image.",
}
ACROSS = "Change the person to a standard T-pose (facing forward with arms extended)."
UPRIGHT = (
    "Change the person to a standard pose with the face oriented forward and arms extending straight down by the sides."
)
NEITHER = "Change the person to face forward."


def shown(body: np.ndarray) -> Shown:
    """Return which limbs a clip shows: legs, else arms, else none; legs are asked for wherever they are seen once.

    Args:
        body: [T, 20, 3], float32; normalised on the clip's canvas, as in `pose.Meta`.

    Source: `get_editing_prompts` of Wan2.2's animate preprocessing: a point left of or above the image counts as seen, and
    one with a 0 in it counts as long as another of its group has none.
    """
    names: tuple[tuple[Shown, tuple[int, ...]], ...] = (("legs", LEGS), ("arms", ARMS))
    for name, rows in names:
        points = body[:, list(rows)]
        there = (points != 0).all(axis=-1).any(axis=1)
        seen = ((points[..., :2] <= 1).all(axis=-1) & (points[..., 2] >= SURE)).any(axis=1)
        if (there & seen).any():
            return name
    return "none"


def prompt(limbs: Shown, height: int, width: int) -> str:
    """Return the prompt for an image of this size: there is room for a T-pose where it is wider than high."""
    return NEITHER if limbs == "none" else (ACROSS if width > height else UPRIGHT) + TAIL[limbs]
