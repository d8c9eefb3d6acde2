"""Several finished generations side by side: what sets each apart, its numbers, its video.

An entry is a mapping with `values` (name → value of what sets it apart), `run` (id), `status` and, where it failed,
`error`; a sweep's manifest holds one per point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from wanlab import config, media, runs
from wanlab.results.evaluate import RESULT

Entry = Mapping[str, Any]


def entries(chosen: Sequence[runs.Run]) -> list[Entry]:
    """Return an entry per point of each sweep and per generation among the runs; none twice.

    Generations are distinguished by the settings in which they differ, and by their inputs.
    """
    plain = [run for run in chosen if run.manifest["step"] != "sweep"]
    settings = [
        {"preview": False, **run.manifest["settings"], "inputs": ", ".join(run.manifest["parents"])} for run in plain
    ]
    hidden = config.GenerateSettings.conveniences()
    names = [
        name
        for name in (settings[0] if settings else ())
        if name not in hidden and len({config.digest(each.get(name)) for each in settings}) > 1
    ]
    found = [
        {"values": {name: each.get(name) for name in names}, "run": run.id, "status": run.status}
        for run, each in zip(plain, settings, strict=True)
    ]
    found += [point for run in chosen if run.manifest["step"] == "sweep" for point in run.manifest.get("points", ())]
    unique = {(entry.get("run") or config.digest(entry["values"])): entry for entry in found}
    return list(unique.values())


def title(entry: Entry) -> str:
    """Return what sets an entry apart, as text."""
    return ", ".join(f"{name} {value}" for name, value in entry["values"].items()) or entry.get("run", "")


def table(compared: Sequence[Entry]) -> pd.DataFrame:
    """Return a row per entry, numbered from 1: what sets it apart, its metrics, seconds and memory, its run or error."""
    rows = []
    for entry in compared:
        row, state = dict(entry["values"]), []
        if entry["status"] == "completed":
            run = runs.find_run(entry["run"])
            manifest = run.manifest
            state += ["preview"] if run.preview else []
            row |= manifest.get("metrics", {})
            row["seconds"] = round(manifest["seconds"].get("generate", 0.0), 1)  # loading and measuring left out
            memory = manifest.get("peak_gpu_memory_bytes", manifest["peak_memory_bytes"])
            row["memory GiB"] = round(memory / 2**30, 2)
        else:
            state.append(entry["status"])
        row["run"] = entry.get("error") or ", ".join([*([entry["run"]] if "run" in entry else []), *state])
        rows.append(row)
    last = ("seconds", "memory GiB", "run")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [*(name for name in names if name not in last), *(name for name in last if name in names)]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="point"), columns=pd.Index(columns))


def varied(compared: Sequence[Entry]) -> list[str]:
    """Return the names of what sets the entries apart, without those that have one value in all."""
    names = dict.fromkeys(name for entry in compared for name in entry["values"])
    return [name for name in names if len({config.digest(entry["values"].get(name)) for entry in compared}) > 1]


def previews(compared: Sequence[Entry]) -> list[str]:
    """Return what the previews among the entries left out, a phrase each, with the run's id where there are other entries."""
    found = [
        run for run in map(runs.find_run, (e["run"] for e in compared if e["status"] == "completed")) if run.preview
    ]
    return [phrase if len(compared) == 1 else f"{run.id}: {phrase}" for run in found for phrase in run.preview]


def finished(compared: Sequence[Entry]) -> dict[str, runs.Run]:
    """Return the finished runs by title, which marks previews; equal titles get the run's id beside them."""
    found: dict[str, runs.Run] = {}
    for entry in compared:
        if entry["status"] == "completed":
            run, name = runs.find_run(entry["run"]), title(entry)
            name += " (preview)" if run.preview else ""
            found[f"{name} ({run.id})" if name in found else name] = run
    return found


def videos(compared: Sequence[Entry]) -> dict[str, tuple[runs.Run, Path]]:
    """Return run and video file by title: the result, or of a begun run its preview."""
    found = {name: (run, run.path(RESULT)) for name, run in finished(compared).items()}
    for entry in compared:
        if entry["status"] == "begun":
            run = runs.find_run(entry["run"])
            made = run.manifest["artefacts"]["preview"]
            found[f"{title(entry)} ({made['steps']} of {made['of_steps']} steps)"] = run, run.path(made["file"])
    return found


def clips(compared: Sequence[Entry]) -> dict[str, media.Clip]:
    """Return the finished videos by title."""
    return {name: media.open_clip(run.path(RESULT)) for name, run in finished(compared).items()}
