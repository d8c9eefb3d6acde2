"""Write smaller inputs for a preview."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wanlab import files, mask, media, pose
from wanlab.inputs import pose_videos, write
from wanlab.inputs.folder import DRIVING, EXPORTS, KEYPOINTS, REFERENCE, AnimateInputs
from wanlab.media import resize

FOLDER = "inputs"  # in a run: its inputs made smaller


def shrink(
    animate_inputs: AnimateInputs, folder: Path, *, num_frames: int, height: int, width: int, left_out: Sequence[str]
) -> tuple[str, ...]:
    """Write the first frames of inputs at the size of a preview into `folder`, as 10_preprocess makes them at that size.

    Skeletons are drawn again from the keypoints: drawn large and shrunk, hands vanish. Drawings that do not come from
    these keypoints can only be shrunk.

    Args:
        animate_inputs: the inputs.
        folder: that is written, completely or not at all.
        num_frames: frames to take, from the first on.
        height, width: of the pose video in pixels, and in replace of the working clip.
        left_out: what a preview leaves out, a phrase each, for `inputs.json`.

    Returns:
        what a reader must know of the images, a sentence each.
    """
    count, size = num_frames, (height, width)
    replacing, driving = animate_inputs.mode == "replace", _first(animate_inputs.driving(), count)
    clip_size = size if replacing else _clip_size(animate_inputs)
    skeletons = _skeletons(animate_inputs, count, size)
    reference = resize.letterbox(animate_inputs.reference_image(), *size, interpolation=cv2.INTER_AREA)
    with files.writing_folder(folder) as part:
        media.write_image(part / REFERENCE, reference)
        _write_pair(
            part,
            "pose_video",
            skeletons or _small(_first(animate_inputs.video("pose_video"), count), size),
            animate_inputs.fps,
        )
        _write_pair(part, "face_video", _first(animate_inputs.video("face_video"), count), animate_inputs.fps)
        if driving is not None:
            sound = (
                media.AudioStretch(driving.info.path, 0.0, float(count / driving.fps))
                if driving.info.has_audio
                else None
            )
            frames = _small(driving, size) if replacing else driving
            media.write_video(part / DRIVING, frames, animate_inputs.fps, lossless=True, audio=sound)
        if replacing:
            _write_mask(part, animate_inputs, driving, count, size)
        _write_points(part, animate_inputs, count, size, clip_size)
        write.write_facts(
            part,
            mode=animate_inputs.mode,
            clip_height=clip_size[0],
            clip_width=clip_size[1],
            run=animate_inputs.facts.get("run", ""),
            parent=animate_inputs.facts.get("parent"),
            preview=list(left_out),
        )
    sentences = ["pose_video is drawn again from the keypoints at the preview's size"]
    if skeletons is None:
        sentences = ["pose_video is shrunk, for it is not drawn from these inputs' keypoints: thin lines may be lost"]
    if replacing:
        sentences.append("the mask is shrunk: its edge may lie a pixel elsewhere, and the lattice of snap:16 is lost")
    return tuple(sentences)


def _skeletons(animate_inputs: AnimateInputs, count: int, size: tuple[int, int]) -> Iterator[np.ndarray] | None:
    """Return skeletons of another size; None where the inputs' own drawings are not those of their keypoints."""
    points, clip_size = animate_inputs.keypoints(), _clip_size(animate_inputs)
    if points is None or None in clip_size:
        return None
    with np.load(animate_inputs.folder / KEYPOINTS, allow_pickle=False) as saved:
        fitted = pose_videos.retargeting_of(saved)
        measured = saved.get(pose_videos.MEASURED)

    def drawn(height: int, width: int) -> Iterator[np.ndarray]:
        large = (height, width) if fitted is None else (animate_inputs.height, animate_inputs.width)
        placed = pose_videos.placed(points, clip_size[0], clip_size[1], large[0], large[1], fitted, measured)
        return pose.draw(pose.Meta(*(each[:count] for each in placed)), height, width)

    theirs = _first(animate_inputs.video("pose_video"), count)
    return (
        drawn(*size) if all(map(np.array_equal, drawn(animate_inputs.height, animate_inputs.width), theirs)) else None
    )


def _write_mask(
    part: Path, animate_inputs: AnimateInputs, driving: media.Clip | None, count: int, size: tuple[int, int]
) -> None:
    """Write mask and background; where the background is the video blacked out, so is the small one."""
    large, person = animate_inputs.packed_mask().copy(count), animate_inputs.packed_person_mask()
    final = outline = _small_masks(large, size)
    if person is not None:
        outline = _small_masks(person.copy(count), size)
    write.save_masks(part, outline, final, animate_inputs.fps)
    kept = _first(animate_inputs.video("background_video"), count)
    frames = _small(kept, size)
    if driving is not None and all(map(np.array_equal, kept, map(mask.blank_out, driving, large))):
        frames = map(mask.blank_out, _small(driving, size), final)
    _write_pair(part, "background_video", frames, animate_inputs.fps)


def _write_points(part: Path, animate_inputs: AnimateInputs, count: int, size: tuple[int, int], clip_size: Any) -> None:
    """Write the keypoints in pixels of the new working clip and reference, where the inputs hold any."""
    points, own = animate_inputs.keypoints(), animate_inputs.reference_keypoints()
    if points is None or own is None or None in clip_size:
        return
    box = resize.letterbox_geometry(animate_inputs.height, animate_inputs.width, *size)
    if animate_inputs.mode == "replace":  # where the working clip has the result's size
        points = box.place(points, animate_inputs.height, animate_inputs.width)
    drawn = animate_inputs.drawn_keypoints()
    more = {}
    if drawn is not None:
        moved = box.place(drawn[:count], animate_inputs.height, animate_inputs.width)
        more["drawn_keypoints"] = moved.astype(np.float32)
    files.write_arrays(
        part / KEYPOINTS,
        **more,
        keypoints=points[:count].astype(np.float32),
        reference_keypoints=box.place(own, animate_inputs.height, animate_inputs.width).astype(np.float32),
        size=np.array(clip_size),
    )


def _clip_size(animate_inputs: AnimateInputs) -> Any:
    """Return height and width of the working clip in pixels; None, None in a folder of other tools."""
    return animate_inputs.facts.get("clip_height"), animate_inputs.facts.get("clip_width")


def _write_pair(part: Path, name: str, frames: Iterable[np.ndarray], fps: Fraction) -> None:
    export, master = EXPORTS[name]
    media.write_pair(part / master, part / export, frames, fps)


def _first(clip: Any, count: int) -> Any:
    """Return the first frames of a clip; None of None."""
    return clip and clip.at(slice(count))


def _small(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    return (resize.letterbox(frame, *size, interpolation=cv2.INTER_AREA) for frame in frames)


def _small_masks(masks: Iterable[np.ndarray], size: tuple[int, int]) -> mask.PackedMasks:
    """Shrink masks, [H, W], bool each; True where more than half of a pixel was."""
    white = (np.repeat(each[..., None], 3, axis=2).astype(np.uint8) * 255 for each in masks)
    return mask.PackedMasks(*size, (frame[..., 0] >= 128 for frame in _small(white, size)))
