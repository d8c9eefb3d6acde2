"""What `wanlab runs` does: list the runs, compare two, remove some, cancel one that works."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from wanlab import config, files, runs
from wanlab.runs import watching

PATIENCE = 30.0  # seconds that a cancelled run may take for its current denoising step


def overview() -> list[tuple[str, str]]:
    """Return per run its id and a description: status, time, progress, why it failed, its size on disk."""
    lines = [(run.id, f"{state(run)}, {in_bytes(size(run.folder))}") for run in runs.list_runs()]
    for folder, wrong in runs.list_damaged():
        lines.append((folder.name, f"damaged ({runs.MANIFEST}: {wrong}), {in_bytes(size(folder))}"))
    return lines


def size(folder: Path) -> int:
    """Return the bytes of a run's folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def in_bytes(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def compare(first: runs.Run, second: runs.Run) -> pd.DataFrame:
    """Return what differs between two runs, a row each: settings, inputs, models, versions, numbers.

    Returns:
        columns named by the ids, rows by what differs; of two numbers also the change.
    """
    facts = [_facts(first), _facts(second)]
    rows = []
    for name in dict.fromkeys((*facts[0], *facts[1])):
        a, b = (fact.get(name) for fact in facts)
        if a != b:
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b))
            rows.append((name, a, b, f"{b - a:+.4g}" if numbers else ""))  # type: ignore[operator]
    columns = pd.Index([first.id, second.id, "change"])
    return pd.DataFrame([row[1:] for row in rows], index=pd.Index([row[0] for row in rows]), columns=columns)


def named(text: str) -> runs.Run:
    """Return the run that `text` names to be removed: an id, `latest`, or the path of a folder that lies in the outputs.

    Raises:
        FileNotFoundError: if there is none.
        SettingsError: for a link, whatever it leads to, and a folder elsewhere.
    """
    text = pasted(text)
    if text == "latest":
        return runs.find_run(text, previews=True)
    typed, outputs = Path(text).expanduser(), config.outputs_root()
    starts = (Path.cwd(), config.project_root()) if os.sep in text else (outputs,)
    found = next((path for start in starts if (path := start / typed).exists()), None)
    if found is None:
        raise FileNotFoundError(f"{text} is not a run in {config.typed(outputs)}; `wanlab runs` lists them")
    try:
        return runs.Run(files.check_run(found))
    except ValueError as error:
        raise config.SettingsError(str(error)) from None


def pasted(text: str) -> str:
    """Return a run's id, `latest`, or the path of a folder from the shell's, without what was pasted around it; a note says so."""
    start = Path.cwd() if os.sep in text else config.outputs_root()
    text = config.mended("RUN", text, start, ("latest",))
    here = Path.cwd() / config.expanded(text)
    return str(here) if os.sep in text and here.exists() else text


def remove(
    chosen: Sequence[runs.Run], confirm: Callable[[str], bool], by_hand: Callable[[Path], str] = lambda _: ""
) -> list[runs.Run]:
    """Delete the folders of runs, each after a question that names what is lost.

    Args:
        chosen: runs that no process works on.
        confirm: asks a question; True removes.
        by_hand: what the user made by hand in a run folder, in a few words; else empty.

    Returns:
        the runs that were removed.

    Raises:
        SettingsError: if one is no run folder of the outputs; nothing is removed then.
        RuntimeError: if one is being worked on; nothing is removed then.
    """
    try:
        chosen = list({files.check_run(run.folder): run for run in chosen}.values())
    except ValueError as error:
        raise config.SettingsError(str(error)) from None
    for run in chosen:
        if run.status == "running":
            raise RuntimeError(
                f"run {run.id} must not be removed while it works; cancel it: wanlab runs cancel {run.id}"
            )
    removed = []
    for run in chosen:
        users = [other.id for other in _users(run) if other.id not in {gone.id for gone in chosen}]
        used = f"; {', '.join(users)} {'was' if len(users) == 1 else 'were'} made from it" if users else ""
        lost = f"; {made} go with it" if (made := by_hand(run.folder)) else ""
        question = f"remove {run.id} ({state(run)}, {in_bytes(size(run.folder))}{used}{lost})?"
        if confirm(config.printable(question)):
            with run.alone():
                files.remove_run(run.folder)
            removed.append(run)
    return removed


def cancel(run: runs.Run, patience: float = PATIENCE) -> bool:
    """Interrupt the process that works on a run, as Ctrl-C would; what is finished stays.

    Args:
        run: a running one.
        patience: seconds to wait for it to stop.

    Returns:
        whether it has stopped; a denoising step of the real model can take longer.

    Raises:
        RuntimeError: if it is not running, runs on another machine, or is a point of a sweep that runs.
    """
    owner = runs.owner(run.folder)
    sweep = next(
        (other for other in _users(run) if other.status == "running" and other.manifest["step"] == "sweep"), None
    )
    if run.status == "running" and sweep:
        raise RuntimeError(f"run {run.id} must not be cancelled alone, sweep {sweep.id} works on it; cancel that")
    if run.status != "running" or owner is None:
        raise RuntimeError(f"run {run.id} must be running to be cancelled, got {run.status}; nothing to do")
    if not owner.is_here:
        raise RuntimeError(f"{owner} works on run {run.id}; give the command there")
    runs.ask_to_stop_all_of(owner.pid)
    os.kill(owner.pid, signal.SIGINT)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if runs.Run(run.folder).status != "running":
            return True
        time.sleep(0.2)
    return False


def working(to: str = "cancel") -> runs.Run:
    """Return the newest run that works, of a sweep and its points the sweep.

    Args:
        to: what it is wanted for, for the message.

    Raises:
        FileNotFoundError: if none does.
    """
    found = [run for run in runs.list_runs() if run.status == "running"]
    ids = {run.id for run in found}
    for run in reversed(found):
        if not any(user.id in ids for user in _users(run)):
            return run
    raise FileNotFoundError(f"no run works, nothing to {to}; `wanlab runs` lists them")


def state(run: runs.Run) -> str:
    """Return how a run is: status, time, how far it is, why it failed, what is kept."""
    manifest = run.manifest
    if run.status == "running":
        return watching.look(run).words()
    said = [manifest["error"]["text"].partition("\n")[0]] if manifest.get("error") else []
    kept = watching.look(run).kept
    said += [f"kept: {kept}"] if kept else []
    error = f" ({'; '.join(said)})" if said else ""
    preview = ", a preview" if run.preview else ""
    return f"{run.status}{error}{preview}, {manifest.get('seconds_total', 0):.0f} s"


def _users(run: runs.Run) -> Iterable[runs.Run]:
    """Yield the runs that were made from a run."""
    for other in runs.list_runs():
        points = {point.get("run") for point in other.manifest.get("points", ())}
        if run.id in (*other.manifest["parents"], *points):
            yield other


def _facts(run: runs.Run) -> dict[str, object]:
    """Return what may differ between two runs by name."""
    manifest = run.manifest
    environment = manifest.get("environment", {})
    hidden = {*config.GenerateSettings.conveniences(), "inputs"}
    numbers = dict(manifest.get("metrics", {}))
    if any(isinstance(value, dict) for value in numbers.values()):  # an inspection's: a row of them per variant
        numbers = {f"{name} {metric}": v for name, row in numbers.items() for metric, v in row.items()}
    return {
        "step": manifest["step"],
        "status": run.status,
        **{name: value for name, value in manifest["settings"].items() if name not in hidden},
        **{f"SHA-256 of {name}": facts["sha256"][:12] for name, facts in manifest["inputs"].items()},
        **{f"model {name}": str(mark)[:12] for name, mark in manifest["models"].items()},
        "wanlab": f"{manifest['wanlab']} ({manifest['source_hash'][:8]})",
        **environment.get("versions", {}),
        "processor": environment.get("gpu") or environment.get("system"),
        **numbers,
        "seconds": manifest.get("seconds_total"),
        "memory GiB": round(manifest.get("peak_memory_bytes", 0) / 2**30, 2),
    }
