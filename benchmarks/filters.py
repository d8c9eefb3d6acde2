"""What detector_filter does to keypoints of dark and of noisy clips, by the renderer's points.

    python benchmarks/filters.py

The clips are darkened as less light would, with the noise of a small sensor and JPEG's losses. PCK as in poses.py; no face:
frames whose face is not found although all of it is in the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from poses import PARTS, SAMPLE

from wanlab import media, pose
from wanlab.pose import detection, prefilter, wholebody

CASES = {  # clip, truth, light, noise
    "dark": ("dark.mp4", "dark_truth.npz", 1.0, 0.0),
    "dark, a quarter of the light": ("dark.mp4", "dark_truth.npz", 0.25, 4.0),
    "dark, an eighth": ("dark.mp4", "dark_truth.npz", 0.12, 3.0),
    "half": ("half.mp4", "half_truth.npz", 1.0, 0.0),
    "half, an eighth of the light": ("half.mp4", "half_truth.npz", 0.12, 3.0),
    "half, noisy": ("half.mp4", "half_truth.npz", 1.0, 25.0),
}
SHOWN = ("trunk", "arms", "legs", "hands")


def main() -> None:
    """Print a table in Markdown: three lines a case."""
    print(f"| clip | detector_filter | {' | '.join(SHOWN)} | no face |\n|--|--|{'--|' * len(SHOWN)}--|")
    for name, (video, truth, light, noise) in CASES.items():
        frames = media.open_clip(SAMPLE / video).read()
        if light < 1 or noise:
            frames = np.stack(list(_darkened(frames, light, noise)))
        filters: tuple[prefilter.Filter | None, ...] = (None, "blur", "brighten")
        for each in filters:
            seen = frames if each is None else prefilter.Filtered(frames, each)
            found = detection.detect(seen, 16.0).keypoints
            print(f"| {name} | {each or 'none'} | {_cells(found, SAMPLE / truth)} |", flush=True)


def _darkened(frames: np.ndarray, light: float, noise: float) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for frame in frames:
        darker = frame * np.float32(light) + random.normal(0, noise, frame.shape)
        coded = cv2.imencode(".jpg", np.clip(darker, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        yield cv2.imdecode(coded, cv2.IMREAD_COLOR)


def _cells(found: np.ndarray, truth: Path) -> str:
    """Return PCK@0.05 / @0.1 of some parts, and the frames without a face."""
    with np.load(truth) as known:
        true = known["keypoints"].astype(np.float64)
    inside, drawn = true[..., 2] > 0, found[..., 2] >= pose.DRAWN_FROM
    trunk = np.linalg.norm(true[:, [5, 6], :2].mean(axis=1) - true[:, [11, 12], :2].mean(axis=1), axis=-1)[:, None]
    error = np.linalg.norm(found[..., :2] - true[..., :2], axis=-1) / trunk
    cells = []
    for part in SHOWN:
        rows = PARTS[part]
        here = inside[:, rows]
        good = [
            ((error[:, rows] < most) & drawn[:, rows])[here].mean() if here.any() else np.nan for most in (0.05, 0.1)
        ]
        cells.append(f"{good[0]:.2f} / {good[1]:.2f}" if here.any() else "")
    whole = inside[:, wholebody.FACE].all(axis=1)
    lost = (whole & (found[:, wholebody.FACE, 2].mean(axis=1) < wholebody.SEEN)).sum()
    return " | ".join([*cells, str(lost)])


if __name__ == "__main__":
    main()
