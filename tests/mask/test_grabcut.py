"""Person masks against the exact truth, and clicks that must count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, media
from wanlab.mask import grabcut, keypoint_prompts, silhouette
from wanlab.mask.prompts import Box, Click, Prompts, read_prompts
from wanlab.media import resize
from wanlab.pose import detection

Given = tuple[np.ndarray, np.ndarray, np.ndarray]
ClipOf = Callable[..., Given]


@pytest.fixture(scope="module")
def clip_of(sample: Path) -> ClipOf:
    """Return what gives some frames of a clip, their true masks and true keypoints (detecting them has tests of its own)."""

    def give(video: str, truth: str, frames: slice) -> Given:
        clip = media.open_clip(sample / video, max_frames=frames.stop)
        with np.load(sample / truth) as known:
            masks = np.unpackbits(known["mask"], axis=-1)[..., : clip.width].astype(bool)
            keypoints = known["keypoints"]
        return clip.read()[frames], masks[..., frames, :, :], keypoints[..., frames, :, :]

    return give


def masks(frames: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(frames))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize(
    ("video", "truth"),
    [
        ("half.mp4", "half_truth.npz"),
        pytest.param("driving.mp4", "truth.npz", marks=pytest.mark.slow),
        pytest.param("dark.mp4", "dark_truth.npz", marks=pytest.mark.slow),
    ],
)
def test_masks_from_detected_keypoints_are_near_the_truth(clip_of: ClipOf, video: str, truth: str) -> None:
    frames, true, _ = clip_of(video, truth, slice(8))
    found = masks(silhouette.segment(frames, detection.detect(frames, 16.0).keypoints))
    assert found.dtype == bool
    assert found.shape == true.shape
    each = [iou(a, b) for a, b in zip(found, true, strict=True)]
    assert min(each) >= 0.8
    assert np.mean(each) >= 0.9


def test_nobody_has_no_mask() -> None:
    frames = np.full((3, 60, 80, 3), 100, np.uint8)
    assert not masks(silhouette.segment(frames, np.zeros((3, 133, 3), np.float32))).any()


@pytest.fixture(scope="module")
def arm(clip_of: ClipOf) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return three frames, their true masks, keypoints, and the true forearm in the first."""
    frames, true, body = clip_of("driving.mp4", "truth.npz", slice(0, 24, 8))
    elbow, wrist = body[0, 8, :2], body[0, 10, :2]
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    along = ((x - elbow[0]) * (wrist - elbow)[0] + (y - elbow[1]) * (wrist - elbow)[1]) / ((wrist - elbow) ** 2).sum()
    across = np.hypot(x - elbow[0] - along * (wrist - elbow)[0], y - elbow[1] - along * (wrist - elbow)[1])
    return frames, true, body, true[0] & (along > 0.25) & (along < 0.95) & (across < 18)


def test_a_positive_click_adds_a_missed_limb(arm: tuple[np.ndarray, ...]) -> None:
    frames, true, body, forearm = arm
    probabilities = [np.where(mask, 0.95, 0.02).astype(np.float32) for mask in true]
    probabilities[0][forearm] = 0.05
    y, x = (int(v.mean()) for v in np.nonzero(forearm))
    click = Click(0, x, y, True)
    before = masks(grabcut.grabcut(frames, body, Prompts(()), probabilities))
    after = masks(grabcut.grabcut(frames, body, Prompts((click,)), probabilities))
    assert (before[0] & forearm).sum() == 0
    assert (after[0] & forearm).sum() > 0.7 * forearm.sum()
    assert iou(after[0], true[0]) > 0.93
    assert after[0, y, x]


def test_a_negative_click_removes_a_bystander(sample: Path) -> None:
    frames = media.open_clip(sample / "two_people.mp4", max_frames=2).read()
    with np.load(sample / "two_people_truth.npz") as known:
        man, woman = np.unpackbits(known["mask"][:, :2], axis=-1)[..., : frames.shape[2]].astype(bool)
        body = known["keypoints"][0, :2].astype(np.float32)
    probabilities = [np.where(mask, 0.8, 0.02).astype(np.float32) for mask in man | woman]
    clicks = []
    for share in (0.1, 0.35, 0.6, 0.9):  # head, shirt, trousers, legs
        rows, columns = np.nonzero(woman[0])
        row = int(rows.min() + share * (rows.max() - rows.min()))
        clicks.append(Click(0, float(np.median(columns[rows == row])), row, False))
    after = masks(grabcut.grabcut(frames, body, Prompts(tuple(clicks)), probabilities))
    assert (after[0] & woman[0]).sum() < 0.3 * woman[0].sum()
    assert iou(after[0], man[0]) > 0.8
    for click in clicks:
        assert not after[0, int(click.y), int(click.x)]


def test_a_click_is_the_same_on_every_run(arm: tuple[np.ndarray, ...]) -> None:
    frames, true, body, _ = arm
    probabilities = [np.where(mask, 0.8, 0.2).astype(np.float32) for mask in true]
    click = Click(1, *map(float, body[1, 5, :2]), True)
    np.testing.assert_array_equal(
        masks(grabcut.grabcut(frames, body, Prompts((click,)), probabilities)),
        masks(grabcut.grabcut(frames, body, Prompts((click,)), probabilities)),
    )


def test_keypoint_clicks_are_upstream_s_eight_where_they_were_seen() -> None:
    body = np.zeros((8, 133, 3), np.float32)
    body[:] = np.stack([np.arange(133) % 40 + 10.0, np.arange(133) % 30 + 10.0, np.ones(133)], axis=1)
    body[:, 16, 2] = 0  # the right ankle was not seen
    body[:, 15, 0] = 70  # the left one lies outside
    clicks = keypoint_prompts.keypoint_clicks(body, 60, 60).clicks
    assert [click.frame for click in clicks[::6]] == [0, 2, 4, 6]
    assert len(clicks) == 4 * 6
    assert clicks[0] == Click(0, 10, 10, True)  # the nose
    assert clicks[1] == Click(0, 15, 15, True)  # between the shoulders, cut to whole pixels
    assert all(click.positive for click in clicks)


def test_sam2_gets_upstream_s_points_seen_or_not_but_none_where_nobody_is() -> None:
    body = np.zeros((8, 133, 3), np.float32)
    body[:] = np.stack([np.arange(133) % 40 + 10.0, np.arange(133) % 30 + 10.0, np.ones(133)], axis=1)
    body[:, 16, 2] = 0
    body[:, 15, 0] = 70
    body[4:, :, 2] = 0
    prompts = keypoint_prompts.keypoint_prompts(body, 60, 60)
    assert [click.frame for click in prompts.clicks] == [0] * 8 + [2] * 8
    assert prompts.clicks[7].x >= 60  # the left ankle lies outside
    assert prompts.describe() == "16 points on 2 frames"


def test_a_box_keeps_the_rest_of_its_frame_out(arm: tuple[np.ndarray, ...]) -> None:
    frames, true, body, _ = arm
    probabilities = [np.where(mask, 0.9, 0.1).astype(np.float32) for mask in true]
    height, width = frames.shape[1:3]
    box = Box(1, 0, 0, width, height / 2)
    click = Click(1, *map(float, body[1, 0, :2]), True)
    for clicks in ((), (click,)):
        found = masks(grabcut.grabcut(frames, body, Prompts(clicks, (box,)), probabilities))
        assert not found[1, height // 2 :].any()
        assert iou(found[1, : height // 2], true[1, : height // 2]) > 0.9
        assert found[0, height // 2 :].any()


def test_centre_clicks_are_the_middles_of_face_and_torso() -> None:
    body = np.zeros((4, 133, 3), np.float32)
    body[1:, 23:91] = np.stack([np.linspace(20, 40, 68), np.linspace(10, 20, 68), np.ones(68)], axis=1)
    body[1:, [5, 6, 11, 12]] = [(10, 30, 1), (50, 30, 1), (20, 50, 1), (40, 50, 1)]
    assert keypoint_prompts.centre_clicks(body, 60, 60).clicks == (Click(1, 30, 15, True), Click(1, 30, 40, True))
    body[..., 2] = 0
    assert keypoint_prompts.centre_clicks(body, 60, 60).clicks == ()


@pytest.mark.parametrize("source", ["keypoints", "centre"])
def test_masks_from_key_points_are_near_the_truth(clip_of: ClipOf, source: str) -> None:
    frames, true, body = clip_of("half.mp4", "half_truth.npz", slice(0, 65, 16))
    height, width = frames.shape[1:3]
    clicks = {"keypoints": keypoint_prompts.keypoint_clicks, "centre": keypoint_prompts.centre_clicks}[source](
        body, height, width
    )
    found = masks(grabcut.grabcut(frames, body, clicks, spread=False))
    assert np.mean([iou(a, b) for a, b in zip(found, true, strict=True)]) >= 0.85
    for click in clicks.clicks:
        assert found[click.frame, int(click.y), int(click.x)]


def test_a_carried_click_does_not_flood_what_it_slips_onto(clip_of: ClipOf) -> None:
    """Clicks on a raised hand: where the hand has moved on, they lie on the wall, which must stay out of the mask."""
    large, true, body = clip_of("half.mp4", "half_truth.npz", slice(13, 27))
    frames = np.stack([resize.resize_by_area(frame, 256 * 192) for frame in large])
    true, body = true[:, ::2, ::2], body * np.float32([0.5, 0.5, 1])
    clicks = read_prompts(config.project_root() / "params/demo/points.json", 27, 256, 192)
    clicks = [click._replace(frame=click.frame - 13) for click in clicks.clicks]
    found = masks(grabcut.grabcut(frames, body, Prompts(tuple(clicks))))
    for click in clicks:
        assert found[click.frame, int(click.y), int(click.x)]
    assert min(iou(a, b) for a, b in zip(found, true, strict=True)) > 0.93
