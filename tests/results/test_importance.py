"""Which setting mattered most: known by construction, alone, with another, with noise; not below four points."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from wanlab.results import importance


def grid(**settings: list) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.product(*settings.values())), columns=list(settings))


def test_the_setting_that_decides_has_all_of_the_variance() -> None:
    numbers = grid(steps=[10, 20, 30], shift=[3.0, 5.0])
    numbers["psnr"] = numbers["steps"] * 0.1 + 20
    first, second = importance.effects(numbers, ["steps", "shift"], "psnr")
    assert (first.setting, first.share, first.low, first.high) == ("steps", 1.0, "10", "30")
    assert first.means == pytest.approx((21, 23))
    assert (second.setting, second.share) == ("shift", 0.0)


def test_shares_of_two_independent_settings_are_those_of_their_variances() -> None:
    numbers = grid(a=list(range(10)), b=list(range(10)))
    numbers["psnr"] = 2.0 * numbers["a"] + numbers["b"]
    shares = {each.setting: each.share for each in importance.effects(numbers, ["a", "b"], "psnr")}
    assert shares["a"] == pytest.approx(0.8, abs=0.03)  # variances 4 : 1
    assert shares["b"] == pytest.approx(0.2, abs=0.1)


def test_what_chance_gives_is_no_share() -> None:
    numbers = grid(a=[1, 2], b=[1, 2])
    numbers["psnr"] = [0.0, 1.0, 1.0, 0.0]  # only both together decide
    assert [each.share for each in importance.effects(numbers, ["a", "b"], "psnr")] == [0.0, 0.0]


def test_values_that_do_not_repeat_are_a_line_and_words_are_nothing() -> None:
    numbers = pd.DataFrame({"cfg": [1.0, 2.0, 3.0, 4.0], "prompt": list("abcd"), "psnr": [1.0, 2.0, 3.0, 4.0]})
    (effect,) = importance.effects(numbers, ["cfg", "prompt"], "psnr")
    assert (effect.setting, effect.share) == ("cfg", pytest.approx(1.0))


def test_below_four_known_points_nothing_is_said() -> None:
    numbers = pd.DataFrame({"a": [1, 1, 2, 2], "psnr": [1.0, 1.0, 2.0, np.nan]})
    assert importance.effects(numbers, ["a"], "psnr") == []
    assert importance.effects(numbers, ["a"], "ssim") == []
    assert importance.effects(numbers.assign(psnr=1.0), ["a"], "psnr") == []  # nothing differs
