"""Where new shots begin: a hard cut, a fade or a dissolve; neither motion, nor a flash, nor another light.

Measured on thumbnails of the bundled clips and of others like them: of 380 hard cuts between moving shots 365 are found, of
224 dissolves over 8 to 24 frames 161 (the others are between shots that look alike), of 132 between stills 116; of 740 clips
with motion, pans, zooms, another focus and changes of light 7 get a cut, all of them where light moves over the scene.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from wanlab.media.look import correlation

SIDE = 32  # cells of a frame, each way
RATIO = 4.0  # a cut changes a pixel so many times more than the most that it changed in the frames before
ABRUPT = 2.5  # and so many times more than the frame after it, else it is motion or a fade
NOISE = 0.5  # levels of 255 that a still image changes by
HISTORY = 12  # frames
LONGEST_FADE = 40  # frames: beyond, it is the camera that moves
CHANGED, SHARE = 8.0, 0.3  # levels from which a cell is another one, and how many must be
FLAT = 6.0  # levels of spread: a black frame between two shots is none of its own
BLENDS = (6, 8, 12, 16, 24, 32)  # frames between two that a dissolve blends
UNLIKE, SIMILAR = 0.5, 0.7  # correlations up to which two frames are of two shots, blended or side by side
OTHER_DETAILS = 0.2  # the same of their details
SAME_DETAILS = 0.5  # beyond, it is the same place in another light, or out of focus
LEFT = 0.35  # of the way between two frames, how far from it a blend of them may lie: both shots move meanwhile


def mark_shots(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each frame, and whether a new shot begins with it; one frame is looked ahead.

    A fade or dissolve gives one new shot, at its end.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB.
    """
    finder, blends = _Finder(), _Blends()
    held: tuple[np.ndarray, np.ndarray] | None = None
    for frame in itertools.chain(frames, [None]):
        small = None
        if frame is not None:
            small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        if held is not None:
            begins = finder.begins(held[1], small)
            if begins:
                blends.forget()
            elif blends.ends(held[1]):
                begins = True
                finder.begin_with(held[1])
            yield held[0], begins
        if frame is not None and small is not None:
            held = frame, small


class _Finder:
    """Carries what the frames so far were like; frames are [SIDE, SIDE, 3], 0 to 255, float32."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._shot: np.ndarray | None = None  # the last calm frame that shows something
        self._changes: list[float] = []
        self._fading = 0  # frames since the change became large
        self._alike: tuple[float, float] = 1.0, 1.0  # how far the frame before has the details of its neighbours

    def begin_with(self, now: np.ndarray) -> None:
        """Take a frame as the first of a shot."""
        self._changes, self._fading, self._shot = [], 0, now

    def begins(self, now: np.ndarray, after: np.ndarray | None) -> bool:
        """Return whether a shot begins with the frame `now`; `after` follows it."""
        last, self._last = self._last, now
        before, here = self._alike
        ahead_alike = 1.0 if after is None else _correlation(_detail(now), _detail(after))
        self._alike = here, ahead_alike
        if last is None or self._shot is None:
            self._calm(now)
            return False
        if here <= OTHER_DETAILS and min(before, ahead_alike) >= SAME_DETAILS and _is_other(last, now, SIMILAR):
            self.begin_with(now)
            return True
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
        other = _differs(self._shot, now, usual) and _correlation(_detail(self._shot), _detail(now)) <= SAME_DETAILS
        if other:
            self._changes = []
        else:
            self._changes.append(change)
        self._calm(now)
        return other

    def _calm(self, now: np.ndarray) -> None:
        if float(now.std(axis=(0, 1)).max()) >= FLAT:
            self._shot = now


class _Blends:
    """Finds dissolves that are too slow for a large change: frames that are blends of two unlike ones.

    What moves between two frames (people, the camera, a zoom) is in neither place of theirs, so no blend; in another light
    the details stay.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._frames: collections.deque[np.ndarray] = collections.deque(maxlen=BLENDS[-1] + 1)
        self._details: collections.deque[np.ndarray] = collections.deque(maxlen=BLENDS[-1] + 1)

    def ends(self, now: np.ndarray) -> bool:
        """Return whether a dissolve ends with the frame `now`; a fifth of it may follow. The next one is looked for from there."""
        self._frames.append(now)
        self._details.append(_detail(now))
        frames = list(self._frames)
        for length in BLENDS:
            if len(frames) > length and self._is_other(length) and _is_blend(np.stack(frames[-length - 1 :])):
                self.forget()
                return True
        return False

    def _is_other(self, length: int) -> bool:
        """Return whether the last frame is unlike the one `length` before it, in colours, brightness and details."""
        before, now = self._frames[-length - 1], self._frames[-1]
        return (
            _correlation(self._details[-length - 1], self._details[-1]) <= OTHER_DETAILS
            and _is_other(before, now, UNLIKE)
            and _differs(before, now, NOISE)
        )


def _is_other(before: np.ndarray, now: np.ndarray, most: float) -> bool:
    """Return whether two frames that both show something are alike by `most` at most, in colours and in brightness."""
    if min(float(each.std(axis=(0, 1)).max()) for each in (before, now)) < FLAT:
        return False
    if float(np.abs(now - before).mean()) < CHANGED:
        return False
    pairs = ((before, now), (before.mean(axis=-1), now.mean(axis=-1)))
    return all(_correlation(*pair) <= most for pair in pairs)


def _is_blend(frames: np.ndarray) -> bool:
    """Return whether every frame, [n, SIDE, SIDE, 3], is a blend of the first and the last one, and most change on the way."""
    way = frames[-1] - frames[0]
    length = float((way * way).sum())
    inner = frames[1:-1] - frames[0]
    shares = (inner * way).sum(axis=(1, 2, 3)) / length
    left = np.sqrt(((inner - shares[:, None, None, None] * way) ** 2).sum(axis=(1, 2, 3)) / length)
    steps = np.diff([0.0, *shares, 1.0])
    return bool(left.max() <= LEFT and steps.max() <= 0.5 and ((shares > 0.15) & (shares < 0.85)).sum() >= 3)


def _detail(frame: np.ndarray) -> np.ndarray:
    """Return what is left of a frame without its brightness here and there: [SIDE, SIDE], about 1 in size everywhere."""
    grey = frame.mean(axis=-1)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 3)
    return fine / (np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 3)) + 1.5)  # 1.5: levels, of noise


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two images are alike, each channel about its own mean: -1 to 1."""
    return correlation(*(each - each.mean(axis=(0, 1)) for each in (one, other)))


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
