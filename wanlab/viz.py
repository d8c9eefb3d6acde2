"""Pictures to judge by: contact sheets, curves, plans, players. Each returns something that a notebook shows."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from html import escape
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from wanlab import edits, mask_metrics, media, metrics, pose, pose_metrics
from wanlab import keypoints as whole_body
from wanlab.windows import Plan

COLUMNS = 8
CELL = 1.5  # inches, the height of a picture in a contact sheet
PAGE = 13.0  # inches, the width of a sheet
DPI = 110
PREVIEW = 320  # pixels, the height of an inline video; the full files lie in the run folder
SEAM_COLOUR = "#c2185b"
PARTS = {"body": slice(0, 17), "face": slice(23, 91), "left hand": slice(91, 112), "right hand": slice(112, 133)}
MASK_CELL = 2.0  # inches, the height of a picture where masks are judged
MASK_COLOUR, MORE_COLOUR, LESS_COLOUR, LEAK_COLOUR = (0, 158, 115), (230, 159, 0), (86, 180, 233), (255, 0, 144)
ERASED_COLOUR = (213, 94, 0)
OBJECT_COLOURS = (  # of clicked objects 1, 2, …, as the editor has them
    (86, 180, 233), (230, 159, 0), (204, 121, 167), (240, 228, 66), (0, 158, 115), (213, 94, 0), (0, 114, 178),
)  # fmt: skip
LABEL_GAP = 8  # pixels of a plot within which two labels would lie on each other
LINE_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
COMPACT = "font-size: 12px"  # a sweep's table beside JupyterLab's file browser in a window of 1280 pixels
RUN_LINE = "text-align: left; white-space: normal; opacity: .75; padding-top: 0"
LINE_STYLES = ("-", "--", ":")
SURE_COLOUR, UNSURE_COLOUR = "#0072b2", "#d0d0d0"  # of a part's score, 1 and 0
MISSING_COLOUR, JUMP_COLOUR = "#d55e00", "#f0e442"
PART_COLOURS = ("#1f4e79", "#e08a1e", "#2e8b57", "#8e44ad")


def contact_sheet(
    videos: Mapping[str, media.Clip | None],
    columns: int = COLUMNS,
    marks: Mapping[int, str] | None = None,
    reference: np.ndarray | None = None,
) -> Image:
    """Show frames spread over the clip, a row per video, frame numbers on top.

    Args:
        videos: clips of equal length by name; None is left out.
        columns: frames to show.
        marks: frames that are shown in any case (as many as `columns` of them), and the word beside their number.
        reference: [H, W, 3], 0 to 255, uint8 RGB; shown in front.
    """
    shown = {name: clip for name, clip in videos.items() if clip is not None}
    length = min(len(clip) for clip in shown.values())
    marks = marks or {}
    marked = [sorted(marks)[i] for i in _spread(len(marks), columns)]
    frames = sorted({*_spread(length, columns), *marked})
    return _sheet({name: _frames(clip, frames) for name, clip in shown.items()}, frames, reference, marks=marks)


def result_beside(driving: media.Clip, reference: np.ndarray, video: media.Clip, seams: Sequence[int] = ()) -> Image:
    """Show the result under its driver, the reference in front; both frames at each seam, a dashed line between them.

    Args:
        driving: the clip whose motion was taken over.
        reference: [H, W, 3], 0 to 255, uint8 RGB.
        video: the result, as long as `driving`.
        seams: frames at which a segment begins; three at most are shown.
    """
    shown_seams = (
        [seams[i] for i in np.unique(np.linspace(0, len(seams) - 1, min(3, len(seams))).astype(int))] if seams else []
    )
    frames = sorted({*_spread(len(video), 6), *(t for seam in shown_seams for t in (seam - 1, seam))})
    rows = {"driving": _frames(driving, frames), "result": _frames(video, frames)}
    return _sheet(rows, frames, reference, shown_seams)


def reference_sketch(
    image: np.ndarray, keypoints: np.ndarray | None, edited: Mapping[str, np.ndarray] | None = None
) -> Image:
    """Show the reference, its skeleton over a dimmed copy, and what FLUX made of it and of the film's first frame.

    Args:
        image: [H, W, 3], 0 to 255, uint8 RGB.
        keypoints: [133, 3], float32, x, y in pixels of the image, score; None in a folder of other tools.
        edited: [H', W', 3], 0 to 255, uint8 RGB each, by name.
    """
    pictures = {"reference": image}
    if keypoints is not None and keypoints[:, 2].any():
        height, width = image.shape[:2]
        scale = max(1, round(512 / height))  # a small picture would have a skeleton of one pixel
        large = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
        meta = pose.to_meta(keypoints[None] * (scale, scale, 1), height * scale, width * scale)
        pictures["its skeleton"] = pose.draw_frame(
            meta.body[0], meta.left_hand[0], meta.right_hand[0], height * scale, width * scale, canvas=large // 3
        )
    pictures |= edited or {}
    ratios = [picture.shape[1] / picture.shape[0] for picture in pictures.values()]
    figure = Figure(figsize=(sum(ratios) * 3.2, 3.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(pictures), squeeze=False, width_ratios=ratios)[0]
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        _picture(axis, picture)
        axis.set_title(name, fontsize=9)
    return _image(figure, "The reference and its skeleton", "jpeg")


def keypoint_confidence(
    keypoints: np.ndarray | None, fps: Fraction, no_person: Iterable[int] = (), cuts: Iterable[int] = ()
) -> Image | None:
    """Plot the mean score of each part over time, frames without a person in grey, cuts as lines.

    Args:
        keypoints: [T, 133, 3], float32; None (a folder of other tools) shows nothing.
        fps: frames per second.
        no_person: frames without a person.
        cuts: first frames of new shots.
    """
    if keypoints is None:
        print("these inputs hold no key points")
        return None
    frames = np.arange(len(keypoints))
    figure = Figure(figsize=(10, 2.8), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for (part, rows), colour in zip(PARTS.items(), PART_COLOURS, strict=True):
        axis.plot(frames, keypoints[:, rows, 2].mean(axis=1), label=part, color=colour, linewidth=1.6)
    axis.axhline(pose.DRAWN_FROM, color="#888888", linestyle=":", linewidth=1)
    for t in no_person:
        axis.axvspan(t - 0.5, t + 0.5, color="#dddddd", linewidth=0)
    for t in cuts:
        axis.axvline(t - 0.5, color=SEAM_COLOUR, linestyle="--", linewidth=1.2)
    axis.set(
        xlim=(-0.5, len(keypoints) - 0.5),
        ylim=(-0.03, 1.05),
        xlabel=f"frame ({float(fps):.4g} per second)",
        ylabel="mean score",
    )
    axis.legend(loc="lower left", ncols=4, fontsize=8, frameon=False)
    _plain(axis)
    return _image(figure, "Mean key point score of each part over time")


def pose_timeline(review: pose_metrics.Review, cuts: Collection[int] = ()) -> Image:
    """Show how sure each part is over time, a strip a part; missing joints below in a strip, jumping ones above.

    Args:
        review: of the pose.
        cuts: first frames of new shots.
    """
    names = [*whole_body.PARTS, "face crop"]
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
    _plain(axis)
    return _image(figure, "How sure each part of the pose is over time, and where joints are missing or jump")


def pose_faults(review: pose_metrics.Review, most: int = 8) -> HTML:
    """Show the frames to look at and why, the worst first; `most` of them."""
    faults = review.faults
    rows = [(f"{f.first}" if f.first == f.last else f"{f.first} to {f.last}", f.reason) for f in faults[:most]]
    return table(("frames, the worst first", f"{len(faults)} in all"), rows or [("none", "no fault found")])


def mask_views(
    clip: media.Clip | None,
    masks: Mapping[str, np.ndarray],
    view: Callable[..., np.ndarray],
    base: str,
    columns: int = 6,
) -> Image | None:
    """Show a view of every mask in the same frames, a row per mask; None and a sentence without any.

    Args:
        clip: the working clip.
        masks: [T, H, W], bool, by name.
        view: `overlay`, `difference`, `leak` or `background`.
        base: name of the mask that `difference` compares with.
        columns: frames to show.
    """
    if not masks or clip is None:
        print("these inputs hold no mask")
        return None
    frames = _spread(len(clip), columns)
    pictures = _frames(clip, frames)
    rows = {
        name: np.stack([view(*each) for each in zip(pictures, mask[frames], masks[base][frames], strict=True)])
        for name, mask in masks.items()
        if view is not difference or name != base
    }
    return _sheet(rows, frames, cell=MASK_CELL)


def mask_changes(
    clip: media.Clip | None,
    before: np.ndarray | None,
    after: np.ndarray | None,
    decided: edits.Edits | None = None,
    columns: int = 6,
) -> Image | None:
    """Show a mask before and after, and what is more and less, where it changed most; None without a change.

    Args:
        clip: the working clip.
        before, after: [T, H, W], bool.
        decided: what was decided by hand; it is drawn into the mask before, and frames that bear a mark come first.
        columns: frames to show.
    """
    if clip is None or before is None or after is None or np.array_equal(before, after):
        return None
    decided = decided or edits.Edits()
    edited = {each.frame for each in (*decided.points.clicks, *decided.points.boxes, *decided.strokes)}
    share = (before != after).mean(axis=(1, 2))
    order = sorted(range(len(clip)), key=lambda t: (t not in edited, -share[t]))
    frames = sorted(t for t in order[:columns] if share[t] or t in edited)
    pictures = _frames(clip, frames)
    rows = {
        "before": (overlay, before, before),
        "after": (overlay, after, after),
        "change": (difference, after, before),
    }
    shown = {
        name: np.stack([view(*each) for each in zip(pictures, mask[frames], base[frames], strict=True)])
        for name, (view, mask, base) in rows.items()
    }
    shown["before"] = np.stack([marked(*each, decided) for each in zip(shown["before"], frames, strict=True)])
    return _sheet(shown, frames, marks=dict.fromkeys(edited, "edited"), cell=MASK_CELL)


def video_changes(
    clip: media.Clip | None,
    before: Mapping[str, media.Clip],
    after: Mapping[str, media.Clip],
    columns: int = COLUMNS,
) -> Image | None:
    """Show the frames in which videos changed most, before and after; None without a change.

    Args:
        clip: the working clip, shown above them.
        before, after: clips of equal length, by the same names.
        columns: frames to show.
    """
    shares = {
        name: np.array([(a != b).mean() for a, b in zip(film, after[name], strict=True)])
        for name, film in before.items()
    }
    changed = {name: share for name, share in shares.items() if share.any()}
    if not changed:
        return None
    total = np.sum(
        [share / share.max() for share in changed.values()], axis=0
    )  # a skeleton has fewer pixels than a face
    frames = sorted(t for t in np.argsort(-total, kind="stable")[:columns].tolist() if total[t])
    rows = {"driving": _frames(clip, frames)} if clip is not None else {}
    for name in changed:
        rows |= {f"{name} before": _frames(before[name], frames), f"{name} after": _frames(after[name], frames)}
    return _sheet(rows, frames)


def frame_sheet(rows: Mapping[str, Mapping[int, np.ndarray]], marks: Mapping[int, str] | None = None) -> Image:
    """Show pictures of the same frames, a row per name, frame numbers on top.

    Args:
        rows: by name and frame number [H, W, 3], 0 to 255, uint8 RGB.
        marks: the word beside the number of a frame.
    """
    frames = sorted(next(iter(rows.values())))
    shown = {name: np.stack([pictures[t] for t in frames]) for name, pictures in rows.items()}
    return _sheet(shown, frames, marks=marks, cell=MASK_CELL)


class Layer(NamedTuple):
    """What a view paints over the frame: where (a word of REGIONS), in which RGB colour, how opaque (0 to 1), in words."""

    region: str
    colour: tuple[int, int, int]
    opacity: float
    meaning: str


class View(NamedTuple):
    """A way to look at a mask: a greyed frame or the frame itself, layers over it, the mask's outline drawn or not.

    A layer that lies on an earlier one is opaque, so that the last one alone decides a pixel's paint.
    """

    dimmed: bool
    layers: tuple[Layer, ...]
    outlined: bool = False


REGIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # of a mask and a base, [H, W], bool each
    "mask": lambda mask, _: mask,
    "both": lambda mask, base: mask & base,
    "more": lambda mask, base: mask & ~base,
    "less": lambda mask, base: base & ~mask,
    "leak": lambda mask, _: mask_metrics.leak(mask[None])[0],
}
MASK_VIEWS = {
    "overlay": View(False, (Layer("mask", MASK_COLOUR, 0.5, "generated anew"),), outlined=True),
    "difference": View(
        True,
        (
            Layer("both", (180, 180, 180), 0.5, "in both"),
            Layer("more", MORE_COLOUR, 1.0, "only in this mask"),
            Layer("less", LESS_COLOUR, 1.0, "only in the other"),
        ),
    ),
    "leak": View(
        True,
        (
            Layer("mask", (0, 0, 0), 0.5, "generated anew"),
            Layer("leak", LEAK_COLOUR, 1.0, "black, though to be kept"),
        ),
    ),
    "background": View(False, (Layer("mask", (0, 0, 0), 1.0, "generated anew"),)),
}
MASK_NUMBERS = {  # whether it compares with the base; which value is the worst one, apart: farthest from the base's
    "area": (False, "apart"),
    "IoU": (True, "least"),
    "boundary F": (True, "least"),
    "change": (False, "most"),
    "leak": (False, "most"),
}


def overlay(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Tint what is generated anew and draw its outline: [H, W, 3], uint8 RGB.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        mask: [H, W], bool, True where the picture is generated anew.
        base: not looked at; the views take the same arguments.
    """
    return _painted("overlay", frame, mask, mask)


def marked(picture: np.ndarray, t: int, decided: edits.Edits) -> np.ndarray:
    """Draw the marks made by hand on frame `t`: discs with a plus or a minus, boxes, brush strokes.

    Args:
        picture: [H, W, 3], 0 to 255, uint8 RGB, of the working clip's size; not changed.
        t: the frame's number.
        decided: all decisions.
    """
    picture, size = picture.copy(), max(5, round(picture.shape[0] / 40))
    for stroke in (stroke for stroke in decided.strokes if stroke.frame == t):
        path = list(np.array([stroke.path]).round().astype(np.int32))
        cv2.polylines(picture, path, False, (0, 0, 0), size)
        cv2.polylines(picture, path, False, MASK_COLOUR if stroke.add else ERASED_COLOUR, max(1, size // 2))
    for box in (box for box in decided.points.boxes if box.frame == t):
        x0, y0, x1, y1 = (round(side) for side in (box.x0, box.y0, box.x1, box.y1))
        cv2.rectangle(picture, (x0, y0), (x1, y1), _object_colour(box.object), max(2, size // 3))
    for click in (click for click in decided.points.clicks if click.frame == t):
        x, y = int(click.x), int(click.y)
        cv2.circle(picture, (x, y), size, (0, 0, 0), -1)
        cv2.circle(picture, (x, y), size - 1, _object_colour(click.object), -1)
        cv2.line(picture, (x - size // 2, y), (x + size // 2, y), (0, 0, 0), max(1, size // 3))
        if click.positive:
            cv2.line(picture, (x, y - size // 2), (x, y + size // 2), (0, 0, 0), max(1, size // 3))
    return picture


def _object_colour(number: int) -> tuple[int, int, int]:
    return OBJECT_COLOURS[(number - 1) % len(OBJECT_COLOURS)]


def difference(frame: np.ndarray, mask: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Paint what only the mask has in orange and what only `base` has in blue, both in grey; as `overlay`."""
    return _painted("difference", frame, mask, base)


def leak(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Paint the pixels that are black in the background though the model is told to keep them; as `overlay`."""
    return _painted("leak", frame, mask, mask)


def background(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Black out what is generated anew, as the model sees it; as `overlay`."""
    return _painted("background", frame, mask, mask)


def mask_curves(numbers: Mapping[str, Mapping[str, np.ndarray]], base: str) -> Image | None:
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
        _plain(axis)
    axes[-1].set_xlabel("frame", fontsize=8)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    return _image(figure, "Area, IoU, boundary F, change and leak of each mask over time")


def mask_table(numbers: Mapping[str, Mapping[str, np.ndarray]], base: str) -> HTML | None:
    """Show each variant's mean of each metric, and the frame where it is worst; None without any.

    Args:
        numbers, base: as `mask_curves`.
    """
    if not numbers:
        return None
    rows = []
    for name, row in numbers.items():
        cells = [f"{name} (base)" if name == base else name]
        for kind, values in row.items():
            compares, worst = MASK_NUMBERS[kind]
            number = f"{values.mean():.3f}" if compares else f"{values.mean():.1%}"
            told = worst != "apart" and not (compares and name == base)
            at = int(np.argmin(values) if worst == "least" else np.argmax(values))
            cells.append(f"{number} (worst: {at})" if told else number)
        rows.append(cells)
    return table(("mask", *next(iter(numbers.values()))), rows)


def metric_table(overall: Mapping[str, float | None]) -> HTML:
    """Show a result's numbers with their units, and what each cannot tell.

    Args:
        overall: value by name, as `evaluation.evaluate` gives them; None where it cannot be measured; empty of a preview.
    """
    if not overall:
        return HTML("<p>A preview is not measured: its numbers would not compare with a result's.</p>")
    rows = []
    for name, value in overall.items():
        meaning = metrics.MEANINGS[name]
        better = "higher is better" if meaning.higher_is_better else "lower is better"
        shown = "–" if value is None else f"{value:.3g}"
        rows.append((name.replace("_", " "), shown, f"{meaning.unit}; {better}", meaning.cannot_tell))
    return table(("metric", "value", "unit", "what it cannot tell"), rows)


def metric_plots(numbers: pd.DataFrame, varied: Sequence[str]) -> Image | None:
    """Plot each metric over each setting that was varied, every point with its number; None without metrics.

    Args:
        numbers: `comparison.table`.
        varied: columns that hold settings.
    """
    kinds, columns = _measured(numbers), dict(numbers.items())
    if not kinds or not varied:
        return None
    figure = Figure(figsize=(max(4.5, 3.2 * len(varied)), 1.9 * len(kinds)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(kinds), len(varied), squeeze=False, sharex="col", sharey="row")
    for column, name in enumerate(varied):
        places, labels = _places(columns[name])
        for row, kind in enumerate(kinds):
            axis = axes[row, column]
            _numbered(axis, places, columns[kind], numbers.index)
            if labels:
                axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
            if column == 0:
                arrow = "↑" if metrics.MEANINGS[kind].higher_is_better else "↓"
                axis.set_ylabel(f"{kind.replace('_', ' ')} {arrow}", fontsize=8)
        axes[-1, column].set_xlabel(name.replace("_", " "), fontsize=8)
    return _image(figure, f"{', '.join(kinds)} over {', '.join(varied)}")


def time_against_metrics(numbers: pd.DataFrame) -> Image | None:
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
        _numbered(axis, columns["seconds"], columns[kind], numbers.index)
        front = pareto(columns["seconds"].to_numpy(float), columns[kind].to_numpy(float), higher)
        line = columns["seconds"].iloc[front], columns[kind].iloc[front]
        axis.step(*line, where="post", color=SEAM_COLOUR, linewidth=1)
        axis.set_title(f"{kind.replace('_', ' ')} {'↑' if higher else '↓'}", fontsize=8)
        axis.set_xlabel("seconds", fontsize=8)
    for axis in list(axes):
        axis.axis("off")
    return _image(figure, f"Seconds against {', '.join(kinds)}")


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


def number_table(numbers: pd.DataFrame) -> HTML:
    """Show a table of runs, numbers to three digits, each run's id (or error) on a line of its own below them.

    As a column the id would be the widest. A table wider than the page scrolls sideways.

    Args:
        numbers: `comparison.table`, sorted as you like.
    """
    shown = numbers.drop(columns="run")
    head = [str(shown.index.name), *(str(name).replace("_", " ") for name in shown.columns)]
    lines = zip(shown.index, shown.itertuples(index=False, name=None), numbers["run"], strict=True)
    body = []
    for index, row, run in lines:
        cells = ("–" if _is_missing(v) else f"{v:.3g}" if isinstance(v, float) else v for v in row)
        body.append(f"<tr>{_cells([index, *cells])}</tr>")
        body.append(f'<tr><td colspan="{len(head)}" style="{RUN_LINE}">{escape(run)}</td></tr>')
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return HTML(f'<div style="overflow-x: auto"><table style="{COMPACT}"><tr>{names}</tr>{"".join(body)}</table></div>')


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> HTML:
    """Show rows under a head; everything is escaped, and long names may break after `_`."""
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return HTML("<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + f"</tr>{body}</table>")


def segment_plan(plan: Plan) -> Image:
    """Draw the segments over the clip's frames: what is new, what is taken over, and (hatched) what is cut off."""
    count = len(plan.windows)
    figure = Figure(figsize=(10, 0.9 + 0.34 * count), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for row, (start, end) in enumerate(plan.windows):
        new = start + (plan.overlap if row else 0)
        kept = min(max(plan.num_frames, new), end)
        if row:
            axis.barh(
                row, new - start, left=start, height=0.62, color="#f2b8cd", label="taken over" if row == 1 else None
            )
        axis.barh(row, kept - new, left=new, height=0.62, color="#1f4e79", label="new" if row == 0 else None)
        if end > kept:
            axis.barh(
                row,
                end - kept,
                left=kept,
                height=0.62,
                color="#ffffff",
                edgecolor="#999999",
                hatch="////",
                label="cut off",
            )
    axis.set(
        yticks=range(count),
        yticklabels=[f"segment {n + 1}" for n in range(count)],
        xlabel="frame",
        xlim=(0, plan.windows[-1][1]),
    )
    axis.invert_yaxis()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    _plain(axis)
    return _image(figure, "The segments of the clip")


def show_videos(videos: Mapping[str, media.Clip | None], fps: Fraction) -> None:
    """Play videos side by side, made smaller: the notebook holds them, so it can be sent around.

    Args:
        videos: clips by name; None is left out.
        fps: frames per second.
    """
    import imageio_ffmpeg
    import mediapy

    mediapy.set_ffmpeg(imageio_ffmpeg.get_ffmpeg_exe())
    small = {name: [_preview(frame) for frame in clip] for name, clip in videos.items() if clip is not None}
    mediapy.show_videos(small, fps=float(fps), height=PREVIEW, columns=len(small), qp=26)


def _sheet(
    rows: Mapping[str, np.ndarray],
    frames: Sequence[int],
    reference: np.ndarray | None = None,
    seams: Sequence[int] = (),
    marks: Mapping[int, str] | None = None,
    cell: float = CELL,
) -> Image:
    """Lay pictures out in bands as wide as a page, a line per row in each, the reference in front of the first.

    Args:
        rows: [n, H, W, 3], uint8 RGB, by name: the pictures of `frames`.
        frames: their numbers.
        reference: [H, W, 3], uint8 RGB.
        seams: frames before which a dashed line is drawn.
        marks: a word beside the number of a frame.
        cell: inches, the height of a picture.
    """
    lead = 0 if reference is None else 1
    widest = max(pictures.shape[2] / pictures.shape[1] for pictures in rows.values())
    across = max(2, int(PAGE / (cell * widest)) - lead)
    across = -(-len(frames) // -(-len(frames) // across))  # bands of equal length
    bands = [range(i, min(i + across, len(frames))) for i in range(0, len(frames), across)]
    size = (0.4 + (lead + across) * cell * widest * 1.04, len(bands) * (len(rows) * cell * 1.05 + 0.25) + 0.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)  # type: ignore[union-attr]
    axes = figure.subplots(len(bands) * len(rows), lead + across, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for band, shown in enumerate(bands):
        for row, (name, pictures) in enumerate(rows.items()):
            line = axes[band * len(rows) + row, lead:]
            for axis, i in zip(line, shown, strict=False):
                t = frames[i]
                _picture(axis, pictures[i])
                if row == 0:
                    title = f"{t} {marks[t]}" if marks and t in marks else f"{t}"
                    axis.set_title(title, fontsize=8, color=SEAM_COLOUR if t in seams or title != f"{t}" else "#333333")
                if t in seams:
                    axis.axvline(-0.5, color=SEAM_COLOUR, linestyle="--", linewidth=3)
            line[0].set_ylabel(name.replace(", ", "\n"), fontsize=8 if len(name) < 16 else 6)
    if reference is not None:
        axis = axes[len(rows) - 1, 0]
        _picture(axis, reference)
        axis.set_title("reference", fontsize=8)
    return _image(figure, "Frames " + ", ".join(map(str, frames)) + " of " + ", ".join(rows), "jpeg")


def _frames(clip: media.Clip, frames: Sequence[int]) -> np.ndarray:
    return clip.at(frames).read()


def _spread(length: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist() if length else []


def _painted(view: str, frame: np.ndarray, mask: np.ndarray, base: np.ndarray) -> np.ndarray:
    dimmed, layers, outlined = MASK_VIEWS[view]
    out = _dimmed(frame) if dimmed else frame.copy()
    for region, colour, opacity, _ in layers:
        where = REGIONS[region](mask, base)
        out[where] = ((1 - opacity) * out[where] + opacity * np.array(colour)).astype(np.uint8)
    if outlined:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, MASK_COLOUR, max(1, round(frame.shape[0] / 300)))
    return out


def _dimmed(frame: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) // 3 * 2


def _cells(row: Iterable[Any]) -> str:
    return "".join(f"<td>{escape(str(cell)).replace('_', '_<wbr>')}</td>" for cell in row)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN


def _measured(numbers: pd.DataFrame) -> list[str]:
    return [str(name) for name, values in numbers.items() if name in metrics.MEANINGS and values.notna().any()]


def _places(values: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return where values stand on an axis; words and the like stand at 0, 1, 2 … with the labels beside."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values, []
    words = values.astype(str)
    labels = list(dict.fromkeys(words))
    return words.map({word: i for i, word in enumerate(labels)}), [label[:24] for label in labels]


def _numbered(axis: Axes, x: pd.Series, y: pd.Series, names: Iterable[Any]) -> None:
    """Plot dots with their names; dots that lie on each other have one label with all their names."""
    axis.scatter(x, y, s=18, color=LINE_COLOURS[1], zorder=3)
    axis.margins(0.15)
    axis.autoscale_view()
    labels: dict[tuple[float, float], list[str]] = {}  # by place
    for place, value, name in zip(x, y, names, strict=True):
        if pd.notna(place) and pd.notna(value):
            at = axis.transData.transform((place, value))
            near = (other for other in labels if np.abs(axis.transData.transform(other) - at).max() < LABEL_GAP)
            labels.setdefault(next(near, (place, value)), []).append(str(name))
    for where, group in labels.items():
        axis.annotate(", ".join(group), where, textcoords="offset points", xytext=(4, 3), fontsize=7)
    _plain(axis)


def _preview(frame: np.ndarray) -> np.ndarray:
    height = min(PREVIEW, frame.shape[0] // 2 * 2)
    width = max(2, round(frame.shape[1] * height / frame.shape[0] / 2) * 2)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _picture(axis: Axes, picture: np.ndarray) -> None:
    axis.axis("on")
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _image(figure: Figure, alt: str, kind: str = "png") -> Image:
    """Draw a figure into a picture: shown the same with every backend, and of known size."""
    target = io.BytesIO()
    figure.savefig(target, format=kind, pil_kwargs={"quality": 88} if kind == "jpeg" else {})
    return Image(target.getvalue(), format=kind, alt=alt)
