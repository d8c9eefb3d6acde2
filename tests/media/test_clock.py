"""Clocks of videos: true times are known here, time stamps stray from them, are equal, missing or absurd."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from wanlab.media.clock import Clock, frames_on_screen, read_clock

NAN = float("nan")


def shown(clock: Clock, rate: Fraction | None = None) -> list[int]:
    end = clock.shown[-1] + 1 / float(clock.fps)
    return frames_on_screen(clock, 0, rate or clock.fps, end).tolist()


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60)])
@pytest.mark.parametrize("declared", ["true", "average", "none"])
def test_a_nearly_even_clock_gives_each_frame_once(rate: Fraction, declared: str) -> None:
    rng = np.random.default_rng(int(rate))
    for _ in range(10):
        times = np.arange(50) / float(rate) + rng.uniform(-0.004, 0.004, 50)
        average = Fraction(49 / (times[-1] - times[0])).limit_denominator(10000)
        clock = read_clock(times, {"true": [rate], "average": [average], "none": [None]}[declared])
        assert clock.even
        assert abs(float(clock.fps / rate) - 1) < 0.01
        assert shown(clock) == list(range(50))
        if declared == "true":
            assert clock.fps == rate
        assert any("uneven by up to" in note for note in clock.notes)


@pytest.mark.parametrize("jitter", [0.0, 0.003])
def test_a_dropped_frame_is_held_and_costs_no_other(jitter: float) -> None:
    ticks = np.delete(np.arange(51), 21)
    times = ticks / 25 + np.random.default_rng(0).uniform(-jitter, jitter, 50)
    clock = read_clock(times, [Fraction(1250, 51)])
    assert (clock.fps, clock.even) == (25, False)
    assert shown(clock) == [*range(21), 20, *range(21, 50)]


def test_a_clock_that_truly_varies_keeps_its_ends_and_its_length() -> None:
    times = np.concatenate([[0.0], np.cumsum(np.random.default_rng(1).uniform(0.02, 0.08, 30))])
    clock = read_clock(times, [None])
    found = shown(clock)
    assert not clock.even
    assert (found[0], found[-1]) == (0, 30)
    assert abs(len(found) / float(clock.fps) - times[-1]) < 0.1
    ticks = np.arange(len(found)) / float(clock.fps)
    assert np.abs(times[found] - ticks).max() < 0.08 + 0.5 / float(clock.fps)


@pytest.mark.parametrize(
    ("stamps", "said"),
    [
        ([0, 0.04, 1e6, 0.12, 0.16], "out of order"),
        ([0, 0.04, 0.08, 0.12, 1e6], "leap by 1000000 s at frame 4"),
        ([1e6, 0.04, 0.08, 0.12, 0.16], "the first at frame 0"),
        ([0, 1e6, 2e6, 3e6, 4e6], "leap by 1000000 s at frame 1"),
        ([0, 0, 0, 0, 0], "spaced evenly, 25 a second"),
        ([0, 0.04, 0.04, 0.12, 0.16], "the first at frame 2"),
        ([0, NAN, 0.08, 0.12, 0.16], "missing"),
        ([0, 1e-7, 2e-7, 3e-7, 4e-7], "spaced evenly, 25 a second"),
    ],
)
def test_absurd_time_stamps_are_bounded_and_said(stamps: list[float], said: str) -> None:
    clock = read_clock(stamps, [Fraction(25)])
    assert shown(clock) == [0, 1, 2, 3, 4]
    assert clock.fps == 25
    assert any(said in note for note in clock.notes)


def test_two_equal_stamps_no_stamps_and_one_frame() -> None:
    assert shown(read_clock([0.0, 0.0], [Fraction(25)])) == [0, 1]
    assert read_clock([NAN] * 3, [Fraction(10)]) == Clock((0, 0.1, 0.2), (0, 0.1, 0.2), Fraction(10), 0, True, ())
    assert shown(read_clock([7.0], [None])) == [0]


def test_slides_and_a_screen_that_stands_are_no_damage() -> None:
    assert read_clock([0, 30, 60, 90], [Fraction(25)]).fps == Fraction(1, 30)
    assert read_clock([0, 0.04, 0.08, 50, 50.04], [Fraction(25)]).times[-1] == 50.04
