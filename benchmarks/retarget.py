"""Compare upstream's retargeting with wanlab's over pairs of rendered bodies.

    python benchmarks/retarget.py [--untuned FOLDER | --held_out FOLDER]    # FOLDER: what tools/render_pairs.py made, on which nothing was chosen

For each driver and reference: the bone error, |length drawn - length that the reference's own bone has in that pose|, as a
share of that bone, mean over the bones that show in the image, and frames; and the gap between wrist and root of the hand as a share of the reference's
trunk. Inputs are detected keypoints, as in a run; the lengths are the renderer's: of the bundled clips as seen where they are longest, of
others in space, so that a bone that points at the camera has its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanlab import config, media, pose
from wanlab.pose import detection, retarget

BONES = np.array(pose.LIMBS)
CLIPS = {  # body, clip, truth, person, and the frames that stand as a reference
    "man": ("driving.mp4", "truth.npz", None, (0, 40)),
    "man, half": ("half.mp4", "half_truth.npz", None, (0, 30)),
    "man, walking": ("walk.mp4", "walk_truth.npz", None, (20,)),
    "man in black": ("dark.mp4", "dark_truth.npz", None, (0, 30)),
    "man of two": ("two_people.mp4", "two_people_truth.npz", 0, (0, 60)),
    "woman of two": ("two_people.mp4", "two_people_truth.npz", 1, (0, 30, 70)),
}
STILLS = {"woman": ("reference.png", "reference_truth.npz")}
UNTUNED = {  # the same of tools/render_pairs.py
    "tall": ("stretch.mp4", "stretch_truth.npz", None, (6,)),
    "tall, head outside": ("headless.mp4", "headless_truth.npz", None, ()),
    "child, turning": ("turning.mp4", "turning_truth.npz", None, (20,)),
    "stout, at the edge": ("edge.mp4", "edge_truth.npz", None, (2, 16)),
    "chibi, half": ("close.mp4", "close_truth.npz", None, (8,)),
    "athlete, half": ("turns.mp4", "turns_truth.npz", None, (0,)),
}
HELD_OUT = {  # rendered after the rules had been mended by the others
    "lanky": ("lanky_moves.mp4", "lanky_moves_truth.npz", None, (4, 20)),
    "granny, half": ("granny_half.mp4", "granny_half_truth.npz", None, (2, 20)),
}
UNTUNED_STILLS = {
    name: (f"{file}.png", f"{file}_truth.npz")
    for name, file in {
        "tall": "tall_out", "child": "child_wide", "stout": "stout_up", "chibi": "chibi_high", "chibi, wide": "chibi_wide",
        "athlete, aside": "athlete_aside", "athlete, at the edge": "athlete_edge",
    }.items()
}  # fmt: skip
HELD_OUT_STILLS = {
    name: (f"{file}.png", f"{file}_truth.npz")
    for name, file in {
        "lanky": "lanky_wave", "granny": "granny_out", "granny, wide": "granny_wide", "teen": "teen_walks",
        "teen, arms up": "teen_chest",
    }.items()
}  # fmt: skip


class Body(NamedTuple):
    """A rendered person: detected, the truth ([T, 20, 2] pixels), and their bones' lengths ([19] or [T, 19], pixels)."""

    posed: retarget.Posed
    true: np.ndarray
    lengths: np.ndarray


def main() -> None:
    """Print a table in Markdown: a line a pair, then the means and the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--untuned", type=Path, help="folder of tools/render_pairs.py")
    parser.add_argument("--held_out", type=Path, help="the same folder: those rendered last, with references of both")
    arguments = parser.parse_args()
    untuned, held_out = arguments.untuned or arguments.held_out, arguments.held_out
    clips, stills = (UNTUNED, UNTUNED_STILLS) if untuned else (CLIPS, STILLS)
    if held_out:
        clips, stills = HELD_OUT, HELD_OUT_STILLS | UNTUNED_STILLS
    folder = untuned or config.ASSETS / "sample"
    bodies = {name: clip_body(folder, *of[:3]) for name, of in clips.items()}
    references = {f"{name}, frame {t}": frame_of(bodies[name], t) for name, of in clips.items() for t in of[3]}
    references |= {name: still_body(folder, *of) for name, of in stills.items()}
    print("| driver | reference | bones, official | wanlab | gap, official | wanlab |\n|--|--|--|--|--|--|")
    rows = []
    for driver, driven in bodies.items():
        for name, reference in references.items():
            same = name.split(",")[0] == driver.split(",")[0] if untuned else name.startswith(driver)
            if not same:
                row = [measure(driven, reference, method) for method in ("official", "wanlab")]
                rows.append(row)
                values = " | ".join(f"{100 * each[i]:.1f} %" for i in (0, 1) for each in row)
                print(f"| {driver} | {name} | {values} |", flush=True)
    table = np.array(rows)
    print(f"| mean of {len(rows)} | | " + " | ".join(f"{100 * v:.1f} %" for v in table.mean(axis=0).T.ravel()) + " |")
    more = (table[:, 1, 0] / table[:, 0, 0]).max() - 1
    print(
        f"\nBone error of wanlab against official, worst pair: {100 * more:+.0f} %; better in {(table[:, 1, 0] < table[:, 0, 0]).sum()}"
    )


def measure(driver: Body, reference: Body, method: retarget.Method) -> tuple[float, float]:
    """Return the mean bone error and the mean gap between wrist and hand."""
    made = retarget.retarget(driver.posed, reference.posed, method)
    body = made.body[..., :2] * (reference.posed.width, reference.posed.height)
    inside = (made.body[..., :2] >= 0).all(axis=-1) & (made.body[..., :2] <= 1).all(axis=-1)
    drawn = (made.body[:, BONES, 2] >= pose.DRAWN_FROM).all(axis=-1) & inside[:, BONES].any(axis=-1)
    ideal = lengths(driver.true) * reference.lengths / driver.lengths
    errors = np.abs(lengths(body) - ideal) / reference.lengths
    gaps = []
    trunk = reference.lengths[[6, 9]].mean()
    wrists = (retarget.R_WRIST, retarget.L_WRIST)
    hands = (made.left_hand, made.right_hand) if method == "official" else (made.right_hand, made.left_hand)
    for wrist, hand in zip(wrists, hands, strict=True):
        roots = hand[:, 0, :2] * (reference.posed.width, reference.posed.height)
        shown = (hand[:, 0, 2] >= pose.DRAWN_FROM) & (made.body[:, wrist, 2] >= pose.DRAWN_FROM)
        gaps.append(np.linalg.norm(roots - body[:, wrist], axis=-1)[shown] / trunk)
    return float(errors[drawn].mean()), float(np.concatenate(gaps).mean())


def lengths(body: np.ndarray) -> np.ndarray:
    """Return the length of each limb: [..., 20, 2] → [..., 19], in its unit."""
    return np.linalg.norm(body[..., BONES[:, 0], :] - body[..., BONES[:, 1], :], axis=-1)


def clip_body(sample: Path, video: str, truth: str, person: int | None) -> Body:
    """Detect a clip's person and read the truth; a bone is as long as where it points across the view."""
    clip = media.open_clip(sample / video)
    found = detection.detect(clip, float(clip.fps), 1 if person is None else person + 1).keypoints
    with np.load(sample / truth) as known:
        points = known["keypoints"] if person is None else known["keypoints"][person]
        longest = lengths_in_space(known)
    true = body_of(points)
    here = points[:, :17, 2].any(axis=1)
    first = int((found[:, :17, 2] >= pose.DRAWN_FROM).all(axis=1).argmax())  # upstream cannot begin without a person
    longest = true_lengths(true[here]) if longest is None else longest[first:]
    found, true = found[first:], true[first:]
    return Body(retarget.Posed(pose.to_meta(found, clip.height, clip.width), clip.height, clip.width), true, longest)


def still_body(sample: Path, image: str, truth: str) -> Body:
    """The same of a single image."""
    pixels = media.read_image(sample / image)
    height, width = pixels.shape[:2]
    found = detection.detect([pixels]).keypoints
    with np.load(sample / truth) as known:
        true = body_of(known["keypoints"].reshape(1, 133, -1))
        longest = lengths_in_space(known)
    longest = true_lengths(true) if longest is None else longest[0]
    return Body(retarget.Posed(pose.to_meta(found, height, width), height, width), true, longest)


def lengths_in_space(known: np.lib.npyio.NpzFile) -> np.ndarray | None:
    """Return how long bones are, whatever way they point: [T, 19], pixels at the person's distance; None where it is not known."""
    return lengths(body_of(known["world"], in_space=True)) * known["scale"][:, None] if "world" in known.files else None


def frame_of(body: Body, t: int) -> Body:
    """Return one frame of a clip as a reference."""
    meta = pose.Meta(*(each[[t]] for each in body.posed.meta))
    return Body(
        body.posed._replace(meta=meta), body.true[[t]], body.lengths if body.lengths.ndim == 1 else body.lengths[t]
    )


def body_of(points: np.ndarray, *, in_space: bool = False) -> np.ndarray:
    """Return [T, 20, 2], pixels, of COCO-WholeBody's points ([T, 133, 3]: x, y, score); [T, 20, 3] `in_space` (x, y, z)."""
    first, second = np.array(pose.BODY_SOURCES).T
    shown = points if in_space else points[..., :2]
    return (shown[:, first] + shown[:, second]).astype(np.float64) / 2


def true_lengths(true: np.ndarray) -> np.ndarray:
    """Return how long a body's bones are ([T, 20, 2] → [19], pixels), left and right alike: bodies are, views are not.

    A limb is as long as where it points across the view; of the head, which turns, one side grows as the other one shrinks.
    """
    each = lengths(true)
    longest = np.percentile(each, 97, axis=0)
    for pair in retarget.PAIRS:
        longest[list(pair)] = longest[list(pair)].max()
    for pair in retarget.ALIKE:
        longest[list(pair)] = np.median(each[:, list(pair)].mean(axis=1))
    return longest


if __name__ == "__main__":
    main()
