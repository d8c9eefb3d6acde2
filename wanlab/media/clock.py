"""When the frames of a video are shown: time stamps as files hold them, brought to an even clock where they are near one."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

JITTER_S = 0.005  # of a nearly even clock: players and phones are off by up to 4 ms, containers count in milliseconds
MAX_STRAY = 0.35  # of a tick: a gap further from a whole number of ticks is not one of an even clock
MAX_HOLD_S = 60.0  # of one frame, where that is also 100 times the usual: longer ones are damaged time stamps
MAX_RATE = 1000  # frames per second
NOMINAL = tuple(Fraction(n * 1000, d) for d in (1000, 1001) for n in (24, 30, 48, 60, 120, 240)) + tuple(
    Fraction(n) for n in (5, 6, 8, 10, 12, 15, 16, 20, 25, 50, 90, 100)
)


class Clock(NamedTuple):
    """The times of a video's frames.

    Attributes:
        times: [T], seconds after the first frame, rising, as the file has them where they make sense.
        shown: [T], seconds: `times` on an even clock of `fps`, where they are near one.
        fps: frames per second: of that clock, else the average.
        start_s: second of the first frame in the file.
        even: whether each frame has the tick of its number.
        notes: what a reader must know, a sentence each, without the file's name.
    """

    times: tuple[float, ...]
    shown: tuple[float, ...]
    fps: Fraction
    start_s: float
    even: bool
    notes: tuple[str, ...]


def read_clock(stamps: Sequence[float], declared: Sequence[Fraction | None]) -> Clock:
    """Make a clock of time stamps.

    Args:
        stamps: seconds, one a frame in the order of decoding; nan where the file has none.
        declared: frames per second by the file's header, the best guess first.
    """
    usable = [Fraction(rate) for rate in declared if rate and 0 < rate <= MAX_RATE]
    times, notes = _mended(np.array(stamps, dtype=np.float64), 1 / float(usable[0] if usable else 25))
    start, times = float(times[0]), times - times[0]
    shown, even, fps = times, True, usable[0] if usable else Fraction(25)
    if len(times) > 1:
        ticks, fps = _on_a_grid(times, usable)
        even = ticks is not None and bool(ticks[-1] == len(times) - 1)
        if ticks is not None:
            shown = ticks / float(fps)
            astray = float(np.ptp(times - shown)) / 2
            if even and astray > 0.002:
                notes += (
                    f"has a clock that is uneven by up to {1000 * astray:.0f} ms: each frame was taken once, in its order",
                )
    return Clock(tuple(times.tolist()), tuple(shown.tolist()), fps, start, even, notes)


def frames_on_screen(clock: Clock, first: int, rate: Fraction, end_s: float) -> np.ndarray:
    """Return which frame each tick of an even clock shows: the nearest in time, and one that stands as long as it stands.

    Args:
        clock: of the video.
        first: frame of the first tick.
        rate: ticks per second.
        end_s: second, after the first frame of the video, at which the last frame ends.

    Returns:
        [T], int, frame indices from `first` on; at the video's own rate the last one is always there.
    """
    shown = np.array(clock.shown[first:]) - clock.shown[first]
    length = max(1, int((end_s - clock.shown[first]) * float(rate) + 1e-6))
    last = round(float(shown[-1] * float(rate)))
    if rate == clock.fps:
        length = max(length, last + 1)
    ticks = np.arange(length) / float(rate)
    before = np.searchsorted(shown, ticks + 1e-6, side="right") - 1
    after = np.minimum(before + 1, len(shown) - 1)
    ahead = shown[after] - ticks
    nearer = (ahead < ticks - shown[before]) & (ahead < 0.5 / float(clock.fps))
    indices = np.where(nearer, after, before)
    if length == last + 1:
        indices[-1] = len(shown) - 1
    return indices + first


def _mended(stamps: np.ndarray, usual: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return rising time stamps: absent, equal, backward and absurd ones are replaced by what lies between the others."""
    good = _rising(stamps)
    number = np.arange(len(stamps))
    if len(good) < max(2, 0.6 * len(stamps)):
        note = () if np.isnan(stamps).all() or len(stamps) == 1 else (
            f"has {len(stamps) - len(good)} of {len(stamps)} time stamps missing, equal or out of order: "
            f"its frames were spaced evenly, {1 / usual:.3g} a second",
        )  # fmt: skip
        first = stamps[0] if len(stamps) == 1 and not np.isnan(stamps[0]) else 0.0
        return first + number * usual, note
    gaps = np.diff(stamps[good]) / np.diff(good)
    if float(np.median(gaps)) < 1 / MAX_RATE:
        return number * usual, (
            f"has time stamps of {1 / float(np.median(gaps)):.3g} frames a second: its frames were spaced evenly, {1 / usual:.3g} a second",
        )
    typical = float(np.median(gaps)) if np.median(gaps) <= MAX_HOLD_S else usual
    leaps = (gaps > MAX_HOLD_S) & (gaps > 100 * typical)
    notes = []
    if leaps.any():
        at = good[1:][leaps]
        notes.append(
            f"has time stamps that leap by {float(gaps[leaps].max()):.0f} s at frame {at[0]}: the frames were put one after the other"
        )
        gaps = np.where(leaps, typical, gaps)
    if len(good) < len(stamps):
        wrong = np.setdiff1d(number, good)
        notes.append(
            f"has {len(wrong)} time stamps that are missing, equal or out of order, the first at frame {wrong[0]}: "
            "they were taken as lying between those of their neighbours"
        )
    known = stamps[good[0]] + np.concatenate([[0.0], np.cumsum(gaps * np.diff(good))])
    times = np.interp(number, good, known)
    times += np.minimum(number - good[0], 0) * typical + np.maximum(number - good[-1], 0) * typical
    return times, tuple(notes)


def _rising(stamps: np.ndarray) -> np.ndarray:
    """Return the indices of the longest strictly rising part of `stamps`, nan left out."""
    if not np.isnan(stamps).any() and (len(stamps) < 2 or (np.diff(stamps) > 0).all()):
        # one stamp far ahead of all, the last, is left to the leaps
        return np.arange(len(stamps))
    tails: list[float] = []
    ends: list[int] = []
    before = np.full(len(stamps), -1)
    for i, value in enumerate(stamps.tolist()):
        if value != value:
            continue
        place = bisect.bisect_left(tails, value)
        if place == len(tails):
            tails.append(value)
            ends.append(i)
        elif value < tails[place]:  # of equal ones the first keeps its time
            tails[place], ends[place] = value, i
        before[i] = ends[place - 1] if place else -1
    found, i = [], ends[-1] if ends else -1
    while i >= 0:
        found.append(i)
        i = int(before[i])
    return np.array(found[::-1], dtype=int)


def _on_a_grid(times: np.ndarray, declared: Sequence[Fraction]) -> tuple[np.ndarray | None, Fraction]:
    """Return the tick of each frame on an even clock and its rate; None where the rate truly varies."""
    average = (len(times) - 1) / float(times[-1])
    numbers = np.arange(len(times))
    for rate in (*declared, _nominal(numbers, times), _measured(numbers, times)):
        if np.ptp(times - numbers / float(rate)) <= _room(rate):
            return numbers, rate
    typical = float(np.median(np.diff(times)))
    for tick in (typical, float(np.diff(times).min())):
        gaps = np.diff(times) / tick
        whole = np.round(gaps)
        if (whole < 1).any() or (np.abs(gaps - whole) > np.maximum(MAX_STRAY, 0.02 * whole)).any():
            continue
        ticks = np.concatenate([[0], np.cumsum(whole)]).astype(int)
        if ticks[-1] / (len(times) - 1) > 2:  # frames that mostly stand: their average rate costs less
            continue
        for rate in (*declared, _nominal(ticks, times), _measured(ticks, times)):
            if np.ptp(times - ticks / float(rate)) <= _room(rate):
                return ticks, rate
    return None, Fraction(average).limit_denominator(1001) or Fraction(1, 1001)


def _room(rate: Fraction) -> float:
    """Return how far apart, in seconds, the strayings of an even clock's frames may lie: each keeps its own tick."""
    return min(max(2 * JITTER_S, 0.2 / float(rate)), 0.9 / float(rate))


def _nominal(ticks: np.ndarray, times: np.ndarray) -> Fraction:
    """Return the customary rate nearest to that of frames on `ticks`."""
    rate = float(ticks[-1]) / float(times[-1])
    return min(NOMINAL, key=lambda nominal: abs(float(nominal) - rate))


def _measured(ticks: np.ndarray, times: np.ndarray) -> Fraction:
    slope = float(np.polyfit(times, ticks, 1)[0]) if len(ticks) > 2 else float(ticks[-1] / times[-1])
    return Fraction(slope).limit_denominator(1001) or Fraction(1, 1001)
