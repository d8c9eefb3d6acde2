"""Where files live: the project, its assets, the outputs; how a path is shown to others."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = PACKAGE / "assets"
SHELL_FOLDER = "WANLAB_SHELL_FOLDER"  # where a `wanlab` command was given; its kernels and workers inherit it


def project_root() -> Path:
    """Return the folder that relative paths of notebooks and params start at: the checkout that holds `wanlab/`."""
    return PACKAGE.parent


def outputs_root() -> Path:
    """Return the folder of all runs: `outputs/` of the project, or the folder that WANLAB_OUTPUTS names (on a larger disk, for example)."""
    return Path(os.environ.get("WANLAB_OUTPUTS") or project_root() / "outputs").expanduser().resolve()


def headless() -> bool:
    """Return whether a notebook runs headless: `wanlab` sets WANLAB_HEADLESS for its kernels."""
    return bool(os.environ.get("WANLAB_HEADLESS"))


def absolute(path: Path | str) -> Path:
    """Return `path` made absolute from the project root, wherever the kernel was started."""
    return (project_root() / expanded(path)).resolve()


def expanded(path: Path | str) -> Path:
    """Return `path` with the home folder in place of ~; as it is where it is the ~ of nobody."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def existing_file(name: str, path: Path, words: Sequence[str] = ()) -> Path:
    """Return the file that a setting names, made absolute.

    Args:
        name: of the setting.
        path: its value.
        words: that it takes beside files.

    Raises:
        FileNotFoundError: if there is none.
    """
    full = absolute(path)
    if not full.is_file():
        what = "is a folder" if full.is_dir() else "does not exist"
        rule = "".join(f"{word}, " for word in words) + ("or a file" if words else "a file")
        raise FileNotFoundError(
            f"{name} must be {rule}, got {path}, which {what} (relative paths start at the project root){nearest(full)}"
        )
    return full


def nearest(path: Path) -> str:
    """Return words that name the file or folder most like one that is missing, such as `; did you mean a/b.mp4?`, or none."""
    if path.exists():  # of another kind than was asked for: its own name is no help
        return ""
    for folder in itertools.islice(path.parents, 3):
        missing = path.relative_to(folder).parts[0]
        if folder.is_dir():
            names = {folded(name): name for name in names_in(folder)}
            near = difflib.get_close_matches(folded(missing), names, n=1, cutoff=0.6)
            return f"; did you mean {typed(folder / names[near[0]])}?" if near else ""
    return ""


def names_in(folder: Path) -> list[str]:
    """Return the names of what lies in a folder, at most 10,000; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, 10_000)]
    except OSError:
        return []


def folded(name: str) -> str:
    """Return a name without the difference of upper and lower case, and of accents written in one or two pieces."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shown(path: Path | str) -> str:
    """Return `path` as it may be published: from the project root if it lies inside, else its name alone.

    Manifests and reports are shared; an absolute path would disclose a user's name and disks.
    """
    full = absolute(path)
    return _inside(full) or full.name


def typed(path: Path | str) -> str:
    """Return `path` as the user can paste it: from the project root for who works there, else whole; quoted where it must be.

    For messages. What is kept and shared takes `shown`; `runs.scrub` makes the one of the other.
    """
    full = absolute(path)
    at_root = Path(os.environ.get(SHELL_FOLDER) or project_root()) == project_root()
    inside = at_root and full.is_relative_to(project_root())
    return shlex.quote(full.relative_to(project_root()).as_posix() if inside else str(full))


def lies_outside(path: Path | str) -> bool:
    """Return whether `shown` gives the name of `path` alone, for it lies neither in the outputs nor in the project."""
    return _inside(absolute(path)) is None


def _inside(full: Path) -> str | None:
    for root, name in ((outputs_root(), Path("outputs")), (project_root(), Path())):
        if full.is_relative_to(root):
            return (name / full.relative_to(root)).as_posix()
    return None


def placed(published: Path | str) -> Path:
    """Return the path that `shown` turned into `published`, for files in the outputs or the project."""
    path = Path(published)
    inside = outputs_root().joinpath(*path.parts[1:])
    return inside if path.parts[:1] == ("outputs",) and inside.exists() else absolute(path)


CHECKPOINT_FOLDERS = ("Wan2.2-Animate-14B", "Wan2.2-Animate-14B-Diffusers")
CHECKPOINT_REPOSITORIES = ("Wan-AI/Wan2.2-Animate-14B-Diffusers", "Wan-AI/Wan2.2-Animate-14B")  # at both hubs
COMFYUI = "WANLAB_COMFYUI"  # names the folder of a ComfyUI elsewhere


def comfyui_folder() -> Path:
    """Return ComfyUI's folder, there or not: what WANLAB_COMFYUI names, else `ComfyUI/` of the project."""
    return absolute(os.environ.get(COMFYUI) or "ComfyUI")


def weight_folders(checkpoint: Path | None = None) -> list[Path]:
    """Return where networks beside the checkpoint's own are looked for, the first place first; some may not be there.

    Args:
        checkpoint: the folder of the checkpoint in use; then those of the project, ComfyUI's, and the hubs' caches.
    """
    folders = [*([checkpoint] if checkpoint else []), *(project_root() / name for name in CHECKPOINT_FOLDERS)]
    cached = [folder for repository in CHECKPOINT_REPOSITORIES for folder in cached_folders(repository)]
    return list(dict.fromkeys([*folders, comfyui_folder(), *cached]))


def cached_folders(repository: str) -> list[Path]:
    """Return where the caches of Hugging Face and ModelScope hold a repository (`owner/name`), newest first; none if they don't."""
    home = expanded(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    hub = expanded(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{repository.replace('/', '--')}"
    snapshots = [path for path in (hub / "snapshots").glob("*") if path.is_dir()]
    scope = expanded(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope")
    name = repository.replace(".", "___")  # as ModelScope writes it
    copies = [scope / place / each for place in ("hub/models", "models", "hub") for each in (name, repository)]
    return [*sorted(snapshots, key=lambda path: path.stat().st_mtime, reverse=True), *filter(Path.is_dir, copies)]
