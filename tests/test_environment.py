"""The ways to install agree with each other, and no registry is named."""

from __future__ import annotations

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from wanlab import config

ROOT = config.project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SAME = {"opencv-python": "opencv-python-headless"}  # conda's name: pip's, which needs no libGL
NINE = {
    "jupyterlab",
    "ipywidgets",
    "papermill",
    "torch",
    "sam2",
    "flash-attn",
    "matplotlib",
    "opencv-python",
    "mediapy",
}


def requirements(lines: list[str]) -> dict[str, str]:
    return {r.name: str(r.specifier) for r in map(Requirement, lines)}


def conda() -> dict[str, str]:
    text = (ROOT / "environment.yml").read_text()
    entries = []
    for entry in yaml.safe_load(text)["dependencies"]:
        entries += entry["pip"] if isinstance(entry, dict) else [entry]
    commented = re.findall(r"^\s*#\s*-\s*(flash-attn==\S+)", text, re.M)
    assert len(commented) == 1, "flash-attn stands as one pinned comment: it would break an install without nvcc"
    return requirements([*entries, *commented])


def test_environment_yml_is_the_same_environment() -> None:
    theirs = {SAME.get(name, name): spec for name, spec in conda().items() if name not in ("python", "pip")}
    ours = requirements([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["flash-attn"]])
    assert theirs == ours


def test_environment_yml_names_the_nine_packages_of_the_workbench() -> None:
    assert set(conda()) >= NINE


def test_the_lock_holds_every_dependency_at_an_allowed_version() -> None:
    text = (ROOT / "requirements.lock").read_text()
    pins = {name: Version(v) for name, v in re.findall(r"^([A-Za-z0-9_.-]+)==(\S+?)(?: ;| \\|$)", text, re.M)}
    extras = PROJECT["optional-dependencies"]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras["test"], *extras["setup"]]):
        assert pins[requirement.name] in requirement.specifier, requirement
    assert text.count("--hash=sha256:") >= len(pins)


def test_no_registry_is_named_in_the_lock() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index-url" not in text
