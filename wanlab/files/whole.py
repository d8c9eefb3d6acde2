"""Files: written completely or not at all, hashed, and removed only where wanlab may.

What wanlab did not write it never deletes, overwrites or moves. This module alone gives out the names of parts (files
that are not finished yet), renames parts onto final names and removes; whoever writes a file is given a part for it:

    with files.writing(path) as part:
        Image.fromarray(pixels).save(part)
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import types
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanlab import config

if TYPE_CHECKING:
    import numpy as np

    from wanlab.files.arrays import ArrayStream

MANIFEST = "manifest.json"  # what makes a folder of the outputs a run
FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_PART = re.compile(r"\..*\.([0-9a-f]{8})-([0-9]+)-[0-9a-f]{8}\.part(\.[^.]*)?")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give out a part of `path` (an empty file beside it, with its suffix) and rename it to `path` when the block ends.

    Where the block or the renaming fails, the part is removed and an earlier `path` stays as it was. A link at `path` is
    replaced, what it points to is not touched.

    Raises:
        OSError: if it cannot be written; a full disk is named.
        NotADirectoryError: if a parent of `path` is a regular file.
    """
    try:
        with part(path) as unfinished:
            yield unfinished
            put(unfinished, path)
    except OSError as error:
        raise explained(error, path) from error


@contextlib.contextmanager
def part(path: Path) -> Iterator[Path]:
    """Give out a part of `path` and remove it when the block ends, unless `put` has given it a name by then."""
    make_folder(path.parent)
    unfinished = part_of(path)
    try:
        unfinished.open("xb").close()  # x: never a file or link that is there already
        yield unfinished
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()


def put(unfinished: Path, path: Path) -> None:
    """Rename a finished part to `path`, replacing an earlier file, once its bytes are on the disk."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give out an empty folder beside `path` and rename it to `path`, which must not exist or be empty, at the end.

    Raises:
        OSError: if it cannot be written, or `path` holds something; nothing is left of the part then.
    """
    make_folder(path.parent)
    unfinished = part_of(path)
    try:
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def part_of(path: Path) -> Path:
    """Return a name beside `path`, with its suffix, that no other process and no earlier call was given.

    It holds a hash of the host and the process's number, so that `remove_dead_parts` knows whose it is.
    """
    return path.with_name(f".{path.stem}.{host()}-{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")


def host() -> str:
    """Return 8 hexadecimal digits that stand for this machine: its name is private."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_part(path: Path) -> bool:
    """Return whether `path` has the name of a part."""
    return _PART.fullmatch(path.name) is not None


def remove_dead_parts(folder: Path) -> None:
    """Remove the parts in `folder` (not below it) that a process of this machine left behind when it died."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = _PART.fullmatch(path.name)
        if found and found[1] == host() and not is_alive(int(found[2])):
            with contextlib.suppress(FileNotFoundError):  # another process removes it too
                _remove(path)


def remove(path: Path) -> None:
    """Remove a file or folder that lies in a run folder; of a link, the link. What is not there is no error.

    Raises:
        ValueError: if `path` does not lie in a run folder.
    """
    inside = _resolved(path)
    outputs = config.outputs_root()
    parts = inside.relative_to(outputs).parts if inside.is_relative_to(outputs) else ()
    if len(parts) < 2 or not (outputs / parts[0] / MANIFEST).is_file():
        raise ValueError(f"{path} must lie in a run folder to be removed; nothing is removed")
    _remove(inside)


def remove_run(folder: Path) -> None:
    """Remove a run folder with all it holds: it vanishes from the outputs at once.

    Raises:
        ValueError: if `folder` is no run folder directly in the outputs, or a link.
    """
    inside = check_run(folder)
    removed = part_of(inside)
    inside.rename(removed)
    shutil.rmtree(removed)


def check_run(folder: Path) -> Path:
    """Return a run folder that `remove_run` may remove, links in its parents followed.

    Raises:
        ValueError: if `folder` is no run folder directly in the outputs, or a link.
    """
    inside = _resolved(folder)
    is_run = inside.parent == config.outputs_root() and not inside.is_symlink() and (inside / MANIFEST).is_file()
    if not is_run:
        raise ValueError(
            f"{folder} must be a run folder in {config.outputs_root()}, got another place; nothing is removed: "
            "`wanlab runs` lists the runs"
        )
    return inside


def remove_written(path: Path, recorded: Collection[str]) -> None:
    """Remove a file outside the run folders whose SHA-256 is one that was `recorded` when wanlab wrote it there.

    Raises:
        ValueError: if it is a link, no file, or holds other bytes; it stays.
    """
    if path.is_symlink() or not path.is_file() or sha256(path) not in recorded:
        raise ValueError(f"{path} must be as wanlab wrote it to be removed; it stays")
    path.unlink()


def make_folder(folder: Path) -> Path:
    """Make `folder` with its parents and return it.

    Raises:
        NotADirectoryError: if a part of the path is a regular file, which it names.
    """
    for parent in (folder, *folder.parents):
        if parent.exists():
            if not parent.is_dir():
                raise NotADirectoryError(f"{folder} must be a folder, but {parent} is a file; name another place")
            break
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, completely or not at all; raises as `writing`."""
    with writing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path`, completely or not at all; raises as `writing`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str))


def write_private_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path`, readable by this user only, completely or not at all; raises as `writing`."""
    with writing(path) as unfinished:
        unfinished.chmod(0o600)
        unfinished.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array, of any shape, as `.npy` to `path`, completely or not at all; raises as `writing`."""
    import numpy as np

    with writing(path) as unfinished, unfinished.open("wb") as file:
        only_write: Any = types.SimpleNamespace(
            write=file.write
        )  # to a real file numpy writes without saying why it fails
        np.save(only_write, array, allow_pickle=False)


def write_arrays(path: Path, **arrays: np.ndarray | ArrayStream) -> None:
    """Write arrays by name as a compressed `.npz` to `path`, completely or not at all; raises as `writing`."""
    import numpy as np

    with writing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if isinstance(array, np.ndarray):
                    np.lib.format.write_array(file, array, allow_pickle=False)  # type: ignore[arg-type]
                else:
                    array.write(file)


def copy(source: Path, path: Path) -> None:
    """Copy the file `source` to `path`, completely or not at all; no link: a copy may be edited. Raises as `writing`."""
    with writing(path) as unfinished:
        shutil.copyfile(source, unfinished)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def explained(error: OSError, path: Path) -> OSError:
    """Return an error of the same kind whose text names the file, and the remedy where the disk is full."""
    if error.errno in FULL_DISK:
        return OSError(
            error.errno, f"disk full while writing {path.name}; free space and run again, finished work is kept"
        )
    return error


def _resolved(path: Path) -> Path:
    """Return `path` with links in its parents followed, but not one at `path` itself."""
    absolute = path.absolute()
    return absolute.resolve() if absolute.name in ("", "..") else absolute.parent.resolve() / absolute.name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Return whether there is a process `pid` on this machine."""
    try:
        os.kill(pid, 0)  # 0: asks only
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
