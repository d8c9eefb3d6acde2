"""Tools: the programs that made the bundled files compile, import and answer --help."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from wanlab import config

FOLDER = config.project_root() / "tools"
FILES = sorted(FOLDER.rglob("*.py"))
PROGRAMS = [file for file in FILES if "argparse" in file.read_text(encoding="utf-8")]
NEEDS = {"render_sample.py": "scipy"}  # imported before the options are read; not one of wanlab's packages

HELP = """
import os, runpy, sys
import cv2, diffusers, numpy, sam2, torch, transformers  # once, for all programs
for tool in sys.argv[1:]:
    if os.fork() == 0:
        sys.path.insert(0, os.path.dirname(tool))
        sys.argv = [tool, "--help"]
        runpy.run_path(tool, run_name="__main__")
        os._exit(3)  # --help ends the program
    if os.wait()[1]:
        print("FAILED", tool)
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_every_file_compiles_and_begins_with_a_docstring(file) -> None:
    tree = compile(file.read_text(encoding="utf-8"), str(file), "exec")
    assert isinstance(tree.co_consts[0], str)
    assert len(tree.co_consts[0]) > 20


@pytest.mark.slow
def test_every_program_names_its_options() -> None:
    tools = [str(file) for file in PROGRAMS if find_spec(NEEDS.get(file.name, "sys"))]
    assert len(tools) >= 9
    done = subprocess.run([sys.executable, "-c", HELP, *tools], capture_output=True, text=True, timeout=300)
    assert "FAILED" not in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--help") == len(tools)
