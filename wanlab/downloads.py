"""Downloads of the original checkpoint, by the clients that Hugging Face and ModelScope maintain."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from wanlab import config, official_setup


def download(source: str, only: str | None, folder: Path) -> None:
    """Download the checkpoint, or a part of it, into `folder`; files that are there already are not fetched again.

    Args:
        source: one of `official_setup.SOURCES`.
        only: one of `official_setup.PARTS`; None: all of the model's repository.
        folder: the checkpoint's; a relative one starts at the project root.

    Raises:
        FileNotFoundError: if the client is not installed; the message says how.
        RuntimeError: if it ends badly; the same command goes on from there.
    """
    command = official_setup.download(source, only, folder)
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
            f"the download ended with status {done.returncode}; the same command goes on from what is there"
        )
