"""What an image of anything never is: black, of one colour, or noise. A result that is, is said; it may be asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from wanlab.media import describe_frames
from wanlab.media.look import correlation

BLACK = 6.0  # of 255: the mean and the spread of an 8-bit image that is black but for coding noise
FLAT = 2.5  # of 255, standard deviation over a whole image: the plain walls of the sample clips have 25 and more
APART = 8  # pixels: one latent cell, beyond which decoded noise knows nothing of itself
NOISE = 0.25  # correlation at that distance: decoded or pixel noise has up to 0.08, images of people 0.75 and more


class Oddities:
    """Which frames of a result are black, of one colour or noise, found while somebody else goes through its frames."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[int]] = {}

    def watch(self, video: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of a result, [H, W, 3], 0 to 255, uint8 RGB; sides of more than 16 pixels."""
        for t, frame in enumerate(video):
            kind = _kind(frame)
            if kind:
                self._kinds.setdefault(kind, []).append(t)
            yield frame

    def describe(self) -> tuple[str, ...]:
        """Return a sentence for each kind that occurred; none where all were pictures."""
        return tuple(
            f"the result is {kind} in {describe_frames(frames)}: look at the inputs there, at the checkpoint (wanlab models) "
            "and at num_inference_steps"
            for kind, frames in self._kinds.items()
        )


def _kind(frame: np.ndarray) -> str | None:
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spread = float(luma.std())
    if luma.mean() < BLACK and spread < BLACK:
        return "black"
    if spread < FLAT:
        return f"of one colour (about {', '.join(str(round(c)) for c in frame.reshape(-1, 3).mean(0))})"
    if max(_correlation(luma), _correlation(luma.T)) < NOISE:
        return "noise"
    return None


def _correlation(luma: np.ndarray) -> float:
    """Return how much a pixel tells of the one APART pixels to its right, -1 to 1."""
    return correlation(luma[:, :-APART], luma[:, APART:])
