"""The people in an image: MoveNet MultiPose, and the bundled networks."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from wanlab import config

NETWORKS = config.ASSETS / "networks"
SIDE = 256  # pixels of MoveNet's input
MIN_SCORE = 0.2  # of a person; MoveNet gives 0.6 to 0.85 to people who are visible from head to foot, less than 0.1 to furniture


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
