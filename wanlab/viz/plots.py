"""Plots over time and of numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from wanlab import media, pose
from wanlab.model.segments import SegmentPlan
from wanlab.pose import wholebody
from wanlab.pose.faults import Review
from wanlab.results import metrics
from wanlab.viz.masks import MASK_NUMBERS
from wanlab.viz.style import (
    BAND_COLOUR,
    DPI,
    JUMP_COLOUR,
    LABEL_GAP,
    LINE_COLOURS,
    LINE_STYLES,
    MISSING_COLOUR,
    PAGE,
    PART_COLOURS,
    SEAM_COLOUR,
    SURE_COLOUR,
    UNSURE_COLOUR,
    Drawing,
    as_image,
    plain_axes,
)

MOST_TICKS = 8  # values of a setting that all stand on its axis
PARTS = {
    "body": slice(0, wholebody.NUM_BODY),
    "face": wholebody.FACE,
    "left hand": wholebody.HANDS[0],
    "right hand": wholebody.HANDS[1],
}


def keypoint_confidence(
    keypoints: np.ndarray | None, fps: Fraction, no_person: Iterable[int] = (), cuts: Iterable[int] = ()
) -> Drawing | None:
    """Plot the mean score of each part over time, frames without a person in grey, cuts as lines.

    Args:
        keypoints: [T, 133, 3], float32; None (a folder of other tools) shows nothing.
        fps: frames per second.
        no_person: frames without a person.
        cuts: first frames of new shots.
    """
    if keypoints is None:
        print("these inputs hold no keypoints")
        return None
    frames = np.arange(len(keypoints))
    figure = Figure(figsize=(10, 2.8), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for (part, rows), colour in zip(PARTS.items(), PART_COLOURS, strict=True):
        axis.plot(frames, keypoints[:, rows, 2].mean(axis=1), label=part, color=colour, linewidth=1.6)
    axis.axhline(pose.DRAWN_FROM, color="#888888", linestyle=":", linewidth=1)
    for t in no_person:
        axis.axvspan(t - 0.5, t + 0.5, color=BAND_COLOUR, linewidth=0)
    for t in cuts:
        axis.axvline(t - 0.5, color=SEAM_COLOUR, linestyle="--", linewidth=1.2)
    axis.set(
        xlim=(-0.5, len(keypoints) - 0.5),
        ylim=(-0.03, 1.05),
        xlabel=f"frame ({media.describe_rate(fps)} per second)",
        ylabel="mean score",
    )
    axis.legend(loc="lower left", ncols=4, fontsize=8, frameon=False)
    plain_axes(axis)
    return as_image(figure, "Mean keypoint score of each part over time")


def pose_timeline(review: Review, cuts: Collection[int] = ()) -> Drawing:
    """Show how sure each part is over time, a strip a part; missing joints below in a strip, jumping ones above.

    Args:
        review: of the pose.
        cuts: first frames of new shots.
    """
    names = [*wholebody.PARTS, "face crop"]
    sure, lost, jumps, _ = review
    wrong = (
        (0.5, MISSING_COLOUR, "joints missing, or no face crop", lost),
        (-0.17, JUMP_COLOUR, "joints jumping", jumps),
    )
    figure = Figure(figsize=(PAGE, 0.8 + 0.22 * len(names)), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    ramp = LinearSegmentedColormap.from_list("score", [UNSURE_COLOUR, SURE_COLOUR])
    shown = axis.imshow(sure, aspect="auto", cmap=ramp, vmin=0, vmax=1, interpolation="nearest")
    for below, colour, _, marked in wrong:
        bars = [Rectangle((t - 0.5, row + below), 1, -0.33) for row, t in np.argwhere(marked)]
        axis.add_collection(PatchCollection(bars, facecolor=colour, edgecolor="none"))
    for row in range(1, len(names)):
        axis.axhline(row - 0.5, color="white", linewidth=2)
    for t in cuts:
        axis.axvline(t - 0.5, color=SEAM_COLOUR, linestyle="--", linewidth=1.2)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel="frame")
    keys = [Patch(facecolor=colour, label=label) for _, colour, label, _ in wrong]
    axis.legend(handles=keys, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False)
    figure.colorbar(shown, ax=axis, label="mean score", pad=0.01).ax.tick_params(labelsize=8)
    plain_axes(axis)
    return as_image(figure, "How sure each part of the pose is over time, and where joints are missing or jump")


def mask_curves(numbers: Mapping[str, Mapping[str, np.ndarray]], base: str) -> Drawing | None:
    """Plot each metric over time, a line per variant; None without any.

    Args:
        numbers: per variant and metric [T], float.
        base: the variant that IoU and boundary F compare with.
    """
    if not numbers:
        return None
    kinds = list(next(iter(numbers.values())))
    figure = Figure(figsize=(PAGE, 1.45 * len(kinds)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    for axis, kind in zip(axes, kinds, strict=True):
        for i, (name, row) in enumerate(numbers.items()):
            axis.plot(row[kind], label=name, color=LINE_COLOURS[i % 7], linestyle=LINE_STYLES[i % 3], linewidth=1.5)
        axis.set_ylabel(f"{kind}\nwith {base}" if MASK_NUMBERS[kind][0] else kind, fontsize=8)
        plain_axes(axis)
    axes[-1].set_xlabel("frame", fontsize=8)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    return as_image(figure, "Area, IoU, boundary F, change and leak of each mask over time")


def step_changes(changes: Mapping[str, Sequence[float]], settled: float) -> Drawing:
    """Plot how much each step changed what the one before foresaw, a line per segment or result.

    Args:
        changes: per line of steps 2, 3, …, relative to the clean latents.
        settled: below which a step changes little.
    """
    figure = Figure(figsize=(PAGE, 2.6), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for i, (name, line) in enumerate(changes.items()):
        steps, parts = range(2, len(line) + 2), [max(100 * each, 1e-3) for each in line]
        axis.plot(steps, parts, label=name, color=LINE_COLOURS[i % 7], linestyle=LINE_STYLES[i % 3], linewidth=1.5)
    axis.axhline(100 * settled, color=SEAM_COLOUR, linewidth=1, linestyle="--")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel("change", fontsize=8)
    axis.set_xlabel("step", fontsize=8)
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    plain_axes(axis)
    return as_image(figure, "How much each step changed what is foreseen")


def metric_plots(numbers: pd.DataFrame, varied: Sequence[str]) -> Drawing | None:
    """Plot each metric over each setting that was varied, every point with its number; None without metrics.

    A line joins points that differ only in the setting below. Axes show ten times the noise between seeds at least.

    Args:
        numbers: `compare.table`.
        varied: columns that hold settings.
    """
    kinds, columns = _measured(numbers), dict(numbers.items())
    if not kinds or not varied:
        return None
    across = len(varied) * max(1, min(4 // len(varied), len(kinds)))
    down = -(-len(kinds) * len(varied) // across)
    figure = Figure(figsize=(max(4.5, 3.2 * across), 1.9 * down), dpi=DPI, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    pairs = [(kind, name) for kind in kinds for name in varied]
    for axis, (kind, name) in zip(axes.flat, pairs, strict=False):
        places, labels = _places(columns[name])
        _spread(axis, columns[kind], kind)
        _joined(axis, places, columns[kind], [columns[other] for other in varied if other != name])
        _numbered(axis, places, columns[kind], numbers.index)
        if labels:
            axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
        elif places.nunique() <= MOST_TICKS:
            axis.set_xticks(sorted(set(places)))
        axis.set_ylabel(_goal(kind), fontsize=8)
        axis.set_xlabel(name.replace("_", " "), fontsize=8)
    for axis in list(axes.flat)[len(pairs) :]:
        axis.axis("off")
    return as_image(figure, f"{', '.join(kinds)} over {', '.join(varied)}")


def time_against_metrics(numbers: pd.DataFrame) -> Drawing | None:
    """Plot each metric over the seconds a point took; the line joins those that none beats in both; as `metric_plots`."""
    kinds, columns = _measured(numbers), dict(numbers.items())
    if not kinds:
        return None
    across = min(4, len(kinds))
    down = -(-len(kinds) // across)
    figure = Figure(figsize=(3.2 * across, 2.3 * down), dpi=DPI, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flat
    for kind, axis in zip(kinds, axes, strict=False):
        higher = metrics.MEANINGS[kind].higher_is_better
        _spread(axis, columns[kind], kind)
        axis.set_xlim(0, 1.1 * columns["seconds"].max())  # from 0: what is half as long is half as wide
        _numbered(axis, columns["seconds"], columns[kind], numbers.index)
        front = pareto(columns["seconds"].to_numpy(float), columns[kind].to_numpy(float), higher)
        line = columns["seconds"].iloc[front], columns[kind].iloc[front]
        axis.step(*line, where="post", color=SEAM_COLOUR, linewidth=1)
        axis.set_title(_goal(kind), fontsize=8)
        axis.set_xlabel("seconds", fontsize=8)
    for axis in list(axes):
        axis.axis("off")
    return as_image(figure, f"Seconds against {', '.join(kinds)}")


def pareto(cost: np.ndarray, value: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Return the indices that no other beats in both cost and value, the cheapest first.

    Args:
        cost, value: [n], float; NaN is never among them.
        higher_is_better: of `value`; a lower cost is always better.
    """
    gain = value if higher_is_better else -value
    known = np.flatnonzero(np.isfinite(cost) & np.isfinite(gain))
    order = known[np.lexsort((-gain[known], cost[known]))]
    best = np.maximum.accumulate(np.concatenate([[-np.inf], gain[order]]))[:-1]
    return order[gain[order] > best]


def segment_plan(plan: SegmentPlan) -> Drawing:
    """Draw the segments over the clip's frames: what is new, what is taken over, and (hatched) what is cut off."""
    count = len(plan.segments)
    figure = Figure(figsize=(10, 0.9 + 0.34 * count), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for row, (start, end) in enumerate(plan.segments):
        new = start + plan.taken(row)
        kept = min(max(plan.lead_in + plan.num_frames, new), end)
        if new > start:
            first = row == (0 if plan.lead_in else 1)
            axis.barh(row, new - start, left=start, height=0.62, color="#f2b8cd", label="taken over" if first else None)
        axis.barh(row, kept - new, left=new, height=0.62, color="#2f80c3", label="new" if row == 0 else None)
        if end > kept:
            axis.barh(
                row,
                end - kept,
                left=kept,
                height=0.62,
                color="none",
                edgecolor="#999999",
                hatch="////",
                label="cut off",
            )
    axis.set(
        yticks=range(count),
        yticklabels=[f"segment {n + 1}" for n in range(count)],
        xlabel="frame",
        xlim=(0, plan.segments[-1][1]),
    )
    axis.invert_yaxis()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    plain_axes(axis)
    return as_image(figure, "The segments of the clip")


def _measured(numbers: pd.DataFrame) -> list[str]:
    return [str(name) for name, values in numbers.items() if name in metrics.MEANINGS and values.notna().any()]


def _places(values: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return where values stand on an axis; words and the like stand at 0, 1, 2 … with the labels beside."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values, []
    words = values.astype(str)
    labels = list(dict.fromkeys(words))
    return words.map({word: i for i, word in enumerate(labels)}), [label[:24] for label in labels]


def _goal(kind: str) -> str:
    """Return a metric's name with an arrow to where it is better."""
    return f"{kind.replace('_', ' ')} {'↑' if metrics.MEANINGS[kind].higher_is_better else '↓'}"


def _spread(axis: Axes, values: pd.Series, kind: str) -> None:
    """Set the limits of a metric's axis: all values and some room, and never so little that noise looks like a cliff."""
    low, high = values.min(), values.max()
    middle = (low + high) / 2
    half = max(1.4 * (high - low), metrics.MEANINGS[kind].span(middle)) / 2
    axis.set_ylim(middle - half, middle + half)
    axis.ticklabel_format(axis="y", useOffset=False)


def _joined(axis: Axes, x: pd.Series, y: pd.Series, others: Sequence[pd.Series]) -> None:
    """Join the points that are equal in all other settings, in the order of the setting below."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for each in x.index:
        groups.setdefault(tuple(str(other[each]) for other in others), []).append(each)
    places, heights = x.to_dict(), y.to_dict()
    for group in groups.values():
        known = [each for each in group if pd.notna(heights[each]) and pd.notna(places[each])]
        line = sorted(known, key=places.__getitem__)
        axis.plot(
            [places[each] for each in line],
            [heights[each] for each in line],
            color=LINE_COLOURS[1],
            linewidth=1,
            alpha=0.55,
            zorder=2,
        )


def _numbered(axis: Axes, x: pd.Series, y: pd.Series, names: Iterable[Any]) -> None:
    """Plot dots with their names; dots that lie on each other have one label with all their names."""
    axis.scatter(x, y, s=18, color=LINE_COLOURS[1], zorder=3)
    axis.margins(x=0.15)
    axis.autoscale_view(scaley=False)
    labels: dict[tuple[float, float], list[str]] = {}  # by place
    for place, value, name in zip(x, y, names, strict=True):
        if pd.notna(place) and pd.notna(value):
            at = axis.transData.transform((place, value))
            near = (other for other in labels if np.abs(axis.transData.transform(other) - at).max() < LABEL_GAP)
            labels.setdefault(next(near, (place, value)), []).append(str(name))
    for where, group in labels.items():
        axis.annotate(", ".join(group), where, textcoords="offset points", xytext=(4, 3), fontsize=7)
    plain_axes(axis)
