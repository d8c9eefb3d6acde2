"""Colours of decoded film and of pictures, brought to a screen's: 8-bit sRGB."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import ColorRange, Colorspace

PQ, HLG = 16, 18  # libav's numbers of the two HDR transfers
WHITE_NITS = 203.0  # of a white sheet in HDR film (ITU-R BT.2408)
PEAK_NITS = 1000.0
KNEE = 0.85  # linear light up to here is kept; above, highlights are squeezed
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)  # from BT.2020


class Reading(NamedTuple):
    """How a frame's numbers are meant: its matrix and range for libav, HDR transfer or 0, a name, a note."""

    matrix: Colorspace
    full_range: bool
    transfer: int
    name: str
    note: str


def reading(frame: Any) -> Reading:
    """Tell how a decoded frame's colours are meant: by its tags, or where it has none as players guess."""
    full = frame.color_range == ColorRange.JPEG or "yuvj" in frame.format.name
    transfer = frame.color_trc if frame.color_trc in (PQ, HLG) else 0
    known = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M,
             9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
    note = ""
    tag = int(frame.colorspace)
    if frame.format.name.startswith(("rgb", "bgr", "gbr", "gray", "pal", "argb", "abgr", "0rgb", "0bgr")) or tag == 0:
        return Reading(Colorspace.ITU709, True, transfer, "RGB", "")
    if tag in known:
        matrix = known[tag]
    else:  # as mpv does: HD is BT.709, SD is BT.601
        matrix = Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
        note = f"does not tell its colour matrix: {matrix.name.replace('ITU', 'BT.')} was assumed, as players do for its size"
    if transfer:
        note = f"is HDR ({'PQ' if transfer == PQ else 'HLG'}): it was tone-mapped for a normal screen"
    name = f"{matrix.name} {'full' if full else 'limited'}" + (" PQ" if transfer == PQ else " HLG" if transfer else "")
    return Reading(matrix, full, transfer, name, note)


def to_rgb(frame: Any) -> np.ndarray:
    """Return a decoded frame as [H, W, 3], 0 to 255, uint8 sRGB; see-through film lies on black."""
    how = reading(frame)
    source_range = ColorRange.JPEG if how.full_range else ColorRange.MPEG
    common = {"src_colorspace": how.matrix, "src_color_range": source_range, "dst_color_range": ColorRange.JPEG}
    if how.transfer:
        return _tone_map(frame.reformat(format="rgb48le", **common).to_ndarray(), how.transfer)
    if "a" in frame.format.name.split("p")[0] and frame.format.name.startswith(
        ("yuva", "rgba", "bgra", "argb", "abgr", "gbra", "ya")
    ):
        values = frame.reformat(format="rgba", **common).to_ndarray().astype(np.uint16)
        return ((values[..., :3] * values[..., 3:] + 127) // 255).astype(np.uint8)
    return frame.reformat(format="rgb24", **common).to_ndarray()


def to_srgb(picture: Any, profile: bytes) -> Any:
    """Return a Pillow picture converted from its ICC `profile` to sRGB; one with a broken profile stays as it is."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        if picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
            return picture
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def _tone_map(values: np.ndarray, transfer: int) -> np.ndarray:
    """Return HDR pixels ([H, W, 3], uint16, BT.2020) as sRGB: white stays white, highlights are squeezed, hue is kept."""
    light = _to_light(transfer)[values >> 4] @ TO_BT709.T  # 1 is white
    light = np.maximum(light, 0)
    peak = light.max(axis=-1, keepdims=True)
    span, top = 1 - KNEE, PEAK_NITS / WHITE_NITS - KNEE
    over = np.maximum(peak - KNEE, 0)
    squeezed = KNEE + span * (1 - np.exp(-over / span * (1 - span / top)))
    light *= np.where(peak > KNEE, squeezed / np.maximum(peak, 1e-6), 1)
    index = np.clip(np.round(light * 4095), 0, 4095).astype(np.int32)
    return _to_srgb_table()[index]


@functools.cache
def _to_light(transfer: int) -> np.ndarray:
    """Return linear light (1 = white) for 4096 code values."""
    code = np.linspace(0, 1, 4096)
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:  # ARIB STD-B67, with the system gamma of a 1000-nit screen
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        nits = PEAK_NITS * scene**1.2
    return (nits / WHITE_NITS).astype(np.float32)


@functools.cache
def _to_srgb_table() -> np.ndarray:
    light = np.linspace(0, 1, 4096)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(code * 255).astype(np.uint8)
