"""Which checkpoint is taken, and what is said of one that cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sparse

from wanlab import config
from wanlab.config import paths as config_paths
from wanlab.model import checkpoints, parts, single_files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty project root, in which users put their checkpoint."""
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    for name in ("HF_HUB_CACHE", config.COMFYUI):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_nano_is_taken_where_there_is_no_other(root: Path) -> None:
    found = checkpoints.find(None)
    assert (found.name, found.folder, found.notes) == ("nano", checkpoints.NANO, ())
    assert found.recommended["resolution"] == "192 256"


def test_a_whole_folder_without_a_gpu_is_passed_over_loudly(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(checkpoints.NANO, root / "Wan2.2-Animate-14B")
    (root / "Wan2.2-Animate-14B" / checkpoints.SETTINGS).unlink()
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: False)
    found = checkpoints.find(None)
    assert found.name == "nano"
    assert "passed over" in found.notes[0]
    assert "no usable GPU" in found.notes[0]
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: True)
    found = checkpoints.find(None)
    assert found.name == "Wan2.2-Animate-14B"
    assert found.recommended == {
        "num_inference_steps": 20, "guidance_scale": 1.0, "shift": 5.0, "segment_frame_length": 77,
        "prev_segment_conditioning_frames": 1, "resolution": "1280 720",
    }  # fmt: skip


@pytest.fixture
def official(root: Path) -> Path:
    """Make an official folder whose files have whole headers, and hold nothing."""
    folder = root / "Wan2.2-Animate-14B"
    (folder / parts.TOKENIZER).mkdir(parents=True)
    (folder / parts.TOKENIZER / "tokenizer.json").write_text("{}")
    (folder / parts.SHARDS).write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}))
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes((2).to_bytes(8, "little") + b"{}")
    for name in (parts.VAE, parts.TEXT_ENCODER, parts.IMAGE_ENCODER):
        (folder / name).write_bytes(b"\x80\x02N.")
    return folder


def test_the_official_folder_is_taken_as_the_other_one(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checkpoints.find("Wan2.2-Animate-14B")
    assert (found.name, found.folder, found.recommended["resolution"]) == ("Wan2.2-Animate-14B", official, "1280 720")
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: True)
    assert checkpoints.find(None) == found
    before = found.fingerprint()
    (official / "README.md").write_text("is not read")
    assert found.fingerprint() == before
    (official / parts.VAE).write_bytes(b"\x80\x02N..")
    assert found.fingerprint() != before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (parts.VAE, None, "is missing"),
        (parts.TEXT_ENCODER, b"", r"is empty \(0 bytes\)"),
        (parts.IMAGE_ENCODER, b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("b.safetensors", None, "is missing"),
        (parts.SHARDS, b"{}", "is damaged"),
        (f"{parts.TOKENIZER}/tokenizer.json", None, "is missing"),
    ],
)
def test_what_the_official_folder_lacks_is_named(official: Path, name: str, content: bytes | None, said: str) -> None:
    if content is None:
        (official / name).unlink()
    else:
        (official / name).write_bytes(content)
    with pytest.raises(
        FileNotFoundError, match=f"is not complete, {name} {said}.*; run .* wanlab models download --source huggingface"
    ):
        checkpoints.find("Wan2.2-Animate-14B")
    found = checkpoints.find(None)
    assert found.name == "nano"
    assert name in found.notes[0]


@pytest.mark.parametrize("missing", ["vae/config.json", "text_encoder/model.safetensors", "tokenizer"])
def test_what_is_missing_is_named(root: Path, missing: str) -> None:
    folder = root / "half"
    shutil.copytree(checkpoints.NANO, folder)
    gone = folder / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(
        FileNotFoundError,
        match=f"checkpoint half is not complete, {missing.split('/')[0]}/.* is missing; run the download again",
    ):
        checkpoints.find("half")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 15318\n"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("vae/diffusion_pytorch_model.safetensors", lambda content: content[:-1000], "its header promises"),
        ("vae/diffusion_pytorch_model.safetensors", lambda _: POINTER, "is a Git LFS pointer"),
        ("text_encoder/config.json", lambda _: b"", "is empty"),
    ],
)
def test_a_damaged_file_is_named_before_it_is_loaded(root: Path, name: str, change: Callable, said: str) -> None:
    folder = root / "half"
    shutil.copytree(checkpoints.NANO, folder)
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(
        FileNotFoundError, match=f"checkpoint half is not complete, {name} {said}|{name} is damaged: {said}"
    ):
        checkpoints.find("half")


def test_a_missing_shard_is_named(root: Path) -> None:
    folder = root / "half"
    shutil.copytree(checkpoints.NANO, folder)
    index = {"weight_map": {"a": "x-00001-of-00002.safetensors", "b": "x-00002-of-00002.safetensors"}}
    (folder / "transformer" / "x.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="transformer/x-00001-of-00002.safetensors is missing"):
        checkpoints.find("half")


def test_nothing_there_names_the_download(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="checkpoint none does not exist; get it: hf download"):
        checkpoints.find("none")


def test_the_fingerprint_changes_with_a_setting(root: Path) -> None:
    folder = root / "copy"
    shutil.copytree(checkpoints.NANO, folder)
    before = checkpoints.find("copy").fingerprint()
    assert before == checkpoints.find(checkpoints.NANO).fingerprint()
    settings = folder / "vae" / "config.json"
    settings.write_text(settings.read_text().replace("24", "25", 1))
    assert checkpoints.find("copy").fingerprint() != before


def test_limits_name_the_nearest() -> None:
    nano = checkpoints.find(checkpoints.NANO)
    assert nano.faults({"segment_frame_length": 17}) == []
    assert nano.faults({"segment_frame_length": 81}) == [
        "segment_frame_length must be 5 to 33 with nano, got 81; use 33"
    ]


def test_a_hub_s_cache_is_looked_into_after_the_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = root / "hub" / "hub" / "models--Wan-AI--Wan2.2-Animate-14B-Diffusers" / "snapshots" / "0123abc"
    shutil.copytree(checkpoints.NANO, cached)
    (cached / checkpoints.SETTINGS).unlink()
    assert checkpoints.find(None).name == "nano"  # without a GPU
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: True)
    found = checkpoints.find(None)
    assert (found.folder, found.name) == (cached, "Wan2.2-Animate-14B-Diffusers")
    rows = dict(checkpoints.overview())
    assert rows["cached Wan-AI/Wan2.2-Animate-14B-Diffusers"].startswith("complete (transformer fp16, vae ")
    assert rows["used by default"] == "Wan2.2-Animate-14B-Diffusers"
    shutil.copytree(checkpoints.NANO, root / "Wan2.2-Animate-14B")
    assert checkpoints.find(None).folder == root / "Wan2.2-Animate-14B"


def test_a_cache_of_modelscope_is_looked_into(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: True)
    cached = root / "modelscope" / "hub" / "models" / "Wan-AI" / "Wan2___2-Animate-14B-Diffusers"
    shutil.copytree(checkpoints.NANO, cached)
    assert checkpoints.find(None).folder == cached


def test_without_a_gpu_comfyui_s_files_are_not_looked_through(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: False)
    monkeypatch.setattr(single_files, "files", lambda _: pytest.fail("looked through"))
    assert checkpoints.find(None).notes == ()
    sparse.comfyui(root / "ComfyUI")
    (note,) = checkpoints.find(None).notes
    assert note.startswith(
        "the models in ComfyUI/ are passed over, the bundled nano is used: this machine has no usable"
    )


def test_comfyui_s_files_are_a_checkpoint_once_each_part_is_one_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_has_gpu", lambda: True)
    models = sparse.comfyui(root / "ComfyUI")
    found = checkpoints.find(None)
    assert (found.folder, found.name) == (root / "ComfyUI", "animate_bf16")
    assert parts.of(found.folder)["tokenizer"] == (models / "text_encoders" / "umt5.safetensors",)
    text = checkpoints.link(root / "ComfyUI", {})
    (root / "mine.yaml").write_text(text)
    assert parts.of(root / "mine.yaml") == parts.of(root / "ComfyUI")
    assert checkpoints.find("mine.yaml").fingerprint() == found.fingerprint()
    (models / "loras").mkdir()
    (models / "loras" / "relight.safetensors").write_bytes(b"")
    assert ", relighting LoRA relight.safetensors, fingerprint" in dict(checkpoints.overview())["ComfyUI"]
    sparse.write(models / "unet" / "animate_fp8.safetensors", sparse.shapes("transformer"), "F8_E4M3")
    found = checkpoints.find(None)
    assert found.name == "nano"
    assert "transformer must be one file, 2 are there: " in found.notes[0]
    assert "wanlab models link --transformer animate_bf16.safetensors > my_models.yaml" in found.notes[0]
    chosen = checkpoints.link(root / "ComfyUI", {"transformer": "unet/animate_fp8.safetensors"})
    assert 'transformer: "ComfyUI/models/unet/animate_fp8.safetensors"' in chosen
    with pytest.raises(config.SettingsError, match="transformer must be one of the files that are there, got other"):
        checkpoints.link(root / "ComfyUI", {"transformer": "other"})
    rows = list(checkpoints.overview())
    assert ("ComfyUI: transformer", "ComfyUI/models/unet/animate_fp8.safetensors (fp8_e4m3fn)") in rows
    (models / "vae" / "wan.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no vae of Wan-Animate in models/vae"):
        checkpoints.find("ComfyUI")
