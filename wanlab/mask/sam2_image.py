"""The region that a click means, at once: SAM2's image predictor, whose look at a frame is kept."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sam2.sam2_image_predictor import SAM2ImagePredictor

from wanlab.mask.local_regions import LocalRegions, connected, disc
from wanlab.mask.packed import Masks
from wanlab.mask.prompts import Box, Click
from wanlab.mask.sam2_video import Predictor, precision
from wanlab.media import Frames, Seeker

PLAUSIBLE = 0.2  # by so much less may the network be sure of a part than of the mask that it is surest of
MOST = 0.25  # of the person: a click that would change more means a wall, or needs a box
LARGE = 0.05  # of the image: where the person is smaller, so much may belong to a click
RECENT = 8  # frames whose features are kept: 8 MB each for the large model in bfloat16


class Sam2Regions:
    """Regions of clicks and boxes on single frames: a frame is looked at once, then each costs the mask decoder only."""

    def __init__(self, network: Predictor, frames: Frames | Seeker, before: Masks, local: LocalRegions) -> None:
        """Take what finds regions.

        Args:
            network: from `sam2_video.load`.
            frames: of a clip.
            before: the outline that is corrected: [T, H, W], bool.
            local: says how far a click reaches that no part can be found for.
        """
        self._network, self._frames, self._before, self._local = network, frames, before, local
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # sam2 uses torch.jit.script
            self._predictor = SAM2ImagePredictor(network)
        side = network.image_size
        self._predictor._bb_feat_sizes = [(side // n, side // n) for n in (4, 8, 16)]  # sam2 knows those of 1024 only
        self._looks: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    def of_click(self, click: Click, against: Sequence[Click]) -> np.ndarray:
        """Return the smallest part that a click may mean: [H, W], bool; outside of the outline where it adds, inside where it takes out.

        Args:
            click: in pixels of the clip.
            against: clicks that mean the opposite, on the same frame.
        """
        before = self._before[click.frame]
        free = ~before if click.positive else before
        reach = self._local.reach(click.frame)
        most = max(MOST * float(before.sum()), LARGE * before.size)
        points = [click, *against]
        masks, scores = self._predicted(click.frame, points, [each is click for each in points], None)
        found = [connected(mask & free, click.x, click.y, 2) for mask in masks]
        plausible = [
            mask for mask, score in zip(found, scores, strict=True) if score >= scores.max() - PLAUSIBLE and mask.any()
        ]
        smallest = min(plausible, key=np.sum, default=None)
        if smallest is None or smallest.sum() > most:
            return self._local.of_click(click, against)
        return smallest | (disc(before.shape, click.x, click.y, reach / 8) & free)

    def of_box(self, box: Box, against: Sequence[Click]) -> np.ndarray:
        """Return what a box is drawn around: [H, W], bool; without what the clicks against it mean."""
        inside = [each for each in against if box.x0 <= each.x <= box.x1 and box.y0 <= each.y <= box.y1]
        masks, scores = self._predicted(box.frame, inside, [False] * len(inside), box)
        return masks[int(scores.argmax())]

    def _predicted(
        self, t: int, clicks: Sequence[Click], labels: Sequence[bool], box: Box | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return masks, [n, H, W], bool, and how sure the network is of each."""
        with torch.inference_mode(), precision(self._network):
            self._look(t)
            masks, scores, _ = self._predictor.predict(
                np.array([(click.x, click.y) for click in clicks], np.float32) if clicks else None,
                np.array(labels, np.int32) if clicks else None,
                None if box is None else np.array([box.x0, box.y0, box.x1, box.y1], np.float32),
                multimask_output=box is None,  # one click may mean a part or the entire object
            )
        return masks > 0, scores

    def _look(self, t: int) -> None:
        """Put frame `t` before the predictor."""
        predictor = self._predictor
        if t not in self._looks:
            predictor.set_image(self._frames[t])
            self._looks[t] = predictor._features, predictor._orig_hw
            while len(self._looks) > RECENT:
                self._looks.popitem(last=False)
        self._looks.move_to_end(t)
        predictor._features, predictor._orig_hw = self._looks[t]
