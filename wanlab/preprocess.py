"""Step 10: a driving video and a reference image → the folder of inputs that generation reads.

run = preprocess.start(settings)     # sizes, hashes, the run folder; nothing is worked on yet
inputs = preprocess.work(run)        # keypoints → pose drawings, face crops → files
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from wanlab import checkpoints, config, face, inputs, keypoints, mask, media, pose, resize, runs, sam

RESULT_VERSION = 2  # raise it when the same settings come to mean another result

T = TypeVar("T")


def start(settings: config.PreprocessSettings) -> runs.Run:
    """Resolve the settings and find or make the run folder; print what size will come out.

    Raises:
        FileNotFoundError, ValueError: if an input is missing or cannot be used, before anything is worked on.
    """
    driving = _existing("driving_video", settings.driving_video)
    reference = _existing("reference_image", settings.reference_image)
    checkpoint = checkpoints.find(settings.checkpoint)
    replacing = settings.mode == "replace"
    if not replacing and (settings.mask_chain is not None or settings.mask_source != "auto"):
        raise config.SettingsError(
            "mask_source and mask_chain must be left out in animate, which has no mask; use mode replace"
        )
    resolved = settings.replaced(
        resolution=settings.resolution or checkpoint.recommended["resolution"],
        retarget=bool(settings.retarget),
        mask_source="segmenter" if replacing else "auto",
        mask_chain=(mask.DEFAULT_CHAIN if settings.mask_chain is None else settings.mask_chain) if replacing else None,
        checkpoint=checkpoint.folder,
    )
    try:  # whatever is wrong with the files is said before a run is made
        clip = _open_clip(resolved)
        mask.parse_chain(resolved.mask_chain or "")
        image = media.open_image(reference).pixels
        height, width = output_size(resolved, clip, image)
    except ValueError as error:
        raise config.SettingsError(str(error)) from error
    run = runs.open_run(
        "preprocess",
        resolved,
        inputs={
            "driving_video": {"file": config.shown(driving), "sha256": runs.file_sha256(driving)},
            "reference_image": {"file": config.shown(reference), "sha256": runs.file_sha256(reference)},
        },
        models=keypoints.fingerprints(),
        result_version=RESULT_VERSION,
        fresh=settings.fresh,
    )
    run.add_notes(
        f"resolution {resolved.resolution} is an area: with the shape of the "
        + (f"film ({clip.height}x{clip.width}) " if replacing else f"reference ({image.shape[0]}x{image.shape[1]}) ")
        + f"the result is {height}x{width} (height x width)"
    )
    return run


def output_size(settings: config.PreprocessSettings, clip: media.Clip, reference: np.ndarray) -> tuple[int, int]:
    """Return (height, width) of the result in pixels, about the area of `resolution`.

    Its shape is the reference's in animate, where the character keeps its own picture, and the film's in replace.
    """
    shape = (clip.height, clip.width) if settings.mode == "replace" else reference.shape
    return resize.area_size(shape[0], shape[1], _area(settings))


def work(run: runs.Run) -> inputs.AnimateInputs:
    """Detect, draw, crop and write everything into the run folder; a completed run is only read.

    Raises:
        ValueError: if no frame of the driving video shows a person.
    """
    if not run.completed:
        with run.working():
            _work(run, run.settings)
    made = inputs.read(run.folder)
    if run.settings.save_path is not None:
        target = config.absolute(run.settings.save_path)
        copy_inputs(run.folder, target)
        print(f"inputs copied to {target}")
    return made


def copy_inputs(folder: Path, target: Path) -> None:
    """Copy the inputs (not the manifest, notebook or report) of `folder` to `target`, whole or not at all."""
    names = [inputs.REFERENCE, inputs.FACTS, inputs.DRIVING, inputs.KEYPOINTS]
    names += [name for pair in inputs.EXPORTS.values() for name in pair]
    runs.copy_whole(folder, target, only=[name for name in names if (folder / name).is_file()])


def _work(run: runs.Run, settings: config.PreprocessSettings) -> None:
    with run.stage("read"):
        clip = _open_clip(settings)
        run.add_notes(*clip.notes)
        opened = media.open_image(config.absolute(settings.reference_image))
        run.add_notes(*opened.notes)
        height, width = output_size(settings, clip, opened.pixels)
        if settings.mode == "replace":
            reference = resize.letterbox(opened.pixels, height, width)
        else:
            reference = resize.resize_by_area(opened.pixels, _area(settings))
        media.write_image(run.path(inputs.REFERENCE), reference)
        run.add_artefact("reference_image", inputs.REFERENCE, height=height, width=width)
        audio = (
            media.AudioStretch(clip.info.path, settings.start_s, float(len(clip) / clip.fps))
            if clip.info.has_audio
            else None
        )
        _write_video(
            run,
            "driving_video",
            inputs.DRIVING,
            _progress(_sized(clip, settings), "read", len(clip)),
            clip.fps,
            lossless=True,
            audio=audio,
        )
    clip = media.open_clip(
        run.path(inputs.DRIVING)
    )  # from here on the working clip, and the map back to the source is kept
    with run.stage("keypoints"):
        found = keypoints.detect(_progress(clip, "keypoints", len(clip)), float(clip.fps))
        if len(found.no_person) == len(clip):
            raise ValueError(
                f"driving_video must show a person, got none in its {len(clip)} frames; use a film with one person who is at least a quarter of the picture high"
            )
        of_reference = keypoints.detect_image(reference)
        if of_reference.no_person:
            run.add_notes(
                "no person was found in reference_image: the character is used as it is, without a sketch of its skeleton"
            )
        run.add_notes(*found.notes)
        boxes = face.boxes(pose.to_meta(found.keypoints, clip.height, clip.width).face, clip.height, clip.width)
        if boxes.filled:
            run.add_notes(
                f"no usable face in {keypoints.describe_frames(boxes.filled)}: the nearest good face box was used there"
            )
        np.savez_compressed(
            run.path(inputs.KEYPOINTS),
            keypoints=found.keypoints,
            size=np.array([clip.height, clip.width]),
            names=np.array(keypoints.NAMES),
            boxes=found.boxes,
            face_boxes=boxes.boxes,
            reference_keypoints=of_reference.keypoints[0],
        )
        run.add_artefact(
            "keypoints", inputs.KEYPOINTS, frames=len(clip), no_person=list(found.no_person), cuts=list(found.cuts)
        )
    with run.stage("pose"):
        meta = pose.letterbox_meta(
            pose.to_meta(found.keypoints, clip.height, clip.width), clip.height, clip.width, height, width
        )
        _write_pair(run, "pose_video", pose.draw(meta, height, width), clip.fps)
    with run.stage("face"):
        crops = (face.crop(frame, box) for frame, box in zip(clip, boxes.boxes, strict=True))
        _write_pair(run, "face_video", crops, clip.fps)
    if settings.mode == "replace":
        with run.stage("mask"):
            _write_masks(run, clip, found.keypoints, settings.mask_chain or "")
    with run.stage("facts"):
        inputs.write_facts(
            run.folder,
            mode=settings.mode,
            clip_height=clip.height,
            clip_width=clip.width,
            parent=run.id,
            no_person=list(found.no_person),
            no_face=list(boxes.filled),
            cuts=list(found.cuts),
        )
        run.add_artefact("inputs", inputs.FACTS)


def _sized(clip: media.Clip, settings: config.PreprocessSettings) -> Iterator[np.ndarray]:
    """Yield the working clip's frames: as they are in animate, at the result's size in replace."""
    for frame in clip:
        yield resize.resize_by_area(frame, _area(settings)) if settings.mode == "replace" else frame


def _write_masks(run: runs.Run, clip: media.Clip, points: np.ndarray, chain: str) -> None:
    """Segment the person, work the chain on the mask, black out the background, write masters and exports."""
    run.add_notes("the person's mask comes from the bundled segmenter (BlazePose and U2-Net), not from SAM2")
    person = sam.segment(_progress(clip, "mask", len(clip)), points)
    final = mask.apply_chain(person, chain)
    empty = np.flatnonzero(~final.any(axis=(1, 2))).tolist()
    if len(empty) == len(final):
        raise ValueError(
            f"mask must show a person, got none in {len(final)} frames; use a film with one person in full view"
        )
    if empty:
        run.add_notes(f"the mask is empty in {keypoints.describe_frames(empty)}: the film is kept as it is there")
    export, master = inputs.EXPORTS["mask_video"]
    inputs.write_masks(run.path(master), person, final)
    white = (np.repeat(frame[..., None], 3, axis=2).astype(np.uint8) * 255 for frame in final)
    _write_video(run, "mask_video", export, white, clip.fps)
    run.add_artefact("mask", master, chain=chain, empty=empty, share=round(float(final.mean()), 4))
    _write_pair(run, "background_video", (mask.blank_out(f, m) for f, m in zip(clip, final, strict=True)), clip.fps)


def _existing(name: str, path: Path) -> Path:
    full = config.absolute(path)
    if not full.is_file():
        what = "is a folder" if full.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{name} must be a file, got {path}, which {what} (relative paths start at the project root)"
        )
    return full


def _open_clip(settings: config.PreprocessSettings) -> media.Clip:
    return media.open_clip(
        config.absolute(settings.driving_video),
        start_s=settings.start_s,
        max_frames=settings.max_frames,
        fps=settings.fps,
    )


def _area(settings: config.PreprocessSettings) -> int:
    assert settings.resolution is not None  # resolved by start
    width, height = map(int, settings.resolution.split())
    return width * height


def _write_pair(run: runs.Run, name: str, frames: Iterable[np.ndarray], fps: object) -> None:
    """Write the lossless master, then upstream's mp4 from it."""
    export, master = inputs.EXPORTS[name]
    _write_video(run, f"{name}_master", master, frames, fps, lossless=True)
    _write_video(run, name, export, media.open_clip(run.path(master)), fps)


def _write_video(run: runs.Run, name: str, file: str, frames: Iterable[np.ndarray], fps: object, **how: object) -> None:
    count = media.write_video(run.path(file), frames, fps, **how)  # type: ignore[arg-type]
    run.add_artefact(name, file, frames=count, fps=str(fps))


def _progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    # stdout: on stderr a bar turns pink in reports; a line now and then: a headless bar is saved at every refresh
    yield from tqdm(items, desc=what, total=total, file=sys.stdout, mininterval=2, ascii=" =", unit="frame")
