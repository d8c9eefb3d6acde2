"""Fixtures shared by all tests: outputs in a folder of the test's own, the bundled sample, ../shared where it is."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import venv
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from browsing import browser, lab, mount, page, shoot  # noqa: F401  # fixtures

from wanlab import config, inputs, media
from wanlab.mask import sam2_weights
from wanlab.official import clone
from wanlab.pose import detection, people
from wanlab.pose.detection import Detection

SHARED = config.project_root().parent / "shared"
GOLDEN_NOT_BUILT = "golden topics not built yet"  # a property that test_golden records, in whichever process it runs


def pytest_configure() -> None:
    """Set what the tests and all that they start need of the machine, before torch is loaded.

    Interrupts come through: what a script starts with & ignores them, and so would its children. Networks of the tests'
    sizes gain nothing from a second thread, and where another process has the other core, waiting for it by spinning
    made a generation of nano take 5 times the CPU time.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}.items():
        os.environ.setdefault(name, value)


def preprocessed(**more: Any) -> inputs.AnimateInputs:
    """Preprocess the bundled clip and character; `more` are further settings, or others in place of these."""
    from wanlab.steps import preprocess

    sample = config.ASSETS / "sample"
    chosen = {"driving_video": sample / "half.mp4", "reference_image": sample / "character.png", **more}
    return preprocess.work(preprocess.prepare(config.PreprocessSettings.build(chosen)))


@contextlib.contextmanager
def outputs_in(place: Path) -> Iterator[None]:
    """Set the outputs folder below `place`, for fixtures that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANLAB_OUTPUTS", str(place / "outputs"))
        yield


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty outputs folder, for its subprocesses too."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("WANLAB_OUTPUTS", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of inputs as other tools leave it, quick to generate from: moving stripes as a pose, a grey face.

    It has 9 frames of 96x64: with segments of 5 and one frame taken over two segments.
    """
    return _write_folder(tmp_path / "process_results")


@pytest.fixture
def replacing(folder: Path) -> Path:
    """Return the folder of inputs with what replace takes too: a video of noise, a box as the person's mask."""
    return _add_replace(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a `folder` for the tests of a module, which must leave it as it is."""
    return _write_folder(tmp_path_factory.mktemp("small") / "process_results")


@pytest.fixture(scope="module")
def small_replacing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `replacing` for the tests of a module, which must leave it as it is."""
    return _add_replace(_write_folder(tmp_path_factory.mktemp("small") / "process_results"))


def _write_folder(place: Path) -> Path:
    place.mkdir()
    pose = np.zeros((9, 96, 64, 3), np.uint8)
    for t in range(9):
        pose[t, :, 4 * t : 4 * t + 10] = (200, 40 * (t % 5), 60)
    media.write_image(place / "src_ref.png", np.full((96, 64, 3), (180, 90, 60), np.uint8))
    media.write_video(place / "src_pose.mp4", pose, Fraction(24))
    media.write_video(place / "src_face.mp4", np.full((9, 512, 512, 3), 127, np.uint8), Fraction(24))
    return place


def _add_replace(folder: Path) -> Path:
    video = np.random.default_rng(0).integers(0, 255, (9, 96, 64, 3), np.uint8)
    drawn = np.zeros((9, 96, 64, 3), np.uint8)
    drawn[:, 20:45, 15:35] = 255
    media.write_video(folder / "driving.mkv", video, Fraction(24), lossless=True)
    media.write_video(folder / "src_mask.mp4", drawn, Fraction(24))
    media.write_video(folder / "src_bg.mp4", video * (drawn == 0), Fraction(24))
    return folder


class Remembering:
    """A bundled network that runs once for each input: many tests look at the same frames of the same clips."""

    known: ClassVar[collections.OrderedDict[bytes, list[np.ndarray]]] = collections.OrderedDict()
    limit = 400  # inputs that all of them remember, about 1 MB each

    def __init__(self, name: str, network: Any) -> None:
        self.name, self.network, self.get_inputs = name, network, network.get_inputs

    def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        (image,) = given.values()
        key = hashlib.sha1(self.name.encode() + image.tobytes()).digest()
        if key not in self.known:
            self.known[key] = self.network.run(names, given)
        self.known.move_to_end(key)
        if len(self.known) > self.limit:
            self.known.popitem(last=False)
        return [array.copy() for array in self.known[key]]


@pytest.fixture(scope="session", autouse=True)
def remembering_networks() -> Iterator[None]:
    """Let the bundled networks remember what they found."""
    session = people.session.__wrapped__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "session", functools.cache(lambda name: Remembering(name, session(name))))
        yield


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the folder of the bundled clips and characters."""
    return config.ASSETS / "sample"


@pytest.fixture(scope="session")
def detected(sample: Path) -> Callable[[str], Detection]:
    """Return what finds the person of a bundled clip, all frames, once for all tests."""

    @functools.cache
    def detect(video: str) -> Detection:
        clip = media.open_clip(sample / video)
        return detection.detect(clip, float(clip.fps))

    return detect


@pytest.fixture(scope="session")
def tiny_sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random weights for sam2's smallest model, its config.yaml beside it, as the bundled miniature is."""
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from safetensors.torch import save_file
    from sam2.modeling.sam2_base import SAM2Base

    folder = tmp_path_factory.mktemp("tiny_sam2")
    shutil.copyfile(Path(__file__).with_name("tiny_sam2.yaml"), folder / "config.yaml")
    described = OmegaConf.load(folder / "config.yaml").model
    del described["_target_"]
    torch.manual_seed(0)
    network = SAM2Base(**instantiate(described, _convert_="all"))
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(9.0)  # an object is always there
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.fixture
def nano_sam2(tiny_sam2: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the tiny model in the bundled miniature's place."""
    monkeypatch.setattr(sam2_weights, "NANO", tiny_sam2)
    return tiny_sam2


CONTENTS = {  # the least that passes for a file of the kind: an empty table of tensors, an empty pickle, a version
    ".safetensors": (2).to_bytes(8, "little") + b"{}", ".pth": b"\x80\x02N.", ".ckpt": b"\x80\x02N.", ".pt": b"\x80\x02N.",
    ".onnx": b"\x08\x08", ".json": b"{}",
}  # fmt: skip


class Wan22(NamedTuple):
    """A clone of Wan2.2 whose scripts only take their arguments and write files, and a checkpoint of empty files."""

    folder: Path
    checkpoint: Path

    def seen(self) -> dict[str, Any]:
        """Return what the last script was given: args, env, cwd."""
        return json.loads((self.folder / "seen.json").read_text())

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that name the clone and the checkpoint."""
        return {"backend": "wan22", "wan22_dir": self.folder, "checkpoint": self.checkpoint}


@pytest.fixture
def wan22(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wan22:
    """Make a stub clone with its own environment at a place with spaces, quotes and a leading dash in its name."""
    monkeypatch.setattr(clone, "_whole", {})
    folder = tmp_path / '-the user\'s "Wan 2.2"'
    shutil.copytree(Path(__file__).with_name("wan22"), folder, ignore=shutil.ignore_patterns("packages", "__pycache__"))
    venv.EnvBuilder(symlinks=True).create(folder / ".venv")
    packages = next((folder / ".venv").glob("lib/python*/site-packages"))
    shutil.copytree(Path(__file__).with_name("wan22") / "packages", packages, dirs_exist_ok=True)
    for name in {name for names in clone.MODULES.values() for name in names} - {"torch"}:
        (packages / f"{name}.py").touch()
    checkpoint = tmp_path / "-check point"
    names = [
        *(f"process_checkpoint/{name}" for name in ("det/yolov10m.onnx", "sam2/sam2_hiera_large.pt")),
        "process_checkpoint/pose2d/vitpose_h_wholebody.onnx/end2end.onnx",
        "process_checkpoint/FLUX.1-Kontext-dev/model_index.json",
        *(clone.TEXT_ENCODER, clone.IMAGE_ENCODER, clone.VAE, clone.LORA),
        *(f"{name}/tokenizer.json" for name in (clone.TOKENIZER, clone.ITS_TOKENIZER)),
        *("config.json", "diffusion_pytorch_model-00001-of-00001.safetensors"),
    ]
    for name in names:
        (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).write_bytes(CONTENTS[Path(name).suffix])
    weights = {"blocks.0.weight": "diffusion_pytorch_model-00001-of-00001.safetensors"}
    (checkpoint / clone.INDEX).write_text(json.dumps({"weight_map": weights}))
    fill(folder / "canned", 9, 128, 160, Fraction(16))
    return Wan22(folder, checkpoint)


def fill(canned: Path, num_frames: int, height: int, width: int, fps: Fraction) -> None:
    """Write the videos that the stub's scripts hand out: a bright square that moves; the mask is that square."""
    canned.mkdir(exist_ok=True)
    square = np.zeros((num_frames, height, width, 3), np.uint8)
    for t in range(num_frames):
        square[t, height // 4 : height // 2, t * 4 : t * 4 + width // 4] = 255
    videos = {"src_pose": square, "src_bg": 120 - square // 255 * 120, "src_mask": square}
    videos["src_face"] = np.full((num_frames, 512, 512, 3), 127, np.uint8)
    for name, video in videos.items():
        media.write_video(canned / f"{name}.mp4", video, fps)
    media.write_video(canned / "generated.mp4", 255 - square, Fraction(30))
    media.write_video(canned / "black.mp4", square * 0, Fraction(30))
    (canned / "frames").write_text(str(num_frames))


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """Return the folder of the two real clips; they are third-party footage, so they are not in the project."""
    folder = SHARED / "media"
    if not folder.is_dir():
        pytest.skip("../shared/media is not on this machine")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden topics whose part is not built yet: nothing is left out in silence."""
    for report in terminalreporter.getreports("passed"):
        for name, topics in report.user_properties:
            if name == GOLDEN_NOT_BUILT and report.when == "call":
                parts = ", ".join(f"{topic}: {part}" for topic, part in topics.items())
                terminalreporter.write_line(f"{name}: {parts}")
