"""Files of arrays: check that they can be read to their end, as headers are not trusted; read and write them part by part."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RecursionError)


class ArrayStream(NamedTuple):
    """An array for `files.write_arrays` that is never in memory as a whole.

    Attributes:
        shape: of all of it.
        dtype: of its values.
        parts: arrays that follow each other along the first axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: Iterable[np.ndarray]

    def write(self, file: Any) -> None:
        """Write it as `.npy` into an open file."""
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in self.parts:
            file.write(np.ascontiguousarray(part, self.dtype).tobytes())


def read_parts(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield the array `name` of a `.npz` along its first axis; only one part is held at a time.

    Raises:
        ValueError or one of UNREADABLE: if it cannot be read, or ends early.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for _ in range(shape[0]):
            yield np.frombuffer(file.read(size), dtype).reshape(shape[1:])


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
                shape, dtype = _header(file)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.hasobject or size != member.file_size - file.tell():
                    raise ValueError(f"{member.filename} must hold {size} bytes, got {member.file_size}")
            found[member.filename.removesuffix(".npy")] = shape, dtype
    return found


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the `.npy` in an open file, which stands at its values then."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
