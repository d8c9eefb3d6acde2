"""The steps in processes of their own, which tests kill or let run out of disk, and what their runs hold afterwards."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from wanlab import config, files, media, runs
from wanlab.runs import notebook, page
from wanlab.steps import generate, inspect, preprocess, sweep

IMPORTED = (
    "torch", "wanlab.model.sampling", "wanlab.model.networks", "wanlab.pose.detection", "wanlab.steps.sweep", "wanlab.steps.inspect",
)  # fmt: skip
NAMES = {"preprocess": "10_preprocess", "inspect": "20_inspect", "generate": "30_generate", "sweep": "40_sweep", "report": "50_report"}  # fmt: skip


def work(stage: str, values: Mapping[str, Any]) -> None:
    """Do what a step's notebook does; a report through its notebook, which is what it makes."""
    settings = config.NOTEBOOKS[stage][1].build(values)
    if stage == "preprocess":
        preprocess.work(preprocess.prepare(settings))
    elif stage == "inspect":
        inspect.work(inspect.prepare(settings))
    elif stage == "generate":
        generate.work(generate.prepare(settings))
    elif stage == "sweep":
        run = sweep.prepare(settings)
        sweep.work(run)
        sweep.finish(run)
    elif notebook.execute(stage, NAMES[stage], values)[0]:
        raise RuntimeError("the report has failed")


def start(stage: str, values: Mapping[str, Any], outputs: Path, limit: int | None = None) -> BaseProcess:
    """Start a step in a process that has its imports already.

    Args:
        stage: preprocess, inspect, generate, sweep or report.
        values: its settings.
        outputs: the outputs folder; what is printed goes into `said.txt` beside it.
        limit: bytes that a file may have at most.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    outputs.parent.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=_child, args=(stage, dict(values), str(outputs), limit))
    process.start()
    return process


def said(outputs: Path) -> str:
    """Return what the last step with these outputs has printed."""
    return (outputs.parent / "said.txt").read_text(encoding="utf-8")


def whole(stage: str, values: Mapping[str, Any], outputs: Path) -> float:
    """Run a step to its end; return how many seconds it took."""
    began = time.monotonic()
    process = start(stage, values, outputs)
    process.join()
    assert process.exitcode == 0, said(outputs)
    return time.monotonic() - began


def results(outputs: Path) -> dict[str, dict[str, str]]:
    """Return per run (step and hash) the contents of its files, which must all be whole."""
    found = {}
    for manifest in sorted(outputs.glob("*/manifest.json")):
        made = json.loads(manifest.read_text())
        found[f"{made['step']} {made['hash']}"] = contents(manifest.parent)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Return hashes of what the files of a run hold: of videos the frames, of archives the arrays."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if files.is_part(path):
            continue
        if path.suffix in (".mkv", ".mp4"):
            found[name] = hashlib.sha256(media.read_video(path).frames.tobytes()).hexdigest()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = hashlib.sha256(b"".join(arrays[key].tobytes() for key in sorted(arrays))).hexdigest()
        elif path.suffix == ".npy":
            found[name] = hashlib.sha256(np.load(path).tobytes()).hexdigest()
        elif path.suffix == ".png" or path.name in (generate.METRICS, inspect.NUMBERS):
            found[name] = files.sha256(path)
        elif path.name == page.REPORT:
            text = path.read_text(encoding="utf-8").rstrip()
            found[name] = f"{text.count('<video')} videos, whole: {text.endswith('</html>')}"
    return found


def count_denoising() -> list[int]:
    """Count the calls of the denoiser in this process, in a list of one number."""
    from wanlab.model import networks

    original, calls = networks.Networks.denoise, [0]

    def counted(self: networks.Networks, *args: Any, **how: Any) -> Any:
        calls[0] += 1
        return original(self, *args, **how)

    networks.Networks.denoise = counted  # type: ignore[method-assign]
    return calls


def _child(stage: str, values: Mapping[str, Any], outputs: str, limit: int | None) -> None:
    import torch

    os.setpgid(0, 0)  # with its own children: they are killed together
    os.environ["WANLAB_OUTPUTS"] = outputs
    log = os.open(Path(outputs).with_name("said.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    torch.set_num_threads(1)  # the same everywhere: it decides the last bits
    calls = count_denoising()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    work(stage, values)
    print("denoising calls:", calls[0])


def fill(stage: str, values: Mapping[str, Any], outputs: Path, size: int) -> None:
    """Run a step on a disk of its own of so many bytes, then again on a larger one; print what came of it as JSON."""
    import torch

    torch.set_num_threads(1)
    outputs.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(outputs)], check=True)
    os.environ["WANLAB_OUTPUTS"] = str(outputs)
    message = ""
    try:
        work(stage, values)
    except Exception as error:
        message = str(error)
    found = [(run.status, run.manifest.get("error", {}).get("text", "")) for run in runs.list_runs()]
    kept = results(outputs)
    subprocess.run(["mount", "-o", "remount,size=1g", "none", str(outputs)], check=True)
    calls = count_denoising()
    work(stage, values)
    told = {"message": message, "found": found, "kept": kept, "results": results(outputs), "calls": calls[0]}
    print(json.dumps(told))


if __name__ == "__main__":
    fill(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
