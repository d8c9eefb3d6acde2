"""`wanlab models download`: the clients' own commands, told by stubs that stand in their places."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from wanlab import config
from wanlab.cli import main
from wanlab.official import download

STUB = """#!{python}
import json, sys
from pathlib import Path
here = Path(__file__)
log = here.with_name("calls.json")
calls = json.loads(log.read_text()) if log.is_file() else []
log.write_text(json.dumps([*calls, [here.name, *sys.argv[1:]]]))
flag = "--local-dir" if here.name == "hf" else "--local_dir"
folder = Path(sys.argv[sys.argv.index(flag) + 1])
folder.mkdir(parents=True, exist_ok=True)
part, whole = folder / ".cache/huggingface/weights.incomplete", folder / "process_checkpoint/weights"
for path in (part, whole):
    path.parent.mkdir(parents=True, exist_ok=True)
if not part.is_file():
    part.write_text("half")
    sys.exit("connection lost")
whole.write_text(part.read_text() + " and half")
"""


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put stubs of both clients where wanlab's own environment would have them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("hf", "modelscope"):
        (folder / name).write_text(STUB.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setattr(download.sys, "executable", str(folder / "python"))
    return folder


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_broken_download_goes_on_with_the_same_command(
    clients: Path, tmp_path: Path, source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / '-the "14B" folder\'s'
    command = ["models", "download", "--source", source, "--only", "process_checkpoint", "--ckpt_dir", str(target)]
    assert main.main(command) == 1
    assert "the download ended with status 1; the same command continues from what is there" in capfd.readouterr().err
    assert main.main(command) == 0
    assert (target / "process_checkpoint" / "weights").read_text() == "half and half"
    calls = json.loads((clients / "calls.json").read_text())
    assert calls[0] == calls[1]
    assert calls[0][:2] == [{"huggingface": "hf", "modelscope": "modelscope"}[source], "download"]
    assert calls[0][-2:] == ["--include", "process_checkpoint/*"]
    assert str(target) in calls[0]


def test_a_client_that_is_not_there_is_answered_with_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main.main(["models", "download", "--source", "modelscope"]) == 2
    said = capsys.readouterr().err
    assert "modelscope is not; install it: .venv/bin/python -m pip install '.[download]'" in said


def test_without_a_folder_it_is_the_default_one_of_the_project(clients: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(command: list[str], **how: object) -> object:
        seen.update(command=command, **how)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(download.subprocess, "run", run)
    assert main.main(["models", "download", "--source", "huggingface"]) == 0
    assert seen["command"][1:] == ["download", "Wan-AI/Wan2.2-Animate-14B", "--local-dir", "Wan2.2-Animate-14B"]
    assert seen["cwd"] == config.project_root()


@pytest.mark.parametrize("words", [["--source", "elsewhere"], [], ["--source", "modelscope", "--only", "everything"]])
def test_unknown_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main.main(["models", "download", *words])
    assert stopped.value.code == 2
