"""Person masks against the exact truth, and clicks that must count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wanlab import keypoints, media, sam

STRIDE = 8


def clip_of(sample: Path, film: str, truth: str, stride: int = STRIDE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every `stride`-th frame (16 at most), its true mask(s) and the detected key points."""
    clip = media.open_clip(sample / film, max_frames=16 * stride)
    with np.load(sample / truth) as known:
        masks = np.unpackbits(known["mask"], axis=-1)[..., : clip.width].astype(bool)
    points = keypoints.detect(clip, float(clip.fps)).keypoints
    return clip.read()[::stride], masks[..., : 16 * stride : stride, :, :], points[::stride]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize(
    ("film", "truth"), [("half.mp4", "half_truth.npz"), ("driving.mp4", "truth.npz"), ("dark.mp4", "dark_truth.npz")]
)
def test_masks_are_near_the_truth(sample: Path, film: str, truth: str) -> None:
    frames, true, points = clip_of(sample, film, truth, 1)
    found = sam.segment(frames, points)
    assert found.dtype == bool
    assert found.shape == true.shape
    each = [iou(a, b) for a, b in zip(found, true, strict=True)]
    assert min(each) >= 0.8
    assert np.mean(each) >= 0.9


def test_nobody_has_no_mask() -> None:
    frames = np.full((3, 60, 80, 3), 100, np.uint8)
    assert not sam.segment(frames, np.zeros((3, 133, 3), np.float32)).any()


@pytest.fixture(scope="module")
def arm(sample: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return three frames, their true masks, key points, and the true forearm in the first."""
    frames, true, points = clip_of(sample, "driving.mp4", "truth.npz")
    frames, true, points = frames[:3], true[:3], points[:3]
    elbow, wrist = points[0, 8, :2], points[0, 10, :2]
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    along = ((x - elbow[0]) * (wrist - elbow)[0] + (y - elbow[1]) * (wrist - elbow)[1]) / ((wrist - elbow) ** 2).sum()
    across = np.hypot(x - elbow[0] - along * (wrist - elbow)[0], y - elbow[1] - along * (wrist - elbow)[1])
    return frames, true, points, true[0] & (along > 0.25) & (along < 0.95) & (across < 18)


def test_a_positive_click_adds_a_missed_limb(arm: tuple[np.ndarray, ...]) -> None:
    frames, true, points, forearm = arm
    chances = [np.where(mask, 0.95, 0.02).astype(np.float32) for mask in true]
    chances[0][forearm] = 0.05
    y, x = (int(v.mean()) for v in np.nonzero(forearm))
    click = sam.Click(0, x, y, True)
    before = sam.grabcut(frames, points, [], chances)
    after = sam.grabcut(frames, points, [click], chances)
    assert (before[0] & forearm).sum() == 0
    assert (after[0] & forearm).sum() > 0.7 * forearm.sum()
    assert iou(after[0], true[0]) > 0.93
    assert after[0, y, x]


def test_a_negative_click_removes_a_bystander(sample: Path) -> None:
    frames, true, points = clip_of(sample, "two_people.mp4", "two_people_truth.npz")
    frames, points, (man, woman) = frames[:2], points[:2], true[:, :2]
    chances = [np.where(mask, 0.8, 0.02).astype(np.float32) for mask in man | woman]
    clicks = []
    for share in (0.1, 0.35, 0.6, 0.9):  # head, shirt, trousers, legs
        rows, columns = np.nonzero(woman[0])
        row = int(rows.min() + share * (rows.max() - rows.min()))
        clicks.append(sam.Click(0, float(np.median(columns[rows == row])), row, False))
    after = sam.grabcut(frames, points, clicks, chances)
    assert (after[0] & woman[0]).sum() < 0.3 * woman[0].sum()
    assert iou(after[0], man[0]) > 0.8
    for click in clicks:
        assert not after[0, int(click.y), int(click.x)]


def test_a_click_is_the_same_on_every_run(arm: tuple[np.ndarray, ...]) -> None:
    frames, true, points, _ = arm
    chances = [np.where(mask, 0.8, 0.2).astype(np.float32) for mask in true]
    click = sam.Click(1, *map(float, points[1, 5, :2]), True)
    np.testing.assert_array_equal(
        sam.grabcut(frames, points, [click], chances), sam.grabcut(frames, points, [click], chances)
    )


@pytest.mark.parametrize("where", [(3, 5, 5), (0, 480, 5), (0, 5, -1)])
def test_clicks_outside_the_clip_are_refused(where: tuple[int, int, int]) -> None:
    frames = np.zeros((3, 832, 480, 3), np.uint8)
    with pytest.raises(ValueError, match="clicks must lie inside the clip"):
        sam.grabcut(frames, np.zeros((3, 133, 3)), [sam.Click(*where, True)])
