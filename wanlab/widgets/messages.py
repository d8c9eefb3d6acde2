"""The messages between the kernel's side of each widget and its side in the browser: one table that both are checked against.

    MASK_EDITOR.to_kernel["hover"]           # the fields of a message and their types
    check(MASK_EDITOR.to_kernel, {"kind": "hover", "t": 3, …})

A field whose type admits None may be left out. `do:click` is the message `do` whose field `op` is "click". What travels as
buffers is said in a comment. `Stills` checks what comes and what it sends; each bundle of scripts holds the table as
`MESSAGES`, against which the browser's `Link` (parts.js) checks the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, NamedTuple

Fields = Mapping[str, type | UnionType]
NUMBER = int | float  # JSON has one kind of number


class Protocol(NamedTuple):
    """What a widget's two sides tell each other: per kind of message its fields.

    Attributes:
        to_kernel: from the browser.
        to_browser: from the kernel, to every view.
    """

    to_kernel: Mapping[str, Fields]
    to_browser: Mapping[str, Fields]

    def plus(self, to_kernel: Mapping[str, Fields], to_browser: Mapping[str, Fields]) -> Protocol:
        """Return this protocol with more messages."""
        return Protocol({**self.to_kernel, **to_kernel}, {**self.to_browser, **to_browser})


STILLS = Protocol(
    to_kernel={
        "refresh": {},  # the pointer came into the widget: another kernel may have written
        "frames": {"id": str, "t": int, "layers": list, "width": int, "warm": bool | None},
    },
    to_browser={
        "frames": {"id": str, "t": int, "layers": list, "width": int},  # one image a layer; none for those made warm
        "stale": {"layers": list, "frames": list | None},  # of all frames: None
        "go": {"t": int | None},  # come into sight, at this frame
        "error": {"text": str, "id": object},  # id of the message that failed
    },
)

_MARK = {"what": str, "was": dict}  # what: click, box or stroke; was: its fields
_CORNERS = {name: NUMBER for name in ("x0", "y0", "x1", "y1")}
_MASK_ACTIONS: Mapping[str, Fields] = {
    "click": {"frame": int, "x": NUMBER, "y": NUMBER, "positive": bool, "object": int},
    "box": {"frame": int, **_CORNERS, "object": int},
    "stroke": {"frame": int, "add": bool, "radius": NUMBER, "path": list, "carried": bool},
    "move": {**_MARK, "to": dict},
    "delete": _MARK,
    "stretch": {"stretch": list | None},
    "import": {"text": str},
    "clear": {},
    "lock": {"frame": int},  # or unlock it
    "keep": {"mark": dict},  # the one in doubt
    "undo": {},
    "redo": {},
}

MASK_EDITOR = STILLS.plus(
    to_kernel={
        "hello": {},
        **{f"do:{op}": {"op": str, "seq": object, **fields} for op, fields in _MASK_ACTIONS.items()},
        "hover": {"id": str, "t": int, "x": NUMBER, "y": NUMBER, "positive": bool, "object": int, "width": int},
        "propagate": {},
        "cancel": {},
        "export": {"id": str},
    },
    to_browser={
        "state": {
            "seq": object, "said": str,  # of the action that led to it: its number, and what was undone
            "clicks": list, "boxes": list, "strokes": list, "stretch": list | None, "undo": bool, "redo": bool,
            "outdated": bool, "busy": bool, "quick": bool, "by": str, "file": str,
            "waiting": list,  # frames with marks that were not followed to all others yet
            "finding": list,  # frames with marks whose region is not known yet
            "locked": list, "jumps": list,  # frames; that look unlike those beside them
            "doubt": dict | None,  # the mark that was switched off, its frame, and why: text
        },
        "hover": {"id": str, "t": int},  # the mask as PNG
        "progress": {"what": str, "done": int, "total": int},
        "stopped": {},
        "exported": {"id": str, "text": str},
    },
)  # fmt: skip

_JOB: Mapping[str, Fields] = {"job": {"running": bool, "text": str, "done": int, "total": int}}

MASK_COMPARISON = STILLS.plus(
    to_kernel={
        "hello": {},
        "masks": {"what": str, "name": str, "t": int},
        "try": {"chain": str},
        "measure": {"name": str},
        "use": {"name": str},
        "cancel": {},
    },
    to_browser={
        "masks": {"what": str, "name": str, "first": int, "sizes": list, "numbers": dict | None},  # deflated bits
        "trial": {"wrong": str},
        **_JOB,
        "state": {"numbers": dict, "unusable": dict, "chosen": str | None, "result": str, "working": bool},
    },
)

DECISION_LIST = Protocol(
    to_kernel={
        "hello": {},
        "refresh": {},
        **{f"do:{op}": {"op": str, "mark": dict} for op in ("switch", "delete")},
        **{f"do:{op}": {"op": str} for op in ("undo", "redo")},
        "visit": {"mark": dict},
        "apply": {},
        "cancel": {},
    },
    to_browser={
        "list": {
            "marks": list, "outdated": bool, "undo": int, "redo": int, "file": str, "result": str, "working": bool,
        },
        "said": {"text": str},
        "error": {"text": str, "id": object},
        **_JOB,
    },
)  # fmt: skip

POSE_REVIEW = STILLS.plus(
    to_kernel={
        "begin": {},
        "poses": {"first": int, "last": int},
        "face": {"t": int},
        "edit": {"entries": list, "merge": bool},
        "interpolate": {"part": str | int, "t": int, "stretch": list | None},
        "mend": {"first": int, "last": int},  # the fault that is listed in these frames
        "undo": {},
        "redo": {},
    },
    to_browser={
        # points, the points as detected, both [n, 133, 3] float32, and face boxes, [n, 4] int32: x1, x2, y1, y2
        "poses": {"first": int, "last": int},
        "face": {"t": int},  # the crop as JPEG
        "stale_faces": {"first": int, "last": int},
        "said": {"text": str, "first": int, "last": int},  # what was done in which frames
        "overview": {  # score, missing, jumping: [parts + 1, T] uint8 each
            "faults": list, "corrections": list, "noFace": list, "cuts": list, "entries": int, "undo": int, "redo": int,
            "notes": list,
        },
    },
)  # fmt: skip

SWEEP_WINNER = Protocol(
    to_kernel={
        "hello": {},
        "star": {"number": int | None},  # None: no winner
        "report": {"full": bool},
        "page": {},
    },
    to_browser={
        # report: where it is; file: the same from the server's root, where it lies below that
        "state": {"number": int | None, "title": str, "working": bool, "text": str, "report": str, "file": str | None},
        "page": {},  # the report as UTF-8
        "error": {"text": str, "id": object},
    },
)

SETTINGS_FORM = Protocol(
    to_kernel={
        "cell": {"source": str},  # what stands in the parameters cell
        "set": {"source": str, "name": str, "text": str},
        "choose": {"name": str, "text": str},  # which files a setting could take, beside the one that it has
        "upload": {"name": str, "file": str, "size": int, "offset": int},  # a piece of it as a buffer
    },
    to_browser={
        "form": {"groups": list, "faults": list},  # heading and fields each
        "source": {"source": str},  # for the parameters cell
        "outlook": {"text": str, "fault": bool},
        "files": {"name": str, "files": list},  # path and label each, an image each
        "uploaded": {"name": str, "offset": int, "path": str | None},  # path: it is complete
        "error": {"text": str, "id": object},
    },
)


RUN_WATCH = Protocol(
    to_kernel={
        "look": {"picture": str},  # id of the picture that is shown, or nothing
        "pause": {"run": str},
        "cancel": {"run": str},
    },
    to_browser={
        "nothing": {},  # no run works, and none was seen
        "state": {  # as watching.Watched
            "run": str, "step": str, "status": str, "what": str, "done": int, "total": int, "left_s": float | None,
            "place": dict, "memory_bytes": int, "gpu_bytes": int, "points": list, "point": str, "is_pausing": bool,
            "kept": str, "is_partial": bool, "error": str, "canPause": bool, "canCancel": bool, "isHere": bool, "where": str, "seconds": float,
        },
        "picture": {"id": str, "segment": int, "step": int, "frames": int, "fps": float},  # JPEG, frames one below the other
        "error": {"text": str, "id": object},
    },
)  # fmt: skip


def check(table: Mapping[str, Fields], content: Mapping[str, Any]) -> None:
    """Check a message, its kind as field `kind`, against one direction of a table.

    Raises:
        ValueError: if the table has no such message, or it holds other fields.
    """
    given = {name: value for name, value in content.items() if name != "kind"}
    kind = f"{content['kind']}:{given['op']}" if "op" in given else content["kind"]
    if kind not in table:
        raise ValueError(f"the kernel's side knows no message {kind!r}; run the cell again")
    fields = table[kind]
    wrong = sorted(given.keys() - fields.keys())
    wrong += [name for name, kind_of in fields.items() if not isinstance(given.get(name), kind_of)]
    if wrong:
        raise ValueError(
            f"message {kind!r} must hold {_listed(fields)}, got another {', '.join(wrong)}; run the cell again"
        )


def for_browser(protocol: Protocol) -> dict[str, dict[str, list[str]]]:
    """Return a protocol as JSON holds it: per direction and kind the names of the fields, with ? those that may lack."""
    return {
        direction: {
            kind: [name + "?" * isinstance(None, of) for name, of in fields.items()] for kind, fields in table.items()
        }
        for direction, table in protocol._asdict().items()
    }


def _listed(fields: Fields) -> str:
    return ", ".join(f"{name}: {getattr(of, '__name__', of)}" for name, of in fields.items()) or "nothing"
