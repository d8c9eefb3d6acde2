"""Whole-body keypoints of the person in a clip: BlazePose, hands and face, in crops that follow the person.

MoveNet finds the person; BlazePose's own auxiliary points carry its crop from frame to frame, since it is at home only
there. Where legs are outside the image BlazePose guesses hips too high, so MoveNet's body points are weighed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import media
from wanlab.pose import guide, people, tracks
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
MAX_ASTRAY_NEAR = 0.06  # the same where somebody else is so near that BlazePose's crop shows both
MAX_ASTRAY = 0.12  # of the person's size, the median of the points: beyond, BlazePose has found another person
POSE_MARGIN, HAND_SIZE, FACE_SIZE = (
    1.25,
    2.3,
    1.9,
)  # side of a crop: of the circle around the person, the hand, the face
MIN_PRESENCE = 0.5  # of body and face in a crop; below, they are looked for again
CLOSER = 6  # frames after two boxes overlapped in which one may be hidden
CLOSE_UP = (
    1.05  # side of a closer look at people who overlap: MoveNet sees them larger, and one behind the other more often
)
LOOK_AGAIN = 16  # frames after which it is looked which way up the people are
UPSIDE_DOWN, CLEARLY = (
    0.5,
    0.2,
)  # MoveNet's score in the turned image, and how much better: upright people give at most 0.49 and -0.1
MIN_WRIST = 0.4  # score of the wrist on which a hand may hang: outside the image it has less, and the hand is guessed
HAND_BORDER = 0.03  # of its size: a hand that leaves the image is squeezed into it by so much
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
        people: [P, T, 4], float32; the box of each numbered person, 0 where they are not seen; P is 0 where nobody was numbered.
    """

    keypoints: np.ndarray
    boxes: np.ndarray
    no_person: tuple[int, ...]
    num_people: np.ndarray
    cuts: tuple[int, ...]
    notes: tuple[str, ...]
    people: np.ndarray


Person = int | tuple[tracks.Click, ...]  # whom to follow: a number, or clicks on them
Watch = Callable[
    [Iterable[np.ndarray], str], Iterable[np.ndarray]
]  # what a pass over frames goes through, with its name


def unwatched(frames: Iterable[np.ndarray], _: str) -> Iterable[np.ndarray]:
    """Return the frames."""
    return frames


class Survey(NamedTuple):
    """Everybody in a clip.

    Attributes:
        found: the people of each frame, in pixels of the frame, or of the turned frame.
        numbers: [n] each, int; whose they are, from 1; 0: nobody's.
        cuts: first frames of new shots.
        turned: frames in which people are upside down and were looked for in the image turned by 180 degrees.
        height, width: of the frames in pixels.
    """

    found: list[people.People]
    numbers: list[np.ndarray]
    cuts: tuple[int, ...]
    turned: frozenset[int]
    height: int
    width: int

    def boxes(self) -> np.ndarray:
        """Return [P, T, 4], float32: each numbered person's box in pixels of the clip, 0 where they are not seen."""
        most = max((int(each.max(initial=0)) for each in self.numbers), default=0)
        boxes = np.zeros((most, len(self.found), 4), np.float32)
        for t, (each, numbers) in enumerate(zip(self.found, self.numbers, strict=True)):
            for box, number in zip(each.boxes, numbers, strict=True):
                if number:
                    boxes[number - 1, t] = _over(box, self.height, self.width) if t in self.turned else box
        return boxes


def survey(frames: Iterable[np.ndarray]) -> Survey:
    """Find everybody in a clip and number them.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
    """
    found, looks, cuts, borders, turned = [], [], [], set(), set()
    over = False
    height, width, crossed = 0, 0, -CLOSER - 1
    for t, (frame, begins) in enumerate(mark_shots(frames)):
        height, width = frame.shape[:2]
        if begins:
            cuts.append(t)
        if begins or t % LOOK_AGAIN == 0:
            before, over = over, _is_over(frame, over)
            if over != before and t:
                borders.add(t)  # places before and after do not compare
        image = _turned(frame) if over else frame
        if over:
            turned.add(t)
        found.append(tracks.unmixed(_find(image, t - crossed <= CLOSER)))
        if tracks.are_crossing(found[-1].boxes):
            crossed = t
        looks.append(tracks.look_of(image, found[-1].points))
    numbers = tracks.link(found, looks, borders | set(cuts))
    return Survey(found, numbers, tuple(cuts), frozenset(turned), height, width)


def detect(
    frames: Iterable[np.ndarray],
    fps: float = 16.0,
    person: Person = 1,
    surveyed: Survey | None = None,
    watch: Watch = unwatched,
) -> Detection:
    """Find and follow one person through a clip.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; gone through twice, one at a time, or once with `surveyed`.
        fps: frames per second, for the smoothing.
        person: whom: a number from 1 in the order in which people appear, the largest first, or clicks on them.
        surveyed: from `survey` of the same frames, where it is there.
        watch: what each pass over the frames goes through, with its name: progress.

    Raises:
        ValueError: nobody has the number, or nobody is where was clicked.
    """
    everybody = surveyed or survey(watch(frames, "people"))
    numbered = everybody.boxes()
    number, clicks = tracks.chosen(everybody.numbers, numbered, person)
    follower = _Follower(everybody, number, clicks)
    points, boxes = [], []
    for t, frame in enumerate(watch(frames, "keypoints")):
        each, box = follower.follow(frame, t)
        points.append(each)
        boxes.append(box)
    keypoints, box_array = np.array(points, dtype=np.float64).reshape(-1, 133, 3), np.array(boxes).reshape(-1, 4)
    empty = ~(keypoints[..., 2] > 0).any(axis=1)
    for start, end in stretches(np.asarray(~empty), everybody.cuts):
        for side in (0, 1):
            bridge_gaps(keypoints[start:end], HANDS[side], 9 + side)
        size = max(float(np.median((box_array[start:end, 2:] - box_array[start:end, :2]).max(axis=1))), 1.0)
        smooth_keypoints(keypoints[start:end], size, fps)
    _hide_outside(keypoints, everybody.height, everybody.width)
    no_person = tuple(np.flatnonzero(empty).tolist())
    return Detection(
        keypoints.astype(np.float32),
        box_array.astype(np.float32),
        no_person,
        np.array([len(each.scores) for each in everybody.found], dtype=int),
        everybody.cuts,
        (*_notes(no_person, everybody, numbered, number), *follower.notes()),
        numbered,
    )


def _hide_outside(keypoints: np.ndarray, height: int, width: int) -> None:
    """Set the score of points outside the image to 0 in place, and of hands that the network can only have guessed.

    Args:
        keypoints: [T, 133, 3]; x, y in pixels, score; changed.
        height, width: of the image in pixels.
    """
    points = keypoints[..., :2]
    beyond = np.asarray(((points < 0) | (points >= (max(width, 1), max(height, 1)))).any(axis=-1))
    border = np.minimum(points, np.array([width, height]) - points).min(axis=-1)
    keypoints[beyond, 2] = 0
    for side, hand in enumerate(HANDS):
        size = np.ptp(points[:, hand], axis=1).max(axis=-1)
        squeezed = beyond[:, hand].any(axis=1, keepdims=True) & (border[:, hand] < HAND_BORDER * size[:, None])
        keypoints[:, hand, 2] *= ~squeezed & (keypoints[:, 9 + side, 2] >= MIN_WRIST)[:, None]


def _notes(no_person: Sequence[int], everybody: Survey, boxes: np.ndarray, number: int) -> list[str]:
    """Return what a reader must know of a detection; `boxes` are those of everybody."""
    notes = []
    if no_person:
        notes.append(f"no person in {media.describe_frames(no_person)}: the pose is empty there")
    if everybody.cuts:
        notes.append(
            f"the video has cuts, new shots begin at {media.describe_frames(everybody.cuts)}: the person is found again in each"
        )
    if everybody.turned:
        notes.append(
            f"the person is upside down in {media.describe_frames(sorted(everybody.turned))}: found in the image turned by 180 "
            "degrees; look at pose and face there in 20_inspect"
        )
    if len(boxes) > 1:
        first = np.flatnonzero(boxes[number - 1].any(axis=1))[0]
        most = max(int((each > 0).sum()) for each in everybody.numbers)
        crowded = sum(int((each > 0).sum() > 1) for each in everybody.numbers)
        others = boxes[boxes[:, first].any(axis=1), first]
        side = _place(others, int(np.flatnonzero((others == boxes[number - 1, first]).all(axis=1))[0]))
        notes.append(
            f"{len(boxes)} people, {most} of them at once in {crowded} frames: person {number}, the {side} one at frame {first}, "
            "is followed; person=N follows another"
        )
    return notes


class _Follower:
    """Carries the crops of body, hands and face of one person from one frame to the next."""

    def __init__(self, everybody: Survey, number: int, clicks: Sequence[tracks.Click] = ()) -> None:
        self._everybody, self._number = everybody, number
        self._guide = guide.Guide(clicks) if clicks else None
        self._guided: list[int] = []
        self._lose()

    def notes(self) -> list[str]:
        """Return what a reader must know of where the person was not detected and the clicks led."""
        if not self._guided:
            return []
        return [f"the clicks lead to the person in {media.describe_frames(self._guided)}, where nobody was detected"]

    def _lose(self) -> None:
        self._blaze: np.ndarray | None = None
        self._hands: list[np.ndarray | None] = [None, None]
        self._face: np.ndarray | None = None

    def follow(self, frame: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Return [133, 3] points and the box of the person in frame `t` of the clip."""
        turned = t in self._everybody.turned
        if t in self._everybody.cuts or (t and turned != (t - 1 in self._everybody.turned)):
            self._lose()
        if not turned:
            return self._follow(frame, t)
        points, box = self._follow(_turned(frame), t)
        seen = points[:, 2] > 0
        points[seen, :2] = np.array([frame.shape[1] - 1, frame.shape[0] - 1]) - points[seen, :2]
        return points, _over(box, *frame.shape[:2]) if box.any() else box

    def _follow(self, frame: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        found = self._everybody.found[t]
        chosen = tracks.row_of(self._everybody.numbers[t], self._number)
        place = found.boxes[chosen] if chosen is not None else None
        if self._guide is not None:
            place = self._guide.follow(frame, t, place)
        points = np.zeros((len(NAMES), 3))
        if place is None:
            self._lose()
            return points, np.zeros(4)
        if chosen is None:
            movenet, trust, near = np.zeros((NUM_BODY, 3)), 0.0, 0.0
            self._guided.append(t)
        else:
            movenet, trust = found.points[chosen], _trust(found.points[chosen], frame)
            near = max((tracks.overlap(place, box) for i, box in enumerate(found.boxes) if i != chosen), default=0.0)
        blaze, visible = self._body(frame, movenet, place, trust, near)
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
        box = np.concatenate([seen.min(axis=0), seen.max(axis=0)]) if len(seen) else place
        return points, box

    def _body(
        self, frame: np.ndarray, movenet: np.ndarray, box: np.ndarray, trust: float, near: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return BlazePose's 39 points in pixels ([39, 2]) and how visible they are ([39]), 0 if it has found another person.

        Args:
            frame: [H, W, 3], 0 to 255, uint8 RGB.
            movenet: [17, 3], x, y in pixels, score; all 0: not known.
            box: x1, y1, x2, y2 of the person in pixels.
            trust: of MoveNet's points, 0 to 1.
            near: share of the person's box that another person's covers.
        """
        tries = 1
        limit = trust * MAX_ASTRAY + (1 - trust) * 0.3  # MoveNet itself is off by a fifth of the smallest people
        if near > tracks.TOUCH:
            limit = min(limit, MAX_ASTRAY_NEAR)
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


def _find(image: np.ndarray, closer: bool) -> people.People:
    """Return the people of an image; where some are close together, or were (`closer`), from a closer look at them."""
    found = people.find_people(image)
    if not len(found.scores) or not (closer or tracks.are_crossing(found.boxes)):
        return found
    low, high = found.boxes[:, :2].min(axis=0), found.boxes[:, 2:].max(axis=0)
    middle, half = (low + high) / 2, CLOSE_UP / 2 * (high - low).max()
    x1, y1 = np.maximum(middle - half, 0).astype(int)
    x2, y2 = np.minimum(middle + half, image.shape[1::-1]).astype(int)
    if max(x2 - x1, y2 - y1) > 0.9 * max(image.shape[:2]):  # nothing to gain
        return found
    near = people.find_people(np.ascontiguousarray(image[y1:y2, x1:x2]))
    if len(near.scores) < len(found.scores):
        return found
    return people.People(np.add(near.points, (x1, y1, 0)), np.add(near.boxes, (x1, y1, x1, y1)), near.scores)


def _is_over(frame: np.ndarray, over: bool) -> bool:
    """Return whether the people of a frame are upside down, who were (`over`) or were not before."""
    upright, turned = (float(people.find_people(each).scores.max(initial=0)) for each in (frame, _turned(frame)))
    here, other = (turned, upright) if over else (upright, turned)
    return not over if other > UPSIDE_DOWN and other > here + CLEARLY else over


def _turned(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frame[::-1, ::-1])


def _over(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a box (x1, y1, x2, y2) of an image turned by 180 degrees."""
    last = np.array([width - 1, height - 1])
    return np.concatenate([last - box[2:], last - box[:2]])


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
    if not movenet[:, 2].any():  # nothing is known but a place
        score = seen
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
