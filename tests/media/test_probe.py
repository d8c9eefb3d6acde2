"""What is said of a video, with truth by construction: each file is written here with a known fault or look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from wanlab import media

FPS = Fraction(25)


def moving(n: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Return a frame of slow waves that run to the right."""
    y, x = np.mgrid[:height, :width]
    wave = (np.sin((x - 4 * n) / 6) + np.cos(y / 9)) * 50 + 120
    return np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)


def written(path: Path, frames: Iterable[np.ndarray], codec: str = "libx264", **options: str) -> Path:
    pix = {"ffv1": "yuv420p", "mjpeg": "yuvj420p", "qtrle": "argb"}.get(codec, "yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.pix_fmt = pix
        for n, values in enumerate(frames):
            if not n:
                stream.height, stream.width = values.shape[:2]
            kind = "rgba" if values.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=kind).reformat(format=pix)
            frame.pts, frame.time_base = n, 1 / FPS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copied(source: Path, path: Path, change: Callable[[int, bytes], bytes]) -> Path:
    """Copy a file packet by packet; `change` gives the bytes of packet n."""
    with av.open(str(source)) as given, av.open(str(path), "w") as container:
        stream = given.streams.video[0]
        target = container.add_stream_from_template(stream)
        for n, packet in enumerate(p for p in given.demux(stream) if p.size):
            new = av.Packet(change(n, bytes(packet)))
            new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, target
            container.mux(new)
    return path


def said(path: Path, part: str) -> str:
    """Return the note on a file that holds `part`; empty where there is none."""
    return next((note for note in media.open_clip(path).notes if part in note), "")


@pytest.mark.parametrize(
    ("codec", "name", "options", "missing"),
    [
        ("libx264", "a.mp4", {"g": "20", "bf": "0"}, [25, 26, 27]),
        ("mpeg4", "a.mp4", {"g": "20"}, [25, 26, 27]),
        ("mjpeg", "a.mov", {}, [25, 26, 27]),
        ("ffv1", "a.mkv", {"level": "3", "slicecrc": "1", "g": "1"}, [25, 26, 27]),
    ],
)
def test_behind_a_damaged_place_it_goes_on(
    tmp_path: Path, codec: str, name: str, options: dict[str, str], missing: list[int]
) -> None:
    whole = written(tmp_path / f"whole_{name}", [moving(n) for n in range(60)], codec, **options)
    rng = np.random.default_rng(0)
    broken = copied(whole, tmp_path / name, lambda n, data: rng.bytes(len(data)) if 25 <= n <= 27 else data)
    clip = media.open_clip(broken)
    assert (len(clip), clip.fps, clip.info.num_frames, clip.info.damaged) == (60, 25, 60 - len(missing), True)
    note = said(broken, "is damaged")
    assert f"{len(missing)} of 60 frames could not be decoded (frames 25 to {missing[-1]}, seconds 1.000 to " in note
    true, found = media.open_clip(whole).read().astype(int), clip.read().astype(int)
    np.testing.assert_array_equal(found[:25], true[:25])
    np.testing.assert_array_equal(found[40:], true[40:])  # from the next key frame on
    np.testing.assert_array_equal(found, clip.read())  # the same again
    np.testing.assert_array_equal(media.Seeker(clip)[50], true[50])


def test_what_a_decoder_conceals_is_said(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.mp4", [moving(n) for n in range(30)], bf="0", g="10")
    broken = copied(
        whole, tmp_path / "a.mp4", lambda n, data: data[:60] + b"\xff" * (len(data) - 60) if n == 10 else data
    )
    assert "may be smeared" in said(broken, "is damaged") or "could not be decoded" in said(broken, "is damaged")
    assert len(media.open_clip(broken)) == 30
    assert not media.probe_video(whole).damaged


def test_a_cut_off_end_is_said(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.mkv", [moving(n) for n in range(60)], "ffv1", g="1")
    data = whole.read_bytes()
    cut = tmp_path / "a.mkv"
    cut.write_bytes(data[: len(data) * 6 // 10])
    frames = media.probe_video(cut).num_frames
    assert 30 <= frames < 40
    note = said(cut, "is cut off")
    assert (
        f"after {frames} frames, its header promises 2.400 s; about {60 - frames} frames at its end are missing" in note
    )
    assert not said(whole, "is cut off")


def test_frames_of_another_size_are_fitted_and_said(tmp_path: Path) -> None:
    large = written(tmp_path / "large.mkv", [moving(n) for n in range(4)], "mjpeg")
    small = written(tmp_path / "small.mkv", [moving(n, 32, 64) for n in range(4)], "mjpeg")
    with av.open(str(small)) as given:
        packets = [bytes(p) for p in given.demux(video=0) if p.size]
    path = copied(large, tmp_path / "a.mkv", lambda n, data: packets[n] if n >= 2 else data)
    frames = media.open_clip(path).read()
    assert frames.shape == (4, 64, 96, 3)
    assert (frames[3, :8].max(), frames[3, 56:].max()) == (0, 0)  # 64x32 in 96x64: 48 rows, 8 of black above and below
    assert "frames 2 to 3 are 32x64 (height x width) and were fitted into the 64x96 of the first" in said(
        path, "its size"
    )


def woven(n: int) -> np.ndarray:
    """Return the moments 2n and 2n + 1, line by line."""
    frame = moving(2 * n)
    frame[1::2] = moving(2 * n + 1)[1::2]
    return frame


def test_combing_is_said_and_taken_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mkv", [woven(n) for n in range(12)], crf="4")
    assert "combed" in said(path, "is interlaced")
    assert "use deinterlace true" in said(path, "is interlaced")
    plain, whole = media.open_clip(path), media.open_clip(path, deinterlace=True)
    assert any("was deinterlaced" in note for note in whole.notes)
    assert not any("is interlaced" in note for note in whole.notes)
    true = np.stack([moving(2 * n) for n in range(12)]).astype(int)
    errors = [np.abs(clip.read().astype(int) - true)[2:-2].mean() for clip in (plain, whole)]
    assert errors[1] < 0.4 * errors[0]
    np.testing.assert_array_equal(media.Seeker(whole)[5], whole.read()[5])
    np.testing.assert_array_equal(whole.at([3, 5]).read(), whole.read()[[3, 5]])


def test_flagged_interlacing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=FPS, options={"flags": "+ildct+ilme", "top": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for n in range(6):
            frame = av.VideoFrame.from_ndarray(moving(0), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, 1 / FPS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    assert "6 of 6 frames are flagged" in said(path, "is interlaced")


def test_progressive_motion_and_stripes_are_not_combing(tmp_path: Path) -> None:
    striped = [moving(n) for n in range(12)]
    for frame in striped:
        frame[::2, :24] = 20  # they stand still
    for name, frames in (("motion.mkv", [moving(3 * n) for n in range(12)]), ("stripes.mkv", striped)):
        assert not said(written(tmp_path / name, frames, crf="4"), "interlaced"), name


def test_transparency_bars_and_the_turn_are_said_with_their_values(tmp_path: Path) -> None:
    clear = [
        np.dstack([moving(n), np.where(np.arange(96) < 24, 0, 255)[None].repeat(64, 0).astype(np.uint8)])
        for n in range(3)
    ]
    path = written(tmp_path / "alpha.mov", clear, "qtrle")
    assert "is transparent in up to 25 % of a frame: it was laid on black" in said(path, "transparent")
    assert media.read_video(path).frames[0, :, :24].max() == 0
    barred = [np.pad(moving(n, 48), ((8, 8), (0, 0), (0, 0))) for n in range(12)]
    assert "8 at the top, 8 at the bottom" in said(written(tmp_path / "bars.mp4", barred, crf="4"), "black bars")
    night = [moving(n) // 10 for n in range(3)]
    assert not said(written(tmp_path / "night.mp4", night), "black bars")


def test_an_image_is_no_video(tmp_path: Path) -> None:
    media.write_image(tmp_path / "a.png", moving(0))
    with pytest.raises(ValueError, match=r"video must be a video, got the image .*a\.png"):
        media.probe_video(tmp_path / "a.png")


def test_a_rate_that_asks_for_too_many_frames_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", [moving(n) for n in range(3)])
    with pytest.raises(ValueError, match=r"fps must leave at most 1,000,000 frames"):
        media.open_clip(path, fps=Fraction(10**9))
