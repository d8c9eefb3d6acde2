"""Several finished generations side by side: what sets each apart, its numbers, its video.

An entry is a mapping with `values` (name → value of what sets it apart), `run` (id), `status` and, where it failed,
`error`; a sweep's manifest holds one per point.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wanlab import config, media, runs
from wanlab.results.evaluate import RESULT

Entry = Mapping[str, Any]
SETTLED = "settled_step"  # in a manifest: after which less than 1 % changed; None: the last step still did
LOADED_S = 0.1  # seconds: finding the networks of the point before takes 0.002, loading the smallest checkpoint 2


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


def command(run: runs.Run, earlier: str | None = None, complete: bool = False) -> str:
    """Return the command that makes a run again: the same settings, so that the finished run is found, or made exactly alike.

    Args:
        run: of any step.
        earlier: folder or id of the inputs; None: as the run has them.
        complete: name the settings that have their default, too, since another version may have another one.
    """
    model = config.NOTEBOOKS[run.manifest["step"]][1]
    settings, defaults = dict(run.manifest["settings"]), model.build({}).model_dump(mode="json")
    came_from = [parent for parent in run.manifest["parents"] if parent == Path(str(settings.get("inputs"))).name]
    if "inputs" in settings and (earlier or came_from):
        settings["inputs"] = earlier or came_from[0]  # an id is found wherever the shell is
    words = ["wanlab", run.manifest["step"]]
    for name, value in settings.items():
        is_needed = complete or value != defaults.get(name)
        if name not in model.conveniences() and value is not None and value != [] and is_needed:
            words += [f"--{name}", _flag_text(value, "," if model.takes_several(name) and name != "compare" else " ")]
    return shlex.join(words)


def _flag_text(value: Any, between: str) -> str:
    """Write a setting as the command line reads it: grids as YAML."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return between.join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def table(compared: Sequence[Entry]) -> pd.DataFrame:
    """Return a row per entry, numbered from 1: what sets it apart, its metrics, seconds and memory, its run or error."""
    rows, done = [], {}
    for entry in compared:
        row, state = dict(entry["values"]), []
        if entry["status"] == "completed":
            run = runs.find_run(entry["run"])
            manifest = run.manifest
            done[len(rows)] = manifest
            state += ["preview"] if run.preview else []
            row |= manifest.get("metrics", {})
            row["seconds"] = manifest["seconds"].get("generate", 0.0)  # loading and measuring left out
            memory = manifest.get("peak_gpu_memory_bytes", manifest["peak_memory_bytes"])
            row["memory GiB"] = round(memory / 2**30, 2)
            if SETTLED in manifest:
                row["settled at step"] = manifest[SETTLED]
        else:
            state.append(entry["status"])
        row["run"] = entry.get("error") or ", ".join([*([entry["run"]] if "run" in entry else []), *state])
        rows.append(row)
    for i, seconds in _without_warm_up(done).items():
        rows[i]["seconds"] = round(seconds, 1)
    last = ("settled at step", "seconds", "memory GiB", "run")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [*(name for name in names if name not in last), *(name for name in last if name in names)]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="point"), columns=pd.Index(columns))


def _without_warm_up(manifests: Mapping[int, Mapping[str, Any]]) -> dict[int, float]:
    """Return the seconds of each generation, of those that had to warm up what the others of their size took.

    The first point of a sweep also encodes what all share, compiles the model and reads its weights in: that is no
    price of its settings. By equal work it gets the others' median, else what a line through their calls foresees.

    Args:
        manifests: of finished runs, by any number.
    """
    found = {i: float(each["seconds"].get("generate", 0.0)) for i, each in manifests.items()}
    warm: dict[str, list[tuple[int, float]]] = {}
    for i, each in manifests.items():
        if not _warmed_up(each):
            warm.setdefault(_size(each), []).append((each.get("denoise_calls", 0), found[i]))
    for i, each in manifests.items():
        others, calls = warm.get(_size(each), []), each.get("denoise_calls", 0)
        if not _warmed_up(each) or not others:
            continue
        alike = [seconds for number, seconds in others if number == calls]
        if alike:
            foreseen = float(np.median(alike))
        elif len({number for number, _ in others}) > 1:
            slope, start = np.polyfit([number for number, _ in others], [seconds for _, seconds in others], 1)
            foreseen = start + slope * calls
        else:
            foreseen = others[0][1] * calls / max(others[0][0], 1)
        found[i] = min(found[i], foreseen) if foreseen > 0 else found[i]
    return found


def _warmed_up(manifest: Mapping[str, Any]) -> bool:
    """Return whether a run was the first of its size in its process; of older runs, whether it loaded the model."""
    return manifest.get("warmed_up", manifest["seconds"].get("load", 0.0) > LOADED_S)


def _size(manifest: Mapping[str, Any]) -> str:
    """Return what decides the time of a denoising call."""
    made, chosen = manifest.get("artefacts", {}).get("video", {}), manifest["settings"]
    names = ("checkpoint", "backend", "segment_frame_length", "precision", "quantization", "attention")
    return config.digest([[made.get(n) for n in ("frames", "height", "width")], [chosen.get(n) for n in names]])


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
