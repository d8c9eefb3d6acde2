"""Colours with truth by construction: patches are encoded here by the standards' formulas and read back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from wanlab import media

PATCHES = np.array(
    [(200, 40, 40), (40, 170, 60), (50, 60, 190), (190, 170, 50), (120, 60, 130), (128, 128, 128), (220, 190, 170)],
    np.float64,
)
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])


def light(code: np.ndarray) -> np.ndarray:
    """Return linear light of sRGB values from 0 to 255."""
    code = code / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def srgb(linear: np.ndarray) -> np.ndarray:
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def hlg(scene: np.ndarray) -> np.ndarray:
    """Return 0 to 255 by ARIB STD-B67's OETF."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    low = np.sqrt(3 * np.minimum(scene, 1 / 12))
    return 255 * np.where(scene <= 1 / 12, low, a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def written(path: Path, codes: np.ndarray, primaries: int, transfer: int, matrix: int) -> Path:
    """Write stripes of the colours `codes` ([N, 3], 0 to 255) with 10 bits and the tags of ITU-T H.273."""
    image = np.round(codes / 255 * 65535).astype(np.uint16).repeat(16, axis=0)[None].repeat(48, axis=0)
    spaces = {1: Colorspace.ITU709, 9: Colorspace.BT2020}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuv444p10le"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb48le").reformat(
            format="yuv444p10le", dst_colorspace=spaces[matrix], dst_color_range=ColorRange.MPEG
        )
        for target in (stream.codec_context, frame):
            target.color_primaries, target.color_trc = primaries, transfer
            target.colorspace, target.color_range = matrix, ColorRange.MPEG
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> np.ndarray:
    return media.read_video(path).frames[0][24, 8::16].astype(float)


@pytest.mark.parametrize(("primaries", "matrix", "to"), [(9, 9, TO_BT2020), (12, 1, TO_P3)])
def test_wide_primaries_of_sdr_are_converted(tmp_path: Path, primaries: int, matrix: int, to: np.ndarray) -> None:
    path = written(tmp_path / "a.mkv", srgb(light(PATCHES) @ to.T), primaries, 1 if matrix == 1 else 14, matrix)
    np.testing.assert_allclose(read(path), PATCHES, atol=2)
    assert any("primaries: its colours were converted" in note for note in media.probe_video(path).notes)


def test_hlg_has_its_system_gamma_on_luminance(tmp_path: Path) -> None:
    """White at 75 % of the signal is a screen's white; light is 1000 nits x E x Y to the power of 0.2, white 203 nits."""
    scene = light(PATCHES[[0, 1, 2, 4, 5]]) @ TO_BT2020.T * (203 / 1000) ** (1 / 1.2)
    shown = np.linalg.solve(TO_BT2020, (scene * (scene @ LUMINANCE)[:, None] ** 0.2 * 1000 / 203).T).T
    path = written(tmp_path / "a.mkv", hlg(scene), 9, 18, 9)
    np.testing.assert_allclose(read(path), srgb(shown), atol=2)
    assert any("is HDR (HLG)" in note for note in media.probe_video(path).notes)


def test_the_samples_tell_their_colours(sample: Path) -> None:
    for path in sorted(sample.glob("*.mp4")):
        assert media.probe_video(path).notes == (), path.name
