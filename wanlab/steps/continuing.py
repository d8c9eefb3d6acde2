"""An earlier result that a generation goes on from: its last frames, and what they were made from."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanlab import config, inputs, media, runs
from wanlab.steps import preview


class Earlier(NamedTuple):
    """The end of an earlier result.

    Attributes:
        run: that made it.
        frames: [n, H, W, 3], 0 to 255, uint8 RGB; its last ones.
        num_frames: of the whole result.
        inputs: that it was made from, None where they are gone.
    """

    run: runs.Run
    frames: np.ndarray
    num_frames: int
    inputs: inputs.AnimateInputs | None

    def sha256(self) -> str:
        """Return one hash over what a generation takes from it."""
        frames = hashlib.sha256(self.frames.tobytes()).hexdigest()
        return config.digest([frames, self.num_frames, None if self.inputs is None else self.inputs.sha256()])

    def faults(self, height: int, width: int) -> list[str]:
        """Return the line that refuses to go on at another size, in pixels; none where it is the same."""
        own = self.frames.shape[1:3]
        if own == (height, width):
            return []
        return [
            f"continue_from must be a result of {height}x{width} pixels (height x width), as these inputs give, "
            f"got {own[0]}x{own[1]} in {self.run.id}; use inputs of its size"
        ]

    def tail(self) -> np.ndarray:
        """Return the frames as a segment takes them over: [3, n, H, W], -1 to 1, float32."""
        return np.ascontiguousarray(self.frames.transpose(3, 0, 1, 2) / np.float32(127.5) - 1)


def find(place: Path | str, num_frames: int) -> Earlier:
    """Return the last frames of the result in a run folder, or for `latest` of the newest one.

    Args:
        place: folder or id of a run of 30_generate, or `latest`.
        num_frames: how many frames.

    Raises:
        FileNotFoundError: if there is no such run, or its video is gone.
        SettingsError: if it is not finished, of another step, or too short.
    """
    try:
        run = runs.find_run(place, "generate")
    except FileNotFoundError as error:
        raise FileNotFoundError(str(error).replace("run must be", "continue_from must be", 1)) from None
    made = run.manifest.get("artefacts", {})
    if run.manifest["step"] != "generate" or not run.completed or "video" not in made:
        raise config.SettingsError(
            f"continue_from must be a finished run of wanlab generate, got {run.id} ({run.manifest['step']}, {run.status}); use latest"
        )
    clip = media.open_clip(run.path(made.get("master", made["video"])["file"]))
    if len(clip) < num_frames:
        raise config.SettingsError(
            f"continue_from must have at least {num_frames} frames, as many as are taken over, got {len(clip)} in {run.id}; use a longer result"
        )
    opened = None
    with contextlib.suppress(FileNotFoundError, ValueError):
        opened = preview.smaller_inputs(run)
    return Earlier(run, np.stack(list(clip.at(range(len(clip) - num_frames, len(clip))))), len(clip), opened)
