"""Step 30: a folder of inputs → the video of the moving character.

settings = config.GenerateSettings(seed=3, guidance_scale=2)
run = generate.prepare(settings)   # checkpoint, sizes, hashes, the run folder; no weight is loaded yet
plan = generate.plan(run)          # how the clip is cut into segments
video = generate.work(run)         # segments, each saved when it is finished → result.mp4
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Container, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from wanlab import config, files, inputs, mask, media, official, runs
from wanlab.files import fingerprints, targets
from wanlab.inputs import decisions, own_videos, shrink
from wanlab.model import checkpoints, segments
from wanlab.results import evaluate
from wanlab.results.evaluate import RESULT
from wanlab.runs import artefacts
from wanlab.runs.watching import PARTIAL
from wanlab.steps import continuing, denoise, inspect, planning
from wanlab.steps.denoise import PREVIEW, LoadedNetworks
from wanlab.steps.preview import at_generation, smaller_inputs
from wanlab.steps.segment_files import SEGMENTS

RESULT_VERSION = 2  # raise it when the same settings come to mean another result
METRICS = "metrics.json"  # per metric its value in each frame
FROM_CHECKPOINT = (
    "num_inference_steps", "guidance_scale", "shift", "segment_frame_length", "prev_segment_conditioning_frames",
)  # fmt: skip


class Backend(Protocol):
    """Who generates: a class per value of the setting `backend`, in BACKENDS, opened for one set of settings.

    Attributes:
        source: artefact that the video and its numbers can be made from again, without a model.
        source_file: its file in the run folder.
        source_is_measured: whether the numbers are the source's; else, as its rate is another one, the result's.
        can_pause: whether it can stop after some steps and go on later.
        fixed: settings in which it has no choice.
        checkpoint: what it generates with, in the layout that it reads.
    """

    source: ClassVar[str]
    source_file: ClassVar[str]
    source_is_measured: ClassVar[bool]
    can_pause: ClassVar[bool]
    fixed: ClassVar[Mapping[str, Any]]

    @property
    def checkpoint(self) -> checkpoints.Checkpoint: ...

    @classmethod
    def open(cls, settings: config.GenerateSettings, mode: str) -> Self:
        """Find and check what it needs on this machine.

        Raises:
            SettingsError, FileNotFoundError: what is missing, with the commands that bring it.
        """
        ...

    def faults(self, settings: config.ResolvedGenerateSettings, animate_inputs: inputs.AnimateInputs) -> list[str]:
        """Return a line for each thing that it cannot do, besides those beyond the checkpoint's limits."""
        ...

    def faults_of_machine(self, settings: config.GenerateSettings) -> list[str]:
        """Return a line for each thing that settings ask for and this machine lacks; a sweep's workers may run on another one."""
        ...

    def models(self, settings: config.ResolvedGenerateSettings) -> dict[str, str]:
        """Return the fingerprint of all that decides its results, by name."""
        ...

    def expected(
        self, settings: config.ResolvedGenerateSettings, plan: segments.SegmentPlan, height: int, width: int
    ) -> str:
        """Return how much memory and time it is expected to take, a sentence; empty where nothing is known."""
        ...

    def num_gpus_here(self) -> int:
        """Return how many GPUs of this machine its Python sees: workers of a sweep get one each."""
        ...

    def notes(self, settings: config.ResolvedGenerateSettings, asked: config.GenerateSettings) -> list[str]:
        """Return what a reader must know, a sentence each; `asked` are the settings as they were given."""
        ...

    def make_source(
        self,
        run: runs.Run,
        animate_inputs: inputs.AnimateInputs,
        plan: segments.SegmentPlan,
        loaded: LoadedNetworks,
    ) -> None:
        """Generate what is not finished yet and record the artefact `source`.

        Raises:
            FloatingPointError: if the result is black or not a number.
            ScriptFailedError: if the official script fails.
        """
        ...

    @staticmethod
    def write_video(
        source: media.Clip, path: Path, fps: Fraction, comment: str, audio: media.AudioStretch | None, crf: int
    ) -> tuple[str, ...]:
        """Write the source as an mp4 of `fps` frames per second, where it is encoded with `crf`; return what a reader must know of it."""
        ...


BACKENDS: Mapping[str, type[Backend]] = {"wanlab": denoise.Denoiser, "wan22": official.Generation}


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A generation as it will be done: made once by `resolve`, and handed on.

    Attributes:
        settings: with nothing `None` that means "as the checkpoint recommends".
        asked: the settings as they were given.
        inputs: opened; of a preview those that smaller ones are made from.
        backend: who generates, with its checkpoint.
        plan: how the clip is cut into segments.
        height, width: of the result, in pixels.
        left_out: what a preview leaves out, a phrase each.
        earlier: result that it goes on from, None: a start of its own.
    """

    settings: config.ResolvedGenerateSettings
    asked: config.GenerateSettings
    inputs: inputs.AnimateInputs
    backend: Backend
    plan: segments.SegmentPlan
    height: int
    width: int
    left_out: tuple[str, ...]
    earlier: continuing.Earlier | None = None

    @functools.cached_property
    def made_from(self) -> dict[str, Any]:
        """Inputs, models and version that decide the result beside the settings, as `runs.open_run` takes them."""
        read = {"inputs": {"folder": config.shown(self.inputs.folder), "sha256": self.inputs.sha256()}}
        if self.earlier is not None:
            read["continue_from"] = {"folder": config.shown(self.earlier.run.folder), "sha256": self.earlier.sha256()}
        for number, path in enumerate(self.settings.more_references, 1):
            read[f"reference {number}"] = {
                "file": config.shown(path),
                "sha256": fingerprints.of_file(config.absolute(path)),
            }
        return {
            "inputs": read,
            "models": self.backend.models(self.settings),
            "result_version": RESULT_VERSION,
        }

    @property
    def calls_per_step(self) -> int:
        """How often the model is asked in a denoising step."""
        return planning.calls_per_step(self.settings)

    @property
    def num_calls(self) -> int:
        """How often the model is asked in all."""
        return len(self.plan.segments) * self.settings.num_inference_steps * self.calls_per_step


def resolve(settings: config.GenerateSettings, opened: inputs.AnimateInputs | None = None) -> Resolved:
    """Open what a generation reads and fill in every `None`, checked against checkpoint and inputs.

    Args:
        settings: what was asked for.
        opened: the inputs, where they are open already.

    Raises:
        SettingsError: what the checkpoint, the backend or the inputs cannot do, a line each.
        FileNotFoundError: if inputs, checkpoint or clone are missing.
    """
    given = opened or inspect.complete_inputs(settings.inputs, previews=settings.preview)[0]
    mode = settings.mode or given.mode
    backend = BACKENDS[settings.backend].open(settings, mode)
    checkpoint = backend.checkpoint
    chosen = {name: getattr(settings, name) for name in FROM_CHECKPOINT}
    chosen = {name: checkpoint.recommended[name] if value is None else value for name, value in chosen.items()}
    if chosen["segment_frame_length"] == config.AUTO:
        chosen["segment_frame_length"] = f"{config.AUTO}:{checkpoint.recommended['segment_frame_length']}"
    found = {"inputs": given.folder, "checkpoint": checkpoint.folder, "mode": mode}
    resolved = config.ResolvedGenerateSettings.build({**settings.model_dump(), **found, **chosen, **backend.fixed})
    faults = checkpoint.faults(
        {**chosen, "segment_frame_length": config.longest_segment(chosen["segment_frame_length"])}
    )
    height, width, left_out = given.height, given.width, given.preview
    if settings.preview and not faults:
        look = at_generation(resolved, given, checkpoint)
        resolved, height, width = look.settings, look.height, look.width
        left_out += look.left_out
        if resolved.continue_from is not None:
            resolved = resolved.replaced(continue_from=None)
            left_out += ("continue_from: it starts anew",)
    faults += checkpoint.faults_of_size(height, width)
    of_mode, notes = _faults_of_mode(mode, given)
    given = dataclasses.replace(given, notes=(*given.notes, *notes))
    faults += [*of_mode, *_faults_of_pose(given)]
    faults += backend.faults(resolved, given)
    earlier = None
    if resolved.continue_from is not None and not faults:
        earlier = continuing.find(resolved.continue_from, resolved.prev_segment_conditioning_frames)
        resolved = resolved.replaced(continue_from=earlier.run.folder)
        faults += earlier.faults(height, width)
    if faults:
        raise config.SettingsError("\n".join(faults))
    try:
        plan = _plan(resolved, given.num_frames)
    except ValueError as error:
        raise config.SettingsError(str(error)) from error
    return Resolved(resolved, settings, given, backend, plan, height, width, left_out, earlier)


def prepare(settings: config.GenerateSettings, made_for: str | None = None) -> runs.Run:
    """Resolve the settings and find or make the run folder.

    Args:
        settings: what was asked for.
        made_for: id of the run that needs this one; None: the user asked for it.

    Raises:
        SettingsError, FileNotFoundError: as `resolve`, before a folder is made.
    """
    resolved = resolve(settings)
    if faults := resolved.backend.faults_of_machine(resolved.settings):
        raise config.SettingsError("\n".join(faults))
    if settings.output_path is not None:
        targets.video(resolved.settings, keep=_kept(resolved.settings, resolved.inputs)).check()
    parent = resolved.inputs.facts.get("run")
    run = runs.open_run(
        "generate",
        resolved.settings,
        **resolved.made_from,
        parents=(parent,) if parent else (),
        preview=resolved.left_out,
        fresh=settings.fresh,
        made_for=made_for,
    )
    run.resolved = resolved
    if is_partial(run):
        run.news = "continued"
    if run.completed and (wrong := _wrong(run)):
        artefacts.distrust(run, wrong.values())
    run.add_notes(*resolved.backend.checkpoint.notes, *resolved.inputs.notes)
    not_applied = decisions.unapplied(resolved.inputs)
    if not_applied and run.completed:  # its manifest records the state at that time
        print(f"note: {not_applied}")
    elif not_applied:
        run.add_notes(not_applied, private=[str(resolved.inputs.folder.parent)])
    run.add_notes(*resolved.backend.notes(resolved.settings, settings))
    return run


def is_finished(resolved: Resolved) -> bool:
    """Return whether a completed run of this generation is there, with all its files."""
    code = runs.identity("generate", resolved.settings, **resolved.made_from)
    same = (run for run in runs.list_runs("generate") if run.completed and run.manifest["hash"] == code)
    return any(not is_partial(run) and not _wrong(run) for run in same)


def is_partial(run: runs.Run) -> bool:
    """Return whether a run was stopped after a segment: a result that the same settings go on from."""
    return run.completed and PARTIAL in run.manifest


def restore(run: runs.Run) -> None:
    """Make what is missing or damaged of a completed run's video and numbers again, from what the backend made; no model runs.

    Raises:
        FileNotFoundError: if that is damaged too, or the inputs are gone; the message names the command that generates it again.
    """
    wrong = _wrong(run)
    said = ", ".join(map(str, wrong.values()))
    if not wrong:
        return
    if not {"video", "metrics"} & set(wrong):
        print(f"note: in {run.id} {said}; what is asked for needs none of it")
        return
    backend = BACKENDS[run.manifest["settings"].get("backend", "wanlab")]
    if backend.source in wrong or backend.source not in run.manifest["artefacts"]:
        shown = run.manifest["settings"]["inputs"]
        raise FileNotFoundError(
            f"{run.id} must be complete, but {said}; generate it again with its settings: wanlab generate --inputs {shown} …"
        )
    animate_inputs = smaller_inputs(run)
    given = {**run.given(), "inputs": animate_inputs.folder, "output_path": None}
    run.settings = config.ResolvedGenerateSettings.build(given)
    artefacts.distrust(run, wrong.values())
    with run.working() as unfinished:
        if unfinished:
            _finish(run, backend, animate_inputs, _made(run, _plan(run.settings, animate_inputs.num_frames)), wrong)


def _wrong(run: runs.Run) -> dict[str, artefacts.Fault]:
    """Return what of a completed run is to be made again: damaged files, and numbers that are not those of its video."""
    found = artefacts.faults(run)
    for name in ("video", "master"):
        if name in found and found[name].readable:
            print(f"note: {found[name]} since wanlab wrote it in {run.id}: it is used as it is")
    video = run.manifest["artefacts"].get("video")
    if video and "video" not in found and run.settings is not None:
        now, asked = video.get("crf", media.CRF), run.settings.video_quality
        if now != asked:
            found["video"] = artefacts.Fault(RESULT, False, f"has quality {now}, {asked} is asked for")
    return {name: fault for name, fault in found.items() if name == "metrics" or not fault.readable}


def inputs_of(run: runs.Run) -> inputs.AnimateInputs:
    """Return the inputs that a run reads: of a preview the smaller ones, once it has made them."""
    return smaller_inputs(run, _resolved(run).inputs)


def plan(run: runs.Run) -> segments.SegmentPlan:
    """Return how the clip of a run is cut into segments."""
    return _resolved(run).plan


def seams(run: runs.Run) -> tuple[int, ...]:
    """Return the frames of a run's result at which a new segment begins."""
    return _made(run, _resolved(run).plan).seams


def expected(run: runs.Run) -> str:
    """Return how much memory and time a run is expected to take, a sentence; empty where nothing is known, as on a CPU."""
    found = _resolved(run)
    return found.backend.expected(found.settings, found.plan, found.height, found.width)


def work(run: runs.Run, loaded: LoadedNetworks | None = None) -> media.Clip:
    """Generate what is not finished yet and write `result.mp4`; a completed run is only read, a partial one goes on.

    Where somebody asks for the end after a segment (`watching.ask_to_pause`), what is finished then is the result.

    Args:
        run: from `prepare`.
        loaded: networks of earlier runs.

    Raises:
        FloatingPointError: if the result is black or not a number; the run is failed then.
        ScriptFailedError: if the official script fails.
    """
    if not run.completed or is_partial(run):
        with run.working() as unfinished:
            if unfinished:
                _work(run, _resolved(run), loaded or LoadedNetworks())
    if not is_partial(run):
        run.tidy(run.folder / SEGMENTS, run.path(PREVIEW))
    _hand_over(run)
    return media.open_clip(run.path(RESULT))


def first_look(run: runs.Run, num_steps: int, loaded: LoadedNetworks | None = None) -> media.Clip:
    """Run the first steps of the first segment and write `preview.mp4`; `work` continues from there, bit for bit.

    Args:
        run: from `prepare`, of a backend that can pause; a completed one is only read.
        num_steps: how many; all of the segment's where it has fewer.
        loaded: networks of earlier runs.

    Returns:
        the first segment as the last of these steps foresees it; of a completed run the result.

    Raises:
        FloatingPointError: if the frames seen are black or not a number; the run is failed then.
    """
    if run.completed:
        return media.open_clip(run.path(RESULT))
    num_steps = min(num_steps, run.settings.num_inference_steps)
    if _steps_seen(run) < num_steps:
        with run.working() as unfinished:
            if not unfinished:
                return media.open_clip(run.path(RESULT))
            if _steps_seen(run) < num_steps:
                denoise.begin(run, inputs_of(run), plan(run), num_steps, loaded or LoadedNetworks())
            run.stop_here()
    return media.open_clip(run.path(PREVIEW))


def _resolved(run: runs.Run) -> Resolved:
    """Return what a run generates; resolved here where another process, or an earlier one, has prepared it."""
    if not isinstance(run.resolved, Resolved):
        run.resolved = resolve(run.settings)
    return run.resolved


def _plan(settings: config.ResolvedGenerateSettings, num_frames: int) -> segments.SegmentPlan:
    is_fitted = isinstance(settings.segment_frame_length, str)
    return (segments.fit_plan if is_fitted else segments.make_plan)(
        min(num_frames, settings.max_frames or num_frames),
        config.longest_segment(settings.segment_frame_length),
        settings.prev_segment_conditioning_frames,
        0 if settings.continue_from is None else settings.prev_segment_conditioning_frames,
    )


def _faults_of_mode(mode: str, given: inputs.AnimateInputs) -> tuple[list[str], tuple[str, ...]]:
    """Return what forbids to generate in a mode from these inputs, a line each, and what a reader must know of their mask."""
    if mode != "replace":
        return [], ()
    if given.mode != "replace":
        return [
            "mode must be animate for these inputs, got replace: they hold no src_bg.mp4 and src_mask.mp4; use mode None"
        ], ()
    video = given.files["mask_video"]
    if video.suffix == ".npz":  # checked when it was made
        return [], ()
    try:
        masks, notes = mask.read_mask(video)
        return [], notes + mask.check(video.name, masks, given.keypoints())
    except ValueError as error:
        return [str(error)], ()


def _faults_of_pose(given: inputs.AnimateInputs) -> list[str]:
    """Return what forbids to generate from a pose video: no frame of it shows a skeleton. The first that does is enough."""
    if all(own_videos.is_black(frame) for frame in given.video("pose_video")):
        return [own_videos.all_black(given.files["pose_video"].name, given.num_frames)]
    return []


def _work(run: runs.Run, resolved: Resolved, loaded: LoadedNetworks) -> None:
    """Make what the video is made from, unless it is there, then video and numbers."""
    run.remove_when_completed(run.path(PREVIEW))
    _shrink(run, resolved)
    _go_on(run)
    animate_inputs, backend, wrong = inputs_of(run), resolved.backend, _wrong(run)
    if backend.source in wrong or backend.source not in run.manifest["artefacts"]:
        backend.make_source(run, animate_inputs, resolved.plan, loaded)
    if PARTIAL not in run.manifest:
        run.remove_when_completed(run.folder / SEGMENTS)  # all of it is in the master
    _finish(run, backend, animate_inputs, _made(run, resolved.plan), wrong)


def _go_on(run: runs.Run) -> None:
    """Take back what makes a result of the first segments, so that it is made of all of them."""
    if run.manifest.pop(PARTIAL, None) is None:
        return
    for name in (denoise.Denoiser.source, "video", "metrics"):
        run.manifest["artefacts"].pop(name, None)
    run.manifest["notes"] = [note for note in run.manifest["notes"] if not note.startswith(f"{PARTIAL}:")]
    run.save()


def _made(run: runs.Run, whole: segments.SegmentPlan) -> segments.SegmentPlan:
    """Return the plan of what a run has made: of a partial result its segments, else the whole one."""
    made = run.manifest.get(PARTIAL)
    return whole if made is None else whole.first(made["segments"])


def _finish(
    run: runs.Run,
    backend: Backend | type[Backend],
    animate_inputs: inputs.AnimateInputs,
    plan: segments.SegmentPlan,
    wrong: Container[str],
) -> None:
    """Write video and numbers from the source, those that are not there or `wrong`."""
    source = media.open_clip(run.path(backend.source_file))

    def lacks(name: str) -> bool:
        return name in wrong or name not in run.manifest["artefacts"]

    if lacks("video"):
        crf = run.settings.video_quality
        run.manifest["settings"]["video_quality"] = crf  # not in the hash: a run may be asked for with another one
        sound = _sound(animate_inputs, len(source))
        with run.stage("write"):
            notes = backend.write_video(source, run.path(RESULT), animate_inputs.fps, _comment(run), sound, crf)
        run.add_notes(*notes)
        facts = {"frames": len(source), "height": source.height, "width": source.width, "fps": str(animate_inputs.fps)}
        run.add_artefact("video", RESULT, seams=list(plan.seams), audio=sound is not None, crf=crf, **facts)
    if lacks("metrics") and not run.settings.preview:
        measured = source if backend.source_is_measured else media.open_clip(run.path(RESULT))
        with run.stage("measure"):
            numbers = evaluate.evaluate(animate_inputs, measured, plan.seams, run.settings.mode)
            run.add_notes(*numbers.oddities)
            files.write_json(run.path(METRICS), numbers.over_time)
            run.manifest["metrics"] = numbers.overall  # saved with the artefact: where it is, these are
            run.add_artefact("metrics", METRICS)
    run.manifest["artefacts"].pop("preview", None)


def _steps_seen(run: runs.Run) -> int:
    """Return how many steps a run's first look shows; 0: there is none."""
    made = run.manifest["artefacts"].get("preview")
    return 0 if made is None or "preview" in artefacts.damaged(run) else made["steps"]


def _shrink(run: runs.Run, resolved: Resolved) -> None:
    """Make the inputs of a preview smaller, where they are larger than it may be."""
    whole, size = resolved.inputs, (resolved.height, resolved.width)
    if size == (whole.height, whole.width) or (run.folder / shrink.FOLDER).is_dir():
        return
    with run.stage("shrink"):
        notes = shrink.shrink(
            whole,
            run.path(shrink.FOLDER),
            num_frames=resolved.plan.num_frames,
            height=resolved.height,
            width=resolved.width,
            left_out=run.preview,
        )
        run.add_notes(*notes)


def _sound(animate_inputs: inputs.AnimateInputs, count: int) -> media.AudioStretch | None:
    """Return the sound that belongs to the first `count` frames, None where the inputs hold none."""
    driving = animate_inputs.driving()
    if driving is None or not driving.info.has_audio:
        return None
    return media.AudioStretch(driving.info.path, 0.0, float(count / animate_inputs.fps))


def _hand_over(run: runs.Run) -> None:
    """Copy the result to `output_path`, where one is named, in the container that its ending names."""
    if run.settings.output_path is None:
        return
    if run.settings.preview:
        print(f"a preview is not copied to output_path; it is {config.typed(run.path(RESULT))}")
        return
    target = targets.video(run.settings, run.id, _kept(run.settings, inputs_of(run)))
    with target.writing() as part:
        if part.suffix.lower() == run.path(RESULT).suffix:
            files.copy(run.path(RESULT), part)
        else:
            media.rewrap(run.path(RESULT), part)
    print(f"video copied to {target.shown()}")


def _kept(settings: config.GenerateSettings, animate_inputs: inputs.AnimateInputs) -> targets.Kept:
    """Return what `output_path` may not be: what the settings name, and the videos and images that the inputs came from."""
    return targets.kept(settings, beside=inputs.origins(animate_inputs.facts.get("run")))


def _comment(run: runs.Run) -> str:
    """Return the settings as JSON for the file's comment tag: a stray file can be traced by it."""
    kept = ("id", "step", "settings", "inputs", "models", "wanlab", "source_hash", "parents", "preview")
    return json.dumps({name: run.manifest[name] for name in kept if name in run.manifest}, ensure_ascii=False)
