"""Quick looks (`preview`): what they leave out, and inputs made smaller for them.

A preview only ever caps: what lies below stays as it is, so that one command with `--preview` more is quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from wanlab import checkpoints, config, files, inputs, mask, media, pose, resize, runs

STEPS = 8  # of the 20 to 40 that are customary
RESOLUTION = "832 480"  # the smaller of the two areas that Wan2.2-Animate is made for
FOLDER = "inputs"  # in a run: its inputs made smaller
NOT_MEASURED = "no metrics: its numbers would not compare with a result's"


class Look(NamedTuple):
    """How a generation is cut down: its settings, the (height, width) in pixels of the picture, a phrase per thing left out."""

    settings: config.GenerateSettings
    height: int
    width: int
    left_out: tuple[str, ...]


def at_film(settings: config.PreprocessSettings, clip: media.Clip) -> tuple[config.PreprocessSettings, tuple[str, ...]]:
    """Return the settings that work on the first second of a clip only, and what that leaves out; a short clip is whole.

    The size stays: points clicked on a preview and frame numbers hold for the whole clip too.
    """
    second = max(1, round(clip.fps))
    if len(clip) <= second:
        return settings, ()
    return settings.replaced(max_frames=second), (f"max_frames {second} instead of {len(clip)} (the first second)",)


def at_generation(
    settings: config.GenerateSettings, made: inputs.AnimateInputs, checkpoint: checkpoints.Checkpoint
) -> Look:
    """Return how a generation with these resolved settings is cut down: first segment, a smaller area, fewer steps.

    Neither steps nor area exceed what the checkpoint recommends: a miniature stays as small as it is.
    """
    whole = min(made.num_frames, settings.max_frames or made.num_frames)
    length, overlap = settings.segment_frame_length or 0, settings.prev_segment_conditioning_frames or 0
    frames = min(whole, length)
    shortest = max(frames + (1 - frames) % 4, overlap + 4)  # 4n + 1, and more than what a segment takes over
    caps = {
        "num_inference_steps": min(STEPS, checkpoint.recommended["num_inference_steps"]),
        "max_frames": frames,
        "segment_frame_length": shortest,
    }
    reasons = {"max_frames": " (the first segment)", "segment_frame_length": " (as short as these frames)"}
    now = {**settings.model_dump(include=set(caps)), "max_frames": whole}
    lower = {name: cap for name, cap in caps.items() if cap < now[name]}
    left_out = [f"{name} {cap} instead of {now[name]}{reasons.get(name, '')}" for name, cap in lower.items()]
    area = min(map(resize.area_of, (RESOLUTION, checkpoint.recommended["resolution"])))
    height, width = made.height, made.width
    if height * width > area:
        height, width = resize.area_size(height, width, area)
        left_out.append(f"{height}x{width} instead of {made.height}x{made.width} (height x width)")
    return Look(settings.replaced(**lower), height, width, (*left_out, NOT_MEASURED))


def inputs_of(run: runs.Run, folder: Path | None = None) -> inputs.AnimateInputs:
    """Return the inputs that a generation reads: those made smaller for it, else those of `folder`; None: wherever they are."""
    smaller = run.folder / FOLDER
    if smaller.is_dir():
        return inputs.read(smaller)
    return inputs.of_run(run) if folder is None else inputs.read(folder)


def shrink(made: inputs.AnimateInputs, folder: Path, look: Look) -> tuple[str, ...]:
    """Write the first frames of inputs at the size of a quick look into `folder`, as 10_preprocess makes them at that size.

    Skeletons are drawn anew from the key points: drawn large and shrunk, hands vanish. Drawings that do not come from
    these key points can only be shrunk.

    Args:
        made: the inputs.
        folder: that is written, whole or not at all.
        look: from `at_generation`.

    Returns:
        what a reader must know of the pictures, a sentence each.
    """
    count, size = look.settings.max_frames or made.num_frames, (look.height, look.width)
    replacing, film = made.mode == "replace", _first(made.driving(), count)
    clip_size = size if replacing else _clip_size(made)
    skeletons = _skeletons(made, count, size)
    reference = resize.letterbox(made.reference_image(), *size, interpolation=cv2.INTER_AREA)
    with files.writing_folder(folder) as part:
        media.write_image(part / inputs.REFERENCE, reference)
        _write_pair(part, "pose_video", skeletons or _small(_first(made.video("pose_video"), count), size), made.fps)
        _write_pair(part, "face_video", _first(made.video("face_video"), count), made.fps)
        if film is not None:
            sound = media.AudioStretch(film.info.path, 0.0, float(count / film.fps)) if film.info.has_audio else None
            frames = _small(film, size) if replacing else film
            media.write_video(part / inputs.DRIVING, frames, made.fps, lossless=True, audio=sound)
        if replacing:
            _write_mask(part, made, film, count, size)
        _write_points(part, made, count, size, clip_size)
        inputs.write_facts(
            part,
            mode=made.mode,
            clip_height=clip_size[0],
            clip_width=clip_size[1],
            run=made.facts.get("run", ""),
            parent=made.facts.get("parent"),
            preview=list(look.left_out),
        )
    sentences = ["pose_video is drawn anew from the key points at the preview's size"]
    if skeletons is None:
        sentences = ["pose_video is shrunk, for it is not drawn from these inputs' key points: thin lines may be lost"]
    if replacing:
        sentences.append("the mask is shrunk: its edge may lie a pixel elsewhere, and the lattice of snap:16 is lost")
    return tuple(sentences)


def _skeletons(made: inputs.AnimateInputs, count: int, size: tuple[int, int]) -> Iterator[np.ndarray] | None:
    """Return skeletons of another size; None where the inputs' own drawings are not those of their key points."""
    points, clip_size = made.keypoints(), _clip_size(made)
    if points is None or None in clip_size:
        return None
    meta = pose.to_meta(points[:count], *clip_size)

    def drawn(height: int, width: int) -> Iterator[np.ndarray]:
        placed = pose.letterbox_meta(meta, clip_size[0], clip_size[1], height, width)
        return pose.draw(placed, height, width)

    theirs = _first(made.video("pose_video"), count)
    return drawn(*size) if all(map(np.array_equal, drawn(made.height, made.width), theirs)) else None


def _write_mask(
    part: Path, made: inputs.AnimateInputs, film: media.Clip | None, count: int, size: tuple[int, int]
) -> None:
    """Write mask and background; where the background is the film blacked out, so is the small one."""
    large, person = made.mask()[:count], made.person_mask()
    final, outline = (_small_masks(masks, size) for masks in (large, large if person is None else person[:count]))
    inputs.save_masks(part, outline, final, made.fps)
    kept = _first(made.video("background_video"), count)
    frames = _small(kept, size)
    if film is not None and all(map(np.array_equal, kept, map(mask.blank_out, film, large))):
        frames = map(mask.blank_out, _small(film, size), final)
    _write_pair(part, "background_video", frames, made.fps)


def _write_points(part: Path, made: inputs.AnimateInputs, count: int, size: tuple[int, int], clip_size: Any) -> None:
    """Write the key points in pixels of the new working clip and reference, where the inputs hold any."""
    points, own = made.keypoints(), made.reference_keypoints()
    if points is None or own is None or None in clip_size:
        return
    box = resize.letterbox_geometry(made.height, made.width, *size)
    if made.mode == "replace":  # where the working clip has the result's size
        points = box.place(points, made.height, made.width)
    files.write_arrays(
        part / inputs.KEYPOINTS,
        keypoints=points[:count].astype(np.float32),
        reference_keypoints=box.place(own, made.height, made.width).astype(np.float32),
        size=np.array(clip_size),
    )


def _clip_size(made: inputs.AnimateInputs) -> Any:
    """Return height and width of the working clip in pixels; None, None in a folder of other tools."""
    return made.facts.get("clip_height"), made.facts.get("clip_width")


def _write_pair(part: Path, name: str, frames: Iterable[np.ndarray], fps: Fraction) -> None:
    export, master = inputs.EXPORTS[name]
    media.write_video(part / master, frames, fps, lossless=True)
    media.write_video(part / export, media.open_clip(part / master), fps)


def _first(clip: Any, count: int) -> Any:
    """Return the first frames of a clip; None of None."""
    return clip and clip.at(slice(count))


def _small(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    return (resize.letterbox(frame, *size, interpolation=cv2.INTER_AREA) for frame in frames)


def _small_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink [T, H, W], bool; True where more than half of a pixel was."""
    white = (np.repeat(each[..., None], 3, axis=2).astype(np.uint8) * 255 for each in masks)
    return np.stack([frame[..., 0] >= 128 for frame in _small(white, size)])
