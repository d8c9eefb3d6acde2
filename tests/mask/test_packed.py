<<<<<<< HEAD
"""Masks in files, read whole and a stretch at a time."""

from __future__ import annotations

import zipfile
=======
"""Masks that are kept small come out as they went in."""

from __future__ import annotations

>>>>>>> b27fc6e (PackedMasks and Masks once; functions about prompts have names that need no alias, module aliases left from the move are gone)
from fractions import Fraction
from pathlib import Path

import numpy as np
<<<<<<< HEAD
import pytest

from wanlab import files, media
from wanlab.mask import packed

STRETCHES = (
    [0, 1, 2, 3, 4],
    [4, 5, 6, 7, 8],
    [8, 9, 10, 11, 11],
    [11, 10, 9, 8, 7],
    [2, 0, 2],
)  # on, back and from anew


@pytest.fixture
def masks() -> np.ndarray:
    return np.random.default_rng(0).random((12, 20, 35)) > 0.5


@pytest.fixture
def file(masks: np.ndarray, tmp_path: Path) -> Path:
    """Return a mask.npz whose masks after the chain are `masks`, and before it their opposite."""
    bits = {name: np.packbits(m, axis=-1) for name, m in (("mask", ~masks), ("mask_final", masks))}
    files.write_arrays(tmp_path / "mask.npz", **bits, shape=np.array(masks.shape))
    return tmp_path / "mask.npz"


def test_a_reader_gives_the_frames_that_are_asked_for(masks: np.ndarray, file: Path) -> None:
    reader = packed.MaskReader(file)
    for indices in STRETCHES:
        found = reader.read(np.array(indices))
        assert found.dtype == bool
        np.testing.assert_array_equal(found, masks[indices])
    np.testing.assert_array_equal(packed.unpack(file, packed.FINAL), masks)


def test_a_reader_goes_on_where_it_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, original = [], zipfile.ZipExtFile.read
    reader = packed.MaskReader(file)
    reader.read(np.arange(5))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n: (read.append(n), original(self, n))[1])
    reader.read(np.arange(4, 9))
    assert read == [20 * 5] * 4  # frames of 20 rows of 5 bytes; the first one is kept


def test_a_reader_takes_a_mask_video(masks: np.ndarray, tmp_path: Path) -> None:
    blocks = masks.repeat(8, axis=1).repeat(8, axis=2)  # H.264 would wash out single pixels
    film = np.repeat(blocks[..., None] * np.uint8(255), 3, axis=-1)
    media.write_video(tmp_path / "mask.mp4", film, Fraction(24))
    np.testing.assert_array_equal(packed.MaskReader(tmp_path / "mask.mp4").read(np.array([7, 3, 3])), blocks[[7, 3, 3]])
=======

from wanlab import mask, media
from wanlab.mask.packed import unpack


def masks() -> np.ndarray:
    return np.random.default_rng(0).random((5, 9, 13)) > 0.5


def test_packed_masks_are_the_masks() -> None:
    packed = mask.PackedMasks(9, 13)
    packed.add(np.packbits(masks()[:2], axis=-1))
    packed.add(np.packbits(masks()[2:], axis=-1))
    assert packed.shape == (5, 9, 13)
    np.testing.assert_array_equal(packed[:], masks())
    np.testing.assert_array_equal(packed[1:4], masks()[1:4])
    assert packed[2:2].shape == (0, 9, 13)
    for t in (0, 3, 4, -1):
        np.testing.assert_array_equal(packed[t], masks()[t])
    assert mask.PackedMasks.of(masks()).frames == packed.frames


def test_masks_of_a_file_are_the_masks(tmp_path: Path) -> None:
    bits = np.packbits(masks(), axis=-1)
    np.savez(tmp_path / "mask.npz", mask=bits, mask_final=~bits, shape=np.array([5, 9, 13]))
    np.testing.assert_array_equal(unpack(tmp_path / "mask.npz", "mask"), masks())
    np.testing.assert_array_equal(unpack(tmp_path / "mask.npz", "mask_final"), ~masks())


def test_a_mask_video_is_white_from_128_on(tmp_path: Path) -> None:
    grey = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 127, 128, 255)])
    media.write_video(tmp_path / "mask.mkv", grey, Fraction(8), lossless=True)
    assert mask.read_mask(tmp_path / "mask.mkv").all(axis=(1, 2)).tolist() == [False, False, True, True]
>>>>>>> b27fc6e (PackedMasks and Masks once; functions about prompts have names that need no alias, module aliases left from the move are gone)
