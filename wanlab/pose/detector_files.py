"""The checkpoint's detectors on disk: a network that finds people (YOLOv10m) and one for a person's keypoints (ViTPose-H).

They lie in `process_checkpoint` of the official checkpoint, where the pose network is a folder of 394 files, or in ComfyUI's
`models/detection`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from wanlab import config
from wanlab.files import fingerprints, weights

PLACES = (  # of the person detector and of the pose network, in a folder that is named
    ("process_checkpoint/det", "process_checkpoint/pose2d"),
    ("det", "pose2d"),
    ("models/detection", "models/detection"),
    ("detection", "detection"),
    (".", "."),
)
BOXES, POSE = "*[yY][oO][lL][oO]*.onnx", "*[vV][iI][tT][pP][oO][sS][eE]*.onnx"
HUGE = ("vitpose_h", "vitpose-h")  # how the largest one's name begins, the one that the model was trained with
GRAPH = "end2end.onnx"  # in a pose network that is a folder
DOWNLOAD = 'hf download Wan-AI/Wan2.2-Animate-14B --include "process_checkpoint/det/*" "process_checkpoint/pose2d/*" --local-dir Wan2.2-Animate-14B'

BOTH = "yolov10m.onnx and vitpose_h_wholebody.onnx (in process_checkpoint/det and pose2d, or models/detection)"


class Detectors(NamedTuple):
    """The two networks' files.

    Attributes:
        folder: that was searched.
        boxes: the person detector's graph.
        pose: the pose network's graph; its weights may lie beside it.
    """

    folder: Path
    boxes: Path
    pose: Path

    def names(self) -> str:
        """Return what the two are called, for messages."""
        return f"{self.boxes.name} and {_name(self.pose)}"

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of each by name; that of the pose network covers the files of its weights."""
        return {
            "person detector": fingerprints.of_files(self.boxes.parent, _files(self.boxes)),
            "pose network": fingerprints.of_files(self.pose.parent, _files(self.pose)),
        }


def choose(
    setting: Path | Literal["auto", "bundled"], *, checkpoint: Path | None = None
) -> tuple[Detectors | None, tuple[str, ...]]:
    """Return the files that the setting `detectors` means, None for the bundled networks, and what a reader must know.

    `auto` takes the first complete pair in `config.weight_folders`, else the bundled networks.

    Args:
        setting: auto, bundled, or a folder: a checkpoint's, ComfyUI's, or that of the files.
        checkpoint: another folder to look into.

    Raises:
        FileNotFoundError: if a named folder does not hold both.
        ValueError: if one of a named folder's is damaged; the message says how and what to do.
    """
    if setting == "bundled":
        return None, ()
    if setting != "auto":
        found, faults = _look(config.absolute(setting))
        if found is None and not faults:
            raise FileNotFoundError(
                f"detectors must be a folder with {BOTH}, got {config.typed(setting)}, which holds neither; get them: {DOWNLOAD}"
            )
        if found is None:
            raise ValueError(f"detectors must be complete, but {'; '.join(faults)}; get them again: {DOWNLOAD}")
        return found, ()
    notes = []
    for folder in config.weight_folders(checkpoint):
        found, faults = _look(folder)
        if found is not None:
            return found, (*notes, f"the detectors of {config.shown(folder)}/ are used: {found.names()}")
        notes += [
            f"the detectors of {config.shown(folder)}/ are passed over: {fault}; get them again: {DOWNLOAD}"
            for fault in faults
        ]
    return None, (
        *notes,
        "the bundled detectors are used (MoveNet, BlazePose): the checkpoint's, YOLOv10m and ViTPose-H, are not here; "
        f"get them: {DOWNLOAD}",
    )


def overview() -> Iterator[tuple[str, str]]:
    """Yield the row (name, what is known of it) of the detectors that `auto` takes."""
    found, notes = choose("auto")
    yield "detectors", "; ".join([*([f"{config.typed(found.folder)}"] if found else []), *notes])


def _look(folder: Path) -> tuple[Detectors | None, list[str]]:
    """Return the pair in a folder, None where it is not complete, and what is wrong with what is there."""
    for of_boxes, of_pose in PLACES:
        boxes = sorted((folder / of_boxes).glob(BOXES))
        pose = sorted((folder / of_pose).glob(POSE), key=lambda path: not path.name.lower().startswith(HUGE))
        if not boxes and not pose:
            continue
        if not boxes or not pose:
            lacking = (
                "the person detector (yolov10m.onnx)" if not boxes else "the pose network (vitpose_h_wholebody.onnx)"
            )
            return None, [f"{lacking} is missing beside {(boxes + pose)[0].name}"]
        graphs = boxes[0], pose[0] / GRAPH if pose[0].is_dir() else pose[0]
        faults = [f"{_name(path)} {fault}" for path in graphs if (fault := weights.fault(path))]
        return (None, faults) if faults else (Detectors(folder, *graphs), [])
    return None, []


def _files(graph: Path) -> list[Path]:
    """Return a graph's file and those of its weights beside it."""
    return [graph, *sorted({graph.parent / name for name in weights.external_files(graph)})]


def _name(graph: Path) -> str:
    return f"{graph.parent.name}/{graph.name}" if graph.name == GRAPH else graph.name
