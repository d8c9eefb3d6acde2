"""What settings mean before anything is run: the size of the result, how many segments, about how long.

outlook.of("generate", config.GenerateSettings(seed=3))     # a sentence
"""

from __future__ import annotations

from wanlab import config, runs
from wanlab.model import checkpoints, segments
from wanlab.steps import generate, preprocess, sweep


def of(step: str, settings: config.Settings) -> str:
    """Return a sentence about what a step will do with these settings; empty for steps that only look.

    Raises:
        SettingsError, FileNotFoundError: what forbids to begin.
    """
    if isinstance(settings, config.PreprocessSettings):
        return _preprocess(settings)
    if isinstance(settings, config.GenerateSettings):
        return _generate(settings)
    return sweep.outlook(settings) if isinstance(settings, config.SweepSettings) else ""


def _preprocess(settings: config.PreprocessSettings) -> str:
    frames, height, width = preprocess.planned(settings)
    text = f"{frames} frames, result {height}x{width} (height x width)"
    recommended = checkpoints.find(settings.checkpoint).recommended
    length, overlap = recommended["segment_frame_length"], recommended["prev_segment_conditioning_frames"]
    count = len(segments.make_plan(frames, length, overlap).segments)
    text += f"; 30_generate makes {count} segment{'s' * (count > 1)} of it"
    earlier = [
        run
        for run in runs.list_runs("preprocess")
        if run.completed and run.manifest["settings"]["mode"] == settings.mode
    ]
    made = earlier[-1].manifest.get("artefacts", {}).get("pose_video", {}) if earlier else {}
    if made.get("frames"):
        text += f"; preprocessing takes {about(earlier[-1].manifest['seconds_total'] / made['frames'] * frames)}"
    return text


def _generate(settings: config.GenerateSettings) -> str:
    resolved = generate.resolve(settings)
    text = f"{resolved.height}x{resolved.width} (height x width); {resolved.plan.describe()}"
    expected = resolved.backend.expected(resolved.settings, resolved.plan, resolved.height, resolved.width)
    per_call = None if expected else sweep.seconds_per_call(resolved)
    if per_call is not None:
        expected = f"{resolved.num_calls} denoising calls, {about(resolved.num_calls * per_call)}"
    return "; ".join(filter(None, (text, expected)))


def about(seconds: float) -> str:
    """Return a time as people say it."""
    return f"about {sweep.duration(seconds)}"
