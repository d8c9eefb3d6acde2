"""Step 10: a driving video and a reference image → the folder of inputs that generation reads.

settings = config.PreprocessSettings(driving_video="dance.mp4", reference_image="hero.png", mode="animate")
run = preprocess.prepare(settings)   # sizes, hashes, the run folder; nothing is worked on yet
inputs = preprocess.work(run)        # keypoints → pose drawings, face crops → files
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wanlab import config, inputs, mask, media, official, runs
from wanlab.files import fingerprints, targets
from wanlab.inputs import copies, pose_videos
from wanlab.mask import sam2_weights
from wanlab.mask.person import PersonMasker, takes_sam2
from wanlab.mask.prompts import read_prompts
from wanlab.media import resize
from wanlab.model import checkpoints, flux_weights
from wanlab.pose import detection, detector_files, editing, face, people, prefilter, sessions, to_meta, topdown, tracks
from wanlab.runs import artefacts
from wanlab.steps import preview

RESULT_VERSION = 10  # raise it when the same settings come to mean another result
MASK_SETTINGS = ("mask_source", "mask_chain", "sam_checkpoint", "mask_video", "background_video")  # of replace only
KEPT_BYTES = 2**27  # of a working clip's frames in memory
Detector = Callable[[Iterable[np.ndarray], detection.Person | None, detection.Watch], detection.Detection]
OWN_VIDEOS = tuple(inputs.EXPORTS)  # settings that take the user's file instead of the computed one


class Backend(Protocol):
    """Who preprocesses: one object per value of the setting `backend`, in BACKENDS."""

    def resolve(
        self, settings: config.PreprocessSettings
    ) -> tuple[config.PreprocessSettings, dict[str, str], tuple[str, ...]]:
        """Return the settings with every `None` filled in, the fingerprints of what will be used, and what a reader must know.

        Raises:
            SettingsError, FileNotFoundError: what it cannot do, or lacks.
        """
        ...

    def work(self, run: runs.Run) -> None:
        """Write all files of the inputs into the folder of a run that is being worked on."""
        ...


def prepare(settings: config.PreprocessSettings, made_for: str | None = None) -> runs.Run:
    """Resolve the settings and find or make the run folder; print what size will come out.

    Args:
        settings: what was asked for.
        made_for: id of the run that needs this one; None: the user asked for it.

    Raises:
        FileNotFoundError, ValueError: if an input is missing or cannot be used, before anything is worked on.
    """
    _refuse_contradictions(settings)
    if settings.save_path is not None:
        copies.check(settings.save_path, targets.kept(settings))
    resolved, models, notes = BACKENDS[settings.backend].resolve(settings)
    replacing = settings.mode == "replace"
    given = {
        name: config.existing_file(name, getattr(resolved, name), resolved.words(name))
        for name in ("driving_video", "reference_image", "mask_source", *OWN_VIDEOS)
        if isinstance(getattr(resolved, name), Path)
    }
    try:  # faults of the files are reported before a run folder is made
        clip, left_out = _open_clip(resolved), ()
        num_frames = len(clip)
        if settings.preview:
            resolved, left_out = preview.at_video(resolved, clip)
            clip = _open_clip(resolved)
        mask.parse_chain(resolved.mask_chain or "")
        image = _open_reference(resolved).pixels
        height, width = output_size(resolved, clip, image)
        _check_fit(resolved, given, clip, num_frames, height, width)
    except ValueError as error:
        raise config.SettingsError(str(error)) from error
    run = runs.open_run(
        "preprocess",
        resolved,
        inputs={
            name: {"file": config.shown(path), "sha256": fingerprints.of_file(path)} for name, path in given.items()
        },
        models=models,
        result_version=RESULT_VERSION,
        preview=left_out,
        fresh=settings.fresh,
        made_for=made_for,
    )
    run.asked = settings
    run.add_notes(*notes)
    if settings.preview and not left_out:
        run.add_notes(f"preview leaves nothing out: the clip has {len(clip)} frames, no more than a second")
    run.add_notes(
        f"resolution {resolved.resolution} is an area: with the shape of the "
        + (f"video ({clip.height}x{clip.width}) " if replacing else f"reference ({image.shape[0]}x{image.shape[1]}) ")
        + f"the result is {height}x{width} (height x width)"
    )
    return run


def planned(settings: config.PreprocessSettings) -> tuple[int, int, int]:
    """Return how many frames come out, and the result's height and width in pixels, before anything is begun.

    Raises:
        FileNotFoundError, SettingsError: if video, reference or checkpoint are missing or cannot be read.
    """
    for name in ("driving_video", "reference_image"):
        config.existing_file(name, getattr(settings, name))
    recommended = checkpoints.find(settings.checkpoint).recommended
    full = settings.replaced(resolution=settings.resolution or recommended["resolution"])
    try:
        clip = _open_clip(full)
        if settings.preview:
            clip = _open_clip(preview.at_video(full, clip)[0])
        return len(clip), *output_size(full, clip, _open_reference(full).pixels)
    except ValueError as error:
        raise config.SettingsError(str(error)) from error


def output_size(settings: config.PreprocessSettings, clip: media.Clip, reference: np.ndarray) -> tuple[int, int]:
    """Return (height, width) of the result in pixels, about the area of `resolution`.

    The aspect ratio is the reference's ([H, W, 3], uint8 RGB) in animate, where the character keeps its own image, and the video's in replace.
    """
    shape = (clip.height, clip.width) if settings.mode == "replace" else reference.shape
    return resize.area_size(shape[0], shape[1], _area(settings))


def work(run: runs.Run) -> inputs.AnimateInputs:
    """Detect, draw, crop and write everything into the run folder; a completed run is only read.

    Raises:
        ValueError: if no frame of the driving video shows a person, or the mask is empty or inverted.
        ScriptFailedError: if the official script fails.
    """
    if not run.completed:
        with run.working() as unfinished:
            if unfinished:
                BACKENDS[run.settings.backend].work(run)
    else:
        restore(run)
    animate_inputs = inputs.read(run.folder)
    if run.settings.save_path is not None and run.preview:
        print(f"a preview is not copied to save_path; it is {config.typed(run.folder)}")
    elif run.settings.save_path is not None:
        copies.write(run.folder, run.settings.save_path, targets.kept(run.settings))
        print(f"inputs copied to {run.settings.save_path}")
    return animate_inputs


def restore(run: runs.Run) -> None:
    """Make files of a completed run again that are missing or damaged; what others put there stays.

    Exports are made from their masters. Masters are made by preprocessing again, in a folder of its own for a while.

    Raises:
        FileNotFoundError: if a video or image that it was made from is gone or another one.
    """
    wrong = artefacts.damaged(run)
    left = inputs.restore_exports(run, wrong)
    if left:
        artefacts.restore(run, left, lambda: _again(run, left))
    inputs.note_restored(run, wrong)


def _again(run: runs.Run, wrong: Mapping[str, artefacts.Fault]) -> runs.Run:
    """Preprocess once more with a run's settings, for it."""
    given = run.given()
    for name, facts in run.manifest["inputs"].items() if run.asked is None else ():
        path = config.placed(given[name])
        if not path.is_file() or fingerprints.of_file(path) != facts["sha256"]:
            raise FileNotFoundError(
                f"{run.id} must be complete, but {', '.join(map(str, wrong.values()))}, and {facts['file']}, from which it was "
                "made, is gone or changed; make the inputs again: wanlab preprocess --driving_video … --reference_image …"
            )
    settings = run.asked or config.PreprocessSettings.build(_asked(given))
    other = prepare(settings.replaced(fresh=True, save_path=None), made_for=run.id)
    work(other)
    return other


def _asked(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that resolve to those of a manifest: what must be left out where it takes no part is."""
    dropped = set(MASK_SETTINGS) if resolved["mode"] != "replace" else set()
    if resolved.get("sam_checkpoint") == "none" and (
        resolved.get("mask_video") or not takes_sam2(resolved["mask_source"])
    ):
        dropped.add("sam_checkpoint")
    paths = {name: config.placed(resolved[name]) for name in config.PreprocessSettings.paths() if resolved.get(name)}
    found = {name: path for name, path in paths.items() if path.exists()}
    return {name: found.get(name, value) for name, value in resolved.items() if name not in dropped}


def _work(run: runs.Run, settings: config.PreprocessSettings) -> None:
    own = _own_videos(run, settings)
    clip, reference = _read(run, settings)
    height, width = reference.shape[:2]
    found, of_reference = _keypoints(run, settings, clip, reference, required=not set(pose_videos.VIDEOS) <= set(own))
    boxes = pose_videos.write(
        run,
        clip,
        found.keypoints,
        height,
        width,
        {name: own[name] for name in pose_videos.VIDEOS if name in own},
        boxes=found.boxes,
        fitted=_fitted(run, settings, clip, reference, found, of_reference) if settings.retarget else None,
        crops=settings.face_crop,
        cuts=found.cuts,
        reference_keypoints=of_reference,
        people_boxes=found.people,
    )
    no_person, cuts = list(found.no_person), list(found.cuts)
    run.add_artefact("keypoints", inputs.KEYPOINTS, frames=len(clip), no_person=no_person, cuts=cuts)
    if settings.mode == "replace":
        _write_mask(run, settings, clip, found.keypoints, own)
    with run.stage("facts"):
        inputs.write_facts(
            run.folder,
            mode=settings.mode,
            clip_height=clip.height,
            clip_width=clip.width,
            run=run.id,
            parent=None,
            no_person=no_person,
            no_face=list(boxes.filled),
            cuts=cuts,
            **({"preview": list(run.preview)} if run.preview else {}),
            mask_chain=settings.mask_chain,
            own=[name for name in pose_videos.VIDEOS if name in own],
        )
        run.add_artefact("inputs", inputs.FACTS)


def _own_videos(run: runs.Run, settings: config.PreprocessSettings) -> dict[str, media.Clip]:
    """Open the user's files that are taken instead of computed ones, by name of their setting."""
    own = {
        name: media.open_clip(config.absolute(path), max_frames=settings.max_frames)
        for name in OWN_VIDEOS
        if (path := getattr(settings, name))
    }
    for name, clip in own.items():
        run.add_notes(f"{name} is your own, {clip.info.path.name}")
    return own


def _read(run: runs.Run, settings: config.PreprocessSettings) -> tuple[media.Clip, np.ndarray]:
    """Write reference and driving video as they are worked with; return the working clip and the reference, [H, W, 3], uint8 RGB.

    The reference's size is the result's.
    """
    with run.stage("read"):
        clip = _open_clip(settings)
        run.add_notes(*clip.notes)
        opened = _open_reference(settings)
        height, width = output_size(settings, clip, opened.pixels)
        run.add_notes(*opened.notes, *_enlarged(settings, clip, opened.pixels, height, width))
        if settings.mode == "replace":
            reference = resize.letterbox(opened.pixels, height, width)
        else:
            reference = resize.resize_by_area(opened.pixels, _area(settings))
        media.write_image(run.path(inputs.REFERENCE), reference)
        run.add_artefact("reference_image", inputs.REFERENCE, height=height, width=width)
        sound = media.AudioStretch(clip.info.path, settings.start_s, float(len(clip) / clip.fps))
        run.add_notes(*media.describe_sound(sound))
        frames = _kept(_at_result_size(clip, settings), len(clip))
        inputs.write_video(
            run,
            "driving_video",
            inputs.DRIVING,
            run.progress.iterate(frames, "read", len(clip)),
            clip.fps,
            lossless=True,
            audio=sound if clip.info.has_audio else None,
        )
    working = media.open_clip(run.path(inputs.DRIVING))
    return working.holding(frames) if isinstance(frames, list) else working, reference


def _kept(frames: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray] | list[np.ndarray]:
    """Return a clip's frames as a list if they are few and small: what follows reads them several times."""
    first = next(frames)
    all_frames = itertools.chain([first], frames)
    return list(all_frames) if count * first.nbytes <= KEPT_BYTES else all_frames


def _enlarged(
    settings: config.PreprocessSettings, clip: media.Clip, reference: np.ndarray, height: int, width: int
) -> list[str]:
    """Say what is enlarged to the result's size, and how much."""
    shapes = {"reference_image": reference.shape[:2]}
    if settings.mode == "replace":
        shapes["driving_video"] = (clip.height, clip.width)
    scales = {name: min(height / shape[0], width / shape[1]) for name, shape in shapes.items()}
    return [
        f"{name} of {shapes[name][0]}x{shapes[name][1]} (height x width) is enlarged {scale:.3g} times to {height}x{width}: "
        "it has no details to show there; use a larger one or a smaller resolution"
        for name, scale in scales.items()
        if scale > 1.25
    ]


def _keypoints(
    run: runs.Run, settings: config.PreprocessSettings, clip: media.Clip, reference: np.ndarray, *, required: bool
) -> tuple[detection.Detection, np.ndarray]:
    """Return what is detected in the working clip, and the reference's own keypoints, [133, 3].

    Args:
        run: whose progress is updated.
        settings: resolved; whom to follow.
        clip: the working clip.
        reference: [H, W, 3], uint8 RGB.
        required: whether the clip must show a person.

    Raises:
        ValueError: if it must and does not.
    """
    with run.stage("keypoints"):
        detect = _detector(run, settings, float(clip.fps))
        frames = clip if settings.detector_filter is None else prefilter.Filtered(clip, settings.detector_filter)
        found = detect(frames, _whom(settings), functools.partial(run.progress.iterate, total=len(clip)))
        if required and len(found.no_person) == len(clip):
            raise ValueError(
                f"driving_video must show a person, got none in its {len(clip)} frames; use a video with one person who is at least a quarter of the image high"
            )
        of_reference = detect([reference], None, detection.unwatched)
        if of_reference.no_person:
            run.add_notes(
                "no person was found in reference_image: the character is used as it is, without a sketch of its skeleton"
            )
        elif of_reference.num_people[0] > 1:
            x = float(of_reference.boxes[0, [0, 2]].mean()) / reference.shape[1]
            run.add_notes(
                f"reference_image shows {of_reference.num_people[0]} people: the largest, at {100 * x:.0f} % of its width from the "
                "left, is taken for the character's skeleton; the model sees them all, so crop it to one"
            )
        run.add_notes(*found.notes)
    return found, of_reference.keypoints[0]


def _checkpoint(settings: config.PreprocessSettings) -> Path:
    assert settings.checkpoint is not None  # resolved by prepare
    return settings.checkpoint


def _retarget(settings: config.PreprocessSettings) -> str | bool:
    """Return how skeletons are fitted to the reference: in animate wanlab's way unless another is asked for."""
    if settings.mode == "replace" or settings.retarget is False or settings.pose_video is not None:
        return False
    return settings.retarget if isinstance(settings.retarget, str) else "wanlab"


def _fitted(
    run: runs.Run,
    settings: config.PreprocessSettings,
    clip: media.Clip,
    reference: np.ndarray,
    found: detection.Detection,
    of_reference: np.ndarray,
) -> pose_videos.Retargeting | None:
    """Return whose proportions the skeletons get; None, with a note, where the reference shows nobody.

    Args:
        run: that gets notes, and the edited images with `use_flux`.
        settings: resolved.
        clip: the working clip.
        reference: [H, W, 3], uint8 RGB.
        found: in the clip.
        of_reference: [133, 3], the reference's keypoints.
    """
    if not (of_reference[:, 2] > 0).any():
        run.add_notes("the skeleton keeps the driving person's proportions: nobody was found in reference_image")
        return None
    method = "official" if settings.retarget == "official" else "wanlab"
    run.add_notes(f"the skeleton gets the reference's proportions and place (retarget {method})")
    if not settings.use_flux:
        return pose_videos.Retargeting(method, of_reference)
    with run.stage("flux"):
        first = next((t for t in range(len(clip)) if t not in found.no_person), 0)
        frame = (
            min(1, len(clip) - 1) if method == "official" else first
        )  # upstream edits frame 1 and lays it over frame 0
        limbs = editing.shown(to_meta(found.keypoints, clip.height, clip.width).body)
        images = {inputs.EDITED[1]: clip.at([frame]).read()[0], inputs.EDITED[0]: reference}
        from wanlab.model import flux  # torch

        edit = flux.load(flux_weights.find(_checkpoint(settings)))
        edited = {name: _edited(run, edit, name, image, limbs) for name, image in images.items()}
        detect = _detector(run, settings, float(clip.fps))
        of_driver, of_character = (_pose_of(image, name, detect) for name, image in edited.items())
    return pose_videos.Retargeting(method, of_reference, (of_driver, of_character))


def _edited(
    run: runs.Run,
    edit: Callable[[np.ndarray, str], np.ndarray],
    name: str,
    image: np.ndarray,
    limbs: editing.Shown,
) -> np.ndarray:
    """Let FLUX put the person of an image ([H, W, 3], uint8 RGB) into the standard pose; write and return the edited one."""
    height, width = image.shape[:2]
    made = resize.letterbox(edit(image, editing.prompt(limbs, height, width)), height, width)
    media.write_image(run.path(name), made)
    run.add_artefact(Path(name).stem, name, height=height, width=width)
    return made


def _pose_of(image: np.ndarray, name: str, detect: Detector) -> np.ndarray:
    """Return the keypoints, [133, 3], of an edited image ([H, W, 3], uint8 RGB).

    Raises:
        ValueError: if it shows nobody.
    """
    keypoints = detect([image], None, detection.unwatched).keypoints[0]
    if not (keypoints[:, 2] > 0).any():
        raise ValueError(
            f"the edited image must show a person, got nobody in {name}; look at it, or leave use_flux out"
        )
    return keypoints


def _whom(settings: config.PreprocessSettings) -> detection.Person | None:
    """Return whom to follow; None: not said.

    Raises:
        ValueError: if `person` is neither a number nor clicks.
    """
    return None if settings.person is None else tracks.read_person(settings.person)


def _detector(run: runs.Run, settings: config.PreprocessSettings, fps: float) -> Detector:
    """Open what finds the keypoints of frames ([H, W, 3] each, uint8 RGB), and say where it runs.

    Raises:
        ValueError: if a network cannot be opened.
    """
    assert settings.detectors != "auto"  # resolved by prepare
    files, _ = detector_files.choose(settings.detectors)
    if files is None:
        return lambda frames, person, watch: detection.detect(frames, fps, person or 1, watch=watch)
    networks = topdown.open_networks(files)
    run.add_notes(*sessions.describe(networks.pose))
    return lambda frames, person, watch: topdown.detect(frames, networks, settings.pose_channel_order, person, watch)


def _write_mask(
    run: runs.Run,
    settings: config.PreprocessSettings,
    clip: media.Clip,
    keypoints: np.ndarray,
    own: Mapping[str, media.Clip],
) -> None:
    """Write the person's mask before and after the chain, and the background video.

    Args:
        run: that gets the files.
        settings: resolved.
        clip: the working clip.
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        own: the user's own videos.

    Raises:
        ValueError: if the mask is empty or inverted.
    """
    with run.stage("mask"):
        if "mask_video" in own:
            person, notes = mask.read_mask(own["mask_video"].info.path, "mask_video", len(clip))
            final = person
            run.add_notes(*notes)
        else:
            weights, _ = sam2_weights.choose(settings.sam_checkpoint)
            masker = PersonMasker(weights, settings.compile_sam, run)
            person = masker.mask(settings.mask_source, clip, keypoints)
            final = mask.apply_chain_packed(person, settings.mask_chain or "")
        run.add_notes(*mask.check("mask_video" if "mask_video" in own else "the mask", final, keypoints))
        inputs.write_masks(run, person, final, clip.fps)
        blank = (mask.blank_out(f, m) for f, m in zip(clip, final, strict=True))
        inputs.write_pair(run, "background_video", own.get("background_video") or blank, clip.fps)


def _resolve(settings: config.PreprocessSettings) -> tuple[config.PreprocessSettings, dict[str, str], tuple[str, ...]]:
    """Return the settings with every `None` filled in, the fingerprints of what will be used, and what a reader must know."""
    checkpoint = checkpoints.find(settings.checkpoint)
    chain = settings.mask_chain
    source, weights, passed_over = _mask_source(settings, checkpoint.folder)
    detectors, about_them = detector_files.choose(settings.detectors, checkpoint=checkpoint.folder)
    if detectors is None and settings.changed("pose_channel_order"):
        raise config.SettingsError(
            f"pose_channel_order must be left out with the bundled detectors, which have no choice, got {settings.pose_channel_order}; "
            f"use bgr, or get the checkpoint's: {detector_files.DOWNLOAD}"
        )
    resolved = settings.replaced(
        resolution=settings.resolution or checkpoint.recommended["resolution"],
        retarget=_retarget(settings),
        detectors=detectors.folder if detectors else "bundled",
        mask_source=source,
        sam_checkpoint=weights.file if weights else "none",
        mask_chain=mask.DEFAULT_CHAIN
        if settings.mode == "replace" and chain is None and settings.mask_video is None
        else chain,
        checkpoint=checkpoint.folder,
    )
    models = people.fingerprints() | (detectors.fingerprints() if detectors else {})
    models |= {weights.name: weights.sha256()} if weights else {}
    if settings.use_flux:
        models["FLUX.1-Kontext-dev"] = flux_weights.fingerprint(flux_weights.find(checkpoint.folder))
    return resolved, models, (*about_them, *passed_over)


def _mask_source(
    settings: config.PreprocessSettings, checkpoint: Path
) -> tuple[str | Path, sam2_weights.Weights | None, tuple[str, ...]]:
    """Return what finds the person, SAM2's weights if they take part in it, and sentences about files passed over."""
    source = settings.mask_source
    if settings.mode != "replace" or settings.mask_video is not None or not takes_sam2(source):
        return source, None, ()
    weights, notes = sam2_weights.choose(settings.sam_checkpoint, checkpoint=checkpoint)
    if source == "official" and weights is None:
        raise config.SettingsError(
            f"mask_source official needs SAM2's weights, which are not here; use keypoints, or get them: {sam2_weights.DOWNLOAD}"
        )
    return {"auto": "keypoints" if weights else "segmenter"}.get(str(source), source), weights, notes


def _refuse_contradictions(settings: config.PreprocessSettings) -> None:
    defaults = type(settings).model_fields
    given = [name for name in MASK_SETTINGS if getattr(settings, name) != defaults[name].default]
    if settings.mode != "replace" and given:
        raise config.SettingsError(
            f"{' and '.join(given)} must be left out in animate, which has no mask; use mode replace"
        )
    if "mask_video" in given and {"mask_source", "mask_chain"} & set(given):
        raise config.SettingsError(
            "mask_video is the finished mask, so mask_source and mask_chain must be left out; to work a chain on a mask "
            "of your own, name it as mask_source"
        )
    if "sam_checkpoint" in given and ("mask_video" in given or not takes_sam2(settings.mask_source)):
        raise config.SettingsError(
            "sam_checkpoint must be left out where SAM2 takes no part: with mask_video, a mask video as mask_source, and segmenter"
        )


def _check_fit(
    settings: config.PreprocessSettings, given: dict[str, Path], clip: media.Clip, whole: int, height: int, width: int
) -> None:
    """Refuse a size that the checkpoint cannot generate, and the user's files that do not fit; all in one message."""
    working = (height, width) if settings.mode == "replace" else (clip.height, clip.width)
    tracks.check_clicks(_whom(settings), len(clip), *working)
    faults = []
    if not settings.is_official:  # a preview is made smaller for it anyway
        faults = checkpoints.find(settings.checkpoint).faults_of_size(height, width, asked=True)
    for name in ("mask_source", *OWN_VIDEOS):
        if name in given:
            try:
                _check_own(name, given[name], clip, whole, height, width)
            except ValueError as error:  # media does not know which setting named the file
                said = str(error)
                faults.append(f"{name} {said.removeprefix('video ')}" if said.startswith("video must ") else said)
    if faults:
        raise ValueError("\n".join(faults))


def _check_own(name: str, path: Path, clip: media.Clip, whole: int, height: int, width: int) -> None:
    """Refuse a file of the user's that does not fit working clip and result; videos have the `whole` clip's frames."""
    if name == "mask_source" and path.suffix == ".json":
        read_prompts(path, len(clip), height, width)
        return
    side = face.CROP_SIZE
    size = {"height": side, "width": side} if name == "face_video" else {"height": height, "width": width}
    inputs.check_video(name, media.probe_video(path), num_frames=whole, fps=clip.fps, **size)
    if name in ("mask_source", "mask_video"):
        mask.read_mask(path, name, len(clip))


def _at_result_size(clip: media.Clip, settings: config.PreprocessSettings) -> Iterator[np.ndarray]:
    """Yield the working clip's frames: as they are in animate, at the result's size in replace."""
    for frame in clip:
        yield resize.resize_by_area(frame, _area(settings)) if settings.mode == "replace" else frame


def _open_clip(settings: config.PreprocessSettings) -> media.Clip:
    try:
        return media.open_clip(
            config.absolute(settings.driving_video),
            start_s=settings.start_s,
            max_frames=settings.max_frames,
            fps=settings.fps,
            deinterlace=settings.deinterlace,
        )
    except ValueError as error:  # media does not know which setting named the file
        raise ValueError(f"driving_{error}" if str(error).startswith("video must ") else str(error)) from error


def _open_reference(settings: config.PreprocessSettings) -> media.Image:
    try:
        return media.open_image(config.absolute(settings.reference_image))
    except ValueError as error:  # media does not know which setting named the file
        raise ValueError(f"reference_{error}" if str(error).startswith("image must ") else str(error)) from error


def _area(settings: config.PreprocessSettings) -> int:
    assert settings.resolution is not None  # resolved by prepare
    return resize.area_of(settings.resolution)


class _Wanlab:
    """The backend of this module."""

    def resolve(
        self, settings: config.PreprocessSettings
    ) -> tuple[config.PreprocessSettings, dict[str, str], tuple[str, ...]]:
        return _resolve(settings)

    def work(self, run: runs.Run) -> None:
        _work(run, run.settings)


BACKENDS: dict[str, Backend] = {"wanlab": _Wanlab(), "wan22": official.Preprocessing()}
