"""Fixtures shared by all tests: outputs in a folder of the test's own, the bundled sample, ../shared where it is."""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, media, sam_models

SHARED = config.project_root().parent / "shared"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty outputs folder, for its subprocesses too."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("WANLAB_OUTPUTS", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of inputs as other tools leave it, quick to generate from: moving stripes as a pose, a grey face.

    It has 9 frames: with segments of 5 and one frame taken over two segments.
    """
    place = tmp_path / "process_results"
    place.mkdir()
    pose = np.zeros((9, 128, 96, 3), np.uint8)
    for t in range(9):
        pose[t, :, 8 * t : 8 * t + 20] = (200, 40 * (t % 5), 60)
    media.write_image(place / "src_ref.png", np.full((128, 96, 3), (180, 90, 60), np.uint8))
    media.write_video(place / "src_pose.mp4", pose, Fraction(24))
    media.write_video(place / "src_face.mp4", np.full((9, 512, 512, 3), 127, np.uint8), Fraction(24))
    return place


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the folder of the bundled clips and characters."""
    return config.ASSETS / "sample"


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
    monkeypatch.setattr(sam_models, "NANO", tiny_sam2)
    return tiny_sam2


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """Return the folder of the two real clips; they are third-party footage, so they are not in the project."""
    folder = SHARED / "media"
    if not folder.is_dir():
        pytest.skip("../shared/media is not on this machine")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden topics whose part is not built yet: nothing is left out in silence."""
    golden = sys.modules.get("test_golden")
    if golden is not None:
        names = ", ".join(f"{topic}: {part}" for topic, part in golden.NOT_BUILT.items())
        terminalreporter.write_line(f"golden topics not built yet: {names}")
