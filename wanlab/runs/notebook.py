"""Run a notebook without JupyterLab, and render an executed notebook as one self-contained page."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from wanlab import config, files, runs
from wanlab.files import locks, targets
from wanlab.runs.page import REPORT, render

NOTEBOOK = "notebook.ipynb"
BUSY = 3  # what `_run` returns where another process works on the run
METADATA = "wanlab"  # in a notebook: the status of its run when it was executed
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # and movements of the cursor, of progress bars
LOGS = ".logs"  # folder below outputs/ for the output of detached commands


class NotebookFailedError(RuntimeError):
    """A cell of a notebook failed after its run was made."""


class _Interrupts:
    """What Ctrl-C, SIGTERM and a closed terminal do: the first one interrupts the kernel and waits for it, the next ends it.

    nbclient's own way is to end the kernel within 5 seconds, in the middle of a step.
    """

    def __init__(self) -> None:
        self.heard = self.begun = self.ended = False
        self.kernel: int | None = None  # process number while a kernel runs

    def hear(self, *_: object) -> None:
        """Take a signal."""
        if self.heard or self.kernel is None:
            self.ended = True
            if self.kernel is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.kernel, signal.SIGKILL)
            raise KeyboardInterrupt
        self.heard = True
        print("wanlab: interrupted; the current step is ended first (a second time: at once)", file=sys.stderr)
        if self.begun:  # else there is nothing to interrupt, and the first cell is not begun
            runs.ask_to_stop_all_of(self.kernel)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.kernel, signal.SIGINT)

    def began(self, kernel: int) -> None:
        """Take the process number of the kernel."""
        self.kernel = kernel

    def before_cell(self, **_: object) -> None:
        """Begin no cell after an interrupt: between two cells a kernel handles none."""
        self.begun = True
        if self.heard:
            raise KeyboardInterrupt


def execute(step: str, name: str, values: Mapping[str, Any]) -> tuple[int, Path | None]:
    """Run notebook `name` with `values` in a kernel of its own; leave notebook and report in the run's folder.

    Args:
        step: name of the step, for messages.
        name: notebook's file name in `notebooks/`, without suffix.
        values: what the `parameters` cell is overwritten with, JSON types.

    Returns:
        exit status (0 done, 1 failed or interrupted, 2 bad parameters) and the run folder, None if the notebook made none,
        or if another process works on it: its notebook and page are that one's.

    Raises:
        KeyboardInterrupt: if it was interrupted twice, or not in the notebook.
        OSError: if the notebook or its page cannot be written; a full disk is named.
    """
    files.remove_dead_parts(config.outputs_root())
    place = config.outputs_root() / f"{name}.ipynb"
    with _naming_a_full_disk(place), files.part(place) as executed, _interrupts() as stop:
        status = _run(config.project_root() / "notebooks" / f"{name}.ipynb", executed, values, stop)
        if status == BUSY:
            return 1, None
        folder = _run_folder(executed)
        if folder is None and stop.heard:
            return status, None
        if folder is None:
            kept = targets.unused(config.outputs_root() / f"failed_{name}.ipynb")
            _publish(executed, values, "failed")
            targets.record(kept, files.sha256(executed))
            files.put(executed, kept)
            print(f"wanlab: {step} made no run; its notebook is {config.typed(kept)}", file=sys.stderr)
            return status or 1, None
        if step == "report":
            _finish_report(runs.Run(folder), executed, values, status, stop)
        else:
            _keep(runs.Run(folder), executed, values)
    if stop.heard:
        print("wanlab: finished work is kept, the same command continues from there", file=sys.stderr)
    print(f"{step}: {config.typed(folder / REPORT)}", flush=True)
    return status, folder


class _Plain:
    """A stream without what a terminal takes for orders: file names, tags and notes of others may hold them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(config.printable(COLOURS.sub("", text)))

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def _naming_a_full_disk(path: Path) -> Iterator[None]:
    """Explain a full disk and the remedy also where papermill wrote, which does neither."""
    try:
        yield
    except OSError as error:
        if error.errno in files.FULL_DISK and "disk full" not in str(error):
            raise files.explained(error, path) from error
        raise


def _keep(run: runs.Run, executed: Path, values: Mapping[str, Any]) -> None:
    """Put an executed notebook and its page into the run's folder; a reused run keeps the notebook of the work itself."""
    notebook, page = run.folder / NOTEBOOK, run.folder / REPORT
    if not (run.completed and _status_of(notebook) == "completed"):
        _publish(executed, values, run.status)
        files.put(executed, notebook)
    if not page.is_file() or page.stat().st_mtime_ns < notebook.stat().st_mtime_ns:
        render(notebook, page, preview=bool(run.preview))


def _finish_report(run: runs.Run, executed: Path, values: Mapping[str, Any], status: int, stop: _Interrupts) -> None:
    """Put a report's notebook and page into its folder: only now it is completed."""
    with contextlib.suppress(NotebookFailedError, KeyboardInterrupt), run.working():
        _publish(executed, values, "failed" if status else "completed")
        files.put(executed, run.folder / NOTEBOOK)
        title = run.manifest["settings"].get("title")
        render(run.folder / NOTEBOOK, run.folder / REPORT, hide_code=True, preview=bool(run.preview), title=title)
        run.add_artefact("page", REPORT)
        if stop.heard:
            raise KeyboardInterrupt
        if status:
            raise NotebookFailedError(f"a cell of the notebook failed; see {REPORT}")


def _run(source: Path, executed: Path, values: Mapping[str, Any], stop: _Interrupts) -> int:
    """Execute the notebook `source` with `values` into the file `executed`; return the exit status."""
    _import_jsonschema()
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from wanlab.runs import kernels

    before = os.environ.get("WANLAB_HEADLESS", "")
    os.environ["WANLAB_HEADLESS"] = "1"  # the kernel inherits it
    try:
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters=dict(values),
            kernel_name=kernels.NAME,
            cwd=str(config.project_root()),
            progress_bar=False,
            stdout_file=_Plain(sys.stdout),
            stderr_file=_Plain(sys.stderr),
            extra_arguments=["--IPKernelApp.log_level=50"],  # ipykernel calls its usual sockets and shutdown an error
            kernel_manager_class=kernels.manager(stop.began),
            on_cell_start=stop.before_cell,
        )
    except PapermillExecutionError as error:
        for line in str(error.evalue).splitlines():
            print(f"wanlab: {config.printable(line)}", file=sys.stderr)
        if error.ename == locks.BusyError.__name__:
            return BUSY
        return 2 if error.ename in (config.SettingsError.__name__, FileNotFoundError.__name__) else 1
    except DeadKernelError:
        if not stop.heard:
            print(f"wanlab: {runs.DIED}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if stop.ended or not stop.heard:
            raise
        return 1
    finally:
        stop.kernel = None
        os.environ["WANLAB_HEADLESS"] = before
    return 0


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Listen to signals, where this is the main thread; those that are ignored stay so (nohup, `&` in a script)."""
    stop = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, stop.hear)
    try:
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)


def detach(command_line: Sequence[str]) -> int:
    """Give a `wanlab` command to a process of its own, which outlives this one, and wait until it has its run.

    Args:
        command_line: what was typed after `wanlab`, `--detach` among it.

    Returns:
        exit status: 0 if it works, else its own.
    """
    folder = files.make_folder(config.outputs_root() / LOGS)
    log = folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}_{command_line[0]}_{os.getpid()}.log"
    command = [sys.executable, "-m", "wanlab.cli", *(word for word in command_line if word != "--detach")]
    with log.open("x") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a closed terminal or a restarted kernel does not take it along
            env={**os.environ, runs.LOG: log.name},
        )
    while process.poll() is None:
        for run in runs.list_runs():
            if run.manifest.get("log") == log.name:
                print(f"{run.id} works in the background; its output goes to {config.typed(log)}")
                print(f"wanlab runs shows its progress, wanlab runs cancel {run.id} stops it")
                process.returncode = 0  # it runs on its own, without a parent that waits
                return 0
        time.sleep(0.3)
    print(log.read_text(encoding="utf-8"), end="")
    return process.returncode


def _publish(notebook: Path, values: Mapping[str, Any], status: str) -> None:
    """Take absolute paths, user and host out of an executed notebook, for it is going to be shared; record its run's status."""
    given = [Path(text) for text in _texts(values) if Path(text).is_absolute()]
    folders = [json.dumps(str(path.parent))[1:-1] for path in given]
    content = json.loads(runs.scrub(notebook.read_text(encoding="utf-8"), folders))
    content["metadata"].get("papermill", {}).pop("environment_variables", None)
    content["metadata"][METADATA] = {"status": status}
    files.write_json(notebook, content)


def _status_of(notebook: Path) -> str | None:
    """Return the status that the run of a published notebook had; None where that is not known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads(notebook.read_text(encoding="utf-8"))["metadata"][METADATA]["status"]
    return None


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a parameter, those in lists and mappings too."""
    if isinstance(value, str):
        yield value
        yield from (part.strip() for part in value.split(",") if "," in value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)


def _run_folder(notebook: Path) -> Path | None:
    """Return the run folder that a cell of the notebook displayed; a kernel ended early leaves no notebook, perhaps."""
    with contextlib.suppress(ValueError):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                with contextlib.suppress(KeyError, TypeError):
                    return config.outputs_root() / output["data"][runs.MIMETYPE]["id"]
    return None


def _import_jsonschema() -> None:
    """Import what papermill and nbconvert check notebooks with, without its grammar of IRIs: 2 of their 3 seconds, never used."""
    grammar = "rfc3987_syntax"
    if "jsonschema" in sys.modules or grammar in sys.modules:
        return
    sys.modules[grammar] = None  # type: ignore[assignment]  # whoever imports it is told that it is not installed
    try:
        importlib.import_module("jsonschema")
    finally:
        del sys.modules[grammar]
