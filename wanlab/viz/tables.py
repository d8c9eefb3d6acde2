"""Tables of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from wanlab.pose.faults import Review
from wanlab.results import metrics
from wanlab.viz.masks import MASK_NUMBERS

COMPACT = "font-size: 12px"  # a sweep's table beside JupyterLab's file browser in a window of 1280 pixels
RUN_LINE = "text-align: left; white-space: normal; opacity: .75; padding-top: 0"


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


def number_table(numbers: pd.DataFrame) -> HTML:
    """Show a table of runs, numbers to three digits, each run's id (or error) on a line of its own below them.

    As a column the id would be the widest. A table wider than the page scrolls sideways.

    Args:
        numbers: `compare.table`, sorted as you like.
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


def _cells(row: Iterable[Any]) -> str:
    return "".join(f"<td>{escape(str(cell)).replace('_', '_<wbr>')}</td>" for cell in row)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN
