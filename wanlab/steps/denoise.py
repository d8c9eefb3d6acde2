"""The backend `wanlab` of 30_generate: the networks of a checkpoint denoise segment after segment, each saved when finished."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wanlab import config, files, inputs, media, runs
from wanlab.files import fingerprints
from wanlab.model import attention, checkpoints, memory, parts, segments
from wanlab.results import compare
from wanlab.runs.watching import PARTIAL
from wanlab.steps import continuing, live_view, planning
from wanlab.steps.segment_files import (
    BEGUN,
    SEGMENTS,
    SegmentWriter,
    num_finished,
    partial_velocities,
    saved_frames,
    saved_videos,
)

if TYPE_CHECKING:
    from wanlab.model import kernels, sampling
    from wanlab.model.networks import Loras, Networks

MASTER = "result.mkv"  # lossless: metrics are computed from it
NOTE_ON_NANO = (
    "the bundled miniature (nano) makes this video, not Wan2.2-Animate-14B: it shows the line, not the quality"
)
DOWNLOAD_RELIGHTING = (
    "hf download Wan-AI/Wan2.2-Animate-14B --include 'relighting_lora*' --local-dir Wan2.2-Animate-14B"
)
TOO_SMALL = "the GPU's memory is too small"
SMALLER = "a smaller resolution, a shorter segment_frame_length, or quantization fp8 or int8"
PREVIEW = "preview.mp4"  # the first segment after some of its steps


class LoadedNetworks:
    """The networks that the last run used, and what they have encoded, kept for the next run of the same kernel."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._parts: Any = None
        self._asked: Any = None
        self._planned: planning.Planned | None = None
        self._warm: set[memory.Clip] = set()  # lengths and sizes that the networks have worked on

    def get(
        self,
        checkpoint: Path,
        device: str | None,
        precision: str = "fast",
        loras: Loras = (),
        ways: kernels.Ways | None = None,
    ) -> tuple[Networks, sampling.EncodingCache]:
        """Return networks and encodings; those of another checkpoint or device are dropped first: memory is short."""
        from wanlab.model import sampling
        from wanlab.model.networks import Networks, default_device

        key = checkpoint, tuple(parts.of(checkpoint).values()), device or default_device()  # a params file may change
        if key != self._key:
            self._parts = None
            self._parts = Networks(checkpoint, key[-1]), sampling.EncodingCache()
            self._key, self._warm = key, set()
        networks, _ = self._parts
        networks.take(loras)
        wanted = networks.ways if ways is None else ways
        if (networks.precision, networks.ways.vae_in_bfloat16) != (precision, wanted.vae_in_bfloat16):
            self._parts = networks, sampling.EncodingCache()  # what is kept was encoded in the other
        networks.precision = precision
        networks.compute(wanted)
        return self._parts

    def warm_up(self, clip: memory.Clip) -> bool:
        """Return whether this is the first clip of its size, whose time says little about the next one's."""
        is_first = clip not in self._warm
        self._warm.add(clip)
        return is_first

    def plan(self, settings: config.ResolvedGenerateSettings, clip: memory.Clip, loras: Loras) -> memory.Plan | None:
        """Have the networks work by a plan for the memory that is free; for what was planned before, by that one.

        Returns:
            the plan; None where nothing is to be decided.
        """
        networks: Networks = self._parts[0]
        wishes = settings.offload, settings.no_offload, settings.quantization, settings.gpu_memory_gb
        asked = clip, loras, wishes, networks.ways, planning.calls_per_step(settings), self._key
        if asked != self._asked:
            self._asked, self._planned = asked, planning.make(settings, clip, loras, networks.host_bytes)
        if networks.device.type == "cuda":
            memory.cap(settings.gpu_memory_gb)
        plan = self._planned.plan if self._planned else None
        networks.follow(plan)
        return plan

    def give_way(self) -> memory.Plan:
        """Have what comes next work by the next cheaper plan; what it changes is given back then, as no error holds it.

        Raises:
            LookupError: if there is none.
        """
        cheaper = self._planned.cheaper() if self._planned else None
        if cheaper is None:
            raise LookupError
        self._planned = cheaper
        return cheaper.plan


@dataclasses.dataclass(frozen=True)
class Denoiser:
    """A generation by wanlab itself; the members are those of `generate.Backend`."""

    source: ClassVar[str] = "master"
    source_file: ClassVar[str] = MASTER
    source_is_measured: ClassVar[bool] = True
    can_pause: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Any]] = {}
    checkpoint: checkpoints.Checkpoint
    loras: Loras = ()
    said_of_loras: tuple[str, ...] = ()

    @classmethod
    def open(cls, settings: config.GenerateSettings, mode: str) -> Self:
        """Find the checkpoint and match the LoRAs to it; both modes take the same ones.

        Raises:
            SettingsError: if a LoRA is none, or no layer of it matches.
            FileNotFoundError: if checkpoint or LoRA are missing.
        """
        checkpoint = checkpoints.find(settings.checkpoint)
        for path in settings.files(config.LORA):
            config.existing_file(config.LORA, path)
        _images(settings)
        if not (loras := _loras(settings, checkpoint.folder)):
            return cls(checkpoint)
        from wanlab.model import lora

        try:
            found = lora.of_checkpoint(checkpoint.folder, loras)
        except ValueError as error:
            raise config.SettingsError(f"lora {error}") from None
        return cls(checkpoint, loras, tuple(each.describe() for each in found))

    def faults(self, settings: config.ResolvedGenerateSettings, animate_inputs: inputs.AnimateInputs) -> list[str]:
        """Return nothing: what checkpoint and settings allow, it can."""
        return []

    def faults_of_machine(self, settings: config.GenerateSettings) -> list[str]:
        """Return what the function of this name does."""
        return faults_of_machine(settings)

    def models(self, settings: config.ResolvedGenerateSettings) -> dict[str, str]:
        """Return the checkpoint's fingerprint by its name, and those of LoRAs with their strengths."""
        changes = sorted(f"{fingerprints.of_contents(file)} at {strength:g}" for file, strength in self.loras)
        return {
            self.checkpoint.name: self.checkpoint.fingerprint(),
            **{f"LoRA {number}": change for number, change in enumerate(changes, 1)},
        }

    def expected(
        self, settings: config.ResolvedGenerateSettings, plan: segments.SegmentPlan, height: int, width: int
    ) -> str:
        """Return how much memory and time a generation is expected to take; empty where nothing is known, on a CPU."""
        clip = planning.longest(plan, height, width)
        planned = planning.make(settings, clip, self.loras)
        has_gpu = planned is not None and planned.machine.gpu is not None
        return planning.describe(planned, plan, settings.num_inference_steps) if planned and has_gpu else ""

    def num_gpus_here(self) -> int:
        """Return how many GPUs this Python's torch sees."""
        return num_gpus()

    def notes(self, settings: config.ResolvedGenerateSettings, asked: config.GenerateSettings) -> list[str]:
        """Return what a reader must know of results with this checkpoint."""
        is_nano = self.checkpoint.folder == checkpoints.NANO
        found = [NOTE_ON_NANO] if is_nano else []
        found += self.said_of_loras
        lacking = settings.use_relighting_lora and not _relighting(settings, self.checkpoint.folder)
        if lacking:
            get = "nano has none" if is_nano else f"get it: {DOWNLOAD_RELIGHTING}"
            found.append(
                f"use_relighting_lora has no effect: no relighting LoRA lies with {self.checkpoint.name}; {get}"
            )
        elif settings.use_relighting_lora and settings.mode != "replace":
            found.append(
                "use_relighting_lora is made for replace: in animate there is no video whose light it could fit"
            )
        elif settings.mode == "replace" and not settings.use_relighting_lora and not is_nano:
            found.append(
                "the character keeps the light of its own image; use_relighting_lora true fits it to the video's"
            )
        return found

    def make_source(
        self,
        run: runs.Run,
        animate_inputs: inputs.AnimateInputs,
        plan: segments.SegmentPlan,
        loaded: LoadedNetworks,
    ) -> None:
        """Generate the segments that are not finished yet and write all of them as one lossless video."""
        folder = files.make_folder(run.path(SEGMENTS))
        num_segments, done = len(plan.segments), num_finished(folder, plan)
        if done:
            print(f"{done} of {num_segments} segments are finished already")
        if done < num_segments:
            _within_memory(run, loaded, lambda: _generate(run, animate_inputs, plan, folder, loaded))
        if (done := num_finished(folder, plan)) < num_segments:
            plan = plan.first(done)
            run.manifest[PARTIAL] = {"segments": done, "of_segments": num_segments, "frames": plan.num_frames}
            run.add_notes(
                f"{PARTIAL}: stopped after segment {done} of {num_segments}; the same settings go on from there"
            )
        with run.stage("write"):
            count = media.join(saved_videos(folder, done), run.path(MASTER), animate_inputs.fps)
        size = {"height": animate_inputs.height, "width": animate_inputs.width}
        run.add_artefact("master", MASTER, frames=count, **size, fps=str(animate_inputs.fps))

    @staticmethod
    def write_video(
        source: media.Clip, path: Path, fps: Fraction, comment: str, audio: media.AudioStretch | None, crf: int
    ) -> tuple[str, ...]:
        """Encode the master for players."""
        media.write_video(path, source, fps, crf=crf, comment=comment, audio=audio)
        return ()


def faults_of_machine(settings: config.GenerateSettings) -> list[str]:
    """Return a line for each of the settings that asks for a kernel or a GPU that this machine lacks."""
    found = []
    if settings.attention != "auto":  # else nothing here needs torch, which takes seconds
        found = attention.faults(settings.attention, planning.capability(settings.device), attention.installed())
    for name in ("device", "noise_device"):
        if getattr(settings, name) == "cuda" and not num_gpus():
            found.append(f"{name} must be cpu on a machine without a GPU, got cuda; use cpu")
    return found


def num_gpus() -> int:
    """Return how many GPUs this Python's torch sees."""
    import torch

    return torch.cuda.device_count()


def begin(
    run: runs.Run,
    animate_inputs: inputs.AnimateInputs,
    plan: segments.SegmentPlan,
    num_steps: int,
    loaded: LoadedNetworks,
) -> None:
    """Run the first steps of the first segment, keep the model's outputs, and write PREVIEW."""
    settings: config.ResolvedGenerateSettings = run.settings
    folder = files.make_folder(run.path(SEGMENTS))
    if num_finished(folder, plan):  # it was interrupted later than where it is to stop
        frames, num_steps = np.stack(list(saved_frames(folder, 0))), settings.num_inference_steps
    else:
        found: list[np.ndarray] = []
        _within_memory(run, loaded, lambda: found.append(_begin(run, animate_inputs, plan, num_steps, loaded)))
        frames = found[0]
    media.write_video(run.path(PREVIEW), frames, animate_inputs.fps)
    run.add_artefact("preview", PREVIEW, frames=len(frames), steps=num_steps, of_steps=settings.num_inference_steps)


def _begin(
    run: runs.Run,
    animate_inputs: inputs.AnimateInputs,
    plan: segments.SegmentPlan,
    num_steps: int,
    loaded: LoadedNetworks,
) -> np.ndarray:
    """Run the first steps of the first segment and keep the model's outputs; return the frames that they foresee."""
    from wanlab.model import sampling

    settings, folder = run.settings, run.path(SEGMENTS)
    networks, encodings = _load(run, animate_inputs, plan, loaded)
    conditions, tail = _conditions(animate_inputs, settings, plan)
    velocities = partial_velocities(folder)
    already = 0 if velocities is None else len(velocities)
    with (
        run.stage("generate"),
        _steps(run, 1, already, num_steps) as on_step,
        _viewed(run, animate_inputs.fps, encodings) as on_foreseen,
    ):
        begun = sampling.begin(
            networks,
            conditions,
            plan,
            _sampler(settings),
            num_steps,
            tail=tail,
            velocities=velocities,
            on_step=on_step,
            on_foreseen=on_foreseen,
            encodings=encodings,
        )
    files.write_array(folder / BEGUN, begun.velocities)
    return begun.frames


def _within_memory(run: runs.Run, loaded: LoadedNetworks, work: Callable[[], None]) -> None:
    """Do some work; where the GPU's memory is too small for it, once more by the next cheaper plan.

    Raises:
        torch.OutOfMemoryError: if that is too much as well, or the settings forbid another plan; the message names the next.
    """
    import torch

    is_free = run.settings.offload == "auto" and not run.settings.no_offload
    for again in (True, False):
        try:
            work()
        except torch.OutOfMemoryError as error:
            try:
                cheaper = loaded.give_way()
            except LookupError:
                raise torch.OutOfMemoryError(f"{TOO_SMALL}; use {SMALLER}") from error
            if not (is_free and again):
                cap = math.ceil(cheaper.gpu_bytes / 1e8) / 10
                use = f"gpu_memory_gb {cap}" if is_free else "offload auto"
                raise torch.OutOfMemoryError(
                    f"{TOO_SMALL}; use {use}, which takes less ({cheaper.describe()})"
                ) from error
        else:
            return
        run.add_notes(f"{TOO_SMALL}: another plan is tried, what is finished is kept")


def _generate(
    run: runs.Run,
    animate_inputs: inputs.AnimateInputs,
    plan: segments.SegmentPlan,
    folder: Path,
    loaded: LoadedNetworks,
) -> None:
    """Generate and save the segments that are not finished yet."""
    from wanlab.model import sampling

    settings: config.ResolvedGenerateSettings = run.settings
    done = num_finished(folder, plan)
    networks, encodings = _load(run, animate_inputs, plan, loaded)
    velocities = None if done else partial_velocities(folder)
    already = done * settings.num_inference_steps + (0 if velocities is None else len(velocities))
    conditions, before = _conditions(animate_inputs, settings, plan)
    tail = np.load(folder / f"{done - 1:03d}.npy", allow_pickle=False) if done else before

    def keep(number: int) -> None:
        run.keep(f"{number + 1} of {len(plan.segments)} segments")

    with (
        run.stage("generate"),
        _steps(run, len(plan.segments), already) as on_step,
        _viewed(run, animate_inputs.fps, encodings) as on_foreseen,
        SegmentWriter(folder, animate_inputs.fps, keep) as writer,
    ):
        for segment in sampling.generate_segments(
            networks,
            conditions,
            plan,
            _sampler(settings),
            num_done=done,
            tail=tail,
            velocities=velocities,
            first_frames=np.stack(list(saved_frames(folder, 0))) if done and settings.colour_hold else None,
            on_step=on_step,
            on_foreseen=on_foreseen,
            encodings=encodings,
        ):
            writer.save(segment.number, segment.frames, segment.tail)
            if run.progress.pausing:
                break
    run.manifest[compare.SETTLED] = live_view.settled(live_view.kept(run.folder))
    if failure := networks.compile_failure:
        run.add_notes(f"the model's blocks were not compiled: {failure}; compile_model false leaves the try out")
    if networks.device.type == "cuda":
        import torch

        run.manifest["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()


def _conditions(
    animate_inputs: inputs.AnimateInputs, settings: config.ResolvedGenerateSettings, plan: segments.SegmentPlan
) -> tuple[ClipConditions | ContinuedConditions, np.ndarray | None]:
    """Return what the clip is made from, and the end of the earlier result that it goes on from, None without one."""
    now = ClipConditions(animate_inputs, settings.mode)
    if settings.continue_from is None:
        return now, None
    earlier = continuing.find(settings.continue_from, plan.lead_in)
    usable = earlier.inputs is not None and (settings.mode == "animate" or earlier.inputs.mode == "replace")
    before = ClipConditions(earlier.inputs, settings.mode) if usable and earlier.inputs is not None else None
    return ContinuedConditions(now, before, earlier.num_frames, plan.lead_in), earlier.tail()


def _load(
    run: runs.Run, animate_inputs: inputs.AnimateInputs, plan: segments.SegmentPlan, loaded: LoadedNetworks
) -> tuple[Networks, sampling.EncodingCache]:
    """Return the networks, which follow a plan for the memory that is free."""
    with run.stage("load"):
        import torch

        run.progress.update("loading the model", 0, 0)
        settings, checkpoint = run.settings, config.absolute(run.settings.checkpoint)
        loras = _loras(settings, checkpoint)
        ways = planning.ways(settings)
        networks, encodings = loaded.get(checkpoint, settings.device, settings.precision, loras, ways)
        run.manifest["computed_by"] = ways._asdict()
        longest = planning.longest(plan, animate_inputs.height, animate_inputs.width)
        run.manifest["warmed_up"] = loaded.warm_up(longest) or run.manifest.get("warmed_up", False)
        if chosen := loaded.plan(settings, longest, loras):
            print(chosen.describe())
            run.manifest["memory_plan"] = chosen.facts()
            if chosen.quantization != settings.quantization:
                run.add_notes(
                    "quantization makes nothing of weights that are quantised in their files: they stay as they are"
                )
        if networks.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if settings.precision == "fast" else "highest")  # TF32, or not
            torch.cuda.reset_peak_memory_stats()
            networks.prepare()
    return networks, encodings


def _loras(settings: config.GenerateSettings, checkpoint: Path) -> Loras:
    """Return the LoRAs that settings ask for, each with its strength; the relighting LoRA is the last."""
    given = tuple((config.absolute(file), strength) for file, strength in settings.loras())
    relighting = _relighting(settings, checkpoint)
    return (*given, (relighting, 1.0)) if relighting else given


def _relighting(settings: config.GenerateSettings, checkpoint: Path) -> Path | None:
    if not settings.use_relighting_lora:
        return None
    from wanlab.model import lora

    return lora.relighting(checkpoint)


def _sampler(settings: config.ResolvedGenerateSettings) -> sampling.SamplerSettings:
    from wanlab.model import sampling

    given = {name: getattr(settings, name) for name in sampling.SamplerSettings._fields}
    return sampling.SamplerSettings(**{**given, "more_references": _images(settings)})


def _images(settings: config.GenerateSettings) -> tuple[np.ndarray, ...]:
    """Return the further images of the character, each [H, W, 3], 0 to 255, uint8 RGB."""
    name = "more_references"
    try:
        return tuple(media.open_image(config.existing_file(name, path)).pixels for path in settings.more_references)
    except ValueError as error:  # media does not know which setting named the file
        raise config.SettingsError(str(error).replace("image must", f"{name} must", 1)) from error


@contextlib.contextmanager
def _steps(
    run: runs.Run, num_segments: int, already: int, num_steps: int | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the denoising; count its calls in the manifest. Yields what is called before each step."""
    steps = num_steps or run.settings.num_inference_steps
    total = num_segments * steps - already
    per_step = planning.calls_per_step(run.settings)
    done = itertools.count()

    def on_step(segment: int, step: int) -> None:
        run.manifest["denoise_calls"] = run.manifest.get("denoise_calls", 0) + per_step
        text = f"segment {segment + 1}/{num_segments} step {step + 1}/{steps}"
        more = {"segment": segment + 1, "segments": num_segments, "step": step + 1, "steps": steps}
        more |= planning.gpu_bytes()
        run.progress.update("step", next(done), total, text=text, unit="step", more=more)

    yield on_step
    if not run.progress.pausing:
        run.progress.finish("step")


@contextlib.contextmanager
def _viewed(run: runs.Run, fps: Fraction, encodings: sampling.EncodingCache) -> Iterator[sampling.OnForeseen]:
    """Let what the steps foresee be watched. Yields what is called after each step."""
    from wanlab.model import tiny_decoder

    colours, checkpoint = encodings.colours, config.absolute(run.settings.checkpoint)
    decoder, notes = None, ()
    if checkpoint != checkpoints.NANO:  # whose latents are its own
        decoder, notes = tiny_decoder.find(checkpoint, live_view.HIGHEST)
    colours.use(decoder)
    run.add_notes(*notes)
    run.remove_when_completed(run.path(live_view.LIVE))
    with live_view.LiveView(run.folder, fps, run.settings.num_inference_steps) as view:
        yield view.foreseen
    if view.fault:
        run.add_notes(f"the steps could not be shown: {view.fault}")
    if decoder is not None and colours.fault:
        run.add_notes(tiny_decoder.passed_over(decoder.name, colours.fault))


class ClipConditions:
    """The inputs as the segment loop reads them, a segment at a time; `mode` may be animate though a background is there."""

    def __init__(self, animate_inputs: inputs.AnimateInputs, mode: str) -> None:
        self._inputs, self.mode = animate_inputs, mode
        self.reference_image, self.fingerprint = animate_inputs.reference_image, animate_inputs.fingerprint
        self._videos: dict[str, media.Seeker] = {}  # files stay open from segment to segment
        if mode == "replace":
            self.mask = animate_inputs.mask_reader().read

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return the frames `indices` of a video: [n, H, W, 3], 0 to 255, uint8 RGB."""
        if name not in self._videos:
            self._videos[name] = media.Seeker(self._inputs.video(name))
        return self._videos[name].read(indices)


class ContinuedConditions:
    """The conditions of a clip with the last ones of an earlier clip in front; without these its first frame stands there."""

    def __init__(self, now: ClipConditions, before: ClipConditions | None, num_before: int, lead_in: int) -> None:
        self._now, self._before, self._num_before, self._lead_in = now, before, num_before, lead_in
        self.mode, self.reference_image = now.mode, now.reference_image

    def fingerprint(self, name: str) -> str:
        """Return what tells one reference_image or video from another."""
        own = self._now.fingerprint(name)
        if name == "reference_image":
            return own
        before = self._before.fingerprint(name) if self._before else ""
        return config.digest([own, before, self._num_before, self._lead_in])

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return the frames `indices` of a video, the earlier clip's first: [n, H, W, 3], 0 to 255, uint8 RGB."""
        return self._joined(indices, lambda conditions, at: conditions.frames(name, at))

    def mask(self, indices: np.ndarray) -> np.ndarray:
        """Return the masks `indices`, the earlier clip's first: [n, H, W], bool or float."""
        return self._joined(indices, lambda conditions, at: conditions.mask(at))

    def _joined(self, indices: np.ndarray, read: Callable[[ClipConditions, np.ndarray], np.ndarray]) -> np.ndarray:
        made = np.array(read(self._now, np.maximum(indices - self._lead_in, 0)))
        is_earlier = indices < self._lead_in
        if self._before is not None and is_earlier.any():
            before = read(self._before, self._num_before - self._lead_in + indices[is_earlier])
            if before.shape[1:] == made.shape[1:]:  # face crops of other tools may have another size
                made[is_earlier] = before
        return made
