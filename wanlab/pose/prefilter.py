"""What detectors see of frames that are dark or noisy; nothing else is made from these frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import cv2
import numpy as np

Filter = Literal["blur", "brighten"]
GAMMA = 0.5  # of brighten: a quarter of the light becomes half of it
SIGMA = 1.0  # pixels of the working clip
_LIGHTER = np.rint(255 * (np.arange(256) / 255) ** GAMMA).astype(np.uint8)


class Filtered:
    """Frames, [H, W, 3] each, 0 to 255, uint8 RGB, filtered each time that they are gone through.

    blur takes the noise out; brighten lightens what is dark, and then blurs the noise that comes with it.
    """

    def __init__(self, frames: Iterable[np.ndarray], name: Filter) -> None:
        self._frames, self._name = frames, name

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            lighter = _LIGHTER[frame] if self._name == "brighten" else frame
            yield cv2.GaussianBlur(lighter, (0, 0), SIGMA)
