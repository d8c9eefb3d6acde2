"""The actions of a widget in the file of decisions, so that it can undo them although others write that file too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from wanlab.inputs import edits

Step = tuple[edits.Edits, edits.Edits]  # the decisions before and after


class History:
    """The decisions that a widget shows, and its own actions on them.

    Attributes:
        path: the file of decisions.
        now: what it held when it was last read or written.
    """

    def __init__(self, path: Path, num_frames: int, height: int, width: int) -> None:
        """Begin with what the file holds; sizes are those of the working clip.

        Raises:
            ValueError: if it is no file of decisions, or they do not fit the clip.
        """
        self.path, self._size = path, (num_frames, height, width)
        self._guard = threading.RLock()  # messages come in a thread of their own
        self._done: list[list[Step]] = []  # a list of steps for each action
        self._undone: list[list[Step]] = []
        self._stamp: object = None
        self.now = edits.Edits()
        self.reload()

    @property
    def undoable(self) -> int:
        """How many actions can be undone."""
        return len(self._done)

    @property
    def redoable(self) -> int:
        """How many undone actions can be done again."""
        return len(self._undone)

    def reload(self) -> bool:
        """Read the file if another has written it meanwhile; return whether it holds other decisions now.

        Raises:
            ValueError: if it is no longer a file of decisions; once for each change of it.
        """
        with self._guard:
            stamp = self._stamped()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            before, self.now = self.now, edits.read(self.path, *self._size) if stamp else edits.Edits()
            return self.now != before

    def do(self, action: Callable[[edits.Edits], edits.Edits], *, joined: bool = False) -> bool:
        """Do an action to what the file holds; return whether it changed that. `joined`: undone with the last one.

        Raises:
            ValueError, OSError: as `edits.change`; nothing is changed then.
        """
        with self._guard:
            step = self._change(action)
            if step[0] == step[1]:
                return False
            if joined and self._done:
                self._done[-1].append(step)
            else:
                self._done.append([step])
            self._undone.clear()
            return True

    def undo(self, check: Callable[[edits.Edits], object] = lambda _: None) -> Step | None:
        """Take the last own action back that still has an effect; return the decisions before and after, None without one.

        Args:
            check: raises a ValueError for decisions that cannot be.
        """
        return self._walk(
            self._done, self._undone, lambda steps: [(after, before) for before, after in steps[::-1]], check
        )

    def redo(self, check: Callable[[edits.Edits], object] = lambda _: None) -> Step | None:
        """Do the action again that was undone last; as `undo`."""
        return self._walk(self._undone, self._done, list, check)

    def remember(self, steps: Iterable[Step]) -> None:
        """Count what an earlier session did as own actions, oldest first."""
        self._done = [[step] for step in steps]

    def _walk(
        self,
        source: list[list[Step]],
        target: list[list[Step]],
        directed: Callable[[list[Step]], list[Step]],
        check: Callable[[edits.Edits], object],
    ) -> Step | None:
        with self._guard:
            while source:
                steps = directed(source[-1])

                def action(now: edits.Edits, steps: list[Step] = steps) -> edits.Edits:
                    for base, mine in steps:
                        now = edits.merge(base, mine, now)
                    check(now)
                    return now

                before, after = self._change(action)
                taken = source.pop()
                if before != after:  # else another has taken it back already
                    target.append(taken)
                    return before, after
            return None

    def _change(self, action: Callable[[edits.Edits], edits.Edits]) -> Step:
        step = edits.change(self.path, action, *self._size)
        self._stamp, self.now = self._stamped(), step[1]
        return step

    def _stamped(self) -> object:
        """Return what changes with the content of the file, without reading it; None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
