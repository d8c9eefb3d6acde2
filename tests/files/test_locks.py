"""Locks: one process at a time, whoever is refused hears which one works, the dead hold nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from wanlab import files
from wanlab.files import locks

HOLDER = """
import sys, time
from pathlib import Path
from wanlab.files import locks
with locks.held(Path(sys.argv[1]), "the thing"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def holder(path: Path, seconds: float = 60) -> Iterator[subprocess.Popen]:
    """Have another process hold a lock for so long, or until the block ends."""
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def of_another_machine(path: Path, seconds_ago: float) -> None:
    path.write_text(json.dumps({"pid": 12, "host": "0badcafe"}))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def test_who_is_refused_hears_who_works_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert locks.owner(path) is None
    assert not path.exists()  # asking leaves nothing behind
    for _ in range(3):
        with holder(path) as process:
            now = locks.owner(path)
            assert now is not None
            assert (now.pid, now.host, now.is_here, now.is_this_process) == (process.pid, files.host(), True, False)
            message = (
                f"the thing must not be worked on twice, and process {process.pid} of this machine works on it; wait"
            )
            with pytest.raises(locks.BusyError, match=message) as refused, locks.held(path, "the thing"):
                pass
            again = pickle.loads(pickle.dumps(refused.value))
            assert (str(again), again.lock) == (str(refused.value), path)
            process.kill()
            process.wait()
            assert locks.owner(path) is None
            with locks.held(path, "the thing"):
                assert locks.owner(path).is_this_process
        assert path.read_text() == ""  # whose it was is nobody's business


def test_one_process_does_not_hold_it_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    refused = pytest.raises(locks.BusyError, match="this process works on it")
    with locks.held(path, "it"), refused, locks.held(path, "it"):
        pass
    with locks.held(path, "it"):
        pass


def test_who_waits_gets_it_when_the_owner_ends_or_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.lock"
    with holder(path, 1.5) as process, locks.awaited(path, "the masks"):
        assert process.wait(20) == 0
    assert f"process {process.pid} of this machine works on the masks: waiting for it" in capsys.readouterr().out


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    path = tmp_path / "a.lock"
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="a.lock must be a file, got a link; remove it"), locks.held(path, "it"):
        pass
    assert locks.owner(path) is None
    assert (tmp_path / "precious").read_text() == "kept"


def test_another_machine_keeps_what_it_renews(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lock is not seen here, as on a disk that hands no locks from one machine to another."""
    path = tmp_path / "a.lock"
    of_another_machine(path, locks.SILENT - 60)
    assert locks.owner(path).pid == 12
    message = r"process 12 of another machine \(0badcafe, last heard of 240 s ago\) works on it"
    with pytest.raises(locks.BusyError, match=message), locks.held(path, "it"):
        pass
    assert json.loads(path.read_text())["pid"] == 12
    of_another_machine(path, locks.SILENT + 60)
    assert locks.owner(path) is None
    with locks.held(path, "it") as mine:
        assert (
            "it is taken over from process 12 of another machine (0badcafe, last heard of 36" in capsys.readouterr().out
        )
        mine.check()
        of_another_machine(path, 0)  # which took it over, since this one was silent
        with pytest.raises(locks.BusyError, match="process 12 of another machine"):
            mine.check()
    assert json.loads(path.read_text())["pid"] == 12


def test_an_owner_renews_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.05)
    path = tmp_path / "a.lock"
    with locks.held(path, "it"):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while locks.last_owner(path).silent > 100:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("reason", locks.UNSUPPORTED)
def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    path = tmp_path / "a.lock"
    with holder(path) as process:
        monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
        assert locks.owner(path).pid == process.pid
        with pytest.raises(locks.BusyError, match=f"process {process.pid}"), locks.held(path, "it"):
            pass
        process.kill()
        process.wait()
        assert locks.owner(path) is None
        with locks.held(path, "it"):
            assert locks.owner(path).is_this_process


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filelock.FileLock, "acquire", full)
    with pytest.raises(OSError, match=r"disk full while writing a\.lock"), locks.held(tmp_path / "a.lock", "it"):
        pass


def test_on_a_full_disk_it_is_held_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.touch()
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom wanlab.files import locks\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\npath = Path(sys.argv[1])\n"
        "with locks.held(path, 'it'):\n    print(locks.owner(path))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "another process\n"
