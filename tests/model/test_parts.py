"""Where the parts of a checkpoint lie, as folders and params files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanlab import config
from wanlab.model import checkpoints, parts

LINES = {
    "transformer": "t.safetensors",
    "vae": "v.safetensors",
    "text_encoder": "u.safetensors",
    "image_encoder": "c.safetensors",
}


def named(folder: Path, **changes: str | None) -> Path:
    file = folder / "models.yaml"
    lines = {name: value for name, value in {**LINES, **changes}.items() if value is not None}
    file.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return file


def test_a_diffusers_folder_is_its_components() -> None:
    found = parts.of(checkpoints.NANO)
    assert found["vae"] == (checkpoints.NANO / "vae",)
    assert list(found) == list(parts.COMPONENTS)
    assert list(parts.faults(found)) == []


def test_a_params_file_names_files_from_the_project_s_root(tmp_path: Path) -> None:
    found = parts.of(named(tmp_path, vae="[a.safetensors, b.safetensors]"))
    root = config.project_root()
    assert found["transformer"] == (root / "t.safetensors",)
    assert found["vae"] == (root / "a.safetensors", root / "b.safetensors")
    assert found["tokenizer"] == found["text_encoder"]  # in ComfyUI's files


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vae": None}, "vae must be a file or a folder, it is missing"),
        ({"vaes": "x"}, "unknown parameter vaes; did you mean vae"),
        ({"vae": "{a: 1}"}, "vae must be a file or a folder, got"),
        ({"vae": "[]"}, "vae must be a file or a folder, got"),
    ],
)
def test_what_is_wrong_with_a_params_file_is_named(tmp_path: Path, changes: dict[str, str | None], said: str) -> None:
    with pytest.raises(config.SettingsError, match=f"models.yaml: {said}.*; wanlab models link"):
        parts.of(named(tmp_path, **changes))


def test_a_file_of_weights_is_no_checkpoint_by_itself(tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"x")
    with pytest.raises(
        config.SettingsError, match=r"checkpoint must be a folder or a params file .* got .*t.safetensors"
    ):
        parts.of(tmp_path / "t.safetensors")


def test_a_named_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"is not complete, .*t.safetensors is missing; name another one in .*models.yaml"
    ):
        checkpoints.find(named(tmp_path))
