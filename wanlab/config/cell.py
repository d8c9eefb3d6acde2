"""The `parameters` cell of a notebook as text: its groups, its values, and one value changed with the rest left as it is.

groups(source)                      # {"what you change first": ["driving_video", …], …}
values(source)                      # {"seed": 42, …}
changed(source, "seed", 7)          # the source with `seed = 7`, comments where they were
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wanlab.config.paths import project_root


def source_of(notebook: str) -> str:
    """Return the `parameters` cell of a notebook of the project, by its name without suffix."""
    path = project_root() / "notebooks" / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ()))


def groups(source: str) -> dict[str, list[str]]:
    """Return the names that a cell assigns, by the comment line that they stand under; those before any under ""."""
    headings = {n: line[1:].strip() for n, line in enumerate(source.splitlines(), 1) if line.startswith("#")}
    found: dict[str, list[str]] = {}
    for name, node in _assignments(source).items():
        above = [n for n in headings if n < node.lineno]
        found.setdefault(headings[above[-1]] if above else "", []).append(name)
    return found


def values(source: str) -> dict[str, Any]:
    """Return the values that a cell assigns, of those that are written as plain values.

    Raises:
        SyntaxError: if the cell is no Python.
    """
    found = {}
    for name, node in _assignments(source).items():
        try:
            found[name] = ast.literal_eval(node.value)
        except ValueError:
            continue  # an expression: it is the kernel's to work out
    return found


def changed(source: str, name: str, value: Any) -> str:
    """Return a cell's source with another value for one name; what the cell does not assign is added at its end.

    Args:
        source: Python.
        name: of a setting.
        value: ready for JSON, or None.

    Raises:
        SyntaxError: if the cell is no Python.
    """
    node = _assignments(source).get(name)
    if node is None:
        return f"{source.rstrip()}\n{name} = {written(value)}\n"
    lines = [line.encode("utf-8") for line in source.splitlines(keepends=True)]  # ast counts bytes
    first, last = node.value.lineno - 1, (node.value.end_lineno or node.value.lineno) - 1
    head, tail = lines[first][: node.value.col_offset], lines[last][node.value.end_col_offset or 0 :]
    lines[first : last + 1] = [head + written(value).encode("utf-8") + tail]
    return b"".join(lines).decode("utf-8")


def written(value: Any) -> str:
    """Return a plain value as Python, texts in double quotes."""
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return repr(value)


def _assignments(source: str) -> dict[str, ast.Assign]:
    """Return the last plain assignment of each name."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: node for node in nodes if isinstance(node.targets[0], ast.Name)}
