"""A script as a child process: its lines, its bars, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from wanlab.official import process as process_module
from wanlab.official.process import HASTE, LAST_LINES, Steps, _group, _pieces, explain


def test_steps_are_counted_over_segments() -> None:
    steps = Steps(num_segments=2, num_steps=3, num_processes=1)
    news = [steps.see(*state) for state in [(4, 4), (0, 3), (1, 3), (1, 3), (2, 3), (3, 3), (0, 3), (2, 3), (3, 3)]]
    assert news == [False, False, True, False, True, True, True, True, True]
    assert (steps.segment, steps.step, steps.done) == (1, 3, 6)


def test_bars_of_several_processes_are_one_count() -> None:
    steps = Steps(num_segments=2, num_steps=2, num_processes=2)
    done = []
    for state in (0, 0, 1, 1, 2, 2, 2, 0, 2, 0, 1, 1, 2, 2):
        steps.see(state, 2)
        done.append(steps.done)
    assert done == [0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("status", "lines", "said"),
    [
        (1, ["ValueError: zero-size array to reduction operation minimum which has no identity"], "the mask is empty"),
        (1, ["cv2.error: (-215:Assertion failed) !ssize.empty() in function 'resize'"], "no face was found"),
        (1, ["ImportError: sam2/_C.so: undefined symbol: _ZN3c10"], "sam2 in the clone's environment"),
        (1, ["KeyError: 'frames_tracked_per_obj'"], "sam2 in the clone's environment"),
        (1, ["ImportError: flash_attn_2_cuda.so: undefined symbol: _ZN3c10"], "flash-attn is missing"),
        (1, ["    assert FLASH_ATTN_2_AVAILABLE", "AssertionError"], "flash-attn is missing"),
        (1, ["torch.OutOfMemoryError: CUDA out of memory. Tried"], "the GPU's memory is too small"),
        (
            1,
            ["einops.EinopsError: can't divide axis of length 31900 in chunks of 21"],
            "the number of tokens does not fit",
        ),
        (
            1,
            ["ModuleNotFoundError: No module named 'moviepy'"],
            "lacks moviepy; in the clone: .venv/bin/pip install moviepy",
        ),
        (-9, [], "was ended by SIGKILL; it was killed, likely out of main memory"),
        (-11, [], "it crashed: a package with CUDA code"),
        (1, ["something else"], "ended with status 1; see its last lines"),
    ],
)
def test_known_failures_say_what_to_do(status: int, lines: list[str], said: str) -> None:
    text = explain("generate.py", status, ["first", *["line"] * 30, *lines])
    assert said in text.splitlines()[0]
    assert text.splitlines()[0].startswith("generate.py ")
    assert text.splitlines()[1] == "last lines of wan22.log:"
    assert text.splitlines()[2:][-len(lines) :] == lines or not lines
    assert len(text.splitlines()) == 2 + LAST_LINES


def test_a_bar_s_states_are_no_lines() -> None:
    text = "one\r\n 5%| 1/20 [\r 10%| 2/20 [\nzwei £".encode()
    command = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({text!r})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        found = [piece for piece in _pieces(process, lambda: None) if piece[0]]
    assert found == [("one", True), (" 5%| 1/20 [", False), (" 10%| 2/20 [", True), ("zwei £", True)]


STUBBORN = """
import os, signal, sys, time
def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
    time.sleep(300)
if os.fork() == 0:
    os.setsid()  # a session of its own, as torchrun's workers have, and its parent gone
    if os.fork() == 0:
        work()
    os._exit(0)
if len(sys.argv) > 2:
    while not os.path.exists(sys.argv[1]) or not os.path.getsize(sys.argv[1]):
        time.sleep(0.02)
    sys.exit(0)
work()
"""


def stubborn(tmp_path: Path, *more: str) -> list[str]:
    """Return the command of a script whose grandchild has left its group and parent, and that listens to no SIGTERM."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    return [sys.executable, str(tmp_path / "stubborn.py"), str(tmp_path / "pids"), *more]


def pids_of(tmp_path: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (tmp_path / "pids").is_file() and len((tmp_path / "pids").read_text().splitlines()) == count:
            return [int(line) for line in (tmp_path / "pids").read_text().split()]
        time.sleep(0.02)
    raise AssertionError("the script does not start")


def test_grandchildren_in_a_session_of_their_own_end_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "PATIENCE", 0.5)
    with _group(stubborn(tmp_path), tmp_path, {}):
        pids = pids_of(tmp_path, 2)
    assert not any(map(_works, pids))


def test_a_script_that_ended_leaves_nobody_who_holds_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is at its end when the script is, though a child of its goes on with the same output."""
    monkeypatch.setattr(process_module, "PATIENCE", 0.2)
    with _group(stubborn(tmp_path, "and go"), tmp_path, {}) as process:
        assert list(_pieces(process, lambda: None)) == [("", True)]
        pids = pids_of(tmp_path, 1)
    assert not any(map(_works, pids))


def test_the_group_ends_when_wanlab_is_killed(tmp_path: Path) -> None:
    """A kernel that is killed leaves no process on the GPU."""
    code = f"""
import time
from pathlib import Path
from wanlab.official import process
with process._group({stubborn(tmp_path)!r}, Path({str(tmp_path)!r}), {{}}):
    time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        pids = pids_of(tmp_path, 2)
        assert all(map(_works, pids))
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 4 * HASTE
    while any(map(_works, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_works, pids))


def _works(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
