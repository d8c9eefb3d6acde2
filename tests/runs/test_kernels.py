"""Notebooks run in this Python, whatever the user has installed as `python3`."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

from wanlab.runs import kernels, notebook


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install another `python3`, which leaves a file when it is started and ends.

    Returns:
        that file.
    """
    started, python = tmp_path / "started", tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {started}\nexit 3\n")
    python.chmod(0o755)
    folder = tmp_path / "kernels" / kernels.NAME
    folder.mkdir(parents=True)
    spec = f'{{"argv": ["{python}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"], "display_name": "other", "language": "python"}}'
    (folder / "kernel.json").write_text(spec)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return started


def test_a_notebook_runs_in_this_python(foreign: Path, outputs: Path, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import os, sys; print(sys.executable, os.environ['OMP_WAIT_POLICY'])")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "other", "language": "python"}}
    source, executed = tmp_path / "source.ipynb", tmp_path / "executed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), source)
    assert notebook._run(source, executed, {}, notebook._Interrupts()) == 0
    assert nbformat.read(executed, as_version=4).cells[-1].outputs[0].text == f"{sys.executable} PASSIVE\n"
    assert not foreign.exists()


def test_jupyterlab_offers_this_python_under_the_name(foreign: Path) -> None:
    found = kernels.OwnKernels()
    assert found.find_kernel_specs()["python3"] == kernels.RESOURCES
    assert found.get_all_specs()["python3"]["spec"]["argv"][0] == sys.executable
    assert "other" not in {each["spec"]["display_name"] for each in found.get_all_specs().values()}
