"""Frame numbers and frame rates as text, for notes and messages."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def describe_frames(frames: Iterable[int]) -> str:
    """Write frame numbers: `frame 12`, a stretch as `frames 20 to 24`, several as `frames 3-7, 12`.

    Args:
        frames: in rising order.
    """
    stretches: list[list[int]] = []
    for frame in frames:
        if stretches and frame == stretches[-1][1] + 1:
            stretches[-1][1] = frame
        else:
            stretches.append([frame, frame])
    if len(stretches) != 1:
        return "frames " + ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in stretches)
    first, last = stretches[0]
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def describe_rate(fps: Fraction | str | float) -> str:
    """Write a rate in frames per second with at most three decimals: `23.976` for 24000/1001, `25` for 25."""
    return f"{float(Fraction(fps)):.3f}".rstrip("0").rstrip(".")
