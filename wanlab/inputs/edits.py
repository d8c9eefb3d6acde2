"""Decisions about inputs as a file, `edits.json` beside the inputs that they are about; replayed they make new inputs.

{"schema": 1,
 "stretch": [12, 40],             frames first to last, inclusive, in which clicked masks are worked on; null: all
 "points": {…},                   clicked points and boxes, the form of a points file (module points); null: none
 "strokes": [{"frame": 12, "add": true, "radius": 14.0, "path": [[80.5, 41.0], …], "carried": false}, …],
 "pose": [{"do": "hide", "part": "left hand", "first": 20, "last": 24}, …],      the form of pose.corrections, in order
 "mask_chain": "snap:16",         the chosen chain; null: the current one
 "locked": [{"frame": 12, "mask": "eNrt…"}, …],         frames whose mask stays: deflated bits in Base64, rows of whole bytes
 "off": [{"kind": "pose", "at": 0, "what": {…}}, …]}   kept, but switched off: its kind, its place among those, itself

Coordinates are pixels of the working clip: pixel (0, 0) covers x from 0 to 1. A widget writes every action at once, so
nothing is lost with a kernel; a section may hold what is not finished, such as a negative point alone. Several kernels may
write one file: each action is done to what the file holds at that moment, one writer at a time, and can be taken back by any
(module edits_history).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from wanlab import config, files, mask, media
from wanlab.files import locks
from wanlab.inputs import edits_history
from wanlab.mask import prompts
from wanlab.mask.regions import Lock
from wanlab.mask.strokes import Stroke
from wanlab.pose import corrections

EDITS = "edits.json"
SECTIONS: Mapping[str, Any] = {
    "stretch": None, "points": None, "strokes": [], "pose": [], "mask_chain": None, "locked": [], "off": [],
}  # fmt: skip
KINDS = ("click", "box", "stroke", "lock", "pose", "stretch", "mask_chain")  # of decisions, each by itself
NO_POINTS = prompts.Prompts(())
MOST = 10_000  # strokes, and corrections of the pose
MOST_PLACES = 200_000  # of all strokes' paths: an hour of painting
T = TypeVar("T")


class Off(NamedTuple):
    """A decision that is kept, but does not count.

    Attributes:
        kind: of KINDS.
        at: its place among those of its kind, for when it is switched on again.
        what: a Click, a Box, a Stroke, a Lock, an entry of pose.corrections, the stretch or the chain.
    """

    kind: str
    at: int
    what: Any


@dataclasses.dataclass(frozen=True)
class Edits:
    """All decisions about one folder of inputs.

    Attributes:
        stretch: first and last frame, inclusive, in which clicked masks are worked on; None: all.
        points: clicked points and boxes.
        strokes: in the order in which they were painted.
        pose: corrections of keypoints, in the order in which they were made.
        mask_chain: the chosen chain; None: the current one.
        locked: frames whose mask stays as it is.
        off: what was decided and does not count at present.
    """

    stretch: tuple[int, int] | None = None
    points: prompts.Prompts = NO_POINTS
    strokes: tuple[Stroke, ...] = ()
    pose: tuple[corrections.Entry, ...] = ()
    mask_chain: str | None = None
    locked: tuple[Lock, ...] = ()
    off: tuple[Off, ...] = ()

    @property
    def of_the_mask(self) -> bool:
        """Whether anything here changes the mask."""
        return any(self.points) or bool(self.strokes or self.locked) or self.mask_chain is not None

    @property
    def empty(self) -> bool:
        """Whether nothing that counts was decided; a stretch alone decides nothing."""
        return not self.of_the_mask and not self.pose

    def digest(self) -> str:
        """Return a hash of what was decided: equal decisions, equal hash, however a file writes them."""
        followed = any(self.points) or any(stroke.carried for stroke in self.strokes)
        return config.digest(
            {
                "stretch": self.stretch if followed else None,  # alone it decides nothing
                "points": self.points,
                "strokes": self.strokes,
                "pose": corrections.to_json(self.pose),
                "mask_chain": self.mask_chain,
                **({"locked": self.locked} if self.locked else {}),
            }
        )

    def without(self, others: Edits) -> Edits:
        """Return the decisions that are not in `others` too."""
        return Edits(
            self.stretch,
            prompts.Prompts(
                _left(self.points.clicks, others.points.clicks), _left(self.points.boxes, others.points.boxes)
            ),
            _left(self.strokes, others.strokes),
            _left(self.pose, others.pose),
            None if self.mask_chain == others.mask_chain else self.mask_chain,
            _left(self.locked, others.locked),
        )

    def describe(self) -> tuple[str, ...]:
        """Return what was decided, a few words each."""
        said = []
        if any(self.points):
            said.append(self.points.describe())
        for carried, what in ((False, "brush stroke"), (True, "carried brush stroke")):
            frames = [stroke.frame for stroke in self.strokes if stroke.carried == carried]
            if frames:
                said.append(f"{_count(len(frames), what)} on {_count(len(set(frames)), 'frame')}")
        if self.locked:
            said.append(f"{media.describe_frames(sorted(lock.frame for lock in self.locked))} locked")
        if self.stretch is not None and said:
            first, last = self.stretch
            said.append(f"{media.describe_frames(range(first, last + 1))} only")
        said += corrections.describe(self.pose)
        if self.mask_chain is not None:
            said.append(f"mask chain {self.mask_chain or 'none'}")
        return tuple(said)


def read(path: Path, num_frames: int, height: int, width: int) -> Edits:
    """Read and check a file of decisions.

    Args:
        path: the file.
        num_frames, height, width: of the working clip.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: not JSON of this form, or a decision outside the clip.
    """
    if not path.is_file():
        raise FileNotFoundError(f"edits {path.name} does not exist; 20_inspect writes {EDITS} beside the inputs")
    return parse(_load(path), path.name, num_frames, height, width)


def parse(content: Mapping[str, Any], name: str, num_frames: int, height: int, width: int) -> Edits:
    """Return the decisions that the content of a file means; `name` is what messages call it, the rest as `read`."""
    unknown = [key for key in content if key not in (*SECTIONS, "schema")]
    if unknown:
        raise ValueError(f"{name} must hold {', '.join(SECTIONS)} only, got {unknown[0]!r}; take it out")
    value = {name: empty if content.get(name) is None else content[name] for name, empty in SECTIONS.items()}
    if value["mask_chain"] is not None:
        mask.parse_chain(value["mask_chain"])
    clicked = NO_POINTS
    if value["points"] is not None:
        clicked = prompts.parse_prompts(value["points"], name, num_frames, height, width, unfinished=True)
    strokes = tuple(_stroke(stroke, num_frames, name) for stroke in _list(value["strokes"], "strokes", name))
    places = sum(len(stroke.path) for stroke in strokes)
    if places > MOST_PLACES:
        raise ValueError(
            f"{name} must hold strokes of at most {MOST_PLACES:,} places in all, got {places:,}; paint with fewer and wider strokes"
        )
    return Edits(
        _stretch(value["stretch"], num_frames, name),
        clicked,
        strokes,
        corrections.parse(_list(value["pose"], "pose", name), f"pose of {name}", num_frames, height, width),
        value["mask_chain"],
        _locked(_list(value["locked"], "locked", name), name, num_frames, height, width),
        tuple(_off(each, name, num_frames, height, width) for each in _list(value["off"], "off", name)),
    )


def change(
    path: Path,
    action: Callable[[Edits], Edits],
    num_frames: int,
    height: int,
    width: int,
    join: tuple[Edits, Edits] | None = None,
) -> tuple[Edits, Edits]:
    """Apply an action to the decisions in the file, while no other process writes it; it can be undone.

    Args:
        path: the file; made where there is none.
        action: takes the decisions and returns what they become; what it raises leaves the file as it is.
        num_frames, height, width: of the working clip.
        join: the decisions before and after the last action: if nothing has changed since, both become one action.

    Returns:
        the decisions before and after it; where they are equal, nothing is written.

    Raises:
        ValueError: if the file is no file of decisions (it is not written over), or a decision does not fit the clip.
        OSError: if it cannot be written.
    """
    with _alone(path):
        content = _load(path) if path.is_file() else {}
        before = parse(content, path.name, num_frames, height, width)
        now, wanted = (as_content(decided, height, width) for decided in (before, action(before)))
        after = parse(wanted, path.name, num_frames, height, width)
        if wanted != now:
            _write(path, content, now, wanted)
            past = edits_history.read(path)
            if join is not None and join[1] == before and past.done:
                past.done.pop()
                now = as_content(join[0], height, width)
            edits_history.write(path, edits_history.Past([*past.done, edits_history.step_between(now, wanted)], []))
    return before, after


def undo(
    path: Path, num_frames: int, height: int, width: int, check: Callable[[Edits], object] = lambda _: None
) -> tuple[Edits, Edits] | None:
    """Take the last action back that still has an effect, whoever did it; return the decisions before and after.

    Args:
        path, num_frames, height, width: as `change`.
        check: raises a ValueError for decisions that cannot be; nothing is changed then.

    Returns:
        None: there is none.

    Raises:
        ValueError, OSError: as `change`.
    """
    return _walk(path, (num_frames, height, width), check, back=True)


def redo(
    path: Path, num_frames: int, height: int, width: int, check: Callable[[Edits], object] = lambda _: None
) -> tuple[Edits, Edits] | None:
    """Do the action again that was undone last; as `undo`."""
    return _walk(path, (num_frames, height, width), check, back=False)


def update(path: Path, **sections: Any) -> None:
    """Replace sections of the file of decisions, for a script; the others stay as they are. What can be undone: `change`.

    Args:
        path: the file; made where there is none.
        sections: by name (SECTIONS), ready for JSON.

    Raises:
        ValueError: an unknown section, or a file that is no file of decisions: it is not written over.
        OSError: if it cannot be written.
    """
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        raise ValueError(config.unknown_choice("section", unknown[0], list(SECTIONS)))
    with _alone(path):
        content = _load(path) if path.is_file() else {}
        files.write_json(path, {"schema": 1, **SECTIONS, **content, **sections})


def items(decided: Edits, kind: str) -> tuple[Any, ...]:
    """Return the decisions of a kind of `Off` that count."""
    if kind in ("stretch", "mask_chain"):
        value = getattr(decided, kind)
        return () if value is None else (value,)
    of_points = {"click": decided.points.clicks, "box": decided.points.boxes}
    return {**of_points, "stroke": decided.strokes, "lock": decided.locked, "pose": decided.pose}[kind]


def by_hand(folder: Path) -> str:
    """Return in a few words which decisions lie in a folder, nothing where there are none."""
    path = folder / EDITS
    return f"your decisions in {EDITS}" if path.exists() and decides(path) else ""


def decides(path: Path) -> bool:
    """Return whether a file of decisions holds any; one that cannot be read may."""
    try:
        content = _load(path)
    except (OSError, ValueError):
        return True
    return any(content.get(name) not in (None, [], {}) for name in SECTIONS if name != "stretch")


def as_content(decided: Edits, height: int, width: int) -> dict[str, Any]:
    """Return decisions as the file holds them, for a working clip of `height` x `width` pixels."""
    return {
        "stretch": None if decided.stretch is None else list(decided.stretch),
        "points": prompts.prompts_content(decided.points, height, width) if any(decided.points) else None,
        "strokes": [as_json(stroke) for stroke in decided.strokes],
        "pose": corrections.to_json(decided.pose),
        "mask_chain": decided.mask_chain,
        "locked": [lock._asdict() for lock in decided.locked],
        "off": [{"kind": each.kind, "at": each.at, "what": item_content(each.kind, each.what)} for each in decided.off],
    }


def item_content(kind: str, what: Any) -> Any:
    """Return one decision, of a kind of `Off`, as the file holds those that are switched off."""
    if kind == "stroke":
        return as_json(what)
    if kind == "pose":
        return corrections.to_json([what])[0]
    if kind in ("click", "box", "lock"):
        return what._asdict()
    return list(what) if kind == "stretch" else what


def as_json(stroke: Stroke) -> dict[str, Any]:
    """Return a stroke as the file holds it."""
    return {**stroke._asdict(), "path": [list(place) for place in stroke.path]}


def _alone(path: Path) -> contextlib.AbstractContextManager[object]:
    """Keep other writers of a file waiting, those of other processes too, while a block runs."""
    return locks.awaited(files.make_folder(path.parent) / f".{path.name}.lock", path.name)


def _walk(
    path: Path, size: tuple[int, int, int], check: Callable[[Edits], object], *, back: bool
) -> tuple[Edits, Edits] | None:
    """Go one step back or forward again in the history of a file of decisions."""
    with _alone(path):
        past = edits_history.read(path)
        source, target = (past.done, past.undone) if back else (past.undone, past.done)
        content = _load(path) if path.is_file() else {}
        before = parse(content, path.name, *size)
        now, count = as_content(before, *size[1:]), len(source)
        while source:
            step = source.pop()
            decided = parse(edits_history.walked(now, step, back=back), path.name, *size)
            if decided == before:  # someone has taken it back by hand
                continue
            check(decided)
            _write(path, content, now, as_content(decided, *size[1:]))
            target.append(step)
            edits_history.write(path, past)
            return before, decided
        if count:
            edits_history.write(path, past)
    return None


def _write(path: Path, content: Mapping[str, Any], now: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Write the sections that change; `content` is what the file holds, `now` the same as wanlab writes it."""
    changed = {name: value for name, value in wanted.items() if value != now[name]}
    files.write_json(path, {"schema": 1, **SECTIONS, **content, **changed})


def _left(items: Sequence[T], others: Sequence[T]) -> tuple[T, ...]:
    """Return `items` without those of `others`, each as often as it is there."""
    taken, left = Counter(others), []
    for item in items:
        taken[item] -= 1
        if taken[item] < 0:
            left.append(item)
    return tuple(left)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("schema") != 1:
        remedy = "move it away" if path.name == EDITS else f"name the {EDITS} that 20_inspect keeps beside the inputs"
        raise ValueError(f'{path.name} must hold decisions with "schema": 1, got other content; {remedy}')
    return content


def _list(value: Any, section: str, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must have a list as {section}, got {type(value).__name__}")
    if len(value) > MOST:
        raise ValueError(
            f"{name} must hold at most {MOST:,} decisions as {section}, got {len(value):,}; take out those that others undo"
        )
    return value


def _stretch(value: Any, num_frames: int, name: str) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        first, last = (int(frame) for frame in value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} must have a stretch in the form [12, 40], got {value!r}; use its first and last frame"
        ) from None
    if not 0 <= first <= last < num_frames:
        raise ValueError(
            f"{name} must have its stretch inside the clip ({num_frames} frames), first to last, got {first} to {last}; "
            f"use frames 0 to {num_frames - 1}"
        )
    return first, last


def _stroke(value: Any, num_frames: int, name: str) -> Stroke:
    try:
        path = tuple((float(x), float(y)) for x, y in value["path"])
        stroke = Stroke(
            int(value["frame"]), bool(value["add"]), float(value["radius"]), path, bool(value.get("carried"))
        )
        if not np.isfinite([stroke.radius, *itertools.chain(*path)]).all():
            raise ValueError(value)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{name} must have strokes in the form {{"frame": 12, "add": true, "radius": 14, "path": [[80, 41]]}}, got '
            f"{str(value)[:80]}; take it out, or paint it again in 20_inspect"
        ) from None
    if not (0 <= stroke.frame < num_frames and stroke.radius > 0 and path):
        raise ValueError(
            f"{name} must have its strokes inside the clip ({num_frames} frames), with a radius above 0 and a path, got "
            f"radius {stroke.radius:g} and {len(path)} places on frame {stroke.frame}; take it out"
        )
    return stroke


def _locked(values: Sequence[Any], name: str, num_frames: int, height: int, width: int) -> tuple[Lock, ...]:
    """Return the locked frames, in rising order."""
    try:
        locks = sorted(Lock(int(value["frame"]), str(value["mask"])) for value in values)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{name} must have locked frames in the form {{"frame": 12, "mask": "…"}}; take them out'
        ) from None
    frames = [lock.frame for lock in locks]
    if len(set(frames)) < len(frames) or any(not 0 <= t < num_frames for t in frames):
        raise ValueError(
            f"{name} must lock frames of the clip (0 to {num_frames - 1}) once each, got {frames}; take one out"
        )
    for lock in locks:
        lock.bits(height, width)
    return tuple(locks)


def _off(value: Any, name: str, num_frames: int, height: int, width: int) -> Off:
    """Return what one entry of the section `off` means; its decision must fit as if it counted."""
    try:
        kind, at, what = str(value["kind"]), int(value["at"]), value["what"]
        if kind == "click":
            section: dict[str, Any] = {"points": {"positive" if what["positive"] else "negative": [what]}}
        elif kind == "box":
            corners = dict(
                zip(("startX", "startY", "endX", "endY"), (what[n] for n in prompts.Box._fields[1:5]), strict=True)
            )
            section = {"points": {"bboxes": [{**corners, "frame": what["frame"], "object": what["object"]}]}}
        else:
            section = {"stroke": {"strokes": [what]}, "lock": {"locked": [what]}, "pose": {"pose": [what]}}.get(
                kind
            ) or {kind: what}
        if at < 0 or kind not in KINDS or what is None:
            raise ValueError(kind)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{name} must have what is off in the form {{"kind": "pose", "at": 0, "what": {{…}}}}, got {str(value)[:80]}; take it out'
        ) from None
    decided = parse(section, name, num_frames, height, width)
    return Off(kind, at, items(decided, kind)[0])


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
