"""Write a folder of inputs: pairs of master and export, masks, facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from wanlab import files, media, runs
from wanlab.files import targets
from wanlab.inputs.folder import EXPORTS, FACTS, FILES, REFERENCE
from wanlab.mask.packed import FINAL, Masks, bits_of, read_masks
from wanlab.runs import artefacts


def write_pair(run: runs.Run, name: str, frames: Iterable[np.ndarray], fps: Fraction) -> None:
    """Write the video `name` into a run, of [H, W, 3] uint8 RGB frames: the lossless master and upstream's mp4."""
    export, master = EXPORTS[name]
    count = media.write_pair(run.path(master), run.path(export), frames, fps)
    for artefact, file in ((f"{name}_master", master), (name, export)):
        run.add_artefact(artefact, file, frames=count, fps=str(fps))


def write_video(
    run: runs.Run, name: str, file: str, frames: Iterable[np.ndarray], fps: Fraction, *, lossless: bool = False,
    audio: media.AudioStretch | None = None,
) -> None:  # fmt: skip
    """Write one video, frames of [H, W, 3], uint8 RGB, into a run and record it."""
    count = media.write_video(run.path(file), frames, fps, lossless=lossless, audio=audio)
    run.add_artefact(name, file, frames=count, fps=str(fps))


def write_masks(run: runs.Run, person: Masks, final: Masks, fps: Fraction) -> None:
    """Write `mask.npz`, the person's mask and the final one, and `src_mask.mp4`."""
    shares = [float(mask.mean()) for mask in final]
    empty = [t for t, share in enumerate(shares) if not share]
    if empty:
        run.add_notes(f"the mask is empty in {media.describe_frames(empty)}: the video is kept as it is there")
    save_masks(run.folder, person, final, fps)
    export, master = EXPORTS["mask_video"]
    run.add_artefact("mask_video", export, frames=len(final), fps=str(fps))
    run.add_artefact("mask", master, empty=empty, share=round(float(np.mean(shares)), 4))


def save_masks(folder: Path, person: Masks, final: Masks, fps: Fraction) -> None:
    """Write the files of `write_masks` into a folder; both masks are [T, H, W], bool."""
    export, master = (folder / file for file in EXPORTS["mask_video"])
    files.write_arrays(master, **{"mask": bits_of(person), FINAL: bits_of(final)}, shape=np.array(final.shape))
    write_mask_video(export, final, fps)


def restore_exports(run: runs.Run, wrong: Mapping[str, artefacts.Fault]) -> dict[str, artefacts.Fault]:
    """Make damaged exports of a completed run again from their masters; return the damaged artefacts that are left.

    `note_restored` is to follow, when the others are there again.
    """
    spoiled, left = {fault.file for fault in wrong.values()}, dict(wrong)
    masters = dict(EXPORTS.values())
    for name, fault in wrong.items():
        master = masters.get(fault.file)
        if master is None or master in spoiled or not run.path(master).is_file():
            continue
        print(f"note: in {run.id} {fault}: it is made again from {master}", flush=True)
        if master.endswith(".npz"):
            write_mask_video(
                run.path(fault.file),
                read_masks(run.path(master), FINAL),
                Fraction(run.manifest["artefacts"][name]["fps"]),
            )
        else:
            clip = media.open_clip(run.path(master))
            media.write_video(run.path(fault.file), clip, clip.fps)
        del left[name]
    return left


def write_mask_video(path: Path, final: Masks, fps: Fraction) -> None:
    """Write a mask, [T, H, W], bool, as a video that is white where the image is generated anew."""
    white = (np.repeat(frame[..., None], 3, axis=2).astype(np.uint8) * 255 for frame in final)
    media.write_video(path, white, fps)


def write_facts(
    folder: Path, *, mode: str, clip_height: int, clip_width: int, run: str, parent: str | None, **more: Any
) -> dict[str, Any]:
    """Write `inputs.json` for the finished files of `folder` and return it; it holds no absolute path.

    Args:
        folder: holds `src_ref.png` and the exports with their masters.
        mode: animate or replace.
        clip_height, clip_width: size of the working clip in pixels.
        run: id of the run that made these inputs.
        parent: id of the run whose inputs were changed into these, None where they are made from a video.
        more: further facts (no_person, cuts, mask_chain, …).
    """
    exports = {}
    for name, (export, master) in EXPORTS.items():
        if (folder / export).is_file():
            info = media.probe_video(folder / export)
            exports[export] = {
                "name": name,
                "master": master,
                "sha256": files.sha256(folder / export),
                "num_frames": info.num_frames,
                "height": info.height,
                "width": info.width,
                "fps": str(info.fps),
            }
    facts = {
        "schema": 1,
        "mode": mode,
        "clip_height": clip_height,
        "clip_width": clip_width,
        "reference_sha256": files.sha256(folder / REFERENCE),
        "exports": exports,
        "run": run,
        "parent": parent,
        "files": {name: files.sha256(folder / name) for name in FILES if (folder / name).is_file()},
        **more,
    }
    files.write_json(folder / FACTS, targets.sealed(facts))
    return facts
