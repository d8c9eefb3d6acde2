"""AnimateInputs: the folder between preprocessing and generation.

It holds upstream's file names, so that the official `generate.py` reads it too, and beside them lossless masters:
H.264 softens a mask and rings its edge. A folder of upstream's or ComfyUI's, without masters, is read as well.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wanlab import config, media, runs

REFERENCE = "src_ref.png"
EXPORTS = {  # wanlab's name: upstream's file, lossless master
    "pose_video": ("src_pose.mp4", "pose.mkv"),
    "face_video": ("src_face.mp4", "face.mkv"),
    "background_video": ("src_bg.mp4", "background.mkv"),
    "mask_video": ("src_mask.mp4", "mask.npz"),
}
REPLACE_ONLY = ("background_video", "mask_video")
DRIVING = "driving.mkv"  # the working clip itself
KEYPOINTS = "keypoints.npz"
FACTS = "inputs.json"
FACE_SIZE = 512  # pixels, the side of a face crop in upstream's folders

UPSTREAM_NAMES = {  # upstream's and the earlier scripts' words: wanlab's
    "video_path": "driving_video",
    "refer_path": "reference_image",
    "resolution_area": "resolution",
    "src_root_path": "inputs",
    "ckpt_dir": "checkpoint",
    "save_file": "output_path",
    "sample_steps": "num_inference_steps",
    "sample_guide_scale": "guidance_scale",
    "sample_shift": "shift",
    "sample_solver": "solver",
    "base_seed": "seed",
    "frame_num": "segment_frame_length",  # upstream passes it on as clip_len
    "clip_len": "segment_frame_length",
    "refert_num": "prev_segment_conditioning_frames",
}


@dataclasses.dataclass(frozen=True)
class AnimateInputs:
    """What one folder of inputs holds; videos are opened on demand.

    Attributes:
        folder: where the files are.
        mode: "replace" where background and mask are there, else "animate".
        files: the file in use for each name: the master, or the export that the user replaced.
        num_frames, height, width, fps: of the pose video, and so of the result.
        facts: what `inputs.json` says; empty for a folder of other tools.
        notes: what a reader must know, e.g. that a swapped export won.
    """

    folder: Path
    mode: Literal["animate", "replace"]
    files: Mapping[str, Path]
    num_frames: int
    height: int
    width: int
    fps: Fraction
    facts: Mapping[str, Any]
    notes: tuple[str, ...]

    def reference_image(self) -> np.ndarray:
        """Return the character: [H, W, 3], 0 to 255, uint8 RGB."""
        return media.read_image(self.files["reference_image"])

    def video(self, name: str) -> media.Clip:
        """Return the pose, face or background video as a clip of [H, W, 3], 0 to 255, uint8 RGB frames."""
        return media.open_clip(self.files[name])

    def clips(self) -> dict[str, media.Clip]:
        """Return the videos that there are, by a short name, in the order of a contact sheet."""
        shown = {"driving": self.folder / DRIVING}
        shown |= {name.removesuffix("_video"): self.folder / export for name, (export, _) in EXPORTS.items()}
        return {name: media.open_clip(path) for name, path in shown.items() if path.is_file()}

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return the frames `indices` (in any order, repeated or not) of a video: [n, H, W, 3], 0 to 255, uint8 RGB."""
        clip = self.video(name)
        wanted, order = np.unique(indices, return_inverse=True)
        return media.Clip(clip.info, clip.fps, clip.source_indices[wanted], ()).read()[order]

    def mask(self) -> np.ndarray:
        """Return [T, H, W], bool; True where the picture is generated anew."""
        file = self.files["mask_video"]
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as packed:
                width = int(packed["shape"][2])
                return np.unpackbits(packed["mask_final"], axis=-1)[..., :width].astype(bool)
        return np.stack([frame[..., 0] >= 128 for frame in media.open_clip(file)])  # H.264 leaves soft values

    def driving(self) -> media.Clip | None:
        """Return the working clip, None in a folder of other tools."""
        path = self.folder / DRIVING
        return media.open_clip(path) if path.is_file() else None

    def keypoints(self) -> np.ndarray | None:
        """Return [T, 133, 3], float32, x, y, score in pixels of the working clip; None in a folder of other tools."""
        path = self.folder / KEYPOINTS
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as saved:
            return saved["keypoints"]

    def reference_keypoints(self) -> np.ndarray | None:
        """Return the character's own [133, 3], float32, in pixels of the reference; None in a folder of other tools."""
        path = self.folder / KEYPOINTS
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as saved:
            return saved["reference_keypoints"]

    def sha256(self) -> str:
        """Return one hash over the files in use: equal contents, equal hash."""
        return config.digest({name: runs.file_sha256(path) for name, path in sorted(self.files.items())})


def write_masks(path: Path, person: np.ndarray, final: np.ndarray) -> None:
    """Write `mask.npz`: the person's mask and the one after the chain, both [T, H, W], bool."""
    np.savez_compressed(
        path, mask=np.packbits(person, axis=-1), mask_final=np.packbits(final, axis=-1), shape=np.array(person.shape)
    )


def write_facts(
    folder: Path, *, mode: str, clip_height: int, clip_width: int, parent: str, **more: Any
) -> dict[str, Any]:
    """Write `inputs.json` for the finished files of `folder` and return it; it holds no absolute path.

    Args:
        folder: holds `src_ref.png` and the exports with their masters.
        mode: animate or replace.
        clip_height, clip_width: size of the working clip in pixels.
        parent: id of the run that made the inputs.
        more: further facts (people, cuts, …).
    """
    exports = {}
    for name, (export, master) in EXPORTS.items():
        if (folder / export).is_file():
            info = media.probe_video(folder / export)
            exports[export] = {
                "name": name,
                "master": master,
                "sha256": runs.file_sha256(folder / export),
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
        "reference_sha256": runs.file_sha256(folder / REFERENCE),
        "exports": exports,
        "parent": parent,
        **more,
    }
    runs.write_json(folder / FACTS, facts)
    return facts


def read(folder: Path) -> AnimateInputs:
    """Read a folder of inputs: a run of 10_preprocess, a copy of one, or one of upstream's or ComfyUI's.

    Raises:
        FileNotFoundError: if the folder or a file is missing; the message names the command that makes it.
        ValueError: if the files do not fit each other.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"inputs folder {folder} does not exist; make one: wanlab preprocess --driving_video … --reference_image …"
        )
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8")) if (folder / FACTS).is_file() else {}
    files, notes = {"reference_image": folder / REFERENCE}, []
    for name, (export, master) in EXPORTS.items():
        recorded = facts.get("exports", {}).get(export)
        replaced = (
            recorded is not None
            and (folder / export).is_file()
            and runs.file_sha256(folder / export) != recorded["sha256"]
        )
        if replaced:
            notes.append(f"{export} was replaced since wanlab wrote it: it is used instead of {master}")
        if recorded and not replaced and (folder / master).is_file():
            files[name] = folder / master
        elif (folder / export).is_file():
            files[name] = folder / export
    for name in ("reference_image", "pose_video", "face_video"):
        if name not in files or not files[name].is_file():
            file = REFERENCE if name == "reference_image" else EXPORTS[name][0]
            raise FileNotFoundError(
                f"{file} is missing in {folder}; a folder of inputs holds {REFERENCE}, src_pose.mp4 and src_face.mp4: wanlab preprocess makes them"
            )
    both = [name for name in REPLACE_ONLY if name in files]
    if len(both) == 1:
        missing = EXPORTS[next(name for name in REPLACE_ONLY if name not in files)][0]
        raise FileNotFoundError(
            f"{missing} is missing in {folder}; replace mode needs both src_bg.mp4 and src_mask.mp4"
        )
    infos = {name: media.probe_video(path) for name, path in files.items() if path.suffix in (".mp4", ".mkv")}
    pose = infos["pose_video"]
    _check(infos, pose)
    if facts and "reference_sha256" in facts and runs.file_sha256(folder / REFERENCE) != facts["reference_sha256"]:
        notes.append(f"{REFERENCE} was replaced since wanlab wrote it")
    return AnimateInputs(
        folder=folder,
        mode="replace" if both else "animate",
        files=files,
        num_frames=pose.num_frames,
        height=pose.height,
        width=pose.width,
        fps=pose.fps,
        facts=facts,
        notes=tuple(notes),
    )


def find(place: Path | str) -> tuple[AnimateInputs, str | None]:
    """Return the inputs that `place` means, and the id of the run that made them if it is known.

    Args:
        place: a folder, or `latest`: the newest completed preprocessing.
    """
    if str(place) == "latest":
        run = runs.find_run("latest", "preprocess")
        return read(run.folder), run.id
    folder = config.absolute(place)
    inputs = read(folder if folder.is_dir() else runs.find_run(place, "preprocess").folder)
    return inputs, inputs.facts.get("parent")


def _check(infos: Mapping[str, media.VideoInfo], pose: media.VideoInfo) -> None:
    """Refuse videos whose sizes or counts do not fit each other."""
    if pose.height % 16 or pose.width % 16:
        near = f"{max(16, round(pose.height / 16) * 16)}x{max(16, round(pose.width / 16) * 16)}"
        raise ValueError(
            f"src_pose.mp4 must have sides that are multiples of 16, got {pose.height}x{pose.width} (height x width); use {near}"
        )
    for name, info in infos.items():
        if info.num_frames != pose.num_frames:
            raise ValueError(
                f"{info.path.name} must have as many frames as {pose.path.name}, got {info.num_frames}; use {pose.num_frames}"
            )
        if name in REPLACE_ONLY and (info.height, info.width) != (pose.height, pose.width):
            raise ValueError(
                f"{info.path.name} must have the size of {pose.path.name}, got {info.height}x{info.width}; use {pose.height}x{pose.width}"
            )
        if name == "face_video" and (info.height, info.width) != (FACE_SIZE, FACE_SIZE):
            raise ValueError(
                f"{info.path.name} must be {FACE_SIZE}x{FACE_SIZE} pixels, got {info.height}x{info.width}; crop faces to that"
            )
