"""The mask of one frame after each click, at once: SAM2's image predictor, whose look at a frame is kept."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from sam2.sam2_image_predictor import SAM2ImagePredictor

from wanlab.mask.prompts import Prompts
from wanlab.mask.sam2_video import Predictor, precision
from wanlab.media import Frames, Seeker

RECENT = 8  # frames whose features are kept: 8 MB each for the large model in bfloat16


class Sam2Clicks:
    """Masks of single frames from prompts: a frame is looked at once, then each click costs the mask decoder only."""

    def __init__(self, network: Predictor, frames: Frames | Seeker) -> None:
        """Take the network from `sam2_video.load` and the frames of a clip."""
        self._network, self._frames = network, frames
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # sam2 uses torch.jit.script
            self._predictor = SAM2ImagePredictor(network)
        side = network.image_size
        self._predictor._bb_feat_sizes = [(side // n, side // n) for n in (4, 8, 16)]  # sam2 knows those of 1024 only
        self._looks: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    def mask(self, t: int, prompts: Prompts) -> np.ndarray:
        """Return what the prompts on frame `t` cover: [H, W], bool; other frames' prompts do not count.

        Args:
            t: index of the frame.
            prompts: in pixels of the clip; an object without a positive point or box there covers nothing.
        """
        found = np.zeros((self._frames.height, self._frames.width), bool)
        with torch.inference_mode(), precision(self._network):
            self._look(t)
            for number in {each.object for each in (*prompts.clicks, *prompts.boxes) if each.frame == t}:
                clicks = [click for click in prompts.clicks if (click.frame, click.object) == (t, number)]
                box = next((box for box in prompts.boxes if (box.frame, box.object) == (t, number)), None)
                if box is None and not any(click.positive for click in clicks):
                    continue
                several = (
                    box is None and len(clicks) == 1
                )  # one click may mean a part or the entire object: the best of three masks
                masks, scores, _ = self._predictor.predict(
                    np.array([(click.x, click.y) for click in clicks], np.float32) if clicks else None,
                    np.array([click.positive for click in clicks], np.int32) if clicks else None,
                    None if box is None else np.array([box.x0, box.y0, box.x1, box.y1], np.float32),
                    multimask_output=several,
                )
                found |= masks[int(scores.argmax())] > 0
        return found

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
