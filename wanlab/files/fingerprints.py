"""Fingerprints of files: equal for equal contents, wherever they lie; a large file is read once and remembered.

A file counts whole, up to SAMPLED bytes; of a larger one each tensor counts by three samples, and that is said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wanlab import config
from wanlab.files import weights
from wanlab.files.whole import sha256, write_json

KEPT = ".hashes"  # folder of the outputs: what was found of large files; it holds no path
REMEMBERED = 64 * 2**20  # bytes from which on a file is read once: less takes a fraction of a second
SAMPLED = 2 * 2**30  # bytes from which on a file is sampled: the real model's 46 GB take minutes from a local disk
SAMPLE = 16 * 2**10  # bytes, at the start, in the middle and at the end of each tensor
PIECES = 4096  # samples, evenly spread, of a large file whose tensors cannot be located
SETTLED_S = 2.0  # seconds that a file must have been left alone: a clock's tick hides a change right after another


class _Piece(NamedTuple):
    """Where the bytes of a tensor lie in a file.

    Attributes:
        start: first byte.
        end: byte after the last.
        whole: whether all of them are read, not only samples.
    """

    start: int
    end: int
    whole: bool = False


def of_files(folder: Path, paths: Iterable[Path]) -> str:
    """Return one fingerprint of files below `folder`: their names in it and their contents.

    Returns:
        16 hexadecimal digits; " (sampled)" follows where a file was too large to be read completely.
    """
    whole, sampled = hashlib.sha256(), False
    for path in sorted(set(paths)):
        is_sampled = path.stat().st_size > SAMPLED
        sampled |= is_sampled
        found = _remembered(path, "samples", _samples) if is_sampled else of_file(path)
        whole.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} {found}\n".encode())
    return whole.hexdigest()[:16] + (" (sampled)" if sampled else "")


def of_contents(path: Path) -> str:
    """Return the fingerprint of one file's contents alone, whatever it is called: as `of_files`."""
    is_sampled = path.stat().st_size > SAMPLED
    found = _remembered(path, "samples", _samples) if is_sampled else of_file(path)
    return found[:16] + (" (sampled)" if is_sampled else "")


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file; a large one that has not changed since the last time is not read again."""
    return _remembered(path, "sha256", sha256)


def _remembered(path: Path, kind: str, find: Callable[[Path], str]) -> str:
    """Return the result of `find` for a file, from the cache in the outputs if the file has not changed."""
    before = path.stat()
    if before.st_size < REMEMBERED:
        return find(path)
    facts = {"kind": kind, "size": before.st_size, "mtime_ns": before.st_mtime_ns, "inode": before.st_ino}
    facts["ctime_ns"] = (
        before.st_ctime_ns
    )  # a file that was put in place of another may have its time, but not this one
    kept = config.outputs_root() / KEPT / f"{config.digest([kind, str(path.resolve())])[:24]}.json"
    try:
        saved = json.loads(kept.read_text(encoding="utf-8"))
        if {name: saved[name] for name in facts} == facts:
            return str(saved["found"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged: it is found again
    found, after = find(path), path.stat()
    settled = time.time() - max(before.st_mtime, before.st_ctime) > SETTLED_S
    if settled and (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns):
        with contextlib.suppress(OSError):  # it is only a matter of time
            write_json(kept, {**facts, "found": found})
    return found


def _samples(path: Path) -> str:
    """Return a hash of what describes a file's tensors and of the first, middle and last bytes of each of them."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        for piece in _pieces(path):
            length = piece.end - piece.start
            is_cut = length > 3 * SAMPLE and not piece.whole
            for start in (0, (length - SAMPLE) // 2, length - SAMPLE) if is_cut else (0,):
                file.seek(piece.start + start)
                whole.update(file.read(SAMPLE if is_cut else length))
            whole.update(f" {piece.start} {piece.end}\n".encode())
    return whole.hexdigest()


def _pieces(path: Path) -> Iterator[_Piece]:
    """Yield the header and each tensor of a safetensors or GGUF file or a PyTorch checkpoint; of others parts of equal size."""
    size = path.stat().st_size
    try:
        if path.suffix == ".safetensors":
            yield from _of_safetensors(path)
            return
        if path.suffix == ".gguf":
            yield from _of_gguf(path)
            return
        if zipfile.is_zipfile(path):
            yield from _of_zip(path)
            return
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile):
        pass  # loading it raises the error with the reason
    step = max(1, -(-size // PIECES))
    yield from (_Piece(start, min(start + step, size)) for start in range(0, size, step))


def _of_safetensors(path: Path) -> list[_Piece]:
    offsets = [facts["data_offsets"] for name, facts in weights.header(path).items() if name != "__metadata__"]
    begin = weights.start_of_tensors(path)
    return [_Piece(0, begin, whole=True), *(_Piece(begin + start, begin + end) for start, end in sorted(offsets))]


def _of_gguf(path: Path) -> list[_Piece]:
    reader = weights.gguf(path)
    tensors = sorted((int(each.data_offset), int(each.data_offset) + int(each.n_bytes)) for each in reader.tensors)
    return [_Piece(0, int(reader.data_offset), whole=True), *(_Piece(start, end) for start, end in tensors)]


def _of_zip(path: Path) -> list[_Piece]:
    """Return the members of a zip file, which a PyTorch checkpoint has one of per tensor, and their table at its end."""
    with zipfile.ZipFile(path) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        table = archive.start_dir
    starts = [member.header_offset for member in members]
    return [
        *(_Piece(start, end) for start, end in zip(starts, [*starts[1:], table], strict=True)),
        _Piece(table, path.stat().st_size, whole=True),  # it holds a checksum of each member, as far as torch wrote one
    ]
