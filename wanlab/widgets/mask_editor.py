"""Correct the mask with points, boxes and a brush: a click shows its mask at once, Propagate has the other frames follow.

Every action is done to the file of decisions at once (module edits), whoever else writes it; the cell that applies it makes
new inputs of that file. The browser sends actions with the frame that it showed and what they are about,
`{"op": "click", "frame": 3, …}`; the kernel's side keeps the history and the masks, and sends every view the new state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import Image

from wanlab import config, media, viz
from wanlab.inputs import edits
from wanlab.mask import PackedMasks
from wanlab.mask.prompts import Box, Click, Prompts, check_finished, load_prompts, parse_prompts, prompts_content
from wanlab.mask.strokes import Stroke, around, painted, to_find
from wanlab.steps import inspect
from wanlab.widgets import history, messages, stills
from wanlab.widgets.live_masks import Job, LiveMasks

QUICK_S = 0.1  # a mask that comes within it is shown under the pointer before a click
HOVER_COLOUR = (240, 228, 66)  # Okabe and Ito's yellow
SHOWN = 6  # frames of the still image beside those with marks


def mask_editor(inspection: inspect.Inspection) -> MaskEditor | Image | None:
    """Return the editor of the inputs that were looked at; headless a still image of their outline and the marks.

    Args:
        inspection: what `inspection.work` returned; without masks (animate) a sentence is printed instead.
    """
    if inspection.clip is None or inspection.parent.mode == "animate":
        print("these inputs hold no mask")
        return None
    return sheet(inspection, inspection.clip) if config.headless() else MaskEditor(inspection, inspection.clip)


def sheet(inspection: inspect.Inspection, clip: media.Clip) -> Image:
    """Show frames of the clip with the outline, and the points, boxes and strokes that were made on them."""
    decided = _read(inspection, clip)
    outline = inspect.outline_of(inspection.made)
    marked = sorted({each.frame for each in (*decided.points.clicks, *decided.points.boxes, *decided.strokes)})
    spread = np.linspace(0, len(clip) - 1, min(SHOWN, len(clip))).round().astype(int).tolist()
    frames = sorted({*marked[:SHOWN], *spread})
    shown = clip.at(frames)
    images = {t: viz.marked(viz.overlay(frame, outline[t]), t, decided) for t, frame in zip(frames, shown, strict=True)}
    return viz.frame_sheet({"the person": images}, marks=dict.fromkeys(marked, "edited"))


class MaskEditor(stills.Stills, history.Editor):
    """The editor; its state is `decided`, what the file holds."""

    kinds = ("click", "box", "stroke", "stretch")
    _protocol = messages.MASK_EDITOR
    _esm = stills.module("marks.js", "mask_editor.js", protocol=_protocol)

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip) -> None:
        """Take what is looked at and its working clip; begin with what the file of decisions holds."""
        super().__init__(clip)
        self._size = len(clip), clip.height, clip.width
        self._history = history.History.of(inspection.edits, *self._size)
        self.masks = LiveMasks(inspection, clip, self.frames)
        self._state = self._history.guard
        self._live: dict[int, tuple[Prompts, np.ndarray]] = {}  # per frame the prompts there and their mask
        self._followed: PackedMasks | None = None  # masks of the last propagation, from the first frame of its range on
        self._followed_by: tuple[range, Prompts] = range(0), Prompts(())
        self._seconds: float | None = None  # of a mask on a frame that was looked at before
        self._stop = threading.Event()
        self._busy = False
        self._jobs = _Newest()
        self._history.follow(self)

    # what is shown

    @property
    def path(self) -> Path:
        """The file of decisions."""
        return self._history.path

    @property
    def decided(self) -> edits.Edits:
        """What the file held when it was last read or written."""
        return self._history.now

    @property
    def outdated(self) -> bool:
        """Whether frames do not follow what was clicked last."""
        return self._is_outdated(self.decided)

    def outline(self, t: int) -> np.ndarray:
        """Return the outline that is shown on frame `t`: [H, W], bool."""
        with self._state:
            decided, base = self.decided, self._base(t)
        return painted(base, [stroke for stroke in decided.strokes if stroke.frame == t])

    def image(self, t: int, layer: str) -> np.ndarray | stills.Tint:
        """Return the frame, or on layer `mask` the outline as a tint."""
        if layer != "mask":
            return super().image(t, layer)
        self._look(t)
        return stills.Tint(self.outline(t), viz.MASK_COLOUR)

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Take an action, a wish to preview a click, or one of the buttons."""
        if kind == "do":
            self._do(content)
        elif kind == "hover":
            self._jobs.put("hover", lambda: self._hover(content))
        elif kind == "propagate":
            self.propagate()
        elif kind == "cancel":
            self._stop.set()
        elif kind == "export":
            self.tell("exported", id=content["id"], text=json.dumps(self._exported()))
        elif kind == "hello":
            self._tell_state()
        else:
            super().received(kind, content)

    def propagate(self) -> threading.Thread | None:
        """Have the frames follow what was clicked, in a thread; None where that is done or under way."""
        with self._state:
            frames, prompts = self._wanted()
            if self._busy or not self.outdated:
                return None
            check_finished(prompts, "the clicks")
            self._busy = True
            self._stop.clear()
        worker = threading.Thread(target=self._propagate, args=(frames, prompts), daemon=True)
        worker.start()
        self._tell_state()
        return worker

    # actions

    def refresh(self) -> None:
        """Show what another kernel has written into the file meanwhile."""
        self._history.reload()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """Have the views ask again for the masks that a change of the decisions makes other ones."""
        self._tell_state()
        if self._is_outdated(before) != self._is_outdated(after) or before.stretch != after.stretch:
            self.stale("mask")
            return
        if before != after:
            frames = {each.frame for state in (before, after) for each in (*state.points.clicks, *state.points.boxes)}
            self.stale("mask", frames=sorted(frames | {each.frame for s in (before, after) for each in s.strokes}))

    def _do(self, content: dict[str, Any]) -> None:
        said = ""
        with self._state:
            try:
                if content["op"] == "undo":
                    said = self._history.undo()
                elif content["op"] == "redo":
                    said = self._history.redo()
                else:
                    self._history.do(lambda now: self._changed(now, content))
            finally:
                self._tell_state(content.get("seq"), said)

    def _changed(self, now: edits.Edits, content: dict[str, Any]) -> edits.Edits:
        """Return the decisions after an action.

        Raises:
            ValueError: if the action is about a mark that is not there.
        """
        op = content["op"]
        clicks, boxes, strokes = list(now.points.clicks), list(now.points.boxes), list(now.strokes)
        stretch = now.stretch
        if op == "click":
            clicks.append(Click(*(content[name] for name in Click._fields)))
        elif op == "box":
            box = Box(*(content[name] for name in Box._fields))
            boxes = [each for each in boxes if (each.frame, each.object) != (box.frame, box.object)] + [box]
        elif op == "stroke":
            strokes.append(Stroke(*(content[name] for name in Stroke._fields)))
        elif op in ("move", "delete"):
            marks: list[Any] = {"click": clicks, "box": boxes, "stroke": strokes}[content["what"]]
            was = content["was"]
            index = next((i for i, mark in enumerate(marks) if self._fields(mark) == was), None)
            if index is None:
                raise ValueError("the mark is not there any more; click again")
            mark = marks.pop(index)
            if op == "move":
                marks.insert(index, mark._replace(**content["to"]))
        elif op == "stretch":
            stretch = content["stretch"]
        elif op == "import":
            given = parse_prompts(load_prompts(content["text"], "the file"), "the file", *self._size)
            clicks, boxes = list(given.clicks), list(given.boxes)
        elif op == "clear":
            clicks, boxes, strokes = [], [], []
        else:
            raise ValueError(f"op must be an action of the editor, got {op!r}")
        prompts = Prompts(tuple(clicks), tuple(boxes))
        return dataclasses.replace(now, points=prompts, strokes=tuple(strokes), stretch=stretch)

    def _exported(self) -> dict[str, Any]:
        """Return the points as a points file holds them."""
        _, height, width = self._size
        return prompts_content(self.decided.points, height, width) if any(self.decided.points) else {}

    @staticmethod
    def _fields(mark: Any) -> dict[str, Any]:
        return edits.as_json(mark) if isinstance(mark, Stroke) else mark._asdict()

    def _tell_state(self, seq: Any = None, said: str = "") -> None:
        with self._state:
            now = self.decided
            state = {
                "clicks": [self._fields(click) for click in now.points.clicks],
                "boxes": [self._fields(box) for box in now.points.boxes],
                "strokes": [self._fields(stroke) for stroke in now.strokes],
                "stretch": None if now.stretch is None else list(now.stretch),
                "undo": self._history.undoable > 0,
                "redo": self._history.redoable > 0,
                "outdated": self.outdated,
                "live": [t for t in self._live if self._is_live(t)],
                "busy": self._busy,
                "quick": self._seconds is not None and self._seconds < QUICK_S,
                "by": self.masks.name,
                "file": config.shown(self.path),
            }
            self.tell("state", seq=seq, said=said, **state)  # before another thread tells a newer one

    # masks

    def _wanted(self) -> tuple[range, Prompts]:
        return to_find(self.decided, self.masks.before)

    def _is_outdated(self, decided: edits.Edits) -> bool:
        wanted = to_find(decided, self.masks.before)
        return any(wanted[1]) and wanted != self._followed_by

    def _base(self, t: int) -> np.ndarray:
        """Return the outline on a frame without the strokes: from the clicks on it, else as propagated, else as it was before."""
        frames, prompts = self._wanted()
        if t not in frames or not any(prompts):
            return self.masks.before[t]
        if self.outdated and self._is_live(t):
            return self._live[t][1]
        return self._followed_on(t)

    def _followed_on(self, t: int) -> np.ndarray:
        frames = self._followed_by[0]
        return self._followed[t - frames.start] if self._followed is not None and t in frames else self.masks.before[t]

    def _prompts_on(self, t: int) -> Prompts:
        """Return the prompts on frame `t`; where negative points alone are there, with a box around the outline."""
        frames, prompts = self._wanted()
        here = Prompts(
            tuple(click._replace(frame=t) for click in prompts.clicks if click.frame + frames.start == t),
            tuple(box._replace(frame=t) for box in prompts.boxes if box.frame + frames.start == t),
        )
        return self._placed(here, t)

    def _placed(self, here: Prompts, t: int) -> Prompts:
        known = {box.object for box in here.boxes} | {click.object for click in here.clicks if click.positive}
        lost = {click.object for click in here.clicks} - known
        box = around(self._followed_on(t), t) if lost else None
        more = () if box is None else tuple(box._replace(object=number) for number in sorted(lost))
        return Prompts(here.clicks, (*here.boxes, *more))

    def _is_live(self, t: int) -> bool:
        return t in self._live and self._live[t][0] == self._prompts_on(t)

    def _look(self, t: int) -> None:
        """Have the mask of the clicks on frame `t` found, unless it is there; the newest wish comes first."""
        with self._state:
            prompts = self._prompts_on(t)
            if not any(prompts) or not self.outdated or self._is_live(t):
                return
        self._jobs.put("look", lambda: self._find(t, prompts))

    def _find(self, t: int, prompts: Prompts) -> None:
        with self._telling():
            found = self.masks.mask(t, prompts)
            if self._seconds is None:  # the first time it took the look at the frame as well
                begin = time.monotonic()
                self.masks.mask(t, prompts)
                self._seconds = time.monotonic() - begin
            with self._state:
                self._live[t] = prompts, found
            self.stale("mask", frames=[t])
            self._tell_state()

    def _hover(self, content: dict[str, Any]) -> None:
        """Send the mask that a click would give."""
        with self._telling():
            t = content["t"]
            click = Click(t, content["x"], content["y"], content["positive"], content["object"])
            with self._state:
                here = self._prompts_on(t)
                here = self._placed(Prompts((*here.clicks, click), here.boxes), t)
            image = stills.Tint(self.masks.mask(t, here), HOVER_COLOUR)
            self.tell("hover", buffers=[stills.encode(image, content["width"])], id=content["id"], t=t)

    def _propagate(self, frames: range, prompts: Prompts) -> None:
        job = Job(lambda what, done, total: self.tell("progress", what=what, done=done, total=total), self._stop)
        try:
            with self._telling():
                found = self.masks.follow(frames, prompts, job)
                with self._state:
                    self._followed, self._followed_by = found, (frames, prompts)
                self.stale("mask")
        except CancelledError:
            self.tell("stopped")
        finally:
            self._busy = False
            self._tell_state()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Show what fails in a thread, but not that it was stopped."""
        try:
            yield
        except CancelledError:
            raise
        except Exception as error:
            self.tell("error", text=str(error) or type(error).__name__)


class _Newest:
    """A thread that does the newest job of each kind, in the order of the kinds' names backwards: looks before hovers."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callable[[], None]] = {}
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, kind: str, job: Callable[[], None]) -> None:
        """Do a job soon; one of its kind that waits is dropped."""
        with self._change:
            self._waiting[kind] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting:
                    self._change.wait()
                job = self._waiting.pop(max(self._waiting))
            job()


def _read(inspection: inspect.Inspection, clip: media.Clip) -> edits.Edits:
    if not inspection.edits.is_file():
        return edits.Edits()
    return edits.read(inspection.edits, len(clip), clip.height, clip.width)
