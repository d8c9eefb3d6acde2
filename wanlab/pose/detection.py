"""Whole-body keypoints of the person in a clip: BlazePose, hands and face, in crops that follow the person.

MoveNet finds the person; BlazePose's own auxiliary points carry its crop from frame to frame, since it is at home only
there. Where legs are outside the image BlazePose guesses hips too high, so MoveNet's body points are weighed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import media
from wanlab.pose import people
from wanlab.pose.cuts import mark_shots
from wanlab.pose.people import run_network
from wanlab.pose.smooth import bridge_gaps, smooth_keypoints, stretches
from wanlab.pose.wholebody import FACE, FEET, HANDS, NAMES, NUM_BODY, SEEN

BLAZE_BODY = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # BlazePose's row for each body point
BLAZE_FEET = (31, 31, 29, 32, 32, 30)  # it has one toe a foot, which stands for both
BLAZE_HANDS = ((15, 17, 19), (16, 18, 20))  # wrist, little and index finger's root
BLAZE_CENTRE, BLAZE_TOP = 33, 34  # auxiliary: middle of the hips, a point on the circle around the person
FACE_VERTICES = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389, 70, 63, 105, 66, 107, 336, 296,
    334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, 61,
    39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip  # of MediaPipe's 468, for the 68 face points
MOVENET_SHARE = np.array(
    [0.8, 0.8, 0.8, 0.8, 0.8, 0.3, 0.3, 0.5, 0.5, 0.7, 0.7, 0.8, 0.8, 0.7, 0.7, 0.5, 0.5]
)  # where MoveNet is sure and sees the person large; the least error on the rendered clips
COARSE, FINE = 60.0, 120.0  # pixels of MoveNet's input: up to COARSE BlazePose alone counts, from FINE on both
NEAR, FAR = 0.04, 0.08  # of the person's size: where the networks differ by more than FAR, BlazePose is the one astray
MAX_ASTRAY = 0.12  # of the person's size, the median of the points: beyond, BlazePose has found another person
POSE_MARGIN, HAND_SIZE, FACE_SIZE = (
    1.25,
    2.3,
    1.9,
)  # side of a crop: of the circle around the person, the hand, the face
MIN_PRESENCE = 0.5  # of body and face in a crop; below, they are looked for again
LOOK_AGAIN = 16  # frames after which it is looked which way up the people are
UPSIDE_DOWN, CLEARLY = (
    0.5,
    0.2,
)  # MoveNet's score in the turned image, and how much better: upright people give at most 0.49 and -0.1
MIN_HAND = 0.25  # presence of a hand; an edge-on one that is there gets little more


class Detection(NamedTuple):
    """Keypoints of a clip.

    Attributes:
        keypoints: [T, 133, 3], float32; x, y in pixels of the clip, score 0 to 1; score 0 outside the image and where
            nothing was found.
        boxes: [T, 4], float32; x1, y1, x2, y2 around the followed person, 0 where there is none.
        no_person: frames without the followed person.
        num_people: [T], int; people in each frame.
        cuts: first frames of new shots.
        notes: what a user must know, one sentence each.
    """

    keypoints: np.ndarray
    boxes: np.ndarray
    no_person: tuple[int, ...]
    num_people: np.ndarray
    cuts: tuple[int, ...]
    notes: tuple[str, ...]


def detect(frames: Iterable[np.ndarray], fps: float = 16.0) -> Detection:
    """Find and follow one person through a clip, the largest at first.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
        fps: frames per second, for the smoothing.
    """
    follower = _Follower()
    points, boxes, counts, cuts, others, turned = [], [], [], [], [], []
    height = width = 0
    for t, (frame, begins) in enumerate(mark_shots(frames)):
        height, width = frame.shape[:2]
        if begins:
            cuts.append(t)
            follower.forget()
        if begins or t % LOOK_AGAIN == 0:
            follower.turn(frame)
        found, box, count, side = follower.follow(frame)
        if follower.turned:
            turned.append(t)
        points.append(found)
        boxes.append(box)
        counts.append(count)
        if count > 1:
            others.append((t, side))
    keypoints, box_array = np.array(points, dtype=np.float64).reshape(-1, 133, 3), np.array(boxes).reshape(-1, 4)
    empty = ~(keypoints[..., 2] > 0).any(axis=1)
    for start, end in stretches(np.asarray(~empty), cuts):
        for side in (0, 1):
            bridge_gaps(keypoints[start:end], HANDS[side], 9 + side)
        size = max(float(np.median((box_array[start:end, 2:] - box_array[start:end, :2]).max(axis=1))), 1.0)
        smooth_keypoints(keypoints[start:end], size, fps)
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < (max(width, 1), max(height, 1)))).all(axis=-1)
    keypoints[..., 2] *= inside
    no_person = tuple(np.flatnonzero(empty).tolist())
    notes = _notes(no_person, cuts, turned, others, max(counts, default=0))
    return Detection(
        keypoints.astype(np.float32),
        box_array.astype(np.float32),
        no_person,
        np.array(counts, dtype=int),
        tuple(cuts),
        tuple(notes),
    )


def _notes(
    no_person: Sequence[int], cuts: Sequence[int], turned: Sequence[int], others: Sequence[tuple[int, str]], most: int
) -> list[str]:
    """Return what a reader must know of a detection.

    Args:
        no_person, cuts, turned: frames without a person, that begin a shot, and in which the person is upside down.
        others: frames with several people, and where the followed one stands among them.
        most: people in one frame.
    """
    notes = []
    if no_person:
        notes.append(f"no person in {media.describe_frames(no_person)}: the pose is empty there")
    if cuts:
        notes.append(
            f"the video has cuts, new shots begin at {media.describe_frames(cuts)}: the person is found again in each"
        )
    if turned:
        notes.append(
            f"the person is upside down in {media.describe_frames(turned)}: found in the image turned by 180 degrees; look at "
            "pose and face there in 20_inspect"
        )
    if others:
        t, side = others[0]
        notes.append(f"{most} people in {len(others)} frames: the {side} one at frame {t} is person 1 and is followed")
    return notes


def detect_image(image: np.ndarray) -> Detection:
    """Find the largest person of one image ([H, W, 3], 0 to 255, uint8 RGB)."""
    return detect([image])


class _Follower:
    """Carries the crops of body, hands and face from one frame to the next."""

    def __init__(self) -> None:
        self._tracker = people.Tracker()
        self.turned = False  # whether people are looked for in the image turned by 180 degrees
        self.forget()

    def turn(self, frame: np.ndarray) -> None:
        """Look which way up the people of a frame are; a person who turned over is found again."""
        upright, over = (
            float(people.find_people(each).scores.max(initial=0))
            for each in (frame, np.ascontiguousarray(frame[::-1, ::-1]))
        )
        here, other = (over, upright) if self.turned else (upright, over)
        if other > UPSIDE_DOWN and other > here + CLEARLY:
            self.turned = not self.turned
            self.forget()

    def forget(self) -> None:
        self._tracker.forget()
        self._lose()

    def _lose(self) -> None:
        self._blaze: np.ndarray | None = None
        self._hands: list[np.ndarray | None] = [None, None]
        self._face: np.ndarray | None = None

    def follow(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, str]:
        """Return [133, 3] points, the box, how many people there are, and where the followed one stands among them."""
        if not self.turned:
            return self._follow(frame)
        points, box, count, side = self._follow(np.ascontiguousarray(frame[::-1, ::-1]))
        last = np.array([frame.shape[1] - 1, frame.shape[0] - 1])
        seen = points[:, 2] > 0
        points[seen, :2] = last - points[seen, :2]
        box = np.concatenate([last - box[2:], last - box[:2]]) if box.any() else box
        return points, box, count, {"left": "right", "right": "left"}.get(side, side)

    def _follow(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, str]:
        found = people.find_people(frame)
        chosen = self._tracker.choose(frame, found)
        points = np.zeros((len(NAMES), 3))
        if chosen is None:
            self._lose()
            return points, np.zeros(4), len(found.scores), ""
        movenet = found.points[chosen]
        trust = _trust(movenet, frame)
        blaze, visible = self._body(frame, movenet, found.boxes[chosen], trust)
        points[:NUM_BODY] = _merge_body(movenet, blaze, visible, trust)
        moved = points[:NUM_BODY, :2] - blaze[list(BLAZE_BODY)]
        ankles = [15, 15, 15, 16, 16, 16]
        points[FEET, :2] = blaze[list(BLAZE_FEET)] + moved[ankles]
        points[FEET, 2] = np.minimum(visible[list(BLAZE_FEET)], points[ankles, 2])  # a foot is not surer than its ankle
        for side in (0, 1):
            roots = blaze[list(BLAZE_HANDS[side])]
            points[HANDS[side]] = self._hand(frame, side, points, [roots + moved[9 + side], roots])
        points[FACE] = self._face_points(frame, points)
        seen = points[(points[:, 2] > SEEN)][:, :2]
        box = np.concatenate([seen.min(axis=0), seen.max(axis=0)]) if len(seen) else found.boxes[chosen]
        return points, box, len(found.scores), _place(found.boxes, chosen)

    def _body(
        self, frame: np.ndarray, movenet: np.ndarray, box: np.ndarray, trust: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return BlazePose's 39 points in pixels ([39, 2]) and how visible they are ([39]), 0 if it has found another person."""
        tries = 1
        limit = trust * MAX_ASTRAY + (1 - trust) * 0.3  # MoveNet itself is off by a fifth of the smallest people
        if self._blaze is None or _astray(self._blaze, movenet) > limit:
            sure = movenet[movenet[:, 2] > SEEN, :2]
            corners = np.concatenate([sure, box.reshape(2, 2)])
            hips = movenet[[11, 12], :2].mean(axis=0)
            centre = hips if movenet[[11, 12], 2].mean() > SEEN else corners.mean(axis=0)
            radius = np.linalg.norm(corners - centre, axis=1).max()
            self._blaze = np.zeros((39, 2))
            self._blaze[BLAZE_CENTRE], self._blaze[BLAZE_TOP] = centre, centre - (0, radius)
            tries = 2  # the first crop is a guess, the second one BlazePose's own
        visible = np.zeros(39)
        for _ in range(tries):
            centre, top = self._blaze[BLAZE_CENTRE], self._blaze[BLAZE_TOP]
            up = top - centre
            size = 2 * POSE_MARGIN * max(float(np.linalg.norm(up)), 8.0)
            crop, move = _turned_crop(frame, centre, size, 256, float(np.arctan2(up[0], -up[1])))
            out = run_network("pose_landmark_full", crop[None].astype(np.float32) / 255)
            rows = out[0].reshape(39, 5)
            self._blaze, visible = _back(rows[:, :2], move), _sigmoid(rows[:, 3]) * _sigmoid(rows[:, 4])
            if float(out[1].ravel()[0]) < MIN_PRESENCE:
                visible = visible * 0
        if _astray(self._blaze, movenet) > limit:
            visible = visible * 0
        return self._blaze, visible

    def _hand(self, frame: np.ndarray, side: int, points: np.ndarray, guesses: list[np.ndarray]) -> np.ndarray:
        """Return the points of a hand.

        Args:
            frame: [H, W, 3], 0 to 255, uint8 RGB.
            side: 0 left, 1 right.
            points: [133, 3], x, y in pixels, score; the body's are there.
            guesses: [3, 2] each, pixels: the wrist, the roots of the little and the index finger; tried in this order
                where the last frame's hand leads nowhere.

        Returns:
            [21, 3], x, y in pixels, score; 0 where no hand is found.
        """
        body_wrist = points[9 + side, :2]
        nothing = np.zeros((21, 3))
        arm = np.linalg.norm(points[7 + side, :2] - body_wrist)
        upper_arm = np.linalg.norm(points[5 + side, :2] - points[7 + side, :2])
        if points[9 + side, 2] < 0.2 or arm < 1:
            self._hands[side] = None
            return nothing
        last = self._hands[side]
        if last is not None and np.linalg.norm(last[0] - body_wrist) > 0.6 * arm:
            last = None
        ends = [np.stack([wrist, 0.95 * (little + index) - 0.9 * wrist]) for wrist, little, index in guesses]
        for start in (last, *ends):
            if start is None:
                continue
            if len(start) == 2:
                direction, centre, extent = (
                    start[1] - start[0],
                    start.mean(axis=0),
                    max(np.linalg.norm(start[1] - start[0]), 0.45 * arm),
                )
            else:
                direction, centre, extent = (
                    start[9] - start[0],
                    (start.min(axis=0) + start.max(axis=0)) / 2,
                    np.ptp(start, axis=0).max(),
                )
            size = HAND_SIZE * max(float(extent), 4.0)
            crop, move = _turned_crop(
                frame, centre, size, 224, float(np.arctan2(direction[1], direction[0]) + np.pi / 2)
            )
            out = run_network("hand_landmark_full", crop[None].astype(np.float32) / 255)
            presence, hand = float(out[1].ravel()[0]), _back(out[0].reshape(21, 3)[:, :2], move)
            near = np.linalg.norm(hand[0] - body_wrist) < 0.6 * arm
            small = np.ptp(hand, axis=0).max() < max(1.3 * arm, 0.8 * upper_arm)  # a hand is 0.65 of an upper arm
            if presence >= MIN_HAND and near and small:
                self._hands[side] = hand
                return np.column_stack([hand, np.full(21, np.sqrt(presence))])
        self._hands[side] = None
        return nothing

    def _face_points(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        eyes, ears = points[[1, 2], :2], points[[3, 4], :2]
        nothing = np.zeros((68, 3))
        if points[:5, 2].max() < 0.2:
            self._face = None
            return nothing
        across = max(float(np.linalg.norm(eyes[0] - eyes[1])) * 2.2, float(np.linalg.norm(ears[0] - ears[1])), 6.0)
        last = self._face
        if last is not None and np.linalg.norm(last[27:36].mean(axis=0) - points[0, :2]) > 0.5 * across:
            last = None
        for start in (last, eyes):
            if start is None:
                continue
            if len(start) == 2:
                right_to_left, size = start[0] - start[1], FACE_SIZE * across
                down = np.array([-right_to_left[1], right_to_left[0]])
                centre = points[:3, :2].mean(axis=0) + 0.15 * down * across / max(float(np.linalg.norm(down)), 1e-6)
            else:
                right_to_left = start[42:48].mean(axis=0) - start[36:42].mean(axis=0)
                centre, size = (
                    (start.min(axis=0) + start.max(axis=0)) / 2,
                    FACE_SIZE * float(np.ptp(start, axis=0).max()),
                )
            crop, move = _turned_crop(
                frame, centre, max(size, 8.0), 192, float(np.arctan2(right_to_left[1], right_to_left[0]))
            )
            out = run_network("face_landmark", crop[None].astype(np.float32) / 255)
            score = float(_sigmoid(out[1].ravel()[0]))
            if score >= MIN_PRESENCE:
                self._face = _back(out[0].reshape(468, 3)[list(FACE_VERTICES), :2], move)
                return np.column_stack([self._face, np.full(68, score)])
        self._face = None
        return nothing


def _trust(movenet: np.ndarray, frame: np.ndarray) -> float:
    """Return the weight of MoveNet's points, 0 to 1: it gets the whole image at 256 pixels, BlazePose only the person."""
    pixels = _extent(movenet) * people.SIDE / max(frame.shape[:2])
    return float(np.clip((pixels - COARSE) / (FINE - COARSE), 0, 1))


def _merge_body(movenet: np.ndarray, blaze: np.ndarray, visible: np.ndarray, trust: float) -> np.ndarray:
    """Weigh the two networks' body points.

    Measured on people cut by the border, where BlazePose guesses: points that differ by a tenth of the person's size are
    8 pixels off in MoveNet and 64 in BlazePose. On people of a third of the size it is the other way round (21 and 2).

    Args:
        movenet: [17, 3], x, y in pixels, score.
        blaze: [39, 2], x, y in pixels.
        visible: [39], 0 to 1.
        trust: 0 to 1, see `_trust`.

    Returns:
        [17, 3], x, y in pixels, score 0 to 1: at least 0.5 for nearly all points in the image.
    """
    ours, seen = blaze[list(BLAZE_BODY)], visible[list(BLAZE_BODY)]
    sure = movenet[:, 2] > SEEN
    apart = np.linalg.norm(movenet[:, :2] - ours, axis=1) / _extent(movenet)
    share = MOVENET_SHARE + (1 - MOVENET_SHARE) * np.clip((apart - NEAR) / (FAR - NEAR), 0, 1)
    share = (np.where(seen < 0.2, 1.0, share * trust) * sure)[:, None]
    say = 0.5 + 0.35 * trust  # MoveNet's in the score: it knows better than BlazePose what is outside the image
    score = (1 - say) * seen + say * np.minimum(movenet[:, 2] / 0.7, 1)  # 0.7: the least of a whole person's points
    return np.column_stack([share * movenet[:, :2] + (1 - share) * ours, score])


def _astray(blaze: np.ndarray, movenet: np.ndarray) -> float:
    """Return how far BlazePose's body is from MoveNet's, in sizes of the person (median of the points)."""
    sure = movenet[:, 2] > SEEN
    if not sure.any():
        return 0.0
    apart = np.linalg.norm(blaze[list(BLAZE_BODY)][sure] - movenet[sure, :2], axis=1)
    return float(np.median(apart)) / _extent(movenet)


def _extent(movenet: np.ndarray) -> float:
    """Return the longer side of a person's sure points in pixels."""
    sure = movenet[movenet[:, 2] > SEEN, :2]
    return max(float(np.ptp(sure, axis=0).max()), 1.0) if len(sure) else 1.0


def _turned_crop(
    frame: np.ndarray, centre: np.ndarray, size: float, side: int, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a square of `size` pixels turned by `angle` (radians) as side x side, and the 2x3 map back to the frame."""
    cosine, sine, scale = np.cos(angle), np.sin(angle), size / side
    move = np.array([[cosine * scale, -sine * scale, 0], [sine * scale, cosine * scale, 0]])
    move[:, 2] = np.asarray(centre) - move[:, :2] @ (side / 2, side / 2)
    crop = cv2.warpAffine(frame, move, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
    return crop, move


def _back(points: np.ndarray, move: np.ndarray) -> np.ndarray:
    return points.astype(np.float64) @ move[:, :2].T + move[:, 2]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def _place(boxes: np.ndarray, chosen: int) -> str:
    if len(boxes) < 2:
        return "only"
    centres = boxes[:, 0] + boxes[:, 2]
    rank = int((centres < centres[chosen]).sum())
    return "left" if rank == 0 else "right" if rank == len(boxes) - 1 else "middle"
