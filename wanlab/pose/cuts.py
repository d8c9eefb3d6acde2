"""Where new shots begin: a hard cut, a fade or a dissolve; neither motion, nor a flash, nor another light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

SIDE = 32  # cells of a frame, each way
RATIO = 4.0  # a cut changes a pixel so many times more than the most that it changed in the frames before
ABRUPT = 2.5  # and so many times more than the frame after it, else it is motion or a fade
NOISE = 0.5  # levels of 255 that a still image changes by
HISTORY = 12  # frames
LONGEST_FADE = 40  # frames: beyond, it is the camera that moves
CHANGED, SHARE = 8.0, 0.3  # levels from which a cell is another one, and how many must be
FLAT = 6.0  # levels of spread: a black frame between two shots is none of its own


def mark_shots(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each frame, and whether a new shot begins with it; one frame is looked ahead.

    A fade or dissolve gives one new shot, at its end.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB.
    """
    finder = _Finder()
    held: tuple[np.ndarray, np.ndarray] | None = None
    for frame in frames:
        small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        if held is not None:
            yield held[0], finder.begins(held[1], small)
        held = frame, small
    if held is not None:
        yield held[0], finder.begins(held[1], None)


class _Finder:
    """Carries what the frames so far were like; frames are [SIDE, SIDE, 3], 0 to 255, float32."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._shot: np.ndarray | None = None  # the last calm frame that shows something
        self._changes: list[float] = []
        self._fading = 0  # frames since the change became large

    def begins(self, now: np.ndarray, after: np.ndarray | None) -> bool:
        """Return whether a shot begins with the frame `now`; `after` follows it."""
        last, self._last = self._last, now
        if last is None or self._shot is None:
            self._calm(now)
            return False
        change = float(np.abs(now - last).mean())
        ahead = 0.0 if after is None else float(np.abs(after - now).mean())
        usual = max(NOISE, max(self._changes[-HISTORY:], default=ahead))
        large = change > RATIO * usual
        if large and change > ABRUPT * ahead and not self._fading:
            if after is not None and float(np.abs(after - last).mean()) < change / 2:  # a flash: it goes back
                self._last = last
                return False
            return self._judge(now, change, usual)
        if large and self._fading < LONGEST_FADE:
            self._fading += 1
            return False
        if self._fading and not large:
            return self._judge(now, change, usual)
        self._fading = 0
        self._changes.append(change)
        self._calm(now)
        return False

    def _judge(self, now: np.ndarray, change: float, usual: float) -> bool:
        """Return whether a calm frame after a large change is another shot, and begin again if so."""
        self._fading = 0
        if float(now.std(axis=(0, 1)).max()) < FLAT:
            return False
        assert self._shot is not None
        other = _differs(self._shot, now, usual)
        if other:
            self._changes = []
        else:
            self._changes.append(change)
        self._calm(now)
        return other

    def _calm(self, now: np.ndarray) -> None:
        if float(now.std(axis=(0, 1)).max()) >= FLAT:
            self._shot = now


def _differs(before: np.ndarray, now: np.ndarray, usual: float) -> bool:
    """Return whether one frame cannot be the other in another light: brightness and contrast are fitted first."""
    burnt = (np.minimum(before, now) <= 4) | (np.maximum(before, now) >= 240)  # black, or cut off at white
    share = np.asarray(burnt.sum(axis=-1))
    clear = share == 0 if float((share == 0).mean()) >= 0.25 else share >= 0
    left = np.empty((int(clear.sum()), 3), np.float32)
    for channel in range(3):
        x, y = before[..., channel][clear], now[..., channel][clear]
        x, y = x - x.mean(), y - y.mean()
        gain = float(np.dot(x, y) / max(float(np.dot(x, x)), 1e-6))
        left[:, channel] = y - max(gain, 0.0) * x
    cells = np.abs(left).mean(axis=-1)
    return bool(cells.mean() > RATIO / 2 * usual and (cells > CHANGED).mean() > SHARE)
