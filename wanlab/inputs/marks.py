"""The decisions about a working clip one by one, to be listed, switched off and on, and taken out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from wanlab import media
from wanlab.inputs import edits
from wanlab.inputs.edits import Edits, Off
from wanlab.mask.prompts import Prompts
from wanlab.pose import corrections

MOST_SAID = 3  # decisions of one action that are named


class Mark(NamedTuple):
    """A decision, or several that were made in one action: all points of a hand that was moved.

    Attributes:
        kind: of `edits.KINDS`.
        items: of that kind.
        on: whether it counts.
    """

    kind: str
    items: tuple[Any, ...]
    on: bool

    def frames(self) -> range:
        """Return the frames that it is about; none: the clip as a whole."""
        first = self.items[0]
        if self.kind == "mask_chain":
            return range(0)
        if self.kind == "stretch":
            return range(first[0], first[1] + 1)
        return corrections.frames_of(first) if self.kind == "pose" else range(first.frame, first.frame + 1)

    def describe(self) -> str:
        """Return what was decided, in words."""
        first = self.items[0]
        if self.kind == "pose":
            return "; ".join(corrections.describe(self.items))
        if self.kind == "stretch":
            return f"masks are worked on in {media.describe_frames(self.frames())} only"
        if self.kind == "mask_chain":
            return f"mask chain {first or 'none'}"
        where = f"on frame {first.frame}"
        if self.kind == "lock":
            return f"frame {first.frame} locked"
        if self.kind == "stroke":
            carried = ", carried to other frames" if first.carried else ""
            return f"{'added' if first.add else 'erased'} with the brush {where}{carried}"
        of_object = f" (object {first.object})" if first.object > 1 else ""
        if self.kind == "box":
            return f"box {where}{of_object}"
        return f"{'point' if first.positive else 'point that does not belong'} {where}{of_object}"

    def content(self) -> dict[str, Any]:
        """Return it as JSON holds it; equal decisions give equal contents."""
        return {
            "kind": self.kind,
            "on": self.on,
            "items": [edits.item_content(self.kind, each) for each in self.items],
        }


def listed(decided: Edits) -> list[Mark]:
    """Return all decisions in the order of their frames, those about the clip as a whole first."""
    found = [Mark(kind, items, on) for kind in edits.KINDS for on, items in _groups(kind, _all(decided, kind))]
    return sorted(found, key=lambda mark: (mark.frames().start if mark.frames() else -1, edits.KINDS.index(mark.kind)))


def named(decided: Edits, content: Any) -> Mark:
    """Return the decision with this content.

    Raises:
        ValueError: if it is not there.
    """
    for mark in listed(decided):
        if mark.content() == content:
            return mark
    raise ValueError("the decision is not there any more; look at the list again")


def switched(decided: Edits, mark: Mark) -> Edits:
    """Return the decisions with one switched off, or on again at its place; of chains and of stretches one alone is on."""
    alone = mark.kind in ("stretch", "mask_chain") and not mark.on

    def change(on: bool, item: Any) -> bool:
        return not mark.on if item in mark.items and on == mark.on else on and not alone

    return _with(decided, mark.kind, [(change(*each), each[1]) for each in _all(decided, mark.kind)])


def removed(decided: Edits, mark: Mark) -> Edits:
    """Return the decisions without one of them; of equal ones the last goes."""
    left = _all(decided, mark.kind)
    for item in mark.items:
        del left[len(left) - 1 - left[::-1].index((mark.on, item))]
    return _with(decided, mark.kind, left)


def difference(before: Edits, after: Edits) -> str:
    """Return in words what an action has changed."""
    old, new = listed(before), listed(after)
    changed = [mark for mark in old if mark not in new] or [mark for mark in new if mark not in old]
    shown = [mark.describe() for mark in changed[:MOST_SAID]]
    return "; ".join([*shown, *([f"and {len(changed) - MOST_SAID} more"] if len(changed) > MOST_SAID else [])])


def _all(decided: Edits, kind: str) -> list[tuple[bool, Any]]:
    """Return the decisions of a kind in their order, and whether each is on."""
    found = [(True, item) for item in edits.items(decided, kind)]
    for each in sorted((each for each in decided.off if each.kind == kind), key=lambda each: each.at):
        found.insert(each.at, (False, each.what))
    return found


def _with(decided: Edits, kind: str, found: Sequence[tuple[bool, Any]]) -> Edits:
    """Return the decisions with other ones of a kind."""
    on = tuple(item for is_on, item in found if is_on)
    off = tuple(Off(kind, at, item) for at, (is_on, item) in enumerate(found) if not is_on)
    changed: dict[str, Any] = {"off": (*(each for each in decided.off if each.kind != kind), *off)}
    if kind in ("click", "box"):
        changed["points"] = Prompts(*(on if name == kind else edits.items(decided, name) for name in ("click", "box")))
    elif kind in ("stroke", "lock", "pose"):
        changed[{"stroke": "strokes", "lock": "locked"}.get(kind, kind)] = on
    else:
        changed[kind] = on[-1] if on else None
    return dataclasses.replace(decided, **changed)


def _groups(kind: str, found: Iterable[tuple[bool, Any]]) -> list[tuple[bool, tuple[Any, ...]]]:
    """Return decisions put together that are one action: joints that were moved one after the other on the same frame."""

    def place(each: tuple[int, tuple[bool, Any]]) -> tuple[bool, Any]:
        number, (on, item) = each
        return on, ("frame", item.frame) if isinstance(item, corrections.Move) else number

    grouped = itertools.groupby(enumerate(found), key=place)
    groups = [[each for _, each in group] for _, group in grouped]
    return [(group[0][0], tuple(item for _, item in group)) for group in groups]
