"""Where FLUX.1-Kontext's weights are in a checkpoint; loads nothing."""

from __future__ import annotations

from pathlib import Path

from wanlab import config

FOLDER = Path("process_checkpoint") / "FLUX.1-Kontext-dev"  # as upstream has it


def find(checkpoint: Path) -> Path:
    """Return the folder of the weights in a checkpoint.

    Raises:
        FileNotFoundError: if they are not there, with what brings them.
    """
    folder = checkpoint / FOLDER
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"use_flux needs FLUX.1-Kontext-dev in {config.typed(folder)}, which is missing: accept its licence at "
            "huggingface.co/black-forest-labs/FLUX.1-Kontext-dev (the weights are gated, 34 GB), log in (hf auth login), then "
            "wanlab models download --only flux; or leave use_flux out"
        )
    return folder


def fingerprint(folder: Path) -> str:
    """Return a hash of the names and sizes of the weights' files."""
    return config.digest({str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*.*"))})
