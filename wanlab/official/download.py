"""Downloads of the original checkpoint, by the clients that Hugging Face and ModelScope maintain."""

from __future__ import annotations

import fnmatch
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from wanlab import config
from wanlab.files import targets
from wanlab.official import clone

CLIENTS = (".cache", "._____temp", ".msc", ".mdl", ".mv")  # what the clients themselves leave in a checkpoint's folder


def download(source: str, only: str | None, text: str) -> None:
    """Download the checkpoint, or a part of it; files that are there already are not fetched again.

    Args:
        source: one of `clone.SOURCES`.
        only: one of `clone.PARTS`; None: all of the model's repository.
        text: the checkpoint's folder as it was typed; a relative one starts at the project root.

    Raises:
        SettingsError: if the folder is neither new, nor empty, nor a checkpoint: the clients write over what lies there.
        FileNotFoundError: if the client is not installed; the message names the command.
        RuntimeError: if it ends badly; the same command continues from there.
    """
    check(text)
    command = clone.download(source, only, Path(text))
    beside = Path(sys.executable).with_name(command[0])  # wanlab's own environment comes first
    client = str(beside) if beside.is_file() else shutil.which(command[0])
    if client is None:
        raise FileNotFoundError(
            f"source must have its client installed, {command[0]} is not; install it: .venv/bin/python -m pip install '.[download]'"
        )
    print(f"$ {shlex.join(command)}", flush=True)
    done = subprocess.run([client, *command[1:]], cwd=config.project_root(), check=False)
    if done.returncode:
        raise RuntimeError(
            f"the download ended with status {done.returncode}; the same command continues from what is there"
        )


def check(text: str) -> None:
    """Refuse a folder that a download could spoil.

    Raises:
        SettingsError: if it is neither new, nor empty, nor holds a part of the checkpoint; or a place that is never filled.
    """
    folder = targets.folder("checkpoint", text)
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    whole = {pattern.partition("/")[0] for patterns in clone.PARTS.values() for pattern in patterns}
    known = [*whole - {"config.json"}, *CLIENTS]
    if there and not any(fnmatch.fnmatch(name, pattern) for name in there for pattern in known):
        found = f"{text}, which holds {', '.join(there[:3])}{' …' if len(there) > 3 else ''}"
        raise targets.refused("checkpoint", "be new, empty, or a folder of the checkpoint", found, "a new folder")
