"""Files are whole or not there, nothing is removed outside a run folder, and no other module renames or removes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, files

OWN_WORDS = {"rmtree", "unlink", "rename", "renames", "rmdir", "removedirs", "write_text", "write_bytes", "copytree", "copyfile", "copy2", "move", "savez", "savez_compressed", "symlink_to", "hardlink_to"}  # fmt: skip


def test_no_other_module_renames_or_removes() -> None:
    """`replace` with one argument is a file's, with two a text's."""
    found = []
    for path in sorted(config.PACKAGE.rglob("*.py")):
        if path.parent.name == "files":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                word = node.func.attr
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "files":
                    continue
                on_os = isinstance(node.func.value, ast.Name) and node.func.value.id in ("os", "shutil")
                if (
                    word in OWN_WORDS
                    or (on_os and word in ("remove", "replace", "copy", "link", "symlink", "truncate"))
                    or (word == "replace" and len(node.args) == 1 and not node.keywords)
                ):
                    found.append(f"{path.relative_to(config.PACKAGE)}:{node.lineno} {word}")
    assert found == []


@pytest.mark.parametrize("name", ["a.json", "a.tar.gz", "a", ".hidden"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / "deep" / name
    with files.writing(path) as part:
        part.write_text("half")
        assert part.name.endswith(path.suffix)  # a container is chosen by it
        assert files.is_part(part)
        assert not path.exists()
    assert path.read_text() == "half"

    def broken() -> None:
        with files.writing(path) as part:
            part.write_text("other")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_at_the_final_name_is_replaced_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("theirs")
    link = tmp_path / "link.txt"
    link.symlink_to(other)
    files.write_text(link, "ours")
    assert (other.read_text(), link.read_text(), link.is_symlink()) == ("theirs", "ours", False)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def write(path: Path, fails: bool) -> None:
        with files.writing_folder(path) as part:
            (part / "x").write_text("1")
            if fails:
                raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        write(tmp_path / "a", fails=True)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a", fails=False)
    assert (tmp_path / "a" / "x").read_text() == "1"
    with pytest.raises(OSError, match=r"not empty|exists"):
        write(tmp_path / "a", fails=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_arrays_come_back(tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3)
    files.write_array(tmp_path / "a.npy", array)
    files.write_arrays(tmp_path / "a.npz", one=array, two=array[0])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["one"], np.load(tmp_path / "a.npy", allow_pickle=False))
        assert saved["two"].tolist() == [0, 1, 2]


def test_two_processes_never_leave_a_half_file(tmp_path: Path) -> None:
    """Four writers of one name, each its own length; every read while they write is one writer's whole text."""
    path = tmp_path / "shared.json"
    code = (
        "import sys; from pathlib import Path; from wanlab import files\n"
        "for _ in range(100): files.write_json(Path(sys.argv[1]), [int(sys.argv[2])] * 2000 * int(sys.argv[2]))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(1, 5)]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            value = json.loads(path.read_text())
            assert value == value[:1] * 2000 * value[0]
            reads += 1
    assert [writer.returncode for writer in writers] == [0] * 4
    assert reads
    assert list(tmp_path.iterdir()) == [path]


def make_run(outputs: Path, name: str = "20261127T120000_generate_0123456789") -> Path:
    folder = outputs / name
    (folder / "segments").mkdir(parents=True)
    (folder / "segments" / "000.npy").write_text("x")
    (folder / files.MANIFEST).write_text("{}")
    return folder


def test_what_lies_in_a_run_folder_is_removed(outputs: Path) -> None:
    folder = make_run(outputs)
    kept = outputs / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    (folder / "link").symlink_to(kept)
    files.remove(folder / "link")
    files.remove(folder / "segments")
    files.remove(folder / "never was there")
    assert [path.name for path in folder.iterdir()] == [files.MANIFEST]
    assert (kept / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["", ".", "run", "run/..", "run/../other", "kept/mine.txt", "run/link/mine.txt", "run/sub/../../kept"])  # fmt: skip
def test_nothing_else_is_removed(outputs: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(outputs, "run")
    (folder / "sub").mkdir()
    kept = outputs / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    (folder / "link").symlink_to(kept)
    monkeypatch.chdir(outputs)
    before = sorted(outputs.rglob("*"))
    with pytest.raises(ValueError, match="nothing is removed"):
        files.remove(Path(place))
    assert sorted(outputs.rglob("*")) == before


def test_only_run_folders_of_the_outputs_are_removed_whole(outputs: Path, tmp_path: Path) -> None:
    folder = make_run(outputs)
    elsewhere = make_run(tmp_path, "elsewhere")
    (outputs / "link").symlink_to(elsewhere)
    (outputs / files.MANIFEST).write_text("{}")
    for wrong in (elsewhere, outputs / "link", outputs, folder / "segments", tmp_path, Path("/")):
        with pytest.raises(ValueError, match="nothing is removed"):
            files.remove_run(wrong)
    files.remove_run(folder)
    assert sorted(path.name for path in outputs.iterdir()) == ["link", files.MANIFEST]
    assert (elsewhere / files.MANIFEST).is_file()


def test_parts_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        "dead": f".a.{files.host()}-{dead.pid}-01234567.part.mp4",
        "alive": f".a.{files.host()}-{os.getpid()}-01234567.part.mp4",
        "elsewhere": f".a.ffffffff-{dead.pid}-01234567.part.mp4",
        "user": ".mine.part.mp4",
    }
    for name in names.values():
        (tmp_path / name).write_text("x")
    files.remove_dead_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names.values()) - {names["dead"]}


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"but .*file is a file"):
        files.write_text(tmp_path / "file" / "deep" / "a.txt", "x")


@pytest.mark.parametrize(
    "write", ["write_array(path, array)", "write_arrays(path, a=array)", "write_text(path, 'x' * 9000)"]
)
def test_a_full_disk_is_named_whatever_is_written(tmp_path: Path, write: str) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nimport numpy as np\nfrom wanlab import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "path, array = Path(sys.argv[1]), np.random.default_rng(0).random(9000)\n"
        f"try:\n    files.{write}\nexcept OSError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert "disk full while writing a; free space and run again, finished work is kept" in done.stdout
    assert list(tmp_path.iterdir()) == []
