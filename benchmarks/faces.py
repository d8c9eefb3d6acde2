"""How steady face crops are, by the renderer's points: each frame's own box beside steady ones.

    python benchmarks/faces.py [--more FOLDER]      # FOLDER: of tools/render_pairs.py, for the fast turns

Size: mean change of a crop's side from frame to frame. Jitter: mean second difference, in pixels of the crop (512), of nine true
points on nose and eyes; a head that turns has some by itself. Inside: share of the 68 true points in the crop, in the worst frame.
Face: the true face's side in pixels of the crop.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wanlab import config, media
from wanlab.inputs import pose_videos
from wanlab.pose import detection, face, wholebody

SAMPLE = config.ASSETS / "sample"
CLIPS = {
    "half": ("half.mp4", "half_truth.npz"),
    "driving": ("driving.mp4", "truth.npz"),
    "walk": ("walk.mp4", "walk_truth.npz"),
    "dark": ("dark.mp4", "dark_truth.npz"),
}
MORE = {"fast turns": ("turns.mp4", "turns_truth.npz"), "chibi": ("close.mp4", "close_truth.npz")}
RIGID = [27, 28, 29, 30, 33, 36, 39, 42, 45]  # of the 68: the bridge of the nose, its tip, corners of the eyes


def main() -> None:
    """Print a table in Markdown: two lines a clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--more", type=Path, help="folder of tools/render_pairs.py")
    more = parser.parse_args().more
    clips = {name: (SAMPLE / video, SAMPLE / truth) for name, (video, truth) in CLIPS.items()}
    clips |= {name: (more / video, more / truth) for name, (video, truth) in MORE.items()} if more else {}
    print("| clip | face_crop | size | jitter | inside, worst | face |\n|--|--|--|--|--|--|")
    for name, (video, truth) in clips.items():
        for line in lines(video, truth):
            print(f"| {name} | {line} |", flush=True)


def lines(video: Path, truth: Path) -> Iterator[str]:
    """Yield what is measured of each way, as cells of a table."""
    clip = media.open_clip(video)
    found = detection.detect(clip, float(clip.fps))
    with np.load(truth) as known:
        true = known["keypoints"][:, wholebody.FACE].astype(np.float64)
    ways: tuple[face.Crops, ...] = ("official", "steady")
    for crops in ways:
        boxes = pose_videos.face_boxes(found.keypoints, clip.height, clip.width, crops, found.cuts).boxes
        low, high = boxes[:, ::2].astype(float), boxes[:, 1::2].astype(float)
        shown = boxes.any(axis=1) & (true[..., 2] > 0).all(axis=1)
        sides = np.maximum(high - low, 1)
        places = (true[..., :2] - low[:, None]) / sides[:, None] * face.CROP_SIZE
        three = shown[2:] & shown[1:-1] & shown[:-2]
        steps = np.abs(np.diff(np.log(sides), axis=0))[shown[1:] & shown[:-1]]
        jitter = np.linalg.norm(np.diff(places[:, RIGID].mean(axis=1), n=2, axis=0), axis=-1)[three]
        inside = ((places >= 0) & (places <= face.CROP_SIZE)).all(axis=-1)[shown].mean(axis=1)
        size = np.sqrt(np.ptp(places[shown], axis=1).prod(axis=-1)).mean()
        yield f"{crops} | {100 * steps.mean():.2f} % | {jitter.mean():.1f} | {inside.min():.2f} | {size:.0f}"


if __name__ == "__main__":
    main()
