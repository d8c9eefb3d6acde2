"""Metrics that need only the frames of a result; `metrics.MEANINGS` has what each cannot tell."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanlab import inputs, media
from wanlab.mask import silhouette
from wanlab.pose import detection
from wanlab.results import metrics, oddities

RESULT = "result.mp4"  # in the folder of a generation
SAMPLED = 8  # frames whose person is cut out for the colours
BEST_PSNR = 99.0  # dB that equal images are given: infinite is no JSON
ORDER = (
    "pose_agreement", "reference_agreement", "psnr", "ssim", "colour_drift", "seam_jump", "flicker", "sharpness",
)  # fmt: skip


class Evaluation(NamedTuple):
    """Numbers about one result.

    Attributes:
        overall: by metric, None where it cannot be measured.
        over_time: [T], float64, by metric.
        oddities: a sentence for each kind of frame that is no picture; see `oddities`.
    """

    overall: dict[str, float | None]
    over_time: dict[str, list[float | None]]
    oddities: tuple[str, ...]


def evaluate(animate_inputs: inputs.AnimateInputs, video: media.Clip, seams: Sequence[int], mode: str) -> Evaluation:
    """Measure a result against its inputs.

    Args:
        animate_inputs: the inputs; without keypoints (a folder of other tools) pose and colours are not measured.
        video: the result, lossless, no longer than the inputs.
        seams: frames at which a new segment begins.
        mode: in replace the background outside the mask is compared with the video.
    """
    driven, driving = animate_inputs.keypoints(), animate_inputs.driving()
    compared = (
        ()
        if mode != "replace" or driving is None
        else (
            driving.at(slice(len(video))),
            (~mask for mask in itertools.islice(animate_inputs.packed_mask(), len(video))),
        )
    )
    one_pass = metrics.OnePass(video, seams, *compared)
    odd, found = oddities.Oddities(), None
    if driven is not None:
        surveyed = detection.survey(odd.watch(one_pass))
        found = detection.detect(video, float(video.fps), surveyed=surveyed).keypoints
    else:
        collections.deque(odd.watch(one_pass), maxlen=0)  # nobody else wants the frames
    measured = one_pass.results()
    series = {name: measured[name] for name in ("flicker", "sharpness")}
    if driven is not None and found is not None:
        series["pose_agreement"] = metrics.pose_agreement(found, _on_canvas(driven[: len(video)], animate_inputs))
        agreement = _colours(animate_inputs, video, found)
        if agreement is not None:
            series["reference_agreement"] = agreement
    series |= {name: measured[name] for name in ("psnr", "ssim") if name in measured}
    overall = {name: _finite(values.overall) for name, values in series.items()}
    overall["colour_drift"] = _largest(measured["colour_drift"][1:])
    overall["seam_jump"] = _largest(measured["seam_jump"])
    return Evaluation(
        {name: overall[name] for name in ORDER if name in overall},
        {name: [_finite(value) for value in values.per_frame] for name, values in series.items()},
        odd.describe(),
    )


def _on_canvas(points: np.ndarray, animate_inputs: inputs.AnimateInputs) -> np.ndarray:
    """Move keypoints from the working clip to where the result shows them: retargeted, or through the letterbox."""
    drawn = animate_inputs.drawn_keypoints()
    return animate_inputs.letterboxed(points) if drawn is None else drawn[: len(points)]


def _colours(animate_inputs: inputs.AnimateInputs, video: media.Clip, found: np.ndarray) -> metrics.Series | None:
    """Compare the colours of the person in some frames with the reference's; None if no character is seen there."""
    character = animate_inputs.reference_keypoints()
    if character is None or not character[:, 2].any():
        return None
    reference = animate_inputs.reference_image()
    worn = silhouette.person_probability(reference, character) > 0.5
    if not worn.any():
        return None
    sampled = np.unique(np.linspace(0, len(video) - 1, SAMPLED).round().astype(int))
    frames = video.at(sampled).read()
    people = np.stack([silhouette.person_probability(*each) > 0.5 for each in zip(frames, found[sampled], strict=True)])
    some = metrics.reference_agreement(frames, people, reference, worn)
    over_time = np.full(len(video), np.nan)
    over_time[sampled] = some.per_frame
    return metrics.Series(over_time, some.overall)


def _largest(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return _finite(float(known.max())) if len(known) else None


def _finite(value: float) -> float | None:
    if math.isnan(value):
        return None
    return round(min(float(value), BEST_PSNR) if math.isinf(value) else float(value), 4)
