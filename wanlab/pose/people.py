"""People in an image, and which of them a clip follows: MoveNet MultiPose and a tracker."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from wanlab import config
from wanlab.pose.wholebody import SEEN

NETWORKS = config.ASSETS / "networks"
SIDE = 256  # pixels of MoveNet's input
MIN_SCORE = 0.2  # of a person; MoveNet gives 0.6 to 0.85 to people who are visible from head to foot, less than 0.1 to furniture
MAX_LOST = 15  # frames that a lost person is waited for before another is taken
MAX_JUMP = 0.6  # of the person's size between two frames
COLOUR_WEIGHT = 2.0  # how much another colour of the torso counts against a candidate, beside distance in sizes
CROSSING = 6  # frames after two boxes touched in which the one behind may be hidden
MAX_COLOUR = 0.25  # mean change, 0 to 1: a torso half hidden changes by up to 0.23, to the sample's other it is 0.27


class People(NamedTuple):
    """The people in one image, n of them.

    Attributes:
        points: [n, 17, 3]; x, y in pixels, score; COCO order.
        boxes: [n, 4]; x1, y1, x2, y2 in pixels.
        scores: [n], 0 to 1.
    """

    points: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def fingerprints() -> dict[str, str]:
    """Return the SHA-256 of each bundled network by name."""
    lines = (NETWORKS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {file.strip().removesuffix(".onnx"): sha for sha, file in (line.split(maxsplit=1) for line in lines if line)}


@functools.cache
def session(name: str) -> Any:
    """Return the ONNX Runtime session of a bundled network; its file is checked against SHA256SUMS once.

    Raises:
        ValueError: if the file is not the one that was bundled.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3  # small networks gain nothing from more threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # with both cores busy, it doubles a call
    return onnxruntime.InferenceSession(
        _checked(NETWORKS / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )


def run_network(name: str, image: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of a bundled network.

    Args:
        name: of the network.
        image: [1, H, W, 3] or [1, 3, H, W], in the size and type that the network declares.
    """
    network = session(name)
    return network.run(None, {network.get_inputs()[0].name: image})


def find_people(frame: np.ndarray) -> People:
    """Find up to six people.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.

    Returns:
        n people who score at least MIN_SCORE, the largest first.
    """
    height, width = frame.shape[:2]
    side = max(height, width)
    scale = SIDE / side
    left, top = (side - width) / 2, (side - height) / 2
    move = np.array([[scale, 0, left * scale], [0, scale, top * scale]])
    square = cv2.warpAffine(frame, move, (SIDE, SIDE), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scale < 0.5:  # warpAffine takes single pixels when it shrinks much
        small = cv2.resize(
            frame, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        square = np.zeros((SIDE, SIDE, 3), np.uint8)
        y, x = round(top * scale), round(left * scale)
        square[y : y + small.shape[0], x : x + small.shape[1]] = small[: SIDE - y, : SIDE - x]
    found = run_network("human_movenet-multipose", square[None].astype(np.int32))[0][0]
    points = found[:, :51].reshape(-1, 17, 3)[..., [1, 0, 2]].astype(np.float64)
    points[..., :2] = points[..., :2] * side - (left, top)
    boxes = found[:, [52, 51, 54, 53]].astype(np.float64) * side - (left, top, left, top)
    scores = found[:, 55]
    order = [i for i in np.argsort(-_area(boxes)) if scores[i] >= MIN_SCORE]
    return People(points[order], boxes[order], scores[order])


class Tracker:
    """Follows one person through a clip: the largest at first, then the one who is where they were.

    While another person crosses, the colour of the torso distinguishes them: two are in the same place, and MoveNet often
    sees only the one in front. At other times a person may change colour (light, a turned back).
    """

    def __init__(self) -> None:
        self._points: np.ndarray | None = None
        self._colour: np.ndarray | None = None
        self._lost = 0
        self._crossing = 0  # frames for which another person may still be taken for the followed one
        self._company = 0  # frames for which another person may still be near

    def forget(self) -> None:
        """Start again: the next frame belongs to another shot."""
        self._points = self._colour = None
        self._lost = self._crossing = self._company = 0

    def choose(self, frame: np.ndarray, people: People) -> int | None:
        """Return the index of the followed person among `people`, None where they are not in the image.

        Args:
            frame: [H, W, 3], 0 to 255, uint8 RGB; frames come in order.
            people: of this frame, the largest first.
        """
        self._crossing = max(self._crossing - 1, 0)
        self._company = CROSSING if len(people.scores) > 1 else max(self._company - 1, 0)
        if self._points is None or self._lost > MAX_LOST:
            chosen = 0 if len(people.scores) else None
        else:
            by_colour = self._company > 0 or self._lost > 0
            costs = [self._cost(frame, points, by_colour) for points in people.points]
            chosen = int(np.argmin(costs)) if costs and min(costs) < MAX_JUMP * (1 + 0.2 * self._lost) else None
        if chosen is None:
            self._lost += 1
            return None
        if len(people.scores) > 1:  # seen apart, they have crossed
            self._crossing = CROSSING if _touched(people.boxes, chosen) else 0
        colour = _torso_colour(frame, people.points[chosen])
        if self._colour is None or self._lost > MAX_LOST:
            self._colour = colour
        elif colour is not None and (not self._crossing or _colour_change(colour, self._colour) < MAX_COLOUR / 2):
            self._colour = 0.9 * self._colour + 0.1 * colour
        self._points, self._lost = people.points[chosen], 0
        return chosen

    def _cost(self, frame: np.ndarray, points: np.ndarray, by_colour: bool) -> float:
        """Return how unlike the followed person a candidate is: distance in sizes of the person, and colour if asked."""
        assert self._points is not None
        sure = (points[:, 2] > SEEN) & (self._points[:, 2] > SEEN)
        if not sure.any():
            return np.inf
        size = max(np.ptp(self._points[:, :2], axis=0).max(), 1.0)
        cost = float(np.linalg.norm(points[sure, :2] - self._points[sure, :2], axis=1).mean() / size)
        colour = _torso_colour(frame, points) if by_colour else None
        if colour is None or self._colour is None:
            return cost
        change = _colour_change(colour, self._colour)
        return np.inf if self._crossing and change > MAX_COLOUR else cost + COLOUR_WEIGHT * change


def _torso_colour(frame: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Return the median colour between shoulders and hips, None where that is not in the image."""
    torso = points[[5, 6, 11, 12], :2]
    centre, size = torso.mean(axis=0), np.ptp(torso, axis=0) / 4
    x1, y1 = np.maximum(centre - size, 0).astype(int)
    x2, y2 = np.minimum(centre + size + 1, frame.shape[1::-1]).astype(int)
    return np.median(frame[y1:y2, x1:x2].reshape(-1, 3), axis=0) if x2 > x1 and y2 > y1 else None


def _colour_change(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean()) / 255


def _touched(boxes: np.ndarray, chosen: int) -> bool:
    """Tell whether another person's box overlaps the chosen one's."""
    low, high = np.maximum(boxes[:, :2], boxes[chosen, :2]), np.minimum(boxes[:, 2:], boxes[chosen, 2:])
    return bool(np.delete((high > low).all(axis=1), chosen).any())


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _checked(path: Path) -> bytes:
    content = path.read_bytes()
    expected = fingerprints().get(path.stem)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"network {path.name} must have SHA-256 {expected}, got {found}; restore it: git checkout wanlab/assets/networks"
        )
    return content
