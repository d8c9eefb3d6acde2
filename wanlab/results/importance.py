"""Which of the settings that a sweep varies mattered most for each of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LEAST = 4  # points, below which one coincidence decides


class Effect(NamedTuple):
    """What one setting did to one number.

    Attributes:
        setting: its name.
        share: of the number's variance between the points that goes with this setting, 0 to 1, less what chance would give.
        low, high: the setting's values, as text, with the lowest and the highest mean.
        means: of the number at these two.
    """

    setting: str
    share: float
    low: str
    high: str
    means: tuple[float, float]


def effects(numbers: pd.DataFrame, varied: Sequence[str], metric: str) -> list[Effect]:
    """Return what each varied setting did to a metric, the one that mattered most first; empty below LEAST points.

    Args:
        numbers: `compare.table`.
        varied: columns that hold settings.
        metric: column of the number; points without it do not count.
    """
    if metric not in numbers:
        return []
    values = [math.nan if value is None else float(value) for value in numbers[metric].tolist()]
    known = [i for i, value in enumerate(values) if math.isfinite(value)]
    if len(known) < LEAST:
        return []
    value = np.array(values)[known]
    found = []
    for name in varied:
        setting = [numbers[name].tolist()[i] for i in known]
        words = [str(each) for each in setting]
        means = {word: float(value[np.array(words) == word].mean()) for word in dict.fromkeys(words)}
        share = _share(setting, words, means, value)
        if share is None:
            continue
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        found.append(Effect(name, share, low, high, (means[low], means[high])))
    return sorted(found, key=lambda effect: -effect.share)


def _share(setting: Sequence[Any], words: Sequence[str], means: Mapping[str, float], value: np.ndarray) -> float | None:
    """Return the share of variance explained, as adjusted R²: of groups by value, or, where none repeats, of a straight line."""
    total = float(((value - value.mean()) ** 2).sum())
    if len(means) < 2 or total == 0:
        return None
    count, explained = len(means), sum((means[word] - value.mean()) ** 2 for word in words)
    if count == len(value):
        if not all(isinstance(each, int | float) for each in setting):
            return None
        count, explained = 2, total * float(np.corrcoef(np.array(setting, float), value)[0, 1]) ** 2
    return max(0.0, 1 - (1 - explained / total) * (len(value) - 1) / (len(value) - count))
