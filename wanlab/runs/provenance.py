"""What else decides a result: source, versions, machine; texts without private paths."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wanlab import config


def source_hash() -> str:
    """Return a hash of wanlab's own Python files, so that reuse across a change of source can be reported."""
    whole = hashlib.sha256()
    for path in sorted(config.PACKAGE.rglob("*.py")):
        whole.update(path.relative_to(config.PACKAGE).as_posix().encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Return what else decides a result: versions, processor or GPU, git commit; no user, host or path."""
    import importlib.metadata
    import platform
    import subprocess

    versions = {}
    for name in ("torch", "diffusers", "transformers", "onnxruntime", "av", "numpy", "opencv-python-headless"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }
    torch = sys.modules.get("torch")  # only where the step has loaded it
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name(0)
    commit = (
        subprocess.run(
            ["git", "-C", str(config.project_root()), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        if shutil.which("git")
        else None
    )
    if commit and commit.returncode == 0:
        facts["git_commit"] = commit.stdout.strip()
    return facts


def scrub(text: str, folders: Iterable[str] = ()) -> str:
    """Return `text` without the absolute paths, user and host of this machine, so that it may be published.

    Args:
        text: what is going to be shared.
        folders: more folders to leave out, as they are written in `text`.
    """
    swaps = {
        str(config.outputs_root()): "outputs",
        str(config.project_root()): ".",
        sys.base_prefix: "python",
        str(Path.home()): "~",
    }
    host = socket.gethostname()
    if len(host) > 3:
        swaps[host] = "host"
    swaps |= dict.fromkeys(folders, "…")
    names = sorted((old for old in swaps if len(old) > 1), key=len, reverse=True)
    embedded = "[A-Za-z0-9+/]{256,}"  # base64 of a video holds "/usr" or a short host name by chance: it is left alone
    return re.sub("|".join([embedded, *map(re.escape, names)]), lambda found: swaps.get(found[0], found[0]), text)
