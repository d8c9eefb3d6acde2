"""The checkpoint's detectors over a clip, with networks of the same signatures whose answers tell what they got."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx_files import stand_ins

from wanlab.pose import detector_files, topdown, vitpose


def networks(folder: Path, batch: int | str = "batch", data: str | None = "end2end.bin") -> topdown.Networks:
    found, _ = detector_files.choose(stand_ins(folder, batch, data))
    assert found is not None
    return topdown.open_networks(found)


def clip(num_frames: int) -> Iterator[np.ndarray]:
    """Yield frames of which each has its own colour, and so its own box (`stand_ins`), with noise on it."""
    rng = np.random.default_rng(0)
    for t in range(num_frames):
        colour = np.array([20 + 5 * t, 10 + 3 * t, 90])
        yield (colour + rng.integers(-8, 8, (320, 240, 3))).astype(np.uint8)


@pytest.mark.parametrize(("batch", "data"), [("batch", "end2end.bin"), (1, None), (3, None)])
def test_batches_of_any_size_give_what_frames_one_by_one_give(
    batch: int | str, data: str | None, tmp_path: Path
) -> None:
    """19 frames: two full batches and a rest; a graph may also take one image or three at a time only."""
    both = networks(tmp_path, batch, data)
    together = list(topdown.find(clip(19), both))
    assert len(together) == 19
    for t, frame in enumerate(clip(19)):
        (alone,) = topdown.find([frame], both)
        np.testing.assert_array_equal(together[t].box, alone.box)
        np.testing.assert_allclose(together[t].points, alone.points, rtol=0, atol=2e-3)
    boxes = np.array([each.box for each in together])
    expected = np.array([(240 * (20 + 5 * t) / 255, 320 * (10 + 3 * t) / 255) for t in range(19)])
    assert np.abs(boxes[:, :2] - expected).max() < 2
    assert np.abs(boxes[:, 2:4] - boxes[:, :2] - (60, 160)).max() <= 1
    assert all(each.num_people == 1 for each in together)


def test_the_order_of_the_channels_reaches_the_pose_network_alone(tmp_path: Path) -> None:
    both = networks(tmp_path)
    bgr, rgb = (topdown.detect(list(clip(2)), both, order) for order in ("bgr", "rgb"))
    np.testing.assert_array_equal(bgr.boxes, rgb.boxes)
    assert np.abs(bgr.keypoints[..., 2] - rgb.keypoints[..., 2]).max() > 0.01


def test_frames_without_a_person_are_empty_and_named() -> None:
    """Nobody in frames 1 to 3; in frame 2 the whole image still shows a pose."""

    def boxes(images: np.ndarray) -> np.ndarray:
        rows = np.tile(np.array([100, 100, 300, 500, 0.9, 0], np.float32), (len(images), 2, 1))
        rows[:, 1] = (350, 100, 500, 400, 0.8, 0)
        rows[(images.mean(axis=(1, 2, 3)) * 255).round() > 100, :, 4] = 0
        return rows

    def pose(images: np.ndarray) -> np.ndarray:
        shown = (images[:, 0].max(axis=(1, 2)) * vitpose.DEVIATION[0] + vitpose.MEAN[0]).round()
        heatmaps = np.zeros((len(images), 133, 64, 48), np.float32)
        heatmaps[:, :, 30, 20] = np.where((shown > 100) & (shown != 120), 0.1, 0.9)[:, None]
        return heatmaps

    levels = (50, 110, 120, 130, 60)
    frames = [np.full((320, 240, 3), level, np.uint8) for level in levels]
    found = topdown.detect(
        frames, topdown.Networks(*(topdown.sessions.Network(run, 2, False, "") for run in (boxes, pose)))
    )
    assert found.no_person == (1, 3)
    assert not found.keypoints[[1, 3]].any()
    assert not found.boxes[[1, 3]].any()
    assert (found.keypoints[[0, 2, 4], :, 2] > 0.8).all()
    assert found.boxes[2].tolist() == [0, 0, 240, 320]
    assert found.num_people.tolist() == [2, 0, 0, 0, 2]
    assert "no person in frames 1, 3" in found.notes[0]
    assert "no box around a person in frame 2" in found.notes[1]
    assert "2 people in 2 frames: the largest of each frame is taken" in found.notes[2]


def test_a_person_is_followed_by_their_place(tmp_path: Path) -> None:
    """The box nearest to where the person is seen is taken, not the largest; where nobody is near, the place itself."""
    rows = np.array([[100, 100, 300, 500, 0.9, 0], [400, 100, 600, 560, 0.8, 0]], np.float32)

    def pose(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 133, 64, 48), 0.9, np.float32)

    both = topdown.Networks(
        topdown.sessions.Network(lambda images: np.tile(rows, (len(images), 1, 1)), 2, False, ""),
        topdown.sessions.Network(pose, 2, False, ""),
    )
    places = np.array([[105, 95, 290, 510], [5, 5, 60, 200], [0, 0, 0, 0]], float)
    found = list(topdown.find([np.zeros((640, 640, 3), np.uint8)] * 3, both, places=places))
    assert found[0].box[:4].tolist() == [100, 100, 300, 500]
    assert found[1].box[:4].tolist() == [5, 5, 60, 200]


def test_a_fault_or_an_end_in_the_middle_leaves_no_thread(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from clip(9)
        raise KeyboardInterrupt  # as a run that is cancelled does

    both = networks(tmp_path)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(topdown.find(broken(), both))
    found = topdown.find(clip(40), both)
    assert next(found).box[4] == np.float32(0.9)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
