"""Colours of decoded videos and of images, brought to a screen's: 8-bit sRGB."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import ColorRange, Colorspace

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB from 0 to 1, for networks
PQ, HLG = 16, 18  # libav's numbers of the two HDR transfers
WHITE_NITS = 203.0  # of a white sheet in HDR video (ITU-R BT.2408)
PEAK_NITS = 1000.0
HLG_GAMMA = 1.2  # BT.2100's system gamma of a screen of 1000 nits
BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
KNEE = 0.85  # linear light up to here is kept; above, highlights are squeezed
TO_BT709 = {  # linear light by libav's number of the primaries; SD's own (5, 6) lie so close that they are taken as BT.709
    9: ("BT.2020", np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])),
    11: ("DCI-P3", np.array([[1.1575, -0.1549, -0.0026], [-0.0415, 1.0457, -0.0042], [-0.0181, -0.0786, 1.0967]])),
    12: ("Display P3", np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]])),
}


class Reading(NamedTuple):
    """How the numbers of a frame are to be read.

    Attributes:
        matrix: libav's colour matrix.
        full_range: libav's range.
        transfer: PQ, HLG or 0.
        primaries: a key of `TO_BT709`, or 0, which is BT.709.
        name: of all that, for readers.
        note: what a user must know about it, or empty.
    """

    matrix: Colorspace
    full_range: bool
    transfer: int
    primaries: int
    name: str
    note: str


def reading(frame: Any) -> Reading:
    """Tell how a decoded frame's colours are meant: by its tags, or where it has none as players guess."""
    full = frame.color_range == ColorRange.JPEG or "yuvj" in frame.format.name
    transfer = frame.color_trc if frame.color_trc in (PQ, HLG) else 0
    primaries = frame.color_primaries if frame.color_primaries in TO_BT709 else 9 if transfer else 0
    known = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M,
             9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
    note = ""
    tag = int(frame.colorspace)
    rgb = frame.format.name.startswith(("rgb", "bgr", "gbr", "gray", "pal", "argb", "abgr", "0rgb", "0bgr")) or tag == 0
    if rgb:
        matrix, full = Colorspace.ITU709, True
    elif tag in known:
        matrix = known[tag]
    else:  # as mpv does: HD is BT.709, SD is BT.601
        matrix = Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
        note = f"does not name its colour matrix: {matrix.name.replace('ITU', 'BT.')} was assumed, as players do for its size"
    if transfer:
        note = f"is HDR ({'PQ' if transfer == PQ else 'HLG'}): it was tone-mapped for a normal screen"
    elif primaries:
        note = (
            f"has {TO_BT709[primaries][0]} primaries: its colours were converted to those of a normal screen (BT.709)"
        )
    name = "RGB" if rgb else f"{matrix.name} {'full' if full else 'limited'}"
    name += " PQ" if transfer == PQ else " HLG" if transfer else f" {TO_BT709[primaries][0]}" if primaries else ""
    return Reading(matrix, full, transfer, primaries, name, note)


def has_alpha(frame: Any) -> bool:
    """Return whether a decoded frame's format holds transparency."""
    return frame.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya", "pal8"))


def to_rgb(frame: Any) -> np.ndarray:
    """Return a decoded frame as [H, W, 3], 0 to 255, uint8 sRGB; transparent video lies on black."""
    how = reading(frame)
    source_range = ColorRange.JPEG if how.full_range else ColorRange.MPEG
    common = {"src_colorspace": how.matrix, "src_color_range": source_range, "dst_color_range": ColorRange.JPEG}
    if how.primaries:
        rgb = _to_screen(frame.reformat(format="rgb48le", **common).to_ndarray(), how)
    else:
        rgb = frame.reformat(format="rgb24", **common).to_ndarray()
    if has_alpha(frame):
        rgb = ((rgb.astype(np.uint16) * alpha(frame)[..., None] + 127) // 255).astype(np.uint8)
    return rgb


def alpha(frame: Any) -> np.ndarray:
    """Return how solid each pixel of a decoded frame with transparency is: [H, W], 0 to 255, uint8."""
    return frame.reformat(format="rgba").to_ndarray()[..., 3]


def to_srgb(image: Any, profile: bytes) -> Any:
    """Return a Pillow image converted from its ICC `profile` to sRGB; one with a broken profile stays as it is."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        if image.mode not in ("RGB", "RGBA", "CMYK", "L"):
            return image
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _to_screen(values: np.ndarray, how: Reading) -> np.ndarray:
    """Return pixels of other primaries or HDR ([H, W, 3], uint16) as sRGB; colours beyond its gamut are clipped."""
    light = _to_light(how.transfer)[values >> 4]  # 1 is white
    if how.transfer == HLG:  # scene light: the system gamma is that of its luminance, else hues and saturation change
        luminance = light @ BT2020_LUMINANCE.astype(np.float32)
        light *= np.maximum(luminance, 1e-6)[..., None] ** (HLG_GAMMA - 1) * (PEAK_NITS / WHITE_NITS)
    light = np.maximum(light @ TO_BT709[how.primaries][1].T.astype(np.float32), 0)
    if how.transfer:
        light = _tone_map(light)
    index = np.clip(np.round(light * 4095), 0, 4095).astype(np.int32)
    return _to_srgb_table()[index]


def _tone_map(light: np.ndarray) -> np.ndarray:
    """Return linear light (1 = white) with highlights squeezed below 1: white stays white, hue is kept."""
    peak = light.max(axis=-1, keepdims=True)
    span, top = 1 - KNEE, PEAK_NITS / WHITE_NITS - KNEE
    over = np.maximum(peak - KNEE, 0)
    squeezed = KNEE + span * (1 - np.exp(-over / span * (1 - span / top)))
    return light * np.where(peak > KNEE, squeezed / np.maximum(peak, 1e-6), 1)


@functools.cache
def _to_light(transfer: int) -> np.ndarray:
    """Return linear light for 4096 code values: 1 is white, for HLG the scene's peak."""
    code = np.linspace(0, 1, 4096)
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (nits / WHITE_NITS).astype(np.float32)
    if transfer == HLG:  # ARIB STD-B67
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)  # as a screen's


@functools.cache
def _to_srgb_table() -> np.ndarray:
    light = np.linspace(0, 1, 4096)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(code * 255).astype(np.uint8)
