"""SAM2's weights: every published model told by its keys, other files refused by name, the order in which files are found."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save_file
from sam2.modeling.sam2_base import SAM2Base

from wanlab import config
from wanlab.config import paths as config_paths
from wanlab.mask import sam2_weights

CONFIGS = sorted((sam2_weights._package() / "configs").glob("sam2*/sam2*_hiera_*.yaml"))
CONFIGS = [path for path in CONFIGS if "training" not in path.parent.name]
WORDS = {"b+": "base_plus", "l": "large", "s": "small", "t": "tiny"}


def network(path: Path) -> SAM2Base:
    described = OmegaConf.load(path).model
    del described["_target_"]
    return SAM2Base(**instantiate(described, _convert_="all"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write SAM2 tiny as Meta does and SAM2.1 tiny as ComfyUI has it; return the files by name."""
    folder = tmp_path_factory.mktemp("published")
    half = {key: value.half() for key, value in network(CONFIGS[7]).state_dict().items()}
    torch.save({"model": network(CONFIGS[3]).state_dict()}, folder / "sam2_hiera_tiny.pt")
    save_file(half, folder / "sam2.1_hiera_tiny-fp16.safetensors")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder: nothing of this machine's is found."""
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path)
    return tmp_path


def test_there_are_eight_published_models() -> None:
    assert [path.stem for path in CONFIGS] == [f"{v}_hiera_{s}" for v in ("sam2", "sam2.1") for s in WORDS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_published_model_is_told_by_its_keys(path: Path) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in network(path).state_dict().items()}
    name, code = sam2_weights.recognise(shapes, "file.pt")
    version, _, size = path.stem.rsplit("_", 2)
    assert (name, code) == (f"{version.upper()} {WORDS[size]}", size)


def test_both_layouts_are_read_and_built(published: dict[str, Path]) -> None:
    for file, name in (("sam2_hiera_tiny.pt", "SAM2 tiny"), ("sam2.1_hiera_tiny-fp16.safetensors", "SAM2.1 tiny")):
        weights = sam2_weights.read(published[file])
        assert (weights.name, weights.config.is_file()) == (name, True)
        made = sam2_weights.build(weights, SAM2Base, "cpu")
        assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}
        assert not made.training
        assert weights.sha256()[:12] in weights.describe()
        stored = sam2_weights._tensors(weights.file)["no_obj_ptr"].float()
        torch.testing.assert_close(made.state_dict()["no_obj_ptr"], stored)


@pytest.mark.parametrize(
    ("key", "shape", "looks"),
    [
        ("image_encoder.blocks.0.norm1.weight", (768,), "the first SAM"),
        ("vision_encoder.backbone.patch_embed.weight", (96,), "transformers"),
        ("detector.backbone.weight", (96,), "SAM3"),
        ("image_encoder.trunk.patch_embed.proj.weight", (80, 3, 7, 7), "no published size (80 channels, 0 blocks)"),
        ("transformer.weight", (2,), "something else (1 tensors, the first is transformer.weight)"),
    ],
)
def test_another_file_is_refused_by_what_it_looks_like(
    tmp_path: Path, key: str, shape: tuple[int, ...], looks: str
) -> None:
    for file in (tmp_path / "sam2.pt", tmp_path / "sam2.safetensors"):
        tensors = {key: torch.zeros(shape)}
        torch.save(tensors, file) if file.suffix == ".pt" else save_file(tensors, file)
        with pytest.raises(ValueError, match=f"{file.name} must hold SAM2 or SAM2.1, but looks like") as raised:
            sam2_weights.read(file)
        assert looks in str(raised.value)


def test_missing_unexpected_and_misshapen_keys_are_named(nano_sam2: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(nano_sam2)
    del tensors["no_mem_embed"]
    tensors["extra.weight"] = torch.zeros(1)
    tensors["no_obj_ptr"] = torch.zeros(1, 3)
    save_file(tensors, tmp_path / "model.safetensors")
    weights = sam2_weights.Weights(tmp_path / "model.safetensors", "SAM2 nano", nano_sam2.with_name("config.yaml"))
    with pytest.raises(ValueError, match="model.safetensors must hold all of SAM2 nano, but missing: no_mem_embed; unexpected: extra.weight; of another shape: no_obj_ptr"):  # fmt: skip
        sam2_weights.build(weights, SAM2Base, "cpu")


class Evil:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("was run",)


def test_damaged_files_and_pickled_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sam2.pt").write_bytes(b"no checkpoint")
    (tmp_path / "sam2.safetensors").write_bytes(b"no checkpoint at all")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"model": Evil()}))
    torch.save({"model": Evil()}, tmp_path / "evil_zip.pt")
    for file in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"{file.name} must be a complete"):
            sam2_weights.read(file)
    with pytest.raises(FileNotFoundError, match=r"SAM2 weights .*nowhere\.pt do not exist; get some: hf download"):
        sam2_weights.read(tmp_path / "nowhere.pt")


def place(file: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(file)
    return target.resolve()


def test_auto_finds_the_best_that_is_here(project: Path, published: dict[str, Path], nano_sam2: Path) -> None:
    assert sam2_weights.choose("auto") == (None, ())
    old = place(
        published["sam2_hiera_tiny.pt"], project / "Wan2.2-Animate-14B/process_checkpoint/sam2/sam2_hiera_tiny.pt"
    )
    found, _ = sam2_weights.choose("auto")
    assert found is not None
    assert (found.file, found.name) == (old, "SAM2 tiny")
    new = place(published["sam2.1_hiera_tiny-fp16.safetensors"], project / "ComfyUI/models/sam2/sam2.1_hiera_tiny-fp16.safetensors")  # fmt: skip
    found, _ = sam2_weights.choose("auto")
    assert found is not None
    assert (found.file, found.name) == (new, "SAM2.1 tiny")
    (project / "ComfyUI/models/sams").mkdir()
    save_file({"image_encoder.blocks.0.w": torch.zeros(1)}, project / "ComfyUI/models/sams/sam2_fake.safetensors")
    found, notes = sam2_weights.choose("auto")
    assert found is not None
    assert found.file == new
    assert "passed over: sam2_fake.safetensors must hold SAM2" in notes[0]
    assert sam2_weights.choose("none") == (None, ())
    by_name, _ = sam2_weights.choose("nano")
    assert by_name is not None
    assert by_name.name == "SAM2 nano"
    assert dict(sam2_weights.overview())["SAM2"].startswith("SAM2.1 tiny in ComfyUI/models")


def test_a_named_folder_is_looked_into(project: Path, published: dict[str, Path]) -> None:
    other = project / "elsewhere"
    other.mkdir()
    with pytest.raises(FileNotFoundError, match="must be a file or a folder with SAM2's weights, got elsewhere, which holds none"):  # fmt: skip
        sam2_weights.choose(other)
    file = place(published["sam2_hiera_tiny.pt"], other / "models/sams/sam2_hiera_tiny.pt")
    found, _ = sam2_weights.choose(other)
    assert found is not None
    assert found.file == file
    found, _ = sam2_weights.choose("auto", checkpoint=other)
    assert found is not None
    assert found.file == file


@pytest.mark.skipif(not sam2_weights.NANO.is_file(), reason="the miniature SAM2 is not bundled yet")
def test_the_bundled_miniature_is_whole() -> None:
    made = sam2_weights.build(sam2_weights.read(sam2_weights.NANO), SAM2Base, "cpu")
    assert made.image_size == 256
