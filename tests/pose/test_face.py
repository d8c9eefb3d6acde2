"""Face boxes and crops: at the image's edge, of a turned head, of nobody. What upstream defines is golden's."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import face

HEIGHT, WIDTH, FRAMES = 200, 160, 6
MIDDLE = (80, 100)  # of the face


def _faces(middles: np.ndarray) -> np.ndarray:
    """Return faces of 30x40 pixels around `middles` ([T, 2], pixels) as the official metas."""
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (68, 2))
    offsets[36:48, 1], offsets[48:, 1] = -0.2, 0.25  # eyes above the mouth
    offsets[:4] = (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)
    found = np.ones((len(middles), 69, 3), np.float32)
    found[:, 1:, :2] = (middles[:, None] + offsets * (30, 40)) / (WIDTH, HEIGHT)
    return found


def _heads(middles: np.ndarray) -> np.ndarray:
    """Return two ears at the height of `middles`, seen in all frames."""
    ears = np.ones((len(middles), 2, 3), np.float32)
    ears[..., :2] = (middles[:, None] + np.array([[-15, 0], [15, 0]])) / (WIDTH, HEIGHT)
    return ears


@pytest.fixture
def middles() -> np.ndarray:
    return np.array(MIDDLE) + np.arange(FRAMES)[:, None] * (8, 0)


def _size(box: np.ndarray) -> tuple[int, int]:
    return box[1] - box[0], box[3] - box[2]


@pytest.mark.parametrize("edge", [(6, 100), (154, 100), (80, 8), (80, 194)])
def test_a_face_at_the_edge_keeps_its_shape_and_the_rest_is_black(edge: tuple[int, int]) -> None:
    inside, beyond = face.boxes(_faces(np.array([MIDDLE, edge])), HEIGHT, WIDTH).boxes
    assert np.abs(np.subtract(_size(inside), _size(beyond))).max() <= 1  # whole pixels
    found = face.boxes(_faces(np.array([MIDDLE, edge])), HEIGHT, WIDTH)
    assert found.cut == (1,)
    assert found.filled == ()
    assert "the face reaches beyond the image in frame 1: its crop keeps its shape" in found.notes()[0]
    crop = face.crop(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), beyond)
    x1, x2, y1, y2 = beyond
    shown = (min(x2, WIDTH) - max(x1, 0)) * (min(y2, HEIGHT) - max(y1, 0)) / ((x2 - x1) * (y2 - y1))
    assert (crop[..., 0] > 100).mean() == pytest.approx(shown, abs=0.01)
    assert crop.min() == 0


def test_what_the_edge_leaves_alone_is_upstream_s_box(middles: np.ndarray) -> None:
    faces = _faces(middles[:3])
    found = face.boxes(faces, HEIGHT, WIDTH)
    assert [tuple(row) for row in found.boxes] == [face.box(one, HEIGHT, WIDTH) for one in faces]
    assert found.notes() == ()


def test_a_turned_head_takes_the_last_box_along(middles: np.ndarray) -> None:
    faces = _faces(middles)
    faces[2:4, 1:, 2] = 0
    found = face.boxes(faces, HEIGHT, WIDTH, head=_heads(middles))
    np.testing.assert_array_equal(found.boxes[2:4], found.boxes[1] + np.array([[8, 8, 0, 0], [16, 16, 0, 0]]))
    assert (found.filled, found.black) == ((2, 3), ())
    assert found.notes() == (
        "no usable face in frames 2 to 3: the box of the last good face (before it, of the first) is used there, moved with the head",
    )


def test_nobody_has_no_box_and_a_black_crop(middles: np.ndarray) -> None:
    faces, heads = _faces(middles), _heads(middles)
    faces[2:, 1:, 2], heads[4:, :, 2] = 0, 0
    found = face.boxes(faces, HEIGHT, WIDTH, head=heads)
    assert found.boxes[:4].any(axis=1).all()
    assert not found.boxes[4:].any()
    assert found.black == (4, 5)
    assert not face.crop(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), found.boxes[4]).any()
    assert (
        "no face in frames 4 to 5, where no head is seen or it is hidden by hand: the face crop is black there"
        in found.notes()[1]
    )


def test_where_no_frame_has_a_face_no_good_one_is_promised(middles: np.ndarray) -> None:
    faces = _faces(middles)
    faces[..., 2] = 0
    found = face.boxes(faces, HEIGHT, WIDTH, head=_heads(middles))
    assert not found.boxes.any()
    assert [note for note in found.notes() if "good" in note] == []


def test_a_face_hardly_in_the_picture_is_none() -> None:
    assert face.box(_faces(np.array([(172, 100)]))[0], HEIGHT, WIDTH, cut=False) is None
    assert face.box(np.full((69, 3), np.inf, np.float32), HEIGHT, WIDTH, cut=False) is None


def test_upside_down_the_box_grows_towards_the_forehead() -> None:
    face_points = _faces(np.array([MIDDLE]))[0]
    over = face_points.copy()
    over[:, 1] = 1 - over[:, 1]
    x1, x2, y1, y2 = face.box(face_points, HEIGHT, WIDTH, cut=False)
    turned = face.box(over, HEIGHT, WIDTH, cut=False)
    assert np.abs(np.subtract(turned, (x1, x2, HEIGHT - y2, HEIGHT - y1))).max() <= 1  # whole pixels
    assert face.box(face_points, HEIGHT, WIDTH) == (x1, x2, y1, y2)


def _breathing(frames: int, sizes: np.ndarray) -> np.ndarray:
    """Return faces about (80, 100) whose points spread by `sizes` ([T]) times 30x40 pixels, 0.3 pixels further right each frame."""
    faces = _faces(np.tile(np.array(MIDDLE, float), (frames, 1)))
    middle = np.array(MIDDLE) / (WIDTH, HEIGHT)
    faces[:, 1:, :2] = middle + (faces[:, 1:, :2] - middle) * sizes[:, None, None]
    faces[:, 1:, 0] += 0.3 * np.arange(frames)[:, None] / WIDTH
    return faces


def _sides(boxes: np.ndarray) -> np.ndarray:
    return np.stack([boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]], axis=1)


def test_steady_boxes_keep_their_size_and_follow_between_pixels() -> None:
    faces = _breathing(40, 1 + 0.05 * np.sin(np.arange(40)))
    found = face.boxes(faces, HEIGHT, WIDTH)
    steady = face.steady(found, faces, HEIGHT, WIDTH).boxes
    assert np.abs(np.diff(_sides(steady), axis=0)).max() < 0.02
    np.testing.assert_allclose(np.diff(steady[:, :2].mean(axis=1)), 0.3, atol=1e-3)
    assert (_sides(steady) >= _sides(found.boxes).max(axis=0) - 1.5).all()  # whole pixels; the largest ones count
    ramp = np.tile(np.arange(WIDTH, dtype=float) * 1.5, (HEIGHT, 1))
    frames = [np.repeat(np.rint(ramp - 0.45 * t).clip(0, 255)[..., None], 3, axis=2).astype(np.uint8) for t in range(8)]
    now, before = (
        [face.crop(f, row).astype(int) for f, row in zip(frames, rows, strict=False)] for rows in (steady, found.boxes)
    )
    assert (
        max(np.abs(each - now[0]).max() for each in now) <= 2 < max(np.abs(each - before[0]).max() for each in before)
    )


def test_a_steady_box_grows_with_a_face_that_comes_nearer_and_begins_anew_with_a_shot() -> None:
    faces = _breathing(200, np.concatenate([np.linspace(0.5, 1.5, 160), np.full(40, 0.5)]))
    own = face.boxes(faces, HEIGHT, WIDTH)
    steady = face.steady(own, faces, HEIGHT, WIDTH, cuts=[160])
    share = _sides(steady.boxes) / _sides(own.boxes)
    assert share.min() > 0.93
    assert share[30:130].max() < 1.5
    np.testing.assert_allclose(share[160:], 1, atol=0.06)


def test_where_there_is_no_face_a_steady_crop_is_black(middles: np.ndarray) -> None:
    faces, heads = _faces(middles), _heads(middles)
    faces[4, :, 2] = heads[4, :, 2] = 0
    found = face.boxes(faces, HEIGHT, WIDTH, head=heads)
    steady = face.steady(found, faces, HEIGHT, WIDTH)
    assert (steady.black, steady.filled) == (found.black, found.filled) == ((4,), (4,))
    assert not face.crop(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), steady.boxes[4]).any()
    assert face.crop(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), steady.boxes[3]).all()


def test_a_hidden_face_takes_its_crop_along(middles: np.ndarray) -> None:
    found = face.boxes(_faces(middles), HEIGHT, WIDTH).without([2])
    assert (found.filled, found.black) == ((2,), (2,))
    assert np.flatnonzero(~found.boxes.any(axis=1)).tolist() == [2]
