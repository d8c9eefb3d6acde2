"""Corrections of a pose: each does what its name says and nothing else, in order; the file's form and its refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wanlab import pose
from wanlab.pose import corrections, wholebody
from wanlab.pose.corrections import Hide, Interpolate, Move, SwapHands, SwapSides

FRAMES, HEIGHT, WIDTH = 12, 100, 200
LEFT, RIGHT = slice(91, 112), slice(112, 133)


@pytest.fixture
def points() -> np.ndarray:
    """Return keypoints that are all different, all seen; each hand begins beside its wrist."""
    rng = np.random.default_rng(0)
    found = np.concatenate([rng.uniform(5, 95, (FRAMES, 133, 2)), rng.uniform(0.6, 0.9, (FRAMES, 133, 1))], axis=2).astype(np.float32)  # fmt: skip
    found[:, [91, 112], :2] = found[:, [9, 10], :2] + 0.5
    return found


def changed(before: np.ndarray, after: np.ndarray) -> set[tuple[int, int]]:
    """Return the (frame, row) pairs that differ."""
    return {(int(t), int(k)) for t, k in np.argwhere((before != after).any(axis=2))}


def test_every_row_is_of_one_part() -> None:
    assert sorted(row for rows in wholebody.PARTS.values() for row in rows) == list(range(133))
    for part, rows in wholebody.PARTS.items():
        sides = {wholebody.NAMES[row].split("_")[0] for row in rows} & {"left", "right"}
        assert sides == ({part.split()[0]} if " " in part else sides)
    assert wholebody.PARTS["left hand"] == tuple(range(91, 112))
    assert {wholebody.NAMES[row] for row in wholebody.PARTS["left arm"]} == {"left_elbow", "left_wrist"}


def test_a_moved_joint_lies_where_it_was_put_and_is_drawn(points: np.ndarray) -> None:
    points[3, 9, 2] = 0
    after = corrections.apply(points, [Move(3, 9, 40.5, 20.25)])
    assert after[3, 9].tolist() == [40.5, 20.25, 1.0]
    assert changed(points, after) == {(3, 9)}
    meta = pose.to_meta(after, HEIGHT, WIDTH)
    wrist = pose.BODY_NAMES.index("left wrist")
    drawn = pose.draw_frame(meta.body[3], meta.left_hand[3] * 0, meta.right_hand[3] * 0, HEIGHT, WIDTH)
    assert tuple(drawn[20, 40]) == pose.COLOURS[wrist]


def test_a_joint_is_interpolated_on_a_straight_line(points: np.ndarray) -> None:
    steps = np.arange(FRAMES)
    points[:, 7, 0], points[:, 7, 1] = 10 + 3 * steps, 90 - 2 * steps
    points[2, 7, 2], points[7, 7, 2] = 0.8, 0.7
    gap = points.copy()
    gap[3:7, 7] = 0
    after = corrections.apply(gap, [Interpolate(7, 3, 6)])
    np.testing.assert_allclose(after[:, 7, :2], points[:, 7, :2], atol=1e-4)
    np.testing.assert_allclose(after[3:7, 7, 2], 0.7)
    assert changed(gap, after) == {(t, 7) for t in range(3, 7)}


def test_a_hand_keeps_its_shape_on_a_wrist_in_any_motion(points: np.ndarray) -> None:
    steps = np.arange(FRAMES)
    points[:, 9, 0], points[:, 9, 1] = 50 + 30 * np.sin(steps), 40 + steps**2 / 4
    shape = points[0, LEFT, :2] - points[0, 9, :2]
    points[:, LEFT, :2] = points[:, 9:10, :2] + shape
    gap = points.copy()
    gap[4:8, LEFT] = 0
    after = corrections.apply(gap, [Interpolate("left hand", 4, 7)])
    np.testing.assert_allclose(after[..., :2], points[..., :2], atol=1e-3)
    gap[5, 9, 2] = 0.1  # without the wrist it goes straight
    straight = corrections.apply(gap, [Interpolate("left hand", 4, 7)])
    np.testing.assert_allclose(straight[5, LEFT, :2], points[3, LEFT, :2] * 0.6 + points[8, LEFT, :2] * 0.4, atol=1e-3)


def test_at_the_ends_of_the_clip_the_nearest_frame_is_held(points: np.ndarray) -> None:
    after = corrections.apply(points, [Interpolate("right foot", 0, 2), Interpolate("right foot", 10, FRAMES - 1)])
    for t, source in ((0, 3), (2, 3), (10, 9), (11, 9)):
        np.testing.assert_array_equal(after[t, 20:23], points[source, 20:23])


def test_a_neighbour_that_is_not_seen_is_not_used(points: np.ndarray) -> None:
    points[2, 7, 2] = 0.2  # the elbow before the stretch
    points[[2, 6], 9, 2] = 0.2  # the wrist on both sides
    after = corrections.apply(points, [Interpolate("left arm", 3, 5)])
    np.testing.assert_array_equal(after[3:6, 7], np.repeat(points[6:7, 7], 3, axis=0))
    np.testing.assert_array_equal(after[:, 9], points[:, 9])
    points[6, 7, 2] = 0
    with pytest.raises(ValueError, match=r"left arm must be seen in a frame beside .* frames 3 to 5, got nothing there \(frames beside it: 2 and 6\)"):  # fmt: skip
        corrections.apply(points, [Interpolate("left arm", 3, 5)])
    with pytest.raises(ValueError, match="frames beside it: none"):
        corrections.apply(points, [Interpolate("left arm", 0, FRAMES - 1)])


def test_hands_swap_with_their_wrists_and_swapping_twice_is_nothing(points: np.ndarray) -> None:
    after = corrections.apply(points, [SwapHands(2, 3)])
    np.testing.assert_array_equal(after[2:4, LEFT], points[2:4, RIGHT])
    np.testing.assert_array_equal(after[2:4, RIGHT], points[2:4, LEFT])
    np.testing.assert_array_equal(after[2:4, 9], points[2:4, 10])
    assert changed(points, after) == {(t, k) for t in (2, 3) for k in (9, 10, *range(91, 133))}
    np.testing.assert_array_equal(corrections.apply(after, [SwapHands(2, 3)]), points)


def test_hands_at_each_other_s_wrists_swap_alone(points: np.ndarray) -> None:
    """Whatever was exchanged, the swap gives the pose back: hands with their wrists, or hands alone."""
    with_wrists, alone = points.copy(), points.copy()
    rows = [*range(91, 112)], [*range(112, 133)]
    alone[2:4, rows[0] + rows[1]] = points[2:4, rows[1] + rows[0]]
    with_wrists[2:4, [9, *rows[0], 10, *rows[1]]] = points[2:4, [10, *rows[1], 9, *rows[0]]]
    for wrong in (with_wrists, alone):
        np.testing.assert_array_equal(corrections.apply(wrong, [SwapHands(2, 3)]), points)
    alone[2:4, rows[1], 2] = 0  # one hand alone is seen, at the other's wrist
    np.testing.assert_array_equal(corrections.apply(alone, [SwapHands(2, 3)])[2:4, 9:11], points[2:4, 9:11])


def test_a_hidden_part_is_not_drawn(points: np.ndarray) -> None:
    after = corrections.apply(points, [Hide("left hand", 1, 2)])
    assert changed(points, after) == {(t, k) for t in (1, 2) for k in range(91, 112)}
    assert not after[1:3, LEFT, 2].any()
    with_hand, without = (pose.to_meta(each, HEIGHT, WIDTH) for each in (points, after))
    none = np.zeros((21, 3), np.float32)
    expected = pose.draw_frame(with_hand.body[1], none, with_hand.right_hand[1], HEIGHT, WIDTH)
    drawn = pose.draw_frame(without.body[1], without.left_hand[1], without.right_hand[1], HEIGHT, WIDTH)
    np.testing.assert_array_equal(drawn, expected)


def test_corrections_work_in_the_order_in_which_they_were_made(points: np.ndarray) -> None:
    hidden = corrections.apply(points, [Move(3, 9, 1, 2), Hide("left arm", 3, 3)])
    shown = corrections.apply(points, [Hide("left arm", 3, 3), Move(3, 9, 1, 2)])
    assert (hidden[3, 9, 2], shown[3, 9, 2]) == (0, 1)
    swapped = corrections.apply(points, [Move(3, 9, 1, 2), SwapHands(3, 3)])
    assert swapped[3, 10, :2].tolist() == [1, 2]


def test_the_file_s_form_is_read_and_written() -> None:
    content = [
        {"do": "move", "frame": 11, "joint": 9, "x": 200, "y": 0},
        {"do": "interpolate", "part": "left hand", "first": 2, "last": 4},
        {"do": "swap hands", "first": 3, "last": 3},
        {"do": "hide", "part": "9", "first": 0, "last": 11},
    ]
    entries = corrections.parse(content, "edits.json", FRAMES, HEIGHT, WIDTH)
    assert entries == (Move(11, 9, 200.0, 0.0), Interpolate("left hand", 2, 4), SwapHands(3, 3), Hide(9, 0, 11))
    assert corrections.parse(json.loads(json.dumps(corrections.to_json(entries))), "", FRAMES, HEIGHT, WIDTH) == entries


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"do": "mvoe"},
            "correction 1: do must be one of move, interpolate, swap hands, swap sides, hide, got mvoe; use move",
        ),
        ("move", "correction 1: do must be one of"),
        ({"do": ["move"]}, "correction 1: do must be one of"),
        ({"do": "swap hands", "first": 1}, "must hold do, first, last, got do, first"),
        ({"do": "swap hands", "first": 1, "last": 2, "part": "face"}, "must hold do, first, last, got"),
        ({"do": "swap hands", "first": 1, "last": 12}, "must have a last from 0 to 11, got 12"),
        ({"do": "swap hands", "first": True, "last": 2}, "must have a first from 0 to 11, got True"),
        ({"do": "swap hands", "first": 3, "last": 2}, "must have first up to last, got 3 and 2"),
        ({"do": "hide", "part": "left paw", "first": 1, "last": 2}, "part must be one of head, .* got left paw; use"),
        ({"do": "hide", "part": 133, "first": 1, "last": 2}, "must have a joint from 0 to 132 .* got 133"),
        ({"do": "swap sides", "part": ["arms"], "first": 1, "last": 2}, "part must be one of arms, legs, body, got"),
        ({"do": "hide", "part": ["face"], "first": 1, "last": 2}, "must have a joint from 0 to 132"),
        ({"do": "move", "frame": 0, "joint": 9, "x": 200.5, "y": 0}, "must have x from 0 to 200 .* got 200.5"),
        ({"do": "move", "frame": 0, "joint": 9, "x": 1, "y": float("nan")}, "must have y from 0 to 100 .* got nan"),
        ({"do": "move", "frame": 0, "joint": 9, "x": "1", "y": 0}, "must have x from 0 to 200"),
    ],
)
def test_refusals_name_the_correction_and_the_remedy(entry: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"edits.json.*{message}"):
        corrections.parse([entry], "edits.json", FRAMES, HEIGHT, WIDTH)


def test_corrections_are_said_in_sentences() -> None:
    entries = [
        Move(2, 9, 1, 1),
        Move(3, 9, 1, 1),
        Move(3, 92, 1, 1),
        Move(5, 95, 1, 1),
        Hide("left hand", 20, 24),
        Hide(10, 3, 3),
        SwapHands(7, 7),
        SwapHands(9, 10),
        Interpolate("face", 1, 2),
    ]
    assert corrections.describe(entries) == (
        "left wrist moved in frames 2 to 3",
        "2 points of the left hand moved in frames 3, 5",
        "left hand hidden in frames 20 to 24",
        "right wrist hidden in frame 3",
        "hands swapped in frames 7, 9-10",
        "face interpolated in frames 1 to 2",
    )
    assert corrections.name_of(95) == "left hand point 4"


def test_nothing_is_interpolated_across_a_cut(points: np.ndarray) -> None:
    gap = points.copy()
    gap[3:8, 7] = 0
    after = corrections.apply(gap, [Interpolate(7, 3, 7)], cuts=[5])
    np.testing.assert_array_equal(after[3:5, 7], points[[2, 2], 7])
    np.testing.assert_array_equal(after[5:8, 7], points[[8, 8, 8], 7])
    at_the_cut = corrections.apply(gap, [Interpolate(7, 3, 7)], cuts=[3])
    np.testing.assert_array_equal(at_the_cut[3:8, 7], np.repeat(points[[8], 7], 5, axis=0))
    with pytest.raises(ValueError, match="got nothing there .frames beside it: none."):
        corrections.apply(gap, [Interpolate(7, 3, 7)], cuts=[3, 8])


@pytest.mark.parametrize("part", ["arms", "legs", "body"])
def test_sides_are_exchanged_with_all_that_hangs_on_them(points: np.ndarray, part: str) -> None:
    after = corrections.apply(points, [SwapSides(part, 2, 3)])
    here = {k for _, k in changed(points, after)}
    names = {wholebody.NAMES[k] for k in here}
    assert {name.replace("left", "right") for name in names if name.startswith("left")} == {
        n for n in names if n.startswith("right")
    }
    assert len(here) == {"arms": 46, "legs": 10, "body": 64}[part]
    assert {t for t, _ in changed(points, after)} == {2, 3}
    np.testing.assert_array_equal(corrections.apply(after, [SwapSides(part, 2, 3)]), points)
    assert corrections.describe([SwapSides(part, 2, 3)]) == (f"left and right of the {part} swapped in frames 2 to 3",)
