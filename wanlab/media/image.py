"""Read and write images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanlab import files
from wanlab.media import colour
from wanlab.media.write import write_error


class Image(NamedTuple):
    """A picture, [H, W, 3] uint8 RGB, and what was done to it."""

    pixels: np.ndarray
    notes: tuple[str, ...]


def open_image(path: Path | str) -> Image:
    """Read a picture as a viewer shows it, and say what was done: turned by EXIF, alpha over white, 16 bits to 8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a picture.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"image {path} does not exist; check the path")
    if path.is_dir():
        raise ValueError(f"image must be a file, got the folder {path}; name the picture in it")
    try:
        with Pillow.open(path) as opened:
            opened.load()
            notes = []
            if getattr(opened, "n_frames", 1) > 1:
                notes.append(f"{path.name} holds {getattr(opened, 'n_frames', 1)} pictures: the first was taken")
            profile = opened.info.get("icc_profile")
            picture = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise ValueError(
            f"image must be a readable picture (PNG, JPEG, WebP, …), got {path}: {error}; convert it to PNG"
        ) from None
    if picture.size != opened.size:
        notes.append(f"{path.name} was turned upright as its EXIF tag says")
    if picture.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion turns it white
        values = np.asarray(picture, dtype=np.float64)
        grey = np.round(np.clip(values, 0, 65535) / 257).astype(np.uint8)
        return Image(np.repeat(grey[..., None], 3, axis=2), (*notes, f"{path.name} was reduced from 16 to 8 bits"))
    if picture.mode == "F":
        raise ValueError(f"image must have whole numbers as pixels, got floating point in {path}; convert it to PNG")
    if profile:
        picture = colour.to_srgb(picture, profile)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        solid = picture.convert("RGBA")
        white = Pillow.new("RGBA", solid.size, "white")
        if solid.getextrema()[3][0] < 255:  # type: ignore[index]
            notes.append(f"{path.name} is see-through in places: they became white")
        picture = Pillow.alpha_composite(white, solid)
    return Image(np.asarray(picture.convert("RGB")), tuple(notes))


def read_image(path: Path | str) -> np.ndarray:
    """Read a picture: [H, W, 3], 0 to 255, uint8 RGB; raises as `open_image`."""
    return open_image(path).pixels


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write a picture, whole or not at all; the format is the suffix's.

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
