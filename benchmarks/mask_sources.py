"""How near each way of finding the person comes to the truth on the rendered clips, before and after the mask chains.

    .venv/bin/python benchmarks/mask_sources.py [CLIP …]                      # as README's table: the bundled clips
    .venv/bin/python benchmarks/mask_sources.py --sam_checkpoint nano half    # with SAM2: nano, a file or a folder

Clicked points are what a person would click: face, torso and hands of the truth's middle frame. IoU and boundary F are
against the true person, flicker is 1 - IoU with the frame before, less the truth's own, leak is the share of the mask
that is black in the background though the model is told to keep it.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from wanlab import config, mask, media
from wanlab.mask import grabcut, keypoint_prompts, metrics, sam2_weights, silhouette
from wanlab.mask.prompts import Click, Prompts
from wanlab.pose import detection

CLIPS = {"half": "half_truth.npz", "driving": "truth.npz", "dark": "dark_truth.npz", "two_people": "two_people_truth.npz", "walk": "walk_truth.npz"}  # fmt: skip
CHAINS = ("", "grow:10,blockify:32", "snap:16")
SPOTS = {"face": 0, "chest": (5, 6, 11, 12), "left hand": 9, "right hand": 10}  # of the 133 keypoints


def truth(name: str, clip: media.Clip) -> np.ndarray:
    """Return the true mask of the followed person: [T, H, W], bool."""
    with np.load(config.ASSETS / "sample" / CLIPS[name]) as known:
        masks = np.unpackbits(known["mask"], axis=-1)[..., : clip.width].astype(bool)
    return masks[0] if masks.ndim == 4 else masks  # of two people the left one is followed


def clicked(body: np.ndarray, true: np.ndarray) -> Prompts:
    """Return clicks on the middle one of the frames that show the person, where they hit them."""
    seen = np.flatnonzero((body[..., 2] > 0.3).sum(axis=1) > 5)
    t = int(seen[len(seen) // 2])
    places = [body[t, np.atleast_1d(rows), :2].mean(axis=0) for rows in SPOTS.values()]
    inside = [
        (x, y) for x, y in places if 0 <= y < true.shape[1] and 0 <= x < true.shape[2] and true[t, int(y), int(x)]
    ]
    return Prompts(tuple(Click(t, float(x), float(y), True) for x, y in inside))


def by_sam2(weights: sam2_weights.Weights, clip: media.Clip, prompts: Prompts) -> np.ndarray:
    from wanlab.mask import sam2_video

    found = np.zeros((len(clip), clip.height, clip.width), bool)
    network = sam2_video.load(weights)
    for t, covered in sam2_video.track(network, media.Frames(clip), sam2_video.plan(prompts, len(clip))):
        found[t] |= covered
    return found


def row(found: np.ndarray, true: np.ndarray) -> str:
    there = true.any(axis=(1, 2))
    flicker = metrics.change(found)[1:].mean() - metrics.change(true)[1:].mean()
    values = (
        metrics.iou(found, true)[there].mean(),
        metrics.iou(found, true)[there].min(),
        metrics.boundary_f(found, true)[there].mean(),
        flicker,
        metrics.leak_share(found)[there].mean(),
        (true & ~found).sum() / true.sum(),
    )
    return " | ".join(f"{value:.3f}" for value in values)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clips", nargs="*", default=list(CLIPS), metavar="CLIP", help=", ".join(CLIPS))
    options.add_argument("--sam_checkpoint", default="none")
    options.add_argument("--max_frames", type=int, default=None)
    options.add_argument("--sources", nargs="+", default=[""], help="only those whose names begin so, e.g. segmenter")
    args = options.parse_args()
    setting = args.sam_checkpoint if args.sam_checkpoint in ("auto", "nano", "none") else Path(args.sam_checkpoint)
    weights, _ = sam2_weights.choose(setting)
    print("| clip | source | chain | IoU | least IoU | boundary F | flicker | leak | person left out | s/frame |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.clips:
        clip = media.open_clip(config.ASSETS / "sample" / f"{name}.mp4", max_frames=args.max_frames)
        true, body = truth(name, clip)[: len(clip)], detection.detect(clip, float(clip.fps)).keypoints
        size, clicks = (clip.height, clip.width), clicked(body, true)
        ways = {
            "segmenter": lambda clip=clip, body=body: np.stack(list(silhouette.segment(clip, body))),
            "auto-keypoint, GrabCut": lambda clip=clip, body=body, size=size: np.stack(
                list(grabcut.grabcut(clip, body, keypoint_prompts.keypoint_clicks(body, *size), spread=False))
            ),
            f"{clicks.describe()}, GrabCut": lambda clip=clip, body=body, clicks=clicks: np.stack(
                list(grabcut.grabcut(clip, body, clicks))
            ),
        }
        if weights:
            prompts = keypoint_prompts.keypoint_prompts(body, *size)
            ways |= {
                f"auto-keypoint, {weights.name}": lambda clip=clip, p=prompts: by_sam2(weights, clip, p),
                f"{clicks.describe()}, {weights.name}": lambda clip=clip, p=clicks: by_sam2(weights, clip, p),
            }
        for source, find in ways.items():
            if not source.startswith(tuple(args.sources)):
                continue
            start = time.perf_counter()
            found = find()
            seconds = (time.perf_counter() - start) / len(clip)
            for chain in CHAINS:
                numbers = row(mask.apply_chain(found, chain), true)
                print(f"| {name} | {source} | {chain or 'none'} | {numbers} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
