"""Which way finds the person, what a run says about it, and that SAM2 never runs twice for the same question.

SAM2's part is played by a tiny network of random weights in the bundled miniature's place.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import config, files, inputs, mask, media, runs
from wanlab.mask import grabcut, person, sam2_video, sam2_weights
from wanlab.mask.prompts import Click, Prompts
from wanlab.pose import detection
from wanlab.steps import inspect, preprocess

FRAMES = 4
NOSE = {"x": 96, "y": 70, "frame": 2}


def preprocessed(sample: Path, **more: object) -> tuple[inputs.AnimateInputs, runs.Run]:
    chosen = {
        "driving_video": sample / "half.mp4",
        "reference_image": sample / "character.png",
        "mode": "replace",
        "max_frames": FRAMES,
        "mask_chain": "square:300",  # random weights may cover next to nothing, and an empty mask is refused
        **more,
    }
    run = preprocess.prepare(config.PreprocessSettings.build(chosen))
    return preprocess.work(run), run


def inspected(folder: Path, **more: object) -> tuple[inspect.Inspection, runs.Run]:
    chosen = {"inputs": folder, "compare": ["square:300"], "mask_chain": "square:300", "auto_keypoint": False, **more}
    run = inspect.prepare(config.InspectSettings.build(chosen))
    return inspect.work(run), run


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[list[sam2_video.Pass]]:
    """Return the list that every call of SAM2 is written into."""
    calls: list[list[sam2_video.Pass]] = []
    original = sam2_video.track
    monkeypatch.setattr(sam2_video, "track", lambda net, frames, passes: calls.append(passes) or original(net, frames, passes))  # fmt: skip
    return calls


@pytest.fixture
def full_size(nano_sam2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `auto` find the tiny network as if it were full-size weights."""
    monkeypatch.setattr(sam2_weights, "_best", lambda _: (sam2_weights.read(sam2_weights.NANO), ()))


@pytest.fixture
def points_file(tmp_path: Path) -> Path:
    (tmp_path / "points.json").write_text(json.dumps({"positive": [NOSE]}))
    return tmp_path / "points.json"


def test_another_chain_never_runs_sam2_again(
    outputs: Path, sample: Path, full_size: None, tracked: list, points_file: Path
) -> None:
    first, run = preprocessed(sample)
    assert len(tracked) == 1
    assert run.manifest["settings"]["mask_source"] == "keypoints"
    sha = sam2_weights.read(sam2_weights.NANO).sha256()
    assert run.manifest["models"]["SAM2 nano"] == sha
    assert any(f"comes from SAM2 nano (model.safetensors, SHA-256 {sha[:12]}) with 8 points on 1 frame" in note for note in run.manifest["notes"])  # fmt: skip
    second, again = preprocessed(sample, mask_chain="square:301")
    assert again.id != run.id
    np.testing.assert_array_equal(first.person_mask(), second.person_mask())
    np.testing.assert_array_equal(second.mask(), mask.apply_chain(first.person_mask(), "square:301"))
    assert any("its masks are used again" in note for note in again.manifest["notes"])
    inspected(first.folder)
    assert len(tracked) == 1
    seen, _ = inspected(first.folder, points=points_file)
    assert len(tracked) == 2
    _, other = inspected(first.folder, points=points_file, mask_chain="square:302")
    inspected(other.folder, points=points_file, mask_chain="square:303")  # of the new inputs: the same video
    assert len(tracked) == 2
    np.testing.assert_array_equal(seen.masks("outline"), inspect.work(other).masks("outline"))


def test_other_prompts_or_weights_are_another_question(
    outputs: Path, sample: Path, nano_sam2: Path, tracked: list, points_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessed(sample, mask_source=points_file, sam_checkpoint="nano")
    points_file.write_text(json.dumps({"positive": [{**NOSE, "x": 97}]}))
    preprocessed(sample, mask_source=points_file, sam_checkpoint="nano")
    assert len(tracked) == 2
    assert [each.first for each in tracked[0]] == [2]
    monkeypatch.setattr(sam2_weights.Weights, "sha256", lambda _: "of other weights")
    preprocessed(sample, mask_source=points_file, sam_checkpoint="nano")
    assert len(tracked) == 3
    assert len(list((outputs / person.KEPT).glob("*.npz"))) == 3


def test_damaged_masks_that_were_kept_are_found_again(
    outputs: Path, sample: Path, nano_sam2: Path, tracked: list, points_file: Path
) -> None:
    how = {"mask_source": points_file, "sam_checkpoint": "nano"}
    first, _ = preprocessed(sample, **how)
    (kept,) = (outputs / person.KEPT).glob("*.npz")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    second, run = preprocessed(sample, **how, fresh=True)
    assert len(tracked) == 2
    assert any("its masks were damaged: again" in note for note in run.manifest["notes"])
    np.testing.assert_array_equal(first.person_mask(), second.person_mask())
    assert kept.read_bytes() == whole


def test_masks_that_were_kept_are_read_only_whole(tmp_path: Path) -> None:
    path, bits, size = tmp_path / "kept.npz", np.arange(3 * 8 * 2, dtype=np.uint8).reshape(3, 8, 2), (3, 8, 16)
    files.write_arrays(path, array=bits)
    np.testing.assert_array_equal(person._kept(path, *size)[:], np.unpackbits(bits, axis=-1))
    assert person._kept(path, 3, 8, 17) is None
    files.write_arrays(path, array=bits.astype(np.int16))
    assert person._kept(path, *size) is None
    files.write_arrays(path, array=bits)
    whole = path.read_bytes()
    for spoilt in (b"", whole[:-30], whole[:90] + b"xxxx" + whole[94:], b"no archive"):
        path.write_bytes(spoilt)
        assert person._kept(path, *size) is None
    with zipfile.ZipFile(path, "w") as archive:  # it says 7.5 GB and holds 48 bytes
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (7500, 1000, 1000)}
        )
        archive.writestr("array.npy", header.getvalue() + bits.tobytes())
    assert person._kept(path, 7500, 1000, 8000) is None
    files.write_arrays(path, other=bits)
    assert person._kept(path, *size) is None
    assert person._kept(tmp_path / "none.npz", *size) is None


def test_the_miniature_serves_whoever_names_it(
    outputs: Path, sample: Path, nano_sam2: Path, tracked: list, points_file: Path
) -> None:
    ways = {
        "auto": ({}, "segmenter (BlazePose and U2-Net)"),
        "keypoints": ({"mask_source": "keypoints"}, "GrabCut with"),
        "none": (
            {"mask_source": points_file, "sam_checkpoint": "none"},
            "GrabCut with 1 point on 1 frame (points.json: frame 2)",
        ),
        "clicks": ({"mask_source": points_file}, "GrabCut with 1 point on 1 frame (points.json: frame 2)"),
        "clicks by name": ({"mask_source": points_file, "sam_checkpoint": "nano"}, "SAM2 nano"),
        "by name": ({"sam_checkpoint": "nano"}, "with 8 points on 1 frame (keypoints)"),
        "official": ({"mask_source": "official", "sam_checkpoint": "nano"}, "(official)"),
    }
    for name, (more, words) in ways.items():
        _, run = preprocessed(sample, **more)
        assert any(words in note for note in run.manifest["notes"]), name
        assert ("SAM2 nano" in run.manifest["models"]) == (name in ("clicks by name", "by name", "official"))
    assert [each[0].backwards for each in tracked] == [True, True, False]


def test_inspection_looks_at_upstream_s_prompts_through_sam2(
    outputs: Path, sample: Path, full_size: None, tracked: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = preprocessed(sample, mask_source="segmenter")
    monkeypatch.setattr(grabcut, "grabcut", lambda *_, **__: pytest.fail("GrabCut was run"))
    monkeypatch.setattr(detection, "detect", lambda *_: pytest.fail("detected again"))
    seen, run = inspected(made.folder, auto_keypoint=True)
    assert len(tracked) == 1
    assert len(tracked[0][0].prompts.clicks) == 8  # four frames have one key frame
    assert "auto-keypoint" in seen.names
    assert any("SAM2 nano" in note for note in run.manifest["notes"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask_source": "official"}, "mask_source official needs SAM2's weights, which are not here; use keypoints"),
        ({"mask_source": "segmenter", "sam_checkpoint": "nano"}, "sam_checkpoint must be left out where SAM2 takes no"),
        (
            {"mode": "animate", "mask_chain": None, "sam_checkpoint": "none"},
            "sam_checkpoint must be left out in animate",
        ),
        ({"sam_checkpoint": "nowhere.pt"}, "SAM2 weights nowhere.pt do not exist; get some"),
        (
            {"sam_checkpoint": "README.md"},
            "sam_checkpoint README.md must be a complete PyTorch checkpoint of plain tensors, got other bytes",
        ),
        ({"compile_sam": "perhaps"}, "compile_sam must be"),
    ],
)
def test_refusals_come_before_a_run_is_made(
    outputs: Path, sample: Path, nano_sam2: Path, more: dict[str, object], message: str
) -> None:
    with pytest.raises((config.SettingsError, ValueError, FileNotFoundError), match=message):
        preprocessed(sample, **more)
    assert not list(outputs.glob("*"))


def test_a_stopped_pass_leaves_no_masks_behind(
    outputs: Path, sample: Path, nano_sam2: Path, points_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = sam2_video.Predictor.follow
    calls = []

    def interrupted(*how: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return followed(*how, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sam2_video.Predictor, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preprocessed(sample, mask_source=points_file, sam_checkpoint="nano")
    assert [path.name for path in (outputs / person.KEPT).iterdir() if path.suffix != ".lock"] == []
    assert runs.list_runs()[0].status == "cancelled"
    made, _ = preprocessed(sample, mask_source=points_file, sam_checkpoint="nano")
    assert made.person_mask() is not None


class Listening:
    """Keeps what is worked on, and how much of it."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.progress = self

    def iterate(self, items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
        self.stages.append((what, total))
        yield from items

    def add_notes(self, *notes: str) -> None:
        self.notes += notes


def test_grabcut_and_the_segmenter_run_once_for_a_clip(sample: Path, outputs: Path) -> None:
    clip = media.open_clip(sample / "half.mp4", max_frames=3)
    keypoints, click = detection.detect(clip, 16.0).keypoints, Prompts((Click(0, 192, 300, True),))

    def mask(source: Any) -> tuple[np.ndarray, list[tuple[str, int]]]:
        heard = Listening()
        masker = person.PersonMasker(None, "auto", heard, keep_probabilities=True)
        return masker.mask(source, clip, keypoints)[:], heard.stages

    first, stages = mask(click)
    assert stages == [("segment", 3), ("mask", 3)]
    again, stages = mask(click)  # another masker, as in another run
    assert stages == []
    np.testing.assert_array_equal(again, first)
    assert mask("keypoints")[1] == [("mask", 3)]  # other prompts, the same probabilities
    for path in (outputs / person.KEPT).glob("*.npz"):
        path.write_bytes(b"damaged")
    again, stages = mask(click)
    assert stages == [("segment", 3), ("mask", 3)]
    np.testing.assert_array_equal(again, first)
