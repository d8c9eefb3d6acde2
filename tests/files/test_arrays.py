"""Files of arrays, part by part."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from wanlab import files
from wanlab.files import arrays


def test_a_stream_is_written_as_the_array_would_be(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 9, (5, 4, 3)).astype(np.int16)
    stream = arrays.ArrayStream(array.shape, array.dtype, (array[i : i + 2] for i in range(0, 5, 2)))
    files.write_arrays(tmp_path / "stream.npz", values=stream, more=array[0])
    files.write_arrays(tmp_path / "array.npz", values=array, more=array[0])
    np.savez_compressed(tmp_path / "numpy.npz", values=array, more=array[0])
    written = {(tmp_path / f"{name}.npz").read_bytes() for name in ("stream", "array", "numpy")}
    assert len(written) == 1
    np.testing.assert_array_equal(list(arrays.read_parts(tmp_path / "stream.npz", "values")), array)


def test_an_array_that_ends_early_is_an_error(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (3, 4)})
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("values.npy", header.getvalue() + bytes(9))
    parts = arrays.read_parts(tmp_path / "short.npz", "values")
    assert next(parts).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="reshape"):
        list(parts)
