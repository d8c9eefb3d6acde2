"""What docs/security.md promises and no other test holds; and that the tests which it names are there."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.cli import main

DOCUMENT = config.project_root() / "docs" / "security.md"
SAFE = {  # function: what it must be given
    "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False), "np.lib.format.read_array": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}  # fmt: skip
NEVER = {"pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system"}


def calls(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def unsafe(source: str) -> list[str]:
    """Return the calls in a file that may run what they read."""
    found = []
    for call in calls(source):
        name = ast.unparse(call.func)
        given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        wanted, value = SAFE.get(name, ("", None))
        shell = name.startswith("subprocess.") and given.get("shell")
        if name in NEVER or shell or (name in SAFE and given.get(wanted) is not value):
            found.append(f"{call.lineno} {name}")
    return found


def test_nothing_that_is_read_runs_code() -> None:
    assert unsafe("np.load(f)\npickle.loads(b)\ntorch.load(f, weights_only=False)\nsubprocess.run(c, shell=True)")[3:]
    found = {path.name: unsafe(path.read_text(encoding="utf-8")) for path in config.PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_lab_listens_here_and_keeps_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(os, "execv", lambda _, command: given.extend(command))
    main.main(["lab", "--no-browser"])
    assert "--ip=127.0.0.1" in given
    assert not [word for word in given if re.search("token|password|allow_origin|disable_check_xsrf", word)]


def test_what_is_shared_tells_nothing_private(tmp_path: Path) -> None:
    texts = [str(Path.home() / "films" / "a.mp4"), str(config.outputs_root() / "run"), str(config.project_root() / "x")]
    published = runs.scrub("\n".join([*texts, str(tmp_path / "secret" / "b.mp4")]), [str(tmp_path / "secret")])
    for private in (Path.home(), config.project_root(), tmp_path):
        assert str(private) not in published
    assert published.splitlines()[1:3] == ["outputs/run", "./x"]


def test_the_tests_that_the_document_names_are_there() -> None:
    named = re.findall(r"`(test_\w+)`", DOCUMENT.read_text(encoding="utf-8"))
    root = config.project_root() / "tests"
    defined = {
        name for path in root.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert len(named) >= 14
    assert [name for name in named if name not in defined] == []
