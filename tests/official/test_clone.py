"""What is missing for the official scripts, and the commands that bring it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Wan22

from wanlab import config
from wanlab.cli import main
from wanlab.official import clone as clone_module
from wanlab.official.clone import GENERATE, PREPROCESS, SOURCES, find_checkpoint, find_clone, fingerprint
from wanlab.official.clone import download as download_clone

README = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (config.project_root() / "README.md", *sorted((config.project_root() / "docs").glob("*.md")))
)


def settings(wan22: Wan22, **more: object) -> config.GenerateSettings:
    return config.GenerateSettings.build({**wan22.settings, **more})


def test_a_clone_is_found_with_its_own_python_and_kernel(wan22: Wan22) -> None:
    clone = find_clone(settings(wan22), GENERATE, ["--refert_num", "1"])
    assert clone.python == wan22.folder / ".venv" / "bin" / "python"
    assert clone.python.is_symlink()
    assert clone.facts["torch"] == "2.8.0+cu128"
    assert clone.kernel == "FlashAttention 2"
    (next((wan22.folder / ".venv").glob("lib/*/site-packages")) / "flash_attn_interface.py").touch()
    clone_module._whole.clear()
    assert find_clone(settings(wan22), GENERATE, []).kernel == "FlashAttention 3"


def test_no_clone_no_python_no_packages_are_answered_with_the_commands(wan22: Wan22, tmp_path: Path) -> None:
    commands = "git clone https://github.com/Wan-Video/Wan2.2"
    with pytest.raises(
        FileNotFoundError, match=f"wan22_dir must be a clone of Wan2.2, .*it does not exist.*\n{commands}"
    ):
        find_clone(settings(wan22, wan22_dir=tmp_path / "none"), GENERATE, [])
    with pytest.raises(FileNotFoundError, match=f"it has no generate.py; make one:\n{commands}"):
        find_clone(settings(wan22, wan22_dir=tmp_path), GENERATE, [])
    packages = next((wan22.folder / ".venv").glob("lib/*/site-packages"))
    (packages / "flash_attn.py").unlink()
    with pytest.raises(config.SettingsError, match=f"it lacks flash_attn; install them:\n{commands}"):
        find_clone(settings(wan22), GENERATE, [])
    (packages / "flash_attn.py").touch()
    (packages / "flash_attn.py").write_text("raise ImportError('flash_attn_2_cuda.so: undefined symbol: _ZN3c10')")
    with pytest.raises(config.SettingsError, match="it lacks flash_attn.*\n.*") as error:
        find_clone(settings(wan22), GENERATE, [])
    assert str(error.value).splitlines()[-2:] == [
        "flash_attn cannot be imported: flash_attn_2_cuda.so: undefined symbol: _ZN3c10",
        "a prebuilt wheel of flash-attn must have cu12torch2.8 (or cu128torch2.8) and cp311 in its name: docs/attention.md"
        .replace("cp311", f"cp{sys.version_info[0]}{sys.version_info[1]}"),
    ]  # fmt: skip
    (packages / "flash_attn.py").write_text("")
    find_clone(settings(wan22), GENERATE, [])  # the same process sees what was installed meanwhile
    (packages / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.13: cannot open')")
    clone_module._whole.clear()
    with pytest.raises(
        config.SettingsError, match="imports its torch, got python which printed: ImportError: libcudart.so.13"
    ):
        find_clone(settings(wan22), GENERATE, [])
    shutil.rmtree(wan22.folder / ".venv")
    with pytest.raises(FileNotFoundError, match=f"which is not there; set it up:\n{commands}"):
        find_clone(settings(wan22), GENERATE, [])


def test_wanlab_s_own_python_is_refused(wan22: Wan22) -> None:
    with pytest.raises(
        config.SettingsError, match="wan22_python must be an environment of the clone's own, got wanlab's"
    ):
        find_clone(settings(wan22, wan22_python=sys.executable), GENERATE, [])


def test_an_older_clone_is_told_what_its_parser_lacks(wan22: Wan22) -> None:
    script = wan22.folder / GENERATE
    script.write_text(script.read_text().replace('"--use_relighting_lora"', '"--other"'))
    with pytest.raises(
        config.SettingsError, match="generate.py of the clone must know --use_relighting_lora, which it does not"
    ):
        find_clone(settings(wan22), GENERATE, ["--refert_num", "--use_relighting_lora"])


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
def test_the_commit_is_the_clone_s_own_and_changes_show(wan22: Wan22) -> None:
    without = clone_module.commit(wan22.folder)
    assert without.startswith("files-")  # not that of a repository around it
    git = ["git", "-C", str(wan22.folder), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "generate.py", "wan"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    commit = clone_module.commit(wan22.folder)
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    (wan22.folder / "generate.py").write_text("pass")
    assert re.fullmatch(rf"{commit}-dirty-files-[0-9a-f]{{16}}", clone_module.commit(wan22.folder))


@pytest.mark.parametrize(
    ("script", "gone", "how", "part"),
    [
        (PREPROCESS, "process_checkpoint/det/yolov10m.onnx", {}, "process_checkpoint"),
        (PREPROCESS, "process_checkpoint/sam2/sam2_hiera_large.pt", {"replacing": True}, "process_checkpoint"),
        (PREPROCESS, "process_checkpoint/pose2d/vitpose_h_wholebody.onnx", {}, "process_checkpoint"),
        (PREPROCESS, "process_checkpoint/FLUX.1-Kontext-dev/model_index.json", {"flux": True}, "flux"),
        (GENERATE, "diffusion_pytorch_model-00001-of-00001.safetensors", {}, "transformer"),
        (GENERATE, "google/umt5-xxl/tokenizer.json", {}, "text_encoder"),
        (GENERATE, "Wan2.1_VAE.pth", {}, "vae"),
        (GENERATE, "relighting_lora.ckpt", {"lora": True}, "relighting_lora"),
    ],
)
def test_a_missing_file_of_the_checkpoint_is_named_with_both_commands(
    wan22: Wan22, script: str, gone: str, how: dict, part: str
) -> None:
    given = {"replacing": False, **how}
    assert find_checkpoint(wan22.checkpoint, script, **given) == wan22.checkpoint
    place = wan22.checkpoint / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(FileNotFoundError) as error:
        find_checkpoint(wan22.checkpoint, script, **given)
    first, *commands = str(error.value).splitlines()
    assert f"lacks {gone}; get them" in first
    assert commands == [shlex.join(download_clone(source, part, wan22.checkpoint)) for source in SOURCES]
    if script == PREPROCESS and how:
        assert find_checkpoint(wan22.checkpoint, script, replacing=False)  # only where it is needed


def test_the_commands_of_a_download_are_the_clients_own() -> None:
    assert shlex.join(download_clone("huggingface")) == (
        "hf download Wan-AI/Wan2.2-Animate-14B --local-dir Wan2.2-Animate-14B"
    )
    assert shlex.join(download_clone("modelscope", "transformer", Path("a b"))) == (
        "modelscope download --model Wan-AI/Wan2.2-Animate-14B --local_dir 'a b' --include config.json 'diffusion_pytorch_model*'"
    )
    assert shlex.join(download_clone("huggingface", "process_checkpoint")).endswith("--include 'process_checkpoint/*'")
    assert download_clone("huggingface", "flux")[2:] == [
        "black-forest-labs/FLUX.1-Kontext-dev", "--local-dir", "Wan2.2-Animate-14B/process_checkpoint/FLUX.1-Kontext-dev",
    ]  # fmt: skip


def test_only_files_that_a_script_reads_are_in_its_fingerprint(wan22: Wan22) -> None:
    def marks() -> list[str]:
        hows = ((PREPROCESS, {}), (PREPROCESS, {"flux": True}), (GENERATE, {}), (GENERATE, {"lora": True}))
        return [fingerprint(wan22.checkpoint, script, **how) for script, how in hows]

    before = marks()
    (wan22.checkpoint / "transformer").mkdir()
    (wan22.checkpoint / "transformer" / "config.json").write_text("the Diffusers layout's")
    assert marks() == before
    for name, changed in (
        ("process_checkpoint/FLUX.1-Kontext-dev/model_index.json", [1]),
        ("process_checkpoint/det/yolov10m.onnx", [0, 1]),
        ("relighting_lora.ckpt", [3]),
        ("google/umt5-xxl/tokenizer.json", [2, 3]),
    ):
        (wan22.checkpoint / name).write_text("longer")
        after = marks()
        assert [n for n in range(4) if after[n] != before[n]] == changed
        before = after


def test_points_are_refused_in_the_pipeline(
    wan22: Wan22, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "points.json").write_text("{}")
    words = ["--backend", "wan22", "--wan22_dir", str(wan22.folder), "--ckpt_dir", str(wan22.checkpoint)]
    assert main.main(["pipeline", *words, "--replace", "--points", str(tmp_path / "points.json")]) == 2
    assert "points must be left out of the pipeline with backend wan22" in capsys.readouterr().err


def test_the_pipeline_checks_both_steps_before_the_first(
    wan22: Wan22, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wan22.checkpoint / "Wan2.1_VAE.pth").unlink()
    words = ["--backend", "wan22", "--wan22_dir", str(wan22.folder), "--ckpt_dir", str(wan22.checkpoint)]
    assert main.main(["pipeline", *words]) == 2
    assert "lacks Wan2.1_VAE.pth" in capsys.readouterr().err
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            clone_module.INDEX,
            b"{}",
            "is damaged: it must be a JSON object whose weight_map names a file beside it for each tensor",
        ),
        (clone_module.INDEX, b'{"weight_map": {"a"', "is damaged"),
        (clone_module.INDEX, b'{"weight_map": {"a": "other.bin"}}', "lacks other.bin"),
        (clone_module.INDEX, b'{"weight_map": {"a": "../../other.bin"}}', "is damaged"),
        (clone_module.VAE, b"", "is empty"),
        (clone_module.VAE, b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_a_damaged_file_of_the_checkpoint_is_named(wan22: Wan22, name: str, content: bytes, said: str) -> None:
    (wan22.checkpoint / name).write_bytes(content)
    with pytest.raises(FileNotFoundError, match="checkpoint must be a folder with the official files") as raised:
        find_checkpoint(wan22.checkpoint, GENERATE, replacing=False)
    assert said in str(raised.value)
    assert "hf download" in str(raised.value)
