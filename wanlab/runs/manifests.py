"""Reading a run's manifest.json: no other module parses one; truncated or edited ones are detected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import pydantic

from wanlab import config, files

# papermill's words; begun: stopped where it was asked to; cancelled: by Ctrl-C, SIGTERM or `wanlab runs cancel`
Status = Literal["pending", "running", "begun", "completed", "failed", "cancelled"]
STATUSES: tuple[str, ...] = get_args(Status)
SCHEMA = 1  # raised when an older wanlab could not read it
MAX_BYTES = 16_000_000  # a sweep of 10,000 points has 4 MB


class DamagedManifestError(RuntimeError):
    """A folder's manifest.json is not one that wanlab wrote; the text names the folder and what is wrong."""


def read(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest as its file holds it.

    Raises:
        DamagedManifestError: if it is none that this wanlab can read.
        FileNotFoundError: if there is none.
    """
    manifest, wrong = _checked(folder / files.MANIFEST)
    if wrong:
        raise DamagedManifestError(
            f"{folder.name}/{files.MANIFEST} is damaged: {wrong}; its folder is left as it is, the same settings make a new run"
        )
    return manifest


def fault(folder: Path) -> str:
    """Return in a few words what is wrong with a folder's manifest, nothing where all is well or there is none."""
    try:
        return _checked(folder / files.MANIFEST)[1]
    except FileNotFoundError:
        return ""


class _Table(pydantic.BaseModel, extra="allow", strict=True):
    """A part of a manifest: it may hold more than these fields, but no other types in them."""


class _Input(_Table):
    sha256: str


class _Artefact(_Table):
    file: str
    bytes: int


class _Error(_Table):
    type: str
    text: str


class _Point(_Table):
    values: dict[str, Any]
    status: str


class _Environment(_Table):
    python: str
    system: str
    versions: dict[str, str]


class _Manifest(_Table):
    """What every reader of a manifest takes for granted."""

    step: str
    hash: str
    status: Status
    settings: dict[str, Any]
    inputs: dict[str, _Input]
    models: dict[str, Any]
    parents: list[str]
    wanlab: str
    source_hash: str
    artefacts: dict[str, _Artefact]
    seconds: dict[str, float]
    notes: list[str]
    preview: list[str] = []
    error: _Error | None = None
    points: list[_Point] = []
    metrics: dict[str, float | dict[str, float | None] | None] = {}
    environment: _Environment | None = None
    order: int = 0
    ended: str = ""
    kept: str = ""
    seconds_total: float = 0.0
    peak_memory_bytes: int = 0


def _checked(path: Path) -> tuple[dict[str, Any], str]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        return {}, f"it is {size / 1e6:.0f} MB large"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}, "it is cut off or no JSON"
    if not isinstance(manifest, dict):
        return {}, f"it holds no table but a {type(manifest).__name__}"
    if manifest.get("schema") != SCHEMA:
        return {}, f"its schema is {config.printable(str(manifest.get('schema'))[:20])}, this wanlab reads {SCHEMA}"
    try:
        _Manifest.model_validate(manifest)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        return {}, config.printable(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"[:200])
    return config.printable(manifest), ""
