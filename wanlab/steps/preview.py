"""Quick looks (`preview`): what they leave out, and inputs made smaller for them.

A preview only ever caps: what lies below stays as it is, so that one command with `--preview` more is quick.
"""

from __future__ import annotations

from typing import NamedTuple

from wanlab import config, inputs, media, runs
from wanlab.inputs.shrink import FOLDER
from wanlab.media import resize
from wanlab.model import checkpoints

STEPS = 8  # of the 20 to 40 that are customary
RESOLUTION = "832 480"  # the smaller of the two areas that Wan2.2-Animate is made for
NOT_MEASURED = "no metrics: its numbers would not compare with a result's"


class Look(NamedTuple):
    """How a generation is cut down.

    Attributes:
        settings: of the smaller generation.
        height, width: of its image, in pixels.
        left_out: a phrase for each thing that is left out.
    """

    settings: config.ResolvedGenerateSettings
    height: int
    width: int
    left_out: tuple[str, ...]


def at_video(
    settings: config.PreprocessSettings, clip: media.Clip
) -> tuple[config.PreprocessSettings, tuple[str, ...]]:
    """Return the settings that process the first second of a clip only, and what that leaves out; a short clip is left complete.

    The size stays: points clicked on a preview and frame numbers hold for the whole clip too.
    """
    second = max(1, round(clip.fps))
    if len(clip) <= second:
        return settings, ()
    return settings.replaced(max_frames=second), (f"max_frames {second} instead of {len(clip)} (the first second)",)


def at_generation(
    settings: config.ResolvedGenerateSettings, animate_inputs: inputs.AnimateInputs, checkpoint: checkpoints.Checkpoint
) -> Look:
    """Return how a generation with these resolved settings is cut down: first segment, a smaller area, fewer steps.

    Neither steps nor area exceed what the checkpoint recommends: a miniature stays as small as it is.
    """
    whole = min(animate_inputs.num_frames, settings.max_frames or animate_inputs.num_frames)
    length = config.longest_segment(settings.segment_frame_length)
    overlap = settings.prev_segment_conditioning_frames
    frames = min(whole, length)
    shortest = max(frames + (1 - frames) % 4, overlap + 4)  # 4n + 1, and more than what a segment takes over
    caps = {
        "num_inference_steps": min(STEPS, checkpoint.recommended["num_inference_steps"]),
        "max_frames": frames,
        "segment_frame_length": shortest,
    }
    reasons = {"max_frames": " (the first segment)", "segment_frame_length": " (as short as these frames)"}
    now = {**settings.model_dump(include=set(caps)), "max_frames": whole, "segment_frame_length": length}
    lower = {name: cap for name, cap in caps.items() if cap < now[name]}
    left_out = [f"{name} {cap} instead of {now[name]}{reasons.get(name, '')}" for name, cap in lower.items()]
    area = min(map(resize.area_of, (RESOLUTION, checkpoint.recommended["resolution"])))
    height, width = animate_inputs.height, animate_inputs.width
    if height * width > area:
        height, width = resize.area_size(height, width, area)
        left_out.append(f"{height}x{width} instead of {animate_inputs.height}x{animate_inputs.width} (height x width)")
    return Look(settings.replaced(**lower), height, width, (*left_out, NOT_MEASURED))


def smaller_inputs(run: runs.Run, whole: inputs.AnimateInputs | None = None) -> inputs.AnimateInputs:
    """Return the inputs that a generation reads: those made smaller for it, else `whole`; None: wherever those are."""
    smaller = run.folder / FOLDER
    if smaller.is_dir():
        return inputs.read(smaller)
    return inputs.of_run(run) if whole is None else whole
