"""What a few frames tell of a video or an image: black bars, and frames woven of two moments (combing)."""

from __future__ import annotations

import numpy as np

BLACK = 32  # of 255: bars are darker, compression included
FLAT = 12  # levels between a bar's darkest and brightest pixel
MOTION = 8.0  # mean change of a block's pixels, of 255, from which it counts as moving
COMB = 1.5  # a combed block differs so many times more from its next line than from the one after it


class Look:
    """Looks at some of a video's frames, in order; a few rows and numbers are kept."""

    def __init__(self) -> None:
        self._before: tuple[int, np.ndarray] | None = None
        self._brightest: np.ndarray | None = None
        self._darkest: np.ndarray | None = None
        self._moving = self._combed = 0

    @staticmethod
    def wants(number: int) -> bool:
        """Return whether to look at this frame: the first ones, then pairs further and further apart, up to each 64th."""
        return number < 8 or number % 64 < 2 or number & (number - 1) == 0 or (number - 1) & (number - 2) == 0

    def take(self, number: int, grey: np.ndarray) -> None:
        """Look at frame `number`: [H, W], 0 to 255, uint8 luma."""
        if self._brightest is None or self._darkest is None or self._brightest.shape != grey.shape:
            self._brightest, self._darkest = grey.copy(), grey.copy()
        else:
            np.maximum(self._brightest, grey, out=self._brightest)
            np.minimum(self._darkest, grey, out=self._darkest)
        if self._before is not None and self._before[0] == number - 1 and self._before[1].shape == grey.shape:
            combed = is_combed(self._before[1], grey)
            self._moving += combed is not None
            self._combed += bool(combed)
        self._before = number, grey

    @property
    def combed(self) -> bool:
        """Whether frames that move are woven of two moments: video brought to video weaves two of five."""
        return self._combed >= 2 and self._combed >= 0.3 * self._moving

    def bars(self) -> tuple[int, int, int, int]:
        """Return how many rows and columns are black bars in all frames: top, bottom, left, right."""
        if self._brightest is None or self._darkest is None:
            return 0, 0, 0, 0
        return bars(self._brightest, self._darkest)


def bars(brightest: np.ndarray, darkest: np.ndarray) -> tuple[int, int, int, int]:
    """Return the rows and columns of black bars: top, bottom, left, right.

    Args:
        brightest, darkest: [H, W], 0 to 255, uint8 luma of each pixel over all frames; of one image both are the same.
    """
    height, width = brightest.shape
    found = []
    for axis, length in ((1, height), (0, width)):
        high, low = brightest.max(axis=axis).astype(int), darkest.min(axis=axis).astype(int)
        black = (high <= BLACK) & (high - low <= FLAT)
        if black.all():
            return 0, 0, 0, 0
        ends = int(np.argmin(black)), int(np.argmin(black[::-1]))
        edges = (
            high[ends[0] : ends[0] + 4].max(),
            high[::-1][ends[1] : ends[1] + 4].max(),
        )  # 4: compression blurs the edge
        # a bar ends sharply; a dark room does not
        sharp = [edge > 2 * BLACK and end >= max(4, 0.02 * length) for end, edge in zip(ends, edges, strict=True)]
        found += [end if is_bar else 0 for end, is_bar in zip(ends, sharp, strict=True)]
    return found[0], found[1], found[2], found[3]


def describe_bars(found: tuple[int, int, int, int]) -> str:
    """Return a phrase for bars, e.g. `black bars: 60 pixels at the top, 60 at the bottom`; empty where there are none."""
    sides = [f"{n} at the {side}" for n, side in zip(found, ("top", "bottom", "left", "right"), strict=True) if n]
    return "black bars (pixels): " + ", ".join(sides) if sides else ""


def is_combed(before: np.ndarray, grey: np.ndarray) -> bool | None:
    """Return whether what moves in a frame is woven of two moments, line by line; None where too little moves.

    Args:
        before, grey: [H, W], 0 to 255, uint8 luma of two frames in a row.
    """
    height, width = grey.shape[0] // 8 * 8 - 2, grey.shape[1] // 8 * 8
    if height < 14 or width < 16:
        return None
    now = grey[: height + 2, :width].astype(np.int16)
    moving = _blocks(np.abs(now - before[: height + 2, :width])[:height]) > MOTION
    if moving.sum() < 4:
        return None
    next_line = _blocks(np.abs(now[:height] - now[1 : height + 1]))[moving]
    second_line = _blocks(np.abs(now[:height] - now[2 : height + 2]))[moving]
    return bool(((next_line > COMB * second_line) & (next_line > 6)).mean() > 0.25)


def _blocks(values: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 8x8."""
    height, width = values.shape[0] // 8 * 8, values.shape[1] // 8 * 8
    return values[:height, :width].reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's correlation of two images of the same shape, [H, W] or [H, W, 3], -1 to 1; 0 where one is flat."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 1e-6 else 0.0
