"""The decisions about a working clip as all its editors in a kernel share them: one state, one history of actions."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from wanlab.inputs import edits, edits_history, marks

Step = tuple[edits.Edits, edits.Edits]  # the decisions before and after


class Editor:
    """What a widget that shows decisions does.

    Attributes:
        kinds: of decisions (`edits.KINDS`) that it shows in their frame.
    """

    kinds: tuple[str, ...] = ()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """Show what has changed, whoever has decided it; called with the history's guard held."""

    def check(self, decided: edits.Edits) -> None:
        """Raise a ValueError for decisions that cannot be carried out."""

    def go_to(self, t: int | None) -> None:
        """Bring the widget into sight, at frame `t`; None: at the one that it shows."""


class History:
    """The decisions in a file, and the actions on it, which are kept beside it (module edits_history).

    Use `of`: all editors of a file in a kernel have the same one.

    Attributes:
        path: the file of decisions.
        now: what it held when it was last read or written.
        guard: lock of all that editors change: messages come in a thread of their own.
    """

    _known: ClassVar[weakref.WeakValueDictionary[Path, History]] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, path: Path, num_frames: int, height: int, width: int) -> History:
        """Return the history of a file of decisions, as it is now; sizes are those of the working clip.

        Raises:
            ValueError: if it is no file of decisions, or they do not fit the clip.
        """
        history = cls._known.get(path.absolute())
        if history is None or history._size != (num_frames, height, width):
            cls._known[path.absolute()] = history = cls(path, num_frames, height, width)
        history.reload()
        return history

    def __init__(self, path: Path, num_frames: int, height: int, width: int) -> None:
        self.path, self._size = path, (num_frames, height, width)
        self.guard = threading.RLock()
        self._order: list[weakref.ref[Editor]] = []
        self._last: Step | None = None  # of this kernel
        self._stamp: object = None
        self._past = edits_history.Past([], [])
        self.now = edits.Edits()

    @property
    def undoable(self) -> int:
        """How many actions can be undone."""
        return len(self._past.done)

    @property
    def redoable(self) -> int:
        """How many undone actions can be done again."""
        return len(self._past.undone)

    def follow(self, editor: Editor) -> None:
        """Have an editor told of every change from now on, as long as it is there."""
        self._order = [*(each for each in self._order if each() is not None), weakref.ref(editor)]

    def go_to(self, kind: str, t: int | None) -> None:
        """Have the newest editor of a kind of decisions show frame `t`; None: the one that it shows.

        Raises:
            ValueError: if there is none.
        """
        for editor in reversed(self._followers()):
            if kind in editor.kinds:
                return editor.go_to(t)
        raise ValueError("the editor of it is not there; run its cell")

    def reload(self) -> bool:
        """Read the file if another has written it meanwhile; return whether it holds other decisions now.

        Raises:
            ValueError: if it is no longer a file of decisions; once for each change of it.
        """
        with self.guard:
            stamp = self._stamped()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            before = self.now
            return self._took(before, edits.read(self.path, *self._size) if stamp else edits.Edits())

    def do(self, action: Callable[[edits.Edits], edits.Edits], *, joined: bool = False) -> bool:
        """Do an action to what the file holds; return whether it changed that. `joined`: undone with the last one.

        Raises:
            ValueError, OSError: as `edits.change`; nothing is changed then.
        """
        with self.guard:
            join = self._last if joined else None

            def checked(now: edits.Edits) -> edits.Edits:
                wanted = action(now)
                self._check(wanted)
                return wanted

            before, after = edits.change(self.path, checked, *self._size, join=join)
            if before != after:
                self._last = (join[0] if join is not None and join[1] == before else before), after
            self._took(self.now, after)
            return before != after

    def undo(self) -> str:
        """Take the last action back that still has an effect, in whatever editor it was done; return what it was, in words."""
        return self._walked(edits.undo, "undone: ")

    def redo(self) -> str:
        """Do the action again that was undone last; return what it was, in words."""
        return self._walked(edits.redo, "done again: ")

    def _walked(self, walk: Callable[..., Step | None], how: str) -> str:
        with self.guard:
            self._last = None
            step = walk(self.path, *self._size, self._check)
            self._took(self.now, step[1] if step else self.now)
            return how + marks.difference(*step) if step else ""

    def _check(self, decided: edits.Edits) -> None:
        for editor in self._followers():
            editor.check(decided)

    def _took(self, before: edits.Edits, now: edits.Edits) -> bool:
        """Tell the editors what is decided now; return whether that is something else."""
        self._stamp, self.now, self._past = self._stamped(), now, edits_history.read(self.path)
        for editor in self._followers():
            editor.changed(before, now)
        return before != now

    def _followers(self) -> list[Editor]:
        return [editor for each in self._order if (editor := each()) is not None]

    def _stamped(self) -> object:
        """Return what changes with the content of the file, without reading it; None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
