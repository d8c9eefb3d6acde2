"""The person's silhouette in a clip: U2-Net looks at some frames, its answers move with the image to those between."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from wanlab.mask import silhouette

HEIGHT, WIDTH, RADIUS = 160, 200, 22


def keypoints(xs: list[float | None]) -> np.ndarray:
    """Return [T, 133, 3] of a standing body around each x (None: nobody), at y 80."""
    body = np.array([(0, -30), (3, -33), (-3, -33), (6, -31), (-6, -31), (12, -15), (-12, -15), (15, 0), (-15, 0), (16, 12), (-16, 12), (8, 12), (-8, 12), (8, 25), (-8, 25), (8, 38), (-8, 38)], float)  # fmt: skip
    points = np.zeros((len(xs), 133, 3), np.float32)
    for t, x in enumerate(xs):
        if x is not None:
            points[t, :17, :2] = np.add(body, (x, 80))
            points[t, :17, 2] = 0.9
    return points


def disc(x: float) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns - x) ** 2 + (rows - 80) ** 2 <= RADIUS**2


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """Count calls of networks that find what is bright: U2-Net all of it, BlazePose nothing surely."""
    counted: collections.Counter[str] = collections.Counter()

    def run(name: str, image: np.ndarray) -> list[np.ndarray]:
        counted[name] += 1
        if name == "u2netp":
            return [image[:, 1:2]]
        return [np.zeros(0), np.zeros(0), np.full((1, 256, 256, 1), 0.1, np.float32)]

    monkeypatch.setattr(silhouette, "run_network", run)
    return counted


def test_answers_move_with_the_person(calls: collections.Counter[str]) -> None:
    """11 frames of a bright, textured disc that moves 2 pixels a frame: each mask is where the disc is then."""
    texture = np.random.default_rng(0).integers(0, 60, (HEIGHT, 2 * WIDTH, 3), np.uint8)
    xs = [80 + 2.0 * t for t in range(11)]
    frames = []
    for t, x in enumerate(xs):
        frame = texture[:, 50 : 50 + WIDTH] // 2
        moving = np.roll(texture, 2 * t, axis=1)[:, 50 : 50 + WIDTH] + 190
        frames.append(np.where(disc(x)[..., None], moving, frame).astype(np.uint8))
    masks = list(silhouette.segment(frames, keypoints(xs)))
    looked_at = silhouette.looks(keypoints(xs))
    assert calls["u2netp"] == looked_at.sum() <= 4
    assert calls["pose_landmark_full"] == 11
    for t, (x, mask) in enumerate(zip(xs, masks, strict=True)):
        assert (mask & disc(x)).sum() / (mask | disc(x)).sum() > 0.9, t


def test_it_looks_again_where_somebody_moves_comes_or_goes(calls: collections.Counter[str]) -> None:
    still, jump = [60.0] * 12, [60.0] * 3 + [120.0] * 3
    assert np.flatnonzero(silhouette.looks(keypoints(still))).tolist() == [0, 5, 10, 11]
    assert np.flatnonzero(silhouette.looks(keypoints(jump))).tolist() == [
        0,
        2,
        3,
        5,
    ]  # the last before, the first after
    away = [None, 60.0, 60.0, 60.0, None, None, 60.0]
    assert np.flatnonzero(silhouette.looks(keypoints(away))).tolist() == [1, 3, 6]
    grey = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 7
    masks = list(silhouette.segment(grey, keypoints(away)))
    assert not any(masks[t].any() for t in (0, 4, 5))
    assert not silhouette.looks(keypoints([None, None])).any()
    assert len(silhouette.looks(keypoints([]))) == 0


def test_one_frame_is_the_networks_answer(calls: collections.Counter[str]) -> None:
    frame = np.where(disc(90)[..., None], 220, 20).astype(np.uint8).repeat(3, axis=2)
    alone = silhouette.person_probability(frame, keypoints([90])[0]) > 0.5
    (mask,) = silhouette.segment([frame], keypoints([90]))
    assert np.mean(mask != alone) < 0.002
    assert (mask & disc(90)).sum() / (mask | disc(90)).sum() > 0.9


def test_detected_hands_belong_to_the_person(calls: collections.Counter[str]) -> None:
    """The networks see no hand; unsure points draw none, and what lies outside the image does no harm."""
    points = keypoints([90.0])
    fingers = np.array([(10 * np.sin(a), -10 * np.cos(a)) for a in np.linspace(-1, 1, 5)])
    hand = np.concatenate(
        [np.zeros((1, 2)), *(fingers[f] * n for f in range(5) for n in (1, 1.4, 1.8, 2.2))], axis=None
    )
    points[0, 91:112, :2] = np.add(hand.reshape(21, 2), (160, 90))
    points[0, 112:133, :2] = np.add(hand.reshape(21, 2), (-500, 9999))
    frame = np.where(disc(90)[..., None], 220, 20).astype(np.uint8).repeat(3, axis=2)
    masks = []
    for score in (0.4, 0.6):
        points[0, 91:, 2] = score
        masks.extend(silhouette.segment([frame], points))
    added = masks[1] & ~masks[0]
    assert added[80, 160]  # the palm
    assert added[90 - 18, 160]  # the middle finger
    rows, columns = np.nonzero(added)
    assert rows.min() >= 66
    assert rows.max() <= 93
    assert columns.min() >= 138
    assert columns.max() <= 182


def test_a_cap_that_one_network_leaves_out_is_the_person_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """U2-Net takes the whole crop for the person, BlazePose nothing of it: above the eyes that is a hat, below it is not enough."""

    def network(name: str, _: np.ndarray) -> list[np.ndarray]:
        if name == "u2netp":
            answer = np.ones((1, 1, 320, 320), np.float32)
            answer[..., 0, 0] = 0
            return [answer]
        return [np.zeros(0), np.zeros(0), np.full((1, 256, 256, 1), -20, np.float32)]

    monkeypatch.setattr(silhouette, "run_network", network)
    points = np.zeros((133, 3), np.float32)
    for row, place in {
        0: (100, 80),
        1: (106, 72),
        2: (94, 72),
        5: (130, 120),
        6: (70, 120),
        11: (120, 200),
        12: (80, 200),
    }.items():
        points[row] = (*place, 0.9)
    found = silhouette.person_probability(np.zeros((300, 200, 3), np.uint8), points)
    assert found[55, 100] > 0.9
    assert 0.3 < found[150, 100] < 0.5


@pytest.mark.parametrize(("hips", "whose"), [(0.9, "BlazePose"), (0.0, "U2-Net")])
def test_of_a_bust_u2_net_is_believed_and_of_a_body_blazepose(
    monkeypatch: pytest.MonkeyPatch, hips: float, whose: str
) -> None:
    """BlazePose finds the left half of the crop, U2-Net the right one."""
    half = np.zeros((320, 320), np.float32)
    half[:, 160:] = 1

    def run(name: str, image: np.ndarray) -> list[np.ndarray]:
        logits = np.where(np.arange(256)[None, None, :, None] < 128, 20.0, -20.0)
        return [half[None, None]] if name == "u2netp" else [np.zeros(0), np.zeros(0), np.repeat(logits, 256, axis=1)]

    monkeypatch.setattr(silhouette, "run_network", run)
    points = keypoints([100.0])[0]
    points[11:17, 2] = hips
    found = silhouette.person_probability(np.zeros((HEIGHT, WIDTH, 3), np.uint8), points) > 0.5
    assert found[70, 95] == (whose == "BlazePose")
    assert found[70, 105] == (whose == "U2-Net")
