"""What one click does to a mask, on the bundled clips: into a hand that the mask lacks, and onto the wall beside it.

    python benchmarks/clicks.py [--sam nano] [--sheet clicks.png]

Per clip: how much of the frame a click beside the hand changes, and how many hands that is; the IoU of the person after one click
into the hand, and how much of the hand it covers; how long a click takes; and how much of the hand is covered, on average, in the
12 frames to either side to which that one click is followed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import config, media, viz
from wanlab.inputs import edits
from wanlab.mask import PackedMasks, sam2_weights
from wanlab.mask.person import PersonMasker
from wanlab.mask.prompts import Click, Prompts
from wanlab.mask.regions import Mark
from wanlab.pose.wholebody import HANDS
from wanlab.widgets.live_masks import SILENT

CLIPS = {"driving.mp4": "truth", "half.mp4": "half_truth", "walk.mp4": "walk_truth", "dark.mp4": "dark_truth"}
EVERY, AROUND = 12, 12  # frames between two clicks; to which each is followed
LEAST = 200  # pixels of a hand


class Place(NamedTuple):
    """Where to click.

    Attributes:
        frame: of the clip.
        hand: number of the hand.
        inside: x, y in the hand.
        beside: x, y on the background, a third of a hand away.
    """

    frame: int
    hand: int
    inside: tuple[float, float]
    beside: tuple[float, float]


def main() -> None:
    """Print a line a clip."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--sam", default="none", help="SAM2's weights, as sam_checkpoint")
    asked.add_argument("--sheet", type=Path, help="PNG of what the clicks changed")
    options = asked.parse_args()
    weights, _ = sam2_weights.choose(options.sam)
    crops: list[np.ndarray] = []
    for name, truth_name in CLIPS.items():
        clip = media.open_clip(config.ASSETS / "sample" / name)
        with np.load(config.ASSETS / "sample" / f"{truth_name}.npz") as saved:
            truth = np.unpackbits(saved["mask"], axis=-1, count=int(saved["mask_shape"][2])).view(bool)
            keypoints = saved["keypoints"]
        rows = [
            row
            for place in places(truth, keypoints)
            for row in [measured(clip, truth, keypoints, place, weights, crops)]
        ]
        mean = np.mean(rows, axis=0)
        most = np.max(rows, axis=0)
        print(
            f"{name}: {len(rows)} hands; beside: {mean[0]:.4f} of the frame (at most {most[0]:.4f}), {mean[1]:.2f} hands (at most "
            f"{most[1]:.2f}); inside: IoU {mean[2]:.4f} to {mean[3]:.4f}, {mean[4]:.2f} of the hand, {mean[5]:.2f} hands too much; "
            f"{mean[6]:.2f} s a click; followed: {mean[7]:.2f} of the hand",
            flush=True,
        )
    if options.sheet:
        sheet = np.vstack([np.hstack(crops[i : i + 8]) for i in range(0, len(crops) // 8 * 8, 8)])
        media.write_image(options.sheet, sheet)


def measured(
    clip: media.Clip,
    truth: np.ndarray,
    keypoints: np.ndarray,
    place: Place,
    weights: sam2_weights.Weights | None,
    crops: list[np.ndarray],
) -> tuple[float, ...]:
    """Return the numbers of the two clicks at a place."""
    near = slice(max(0, place.frame - AROUND), place.frame + AROUND + 1)
    part, true, points = clip.at(near), truth[near], keypoints[near]
    t = place.frame - near.start
    hands = np.stack([hand_of(*each, place.hand) for each in zip(true, points, strict=True)])
    masker = PersonMasker(weights, False, SILENT)
    frames = media.Seeker(part)
    whole = masker.clicked(part, frames, lambda: points, PackedMasks.of(true))
    lacking = masker.clicked(part, frames, lambda: points, PackedMasks.of(true & ~hands))
    beside = whole.find(Mark(Click(t, *place.beside, True))) & ~true[t]
    decided = edits.Edits(points=Prompts((Click(t, *place.inside, True),)))
    begin = time.perf_counter()
    region = lacking.find(Mark(decided.points.clicks[0]))
    seconds = time.perf_counter() - begin
    for _ in lacking.follow(decided):
        pass
    followed = [covered(lacking.outline(decided, at), hands[at]) for at in range(len(true)) if hands[at].sum() > LEAST]
    made, before, size = lacking.outline(decided, t), true[t] & ~hands[t], hands[t].sum()
    shown = viz.overlay(frames[t], made)
    shown[beside] = shown[beside] // 2 + np.array(viz.object_colour(4), np.uint8) // 2
    x, y = (int(v) for v in place.inside)
    crops.append(cv2.resize(np.pad(shown, ((90, 90), (90, 90), (0, 0)))[y : y + 180, x : x + 180], (150, 150)))
    return (
        beside.mean(), beside.sum() / size, iou(before, true[t]), iou(made, true[t]), covered(made, hands[t]),
        float((region & ~true[t]).sum() / size), seconds, float(np.mean(followed)),
    )  # fmt: skip


def places(truth: np.ndarray, keypoints: np.ndarray) -> Iterator[Place]:
    """Yield where to click: in every hand that is seen."""
    for t in range(2, len(truth), EVERY):
        for number, rows in enumerate(HANDS):
            hand = hand_of(truth[t], keypoints[t], number)
            x, y = keypoints[t, rows][[0, 5, 9, 13, 17], :2].mean(axis=0)
            if hand.sum() < LEAST or not hand[int(y), int(x)]:
                continue
            size = float(np.sqrt(hand.sum()))
            away = cv2.distanceTransform((~truth[t]).astype(np.uint8), cv2.DIST_L2, 5)
            ys, xs = np.nonzero((away > 0.3 * size) & (away < 0.6 * size))
            nearest = int(np.hypot(xs - x, ys - y).argmin())
            yield Place(t, number, (float(x), float(y)), (float(xs[nearest]), float(ys[nearest])))


def hand_of(mask: np.ndarray, points: np.ndarray, number: int) -> np.ndarray:
    """Return the pixels of a hand: [H, W], bool."""
    hand = points[HANDS[number]]
    hull = np.zeros(mask.shape, np.uint8)
    if (hand[:, 2] >= 0.5).all():
        cv2.fillConvexPoly(hull, cv2.convexHull(hand[:, :2].astype(np.int32)), 1)  # type: ignore[call-overload]
    return (cv2.dilate(hull, np.ones((5, 5), np.uint8)) > 0) & mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over the union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def covered(mask: np.ndarray, hand: np.ndarray) -> float:
    """Return how much of a hand a mask covers."""
    return float((mask & hand).sum() / max(int(hand.sum()), 1))


if __name__ == "__main__":
    main()
