"""Masks in files and in memory, whole and a stretch at a time."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import files, mask, media
from wanlab.mask import packed

STRETCHES = (
    [0, 1, 2, 3, 4],
    [4, 5, 6, 7, 8],
    [8, 9, 10, 11, 11],
    [11, 10, 9, 8, 7],
    [2, 0, 2],
)  # on, back and from again


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
    np.testing.assert_array_equal(packed.read_masks(file, packed.FINAL)[:], masks)


def test_a_reader_goes_on_where_it_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, original = [], zipfile.ZipExtFile.read
    reader = packed.MaskReader(file)
    reader.read(np.arange(5))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n: (read.append(n), original(self, n))[1])
    reader.read(np.arange(4, 9))
    assert read == [20 * 5] * 4  # frames of 20 rows of 5 bytes; the first one is kept


def test_a_reader_takes_a_mask_video(masks: np.ndarray, tmp_path: Path) -> None:
    blocks = masks.repeat(8, axis=1).repeat(8, axis=2)  # H.264 would wash out single pixels
    video = np.repeat(blocks[..., None] * np.uint8(255), 3, axis=-1)
    media.write_video(tmp_path / "mask.mp4", video, Fraction(24))
    np.testing.assert_array_equal(packed.MaskReader(tmp_path / "mask.mp4").read(np.array([7, 3, 3])), blocks[[7, 3, 3]])


def test_packed_masks_are_the_masks(masks: np.ndarray) -> None:
    kept = mask.PackedMasks(20, 35)
    kept.add(np.packbits(masks[:2], axis=-1))
    kept.add(np.packbits(masks[2:], axis=-1))
    assert kept.shape == (12, 20, 35)
    np.testing.assert_array_equal(kept[:], masks)
    np.testing.assert_array_equal(kept[1:4], masks[1:4])
    assert kept[2:2].shape == (0, 20, 35)
    for t in (0, 3, 4, -1):
        np.testing.assert_array_equal(kept[t], masks[t])
    assert mask.PackedMasks.of(masks).frames == kept.frames
    np.testing.assert_array_equal(list(kept), masks)
    assert len(kept) == 12


def test_a_copy_of_packed_masks_changes_alone(masks: np.ndarray) -> None:
    kept = mask.PackedMasks.of(masks)
    some = kept.copy(3)
    some.put(1, ~masks[1])
    np.testing.assert_array_equal(some[:], [masks[0], ~masks[1], masks[2]])
    np.testing.assert_array_equal(kept[:], masks)
    empty = mask.PackedMasks.empty(2, 20, 35)
    assert empty.shape == (2, 20, 35)
    assert not empty[:].any()


def test_masks_are_written_frame_by_frame(masks: np.ndarray, tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "a.npz", bits=packed.bits_of(mask.PackedMasks.of(masks)))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["bits"], np.packbits(masks, axis=-1))


def test_white_is_luminance() -> None:
    frames = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [127, 127, 127]], np.uint8)
    assert packed.white(frames[:, None, None]).ravel().tolist() == [False, True, False, True, False]
