"""Settings of a notebook, read from its `parameters` cell."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

from wanlab.config.base import Settings
from wanlab.config.pasted import mended, peeled
from wanlab.config.paths import project_root
from wanlab.config.steps import NOTEBOOKS


def from_notebook(model: type[Settings]) -> Settings:
    """Build the settings of the notebook that runs this, from its `parameters` cell and what was set after it.

    papermill only warns about a name that the notebook does not have, and JupyterLab not at all: so the names are read
    from the kernel's history with `ast`: those assigned from the last run of the `parameters` cell up to the cell
    that first called this function. (A live kernel holds the names of all later cells too.)

    Settings of other steps, which a params file may hold too, are left out with a note; paths are taken as they were
    pasted where it is clear what they mean.

    Raises:
        SettingsError: an unknown name, a wrong type or a broken rule.
        RuntimeError: outside a notebook, or before its `parameters` cell has run.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    history: list[str] = shell.user_ns.get("In", [""])[:-1] if shell else []
    assigned = [assigned_names(source) for source in history]
    fields = set(model.model_fields)
    starts = [i for i, names in enumerate(assigned) if len(names & fields) * 2 > len(fields)]
    if shell is None or not starts:
        raise RuntimeError("run the `parameters` cell of this notebook first")
    names = set(assigned[starts[-1]])
    for source, more in zip(history[starts[-1] + 1 :], assigned[starts[-1] + 1 :], strict=True):
        if from_notebook.__name__ in source:
            break
        names |= more
    values = {
        name: shell.user_ns[name] for name in (names | fields) if name in shell.user_ns and not name.startswith("_")
    }
    known = {name for _, other in NOTEBOOKS.values() for name in other.model_fields}
    others = sorted(known & set(values) - fields)
    if others:
        print(f"note: not taken, for they are settings of other steps: {', '.join(others)}")
    return model.build(mended_paths(model, {name: value for name, value in values.items() if name not in others}))


def mended_paths(model: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the paths among them as they were meant, from the project's root; a note says what was mended."""
    root = project_root()
    found = dict(values)
    for name in set(model.paths()) & set(found):
        if isinstance(found[name], str) and name in model.targets():
            found[name] = peeled(name, found[name])
        elif isinstance(found[name], str):
            change = functools.partial(mended, name, start=root, words=model.words(name))
            found[name] = model.with_paths_changed(name, found[name], change)
    return found


def assigned_names(source: str) -> set[str]:
    """Return the names that the top level of a cell's `source` assigns; a cell that is no Python assigns none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # magics and half-written cells
        return set()
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets.append(node.target)
    return {target.id for target in targets if isinstance(target, ast.Name)}
