"""Notebooks: thin, paired, stripped, and their `parameters` cells equal the settings models."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wanlab import config

FOLDER = config.project_root() / "notebooks"
NAMES = [name for name, _ in config.NOTEBOOKS.values()]
HEADINGS = (
    "# what you change first",
    "# replace mode: the mask and the background",
    "# how it is sampled",
    "# official scripts (backend wan22)",
    "# where and how it runs",
)


def cells(name: str) -> list[dict]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def parameters(name: str) -> str:
    found = ["".join(cell["source"]) for cell in cells(name) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(found) == 1
    return found[0]


def test_every_notebook_of_the_folder_is_known() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(NAMES)


@pytest.mark.parametrize(("name", "model"), config.NOTEBOOKS.values())
def test_parameters_are_the_defaults_of_the_model(name: str, model: type[config.Settings]) -> None:
    tree = ast.parse(parameters(name))
    assert all(isinstance(node, ast.Assign) for node in tree.body)
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}  # type: ignore[attr-defined]
    assert list(values) == list(model.model_fields)
    assert model.build(values) == model.build({})


@pytest.mark.parametrize(("name", "model"), config.NOTEBOOKS.values())
def test_parameters_are_explained_in_the_model_s_words(name: str, model: type[config.Settings]) -> None:
    lines = [line for line in parameters(name).splitlines() if line not in HEADINGS]
    for line, (field, info) in zip(lines, model.model_fields.items(), strict=True):
        assert line.partition("  # ")[2] == info.description, field


@pytest.mark.parametrize(("name", "model"), config.NOTEBOOKS.values())
def test_parameters_stand_under_headings_in_a_reader_s_order(name: str, model: type[config.Settings]) -> None:
    lines = parameters(name).splitlines()
    headings = [line for line in lines if line.startswith("#")]
    assert headings == [heading for heading in HEADINGS if heading in lines]
    assert bool(headings) == (len(model.model_fields) > 5)
    assert not headings or lines[0] == HEADINGS[0]
    for field in model._marked("wan22"):
        assert HEADINGS[3] in lines[: next(k for k, line in enumerate(lines) if line.startswith(f"{field} = "))]


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_thin(name: str) -> None:
    all_cells = cells(name)
    assert len(all_cells) <= 15
    assert all_cells[0]["cell_type"] == "markdown"
    for cell in all_cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        if "parameters" not in cell["metadata"].get("tags", []):
            assert len([line for line in source.splitlines() if line.strip()]) <= 12
        tree = ast.parse(source)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        assert not [s for s in strings if s.startswith(("/", "~"))]
        assert "!" not in {line.strip()[:1] for line in source.splitlines()}


@pytest.mark.parametrize(("name", "model"), config.NOTEBOOKS.values())
def test_no_later_cell_overwrites_a_parameter(name: str, model: type[config.Settings]) -> None:
    for cell in cells(name):
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            tree = ast.parse("".join(cell["source"]))
            imported = {
                a.asname or a.name
                for n in ast.walk(tree)
                if isinstance(n, ast.ImportFrom | ast.Import)
                for a in n.names
            }
            assert not (config.assigned_names("".join(cell["source"])) | imported) & set(model.model_fields)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the notebooks that jupytext makes of their .py halves."""
    place = tmp_path_factory.mktemp("converted")
    for name in NAMES:
        (place / f"{name}.py").write_bytes((FOLDER / f"{name}.py").read_bytes())
    command = [sys.executable, "-m", "jupytext", "--quiet", "--to", "ipynb"]
    subprocess.run([*command, *(str(place / f"{name}.py") for name in NAMES)], check=True)
    return place


@pytest.mark.parametrize("name", NAMES)
def test_pairs_are_equal(name: str, converted: Path) -> None:
    made = json.loads((converted / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    ours, theirs = (
        [(c["cell_type"], "".join(c["source"]), c["metadata"].get("tags")) for c in each]
        for each in (cells(name), made)
    )
    assert ours == theirs
