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
