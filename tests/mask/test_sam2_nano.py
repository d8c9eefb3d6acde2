"""The bundled miniature of SAM2 on the rendered clips, which its training has not seen: clicks, and following."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from wanlab import media
from wanlab.mask import sam2_image, sam2_video, sam2_weights
from wanlab.mask.local_regions import LocalRegions
from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Click, Prompts

CLICKED, FOLLOWED = 0.85, 0.80  # IoU, the bars of its training


@pytest.fixture(scope="module")
def network() -> sam2_video.Predictor:
    return sam2_video.load(sam2_weights.read(sam2_weights.NANO))


def truth(sample: Path, name: str) -> np.ndarray:
    with np.load(sample / name) as known:
        return np.unpackbits(known["mask"], axis=-1)[..., : int(known["mask_shape"][-1])].astype(bool)


def chest(mask: np.ndarray) -> Click:
    """Return a click in the middle of the mask, on frame 0."""
    ys, xs = np.nonzero(mask)
    return Click(0, float(np.median(xs)), float(np.median(ys)), True)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.mark.parametrize(("clip", "known"), [("half", "half_truth"), ("driving", "truth"), ("dark", "dark_truth")])
def test_one_click_finds_the_person(network: sam2_video.Predictor, sample: Path, clip: str, known: str) -> None:
    frames = media.Frames(media.open_clip(sample / f"{clip}.mp4"))
    true = truth(sample, f"{known}.npz")
    nobody = PackedMasks.empty(*true.shape)
    found = sam2_image.Sam2Regions(network, frames, nobody, LocalRegions(frames, np.zeros((len(true), 133, 3)), nobody))
    for t in (0, len(frames) // 2):
        click = chest(true[t])._replace(frame=t)
        assert true[t, int(click.y), int(click.x)]
        masks, scores = found._predicted(t, [click], [True], None)
        assert iou(masks[int(scores.argmax())], true[t]) >= CLICKED
        part = found.of_click(click, ())  # the smallest that may be meant
        assert part.sum() <= true[t].sum() * 1.2
        assert part[int(click.y), int(click.x)]


def test_a_box_finds_the_person(network: sam2_video.Predictor, sample: Path) -> None:
    frames = media.Frames(media.open_clip(sample / "half.mp4", max_frames=1))
    true = truth(sample, "half_truth.npz")[0]
    ys, xs = np.nonzero(true)
    box = Box(0, float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    nobody = PackedMasks.empty(1, *true.shape)
    found = sam2_image.Sam2Regions(network, frames, nobody, LocalRegions(frames, np.zeros((1, 133, 3)), nobody))
    assert iou(found.of_box(box, ()), true) >= CLICKED


def followed(network: sam2_video.Predictor, clip: media.Clip, true: np.ndarray) -> list[float]:
    frames = media.Frames(clip)
    plan = sam2_video.plan(Prompts((chest(true[0]),)), len(frames))
    return [iou(mask, true[t]) for t, mask in sam2_video.track(network, frames, plan)]


def test_the_person_is_followed(network: sam2_video.Predictor, sample: Path) -> None:
    scores = followed(network, media.open_clip(sample / "half.mp4", max_frames=16), truth(sample, "half_truth.npz"))
    assert len(scores) == 16
    assert min(scores) >= FOLLOWED


def test_as_on_a_gpu_the_person_is_followed_as_in_float32(
    network: sam2_video.Predictor, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision, four frames at a time."""
    frames = media.Frames(media.open_clip(sample / "half.mp4", max_frames=10))
    plan = sam2_video.plan(Prompts((chest(truth(sample, "half_truth.npz")[0]),)), len(frames))
    exact = [mask for _, mask in sam2_video.track(network, frames, plan)]
    monkeypatch.setattr(sam2_video, "precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    monkeypatch.setattr(sam2_video.Predictor, "batch", 4)
    halved = copy.deepcopy(network)
    sam2_video.halve(halved, torch.bfloat16)
    quick = [mask for _, mask in sam2_video.track(halved, frames, plan)]
    assert min(iou(*pair) for pair in zip(quick, exact, strict=True)) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("clip", "known"), [("half", "half_truth"), ("driving", "truth"), ("dark", "dark_truth")])
def test_the_person_is_followed_through_the_whole_clip(
    network: sam2_video.Predictor, sample: Path, clip: str, known: str
) -> None:
    scores = followed(network, media.open_clip(sample / f"{clip}.mp4"), truth(sample, f"{known}.npz"))
    assert np.mean(scores) >= FOLLOWED
