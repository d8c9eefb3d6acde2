"""Look at a pose and correct it: joints over the frame, confidence over time, the worst frames first, face crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import traitlets
from IPython.display import Image, display

from wanlab import config, media, pose, viz
from wanlab.inputs import edits, pose_videos
from wanlab.pose import corrections, face, faults, mending, wholebody
from wanlab.steps import inspect
from wanlab.widgets import history, messages
from wanlab.widgets.stills import Stills, encode, module

CROP = 112  # pixels, the side of a face crop in the strip: 56 at a device pixel ratio of 2
LISTED = 60  # faults


class PoseReview(Stills, history.Editor):
    """The pose of some inputs, and the corrections of it, which are in the file of decisions at once.

    Attributes:
        drawing: how a skeleton is drawn and what its rows are called, for the browser.
    """

    kinds = ("pose",)
    _protocol = messages.POSE_REVIEW
    _esm = module("pose_skeleton.js", "pose_timeline.js", "pose_review.js", protocol=_protocol)
    drawing = traitlets.Dict().tag(sync=True)

    def __init__(self, inspection: inspect.Inspection) -> None:
        """Take the inputs that were looked at, `seen.parent`, with the corrections that `seen.edits` holds already.

        Raises:
            ValueError: inputs whose pose cannot be corrected, or a file that is no file of decisions.
        """
        made = inspection.parent
        pose_videos.check_editable(made)
        clip, detected = made.driving(), made.keypoints()
        assert clip is not None  # checked
        assert detected is not None
        self._made, self._detected = made, detected
        self._size = clip.height, clip.width
        self._history = history.History.of(inspection.edits, len(detected), *self._size)
        self._guard = self._history.guard
        self._last: tuple[corrections.Entry, ...] = ()  # what the last action put in
        self._crops: face.Crops = pose_videos.crops_of(made.face_boxes())
        self._cuts = list(made.facts.get("cuts", ()))
        self._points, self._boxes = detected, self._face_boxes(detected)
        super().__init__(clip, drawing=_drawing(*self._size))
        self._show()
        self._history.follow(self)

    @property
    def points(self) -> np.ndarray:
        """The keypoints with all corrections: [T, 133, 3], float32; x, y in pixels of the working clip, score."""
        return self._points

    def refresh(self) -> None:
        """Show what another kernel has written into the file meanwhile."""
        self._history.reload()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """Show the pose with other corrections."""
        if before.pose != after.pose:
            self._show()
        self._tell_overview()

    def check(self, decided: edits.Edits) -> None:
        """Refuse corrections that cannot be made."""
        corrections.apply(self._detected, decided.pose, self._cuts)

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Answer one message of the browser."""
        with self._guard:
            if kind == "begin":
                self._tell_overview()
            elif kind == "poses":
                self._tell_poses(content["first"], content["last"])
            elif kind == "face":
                t = content["t"]
                self.tell("face", t=t, buffers=[encode(face.crop(self.frames[t], self._boxes.boxes[t]), CROP)])
            elif kind == "edit":
                self._edit(content["entries"], content["merge"])
            elif kind == "interpolate":
                part = content["part"]
                first, last = content["stretch"] or self._gap(part, content["t"])
                self._edit([{"do": "interpolate", "part": part, "first": first, "last": last}], merge=False)
            elif kind == "mend":
                self._mend(content["first"], content["last"])
            elif kind == "undo":
                self._walk(self._history.undo)
            elif kind == "redo":
                self._walk(self._history.redo)
            else:
                super().received(kind, content)

    @property
    def _entries(self) -> tuple[corrections.Entry, ...]:
        return self._history.now.pose

    def _mend(self, first: int, last: int) -> None:
        """Mend a listed fault in one action; say what of it, or beside it, is wrong still.

        Raises:
            ValueError: if nothing of it can be mended.
        """
        hidden = corrections.hidden(self._entries, len(self._points))
        new = mending.mend(self._points, first, last, self._boxes.filled, self._cuts, hidden)
        if not new:
            raise ValueError(
                f"the fault in {media.describe_frames(range(first, last + 1))} cannot be mended from the frames beside it: none in this shot "
                "shows the part, the joint has moved and stays, or nobody is seen for more than a second; move joints, hide the part, or mark a stretch"
            )
        self._edit(corrections.to_json(new), merge=False)
        first, last = (f([t for entry in new for t in corrections.frames_of(entry)]) for f in (min, max))
        left = [
            f"{fault.reason} ({media.describe_frames(range(fault.first, fault.last + 1))})"
            for fault in self._review().faults
            if fault.first <= last + 1 and first <= fault.last
        ]
        self._say("; ".join([*corrections.describe(new), *(f"still wrong: {each}" for each in left)]), new)

    def _edit(self, content: Any, merge: bool) -> None:
        """Add corrections, one action of the user's; with `merge` they take the place of the last one, if it is of its kind."""
        try:
            new = corrections.parse(content, "the correction", len(self._detected), *self._size)
            joined = merge and [_place(entry) for entry in self._last] == [_place(entry) for entry in new]

            def action(now: edits.Edits) -> edits.Edits:
                kept = [entry for entry in now.pose if not (joined and entry in self._last)]
                made = corrections.apply(self._detected, (*kept, *new), self._cuts)
                so_already = np.array_equal(made, corrections.apply(self._detected, now.pose, self._cuts))
                return now if so_already else dataclasses.replace(now, pose=(*kept, *new))

            changed = self._history.do(action, joined=joined)
        except (ValueError, OSError):
            self._tell_poses(0, len(self._detected) - 1)  # the browser may have shown it already
            raise
        if not changed:
            self._show()
            return self.tell("said", text="nothing to change: it is so already", first=0, last=len(self._points))
        self._last = new
        return self._say("; ".join(corrections.describe(new)), new)

    def _walk(self, step: Callable[[], str]) -> None:
        """Undo or redo the last action of any editor, and show what it was."""
        before = self._history.now
        self._last = ()
        text = step()
        after = self._history.now
        self._say(text, before.without(after).pose or after.without(before).pose)

    def _show(self) -> None:
        """Have the views show the pose with the corrections that there are now."""
        before, boxes = self._points, self._boxes.boxes
        self._points = corrections.apply(self._detected, self._entries, self._cuts)
        self._boxes = self._face_boxes(self._points, corrections.hidden_faces(self._entries, len(self._points)))
        other_face = np.flatnonzero((boxes != self._boxes.boxes).any(axis=1))
        changed = np.flatnonzero((before != self._points).any(axis=(1, 2)))
        if len(changed) or len(other_face):
            both = np.union1d(changed, other_face)
            self._tell_poses(int(both[0]), int(both[-1]))
        if len(other_face):
            self.tell("stale_faces", first=int(other_face[0]), last=int(other_face[-1]))

    def _face_boxes(self, points: np.ndarray, hidden: tuple[int, ...] = ()) -> face.Boxes:
        return pose_videos.face_boxes(points, *self._size, self._crops, self._cuts, hidden)

    def _gap(self, part: str | int, t: int) -> tuple[int, int]:
        """Return the stretch around frame `t` in which fewer than half of the part's joints are seen; `t` alone if they are."""
        if isinstance(part, str) and part not in wholebody.PARTS:
            return t, t  # refused with the correction
        lost = corrections.seen(self._points)[:, list(corrections.rows_of(part))].mean(axis=1) < 0.5
        first = last = t
        while lost[t] and first > 0 and lost[first - 1]:
            first -= 1
        while lost[t] and last + 1 < len(lost) and lost[last + 1]:
            last += 1
        return first, last

    def _say(self, text: str, entries: tuple[corrections.Entry, ...]) -> None:
        """Tell what was done; the view goes to the corrections in question, where there are any."""
        frames = [t for entry in entries for t in corrections.frames_of(entry)] or [0, len(self._points)]
        self.tell("said", text=text, first=min(frames), last=max(frames))

    def _tell_poses(self, first: int, last: int) -> None:
        arrays = (each[first : last + 1] for each in (self._points, self._detected, self._boxes.boxes.astype(np.int32)))
        self.tell("poses", first=first, last=last, buffers=[np.ascontiguousarray(each).tobytes() for each in arrays])

    def _review(self) -> faults.Review:
        hidden = corrections.hidden(self._entries, len(self._points))
        return faults.review(self._points, self._boxes.filled, self._cuts, hidden)

    def _tell_overview(self) -> None:
        review = self._review()
        self.tell(
            "overview",
            faults=[
                {"first": f.first, "last": f.last, "reason": f.reason, "part": f.part} for f in review.faults[:LISTED]
            ],
            corrections=list(corrections.describe(self._entries)),
            noFace=list(self._boxes.filled),
            cuts=self._cuts,
            entries=len(self._entries),
            undo=self._history.undoable,
            redo=self._history.redoable,
            notes=[
                f"{name} is your own and is kept as it is: corrections do not show in it"
                for name in pose_videos.own_videos(self._made)
            ],
            buffers=[np.round(np.multiply(strip, 255)).astype(np.uint8).tobytes() for strip in review[:3]],
        )


def pose_review(inspection: inspect.Inspection) -> PoseReview | Image | None:
    """Return the widget that shows and corrects the pose; headless, or without keypoints, stills.

    Args:
        inspection: what `inspection.work` returned.
    """
    if config.headless():
        display(_sheet(inspection))
        points = inspection.made.keypoints()
        if points is None:
            print("these inputs hold no keypoints")
            return None
        no_face, cuts = (inspection.made.facts.get(name, ()) for name in ("no_face", "cuts"))
        hidden = corrections.hidden(inspect.decided(inspection).pose, len(points))
        review = faults.review(points, no_face, cuts, hidden)
        display(viz.pose_faults(review))
        return viz.pose_timeline(review, cuts)
    try:
        return PoseReview(inspection)
    except ValueError as error:
        print(error)
        return _sheet(inspection)


def _sheet(inspection: inspect.Inspection) -> Image:
    return viz.contact_sheet(inspect.poses_and_faces(inspection), marks=inspect.marks(inspection))


def _place(entry: corrections.Entry) -> Any:
    return (entry.frame, entry.joint) if isinstance(entry, corrections.Move) else entry


def _drawing(height: int, width: int) -> dict[str, Any]:
    return {
        "sources": pose.BODY_SOURCES,
        "limbs": pose.LIMBS,
        "colours": pose.COLOURS,
        "shade": pose.LIMB_SHADE,
        "fingers": pose.FINGERS,
        "fingerColours": pose.FINGER_COLOURS,
        "tipColour": pose.FINGERTIP_COLOUR,
        "hands": [rows.start for rows in wholebody.HANDS],
        "wrists": corrections.WRISTS,
        "face": [wholebody.FACE.start, wholebody.FACE.stop],
        "drawnFrom": pose.DRAWN_FROM,
        "faceFrom": face.MIN_SCORE,
        "numBody": wholebody.NUM_BODY,
        "stick": pose.half_limb(height, width),
        "parts": list(wholebody.PARTS.items()),
        "names": [corrections.name_of(row) for row in range(len(wholebody.NAMES))],
    }
