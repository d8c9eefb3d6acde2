"""The point that somebody starred as the winner of a sweep: a file beside the sweep, which 40_sweep's grid writes and reports read."""

from __future__ import annotations

import json

from wanlab import files, runs

WINNER = "winner.json"


def read(sweep: runs.Run) -> int | None:
    """Return the number of the starred point; None where none is, or the file cannot be read."""
    try:
        number = json.loads((sweep.folder / WINNER).read_text(encoding="utf-8"))["point"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if number in range(1, len(sweep.manifest.get("points", ())) + 1) else None


def write(sweep: runs.Run, number: int | None) -> None:
    """Star a point, or none.

    Raises:
        ValueError: if the sweep has no such point.
    """
    points = sweep.manifest.get("points", ())
    if number is not None and not 1 <= number <= len(points):
        raise ValueError(
            f"winner must be a point of the sweep, 1 to {len(points)}, got {number}; use one of its numbers"
        )
    run = None if number is None else points[number - 1].get("run")
    files.write_json(sweep.folder / WINNER, {"point": number, "run": run})
