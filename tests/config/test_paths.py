"""Where files live, and how a path is shown to others and to its user."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanlab import config


def test_a_typed_path_can_be_pasted_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = config.project_root()
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "my runs"))
    monkeypatch.setenv(config.SHELL_FOLDER, str(root))
    run = config.outputs_root() / "20260101T000000_generate_0123456789"
    assert config.shown(run) == f"outputs/{run.name}"
    assert config.typed(run) == f"'{run}'"
    assert config.typed(root / "params" / "animate.yaml") == "params/animate.yaml"
    monkeypatch.setenv(config.SHELL_FOLDER, str(tmp_path))
    assert config.typed(root / "params" / "animate.yaml") == str(root / "params" / "animate.yaml")


def test_networks_are_looked_for_in_one_list_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv(config.COMFYUI, str(tmp_path / "ComfyUI"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    own = [config.project_root() / name for name in config.CHECKPOINT_FOLDERS]
    assert config.weight_folders() == [*own, tmp_path / "ComfyUI"]
    cached = tmp_path / "hub" / "hub" / "models--Wan-AI--Wan2.2-Animate-14B" / "snapshots" / "0123abcd"
    cached.mkdir(parents=True)
    assert config.weight_folders(tmp_path / "mine") == [tmp_path / "mine", *own, tmp_path / "ComfyUI", cached]
    assert config.weight_folders(own[1]) == [own[1], own[0], tmp_path / "ComfyUI", cached]
