"""The page that JupyterLab opens with: the five notebooks and the newest runs, rendered when it is looked at, on no disk.

wanlab lab                          # names OwnContents, opens PAGE
"""

from __future__ import annotations

import base64
import datetime
import functools
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from wanlab import config, runs
from wanlab.cli.flags import STEPS

PAGE = "Start.md"
SHOWN = 8  # runs on the page
HEIGHT = 64  # pixels of a run's image
PICTURES = {"preprocess": "src_pose.mp4", "inspect": "src_pose.mp4", "generate": "result.mp4"}
VERBS = {
    "preprocess": "Begin: your own clip and character",
    "inspect": "Review and correct masks and poses",
    "generate": "Generate the video",
    "sweep": "Compare settings side by side",
    "report": "One page to share",
}
NEXT = {
    "preprocess": ("inspect", "generate"),
    "inspect": ("generate",),
    "generate": ("report", "sweep"),
    "sweep": ("report",),
}


class OwnContents(AsyncLargeFileManager):
    """The project's files, and the start page, which is made anew whenever it is asked for."""

    async def get(self, path: str, *args: Any, **more: Any) -> dict[str, Any]:
        """Return a file or folder."""
        if path.strip("/") != PAGE:
            return await super().get(path, *args, **more)
        now = datetime.datetime.now(datetime.UTC)
        model = {"name": PAGE, "path": PAGE, "type": "file", "writable": True, "created": now, "last_modified": now}
        text = page() if (args[0] if args else more.get("content", True)) else None
        shown = (
            {"content": text, "format": "text", "mimetype": "text/markdown"}
            if text
            else {"content": None, "format": None, "mimetype": None}
        )
        return {**model, **shown, "size": len(text or ""), "hash": None, "hash_algorithm": None}

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file; the start page is not kept."""
        return await (self.get(path, content=False) if path.strip("/") == PAGE else super().save(model, path))

    async def create_checkpoint(self, path: str) -> dict[str, Any]:
        """Keep a file's state; of the start page there is none to keep."""
        if path.strip("/") == PAGE:
            return {"id": "start", "last_modified": datetime.datetime.now(datetime.UTC)}
        return await super().create_checkpoint(path)

    async def list_checkpoints(self, path: str) -> list[dict[str, Any]]:
        """Return a file's kept states."""
        return [] if path.strip("/") == PAGE else await super().list_checkpoints(path)

    async def file_exists(self, path: str = "") -> bool:
        """Return whether there is a file."""
        return path.strip("/") == PAGE or await super().file_exists(path)


def page() -> str:
    """Return the start page as Markdown."""
    lines = ["# wanlab", "", "| | notebook | |", "| --- | :-- | :-- |"]
    for step, (name, _) in config.NOTEBOOKS.items():
        what = STEPS[step].rpartition(" (")[0]
        lines.append(f"| {name[:1]} | **[{VERBS[step]}]({_notebook(step)})** | {escape(what)} |")
    shown = [run for run in runs.list_runs() if not run.manifest.get("made_for")][-SHOWN:][::-1]
    lines += ["", "## Newest runs", ""]
    if shown:
        lines += ["| | run | state | next |", "| :-- | :-- | :-- | :-- |", *map(_row, shown)]
    else:
        lines.append("None yet: the first notebook makes one. `wanlab demo` shows all steps on a bundled clip.")
    lines += ["", "Close and open this page to see what has changed. More: [README](README.md) · [how to correct](docs/correcting.md) · "
              "[settings](docs/generating.md) · [runs and sweeps](docs/sweeps.md)", ""]  # fmt: skip
    return "\n".join(lines)


def _row(run: runs.Run) -> str:
    """Return a run's line: image, what it is, its state, what comes next."""
    from wanlab.runs import manage

    step = run.manifest["step"]
    when = datetime.datetime.strptime(run.id[:15], "%Y%m%dT%H%M%S").strftime("%d %b %H:%M UTC")
    title = run.manifest["settings"].get("title") if step == "report" else None
    name = f"**{config.NOTEBOOKS[step][0]}**<br>{escape(title or '')}{'<br>' if title else ''}<small>{when}<br>{run.id}</small>"
    cells = (_image(run), name, escape(manage.state(run)), " · ".join(_next(run)))
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"


def _next(run: runs.Run) -> list[str]:
    """Return links to what can be done with a run."""
    step = run.manifest["step"]
    if run.status == "running":
        return [f"[watch it]({_notebook(step)})"]
    if not run.completed:
        return [f"[go on with the same settings]({_notebook(step)})"]
    files = {"result.mp4": "play", "report.html": "page"}
    links = [f"[{word}]({_link(run.folder / name)})" for name, word in files.items() if _below(run.folder / name)]
    return [*links, *(f"[{VERBS[other].lower()}]({_notebook(other)})" for other in NEXT.get(step, ()))]


def _image(run: runs.Run) -> str:
    """Return a run's image as a part of the page; empty where it has none."""
    shown = _pictured(run)
    file = shown.folder / PICTURES.get(shown.manifest["step"], "")
    try:
        code = _thumbnail(file, file.stat().st_mtime_ns) if file.is_file() else ""
    except (OSError, ValueError):
        code = ""
    return f'<img alt="{run.manifest["step"]}" height="{HEIGHT}" src="data:image/jpeg;base64,{code}">' if code else ""


def _pictured(run: runs.Run) -> runs.Run:
    """Return whose image stands for a run: of a sweep its first point, of a report what it is about."""
    by_step = {
        "sweep": [point.get("run") for point in run.manifest.get("points", ())],
        "report": run.manifest["parents"],
    }
    others = map(_folder, by_step.get(run.manifest["step"], ()))
    first = next(filter(None, others), None)
    return _pictured(runs.Run(first)) if first else run


def _folder(run_id: str | None) -> Path | None:
    folder = config.outputs_root() / (run_id or "")
    return folder if run_id and (folder / runs.MANIFEST).is_file() else None


@functools.lru_cache(maxsize=64)
def _thumbnail(file: Path, _: int) -> str:
    """Return the middle frame of a video as base64 of a small JPEG."""
    import cv2

    from wanlab import media

    clip = media.open_clip(file)
    frame = media.Seeker(clip)[len(clip) // 2]
    size = (round(frame.shape[1] * 2 * HEIGHT / frame.shape[0]), 2 * HEIGHT)
    small = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()).decode("ascii")


def _notebook(step: str) -> str:
    return f"notebooks/{config.NOTEBOOKS[step][0]}.ipynb"


def _below(path: Path) -> bool:
    """Return whether a file is there, and below the server's folder, so that a link can lead to it."""
    return path.is_file() and path.resolve().is_relative_to(config.project_root())


def _link(path: Path) -> str:
    return quote(path.resolve().relative_to(config.project_root()).as_posix())
