"""Imports between folders go down and never in a circle; what must be light loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wanlab import config

LAYERS = (  # nobody imports upward; folders of one layer do not import each other unless a pair is named below
    {"config", "files"},
    {"media", "runs"},
    {"pose"},
    {"mask"},
    {"inputs", "model"},
    {"results", "official", "comfyui"},
    {"viz"},
    {"steps"},
    {"widgets", "cli"},
)
SIDEWAYS = {("files", "config")}
NEVER = {"mask": {"inputs", "runs"}, "model": {"media", "runs"}}  # below them, but not theirs
STEPS = {  # among themselves: every step may use preview and segment_files
    "outlook": {"generate", "preprocess", "sweep"},
    "sweep": {"generate", "inspect"},
    "inspect": {"preprocess"},
    "generate": {"inspect", "denoise", "continuing", "planning"},
    "denoise": {"continuing", "live_view", "planning"},
    "report": {"generate", "inspect", "live_view"},
}
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "matplotlib", "cv2", "papermill")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield what a file imports of wanlab, inside functions too, as a path: ("mask", "chain", "grow") or shorter."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "wanlab":
            for alias in node.names:
                yield (*node.module.split(".")[1:], alias.name)
        elif isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("wanlab."))


def modules() -> dict[str, Path]:
    """Return the files of the package by dotted name without `wanlab.`; a folder's `__init__` has the folder's name."""
    found = {}
    for path in config.PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(config.PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    del found["__init__"]
    return found


def test_every_folder_has_a_layer_and_the_package_holds_only_folders() -> None:
    assert {name.split(".")[0] for name in modules()} == set().union(*LAYERS)
    assert [path.name for path in config.PACKAGE.glob("*.py")] == ["__init__.py"]


def test_imports_go_down() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for name, path in modules().items():
        folder = name.split(".")[0]
        for used in {found[0] for found in imports(path)} & set(level) - {folder}:
            upward = level[used] >= level[folder] and (folder, used) not in SIDEWAYS
            if upward or used in NEVER.get(folder, ()):
                wrong.append(f"{name} imports {used}")
    assert wrong == []


def test_steps_use_each_other_only_as_named() -> None:
    wrong = []
    for name, path in modules().items():
        if name.startswith("steps."):
            step = name.split(".")[1]
            used = {found[1] for found in imports(path) if found[0] == "steps" and len(found) > 1}
            wrong += [
                f"{step} imports {other}" for other in used - {"preview", "segment_files"} - STEPS.get(step, set())
            ]
    assert wrong == []


def test_there_is_no_circle() -> None:
    known = modules()
    rest = {}
    for name, path in known.items():
        used = set()
        for found in imports(path):
            deepest = next(
                (".".join(found[:n]) for n in range(len(found), 0, -1) if ".".join(found[:n]) in known), None
            )
            used |= {deepest} - {None, name} if deepest != name.split(".")[0] else set()
        rest[name] = used
    while rest:
        leaves = [name for name, used in rest.items() if not used & set(rest)]
        assert leaves, f"a circle among {sorted(rest)}"
        for name in leaves:
            del rest[name]


def test_a_folder_hands_names_on_and_does_nothing_else() -> None:
    """No name that is handed on equals a module beside it: which of the two is meant would depend on the order of imports."""
    for name, path in modules().items():
        if path.name != "__init__.py":
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body[1:]  # after the docstring
        assert all(isinstance(node, ast.ImportFrom) for node in body), name
        handed = {alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not handed & {beside.stem for beside in path.parent.glob("*.py")}, name


def test_private_names_stay_in_their_file() -> None:
    wrong = [
        f"{name} imports {'.'.join(found)}"
        for name, path in modules().items()
        for found in imports(path)
        if found[-1].startswith("_")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code", ["import wanlab", "import wanlab.cli.main; wanlab.cli.main._parser()", "import wanlab.config"]
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    assert loaded_by(code, HEAVY[:5]) == "[]"


@pytest.mark.parametrize("folder", ["mask", "media", "pose", "inputs", "results", "runs", "files"])
def test_folders_load_no_torch(folder: str) -> None:
    assert loaded_by(f"import wanlab.{folder}", ("torch", "sam2", "diffusers")) == "[]"


def loaded_by(code: str, names: tuple[str, ...]) -> str:
    check = f"{code}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.strip()


MOST_LINES = 45  # of code in a function, without its docstring: one that has more has several subjects


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Count the lines of a function that are neither empty nor a comment nor its docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    docstring = range(first.lineno, (first.end_lineno or 0) + 1) if is_docstring else range(0)
    numbers = (n for n in range(function.lineno, (function.end_lineno or 0) + 1) if n not in docstring)
    return sum(bool(text) and not text.startswith("#") for text in (lines[n - 1].strip() for n in numbers))


def test_functions_are_short() -> None:
    long = []
    for name, path in modules().items():
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = lines_of_code(node, source.splitlines())
                long += [f"{name}.{node.name} has {count}"] if count > MOST_LINES else []
    assert long == []
