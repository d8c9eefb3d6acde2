"""How far work is: a line on stdout now and then, a word for other processes, and the stop that they may ask for."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from wanlab import files

PROGRESS = "progress.json"  # how far a run is, while it runs
PAUSE = "run.pause"  # exists: the run is to end after the part that is in work, with what is finished as its result
CANCEL = "run.cancel"  # exists: the process that works on the run is to stop; if it died, that is why
EVERY_S = 1.0  # seconds between two words for other processes
T = TypeVar("T")


class Progress:
    """Progress of the work on a run, or of a widget's.

    Attributes:
        watch: called with what is done, how much of it and of how much, instead of a line on stdout; what it raises
            ends the work.
    """

    def __init__(
        self,
        folder: Path | None = None,
        watch: Callable[[str, int, int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Take the run's folder, where other processes read how far it is and ask for its end; and an event that asks, too."""
        self.watch = watch
        self._folder, self._stop = folder, stop
        self._bars: dict[str, tqdm] = {}
        self._written = 0.0, "", 0.0  # when, of what, and since when that is done

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end of the work."""
        return bool(self._stop and self._stop.is_set()) or bool(self._folder and (self._folder / CANCEL).exists())

    @property
    def pausing(self) -> bool:
        """Whether somebody asked for the end of the work after the part that is in work (`watching.ask_to_pause`)."""
        return bool(self._folder and (self._folder / PAUSE).exists())

    def check(self) -> None:
        """End the work where somebody asked for it.

        Raises:
            KeyboardInterrupt: as Ctrl-C does, if the run is to end (`ask_to_stop`).
            CancelledError: if the event is set.
        """
        asked = self.cancelled
        if self._stop and self._stop.is_set():
            raise CancelledError
        if asked:
            raise KeyboardInterrupt

    def iterate(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Yield `items`, a frame each, and update before each of them; raises as `check`."""
        for done, item in enumerate(items):
            self.update(what, done, total)
            yield item
        self.finish(what)

    def update(
        self,
        what: str,
        done: int,
        total: int,
        *,
        text: str = "",
        unit: str = "frame",
        line: bool = True,
        more: Mapping[str, int] | None = None,
    ) -> None:
        """Say how far the work is; raises as `check`.

        Args:
            what: is done.
            done, total: of how many; a total of 0 is not known.
            text: of the line, instead of `what`.
            unit: what is counted.
            line: print one; without, only other processes and `watch` hear of it.
            more: numbers for other processes.
        """
        if self.watch is not None:
            self.watch(what, done, total)
        elif line and total:
            self._draw(what, done, total, text, unit)
        now = time.time()
        if self._folder and (now - self._written[0] >= EVERY_S or what != self._written[1]):
            began = self._written[2] if what == self._written[1] else now
            self._written = now, what, began
            word = {"what": what, "done": done, "total": total, "seconds": round(now - began, 1), "at": round(now, 1)}
            files.write_json(self._folder / PROGRESS, {**word, "memory_bytes": _memory(), **(more or {})})
        self.check()

    def finish(self, what: str) -> None:
        """Fill and end the line of `what`."""
        bar = self._bars.pop(what, None)
        if bar is not None:
            bar.update(bar.total - bar.n)
            bar.close()

    def close(self) -> None:
        """End all lines as they are."""
        while self._bars:
            self._bars.popitem()[1].close()

    def _draw(self, what: str, done: int, total: int, text: str, unit: str) -> None:
        """Print a line on stdout, since stderr turns pink in reports; one within another takes its place, as notebooks move no cursor."""
        if what not in self._bars:
            how = {"file": sys.stdout, "mininterval": 2, "ascii": " =", "position": 0}
            self._bars[what] = tqdm(desc=what, total=total, unit=unit, **how)
        bar = self._bars[what]
        if text:
            bar.set_description_str(text, refresh=False)
        bar.update(done - bar.n)


def _memory() -> int:
    """Return the bytes of memory that this process holds."""
    import psutil

    return psutil.Process().memory_info().rss
