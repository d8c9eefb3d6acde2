"""Damaged and edited input of every kind ends in a correct result or in a sentence of wanlab's own, never in Python's error.

Seeds are fixed: the case that fails is named by kind and number. 30 cases run by default, all of them with `-m slow`.
"""

from __future__ import annotations

import copy
import io
import json
import random
import resource
import shutil
import time
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from wanlab import comfyui, config, inputs, media, runs
from wanlab.inputs import edits
from wanlab.mask import prompts
from wanlab.model import checkpoints
from wanlab.runs import manage
from wanlab.steps import report

QUICK, ALL = 30, 360  # cases of the default run, and of the slow one
SECONDS, MEMORY = 60, 4 * 2**30  # a case takes no more
FRAMES, HEIGHT, WIDTH = 9, 128, 96
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 10**30, float("inf"), float("nan"), "", " ", "x", "1", "²", "../../x", "\0", "é" * 300,
    [], {}, [[]], [None], {"a": {}}, [1, 2, 3], "1e400", "\ud83d",
)  # fmt: skip


class Kind(NamedTuple):
    """Input of a kind: `make` writes a sound one into a folder and returns its file, `change` damages it, `use` reads it."""

    make: Callable[[Path], Path]
    change: Callable[[Path, random.Random], None]
    use: Callable[[Path], Any]


def damaged_bytes(path: Path, dice: random.Random) -> None:
    """Cut a file off, turn bytes over, blank a stretch or put one in."""
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 3)):
        at, length = dice.randrange(len(content) or 1), dice.randint(1, 400)
        match dice.randrange(4):
            case 0:
                del content[at:]
            case 1:
                for n in range(at, min(at + length, len(content))):
                    content[n] ^= dice.randrange(256)
            case 2:
                content[at : at + length] = bytes(length)
            case _:
                content[at:at] = dice.randbytes(length)
    path.write_bytes(bytes(content))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every value inside a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found += [(value, key), *places(inside)]
    return found


def edited_json(path: Path, dice: random.Random) -> None:
    """Replace, remove or double values of a JSON file, as an editor or another version might; sometimes its bytes."""
    if dice.random() < 0.15:
        damaged_bytes(path, dice)
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(dice.randint(1, 2)):
        known = places(content)
        if not known:
            break
        container, key = dice.choice(known)
        match dice.randrange(4):
            case 0 | 1:
                container[key] = copy.deepcopy(dice.choice(ODD))
            case 2:
                del container[key]
            case _ if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _:
                container[f"{key}_"] = container.pop(key)
    if dice.random() < 0.05:
        content = dice.choice(ODD)
    path.write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")


def edited_arrays(path: Path, dice: random.Random) -> None:
    """Change shape, kind or values of the arrays of a .npz file; sometimes its bytes."""
    if dice.random() < 0.2:
        damaged_bytes(path, dice)
        return
    with np.load(path) as saved:
        arrays = {name: saved[name] for name in saved.files}
    name = dice.choice(sorted(arrays))
    array = arrays[name]
    match dice.randrange(7):
        case 0:
            arrays[name] = array[: len(array) // 2]
        case 1:
            arrays[name] = array.astype(np.float64) * float(dice.choice(("inf", "nan", "1e30", "-1")))
        case 2:
            arrays[name] = array.reshape(-1)
        case 3:
            arrays[name] = np.array(["text"])
        case 4:
            del arrays[name]
        case 5:
            arrays[name] = np.zeros_like(array)
        case _:
            arrays[name] = array[..., :2]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def edited_text(path: Path, dice: random.Random) -> None:
    """Put an odd value, another encoding or other bytes into a params file."""
    match dice.randrange(4):
        case 0:
            damaged_bytes(path, dice)
        case 1:
            path.write_bytes(path.read_text(encoding="utf-8").encode(dice.choice(("utf-16", "cp1252", "utf-8-sig"))))
        case _:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            content[dice.choice(sorted(content))] = copy.deepcopy(dice.choice(ODD[:-1]))
            path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def make_video(place: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 48, 64, 3), np.uint8).repeat(2, 1).repeat(2, 2)
    media.write_video(place / "video.mp4", frames, Fraction(16))
    return place / "video.mp4"


def make_image(place: Path) -> Path:
    media.write_image(place / "image.png", np.random.default_rng(0).integers(0, 255, (32, 24, 3), np.uint8))
    return place / "image.png"


def make_points(place: Path) -> Path:
    path = place / "points.json"
    box = {"frame": 2, "x0": 10, "y0": 20, "x1": 50, "y1": 90}
    clicks = {"positive": [{"x": 30, "y": 40}, {"x": 31.5, "y": 42, "frame": 3}], "negative": [{"x": 5, "y": 6}]}
    path.write_text(json.dumps({"width": WIDTH, "height": HEIGHT, **clicks, "boxes": [box]}))
    return path


def make_edits(place: Path) -> Path:
    path = place / "edits.json"
    stroke = {"frame": 1, "add": True, "radius": 8.0, "path": [[20.0, 30.0], [60.0, 30.0]]}
    pose = [{"do": "hide", "part": "left hand", "first": 2, "last": 3}]
    edits.update(path, strokes=[stroke], pose=pose, mask_chain="grow:10,blockify:32", stretch=[0, 4])
    return path


def make_params(place: Path) -> Path:
    path = place / "params.yaml"
    chosen = {"prompt": "a dance", "num_inference_steps": 4, "seed": 5, "shift": 5.0, "segment_frame_length": 21}
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    return path


def make_workflow(place: Path) -> Path:
    """Write a small workflow in the prompt form: file, text, sampler, model."""
    nodes = {
        "1": {"class_type": "VHS_LoadVideo", "inputs": {"video": "film.mp4", "force_rate": 16, "frame_load_cap": 33}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dance", "clip": ["9", 0]}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurred", "clip": ["9", 0]}},
        "5": {"class_type": "WanAnimateToVideo", "inputs": {
            "positive": ["3", 0], "negative": ["4", 0], "reference_image": ["2", 0], "width": 832, "height": 480,
            "length": 77, "continue_motion_max_frames": 5, "pose_video": ["1", 0]}},
        "6": {"class_type": "KSampler", "inputs": {
            "model": ["8", 0], "positive": ["5", 0], "negative": ["5", 1], "latent_image": ["5", 2], "seed": 2**40,
            "steps": 6, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}},
        "8": {"class_type": "ModelSamplingSD3", "inputs": {"shift": 8.0, "model": ["10", 0]}},
        "9": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5.safetensors", "type": "wan"}},
        "10": {"class_type": "UNETLoader", "inputs": {"unet_name": "animate.safetensors"}},
        "11": {"class_type": "SaveVideo", "inputs": {"video": ["6", 0]}},
    }  # fmt: skip
    path = place / "workflow.json"
    path.write_text(json.dumps(nodes))
    return path


def make_manifest(place: Path) -> Path:
    """Copy the finished generation that tests keep, with the inputs it was made from, into the outputs."""
    earlier = Path(__file__).parent / "steps" / "earlier" / "outputs"
    shutil.copytree(earlier, config.outputs_root(), dirs_exist_ok=True)
    return next(config.outputs_root().glob("*_generate_*")) / "manifest.json"


def make_facts(place: Path) -> Path:
    make_manifest(place)
    return next(config.outputs_root().glob("*_preprocess_*")) / "inputs.json"


def make_keypoints(place: Path) -> Path:
    return make_facts(place).with_name("keypoints.npz")


def make_checkpoint(place: Path) -> Path:
    """Make a checkpoint of links to nano's files, but for one of its descriptions or tables of tensors."""
    folder = place / "nano"
    shutil.copytree(checkpoints.NANO, folder, copy_function=lambda source, to: Path(to).symlink_to(source))
    return folder


def changed_checkpoint(folder: Path, dice: random.Random) -> None:
    names = [
        "model_index.json",
        "wanlab.json",
        *(f"{part}/config.json" for part in ("vae", "transformer", "text_encoder")),
    ]
    path = folder / dice.choice([*names, "vae/diffusion_pytorch_model.safetensors"])
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    (edited_json if path.suffix == ".json" else damaged_bytes)(path, dice)


def look_at_runs(path: Path) -> None:
    manage.overview()
    manage.compare(*(manage.named(path.parent.name) for _ in range(2)))
    report.gather(report.prepare(config.ReportSettings.build({"run": path.parent.name})))


def look_at_inputs(path: Path) -> None:
    found = inputs.read(path.parent)
    found.keypoints()
    found.reference_keypoints()
    found.sha256()
    runs.list_runs()


KINDS = {
    "video": Kind(make_video, damaged_bytes, lambda path: [frame.shape for frame in media.open_clip(path)]),
    "image": Kind(make_image, damaged_bytes, lambda path: media.open_image(path).pixels.shape),
    "points": Kind(make_points, edited_json, lambda path: prompts.read_prompts(path, FRAMES, HEIGHT, WIDTH)),
    "edits": Kind(make_edits, edited_json, lambda path: edits.read(path, FRAMES, HEIGHT, WIDTH).describe()),
    "keypoints": Kind(make_keypoints, edited_arrays, look_at_inputs),
    "facts": Kind(make_facts, edited_json, look_at_inputs),
    "manifest": Kind(make_manifest, edited_json, look_at_runs),
    "params": Kind(make_params, edited_text, lambda path: config.GenerateSettings.build(config.read_params([path]))),
    "workflow": Kind(make_workflow, edited_json, lambda path: comfyui.read(path)),
    "checkpoint": Kind(
        make_checkpoint, changed_checkpoint, lambda folder: checkpoints.find(folder).faults({"shift": 5.0})
    ),
}


def outcome(kind: Kind, path: Path) -> Exception | None:
    """Return what reading raised, None if it ended in a result."""
    try:
        kind.use(path)
    except Exception as error:
        return error
    return None


def is_a_sentence(error: Exception) -> bool:
    """Return whether wanlab itself raised an error, and says more than a word."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(frames[-1].filename).is_relative_to(config.PACKAGE)
    return ours and isinstance(error, ValueError | OSError | RuntimeError) and len(str(error).split()) > 4


@pytest.mark.parametrize("kind", KINDS)
def test_sound_input_of_each_kind_is_taken(kind: str, tmp_path: Path, outputs: Path) -> None:
    KINDS[kind].use(KINDS[kind].make(tmp_path))


def cases() -> list[Any]:
    names = list(KINDS)
    return [
        pytest.param(names[n % len(names)], n // len(names), marks=[pytest.mark.slow] if n >= QUICK else [])
        for n in range(ALL)
    ]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("kind", "seed"), cases())
def test_damaged_input_ends_in_a_result_or_a_sentence(kind: str, seed: int, tmp_path: Path, outputs: Path) -> None:
    chosen = KINDS[kind]
    path = chosen.make(tmp_path)
    chosen.change(path, random.Random(f"{kind} {seed}"))
    began = time.monotonic()
    error = outcome(chosen, path)
    assert error is None or is_a_sentence(error), "".join(traceback.format_exception(error))
    assert time.monotonic() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < MEMORY
