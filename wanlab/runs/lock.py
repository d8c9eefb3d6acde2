"""The lock of a run folder: one process works on it."""

from __future__ import annotations

from pathlib import Path

from wanlab.files import locks

LOCK = "run.lock"


def owner(folder: Path) -> locks.Owner | None:
    """Return the process that works, or worked last and died, in a run folder; None: there is none."""
    return locks.last_owner(folder / LOCK)
