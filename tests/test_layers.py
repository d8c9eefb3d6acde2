"""Imports go down the layers and never in a circle; what must be light loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from wanlab import config

LAYERS = (
    {"config", "files", "fingerprints", "locks", "targets", "resize"},
    {"colour", "media"},
    {"interrupts", "manifests", "artefacts", "runs", "inputs", "input_copies", "people", "keypoints", "points", "pose", "pose_edits", "pose_metrics", "pose_inputs", "face", "mask", "sam", "sam_models", "sam_video", "sam_image", "person_masks", "edits", "decisions", "mask_edits", "windows", "schedule", "models", "sampling", "checkpoints", "quick_look", "mask_metrics", "metrics", "evaluation", "comparison", "player", "viz", "workers", "attention", "official", "official_process", "official_setup"},
    {"comfyui", "comfyui_graph", "comfyui_nodes", "comfyui_report", "comfyui_material", "comfyui_points"},
    {"preprocess", "inspection", "generate", "sweep", "report"},
    {"headless", "machine", "manage", "downloads", "cli", "widgets"},
)  # fmt: skip
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "matplotlib", "cv2", "papermill")


def imports() -> dict[str, set[str]]:
    """Return the modules of wanlab that each module imports, inside functions too."""
    found = {}
    for path in (*config.PACKAGE.glob("*.py"), *config.PACKAGE.glob("widgets/*.py")):
        name = path.stem if path.parent == config.PACKAGE else path.parent.name  # a folder of widgets counts as one
        names: set[str] = found.get(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "wanlab":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wanlab."):
                names.add((node.module or "").split(".")[1])
            elif isinstance(node, ast.Import):
                names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wanlab.")}
        found[name] = names - {name}
    del found["__init__"]
    return found


def test_every_module_has_a_layer() -> None:
    assert set().union(*LAYERS) == set(imports())


def test_imports_go_down() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    upward = [(a, b) for a, used in imports().items() for b in used if level[b] > level[a]]
    assert upward == []


def test_there_is_no_circle() -> None:
    rest = imports()
    while rest:
        leaves = [name for name, used in rest.items() if not used & set(rest)]
        assert leaves, f"a circle among {sorted(rest)}"
        for name in leaves:
            del rest[name]


@pytest.mark.parametrize("code", ["import wanlab", "import wanlab.cli; wanlab.cli._parser()", "import wanlab.config"])
def test_light_imports_load_nothing_heavy(code: str) -> None:
    check = f"{code}\nimport sys\nprint([name for name in {HEAVY[:5]!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
