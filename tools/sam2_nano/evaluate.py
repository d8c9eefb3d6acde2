"""Does the miniature SAM2 meet its bars, as a user meets it: wanlab's own clicks and wanlab's own following.

    python tools/sam2_nano/evaluate.py [--weights FILE] [CLIP …] [--held_out 3] [--quick] [--no_keypoints] [--max_frames N]

Bars, on the mean of each clip: one click in the deepest of the person 0.85; followed through the clip from that click 0.80.
The exit status is 1 where one is missed. Rows without a bar are for information: HARD clips, random clicks, key points'
prompts; `--quick` leaves the last two out. The clicks' means come with their standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanlab import config, media
from wanlab.mask import keypoint_prompts, sam2_image, sam2_video, sam2_weights
from wanlab.mask.prompts import Click, Prompts
from wanlab.pose import detection

CLIPS = {"half": "half_truth", "driving": "truth", "dark": "dark_truth", "two_people": "two_people_truth", "walk": "walk_truth"}  # fmt: skip
HARD = ("two_people", "walk")  # people who cross, who leave and come back, from the side: no bar
CLICKED, FOLLOWED = 0.85, 0.80
SEED = 987_000


class Case(NamedTuple):
    """A film whose truth is known: the film, masks [T, H, W], bool, and whether its key points can be found."""

    name: str
    film: media.Clip | np.ndarray
    truth: np.ndarray
    has_keypoints: bool


def samples(names: list[str], max_frames: int | None) -> Iterator[Case]:
    for name in names:
        film = media.open_clip(config.ASSETS / "sample" / f"{name}.mp4", max_frames=max_frames)
        with np.load(config.ASSETS / "sample" / f"{CLIPS[name]}.npz") as known:
            masks = np.unpackbits(known["mask"], axis=-1)[..., : film.width].astype(bool)
        people = masks if masks.ndim == 4 else masks[None]
        for k, mask in enumerate(people):
            yield Case(f"{name} {['left', 'right'][k]}" if len(people) > 1 else name, film, mask[: len(film)], k == 0)


def held_out(count: int, frames: int) -> Iterator[Case]:
    """Render clips that training has not seen; the largest person of the first frame is meant."""
    sys.path.insert(0, str(Path(__file__).parent))
    import data
    import torch

    made = 0
    for seed in range(SEED, SEED + 10 * count):
        if made == count:
            return
        torch.manual_seed(seed)
        clips = data.make_clips(1, frames, 256, "cpu", 1)
        area = data.areas(clips.numbers[0, 0]) * data.is_person("cpu")
        if area.max() < 0.02:
            continue
        made += 1
        film = clips.pictures[0].permute(0, 2, 3, 1).contiguous().numpy()
        yield Case(f"render {seed - SEED}", film, (clips.numbers[0] == area.argmax()).numpy(), False)


def deepest(mask: np.ndarray) -> tuple[float, float]:
    """Return the point farthest from the mask's outline and the picture's border: x, y."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x), float(y)


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    union = (found | truth).sum()
    return float((found & truth).sum() / union) if union else 1.0


def clicked(
    weights: sam2_weights.Weights, case: Case, seen: np.ndarray, looks: int, others: int = 5
) -> tuple[list[float], list[float]]:
    """Return the IoUs from one click on single frames: the deepest point, and some random ones each."""
    clicks = sam2_image.Sam2Clicks(sam2_video.load(weights), media.Frames(case.film))
    random = np.random.default_rng(0)
    deep, anywhere = [], []
    for t in seen[np.unique(np.linspace(0, len(seen) - 1, looks).astype(int))].tolist():
        ys, xs = np.nonzero(case.truth[t])
        picked = random.integers(len(xs), size=others)
        for k, (x, y) in enumerate(
            [deepest(case.truth[t]), *zip(xs[picked].tolist(), ys[picked].tolist(), strict=True)]
        ):
            mask = clicks.mask(t, Prompts((Click(t, float(x), float(y), True),)))
            (anywhere if k else deep).append(iou(mask, case.truth[t]))
    return deep, anywhere


def followed(weights: sam2_weights.Weights, case: Case, prompts: Prompts) -> tuple[np.ndarray, float]:
    """Return the masks of the whole film from some prompts, and the seconds a frame."""
    frames = media.Frames(case.film)
    found = np.zeros(case.truth.shape, bool)
    start = time.perf_counter()
    for t, mask in sam2_video.track(sam2_video.load(weights), frames, sam2_video.plan(prompts, len(frames))):
        found[t] |= mask
    return found, (time.perf_counter() - start) / len(frames)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clips", nargs="*", default=list(CLIPS), metavar="CLIP", help=", ".join(CLIPS))
    options.add_argument(
        "--weights", type=Path, default=sam2_weights.NANO, help="model.safetensors, its config.yaml beside it"
    )
    options.add_argument("--held_out", type=int, default=3, help="rendered clips of 77 frames")
    options.add_argument("--no_keypoints", action="store_true")
    options.add_argument("--max_frames", type=int, default=None)
    options.add_argument("--looks", type=int, default=12, help="frames of a clip that are clicked on")
    options.add_argument("--quick", action="store_true", help="only the rows with bars, one render")
    args = options.parse_args()
    sam2_weights.NANO = args.weights.resolve()
    if args.quick:
        args.held_out, args.no_keypoints = min(args.held_out, 1), True
    weights = sam2_weights.read(sam2_weights.NANO)
    missed = []
    print("| clip | prompt | IoU, mean | worst | bar | wrongly there | s/frame |")
    print("| --- | --- | --- | --- | --- | --- | --- |")

    def row(case: Case, what: str, scores: list[float], bar: float | None = None, more: str = " | ") -> None:
        mean = float(np.mean(scores))
        if bar is not None and mean < bar:
            missed.append(f"{case.name}, {what}: {mean:.3f} < {bar}")
        print(f"| {case.name} | {what} | {mean:.3f} | {min(scores):.3f} | {bar or ''} | {more} |", flush=True)

    def follow(case: Case, what: str, prompts: Prompts, bar: float | None) -> None:
        found, seconds = followed(weights, case, prompts)
        there = case.truth.any(axis=(1, 2))
        scores = [iou(found[t], case.truth[t]) for t in np.flatnonzero(there)]
        row(case, what, scores, bar, f"{found[~there].any(axis=(1, 2)).sum()} of {(~there).sum()} | {seconds:.2f}")

    for case in (*samples(args.clips, args.max_frames), *held_out(args.held_out, args.max_frames or 77)):
        clicked_bar, followed_bar = (None, None) if case.name.startswith(HARD) else (CLICKED, FOLLOWED)
        area = case.truth.mean(axis=(1, 2))
        seen = np.flatnonzero(area > 0.002)
        if not len(seen):
            continue
        deep, anywhere = clicked(weights, case, seen, args.looks, 0 if args.quick else 5)
        spread = float(np.std(deep) / len(deep) ** 0.5)
        row(case, f"a click, the deepest point (± {spread:.3f})", deep, clicked_bar)
        if anywhere:
            row(case, "a click, any point", anywhere)
        first, clear = int(seen[0]), int(next(t for t in seen if area[t] > 0.5 * np.median(area[seen])))
        for t in (
            [clear] if args.quick else sorted({first, clear})
        ):  # where somebody walks in, the first frame shows a hand
            x, y = deepest(case.truth[t])
            what = f"followed from a click on frame {t}"
            follow(case, what, Prompts((Click(t, x, y, True),)), followed_bar if t == clear else None)
        if case.has_keypoints and not args.no_keypoints and isinstance(case.film, media.Clip):
            body = detection.detect(case.film, float(case.film.fps)).keypoints
            prompts = keypoint_prompts.keypoint_prompts(body, case.film.height, case.film.width)
            if any(prompts):
                follow(case, f"followed from {prompts.describe()} (key points)", prompts, None)
    print(*(f"missed: {each}" for each in missed), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
