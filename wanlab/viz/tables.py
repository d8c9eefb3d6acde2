"""Tables of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from wanlab import config
from wanlab.inputs import AnimateInputs, decisions
from wanlab.pose.faults import Review
from wanlab.results import importance, metrics
from wanlab.viz.masks import MASK_NUMBERS

BAR = "#0072b2"
LEFT = 'style="text-align: left"'  # JupyterLab has numbers in mind
LONGEST = 40  # characters of a setting's value in a table, e.g. of a prompt


def not_applied(animate_inputs: AnimateInputs) -> HTML | None:
    """Show that decisions about inputs are not applied to them, and lead to where they are; None where all are."""
    said = decisions.unapplied(animate_inputs)
    if said is None:
        return None
    notebook = "20_inspect" if config.headless() else '<a href="20_inspect.ipynb">20_inspect</a>'
    return HTML(
        f"<p><strong>⚠ Not all that is decided is applied:</strong> {escape(said)}, or <em>Apply</em> in {notebook}</p>"
    )


def pose_faults(review: Review, most: int = 8) -> HTML:
    """Show the frames to look at and why, the worst first; `most` of them."""
    faults = review.faults
    rows = [(f"{f.first}" if f.first == f.last else f"{f.first} to {f.last}", f.reason) for f in faults[:most]]
    return table(("frames, the worst first", f"{len(faults)} in all"), rows or [("none", "no fault found")])


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
            has_worst = worst != "apart" and not (compares and name == base)
            at = int(np.argmin(values) if worst == "least" else np.argmax(values))
            cells.append(f"{number} (worst: {at})" if has_worst else number)
        rows.append(cells)
    return table(("mask", *next(iter(numbers.values()))), rows)


def metric_table(overall: Mapping[str, float | None]) -> HTML:
    """Show a result's numbers with their units, and what each cannot tell.

    Args:
        overall: value by name, as `evaluate.evaluate` gives them; None where it cannot be measured; empty of a preview.
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


def sortable(numbers: pd.DataFrame) -> str:
    """Return a table of runs for `player.grid`, which sorts by the column that is clicked; the best of each metric is bold.

    Args:
        numbers: `compare.table`.
    """
    heads = [f'<th data-better="lower">{escape(str(numbers.index.name))}</th>']
    best = {}
    for name, values in numbers.items():
        meaning = metrics.MEANINGS.get(str(name))
        if meaning and values.notna().any():
            best[name] = values.max() if meaning.higher_is_better else values.min()
        arrow = "" if meaning is None else " ↑" if meaning.higher_is_better else " ↓"
        better = "higher" if meaning and meaning.higher_is_better else "lower"
        told = f' title="{escape(meaning.unit)}. {escape(meaning.cannot_tell)}"' if meaning else ""
        heads.append(f'<th data-better="{better}"{told}>{escape(str(name)).replace("_", " ")}{arrow}</th>')
    rows = []
    for number, row in zip(numbers.index, numbers.to_dict("records"), strict=True):
        cells = [f'<td data-value="{number}">{number}</td>']
        for name, value in row.items():
            shown = "–" if _is_missing(value) else f"{value:.3g}" if isinstance(value, float) else str(value)
            looks = "run" if name == "run" else "best" if name in best and value == best[name] else ""
            kept = "" if _is_missing(value) else escape(str(value))
            cells.append(f'<td class="{looks}" data-value="{kept}">{escape(shown).replace("_", "_<wbr>")}</td>')
        rows.append(f'<tr data-number="{number}">{"".join(cells)}</tr>')
    return f'<div class="scroll"><table class="points"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def importance_table(effects: Mapping[str, Sequence[importance.Effect]]) -> HTML | None:
    """Show which setting mattered most for each number, and its best and worst value; None where nothing is known.

    Args:
        effects: by metric, the setting that mattered most first.
    """
    rows = [_importance(metric, found) for metric, found in effects.items() if found]
    if not rows:
        return None
    head = ("number", "what mattered most", "the others", "mean with its best and its worst value")
    names = "".join(f"<th {LEFT}>{escape(name)}</th>" for name in head)
    return HTML(
        f"<table><tr>{names}</tr>{''.join(rows)}</table><p><small>Per cent: how much of the differences between the points goes "
        "with this setting (adjusted R²).</small></p>"
    )


def _importance(metric: str, found: Sequence[importance.Effect]) -> str:
    """Return a row about one number."""
    meaning, first = metrics.MEANINGS[metric], found[0]
    values, means = (first.low, first.high), first.means
    if meaning.higher_is_better:
        values, means = values[::-1], means[::-1]
    pairs = " · ".join(f"{_short(value)}: {mean:.4g}" for value, mean in zip(values, means, strict=True))
    name, others = first.setting.replace("_", " "), ""
    bar = (
        f'<span style="display: inline-block; width: {first.share * 5:.1f}em; height: .65em; background: {BAR}"></span>'
    )
    shown = f"<b>{escape(name)}</b><br>{bar} {first.share:.0%}"
    if abs(means[0] - means[1]) < meaning.span(means[0]) / metrics.AXIS:
        shown = "<i>none: seeds make a larger difference</i>"
    else:
        others = ", ".join(f"{each.setting.replace('_', ' ')} {each.share:.0%}" for each in found[1:])
    cells = (escape(metric.replace("_", " ")), shown, escape(others), escape(f"{name} {pairs}"))
    return f"<tr>{''.join(f'<td {LEFT}>{cell}</td>' for cell in cells)}</tr>"


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> HTML:
    """Show rows under a head; everything is escaped, and long names may break after `_`."""
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return HTML("<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + f"</tr>{body}</table>")


def _cells(row: Iterable[Any]) -> str:
    return "".join(f"<td>{escape(str(cell)).replace('_', '_<wbr>')}</td>" for cell in row)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN
