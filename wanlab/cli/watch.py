"""`wanlab runs watch`: how far a run is, in a terminal, until it ends."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wanlab import config, runs
from wanlab.runs import watching

EVERY_S = 1.0  # seconds between two looks
LINE_S = 10.0  # seconds between two lines where they are not overwritten
ROWS = 14  # of the moving picture
CLEAR = "\x1b[J"  # what stands below the cursor


def watch(folder: Path) -> int:
    """Show how far the run in a folder is until it ends; in a terminal the line is overwritten, and what it foresees shown.

    Returns:
        exit status: 0 if it ended well.
    """
    on_terminal, said, told = sys.stdout.isatty(), "", 0.0
    began, drawn = time.monotonic(), 0
    while True:
        run = runs.Run(folder)
        seen = watching.look(run)
        line = config.printable(f"{run.id}: {seen.words()}{_memory(seen)}")
        now = time.monotonic()
        if on_terminal:
            rows = list(_picture(folder.parent / (seen.point or seen.run), now - began)) if _is_coloured() else []
            back = f"\x1b[{drawn}A\r" if drawn else "\r"
            print(back + CLEAR + "".join(f"{row}\n" for row in rows) + line, end="", flush=True)
            drawn = len(rows)
        elif line != said and (now - told >= LINE_S or seen.status != "running" or not told):
            print(line, flush=True)
            said, told = line, now
        if seen.status != "running":
            print(end="\n" if on_terminal else "")
            return 0 if seen.status in ("completed", "begun") else 1
        time.sleep(EVERY_S / 4 if drawn else EVERY_S)


def _memory(seen: watching.Watched) -> str:
    held = {"memory": seen.memory_bytes, "on the GPU": seen.gpu_bytes}
    return "".join(f", {count / 2**30:.1f} GiB {name}" for name, count in held.items() if count)


def _is_coloured() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"


def _picture(folder: Path, seconds: float) -> Iterator[str]:
    """Yield the rows of the moving picture as it is after some seconds: two pixels a character, in colours."""
    from PIL import Image

    from wanlab.steps import live_view

    found = live_view.read(folder)
    if found is None:
        return
    frame = found.frames[int(seconds * found.fps) % len(found.frames)]
    width = min(round(2 * ROWS * frame.shape[1] / frame.shape[0]), shutil.get_terminal_size().columns - 1)
    pixels = np.asarray(Image.fromarray(frame).resize((max(1, width), 2 * ROWS), Image.Resampling.BOX))
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        )
        yield "".join(cells) + "\x1b[0m"
