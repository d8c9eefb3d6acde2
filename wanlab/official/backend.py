"""The official scripts as a backend: the user's clone of Wan2.2 does a step, wanlab checks, watches and reads the result.

Stage 1: `preprocess_data.py` → a folder of inputs. Stage 2: `generate.py` → a video of 30 frames per second without sound,
brought to the clip's own rate and sound without being encoded again.
Flags, defaults and log lines are those of Wan2.2 at commit 42bf4cf.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Self

from wanlab import config, files, inputs, mask, media, runs
from wanlab.media import resize
from wanlab.model import checkpoints, segments
from wanlab.official import clone as clones
from wanlab.official import process
from wanlab.official.clone import CHECKPOINT, GENERATE, PREPROCESS, Clone

MASK_CHAIN = mask.upstream_chain()  # the script's defaults for k, iterations, w_len, h_len
FPS = Fraction(30)  # of every video that generate.py writes
ORIGINAL = "wan22.mp4"  # the video as generate.py wrote it
HEADS = 40  # of the model's attention: Ulysses gives each GPU the same number
TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
ROUNDED = 1e-3  # relative: what two decimals leave of a rate is nearer than the next usual one
LOST = 2  # frames at the end: the script rounds a product of rates down when it samples, and once more when it writes
BLACK = 8  # of 255: a video that is nowhere brighter is black


def check(settings: config.PreprocessSettings | config.GenerateSettings) -> None:
    """Look for all that the official script of a step needs, before a step is started: checkpoint, clone, arguments, GPUs.

    Raises:
        SettingsError, FileNotFoundError: what is missing or cannot be, with the commands that bring it.
    """
    if isinstance(settings, config.PreprocessSettings):
        Preprocessing().resolve(settings)
        return
    opened = Generation.open(settings, settings.mode or "animate")
    faults = faults_of_machine(settings, opened.clone)
    if faults:
        raise config.SettingsError("\n".join(faults))


class Preprocessing:
    """The official scripts as the backend of 10_preprocess."""

    def resolve(
        self, settings: config.PreprocessSettings
    ) -> tuple[config.PreprocessSettings, dict[str, str], tuple[str, ...]]:
        """Return the settings with every `None` filled in, the fingerprints of what will be used, and what a reader must know.

        Raises:
            SettingsError, FileNotFoundError: what clone, interpreter or checkpoint lack, with the commands that bring it.
        """
        replacing = settings.mode == "replace"
        folder = clones.find_checkpoint(settings.checkpoint, PREPROCESS, replacing=replacing, flux=settings.use_flux)
        checkpoint = clones.read_checkpoint(folder)
        resolved = settings.replaced(
            resolution=settings.resolution or checkpoint.recommended["resolution"],
            retarget=not replacing and settings.retarget is not False,
            mask_chain=MASK_CHAIN if replacing and settings.mask_chain is None else settings.mask_chain,
            checkpoint=checkpoint.folder,
        )
        clone = _clone_for_preprocessing(resolved)
        models = {
            "Wan2.2": clone.commit,
            "process_checkpoint": clones.fingerprint(checkpoint.folder, PREPROCESS, flux=settings.use_flux),
        }
        return resolved, models, (f"the official script makes these inputs: {clone.describe()}",)

    def work(self, run: runs.Run) -> None:
        """Run stage 1 in the run's folder; errors as those of `preprocess`."""
        preprocess(run, _clone_for_preprocessing(run.settings))


@dataclasses.dataclass(frozen=True)
class Generation:
    """The official scripts as the backend of 30_generate, for one set of settings.

    Attributes:
        checkpoint: the original one.
        clone: that does it.
    """

    source: ClassVar[str] = "original"
    source_file: ClassVar[str] = ORIGINAL
    source_is_measured: ClassVar[bool] = False  # it plays at FPS
    can_pause: ClassVar[bool] = False
    fixed: ClassVar[Mapping[str, Any]] = {"prompt": config.PROMPT}  # the script's own, whatever was given
    checkpoint: checkpoints.Checkpoint
    clone: Clone

    @classmethod
    def open(cls, settings: config.GenerateSettings, mode: str) -> Self:
        """Find checkpoint and clone.

        Raises:
            SettingsError, FileNotFoundError: what is missing, with the commands that bring it.
        """
        replacing, lora = mode == "replace", settings.use_relighting_lora
        folder = clones.find_checkpoint(settings.checkpoint, GENERATE, replacing=replacing, lora=lora)
        here = config.project_root()
        arguments = generate_arguments(settings, here, here, here, 2 if settings.multi_gpu else 1)
        return cls(clones.read_checkpoint(folder), clones.find_clone(settings, GENERATE, arguments))

    def faults(self, settings: config.ResolvedGenerateSettings, animate_inputs: inputs.AnimateInputs) -> list[str]:
        """Return what `faults_of_generation` does."""
        return faults_of_generation(settings, animate_inputs, self.clone)

    def faults_of_machine(self, settings: config.GenerateSettings) -> list[str]:
        """Return what the function of this name does."""
        return faults_of_machine(settings, self.clone)

    def models(self, settings: config.ResolvedGenerateSettings) -> dict[str, str]:
        """Return the fingerprint of the weights that the script reads, and the clone's commit."""
        weights = clones.fingerprint(self.checkpoint.folder, GENERATE, lora=settings.use_relighting_lora)
        return {self.checkpoint.name: weights, "Wan2.2": self.clone.commit}

    def expected(
        self, settings: config.ResolvedGenerateSettings, plan: segments.SegmentPlan, height: int, width: int
    ) -> str:
        """Return nothing: what the official script takes is not known beforehand."""
        return ""

    def num_gpus_here(self) -> int:
        """Return how many GPUs the clone's torch sees, which may be another build than this Python's."""
        return int(self.clone.facts.get("gpus") or 0)

    def notes(self, settings: config.ResolvedGenerateSettings, asked: config.GenerateSettings) -> list[str]:
        """Return what a reader of a run by the official script must know."""
        found = [
            f"the official script makes this video: {self.clone.describe()}",
            f"{TF32}=1 is set for it: today's upstream does not switch TF32 on by itself",
        ]
        if asked.prompt != config.PROMPT:
            found.append(f"prompt has no effect: the official script uses its own for animate, {config.PROMPT}")
        if settings.use_relighting_lora and settings.mode != "replace":
            found.append(
                "use_relighting_lora is made for replace: in animate there is no video whose light it could fit"
            )
        return found

    def make_source(
        self, run: runs.Run, animate_inputs: inputs.AnimateInputs, plan: segments.SegmentPlan, loaded: object
    ) -> None:
        """Run stage 2; errors as those of `generate`."""
        generate(run, self.clone, animate_inputs, plan)

    @staticmethod
    def write_video(
        source: media.Clip, path: Path, fps: Fraction, comment: str, audio: media.AudioStretch | None, crf: int
    ) -> tuple[str, ...]:
        """Bring the script's video to the clip's rate and sound without encoding it again."""
        media.remux(source.info.path, path, fps, comment=comment, audio=audio)
        said = "with the video's sound" if audio else "without sound: the inputs hold no video that has any"
        return (
            f"{ORIGINAL} is the official script's video of {FPS} frames per second without sound; {path.name} holds the "
            f"same coded images at the clip's {media.describe_rate(fps)}, {said}",
        )


def _clone_for_preprocessing(settings: config.PreprocessSettings) -> Clone:
    arguments = preprocess_arguments(
        settings, config.absolute(settings.checkpoint or CHECKPOINT), config.project_root()
    )
    return clones.find_clone(settings, PREPROCESS, arguments)


def preprocess_arguments(settings: config.PreprocessSettings, checkpoint: Path, save_path: Path) -> list[str]:
    """Return the arguments of `preprocess_data.py`.

    Args:
        settings: resolved.
        checkpoint: folder of the model.
        save_path: folder that the script writes to.

    Raises:
        SettingsError: a mask chain that the script cannot make.
    """
    assert settings.resolution is not None  # resolved by prepare
    arguments = [
        "--ckpt_path", str(checkpoint / "process_checkpoint"),
        "--video_path", str(config.absolute(settings.driving_video)),
        "--refer_path", str(config.absolute(settings.reference_image)),
        "--save_path", str(save_path),
        "--resolution_area", *settings.resolution.split(),
        "--fps", "-1" if settings.fps is None else str(settings.fps),
    ]  # fmt: skip
    if settings.mode == "replace":
        k, iterations, w_len, h_len = _mask_numbers(MASK_CHAIN if settings.mask_chain is None else settings.mask_chain)
        numbers = {"--iterations": iterations, "--k": k, "--w_len": w_len, "--h_len": h_len}
        return [*arguments, "--replace_flag", *(word for name, n in numbers.items() for word in (name, str(n)))]
    return [
        *arguments,
        *(["--retarget_flag"] if settings.retarget else []),
        *(["--use_flux"] if settings.use_flux else []),
    ]


def generate_arguments(
    settings: config.GenerateSettings, checkpoint: Path, src_root_path: Path, save_file: Path, num_gpus: int
) -> list[str]:
    """Return the arguments of `generate.py`.

    Args:
        settings: resolved.
        checkpoint: folder of the model.
        src_root_path: folder of inputs.
        save_file: the mp4 that the script writes.
        num_gpus: processes that share the work.
    """
    several = ["--dit_fsdp", "--t5_fsdp", "--ulysses_size", str(num_gpus)] if num_gpus > 1 else []
    return [
        "--task", "animate-14B",
        "--ckpt_dir", str(checkpoint),
        "--src_root_path", str(src_root_path),
        "--refert_num", str(settings.prev_segment_conditioning_frames),
        *(["--replace_flag"] if settings.mode == "replace" else []),
        *(["--use_relighting_lora"] if settings.use_relighting_lora else []),
        "--sample_solver", settings.solver,
        "--sample_steps", str(settings.num_inference_steps),
        "--sample_guide_scale", str(settings.guidance_scale),
        "--sample_shift", str(settings.shift),
        "--base_seed", str(settings.seed),
        "--frame_num", str(settings.segment_frame_length),
        "--save_file", str(save_file),
        "--offload_model", str(not settings.no_offload),
        *several,
    ]  # fmt: skip


def faults_of_generation(
    settings: config.ResolvedGenerateSettings, animate_inputs: inputs.AnimateInputs, clone: Clone
) -> list[str]:
    """Return a line for each thing in the inputs that `generate.py` would fail on after minutes of loading."""
    overlap, length = settings.prev_segment_conditioning_frames, config.longest_segment(settings.segment_frame_length)
    count = num_gpus(settings, clone)
    height, width = animate_inputs.height, animate_inputs.width
    faults = list[str]()
    if animate_inputs.num_frames <= overlap:
        faults.append(
            f"inputs must have more frames than the {overlap} taken over with backend wan22, got {animate_inputs.num_frames}; use a longer video"
        )
    if not faults_of_machine(settings, clone) and num_tokens(height, width, length) % count:
        near_height, near_width = nearest_size(height, width, length, count)
        faults.append(
            f"src_pose.mp4 must have a size whose tokens ({num_tokens(height, width, length)}) the {count} GPUs divide, got "
            f"{height}x{width} (height x width); use {near_height}x{near_width}, or another nproc_per_node"
        )
    return faults


def faults_of_machine(settings: config.GenerateSettings, clone: Clone) -> list[str]:
    """Return a line for what the GPUs cannot do, whatever the inputs are."""
    there, count = int(clone.facts.get("gpus") or 0), num_gpus(settings, clone)
    if not there:
        return [
            "backend wan22 needs an NVIDIA GPU, and the clone's torch sees none; use backend wanlab, which runs nano on a CPU"
        ]
    if settings.multi_gpu and there < max(2, count):
        return [
            f"nproc_per_node must be 2 to the number of GPUs with multi_gpu, which is {there}, got {count}; use multi_gpu false"
        ]
    if HEADS % count:
        near = min((n for n in range(1, there + 1) if HEADS % n == 0), key=lambda n: abs(n - count))
        return [f"nproc_per_node must divide the model's {HEADS} attention heads, got {count}; use {near}"]
    return []


def num_tokens(height: int, width: int, segment_frame_length: int) -> int:
    """Return the tokens of one segment: 16x16 pixels of each latent frame, and of the reference's."""
    return (segment_frame_length // mask.TEMPORAL_STRIDE + 2) * (height // 16) * (width // 16)


def nearest_size(height: int, width: int, segment_frame_length: int, num_gpus: int) -> tuple[int, int]:
    """Return the size (height, width) nearest to the given one whose tokens `num_gpus` divides."""
    sizes = [
        (h, w)
        for h in range(max(16, height // 16 * 16 - 256), height + 257, 16)
        for w in range(max(16, width // 16 * 16 - 256), width + 257, 16)
        if num_tokens(h, w, segment_frame_length) % num_gpus == 0
    ]
    return min(sizes, key=lambda size: (abs(size[0] - height) + abs(size[1] - width), size))


def num_gpus(settings: config.GenerateSettings, clone: Clone) -> int:
    """Return how many processes share the work."""
    if not settings.multi_gpu:
        return 1
    return settings.nproc_per_node or int(clone.facts.get("gpus") or 0)


def preprocess(run: runs.Run, clone: Clone) -> None:
    """Run stage 1 into the run folder and describe what it wrote in `inputs.json`; the working clip is written beside it.

    Raises:
        ScriptFailedError: if the script fails.
    """
    settings: config.PreprocessSettings = run.settings
    checkpoint = config.absolute(settings.checkpoint or CHECKPOINT)
    command = [
        str(clone.python),
        str(clone.folder / PREPROCESS),
        *preprocess_arguments(settings, checkpoint, run.folder),
    ]
    for path in map(run.folder.joinpath, inputs.FILES):
        if path.is_symlink():
            files.remove(path)  # the script would write to where it leads
    with run.stage("official preprocessing"):
        _work(
            run,
            clone,
            command,
            {},
            lambda what, done, total: run.progress.update(
                what or "official preprocessing", done, total, line=False
            ),  # the script's own lines are shown
        )
    animate_inputs = _at_the_clips_rate(run, inputs.read(run.folder))
    height, width = _write_clip(run, animate_inputs)
    for name in ("reference_image", *inputs.EXPORTS):
        if name in animate_inputs.files:
            facts = (
                {}
                if name == "reference_image"
                else {"frames": animate_inputs.num_frames, "fps": str(animate_inputs.fps)}
            )
            run.add_artefact(name, animate_inputs.files[name].name, **facts)
    for name in inputs.EDITED:
        if run.path(name).is_file():
            run.add_artefact(Path(name).stem, name)
    inputs.write_facts(
        run.folder,
        mode=settings.mode,
        clip_height=height,
        clip_width=width,
        run=run.id,
        parent=None,
        mask_chain=settings.mask_chain,
    )
    run.add_artefact("inputs", inputs.FACTS)


def _at_the_clips_rate(run: runs.Run, animate_inputs: inputs.AnimateInputs) -> inputs.AnimateInputs:
    """Bring the script's videos to the clip's own rate, which it wrote with two decimals: 23.98 for 24000/1001."""
    rate = media.probe_video(config.absolute(run.settings.driving_video)).fps
    if run.settings.fps is not None or animate_inputs.fps == rate or abs(animate_inputs.fps / rate - 1) > ROUNDED:
        return animate_inputs
    for name in inputs.EXPORTS:
        if name in animate_inputs.files:
            media.remux(animate_inputs.files[name], animate_inputs.files[name], rate)
    return inputs.read(run.folder)


def _write_clip(run: runs.Run, animate_inputs: inputs.AnimateInputs) -> tuple[int, int]:
    """Write the working clip beside what the script made, where the two fit; return its height and width in pixels."""
    settings: config.PreprocessSettings = run.settings
    assert settings.resolution is not None  # resolved by prepare
    area = resize.area_of(settings.resolution)
    with run.stage("read"):
        clip = media.open_clip(config.absolute(settings.driving_video), fps=settings.fps)
        height, width = clip.height, clip.width
        if settings.mode == "replace":
            height, width = resize.area_size(height, width, area)
        fits = settings.mode == "animate" or (height, width) == (animate_inputs.height, animate_inputs.width)
        if fits and 0 <= len(clip) - animate_inputs.num_frames <= LOST:
            clip = media.Clip(clip.info, animate_inputs.fps, clip.source_indices[: animate_inputs.num_frames], ())
            frames = run.progress.iterate(clip, "read", len(clip))
            if settings.mode == "replace":
                frames = (resize.resize_by_area(frame, area) for frame in frames)
            length = float(len(clip) / animate_inputs.fps)
            sound = media.AudioStretch(clip.info.path, 0.0, length)
            run.add_notes(*media.describe_sound(sound))
            inputs.write_video(
                run, "driving_video", inputs.DRIVING, frames, animate_inputs.fps, lossless=True, audio=sound
            )
        else:
            run.add_notes(
                f"the script made {animate_inputs.num_frames} frames of {animate_inputs.height}x{animate_inputs.width}, wanlab sees {len(clip)} of "
                f"{height}x{width} in the video: it is not shown beside the result, and its sound is not carried over"
            )
    return height, width


def generate(
    run: runs.Run, clone: Clone, animate_inputs: inputs.AnimateInputs, plan: segments.SegmentPlan
) -> media.Clip:
    """Run stage 2; return the video as the script wrote it, kept as `wan22.mp4`.

    Raises:
        ScriptFailedError: if the script fails or writes no video.
        FloatingPointError: if the video is black.
        ValueError: if it has another length than the inputs.
    """
    settings: config.ResolvedGenerateSettings = run.settings
    count = num_gpus(settings, clone)
    checkpoint = config.absolute(settings.checkpoint)
    arguments = generate_arguments(settings, checkpoint, animate_inputs.folder, run.path(ORIGINAL), count)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nnodes", "1", "--nproc_per_node", str(count)]
    command = [str(clone.python), *(launcher if count > 1 else []), str(clone.folder / GENERATE), *arguments]
    files.remove(run.path(ORIGINAL))
    steps = settings.num_inference_steps
    seen = process.Steps(len(plan.segments), steps, count)
    total = len(plan.segments) * steps
    with run.stage("official generation"):

        def on_progress(what: str, done: int, out_of: int) -> None:
            if not what and seen.see(done, out_of):
                text = f"segment {seen.segment + 1}/{len(plan.segments)} step {seen.step}/{steps}"
                run.progress.update("step", seen.done, total, text=text, unit="step")

        lines = _work(run, clone, command, {TF32: "1"}, on_progress)
        run.progress.finish("step")
    if not run.path(ORIGINAL).is_file():
        raise process.ScriptFailedError(process.explain(GENERATE, 0, lines))
    video = media.open_clip(run.path(ORIGINAL))
    size = f"{video.height}x{video.width}"
    if (len(video), video.height, video.width) != (
        animate_inputs.num_frames,
        animate_inputs.height,
        animate_inputs.width,
    ):
        raise ValueError(
            f"{ORIGINAL} must have {animate_inputs.num_frames} frames of {animate_inputs.height}x{animate_inputs.width}, got {len(video)} of {size}; see {process.LOG}"
        )
    if all(frame.max() < BLACK for frame in video):
        raise FloatingPointError(
            f"{ORIGINAL} must be an image, got black frames only: the model made no numbers; see {process.LOG}"
        )
    run.add_artefact(
        "original", ORIGINAL, frames=len(video), height=video.height, width=video.width, fps=str(video.fps)
    )
    return video


def _work(run: runs.Run, clone: Clone, command: list[str], environment: dict[str, str], on_progress: Any) -> list[str]:
    """Run a script; return its last lines."""
    settings = run.settings
    places = [clone.folder, clone.python.parent, config.absolute(settings.checkpoint or CHECKPOINT)]
    places += [config.absolute(path) for name in settings.paths() for path in settings.files(name)]
    own = config.outputs_root(), config.project_root()  # `scrub` has names for these
    private = [
        str(path.parent)
        for path in places
        if len(path.parent.parts) > 1 and not any(path.is_relative_to(root) for root in own)
    ]
    run.add_notes(f"command: {runs.scrub(shlex.join(command), private)}")
    return process.work(
        run, command, folder=clone.folder, environment=environment, private=private, on_progress=on_progress
    )


def _mask_numbers(chain: str) -> tuple[int, int, int, int]:
    """Return k, iterations, w_len and h_len of a chain.

    Raises:
        SettingsError: if the official script cannot make it.
    """
    match mask.parse_chain(chain):
        case ():
            return 7, 0, 1, 1  # without iterations the others have no effect
        case (("dilate", (k, iterations)), ("cells", (w_len, h_len))) if iterations:
            return k, iterations, w_len, h_len
    raise config.SettingsError(
        f"mask_chain must be dilate:KxITERATIONS,cells:WxH or '' with backend wan22, got {chain!r}: the official script makes no "
        f"other; use {MASK_CHAIN!r}"
    )
