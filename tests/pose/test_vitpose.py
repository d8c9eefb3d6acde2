"""The pose network's input and answers; equality with upstream is in test_golden (07)."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import vitpose

FRAME = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)


@pytest.mark.parametrize("box", [(20, 30, 110, 250, 0.9), (-40, -60, 120, 150, 0.9), (150, 100, 320, 420, 0.5)])
def test_a_bright_point_is_found_where_it_is(box: tuple[float, ...]) -> None:
    """Through the crop and back: the heatmap is the crop itself, shrunk, around a blob in the image."""
    blob = np.array([75.0, 130.0]) if box[0] < 100 else np.array([180.0, 200.0])
    rows, columns = np.mgrid[:300, :200]
    frame = np.zeros((300, 200, 3), np.uint8)
    frame[...] = (250 * np.exp(-((columns - blob[0]) ** 2 + (rows - blob[1]) ** 2) / (2 * 8.0**2)))[..., None]
    seen = vitpose.window(np.array(box), 300, 200)
    image = vitpose.tensor(frame, seen)[0] * vitpose.DEVIATION[0] + vitpose.MEAN[0]
    heatmap = image.reshape(64, 4, 48, 4).mean(axis=(1, 3))
    found = vitpose.keypoints(heatmap[None, None], [seen])[0, 0]
    cell = seen.scale * vitpose.UNIT / (48, 64)
    assert np.abs(found[:2] + cell / 2 - 0.5 - blob).max() < 0.3  # a cell's place is its corner, as upstream's
    assert found[2] == heatmap.max()


def test_the_order_exchanges_the_channels_before_they_are_scaled() -> None:
    seen = vitpose.window(None, 300, 200)
    back = [
        vitpose.tensor(FRAME, seen, order) * vitpose.DEVIATION[:, None, None] + vitpose.MEAN[:, None, None]
        for order in ("bgr", "rgb")
    ]
    np.testing.assert_allclose(back[0], back[1][::-1], atol=1e-3)
    assert np.abs(vitpose.tensor(FRAME, seen) - vitpose.tensor(FRAME[..., ::-1], seen, "rgb")).max() == 0


def test_nothing_bright_is_nowhere_and_a_peak_at_the_border_stays() -> None:
    heatmaps = np.zeros((1, 2, 64, 48), np.float32)
    heatmaps[0, 1, 63, 0] = 0.8
    seen = vitpose.Window(np.array([24.0, 32.0]), np.array([48, 64]) / vitpose.UNIT)
    np.testing.assert_allclose(vitpose.keypoints(heatmaps, [seen])[0], [[-1, -1, 0], [0, 63, 0.8]], atol=1e-5)


def test_a_batch_is_read_as_its_images_one_by_one() -> None:
    heatmaps = np.random.default_rng(1).random((3, 133, 64, 48), np.float32)
    windows = [vitpose.window(np.array([10, 10, 60 + 20 * n, 200, 0.9]), 300, 200) for n in range(3)]
    single = [vitpose.keypoints(heatmaps[n : n + 1], windows[n : n + 1])[0] for n in range(3)]
    np.testing.assert_allclose(vitpose.keypoints(heatmaps, windows), single, rtol=0, atol=1e-4)
