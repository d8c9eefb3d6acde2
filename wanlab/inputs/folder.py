"""AnimateInputs: the folder between preprocessing and generation.

It holds upstream's file names, so that the official `generate.py` reads it too, and beside them lossless masters:
H.264 softens a mask and rings its edge. A folder of upstream's or ComfyUI's, without masters, is read as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wanlab import config, files, media, runs
from wanlab.files import fingerprints, targets
from wanlab.inputs import masters
from wanlab.mask import read_mask
from wanlab.mask.packed import FINAL, MaskReader, PackedMasks, read_masks
from wanlab.media import resize
from wanlab.pose import face
from wanlab.runs import artefacts

REFERENCE = "src_ref.png"
EXPORTS = {  # wanlab's name: upstream's file, lossless master
    "pose_video": ("src_pose.mp4", "pose.mkv"),
    "face_video": ("src_face.mp4", "face.mkv"),
    "background_video": ("src_bg.mp4", "background.mkv"),
    "mask_video": ("src_mask.mp4", masters.MASK),
}
REPLACE_ONLY = ("background_video", "mask_video")
DRIVING = "driving.mkv"  # the working clip itself
KEYPOINTS = masters.KEYPOINTS
FACTS = "inputs.json"
EDITED = ("refer_edit.png", "tpl_edit.png")  # what FLUX made of the reference and of the video's first frame
FILES = (REFERENCE, DRIVING, KEYPOINTS, *EDITED, *(file for pair in EXPORTS.values() for file in pair))
READ_TOO = (DRIVING, KEYPOINTS, EXPORTS["mask_video"][1], *EDITED)  # what steps read beside the current files
DECIDING = (
    "clip_height",
    "clip_width",
    "mask_chain",
    "no_person",
    "no_face",
    "cuts",
    "own",
    "preview",
)  # facts that do
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
        files: the current file for each name: the master, or the export that the user replaced.
        num_frames, height, width, fps: of the pose video, and so of the result.
        facts: the content of `inputs.json`; empty for a folder of other tools.
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

    @property
    def preview(self) -> tuple[str, ...]:
        """What these inputs lack as those of a preview, a phrase each; empty where they are complete."""
        return tuple(self.facts.get("preview", ()))

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

    def edited(self) -> dict[str, np.ndarray]:
        """Return the images that FLUX edited for retargeting, [H, W, 3], uint8 RGB each, by name; often none."""
        edited = (self.folder / name for name in EDITED)
        return {file.stem: media.read_image(file) for file in edited if file.is_file()}

    def mask(self) -> np.ndarray:
        """Return [T, H, W], bool; True where the image is generated."""
        return self.packed_mask()[:]

    def packed_mask(self) -> PackedMasks:
        """Return what `mask` does, packed: a thousandth of the memory."""
        file = self.files["mask_video"]
        return read_masks(file, FINAL) if file.suffix == ".npz" else read_mask(file).masks

    def mask_reader(self) -> MaskReader:
        """Return what reads the masks of `mask` a stretch at a time."""
        return MaskReader(self.files["mask_video"])

    def person_mask(self) -> np.ndarray | None:
        """Return the person's mask before any chain, [T, H, W], bool; None in animate and in a folder of other tools."""
        packed = self.packed_person_mask()
        return None if packed is None else packed[:]

    def packed_person_mask(self) -> PackedMasks | None:
        """Return what `person_mask` does, packed."""
        path = self.folder / EXPORTS["mask_video"][1]
        return read_masks(path, "mask") if path.is_file() else None

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
        return self._beside_keypoints("reference_keypoints")

    def people_boxes(self) -> np.ndarray | None:
        """Return the box of each numbered person, [P, T, 4], float32: x1, y1, x2, y2 in pixels of the working clip.

        All 0 where a person is not seen; None in a folder of other tools or of an earlier wanlab.
        """
        return self._beside_keypoints("people_boxes")

    def face_boxes(self) -> np.ndarray | None:
        """Return the box of each face crop, [T, 4]: x1, x2, y1, y2 in pixels of the working clip; None as `people_boxes`."""
        return self._beside_keypoints("face_boxes")

    def drawn_keypoints(self) -> np.ndarray | None:
        """Return the retargeted keypoints that `src_pose.mp4` shows, [T, 133, 3], float32, in pixels of the result.

        None where the skeletons are the driver's own.
        """
        return self._beside_keypoints("drawn_keypoints")

    def stands(self) -> dict[str, np.ndarray]:
        """Return the first skeleton as the driver has it and retargeted, [133, 3] each, in pixels of the result, by name.

        None of them where the skeletons are the driver's own.
        """
        after, before = self.drawn_keypoints(), self.keypoints()
        if after is None or before is None:
            return {}
        seen = (after[:, :17, 2] > 0).sum(axis=1)
        t = int(np.flatnonzero(seen >= seen.max() / 2)[0])
        return {f"frame {t}, the driver's": self.letterboxed(before[t]), f"frame {t}, retargeted": after[t]}

    def letterboxed(self, points: np.ndarray) -> np.ndarray:
        """Move keypoints ([..., 133, 3]) from the working clip to where the letterbox has them, in pixels of the result."""
        height, width = self.facts["clip_height"], self.facts["clip_width"]
        return resize.letterbox_geometry(height, width, self.height, self.width).place(points, height, width)

    def _beside_keypoints(self, name: str) -> np.ndarray | None:
        path = self.folder / KEYPOINTS
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as saved:
            return saved[name] if name in saved.files else None

    def fingerprint(self, name: str) -> str:
        """Return the SHA-256 of the current file for a name."""
        return fingerprints.of_file(self.files[name])

    def sha256(self) -> str:
        """Return one hash over all that a step reads: the current files, those of READ_TOO, and the facts of DECIDING."""
        read = {**self.files, **{name: self.folder / name for name in READ_TOO if (self.folder / name).is_file()}}
        decided = {name: self.facts[name] for name in DECIDING if name in self.facts}
        return config.digest({"files": {n: fingerprints.of_file(path) for n, path in read.items()}, "facts": decided})

    def has_hash(self, sha256: str) -> bool:
        """Return whether a run's manifest means these inputs; older manifests hold a hash over the current files alone."""
        earlier = config.digest({name: self.fingerprint(name) for name in self.files})
        return sha256 in (self.sha256(), earlier)


def record(run: runs.Run) -> None:
    """Record the files of a run's inputs that are not recorded yet: those that were copied from other inputs."""
    recorded = {entry["file"] for entry in run.manifest["artefacts"].values()}
    names = {"reference_image": REFERENCE, "driving_video": DRIVING, "keypoints": KEYPOINTS}
    names |= {Path(name).stem: name for name in EDITED}
    for name, (export, master) in EXPORTS.items():
        names |= {name: export, f"{name}_master": master}
    for name, file in names.items():
        path = run.path(file)
        if path.is_file() and file not in recorded:
            info = media.probe_video(path) if path.suffix in (".mp4", ".mkv") else None
            run.add_artefact(name, file, **({"frames": info.num_frames, "fps": str(info.fps)} if info else {}))


def note_restored(run: runs.Run, names: Iterable[str]) -> None:
    """Record artefacts of a run's inputs that were made again, in `inputs.json` too; exports that were swapped stay so."""
    entries, restored = run.manifest["artefacts"], set(names)
    if not restored:
        return
    facts = json.loads(run.path(FACTS).read_text(encoding="utf-8"))
    facts["run"] = run.id
    for entry in (entries[name] for name in restored):
        if entry["file"] in facts.get("files", ()):
            facts["files"][entry["file"]] = files.sha256(run.path(entry["file"]))
        if entry["file"] in facts["exports"]:
            facts["exports"][entry["file"]]["sha256"] = files.sha256(run.path(entry["file"]))
    if any(entries[name]["file"] == FACTS for name in restored):
        for name, entry in entries.items():
            if entry["file"] in facts["exports"] and name not in restored:
                facts["exports"][entry["file"]]["sha256"] = entry.get("sha256", "")
    files.write_json(run.path(FACTS), targets.sealed(facts))
    artefacts.record_again(run, sorted(restored | {"inputs"} & set(entries)))


def read(folder: Path | str) -> AnimateInputs:
    """Read a folder of inputs: a run of 10_preprocess, a copy of one, or one of upstream's or ComfyUI's.

    Raises:
        FileNotFoundError: if the folder or a file is missing; the message names the command that makes it.
        ValueError: if the files do not fit each other, or inputs.json is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"inputs folder {folder} does not exist; make one: wanlab preprocess --driving_video … --reference_image …"
        )
    facts = _read_facts(folder)
    if facts.get("unfinished"):
        raise FileNotFoundError(
            f"inputs folder {folder} is not complete, a copy into it was interrupted; give the command with --save_path again"
        )
    used, notes = _in_use(folder, facts)
    replacing = _is_replace(folder, used)
    infos = {name: media.probe_video(path) for name, path in used.items() if path.suffix in (".mp4", ".mkv")}
    pose = infos["pose_video"]
    _check(infos, pose)
    _check_masters(folder, facts, pose)
    if facts and "reference_sha256" in facts and files.sha256(folder / REFERENCE) != facts["reference_sha256"]:
        notes.append(f"{REFERENCE} was replaced since wanlab wrote it")
    return AnimateInputs(
        folder=folder,
        mode="replace" if replacing else "animate",
        files=used,
        num_frames=pose.num_frames,
        height=pose.height,
        width=pose.width,
        fps=pose.fps,
        facts=facts,
        notes=tuple(notes),
    )


def _in_use(folder: Path, facts: Mapping[str, Any]) -> tuple[dict[str, Path], list[str]]:
    """Return the current file by name, the master or the export that was replaced, and a sentence for each of those."""
    used, notes = {"reference_image": folder / REFERENCE}, []
    for name, (export, master) in EXPORTS.items():
        recorded = facts.get("exports", {}).get(export)
        replaced = (
            recorded is not None and (folder / export).is_file() and files.sha256(folder / export) != recorded["sha256"]
        )
        if replaced:
            notes.append(f"{export} was replaced since wanlab wrote it: it is used instead of {master}")
        if recorded and not replaced and (folder / master).is_file():
            used[name] = folder / master
        elif (folder / export).is_file():
            used[name] = folder / export
    return used, notes


def _is_replace(folder: Path, used: Mapping[str, Path]) -> bool:
    """Return whether a folder holds inputs of replace.

    Raises:
        FileNotFoundError: if a file is missing that its mode takes.
    """
    for name in ("reference_image", "pose_video", "face_video"):
        if name not in used or not used[name].is_file():
            file = REFERENCE if name == "reference_image" else EXPORTS[name][0]
            raise FileNotFoundError(
                f"{file} is missing in {folder}; a folder of inputs holds {REFERENCE}, src_pose.mp4 and src_face.mp4: wanlab preprocess makes them"
            )
    missing = [EXPORTS[name][0] for name in REPLACE_ONLY if name not in used]
    if len(missing) == 1:
        raise FileNotFoundError(
            f"{missing[0]} is missing in {folder}; replace mode needs both src_bg.mp4 and src_mask.mp4"
        )
    return not missing


def find(place: Path | str, *, previews: bool = False) -> tuple[AnimateInputs, str | None]:
    """Return the inputs that `place` means, and the id of the run that made them if it is known.

    Args:
        place: a folder, or `latest`: those of the newest completed preprocessing or inspection that wrote some.
        previews: the latest may be those of a preview.
    """
    inputs = read(locate(place, previews=previews))
    return inputs, inputs.facts.get("run")


def locate(place: Path | str, *, previews: bool = False) -> Path:
    """Return the folder of inputs that `place` means; arguments and errors: as `find`."""
    folder = config.absolute(place)
    if str(place) == "latest" or not folder.is_dir():
        folder = runs.find_run(place, "preprocess", holding=FACTS, previews=previews).folder
    return folder


def of_run(run: runs.Run) -> AnimateInputs:
    """Return the inputs that a run read; where they have changed since, one of their notes names it.

    Raises:
        FileNotFoundError: if they are gone, or if only others that happen to have their name are there.
    """
    place = run.given()["inputs"]
    places = [config.absolute(place), *(config.outputs_root() / parent for parent in run.manifest["parents"])]
    places.insert(1, config.outputs_root() / Path(place).name)  # outputs may have been moved
    found = []
    for folder in dict.fromkeys(places):
        with contextlib.suppress(FileNotFoundError, ValueError):
            found.append(read(folder))
            if found[-1].has_hash(run.manifest["inputs"]["inputs"]["sha256"]):
                return found[-1]
    known = [each for each in found if run.knows_place("inputs") or each.folder.parent == config.outputs_root()]
    if known:
        note = (
            f"the inputs {config.shown(known[0].folder)} are not as {run.id} read them: they are shown as they are now"
        )
        return dataclasses.replace(known[0], notes=(*known[0].notes, note))
    what = f"the inputs {run.manifest['settings']['inputs']} of {run.id} are gone"
    if not run.knows_place("inputs"):
        what = (
            f"the inputs {run.manifest['settings']['inputs']} of {run.id} lie outside the project, and this copy of the run does not record where"
            + (", only others of that name are here" if found else "")
        )
    raise FileNotFoundError(
        f"{what}; use them where the run was made, or name them to make it again: wanlab {run.manifest['step']} --inputs FOLDER"
    )


def origins(run_id: str | None) -> targets.Kept:
    """Return the files that the run and its parents were made from, by place where that is known and by content."""
    places: dict[str, Path] = {}
    contents: dict[str, str] = {}
    wanted, seen = [run_id], set()
    while wanted:
        run_id = wanted.pop()
        if run_id is None or run_id in seen:
            continue
        seen.add(run_id)
        try:
            run = runs.find_run(run_id)
        except (FileNotFoundError, RuntimeError):  # removed since, or damaged
            continue
        wanted += run.manifest["parents"]
        for name in (name for name, facts in run.manifest["inputs"].items() if "file" in facts):
            contents[run.manifest["inputs"][name]["sha256"]] = f"the {name}"
            if run.knows_place(name):
                places[f"the {name} of {run_id}"] = config.absolute(run.given()[name])
    return targets.Kept(places, contents)


def _read_facts(folder: Path) -> dict[str, Any]:
    """Return the content of `inputs.json`, empty without one."""
    if not (folder / FACTS).is_file():
        return {}
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        exports = facts.get("exports", {})
        if all(isinstance(export["sha256"], str) for export in exports.values()):
            return config.printable(facts)  # they are said in notes
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        pass
    raise ValueError(
        f"{FACTS} must be as wanlab wrote it, got a damaged one in {folder}; preprocess again, or remove it: the folder is then "
        "read as one of another tool"
    )


def check_video(name: str, info: media.VideoInfo, *, num_frames: int, height: int, width: int, fps: Fraction) -> None:
    """Refuse a video that does not fit.

    Raises:
        ValueError: another count, size or rate (more than 1 % apart); `name` is what the message calls it.
    """
    if info.num_frames != num_frames:
        raise ValueError(f"{name} must have {num_frames} frames, got {info.num_frames}; use {num_frames}")
    if (info.height, info.width) != (height, width):
        raise ValueError(
            f"{name} must have the size {height}x{width} (height x width), got {info.height}x{info.width}; use {height}x{width}"
        )
    if abs(info.fps / fps - 1) > 0.01:
        raise ValueError(
            f"{name} must have {media.describe_rate(fps)} frames per second, got {media.describe_rate(info.fps)}; use {fps}"
        )


def _check_masters(folder: Path, facts: Mapping[str, Any], pose: media.VideoInfo) -> None:
    """Refuse key points and masks that do not fit the pose video, or whose values cannot be meant."""
    keypoints, packed = folder / KEYPOINTS, folder / EXPORTS["mask_video"][1]
    if keypoints.is_file():
        height, width = (facts.get(f"clip_{side}", getattr(pose, side)) for side in ("height", "width"))
        masters.check_keypoints(keypoints, pose.num_frames, height, width)
    if packed.is_file():
        masters.check_mask(packed, pose.num_frames, pose.height, pose.width)


def _check(infos: Mapping[str, media.VideoInfo], pose: media.VideoInfo) -> None:
    """Refuse videos of a folder whose sizes, counts or rates do not fit its pose video."""
    if pose.height % 16 or pose.width % 16:
        near = f"{max(16, round(pose.height / 16) * 16)}x{max(16, round(pose.width / 16) * 16)}"
        raise ValueError(
            f"src_pose.mp4 must have sides that are multiples of 16, got {pose.height}x{pose.width} (height x width); use {near}"
        )
    for name, info in infos.items():
        height, width = (face.CROP_SIZE, face.CROP_SIZE) if name == "face_video" else (pose.height, pose.width)
        check_video(info.path.name, info, num_frames=pose.num_frames, height=height, width=width, fps=pose.fps)
