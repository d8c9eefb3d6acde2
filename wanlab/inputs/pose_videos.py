"""What of the inputs follows from the keypoints: the drawn skeletons, the face crops, and the keypoints themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from wanlab import config, files, media, pose, runs
from wanlab.inputs import folder
from wanlab.inputs.own_videos import all_black, look
from wanlab.inputs.write import write_pair
from wanlab.pose import corrections, face, retarget, wholebody

VIDEOS = ("pose_video", "face_video")
HEAD = list(wholebody.PARTS["head"])
METHOD, EDITED = "retarget", ("edited_driver_keypoints", "edited_reference_keypoints")  # arrays of keypoints.npz
MEASURED = "measured_keypoints"  # the same: those before corrections by hand, where bones are measured in them


class Retargeting(NamedTuple):
    """Whose proportions the drawn skeletons have.

    Attributes:
        method: official or wanlab.
        reference: [133, 3], float32; the character's keypoints in pixels of the result.
        edited: the same of a frame of the working clip and of the reference after an image model has put both into one
            pose, in pixels of the clip and of the result; None: they were not edited.
    """

    method: retarget.Method
    reference: np.ndarray
    edited: tuple[np.ndarray, np.ndarray] | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `keypoints.npz` keeps of it."""
        kept = {METHOD: np.array(self.method)}
        return kept if self.edited is None else kept | dict(zip(EDITED, self.edited, strict=True))


def retargeting_of(arrays: Mapping[str, np.ndarray]) -> Retargeting | None:
    """Return what `keypoints.npz` tells of retargeting; None: the skeletons are the driver's own."""
    if METHOD not in arrays:
        return None
    edited = (arrays[EDITED[0]], arrays[EDITED[1]]) if EDITED[0] in arrays else None
    return Retargeting(cast("retarget.Method", str(arrays[METHOD])), arrays["reference_keypoints"], edited)


def placed(
    points: np.ndarray,
    clip_height: int,
    clip_width: int,
    height: int,
    width: int,
    fitted: Retargeting | None,
    measured: np.ndarray | None = None,
) -> pose.Meta:
    """Return the skeletons on the result's canvas: of the reference's proportions, else through the letterbox.

    Args:
        points: [T, 133, 3], float32; x, y in pixels of the working clip, score.
        clip_height, clip_width: of the working clip in pixels.
        height, width: of the result in pixels.
        fitted: whose proportions; None: the driver's.
        measured: [T, 133, 3], the keypoints before corrections by hand, where there are any.
    """
    meta = pose.to_meta(points, clip_height, clip_width)
    if fitted is None:
        return pose.letterbox_meta(meta, clip_height, clip_width, height, width)

    def posed(each: np.ndarray, high: int, wide: int) -> retarget.Posed:
        return retarget.Posed(pose.to_meta(each[None], high, wide), high, wide)

    edited = None
    if fitted.edited is not None:
        edited = retarget.Edited(
            posed(fitted.edited[0], clip_height, clip_width), posed(fitted.edited[1], height, width)
        )
    driver = retarget.Posed(meta, clip_height, clip_width)
    before = None if measured is None else driver._replace(meta=pose.to_meta(measured, clip_height, clip_width))
    return retarget.retarget(driver, posed(fitted.reference, height, width), fitted.method, edited, measured=before)


def face_boxes(
    points: np.ndarray,
    height: int,
    width: int,
    crops: face.Crops = "official",
    cuts: Collection[int] = (),
    hidden: Collection[int] = (),
) -> face.Boxes:
    """Return the box of the face in each frame, and the frames that have none of their own.

    Args:
        points: [T, 133, 3], float32; x, y in pixels of the working clip, score.
        height, width: of the working clip in pixels.
        crops: whether boxes are steady.
        cuts: first frames of new shots.
        hidden: frames whose face is hidden by hand; their crop is black.
    """
    head = points[:, HEAD] / np.array([width, height, 1], np.float32)
    of_face = pose.to_meta(points, height, width).face
    found = face.boxes(of_face, height, width, head=head).without(hidden)
    return face.steady(found, of_face, height, width, cuts) if crops == "steady" else found


def crops_of(boxes: np.ndarray | None) -> face.Crops:
    """Return how faces were cropped, by the boxes that `keypoints.npz` holds: steady ones lie between pixels."""
    return "steady" if boxes is not None and boxes.dtype.kind == "f" else "official"


def write(
    run: runs.Run,
    clip: media.Clip,
    points: np.ndarray,
    height: int,
    width: int,
    own: Mapping[str, media.Clip],
    fitted: Retargeting | None = None,
    measured: np.ndarray | None = None,
    crops: face.Crops = "official",
    cuts: Collection[int] = (),
    hidden: Collection[int] = (),
    **more: np.ndarray,
) -> face.Boxes:
    """Write `keypoints.npz`, the pose video and the face video into a run; return the face boxes that were used.

    Args:
        run: that gets the files.
        clip: the working clip.
        points: [T, 133, 3], float32; x, y in pixels of the working clip, score.
        height, width: of the pose video in pixels, the result's.
        own: the user's own videos, which are taken instead of what would be made, by name.
        fitted: whose proportions the skeletons get; None: the driver's.
        measured: [T, 133, 3], the keypoints before corrections by hand.
        crops, cuts, hidden: as in `face_boxes`.
        more: further arrays of `keypoints.npz` (boxes, reference_keypoints).

    Raises:
        ValueError: if no frame of the pose video shows a skeleton.
    """
    boxes = face_boxes(points, clip.height, clip.width, crops, cuts, hidden)
    if "face_video" not in own:
        run.add_notes(*boxes.notes())
    skeletons = placed(points, clip.height, clip.width, height, width, fitted, measured)
    if fitted is not None:
        more |= {**fitted.arrays(), "drawn_keypoints": retarget.to_keypoints(skeletons, height, width)}
        more |= {} if measured is None or np.array_equal(measured, points) else {MEASURED: measured}
    files.write_arrays(
        run.path(folder.KEYPOINTS),
        keypoints=points,
        size=np.array([clip.height, clip.width]),
        names=np.array(wholebody.NAMES),
        face_boxes=boxes.boxes,
        **more,
    )
    with run.stage("pose"):
        if "pose_video" in own:
            run.add_notes(
                *look("pose_video", own["pose_video"], clip, lambda frames: _drawn(skeletons, frames, height, width))
            )
            write_pair(run, "pose_video", own["pose_video"], clip.fps)
        else:
            if not any(pose_frame.any() for pose_frame in pose.draw(skeletons, height, width)):
                raise ValueError(all_black("the pose", len(clip)))
            write_pair(run, "pose_video", pose.draw(skeletons, height, width), clip.fps)
    with run.stage("face"):
        if "face_video" in own:
            run.add_notes(*look("face_video", own["face_video"], clip, lambda frames: _cropped(clip, boxes, frames)))
        cropped = (face.crop(frame, box) for frame, box in zip(clip, boxes.boxes, strict=True))
        write_pair(run, "face_video", own.get("face_video") or cropped, clip.fps)
    return boxes


def own_videos(animate_inputs: folder.AnimateInputs) -> tuple[str, ...]:
    """Return which of the pose and the face video are the user's own: given to 10_preprocess, or swapped in the folder."""
    swapped = {name for name in VIDEOS if animate_inputs.files[name].suffix == ".mp4"}  # else the master is current
    return tuple(name for name in VIDEOS if name in swapped | set(animate_inputs.facts.get("own", ())))


def check_editable(animate_inputs: folder.AnimateInputs) -> None:
    """Refuse to change a pose from which nothing is made.

    Raises:
        ValueError: inputs without keypoints or working clip, or with a pose and a face video that are both the user's own.
    """
    missing = next(
        (name for name in (folder.KEYPOINTS, folder.DRIVING) if not (animate_inputs.folder / name).is_file()), None
    )
    if missing:
        raise ValueError(
            f"pose corrections need {missing}, which is missing in {config.typed(animate_inputs.folder)}, as in folders of other "
            "tools; make the inputs with wanlab preprocess, or change src_pose.mp4 itself"
        )
    if len(own_videos(animate_inputs)) == len(VIDEOS):
        raise ValueError(
            "pose corrections must be left out where pose_video and face_video are your own, which are kept as they are; "
            "let wanlab preprocess make one of them"
        )


def rewritten(animate_inputs: folder.AnimateInputs, entries: Iterable[corrections.Entry]) -> np.ndarray:
    """Return the inputs' keypoints with corrections, [T, 133, 3], float32; x, y in pixels of the working clip, score.

    Raises:
        ValueError: as `check_editable` and `corrections.apply`.
    """
    check_editable(animate_inputs)
    found = animate_inputs.keypoints()
    assert found is not None  # checked
    return corrections.apply(found, entries, animate_inputs.facts.get("cuts", ()))


def rewrite(
    run: runs.Run, animate_inputs: folder.AnimateInputs, entries: Iterable[corrections.Entry]
) -> dict[str, Any]:
    """Write keypoints, pose and face video of inputs again with corrections; the user's own videos are kept, with a note.

    Returns:
        the facts about them for `inputs.json`: no_person, no_face, cuts, own.

    Raises:
        ValueError: as `check_editable` and `corrections.apply`.
    """
    entries = tuple(entries)
    points, clip = rewritten(animate_inputs, entries), animate_inputs.driving()
    assert clip is not None  # checked
    with np.load(animate_inputs.folder / folder.KEYPOINTS, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    found = arrays.pop("keypoints")
    before = arrays.get(MEASURED, found)
    own = own_videos(animate_inputs)
    for name in own:
        run.add_notes(f"{name} is your own and is kept: what was corrected by hand does not show in it")
    fitted, crops = retargeting_of(arrays), crops_of(arrays.get("face_boxes"))
    cuts = list(animate_inputs.facts.get("cuts", ()))
    made_again = ("size", "names", "face_boxes", "drawn_keypoints", METHOD, MEASURED, *EDITED)
    more = {name: array for name, array in arrays.items() if name not in made_again}
    boxes = write(
        run,
        clip,
        points,
        animate_inputs.height,
        animate_inputs.width,
        {name: animate_inputs.video(name) for name in own},
        fitted,
        before,
        crops,
        cuts,
        corrections.hidden_faces(entries, len(points)),
        **more,
    )
    empty, was_empty = (~(each[..., 2] > 0).any(axis=1) for each in (points, found))
    was_without = np.isin(np.arange(len(points)), animate_inputs.facts.get("no_person", ()))
    no_person = np.flatnonzero(empty & (was_without | ~was_empty)).tolist()
    run.add_artefact("keypoints", folder.KEYPOINTS, frames=len(clip), no_person=no_person, cuts=cuts)
    return {"no_person": no_person, "no_face": list(boxes.filled), "cuts": cuts, "own": list(own)}


def _drawn(skeletons: pose.Meta, frames: Sequence[int], height: int, width: int) -> Iterator[np.ndarray]:
    """Yield the skeletons of some frames as they would be drawn."""
    return pose.draw(pose.Meta(*(each[list(frames)] for each in skeletons)), height, width)


def _cropped(clip: media.Clip, boxes: face.Boxes, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the face crops of some frames as they would be made."""
    return (face.crop(frame, boxes.boxes[t]) for frame, t in zip(clip.at(frames), frames, strict=True))
