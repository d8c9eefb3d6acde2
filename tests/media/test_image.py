"""Images with truth by construction: turned, transparent, barred, too large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wanlab import media

QUARTERS = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [230, 230, 230]]], np.uint8)


def quarters() -> np.ndarray:
    return QUARTERS.repeat(24, axis=0).repeat(32, axis=1)


@pytest.mark.parametrize(
    ("orientation", "expected", "said"),
    [
        (2, QUARTERS[:, ::-1], "was mirrored (left and right"),
        (3, np.rot90(QUARTERS, 2), "was turned by 180 degrees"),
        (4, QUARTERS[::-1], "was mirrored (top and bottom"),
        (6, np.rot90(QUARTERS, -1), "was turned by 90 degrees clockwise"),
        (8, np.rot90(QUARTERS), "was turned by 270 degrees clockwise"),
    ],
)
def test_turns_and_mirrors_are_done_and_said(tmp_path: Path, orientation: int, expected: np.ndarray, said: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quarters()).save(tmp_path / "a.png", exif=exif)
    image = media.open_image(tmp_path / "a.png")
    height, width = image.pixels.shape[:2]
    found = image.pixels[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    np.testing.assert_array_equal(found, expected)
    assert any(said in note for note in image.notes)


def test_transparency_and_bars_are_said_with_their_values(tmp_path: Path) -> None:
    clear = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    clear[:24, :32, 3] = 0
    Image.fromarray(clear).save(tmp_path / "alpha.png")
    assert media.open_image(tmp_path / "alpha.png").notes == (
        "alpha.png is transparent in 25 % of its pixels: they became white",
    )
    media.write_image(tmp_path / "bars.png", np.pad(quarters(), ((6, 10), (0, 0), (0, 0))))
    (note,) = media.open_image(tmp_path / "bars.png").notes
    assert "6 at the top, 10 at the bottom" in note


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257 * 100, 257 * 100 + 129, 65535]], np.uint16).repeat(8, axis=0)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert media.read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 100, 101, 255]


@pytest.mark.parametrize("side", [13000, 20000])
def test_huge_images_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    Image.new("1", (16, 16)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"image must have at most 100,000,000 pixels.*make it smaller"):
        media.open_image(tmp_path / "a.png")
