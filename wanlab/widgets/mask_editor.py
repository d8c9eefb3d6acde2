"""Correct the mask with points, boxes and a brush: a click shows its mask at once, Propagate has the other frames follow.

Every action is done to the file of decisions at once (module edits), whoever else writes it; the cell that applies it makes
new inputs of that file. The browser sends actions with the frame that it showed and what they are about,
`{"op": "click", "frame": 3, …}`; the kernel's side keeps the history and the masks, and sends every view the new state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
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
from wanlab.inputs import edits, marks
from wanlab.mask import regions
from wanlab.mask.prompts import Box, Click, Prompts, load_prompts, parse_prompts, prompts_content
from wanlab.mask.strokes import Stroke
from wanlab.steps import inspect
from wanlab.widgets import history, messages, stills
from wanlab.widgets.live_masks import Job, LiveMasks

STREAMED_S = 0.3  # seconds between two looks at what is being followed
QUICK_S = 0.1  # a mask that comes within it is shown under the pointer before a click
HOVER_COLOUR = (240, 228, 66)  # Okabe and Ito's yellow
EVERY_KIND = ("click", "box", "stroke", "lock", "stretch")
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

    kinds = EVERY_KIND
    _protocol = messages.MASK_EDITOR
    _esm = stills.module("marks.js", "mask_editor.js", protocol=_protocol)

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip) -> None:
        """Take what is looked at and its working clip; begin with what the file of decisions holds."""
        super().__init__(clip)
        self._size = len(clip), clip.height, clip.width
        self._history = history.History.of(inspection.edits, *self._size)
        self.masks = LiveMasks(inspection, clip, self.frames)
        self._state = self._history.guard
        self._kept: set[regions.Mark] = set()  # that are kept although they make the outline jump, or were asked about
        self._doubt: dict[str, Any] | None = None  # the click that is asked about
        self._jumps: list[int] = []  # frames to look at after the last propagation
        self._seconds: float | None = None  # of a region on a frame that was looked at before
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
        """Whether something that was clicked was not followed to all frames yet."""
        return bool(self.masks.clicked.waiting(self.decided))

    def outline(self, t: int) -> np.ndarray:
        """Return the outline that is shown on frame `t`: [H, W], bool."""
        return self.masks.clicked.outline(self.decided, t)

    def image(self, t: int, layer: str) -> np.ndarray | stills.Tint:
        """Return the frame, or on layer `mask` the outline as a tint, what was clicked in the colour of its object."""
        if layer != "mask":
            return super().image(t, layer)
        self._look(t)
        clicked, decided = self.masks.clicked, self.decided
        added = regions.objects(decided, t, functools.partial(clicked.known, decided))
        kinds = clicked.outline(decided, t).astype(np.uint8)
        colours = [viz.MASK_COLOUR]
        for number, there in sorted(added.items()):
            colours.append(viz.object_colour(number))
            kinds[there & (kinds > 0)] = len(colours)
        return stills.Tint(kinds, *colours)

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
            if self._busy or not self.outdated:
                return None
            self._busy = True
            self._stop.clear()
        worker = threading.Thread(target=self._propagate, args=(self.decided,), daemon=True)
        worker.start()
        self._tell_state()
        return worker

    # actions

    def refresh(self) -> None:
        """Show what another kernel has written into the file meanwhile."""
        self._history.reload()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """Have the views ask again for the masks that a change of the decisions makes other ones."""
        if before.stretch != after.stretch or before.locked != after.locked:
            self.stale("mask")
        elif before != after:
            gone = {*regions.marks(before)} ^ {*regions.marks(after)}
            everywhere = any(self.masks.clicked.is_found(mark) for mark in gone)  # it may have been followed
            frames = {each.frame for each in (*{*before.strokes} ^ {*after.strokes}, *gone)}
            self.stale("mask", frames=None if everywhere else sorted(frames))
        self._tell_state()

    def _do(self, content: dict[str, Any]) -> None:
        said = ""
        with self._state:
            try:
                if content["op"] == "undo":
                    said = self._history.undo()
                elif content["op"] == "redo":
                    said = self._history.redo()
                else:
                    self._doubt = None
                    self._history.do(lambda now: self._changed(now, content))
            finally:
                self._tell_state(content.get("seq"), said)

    def _changed(self, now: edits.Edits, content: dict[str, Any]) -> edits.Edits:
        """Return the decisions after an action.

        Raises:
            ValueError: if the action is about a mark that is not there, or about a locked frame.
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
            there: list[Any] = {"click": clicks, "box": boxes, "stroke": strokes}[content["what"]]
            was = content["was"]
            index = next((i for i, mark in enumerate(there) if self._fields(mark) == was), None)
            if index is None:
                raise ValueError("the mark is not there any more; click again")
            mark = there.pop(index)
            if op == "move":
                there.insert(index, mark._replace(**content["to"]))
        elif op == "stretch":
            stretch = content["stretch"]
        elif op == "import":
            given = parse_prompts(load_prompts(content["text"], "the file"), "the file", *self._size)
            clicks, boxes = list(given.clicks), list(given.boxes)
        elif op == "clear":
            clicks, boxes, strokes = [], [], []
        elif op == "lock":
            return self._locking(now, content["frame"])
        elif op == "keep":
            return marks.switched(now, marks.named(now, content["mark"]))
        else:
            raise ValueError(f"op must be an action of the editor, got {op!r}")
        prompts = Prompts(tuple(clicks), tuple(boxes))
        made = dataclasses.replace(now, points=prompts, strokes=tuple(strokes), stretch=stretch)
        self._check_unlocked(now, made)
        return made

    def _locking(self, now: edits.Edits, t: int) -> edits.Edits:
        """Return the decisions with a frame locked as it is shown, or unlocked."""
        left = tuple(lock for lock in now.locked if lock.frame != t)
        if len(left) < len(now.locked):
            return dataclasses.replace(now, locked=left)
        return dataclasses.replace(now, locked=(*left, regions.Lock.of(t, self.masks.clicked.outline(now, t))))

    def _check_unlocked(self, now: edits.Edits, made: edits.Edits) -> None:
        frames = {lock.frame for lock in now.locked}
        before, after = ([*each.points.clicks, *each.points.boxes, *each.strokes] for each in (now, made))
        wrong = [mark.frame for mark in after if mark.frame in frames and mark not in before]
        if wrong:
            raise ValueError(f"frame {wrong[0]} must be unlocked before it is changed; press L on it")

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
                "waiting": sorted({mark.frame for mark in self.masks.clicked.waiting(now)}),
                "finding": sorted({mark.frame for mark in regions.marks(now) if not self.masks.clicked.is_found(mark)}),
                "locked": [lock.frame for lock in now.locked],
                "jumps": self._jumps,
                "doubt": self._doubt,
                "busy": self._busy,
                "quick": self._seconds is not None and self._seconds < QUICK_S,
                "by": self.masks.name,
                "file": config.shown(self.path),
            }
            self.tell("state", seq=seq, said=said, **state)  # before another thread tells a newer one

    # masks

    def _look(self, t: int) -> None:
        """Have the regions of the marks on frame `t` found, unless they are; the newest wish comes first."""
        if any(not self.masks.clicked.is_found(mark) for mark in regions.marks(self.decided) if mark.frame == t):
            self._jobs.put("look", lambda: self._find(t))

    def _find(self, t: int) -> None:
        with self._telling():
            for mark in [mark for mark in regions.marks(self.decided) if mark.frame == t]:
                if self.masks.clicked.is_found(mark):
                    continue
                self.masks.region(mark)
                if self._seconds is None and isinstance(
                    mark.what, Click
                ):  # the first time took the look at the frame as well
                    self._seconds = self.masks.clicked.seconds(mark)
                self._judge(mark)
            self.stale("mask", frames=[t])
            self._tell_state()

    def _judge(self, mark: regions.Mark) -> None:
        """Switch a click or box off whose region makes the outline jump; the browser asks whether to keep it anyway."""
        with self._state:
            now = self.decided
            if isinstance(mark.what, Stroke) or mark in self._kept or mark not in regions.marks(now):
                return
            without = marks.switched(now, _listed(mark))
            t, inside = mark.frame, range(self._size[0])
            beside = [self.masks.clicked.outline(without, at) if at in inside else None for at in (t - 1, t + 1)]
            was, made = (self.masks.clicked.outline(each, t) for each in (without, now))
            if not regions.jumps((beside[0], made, beside[1]), (beside[0], was, beside[1])):
                return
            share = float((was ^ made).mean())
            self._doubt = {
                "mark": marks.Mark(_listed(mark).kind, (mark.what,), False).content(),
                "frame": mark.frame,
                "text": f"this would change {share:.0%} of frame {mark.frame}, which then looks unlike those beside it",
            }
            self._kept.add(mark)
            self._history.do(lambda _: without, joined=True)

    def _hover(self, content: dict[str, Any]) -> None:
        """Send the region that a click would mean."""
        with self._telling():
            t = content["t"]
            click = Click(t, content["x"], content["y"], content["positive"], content["object"])
            against = tuple(
                each for each in self.decided.points.clicks if each.frame == t and each.positive != click.positive
            )
            region = self.masks.region(regions.Mark(click, against))
            self.tell(
                "hover",
                buffers=[stills.encode(stills.Tint(region, HOVER_COLOUR), content["width"])],
                id=content["id"],
                t=t,
            )

    def _propagate(self, decided: edits.Edits) -> None:
        job = Job(lambda what, done, total: self.tell("progress", what=what, done=done, total=total), self._stop)
        told, news = time.monotonic(), set[int]()
        try:
            with self._telling():
                for t in self.masks.follow(decided, job):
                    news.add(t)
                    if time.monotonic() - told > STREAMED_S:
                        self.stale("mask", frames=sorted(news))
                        told, news = time.monotonic(), set()
                self._jumps = self._jumping(decided)
        except CancelledError:
            self.tell("stopped")
        finally:
            self.stale("mask", frames=sorted(news))
            self._busy = False
            self._tell_state()

    def _jumping(self, decided: edits.Edits) -> list[int]:
        """Return the frames whose outline agrees less with those beside it than before anything was clicked."""
        found, before = [], self.masks.before
        one: np.ndarray | None = None
        here = self.masks.clicked.outline(decided, 0)
        for t in range(len(before)):
            other = self.masks.clicked.outline(decided, t + 1) if t + 1 < len(before) else None
            last, one = (one, here, other), here
            if (here != before[t]).any():
                was = [before[at] if 0 <= at < len(before) else None for at in (t - 1, t, t + 1)]
                found += [t] * regions.jumps(last, was)
            here = other if other is not None else here
        return found

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


def _listed(mark: regions.Mark) -> marks.Mark:
    return marks.Mark("box" if isinstance(mark.what, Box) else "click", (mark.what,), True)


def _read(inspection: inspect.Inspection, clip: media.Clip) -> edits.Edits:
    if not inspection.edits.is_file():
        return edits.Edits()
    return edits.read(inspection.edits, len(clip), clip.height, clip.width)
