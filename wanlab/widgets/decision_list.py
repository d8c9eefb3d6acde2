"""All decisions about a working clip in one list: go to each in its editor, switch it off, delete it, apply them all."""

from __future__ import annotations

import weakref
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML

from wanlab import config, media, viz
from wanlab.inputs import decisions, edits, marks
from wanlab.steps import inspect
from wanlab.widgets import history, messages, stills, work


def decision_list(inspection: inspect.Inspection) -> DecisionList | HTML:
    """Return the list of all decisions about the clip that was looked at; headless, or without a clip, a table."""
    if config.headless() or inspection.clip is None:
        return table(decisions.read(inspection.parent, inspection.edits))
    return DecisionList(inspection, inspection.clip)


def table(decided: edits.Edits) -> HTML:
    """Show decisions, one a line, and which of them are switched off."""
    rows = [(mark.describe(), "counts" if mark.on else "off") for mark in marks.listed(decided)]
    return viz.table(("decided by hand", ""), rows or [("nothing", "")])


class DecisionList(stills.Talking, history.Editor):
    """The list; *Apply* makes new inputs with what counts."""

    _protocol = messages.DECISION_LIST
    _esm = stills.module("job.js", "decision_list.js", protocol=_protocol, shared=("parts.js",))

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip) -> None:
        """List what the file of decisions holds.

        Raises:
            ValueError: if it is no file of decisions.
        """
        self._seen, self._result = inspection, ""
        self._work = work.Work(self.tell, self._tell_list)
        self._history = history.History.of(inspection.edits, len(clip), clip.height, clip.width)
        self._held = self._applied()
        super().__init__()
        self._history.follow(self)
        self._refresh_after_cells()

    def refresh(self) -> None:
        """Show what others have decided, or applied, meanwhile."""
        self._history.reload()
        held = self._applied()
        if held != self._held:
            self._held = held
            self._tell_list()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """List other decisions."""
        self._tell_list()

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Do what the browser asks for."""
        if kind == "hello":
            self._tell_list()
        elif kind == "do":
            self._do(content)
        elif kind == "visit":
            mark = marks.named(self._history.now, content["mark"])
            self._history.go_to(mark.kind, mark.frames().start if mark.frames() else None)
        elif kind == "apply":
            self._work.begin("new inputs with what counts", self._apply)
        elif kind == "cancel":
            self._work.cancel()
        else:
            super().received(kind, content)

    def _refresh_after_cells(self) -> None:
        """Look again after every cell of the notebook: one may have applied what is decided."""
        shell, me = get_ipython(), weakref.ref(self)

        def look(_: object) -> None:
            widget = me()
            if widget is not None:
                widget.refresh()

        if shell is not None:
            shell.events.register("post_run_cell", look)

    def wait(self) -> None:
        """Return when the new inputs are there."""
        self._work.wait()

    def _do(self, content: dict[str, Any]) -> None:
        op, said = content["op"], ""
        if op == "undo":
            said = self._history.undo()
        elif op == "redo":
            said = self._history.redo()
        elif op == "switch":
            self._history.do(lambda now: marks.switched(now, marks.named(now, content["mark"])))
        elif op == "delete":
            self._history.do(lambda now: marks.removed(now, marks.named(now, content["mark"])))
        if said:
            self.tell("said", text=said)

    def _apply(self) -> str:
        made = inspect.replay(self._seen, watch=self._work.watch)
        where = config.shown(made.made.folder)
        self._held = self._applied()
        self._result = f'The inputs are {where}. 30_generate takes the newest by itself; these with inputs = "{where}"'
        return "applied"

    def _applied(self) -> edits.Edits:
        """Return the decisions that the newest inputs hold that were made of this file, else those that were looked at."""
        run = decisions.last_applied(self._seen.edits)
        if run is not None and run.path(inspect.REPLAYED).is_file():
            return decisions.read(self._seen.parent, run.path(inspect.REPLAYED))
        return decisions.origin(self._seen.looked_at).applied or edits.Edits()

    def _tell_list(self) -> None:
        now, held = self._history.now, marks.listed(self._held)
        listed = [
            {
                "mark": mark.content(),
                "text": mark.describe(),
                "first": mark.frames().start if mark.frames() else None,
                "applied": mark.on == (mark._replace(on=True) in held),
            }
            for mark in marks.listed(now)
        ]
        self.tell(
            "list",
            marks=listed,
            outdated=now.digest() != self._held.digest(),
            undo=self._history.undoable,
            redo=self._history.redoable,
            file=config.shown(self._history.path),
            result=self._result,
            working=self._work.running,
        )
