"""Where FLUX.1-Kontext's weights are in a checkpoint; loads nothing."""

from __future__ import annotations

from pathlib import Path

from wanlab import config

FOLDER = Path("process_checkpoint") / "FLUX.1-Kontext-dev"  # as upstream has it


def find(checkpoint: Path) -> Path:
    """Return the folder of the weights: in a checkpoint, else in `config.weight_folders`; the first is where they are downloaded to.

    Raises:
        FileNotFoundError: if they are not there, with what brings them.
    """
    for folder in config.weight_folders(checkpoint):
        if (folder / FOLDER / "model_index.json").is_file():
            return folder / FOLDER
    raise FileNotFoundError(
        f"use_flux needs FLUX.1-Kontext-dev in {FOLDER.parent} of the checkpoint or of {config.CHECKPOINT_FOLDERS[0]}, which is "
        "missing: accept its licence at huggingface.co/black-forest-labs/FLUX.1-Kontext-dev (the weights are gated, 34 GB), log in "
        "(hf auth login), then wanlab models download --source huggingface --only flux; or leave use_flux out"
    )


def fingerprint(folder: Path) -> str:
    """Return a hash of the names and sizes of the weights' files."""
    return config.digest({str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*.*"))})
