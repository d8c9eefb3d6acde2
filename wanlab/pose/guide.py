"""Clicks on a person, carried through the frames by optical flow: where the person is while no network sees them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wanlab.pose.tracks import Click

RADIUS = 0.12  # of the person's size: from so far around a click points are followed
MOST = 40  # points of a click
LEAST = 6  # points that must be left to tell where the person is
MAX_BACK = 1.5  # pixels: a point that does not come back to where it was is lost
MAX_GUIDED = 48  # frames in a row without a detection that clicks lead through


class Guide:
    """Follows what was clicked from frame to frame, and the person's box with it."""

    def __init__(self, clicks: Sequence[Click]) -> None:
        self._clicks: dict[int, list[Click]] = {}
        for click in clicks:
            self._clicks.setdefault(click.frame, []).append(click)
        self._grey: np.ndarray | None = None
        self._points = np.zeros((0, 2), np.float32)
        self._box: np.ndarray | None = None
        self._blind = 0

    def follow(self, frame: np.ndarray, t: int, box: np.ndarray | None) -> np.ndarray | None:
        """Return the person's box in a frame: the detected one, else where the points have moved; None: not known.

        Args:
            frame: [H, W, 3], 0 to 255, uint8 RGB; frames come in order.
            t: of the frame.
            box: x1, y1, x2, y2 of the detected person in pixels, None where they are not detected.
        """
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        self._move(grey)
        if box is not None:
            self._box, self._blind = np.array(box, float), 0
            inside = (self._points >= box[:2]).all(axis=1) & (self._points <= box[2:]).all(axis=1)
            self._points = self._points[inside]
        else:
            self._blind += 1
        for click in self._clicks.get(t, ()):
            self._begin(grey, click, box)
        if box is not None and len(self._points) < LEAST and self._clicks and t > min(self._clicks):
            middle = self._box.reshape(2, 2).mean(axis=0) if self._box is not None else np.zeros(2)
            self._begin(grey, Click(t, *middle.tolist()), box)
        known = self._box is not None and len(self._points) >= LEAST and self._blind <= MAX_GUIDED
        self._grey = grey
        return self._box if known or box is not None else None

    def _move(self, grey: np.ndarray) -> None:
        if self._grey is None or not len(self._points):
            return
        start = self._points.reshape(-1, 1, 2)
        ends, found, _ = cv2.calcOpticalFlowPyrLK(self._grey, grey, start, np.empty_like(start))
        back, again, _ = cv2.calcOpticalFlowPyrLK(grey, self._grey, ends, np.empty_like(start))
        kept = (np.minimum(found, again).ravel() > 0) & (np.linalg.norm(back - start, axis=-1).ravel() < MAX_BACK)
        if self._box is not None and kept.any():
            self._box = self._box + np.tile(np.median((ends - start).reshape(-1, 2)[kept], axis=0), 2)
        self._points = ends.reshape(-1, 2)[kept]

    def _begin(self, grey: np.ndarray, click: Click, box: np.ndarray | None) -> None:
        """Take up the corners around a click; where nobody is detected, the box known so far is put around it."""
        if self._box is None:
            return
        size = float((self._box[2:] - self._box[:2]).max())
        if box is None:
            self._box = self._box + np.tile((click.x, click.y) - self._box.reshape(2, 2).mean(axis=0), 2)
            self._blind = 0
        around = np.zeros_like(grey)
        cv2.circle(around, (round(click.x), round(click.y)), max(round(RADIUS * size), 4), 255, -1)
        corners = cv2.goodFeaturesToTrack(grey, MOST, 0.01, 3, mask=around)
        self._points = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
