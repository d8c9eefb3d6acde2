"""Read and write images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from wanlab import files
from wanlab.media import colour, look
from wanlab.media.write import write_error

MAX_PIXELS = 100_000_000  # as RGB 300 MB; reading takes up to four times that
TURNS = {  # by the value of EXIF's orientation tag
    2: "mirrored (left and right exchanged)",
    3: "turned by 180 degrees",
    4: "mirrored (top and bottom exchanged)",
    5: "mirrored and turned by 270 degrees clockwise",
    6: "turned by 90 degrees clockwise",
    7: "mirrored and turned by 90 degrees clockwise",
    8: "turned by 270 degrees clockwise",
}


class Image(NamedTuple):
    """An image and what was done to it.

    Attributes:
        pixels: [H, W, 3], 0 to 255, uint8 RGB.
        notes: one sentence for each change.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]


def open_image(path: Path | str) -> Image:
    """Read an image as a viewer shows it, and note what was done: turned by EXIF, transparency over white, 16 bits to 8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an image, or one of more than 100 million pixels.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"image {path} does not exist; check the path")
    if path.is_dir():
        raise ValueError(f"image must be a file, got the folder {path}; name the image in it")
    picture, profile, notes = _load(path)
    if picture.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion turns it white
        values = np.clip(np.asarray(picture), 0, 65535).astype(np.int32)
        values += 128  # rounds: 65535 is 255 x 257
        values //= 257
        grey = values.astype(np.uint8)
        return _seen(np.repeat(grey[..., None], 3, axis=2), [*notes, "was reduced from 16 to 8 bits"], path)
    if picture.mode == "F":
        raise ValueError(f"image must have whole numbers as pixels, got floating point in {path}; convert it to PNG")
    if profile:
        picture = colour.to_srgb(picture, profile)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture, clear = _on_white(picture)
        if clear:
            notes.append(f"is transparent in {100 * clear:.2g} % of its pixels: they became white")
    return _seen(np.asarray(picture.convert("RGB")), notes, path)


def read_image(path: Path | str) -> np.ndarray:
    """Read an image: [H, W, 3], 0 to 255, uint8 RGB; raises as `open_image`."""
    return open_image(path).pixels


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write an image, completely or not at all, in the format of the suffix.

    Args:
        path: the file.
        image: [H, W, 3], 0 to 255, uint8 RGB.

    Raises:
        OSError: if it cannot be written; nothing is left then.
    """
    from PIL import Image as Pillow

    path = Path(path)
    try:
        with files.writing(path) as part:
            Pillow.fromarray(image).save(part)
    except OSError as error:
        raise write_error(error, path) from error


def _load(path: Path) -> tuple[Any, bytes | None, list[str]]:
    """Return Pillow's image, upright, its colour profile, and what was done, without the file's name."""
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    notes = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # our own limit is said below
            opened = Pillow.open(path)
        with opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise _TooLargeError(height, width)
            opened.load()
            if getattr(opened, "n_frames", 1) > 1:
                notes.append(f"holds {getattr(opened, 'n_frames', 1)} images: the first was taken")
            turn = TURNS.get(opened.getexif().get(0x0112, 1))
            upright = ImageOps.exif_transpose(opened)
            profile = opened.info.get("icc_profile")
    except (_TooLargeError, Pillow.DecompressionBombError) as error:
        raise ValueError(
            f"image must have at most {MAX_PIXELS:,} pixels, e.g. 10000x10000, got {error} in {path}; make it smaller"
        ) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"image must be a readable image file (PNG, JPEG, WebP, …), got {path}: {error}; convert it to PNG"
        ) from None
    if turn:
        notes.append(f"was {turn}, as its EXIF tag says")
    return upright, profile, notes


class _TooLargeError(Exception):
    def __init__(self, height: int, width: int) -> None:
        super().__init__(f"{height}x{width} (height x width)")


def _on_white(picture: Any) -> tuple[Any, float]:
    """Return an image with transparency laid on white, and the share of its pixels that are not solid."""
    from PIL import Image as Pillow

    solid = picture.convert("RGBA")
    share = float((np.asarray(solid.getchannel("A")) < 255).mean())
    return Pillow.alpha_composite(Pillow.new("RGBA", solid.size, "white"), solid), share


def _seen(pixels: np.ndarray, notes: list[str], path: Path) -> Image:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if found := look.describe_bars(look.bars(grey, grey)):
        notes.append(f"has {found}; they are kept as part of the image, so crop them first if they shall not count")
    return Image(pixels, tuple(f"{path.name} {said}" for said in notes))
