"""Check that files of arrays can be read to their end: headers are not trusted."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RecursionError)


def check_arrays(path: Path) -> None:
    """Read a `.npz` through.

    Raises:
        ValueError or one of UNREADABLE: if it is truncated or changed, or its header promises more than it holds.
    """
    headers(path)
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
        if bad is not None:
            raise ValueError(f"{bad} is damaged")


def headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and type of each array of a `.npz` by name, without reading its values.

    Raises:
        ValueError or one of UNREADABLE: if a header cannot be read, or says another length than the file.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)  # type: ignore[arg-type]
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.hasobject or size != member.file_size - file.tell():
                    raise ValueError(f"{member.filename} must hold {size} bytes, got {member.file_size}")
            found[member.filename.removesuffix(".npy")] = shape, dtype
    return found
