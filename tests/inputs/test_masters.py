"""Key points and masks of a folder of inputs: what does not fit is refused, before anything large is unpacked."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wanlab import inputs
from wanlab.inputs import masters

FRAMES, HEIGHT, WIDTH = 9, 96, 64  # of the fixture `replacing`


def _points() -> np.ndarray:
    points = np.random.default_rng(0).uniform(1, 90, (FRAMES, 133, 3)).astype(np.float32)
    points[..., 2] = 0.9
    return points


def _with(t: int, joint: int, value: tuple[float, float, float]) -> np.ndarray:
    points = _points()
    points[t, joint] = value
    return points


def _zeros() -> np.ndarray:
    points = _points()
    points[4:6, 7:9] = (0, 0, 1)
    return points


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (_with(3, 7, (np.inf, 4, 1)), "must hold finite numbers, got x inf, y 4, score 1 of left_elbow (joint 7) in frame 3; set"),
        (_with(0, 0, (1, 4, np.nan)), "must hold finite numbers, got x 1, y 4, score nan of nose (joint 0) in frame 0"),
        (_with(8, 9, (1e30, 4, 1)), "must hold places within 960 pixels, got x 1e+30"),
        (_zeros(), "where x and y are 0, as of a joint that was not found, got x 0, y 0, score 1 of left_elbow (joint 7) in frame 4, and 3 more"),
        (_points()[:-2], "of 9 frames, 133 points and 3 numbers (x, y, score), got 7 x 133 x 3; preprocess again"),
        (_points()[:, :17], "got 9 x 17 x 3"),
        (np.zeros((FRAMES, 133, 3), "U4"), "got 9 x 133 x 3 of <U4"),
        (_points() / np.array([WIDTH, HEIGHT, 1], np.float32), "in pixels of the working clip (96x64), got every x between"),
        (_points()[..., [2, 0, 1]], "got every x between 0.9 and 0.9; multiply shares by width and height, in the order x, y"),
    ],
)  # fmt: skip
def test_key_points_that_cannot_be_meant_are_named(replacing: Path, points: np.ndarray, message: str) -> None:
    np.savez_compressed(replacing / "keypoints.npz", keypoints=points)
    with pytest.raises(ValueError, match=r"keypoints\.npz") as raised:
        inputs.read(replacing)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"reference_keypoints": _points()[0] * np.nan}, "reference_keypoints of keypoints.npz must hold finite numbers, got x nan"),
        ({"reference_keypoints": _points()[0] * 1e9}, "reference_keypoints of keypoints.npz must hold places within 81920 pixels"),
        ({"reference_keypoints": _points()[0].astype("U9")}, "reference_keypoints of 133 points and 3 numbers, got 133 x 3 of <U9"),
        ({"size": np.array(["a", "b"])}, "of the working clip (96x64), got those of axb"),
    ],
)  # fmt: skip
def test_what_stands_beside_the_key_points_is_looked_at_too(
    replacing: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez_compressed(replacing / "keypoints.npz", keypoints=_points(), **arrays)
    with pytest.raises(ValueError, match=r"keypoints\.npz") as raised:
        inputs.read(replacing)
    assert message in str(raised.value)


def test_key_points_that_fit_are_read(replacing: Path) -> None:
    for points in (_points(), _points() * 0):
        np.savez_compressed(replacing / "keypoints.npz", keypoints=points)
        found = inputs.read(replacing)
        np.testing.assert_array_equal(found.keypoints(), points)
        assert found.reference_keypoints() is None


def test_key_points_of_another_clip_are_refused(replacing: Path) -> None:
    np.savez_compressed(replacing / "keypoints.npz", keypoints=_points(), size=np.array([480, 832]))
    with pytest.raises(ValueError, match="of the working clip .96x64., got those of 480x832"):
        inputs.read(replacing)
    (replacing / "keypoints.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"keypoints\.npz must be as wanlab wrote it, got one that cannot be read"):
        inputs.read(replacing)


def _write(path: Path, **arrays: np.ndarray) -> None:
    bits = np.packbits(np.ones((FRAMES, HEIGHT, WIDTH), bool), axis=-1)
    given = {"mask": bits, "mask_final": bits, "shape": np.array([FRAMES, HEIGHT, WIDTH])} | arrays
    np.savez_compressed(path, **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bits: {"mask_final": bits[:-1]}, "must hold mask_final as 9 x 96 x 8 bytes, .* got 8 x 96 x 8; preprocess again"),
        (lambda bits: {"mask": bits.astype(np.uint16)}, "must hold mask as"),
        (lambda _: {"shape": np.array([9, 96, 2**40])}, "must hold its shape as 9, 96, 64, got another"),
        (lambda _: {"shape": np.zeros((1000, 1000))}, "must hold its shape as 9, 96, 64, got another"),
    ],
)  # fmt: skip
def test_masks_of_another_shape_are_refused(
    replacing: Path, change: Callable[[np.ndarray], dict[str, np.ndarray]], message: str
) -> None:
    _write(replacing / "mask.npz")
    assert inputs.read(replacing).person_mask() is not None
    _write(replacing / "mask.npz", **change(np.zeros((FRAMES, HEIGHT, WIDTH // 8), np.uint8)))
    with pytest.raises(ValueError, match=rf"mask\.npz {message}"):
        inputs.read(replacing)


def test_a_mask_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    """64 MB of zeros deflate to 64 kB; a header that says 7.5 GB over them is found out too."""
    big = np.zeros((64, 1024, 1024), np.uint8)
    _write(tmp_path / "mask.npz", mask_final=big)
    _write(tmp_path / "lying.npz", mask=big[:1])
    with zipfile.ZipFile(tmp_path / "lying.npz", "a") as archive, archive.open("mask_final2.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (7500, 1000, 1000)}
        )
    del big
    tracemalloc.start()
    for name in ("mask.npz", "lying.npz"):
        with pytest.raises(ValueError, match=name):
            masters.check_mask(tmp_path / name, FRAMES, HEIGHT, WIDTH)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
