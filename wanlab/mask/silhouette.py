"""The person's silhouette from the bundled networks (BlazePose, U2-Net): a probability per pixel.

In a clip U2-Net, which takes most of the time, looks at some frames only; to those between its answers are moved along the
optical flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.media.colour import IMAGENET_DEVIATION, IMAGENET_MEAN
from wanlab.pose import FINGERS
from wanlab.pose.people import run_network
from wanlab.pose.wholebody import HANDS, NUM_BODY, SEEN

RESULT_VERSION = 1  # raise it when the same frame and keypoints come to mean other probabilities
MARGIN = 1.3  # side of the crop: of the box around the keypoints; hair and clothes reach beyond them
THIGH = 0.8  # of the torso, the length of a thigh
CROWN = 133  # row after the 133 keypoints
BODY_SHARE = (
    0.6  # of BlazePose's answer, the rest is U2-Net's; on seven rendered people 0.003 better to 0.003 worse than 0.5
)
BUST_SHARE = 0.3  # the same where the hips are outside the image: BlazePose is at home on whole bodies, and loses jackets and caps there
REACH = 0.5  # of the body's size; farther from the skeleton nothing belongs to the person
SMOOTHING = np.array([0.25, 0.5, 0.25])  # weights of the frames before, here and after
SALIENT_SIDE = 320  # pixels of U2-Net's input
# U2-Net's next look comes after MOST_FRAMES, or before a joint has moved by MOST_MOVED of the body's size. On the rendered
# clips it then looks at a quarter to a half of the frames, and the mean IoU with the truth is 0.006 lower to 0.009 higher.
MOST_FRAMES, MOST_MOVED = 5, 0.15
FINGER, SURE = 0.2, 0.5  # width of a finger: of the palm's length; score of a hand's points that are taken
HIPS = [11, 12]  # of the keypoints
PALM = [0, 1, 5, 9, 13, 17]  # of a hand's points
UNLIKE = 0.1  # of the grey levels: an answer moved to a pixel that looks as unlike as this counts a third
LIMBS = (
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14),
    (14, 16), (15, 17), (15, 19), (16, 20), (16, 22), (9, 103), (10, 124),
)  # fmt: skip  # of the 133 keypoints


def segment(frames: Iterable[np.ndarray], keypoints: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the followed person's mask frame by frame, [H, W], bool; empty where the keypoints are.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.
    """
    probabilities = _smoothed(_probabilities(frames, keypoints))
    return ((p > 127) | _hands(points, *p.shape) for p, points in zip(probabilities, keypoints, strict=True))


def person_probability(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how likely each pixel shows the person: [H, W], float32, 0 to 1.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [133, 3], x, y in pixels, score; all 0 gives 0 everywhere.
    """
    view = _View.of(frame, points)
    return np.zeros(frame.shape[:2], np.float32) if view is None else view.probability(view.salient())


def looks(keypoints: np.ndarray) -> np.ndarray:
    """Return in which frames of a clip U2-Net looks: [T], bool; where the person comes and goes, it does.

    Args:
        keypoints: [T, 133, 3], x, y in pixels, score.
    """
    seen = [_crop(_whole(points)) is not None for points in keypoints]
    looked_at = np.zeros(len(keypoints), bool)
    last = None
    for t, here in enumerate(seen):
        if not here:
            last = None
            continue
        ends = t + 1 == len(seen) or not seen[t + 1]
        too_far = ends or last is None or t + 1 - last > MOST_FRAMES
        if too_far or _moved_by(keypoints[last], keypoints[t + 1]) > MOST_MOVED:
            looked_at[t], last = True, t
    return looked_at


class _View(NamedTuple):
    """What the networks see of a frame.

    Attributes:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [134, 3], with inferred ones; see `_whole`.
        centre, size: of the square crop, in pixels of the frame.
    """

    frame: np.ndarray
    points: np.ndarray
    centre: np.ndarray
    size: float

    @classmethod
    def of(cls, frame: np.ndarray, points: np.ndarray) -> _View | None:
        """Return the view of a person with [133, 3] points; None where hardly any is seen."""
        points = _whole(points)
        crop = _crop(points)
        return None if crop is None else cls(frame, points, *crop)

    def salient(self) -> np.ndarray:
        """Return U2-Net's answer: [320, 320], float32, 0 to 1."""
        values = _square_crop(self.frame, self.centre, self.size, SALIENT_SIDE).astype(np.float32) / 255
        values = (values - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_DEVIATION, np.float32)
        answer = run_network("u2netp", values.transpose(2, 0, 1)[None])[0][0, 0]
        return (answer - answer.min()) / max(float(np.ptp(answer)), 1e-6)

    def probability(self, salient: np.ndarray) -> np.ndarray:
        """Return how likely each pixel of the frame shows the person, [H, W], float32, with U2-Net's answer for the crop."""
        height, width = self.frame.shape[:2]
        pose_crop = _square_crop(self.frame, self.centre, self.size, 256)
        logits = run_network("pose_landmark_full", pose_crop[None].astype(np.float32) / 255)[2][0, ..., 0]
        pose_mask = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        body = cv2.resize(pose_mask, (SALIENT_SIDE, SALIENT_SIDE))
        share = BODY_SHARE if self.points[HIPS, 2].max() >= SEEN else BUST_SHARE
        mean = share * body + (1 - share) * salient
        likely = _paste(mean, self.centre, self.size, height, width)
        hat = _above_eyes(self.points, height, width)
        if hat is not None:
            likely = np.maximum(likely, _paste(salient, self.centre, self.size, height, width) * hat)
        return likely * _near(self.points, height, width)

    def grey(self, crop_of: _View) -> np.ndarray:
        """Return another view's square of this frame: [320, 320], uint8."""
        return cv2.cvtColor(_square_crop(self.frame, crop_of.centre, crop_of.size, SALIENT_SIDE), cv2.COLOR_RGB2GRAY)


def _probabilities(frames: Iterable[np.ndarray], keypoints: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each frame's probability, as `person_probability`, with U2-Net's answers moved to the frames between its looks."""
    last: tuple[_View, np.ndarray] | None = None
    between: list[_View] = []
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    for frame, points, looked_at in zip(frames, keypoints, looks(keypoints), strict=True):
        view = _View.of(frame, points)
        if view is None:
            yield np.zeros(frame.shape[:2], np.float32)
        elif not looked_at:
            between.append(view)
        else:
            here = view, view.salient()
            for n, each in enumerate(between):
                assert last is not None  # the first frame with the person is looked at
                around = [(*last, n + 1), (*here, len(between) - n)]
                yield each.probability(_moved(each, around, flow))
            yield view.probability(here[1])
            last, between = here, []


def _moved(view: _View, answers: Sequence[tuple[_View, np.ndarray, int]], flow: cv2.DISOpticalFlow) -> np.ndarray:
    """Return U2-Net's answer for a view from those for others: [320, 320], float32, 0 to 1.

    Args:
        view: that has none of its own.
        answers: other views, the answer for each ([320, 320], float32), and how many frames it is away.
        flow: finds the flow between two grey images.
    """
    grey = view.grey(view)
    places = np.stack(np.meshgrid(*[np.arange(SALIENT_SIDE, dtype=np.float32)] * 2), axis=-1)
    total, weights = np.zeros(grey.shape, np.float32), np.zeros(grey.shape, np.float32)
    for other, answer, away in answers:
        there = other.grey(view)
        came_from = places + flow.calc(grey, there, None)  # type: ignore[call-overload]
        unlike = np.abs(cv2.remap(there, came_from, None, cv2.INTER_LINEAR).astype(np.float32) - grey)  # type: ignore[call-overload]
        weight = np.exp(-((cv2.blur(unlike, (5, 5)) / (255 * UNLIKE)) ** 2)) / away + 1e-3
        scale = view.size / other.size
        corner = (view.centre - view.size / 2 - other.centre + other.size / 2) * (SALIENT_SIDE / other.size)
        in_other = ((came_from + 0.5) * scale + corner - 0.5).astype(np.float32)
        total += weight * cv2.remap(answer, in_other, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
        weights += weight
    return total / weights


def _moved_by(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far the joint that moves most moves, in sizes of the body; one that is lost or found counts as far.

    Args:
        one, other: [133, 3], x, y in pixels, score.
    """
    seen = np.stack([one[:NUM_BODY, 2], other[:NUM_BODY, 2]]) >= SEEN
    apart = np.linalg.norm(one[:NUM_BODY, :2] - other[:NUM_BODY, :2], axis=1) / max(body_size(one), body_size(other))
    return float(np.where(seen.all(axis=0), apart, np.where(seen.any(axis=0), 1, 0)).max())


def _smoothed(probabilities: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield each frame's probability (0 to 255) averaged with its neighbours; an empty neighbour does not count."""
    window: list[np.ndarray] = []
    for probability in probabilities:
        window.append((probability * 255).astype(np.uint8))
        if len(window) == 1:
            continue
        yield _weighted(window[-3] if len(window) > 2 else None, window[-2], window[-1])
        del window[:-2]
    if window:
        yield _weighted(window[-2] if len(window) > 1 else None, window[-1], None)


def _weighted(before: np.ndarray | None, here: np.ndarray, after: np.ndarray | None) -> np.ndarray:
    if not here.any():
        return here.astype(np.float32)
    parts = [
        (w, part) for w, part in zip(SMOOTHING, (before, here, after), strict=True) if part is not None and part.any()
    ]
    return sum(w * part.astype(np.float32) for w, part in parts) / sum(w for w, _ in parts)  # type: ignore[return-value]


def _whole(points: np.ndarray) -> np.ndarray:
    """Return the keypoints with inferred ones: [134, 3]; thighs below visible hips, and the crown.

    Where knees were not detected, the body continues below the hips; hair and hats rise above the face (row CROWN).
    """
    out = np.concatenate([points, np.zeros((1, 3), points.dtype)])
    for hip, knee, shoulder in ((11, 13, 5), (12, 14, 6)):
        if points[knee, 2] < SEEN <= min(points[hip, 2], points[shoulder, 2]):
            out[knee, :2] = points[hip, :2] + THIGH * (points[hip, :2] - points[shoulder, :2])
            out[knee, 2] = SEEN
    if points[[0, 5, 6], 2].min() >= SEEN:
        out[CROWN, :2] = points[0, :2] + points[0, :2] - points[[5, 6], :2].mean(axis=0)
        out[CROWN, 2] = SEEN
    return out


def _above_eyes(points: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """Return where hair and hats are, [H, W], bool: above the eyes, around the crown; None where the head is not seen.

    BlazePose's silhouette leaves out a cap, U2-Net's does not, so that it alone counts there: of both together, a cap gets half,
    and is lost.
    """
    if points[[0, 1, 2, CROWN], 2].min() < SEEN:
        return None
    eyes, crown = points[[1, 2], :2].mean(axis=0), points[CROWN, :2]
    up = crown - eyes
    y, x = np.ogrid[:height, :width]
    above = (x - eyes[0]) * up[0] + (y - eyes[1]) * up[1] > 0
    return above & ((x - crown[0]) ** 2 + (y - crown[1]) ** 2 < float(up @ up))


def _crop(points: np.ndarray) -> tuple[np.ndarray, float] | None:
    seen = points[points[:, 2] >= SEEN, :2]
    if len(seen) < 3:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    return (low + high) / 2, MARGIN * float(max(high - low))


def body_size(points: np.ndarray) -> float:
    """Return the longer side of the box around the joints seen, in pixels; points: [K, 3], x, y, score; 1 where none is seen."""
    seen = points[points[:, 2] >= SEEN, :2]
    return float(np.ptp(seen, axis=0).max()) if len(seen) else 1.0


def _near(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return 1 near the skeleton, falling to 0 at REACH shoulder widths or heads away: [H, W], float32."""
    canvas = np.full((height, width), 255, np.uint8)
    for a, b in (*LIMBS, (0, CROWN)):
        if points[a, 2] >= SEEN and points[b, 2] >= SEEN:
            ends = [tuple(int(v) for v in np.clip(points[i, :2], -9999, 9999)) for i in (a, b)]
            cv2.line(canvas, *ends, 0, 1)  # type: ignore[call-overload]
    for x, y in points[points[:, 2] >= SEEN, :2]:
        if 0 <= x < width and 0 <= y < height:
            canvas[int(y), int(x)] = 0
    shoulders = float(np.linalg.norm(points[5, :2] - points[6, :2])) if min(points[5, 2], points[6, 2]) >= SEEN else 0.0
    reach = REACH * max(shoulders, body_size(points) / 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    return np.clip(2 - distance / reach, 0, 1).astype(np.float32)


def _hands(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the hands that were detected, [H, W], bool: palm and fingers, which both networks often miss.

    On the rendered clips 0.71 to 0.89 of the hands are covered without it, 0.86 to 0.95 with it, and the mean IoU is 0.001
    to 0.003 higher.

    Args:
        points: [133, 3], x, y in pixels, score.
        height, width: of the image in pixels.
    """
    drawn = np.zeros((height, width), np.uint8)
    for rows in HANDS:
        hand = points[rows]
        sure = hand[:, 2] >= SURE
        places = np.clip(hand[:, :2], -9999, 9999).astype(int)
        if sure[PALM].all():
            cv2.fillPoly(drawn, [places[PALM]], 1)  # type: ignore[call-overload]
        thick = max(1, round(FINGER * float(np.linalg.norm(hand[9, :2] - hand[0, :2]))))
        for a, b in FINGERS:
            if sure[a] and sure[b]:
                cv2.line(drawn, places[a].tolist(), places[b].tolist(), 1, min(thick, 255))  # type: ignore[call-overload]
    return drawn.astype(bool)


def _square_crop(frame: np.ndarray, centre: np.ndarray, size: float, side: int) -> np.ndarray:
    """Return the square of `size` pixels around `centre` as [side, side, C]."""
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    return cv2.warpAffine(frame, _square_to_frame(centre, size, side), (side, side), flags=flags)


def _paste(values: np.ndarray, centre: np.ndarray, size: float, height: int, width: int) -> np.ndarray:
    """Put a square back where it was cropped: [H, W], float32."""
    move = _square_to_frame(centre, size, values.shape[0])
    return cv2.warpAffine(values.astype(np.float32), move, (width, height), flags=cv2.INTER_LINEAR)


def _square_to_frame(centre: np.ndarray, size: float, side: int) -> np.ndarray:
    """Return the 2x3 map from a crop's pixels to the frame's."""
    scale = size / side
    return np.array([[scale, 0, centre[0] - size / 2], [0, scale, centre[1] - size / 2]])
