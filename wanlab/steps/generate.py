"""Step 30: a folder of inputs → the video of the moving character.

run = generate.prepare(settings)   # checkpoint, sizes, hashes, the run folder; no weight is loaded yet
plan = generate.plan(run)          # how the clip is cut into segments
video = generate.work(run)         # segments, each saved when it is finished → result.mp4
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from wanlab import config, files, inputs, mask, media, official, runs
from wanlab.files import targets
from wanlab.inputs import decisions, shrink
from wanlab.model import checkpoints, segments
from wanlab.official import clone
from wanlab.results import evaluate
from wanlab.results.evaluate import RESULT
from wanlab.runs import artefacts
from wanlab.steps import inspect
from wanlab.steps import preview as preview_module
from wanlab.steps.preview import at_generation
from wanlab.steps.segment_files import BEGUN, SEGMENTS, begun_velocities, num_finished, save_segment, saved_frames

if TYPE_CHECKING:
    from wanlab.model import sampling
    from wanlab.model.networks import Networks

RESULT_VERSION = 2  # raise it when the same settings come to mean another result
MASTER = "result.mkv"  # lossless: metrics are computed from it
PREVIEW = "preview.mp4"  # the first segment after some of its steps
METRICS = "metrics.json"  # per metric its value in each frame
FROM_CHECKPOINT = (
    "num_inference_steps", "guidance_scale", "shift", "segment_frame_length", "prev_segment_conditioning_frames",
)  # fmt: skip


class Loaded:
    """The networks that the last run used, and what they have encoded, kept for the next run of the same kernel."""

    def __init__(self) -> None:
        self._key: tuple[Path, str] | None = None
        self._parts: Any = None

    def get(self, checkpoint: Path, device: str | None) -> tuple[Networks, sampling.Encodings]:
        """Return networks and encodings; those of another checkpoint or device are dropped first: memory is short."""
        from wanlab.model import sampling
        from wanlab.model.networks import Networks, default_device

        key = checkpoint, device or default_device()
        if key != self._key:
            self._parts = None
            self._parts = Networks(*key), sampling.Encodings()
            self._key = key
        return self._parts


def resolve(settings: config.GenerateSettings) -> config.GenerateSettings:
    """Return the settings with every `None` filled in, checked against checkpoint and inputs.

    Raises:
        SettingsError: what the checkpoint or the inputs cannot do, a line each.
        FileNotFoundError: if inputs or checkpoint are missing.
    """
    return _resolve(settings)[0]


def _resolve(settings: config.GenerateSettings) -> tuple[config.GenerateSettings, tuple[str, ...]]:
    """Return the resolved settings, and what a preview leaves out, a phrase each."""
    made, _ = inspect.whole_inputs(settings.inputs, previews=settings.preview)
    mode = settings.mode or made.mode
    checkpoint = _checkpoint(settings, mode)
    chosen = {name: getattr(settings, name) for name in FROM_CHECKPOINT}
    resolved = settings.replaced(
        inputs=made.folder,
        checkpoint=checkpoint.folder,
        mode=mode,
        **{name: checkpoint.recommended[name] if value is None else value for name, value in chosen.items()},
    )
    faults = [
        checkpoint.refuse("segment_frame_length", resolved.segment_frame_length or 0),
        checkpoint.refuse("prev_segment_conditioning_frames", resolved.prev_segment_conditioning_frames or 0),
    ]
    height, width, left_out = made.height, made.width, made.preview
    if settings.preview and not any(faults):
        look = at_generation(resolved, made, checkpoint)
        resolved, height, width = look.settings, look.height, look.width
        left_out += look.left_out
    low, high = checkpoint.limits["pixel_area"]
    if not low <= height * width <= high:
        faults.append(
            f"src_pose.mp4 must have {low} to {high} pixels with {checkpoint.name}, got {height}x{width} = "
            f"{height * width}; preprocess again with resolution {checkpoint.recommended['resolution']!r}"
        )
    if mode == "replace" and made.mode != "replace":
        faults.append(
            "mode must be animate for these inputs, got replace: they hold no src_bg.mp4 and src_mask.mp4; use mode None"
        )
    elif mode == "replace" and made.files["mask_video"].suffix != ".npz":  # another tool's, or swapped by hand
        try:
            mask.check(made.files["mask_video"].name, made.mask(), made.keypoints())
        except ValueError as error:
            faults.append(str(error))
    if resolved.backend == "wan22":
        resolved = resolved.replaced(prompt=config.PROMPT)  # the one that the script uses, whatever was given
        faults += official.refuse(resolved, made, _clone(resolved))
    if any(faults):
        raise config.SettingsError("\n".join(fault for fault in faults if fault))
    if resolved.output_path is not None:
        targets.video(resolved, keep=_kept(resolved, made)).check()
    return resolved, left_out


def prepare(settings: config.GenerateSettings, made_for: str | None = None) -> runs.Run:
    """Resolve the settings and find or make the run folder.

    Args:
        settings: what was asked for.
        made_for: id of the run that makes this one for itself; None: somebody asked for it.

    Raises:
        SettingsError, FileNotFoundError: as `resolve`, before a folder is made.
    """
    resolved, left_out = _resolve(settings)
    made, parent = inputs.find(resolved.inputs)
    checkpoint = _checkpoint(resolved, made.mode)
    run = runs.open_run(
        "generate",
        resolved,
        **_made_from(resolved, made, checkpoint),
        parents=(parent,) if parent else (),
        preview=left_out,
        fresh=settings.fresh,
        made_for=made_for,
    )
    if run.completed and (wrong := _wrong(run)):
        artefacts.distrust(run, wrong.values())
    run.add_notes(*checkpoint.notes, *made.notes)
    not_applied = decisions.unapplied(made)
    if not_applied and run.completed:  # its manifest says what was so when it was made
        print(f"note: {not_applied}")
    elif not_applied:
        run.add_notes(not_applied)
    if resolved.backend == "wan22":
        run.add_notes(*official.notes(resolved, _clone(resolved), settings.prompt))
    if checkpoint.folder == checkpoints.NANO:
        run.add_notes(
            "the bundled miniature (nano) makes this video, not Wan2.2-Animate-14B: it shows the line, not the quality"
        )
    return run


def is_finished(resolved: config.GenerateSettings) -> bool:
    """Return whether a completed run of these settings (from `resolve`) is there, with all its files."""
    code = runs.identity("generate", resolved, **made_from(resolved))
    same = (run for run in runs.list_runs("generate") if run.completed and run.manifest["hash"] == code)
    return any(not _wrong(run) for run in same)


def restore(run: runs.Run) -> None:
    """Make what is missing or damaged of a completed run's video and numbers again, from its lossless video; no model runs.

    Raises:
        FileNotFoundError: if that is damaged too, or the inputs are gone; the message says how to generate anew.
    """
    wrong = _wrong(run)
    said = ", ".join(map(str, wrong.values()))
    if not wrong:
        return
    if not {"video", "metrics"} & set(wrong):
        print(f"note: in {run.id} {said}; what is asked for needs none of it")
        return
    source = "original" if run.manifest["settings"].get("backend") == "wan22" else "master"
    if source in wrong or source not in run.manifest["artefacts"]:
        shown = run.manifest["settings"]["inputs"]
        raise FileNotFoundError(
            f"{run.id} must be whole, but {said}; generate it again with its settings: wanlab generate --inputs {shown} …"
        )
    made = inputs.of_run(run)
    run.settings = config.GenerateSettings.build({**run.given(), "inputs": made.folder, "output_path": None})
    artefacts.distrust(run, wrong.values())
    work(run)


def _wrong(run: runs.Run) -> dict[str, artefacts.Fault]:
    """Return what of a completed run is to be made again: damaged files, and numbers that are not those of its video."""
    found = artefacts.faults(run)
    for name in ("video", "master"):
        if name in found and found[name].readable:
            print(f"note: {found[name]} since wanlab wrote it in {run.id}: it is used as it is")
    return {name: fault for name, fault in found.items() if name == "metrics" or not fault.readable}


def made_from(resolved: config.GenerateSettings) -> dict[str, Any]:
    """Return inputs, models and version that decide a result beside its settings (from `resolve`), as `runs.open_run` takes them."""
    made, _ = inputs.find(resolved.inputs)
    return _made_from(resolved, made, _checkpoint(resolved, made.mode))


def _made_from(
    resolved: config.GenerateSettings, made: inputs.AnimateInputs, checkpoint: checkpoints.Checkpoint
) -> dict[str, Any]:
    """Do the work of `made_from`."""
    if resolved.backend == "wan22":
        lora = resolved.use_relighting_lora
        weights = clone.fingerprint(checkpoint.folder, clone.GENERATE, lora=lora)
        models = {checkpoint.name: weights, "Wan2.2": _clone(resolved).commit}
    else:
        models = {checkpoint.name: checkpoint.fingerprint()}
    return {
        "inputs": {"inputs": {"folder": config.shown(made.folder), "sha256": made.sha256()}},
        "models": models,
        "result_version": RESULT_VERSION,
    }


def _checkpoint(settings: config.GenerateSettings, mode: str) -> checkpoints.Checkpoint:
    """Return the checkpoint in the layout that the backend reads."""
    if settings.backend == "wanlab":
        return checkpoints.find(settings.checkpoint)
    folder = clone.find_checkpoint(
        settings.checkpoint,
        clone.GENERATE,
        replacing=mode == "replace",
        lora=settings.use_relighting_lora,
    )
    return clone.read_checkpoint(folder)


def _clone(resolved: config.GenerateSettings) -> clone.Clone:
    here = config.project_root()
    arguments = official.generate_arguments(resolved, here, here, here, 2 if resolved.multi_gpu else 1)
    return clone.find_clone(resolved, clone.GENERATE, arguments)


def inputs_of(run: runs.Run) -> inputs.AnimateInputs:
    """Return the inputs that a run reads: of a preview the smaller ones, once it has made them."""
    return preview_module.inputs_of(run, config.absolute(run.settings.inputs))


def plan(run: runs.Run) -> segments.SegmentPlan:
    """Return how the clip of a run is cut into segments."""
    settings = run.settings
    num_frames = inputs_of(run).num_frames
    return segments.make_plan(
        min(num_frames, settings.max_frames or num_frames),
        settings.segment_frame_length,
        settings.prev_segment_conditioning_frames,
    )


def work(run: runs.Run, loaded: Loaded | None = None) -> media.Clip:
    """Generate what is not finished yet and write `result.mp4`; a completed run is only read.

    Args:
        run: from `prepare`.
        loaded: networks of earlier runs.

    Raises:
        FloatingPointError: if the result is black or not a number; the run is failed then.
        ScriptFailedError: if the official script fails.
    """
    if not run.completed:
        with run.working() as unfinished:
            if unfinished and run.settings.backend == "wan22":
                _work_official(run)
            elif unfinished:
                _work(run, run.settings, loaded or Loaded())
    run.tidy(run.folder / SEGMENTS, run.path(PREVIEW))
    _hand_over(run)
    return media.open_clip(run.path(RESULT))


def _hand_over(run: runs.Run) -> None:
    """Copy the result to `output_path`, where one is named, in the container that its ending names."""
    if run.settings.output_path is None:
        return
    if run.settings.preview:
        print(f"a preview is not copied to output_path; it is {config.shown(run.path(RESULT))}")
        return
    target = targets.video(run.settings, run.id, _kept(run.settings, inputs_of(run)))
    with target.writing() as part:
        if part.suffix.lower() == run.path(RESULT).suffix:
            files.copy(run.path(RESULT), part)
        else:
            media.rewrap(run.path(RESULT), part)
    print(f"video copied to {target.shown()}")


def _kept(settings: config.GenerateSettings, made: inputs.AnimateInputs) -> targets.Kept:
    """Return what `output_path` may not be: what the settings name, and the films and pictures that the inputs came from."""
    return targets.kept(settings, beside=inputs.origins(made.facts.get("run")))


def preview(run: runs.Run, num_steps: int, loaded: Loaded | None = None) -> media.Clip:
    """Run the first steps of the first segment and write `preview.mp4`; `work` goes on from there, bit for bit.

    Args:
        run: from `prepare`; a completed one is only read.
        num_steps: how many; all of the segment's where it has fewer.
        loaded: networks of earlier runs.

    Returns:
        the first segment as the last of these steps foresees it; of a completed run the result.

    Raises:
        FloatingPointError: if the preview is black or not a number; the run is failed then.
    """
    if run.completed:
        return media.open_clip(run.path(RESULT))
    num_steps = min(num_steps, run.settings.num_inference_steps)
    if _previewed(run) < num_steps:
        with run.working() as unfinished:
            if not unfinished:
                return media.open_clip(run.path(RESULT))
            if _previewed(run) < num_steps:
                _preview(run, run.settings, num_steps, loaded or Loaded())
            run.stop_here()
    return media.open_clip(run.path(PREVIEW))


def _work(run: runs.Run, settings: config.GenerateSettings, loaded: Loaded) -> None:
    _shrink(run)
    made, cut, wrong = inputs_of(run), plan(run), _wrong(run)
    run.remove_when_completed(run.folder / SEGMENTS)  # all of it is in the master then
    run.remove_when_completed(run.path(PREVIEW))

    def is_whole(name: str) -> bool:
        return name in run.manifest["artefacts"] and name not in wrong

    if not is_whole("master"):
        _write_master(run, settings, made, cut, loaded)
    master = media.open_clip(run.path(MASTER))
    if not is_whole("video"):
        with run.stage("write"):
            sound = _sound(made, len(master))
            media.write_video(run.path(RESULT), master, made.fps, comment=_comment(run), audio=sound)
        facts = _facts(made, len(master))
        run.add_artefact("video", RESULT, seams=list(cut.seams), audio=sound is not None, **facts)
    if not settings.preview and not is_whole("metrics"):
        _measure(run, made, master, cut)
    run.manifest["artefacts"].pop("preview", None)


def _previewed(run: runs.Run) -> int:
    """Return how many steps a run's preview shows; 0: there is none."""
    made = run.manifest["artefacts"].get("preview")
    return 0 if made is None or "preview" in artefacts.damaged(run) else made["steps"]


def _write_master(
    run: runs.Run,
    settings: config.GenerateSettings,
    made: inputs.AnimateInputs,
    cut: segments.SegmentPlan,
    loaded: Loaded,
) -> None:
    """Generate the segments that are not finished yet and write all of them as one lossless video."""
    folder = files.make_folder(run.path(SEGMENTS))
    done = num_finished(folder, cut)
    if done:
        print(f"{done} of {len(cut.windows)} segments are finished already")
    if done < len(cut.windows):
        _generate(run, settings, made, cut, folder, done, loaded)
    with run.stage("write"):
        frames = (frame for n in range(len(cut.windows)) for frame in saved_frames(folder, n))
        count = media.write_video(run.path(MASTER), frames, made.fps, lossless=True)
    run.add_artefact("master", MASTER, **_facts(made, count))


def _shrink(run: runs.Run) -> None:
    """Make the inputs of a preview smaller, where they are larger than it may be."""
    if not run.settings.preview or (run.folder / shrink.FOLDER).is_dir():
        return
    made = inputs_of(run)
    look = at_generation(run.settings, made, checkpoints.find(run.settings.checkpoint))
    if (look.height, look.width) != (made.height, made.width):
        with run.stage("shrink"):
            frames = look.settings.max_frames or made.num_frames
            notes = shrink.shrink(
                made,
                run.path(shrink.FOLDER),
                num_frames=frames,
                height=look.height,
                width=look.width,
                left_out=run.preview,
            )
            run.add_notes(*notes)


def _work_official(run: runs.Run) -> None:
    made, cut = inputs_of(run), plan(run)
    wrong = _wrong(run)
    if "original" in run.manifest["artefacts"] and "original" not in wrong:
        film = media.open_clip(run.path(official.ORIGINAL))
    else:
        film = official.generate(run, _clone(run.settings), made, cut)
    with run.stage("write"):
        sound = _sound(made, len(film))
        media.remux(film.info.path, run.path(RESULT), made.fps, comment=_comment(run), audio=sound)
        said = "with the film's sound" if sound else "without sound: the inputs hold no film that has any"
        run.add_notes(
            f"{official.ORIGINAL} is the official script's film of {official.FPS} frames per second without sound; {RESULT} holds the "
            f"same coded pictures at the clip's {media.describe_rate(made.fps)}, {said}"
        )
    run.add_artefact("video", RESULT, seams=list(cut.seams), audio=sound is not None, **_facts(made, len(film)))
    _measure(run, made, media.open_clip(run.path(RESULT)), cut)


def _sound(made: inputs.AnimateInputs, count: int) -> media.AudioStretch | None:
    """Return the sound that belongs to the first `count` frames, None where the inputs hold none."""
    driving = made.driving()
    if driving is None or not driving.info.has_audio:
        return None
    return media.AudioStretch(driving.info.path, 0.0, float(count / made.fps))


def _facts(made: inputs.AnimateInputs, count: int) -> dict[str, Any]:
    return {"frames": count, "height": made.height, "width": made.width, "fps": str(made.fps)}


def _measure(run: runs.Run, made: inputs.AnimateInputs, video: media.Clip, cut: segments.SegmentPlan) -> None:
    """Compute the metrics of a result and put them into the run."""
    with run.stage("measure"):
        measured = evaluate.evaluate(made, video, cut.seams, run.settings.mode or made.mode)
        files.write_json(run.path(METRICS), measured.over_time)
        run.manifest["metrics"] = measured.overall  # saved with the artefact: where it is, these are
        run.add_artefact("metrics", METRICS)


def _generate(
    run: runs.Run,
    settings: config.GenerateSettings,
    made: inputs.AnimateInputs,
    cut: segments.SegmentPlan,
    folder: Path,
    done: int,
    loaded: Loaded,
) -> None:
    from wanlab.model import sampling

    networks, encodings = _load(run, settings, loaded)
    velocities = None if done else begun_velocities(folder)
    already = done * (settings.num_inference_steps or 0) + (0 if velocities is None else len(velocities))
    tail = np.load(folder / f"{done - 1:03d}.npy", allow_pickle=False) if done else None
    with run.stage("generate"), _steps(run, settings, len(cut.windows), already) as on_step:
        for segment in sampling.generate_segments(
            networks,
            _Material(made, settings.mode or made.mode),
            cut,
            _sampler(settings),
            num_done=done,
            tail=tail,
            velocities=velocities,
            on_step=on_step,
            encodings=encodings,
        ):
            save_segment(folder, segment.number, segment.frames, segment.tail, made.fps)
            run.keep(f"{segment.number + 1} of {len(cut.windows)} segments")
    if networks.device.type == "cuda":
        import torch

        run.manifest["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()


def _preview(run: runs.Run, settings: config.GenerateSettings, num_steps: int, loaded: Loaded) -> None:
    made, cut = inputs_of(run), plan(run)
    folder = files.make_folder(run.path(SEGMENTS))
    if num_finished(folder, cut):  # it was cut off later than where it shall stop
        frames, num_steps = np.stack(list(saved_frames(folder, 0))), settings.num_inference_steps or 0
    else:
        from wanlab.model import sampling

        networks, encodings = _load(run, settings, loaded)
        velocities = begun_velocities(folder)
        already = 0 if velocities is None else len(velocities)
        with run.stage("generate"), _steps(run, settings, 1, already, num_steps) as on_step:
            begun = sampling.begin(
                networks,
                _Material(made, settings.mode or made.mode),
                cut,
                _sampler(settings),
                num_steps,
                velocities=velocities,
                on_step=on_step,
                encodings=encodings,
            )
        files.write_array(folder / BEGUN, begun.velocities)
        frames = begun.frames
    media.write_video(run.path(PREVIEW), frames, made.fps)
    run.add_artefact("preview", PREVIEW, frames=len(frames), steps=num_steps, of_steps=settings.num_inference_steps)


def _load(run: runs.Run, settings: config.GenerateSettings, loaded: Loaded) -> tuple[Networks, sampling.Encodings]:
    with run.stage("load"):
        import torch

        run.tell("loading the model", 0, 0)
        checkpoint = config.absolute(settings.checkpoint or checkpoints.NANO)
        networks, encodings = loaded.get(checkpoint, settings.device)
        if networks.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
    return networks, encodings


def _sampler(settings: config.GenerateSettings) -> sampling.Sampler:
    from wanlab.model import sampling

    return sampling.Sampler(
        settings.prompt,
        settings.num_inference_steps or 0,
        settings.guidance_scale or 0,
        settings.shift or 0,
        settings.seed,
    )


@contextlib.contextmanager
def _steps(
    run: runs.Run, settings: config.GenerateSettings, num_segments: int, already: int, num_steps: int | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show how far the denoising is; count its calls in the manifest. Yields what is told before each step."""
    steps = num_steps or settings.num_inference_steps or 0
    total = num_segments * steps - already
    per_step = 2 if (settings.guidance_scale or 1) > 1 else 1
    with tqdm(total=total, file=sys.stdout, mininterval=2, ascii=" =", unit="step") as bar:

        def on_step(segment: int, step: int) -> None:
            run.manifest["denoise_calls"] = run.manifest.get("denoise_calls", 0) + per_step
            run.tell("step", bar.n, total)
            bar.set_description_str(f"segment {segment + 1}/{num_segments} step {step + 1}/{steps}", refresh=False)
            bar.update(1)

        yield on_step


class _Material:
    """The inputs as the segment loop reads them; `mode` may be animate though a background is there."""

    def __init__(self, made: inputs.AnimateInputs, mode: str) -> None:
        self._made, self.mode = made, mode
        self.reference_image, self.frames, self.fingerprint = made.reference_image, made.frames, made.fingerprint

    def mask(self, indices: np.ndarray) -> np.ndarray:
        return self._made.mask()[indices]


def _comment(run: runs.Run) -> str:
    """Return the settings as JSON for the file's comment tag: a stray file can be traced by it."""
    kept = ("id", "step", "settings", "inputs", "models", "wanlab", "source_hash", "parents", "preview")
    return json.dumps({name: run.manifest[name] for name in kept if name in run.manifest}, ensure_ascii=False)
