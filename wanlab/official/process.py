"""Another project's script as a child process: its log streamed and kept, its end explained, its whole group ended."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import secrets
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from tqdm import tqdm

from wanlab import config, runs

LOG = "wan22.log"  # in the run folder: all output of the script
LAST_LINES = 12  # are shown
KEPT_LINES = 1000  # are looked through for a known failure: with torchrun each process prints its own
PATIENCE = 40.0  # seconds to end in peace: torchrun gives its workers 30
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND")  # wanlab's own; a kernel's MPLBACKEND is not there
HASTE = 5.0  # seconds where wanlab itself was killed
MARK = "WANLAB_SCRIPT"  # environment: what a script and all that it starts have in common, in whatever group or session
GUARD = "import sys; sys.stdin.buffer.read(); sys.path[:0] = sys.argv[1:2]; from wanlab.official import process as o; o.end(sys.argv[2], o.HASTE)"
LOOK_EVERY = (
    1.0  # seconds between two looks at whether the run is to stop, or the script has ended without closing its output
)
BAR = re.compile(
    r"(?:^|[ |])(\d+)/(\d+) \["
)  # tqdm's "3/20 [00:10<00:57, 3.4s/it]", "frame_index" of MoviePy among them


class ScriptFailedError(RuntimeError):
    """An official script ended badly; the text holds its last lines and, where the failure is known, what to do."""


class Failure(NamedTuple):
    """A known failure of the official scripts.

    Attributes:
        pattern: what the log shows.
        remedy: what to do.
    """

    pattern: str
    remedy: str


FAILURES = (  # the first that matches is reported
    Failure(
        r"zero-size array to reduction operation minimum|range\(\) arg 3 must not be zero",
        "the mask is empty in at least one frame, which the official script cannot take; cut the video to where the person is "
        "seen, or use mask_chain '' (iterations 0: no frame is looked through for its box), or backend wanlab",
    ),
    Failure(
        r"!ssize\.empty\(\)|inv_scale_x > 0",
        "no face was found in at least one frame, which the official script cannot take; cut the video to where the face is "
        "seen, or use backend wanlab",
    ),
    Failure(
        r"flash_attn\S*: undefined symbol|FLASH_ATTN_2_AVAILABLE|import flash_attn_2_cuda",
        "flash-attn is missing in the clone's environment or was built for another torch; install it again, as docs/attention.md describes",
    ),
    Failure(
        r"undefined symbol|frames_tracked_per_obj|sam2/_C|cannot import name '_C' from 'sam2'",
        "sam2 in the clone's environment is another version than the clone asks for, or was built for another torch; in the "
        "clone: .venv/bin/pip uninstall -y SAM-2 && .venv/bin/pip install --no-build-isolation -r requirements_animate.txt",
    ),
    Failure(
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        "the GPU's memory is too small: upstream offloads nothing but the text encoder; preprocess at a smaller resolution, "
        "use several GPUs (multi_gpu), leave no_offload out, and end other processes on the GPU",
    ),
    Failure(
        r"can't divide axis|is not divisible by sp_size|shape '.*' is invalid for input of size",
        "the number of tokens does not fit: use a size and a number of GPUs that divide it (wanlab names the nearest before a start)",
    ),
    Failure(
        r"no kernel image is available|cudaErrorNoKernelImage",
        "torch or flash-attn in the clone's environment was not built for this GPU; install builds for it, docs/attention.md",
    ),
    Failure(
        r"transformers\.modeling_layers",
        "peft in the clone's environment is newer than its transformers; in the clone: .venv/bin/pip install 'peft<0.18'",
    ),
    Failure(
        r"No module named '([\w.]+)'",
        "the clone's environment lacks {0}; in the clone: .venv/bin/pip install {0}",
    ),
    Failure(r"save_video failed", "the video could not be written; look at the disk's free space and the lines above"),
)  # fmt: skip


def work(
    run: runs.Run,
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    private: Sequence[str],
    on_progress: Callable[[str, int, int], None],
) -> list[str]:
    """Run `command` to its end; show its lines, keep all of them in the run's `wan22.log`.

    Args:
        run: one that works.
        command: program and arguments, never a shell line.
        folder: where it starts.
        environment: variables on top of this process's own.
        private: texts to leave out of log and notebook (folders of this machine).
        on_progress: called with (what, done, total) for each state of a progress bar of the script's.

    Returns:
        its last lines, without progress bars.

    Raises:
        ScriptFailedError: if it ends with another status than 0.
    """
    last: list[str] = []
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    variables |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **environment}
    with run.path(LOG).open("a", encoding="utf-8") as log:
        print(f"$ {runs.scrub(shlex.join(command), private)}", file=log, flush=True)
        with _group(command, folder, variables) as process:
            for piece, whole in _pieces(process, run.progress.check):
                text = runs.scrub(piece, private).rstrip()
                if not text:
                    continue
                print(text, file=log, flush=True)
                bar = BAR.search(text)
                if bar:
                    on_progress(text[: bar.start()].rpartition(":")[0].strip(), int(bar[1]), int(bar[2]))
                elif whole:
                    last = [*last, text][-KEPT_LINES:]
                    tqdm.write(text, file=sys.stdout)
            status = process.wait()
        print(f"ended with status {status}", file=log)
    if status:
        raise ScriptFailedError(explain(_script(command), status, last))
    return last


def explain(name: str, status: int, lines: Sequence[str]) -> str:
    """Return the message about a script that failed: the remedy where it is known, then its last lines."""
    text = "\n".join(lines)
    known = next(
        (f.remedy.format(*found.groups()) for f in FAILURES if (found := re.search(f.pattern, text))), None
    )  # fmt: skip
    if known is None and (status in (-signal.SIGKILL, 137) or re.search(r"exitcode *: -9|SIGKILL", text)):
        known = "it was killed, likely out of main memory; end other programs, or use a machine with more"
    if known is None and (status in (-signal.SIGSEGV, 139) or "Segmentation fault" in text):
        known = "it crashed: a package with CUDA code (sam2, onnxruntime-gpu, flash-attn) does not fit the clone's torch; set its environment up again"
    end = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
    return "\n".join(
        [f"{name} {end}; {known or 'see its last lines'}", f"last lines of {LOG}:", *lines[-LAST_LINES:]]
    )  # fmt: skip


def _script(command: Sequence[str]) -> str:
    """Return the file name of the script in a command line."""
    return next((Path(word).name for word in command if word.endswith(".py")), command[0])


@contextlib.contextmanager
def _group(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command` in a session of its own; it ends with this block and with this process, with all that it started."""
    mark = secrets.token_hex(16)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    guard = None
    try:
        watching = [sys.executable, "-c", GUARD, str(config.PACKAGE.parent), mark]
        guard = subprocess.Popen(watching, stdin=subprocess.PIPE, start_new_session=True)
        yield process
    finally:
        try:
            end(mark)
        finally:
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
            if guard is not None:
                guard.kill()
                guard.communicate()


def end(mark: str, patience: float | None = None) -> None:
    """End all processes that bear a mark: with SIGTERM, after `patience` seconds (None: PATIENCE), or at an interrupt, with SIGKILL."""
    try:
        _signal(mark, signal.SIGTERM)
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while time.monotonic() < deadline and _marked(mark):
            time.sleep(0.1)
    finally:
        while _signal(mark, signal.SIGKILL):  # again: one may have started another meanwhile
            time.sleep(0.02)


def _signal(mark: str, number: int) -> int:
    """Send a signal to all processes that bear a mark; return how many they are."""
    found = _marked(mark)
    for member in found:
        with contextlib.suppress(psutil.Error):
            member.send_signal(number)
    return len(found)


def _marked(mark: str) -> list[psutil.Process]:
    """Return the processes that bear a mark and are not ended; those of other users are not looked at."""
    found = []
    for member in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if member.environ().get(MARK) == mark and member.status() != psutil.STATUS_ZOMBIE:
                found.append(member)
    return found


def _pieces(process: subprocess.Popen[bytes], look: Callable[[], None]) -> Iterator[tuple[str, bool]]:
    """Yield (text, whether it is a complete line): a carriage return ends the state of a progress bar, no line.

    `look` is called now and then; what it raises ends the work.
    """
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while True:
        ended_before = process.poll() is not None
        ready = select.select([process.stdout], [], [], LOOK_EVERY)[0]
        look()
        if not ready and not ended_before:
            continue
        block = os.read(process.stdout.fileno(), 65536) if ready else b""  # a child of an ended script may hold it open
        rest += decoder.decode(block, final=not block)
        *ended, rest = re.split(r"(\r\n|\n|\r)", rest)
        if not block:
            ended, rest = [*ended, rest, "\n"], ""
        for text, mark in zip(ended[::2], ended[1::2], strict=True):
            yield text, mark != "\r"
        if not block:
            return


class Steps:
    """Counts upstream's denoising steps over segments and GPUs, from the states of its bars.

    Each segment has a bar of its own that goes from 0 to `num_steps`; under torchrun every process draws it.
    """

    def __init__(self, num_segments: int, num_steps: int, num_processes: int) -> None:
        self.num_segments, self.num_steps, self._num_processes = num_segments, num_steps, num_processes
        self.segment = self.step = self._begun = 0

    def see(self, done: int, total: int) -> bool:
        """Take in the state `done` of `total` of a bar; return whether that is news."""
        if total != self.num_steps:  # a bar of another kind: for example loading weights
            return False
        if done == 0:
            self._begun += 1
            segment = (self._begun - 1) // self._num_processes
            news = segment > self.segment
            self.segment, self.step = segment, 0 if news else self.step
            return news
        ahead = total if self._num_processes == 1 else self.step + 1  # a late bar of the segment before is no news
        if not self.step < done <= ahead:
            return False
        self.step = done
        return True

    @property
    def done(self) -> int:
        """Steps done in all."""
        return min(self.segment, self.num_segments - 1) * self.num_steps + self.step
