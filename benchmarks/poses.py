"""How near detected keypoints come to the renderer's, per part of the body.

    python benchmarks/poses.py [--hands variation_hands.mp4 hands_truth.npz]

PCK@0.05 and @0.1: share of the points that are in the image (of two people: not hidden by the other) which are found within
so much of the trunk's length; what is not drawn (score below 0.5) counts as wrong. Missing: frames that show more than five
body points of the person and have no pose. Jitter: mean length of the second differences of drawn points beyond the
truth's, in 1/1000 of the trunk. Outside: share of the points outside the image that are drawn inside.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from wanlab import config, media, pose
from wanlab.pose import detection, wholebody

SAMPLE = config.ASSETS / "sample"
CLIPS = {
    "half": ("half.mp4", "half_truth.npz", None),
    "driving": ("driving.mp4", "truth.npz", None),
    "walk": ("walk.mp4", "walk_truth.npz", None),
    "dark": ("dark.mp4", "dark_truth.npz", None),
    "two_people, 1": ("two_people.mp4", "two_people_truth.npz", 0),
    "two_people, 2": ("two_people.mp4", "two_people_truth.npz", 1),
}
PARTS = {
    "head": slice(0, 5),
    "trunk": [5, 6, 11, 12],
    "arms": slice(7, 11),
    "legs": slice(13, 17),
    "feet": wholebody.FEET,
    "face": wholebody.FACE,
    "hands": slice(91, 133),
}


def main() -> None:
    """Print a table in Markdown: a line a clip and part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hands", nargs=2, type=Path, metavar=("VIDEO", "TRUTH"), help="one more clip and its truth")
    given = parser.parse_args().hands
    clips = CLIPS | ({"hands": (*given, None)} if given else {})
    print("| clip | part | PCK@0.05 | PCK@0.1 | jitter | outside | missing frames |\n|--|--|--|--|--|--|--|")
    for name, (video, truth, person) in clips.items():
        for line in lines(SAMPLE / video, SAMPLE / truth, person):
            print(f"| {name} | {line} |", flush=True)


def lines(video: Path, truth: Path, person: int | None) -> list[str]:
    """Return what is measured of each part of the body, as cells of a table."""
    clip = media.open_clip(video)
    found = detection.detect(clip, float(clip.fps), 1 if person is None else person + 1).keypoints
    with np.load(truth) as known:
        true = known["keypoints"].astype(np.float64)
        inside = known["visible"] > 0 if "visible" in known.files else true[..., 2] > 0
    if person is not None:
        true, inside = true[person], inside[person]
    trunk = np.linalg.norm(true[:, [5, 6], :2].mean(axis=1) - true[:, [11, 12], :2].mean(axis=1), axis=-1)
    trunk = np.where(trunk > 1, trunk, np.median(trunk[trunk > 1]))[:, None]
    drawn = found[..., 2] >= pose.DRAWN_FROM
    error = np.linalg.norm(found[..., :2] - true[..., :2], axis=-1) / trunk
    shown = inside[:, :17].sum(axis=1) > 5
    missing = np.flatnonzero(shown & ~drawn[:, :17].any(axis=1)).tolist()
    off = true[..., 2] == 0
    off &= (true[:, :17, 2] > 0).any(axis=1)[:, None]
    rows = []
    for part, points in PARTS.items():
        seen = inside[:, points]
        if not seen.any():
            continue
        good = [((error[:, points] < most) & drawn[:, points])[seen].mean() for most in (0.05, 0.1)]
        steady = drawn[2:, points] & drawn[1:-1, points] & drawn[:-2, points] & seen[2:] & seen[1:-1] & seen[:-2]
        shakes = [np.linalg.norm(np.diff(each[:, points, :2], n=2, axis=0), axis=-1) for each in (found, true)]
        jitter = 1000 * ((shakes[0] - shakes[1]) / trunk[2:])[steady].mean() if steady.any() else np.nan
        beyond = drawn[:, points][off[:, points]]
        rows.append(
            f"{part} | {good[0]:.2f} | {good[1]:.2f} | {jitter:+.0f} | {beyond.mean() if len(beyond) else 0:.2f} | "
            f"{media.describe_frames(missing) if missing and part == 'head' else ''}"
        )
    return rows


if __name__ == "__main__":
    main()
