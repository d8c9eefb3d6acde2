"""Video and images, with truth by construction: each file is written here with a known turn, rate, colour or fault."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from wanlab import media
from wanlab.media import resize, write

FPS = Fraction(25)
QUARTERS = np.array(
    [[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [230, 230, 230]]], np.uint8
)  # red green / blue white


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    """Return an image whose four quarters tell how it lies."""
    return QUARTERS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def corners(image: np.ndarray) -> np.ndarray:
    """Return the colours of the four quarters, [2, 2, 3]."""
    height, width = image.shape[:2]
    return image[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]


def grey(value: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def numbered(count: int) -> list[np.ndarray]:
    """Return frames whose grey tells their number (4 levels a frame)."""
    return [grey(20 + 4 * n) for n in range(count)]


def numbers(frames: np.ndarray) -> list[int]:
    return [round((float(frame.mean()) - 20) / 4) for frame in frames]


def turn(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix (a b c d, times 65536) into the track header of an mp4."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def encode(
    path: Path, frames: list[np.ndarray], codec: str = "libx264", pts: list[int] | None = None, **how: object
) -> None:
    """Write frames with raw PyAV; `how` sets attributes of the codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "4"}
        if pts:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in how.items():
            setattr(stream.codec_context, name, value)
        for n, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=how.get("colorspace", Colorspace.ITU601),
                dst_color_range=how.get("color_range", ColorRange.MPEG),
            )
            image.pts, image.time_base = (pts[n], Fraction(1, 1000)) if pts else (n, 1 / FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), QUARTERS),
        ((0, 1, -1, 0), np.rot90(QUARTERS, -1)),  # stored image is turned clockwise for the screen
        ((-1, 0, 0, -1), np.rot90(QUARTERS, 2)),
        ((0, -1, 1, 0), np.rot90(QUARTERS, 1)),
        ((-1, 0, 0, 1), QUARTERS[:, ::-1]),  # a selfie
        ((1, 0, 0, -1), QUARTERS[::-1]),
    ],
)
def test_turned_and_mirrored_film_comes_out_upright(
    tmp_path: Path, matrix: tuple[int, ...], expected: np.ndarray
) -> None:
    path = tmp_path / "a.mp4"
    media.write_video(path, [quarters()] * 3, FPS)
    turn(path, matrix)
    frames = media.read_video(path).frames
    assert frames.shape[1:3] == ((64, 48) if matrix[0] == 0 else (48, 64))
    np.testing.assert_allclose(corners(frames[1]).astype(int), expected, atol=12)


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(path, [quarters()] * 2, sample_aspect_ratio=Fraction(3, 2))
    info = media.probe_video(path)
    assert (info.height, info.width, info.pixel_aspect) == (48, 96, Fraction(3, 2))
    assert media.read_video(path).frames.shape == (2, 48, 96, 3)
    assert any("stretched to 48x96" in note for note in info.notes)


@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize("limits", [ColorRange.MPEG, ColorRange.JPEG])
def test_colours_are_read_by_their_tags(tmp_path: Path, matrix: Colorspace, limits: ColorRange) -> None:
    path, colour = tmp_path / "a.mp4", (200, 60, 90)
    encode(path, [np.full((48, 64, 3), colour, np.uint8)] * 2, colorspace=matrix, color_range=limits)
    found = media.read_video(path).frames[0].mean(axis=(0, 1))
    np.testing.assert_allclose(found, colour, atol=3)


def test_what_wanlab_writes_says_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    media.write_video(path, [quarters()] * 2, FPS)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (int(Colorspace.ITU709), int(ColorRange.MPEG))
    np.testing.assert_allclose(corners(media.read_video(path).frames[0]).astype(int), QUARTERS, atol=4)


def test_varying_rate_shows_the_frame_that_is_on_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    encode(path, numbered(6), pts=[0, 40, 80, 280, 320, 360])  # the third stands for five ticks
    clip = media.open_clip(path, fps=FPS)
    assert clip.info.variable_rate
    assert numbers(clip.read())[:9] == [0, 1, 2, 2, 2, 2, 2, 3, 4]
    assert any("rate varies" in note for note in clip.notes)


def test_a_stretch_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    media.write_video(path, numbered(40), FPS)
    assert numbers(media.open_clip(path, start_s=0.4, max_frames=5).read()) == [10, 11, 12, 13, 14]
    assert len(media.open_clip(path, start_s=1.0)) == 15
    with pytest.raises(ValueError, match="start_s must lie inside the video, got 2"):
        media.open_clip(path, start_s=2.0)


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(30), Fraction(30000, 1001), Fraction(50)])
def test_another_rate_takes_upstream_s_frames(tmp_path: Path, fps: Fraction) -> None:
    path = tmp_path / "a.mp4"
    media.write_video(path, numbered(40), FPS)
    clip = media.open_clip(path, fps=fps)
    length = int(40 / 25 * float(fps))
    assert numbers(clip.read()) == resize.frame_indices(40, 25.0, length, float(fps)).tolist()
    assert clip.fps == fps


def test_a_cover_picture_is_not_the_film(tmp_path: Path) -> None:
    film, path = tmp_path / "video.mp4", tmp_path / "a.mp4"
    media.write_video(film, numbered(8), FPS)
    Image.fromarray(grey(255, 200, 200)).save(tmp_path / "cover.png")
    with av.open(str(film)) as source, av.open(str(tmp_path / "cover.png")) as cover, av.open(str(path), "w") as target:
        images = target.add_stream_from_template(cover.streams.video[0])
        images.disposition = media.ATTACHED_PICTURE
        frames = target.add_stream_from_template(source.streams.video[0])
        for packet in cover.demux(cover.streams.video[0]):
            if packet.size:
                packet.stream = images
                target.mux(packet)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = frames
                target.mux(packet)
    assert numbers(media.read_video(path).frames) == list(range(8))


def test_of_two_films_the_better_is_taken_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for side in (32, 64):
            stream = container.add_stream("libx264", rate=FPS)
            stream.height = stream.width = side
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for n in range(4):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(grey(90, stream.height, stream.width), format="rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts, frame.time_base = n, 1 / FPS
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    info = media.probe_video(path)
    assert (info.height, info.num_frames) == (64, 4)
    assert any("2 videos" in note for note in info.notes)


def test_lossless_gives_every_bit_back_with_its_comment(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 33, 47, 3), np.uint8)
    path = tmp_path / "a.mkv"
    assert media.write_video(path, frames, Fraction(30000, 1001), lossless=True, comment="ä" * 3000) == 5
    video = media.read_video(path)
    np.testing.assert_array_equal(video.frames, frames)
    assert video.fps == Fraction(30000, 1001)
    assert media.read_comment(path) == "ä" * 3000


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_of_the_same_stretch_is_carried_over(tmp_path: Path, suffix: str) -> None:
    """A burst at second 1.2 of the source lies at second 0.7 of a stretch that begins at 0.5."""
    rate, source = 48000, tmp_path / "source.mkv"
    sound = np.zeros(2 * rate, np.int16)
    sound[int(1.2 * rate) : int(1.3 * rate)] = 20000
    with av.open(str(source), "w") as container:
        video, audio = container.add_stream("libx264", rate=FPS), container.add_stream("flac", rate=rate)
        video.height = video.width = 32
        video.pix_fmt, audio.layout = "yuv420p", "mono"
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(grey(90), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, 1 / FPS
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, len(sound), 4096):
            block = av.AudioFrame.from_ndarray(sound[None, start : start + 4096], format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    path = tmp_path / f"a{suffix}"
    stretch = media.AudioStretch(source, 0.5, 1.0)
    media.write_video(path, [grey(90)] * 25, FPS, lossless=suffix == ".mkv", audio=stretch)
    with av.open(str(path)) as container:
        parts = [(frame.time, frame.to_ndarray().astype(float)) for frame in container.decode(audio=0)]
    scale = max(np.abs(values).max() for _, values in parts)
    loud = [t + np.flatnonzero(np.abs(v.reshape(-1, 2).mean(1) if v.shape[0] == 1 else v.mean(0)) > scale / 3)[0] / rate
            for t, v in parts if (np.abs(v) > scale / 3).any()]  # fmt: skip
    assert abs(loud[0] - 0.7) < 0.03
    assert media.probe_video(path).num_frames == 25


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_another_container_holds_the_same_packets(tmp_path: Path, sample: Path, suffix: str) -> None:
    sound = np.random.default_rng(0).integers(-9000, 9000, (1, 8000), np.int16)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        video, audio = container.add_stream("ffv1", rate=FPS), container.add_stream("flac", rate=8000)
        video.height, video.width, video.pix_fmt, audio.layout = 32, 32, "bgr0", "mono"
        image = av.VideoFrame.from_ndarray(grey(90), format="rgb24").reformat(format="bgr0")
        image.pts, image.time_base = 0, 1 / FPS
        container.mux(video.encode(image))
        block = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
        for stream, last in ((video, None), (audio, block), (audio, None)):
            container.mux(stream.encode(last))
    source, copy = tmp_path / "source.mp4", tmp_path / f"copy{suffix}"
    stretch = media.AudioStretch(tmp_path / "sound.mkv", 0.0, 1.0)
    media.write_video(source, numbered(25), FPS, comment="ours", audio=stretch)
    assert media.rewrap(source, copy) == 25

    def held(path: Path, kind: str) -> list[tuple[bytes, float]]:
        with av.open(str(path)) as container:
            start = min(p.pts * p.time_base for p in container.demux(container.streams.video[0]) if p.size)
        with av.open(str(path)) as container:
            stream = getattr(container.streams, kind)[0]
            return [(p.size, float(p.pts * p.time_base - start)) for p in container.demux(stream) if p.size]

    for kind in ("video", "audio"):  # times count from the first image: Matroska has no negative ones and shifts all
        there, here = held(source, kind), held(copy, kind)
        assert [size for size, _ in there] == [size for size, _ in here]
        np.testing.assert_allclose([t for _, t in here], [t for _, t in there], atol=0.002)
    np.testing.assert_array_equal(media.open_clip(copy).read(), media.open_clip(source).read())
    assert media.read_comment(copy) == "ours"
    assert media.probe_video(copy).fps == media.probe_video(source).fps


def test_odd_sides_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"H.264 needs even sides, got 33x32 .*; use 34x32"):
        media.write_video(tmp_path / "a.mp4", [grey(0, 33, 32)], FPS)
    assert not list(tmp_path.iterdir())


def test_bad_film_is_named(tmp_path: Path) -> None:
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.wav"
    text.write_text("no video")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        media.probe_video(tmp_path / "none.mp4")
    for path, message in (
        (text, "must be a readable video file"),
        (sound, "only sound"),
        (tmp_path, "must be a file, got the folder"),
    ):
        with pytest.raises(ValueError, match=message):
            media.probe_video(path)
    with pytest.raises(ValueError, match="at least one frame"):
        media.write_video(tmp_path / "a.mp4", [], FPS)


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.height = stream.width = 32
        stream.pix_fmt = "bgr0"
        container.start_encoding()
    with pytest.raises(ValueError, match="video must"):
        media.probe_video(path)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file must be a folder, but .*file is a file"):
        media.write_video(tmp_path / "file" / "a.mp4", [grey(0)], FPS)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    code = f"""
import resource, signal, sys
import numpy as np
from fractions import Fraction
from wanlab import media
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
noise = np.random.default_rng(0).integers(0, 256, (20, 96, 96, 3), np.uint8)
try:
    media.write_video({str(tmp_path / ("a" + suffix))!r}, noise, Fraction(25), lossless={suffix == ".mkv"})
except OSError as error:
    print(error.errno, error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "disk full while writing a" in done.stdout
    assert not list(tmp_path.iterdir())


def test_pictures_come_as_a_viewer_shows_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    Image.fromarray(quarters()).save(tmp_path / "turned.png", exif=exif)
    turned = media.open_image(tmp_path / "turned.png")
    np.testing.assert_array_equal(corners(turned.pixels), np.rot90(QUARTERS, -1))
    assert any("EXIF" in note for note in turned.notes)

    see_through = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    see_through[:24, :32, 3] = 0
    Image.fromarray(see_through).save(tmp_path / "alpha.png")
    alpha = media.open_image(tmp_path / "alpha.png")
    assert corners(alpha.pixels)[0, 0].tolist() == [255, 255, 255]
    assert any("white" in note for note in alpha.notes)

    Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert np.unique(media.read_image(tmp_path / "deep.png")).tolist() == [128]


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="image must be a readable image file"):
        media.read_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        media.read_image(tmp_path / "b.png")
    with pytest.raises(ValueError, match="must be a file, got the folder"):
        media.read_image(tmp_path)


def test_any_frame_of_a_clip_is_had_by_its_index(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = media.open_clip(sample / "half.mp4", max_frames=20)
    expected = clip.read()
    opened = []
    original = media.Clip.__iter__
    monkeypatch.setattr(media.Clip, "__iter__", lambda self: opened.append(1) or original(self))
    frames = media.Frames(clip, block_bytes=3 * clip.height * clip.width * 6)
    assert (len(frames), frames.height, frames.width) == (20, clip.height, clip.width)
    for t in range(20):
        np.testing.assert_array_equal(frames[t], expected[t])
    assert len(opened) == 1  # going on does not decode again
    for t in (19, 0, 7, 6, 5, 13, 18, 12):
        np.testing.assert_array_equal(frames[t], expected[t])
    opened.clear()
    for t in reversed(range(20)):
        np.testing.assert_array_equal(frames[t], expected[t])
    assert len(opened) <= 4
    np.testing.assert_array_equal(media.Frames(expected)[3], expected[3])


@pytest.mark.parametrize("kind", ["lossless", "old lossless", "mp4"])
def test_single_frames_are_found_in_any_order(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (40, 16, 32, 3), np.uint8)
    path = tmp_path / ("video.mp4" if kind == "mp4" else "video.mkv")
    if kind == "old lossless":  # as wanlab wrote them before: a key frame now and then
        made = write._video_stream

        def as_before(*arguments: object) -> object:
            stream = made(*arguments)
            stream.options = {name: value for name, value in stream.options.items() if name != "g"}
            return stream

        monkeypatch.setattr(write, "_video_stream", as_before)
    media.write_video(path, frames, Fraction(30000, 1001), lossless=kind != "mp4")
    clip = media.open_clip(path, start_s=0.2, max_frames=30)
    whole = clip.read()
    monkeypatch.setattr(media.Clip, "__iter__", lambda _: pytest.fail("was decoded from its start"))
    single = media.Seeker(clip)
    assert len(single) == 30
    several = (0, 29, 28, 3, 4, 5, 17, 17, 1, 0, *range(0, 30, 7))
    for t in several:
        np.testing.assert_array_equal(single[t], whole[t])
    np.testing.assert_array_equal(single.read(np.array(several)), whole[list(several)])


def test_a_frame_of_a_film_whose_times_lead_nowhere_is_counted(tmp_path: Path) -> None:
    frames = [grey(5 * n) for n in range(30)]
    media.write_video(tmp_path / "video.mkv", frames, FPS, lossless=True)
    clip = media.open_clip(tmp_path / "video.mkv")
    info = clip.info._replace(start_s=100.0)
    single = media.Seeker(media.Clip(info, clip.fps, clip.source_indices, ()))
    assert [int(single[t][0, 0, 0]) for t in (20, 3)] == [100, 15]


def test_a_pair_is_what_two_files_of_the_same_frames_are(tmp_path: Path) -> None:
    frames = [np.roll(quarters(), 3 * t, axis=1) for t in range(7)]
    assert media.write_pair(tmp_path / "a.mkv", tmp_path / "a.mp4", iter(frames), FPS) == 7
    media.write_video(tmp_path / "b.mkv", frames, FPS, lossless=True)
    media.write_video(tmp_path / "b.mp4", media.open_clip(tmp_path / "b.mkv"), FPS)
    for suffix in ("mkv", "mp4"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_pair_leaves_nothing_where_a_frame_fails(tmp_path: Path) -> None:
    frames = (quarters() if t < 3 else quarters(64, 64) for t in range(5))
    with pytest.raises(ValueError, match=r"frames must all be \(48, 64, 3\) uint8"):
        media.write_pair(tmp_path / "a.mkv", tmp_path / "a.mp4", frames, FPS)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_holds_its_frames_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [grey(20 * t) for t in range(6)]
    media.write_video(tmp_path / "a.mkv", frames, FPS, lossless=True)
    clip = media.open_clip(tmp_path / "a.mkv").holding(frames)
    monkeypatch.setattr(media.video, "decode", lambda *_, **__: pytest.fail("decoded"))
    np.testing.assert_array_equal(clip.read(), frames)
    for chosen in (slice(1, 4), [0, 5], np.array([2, 2])):
        np.testing.assert_array_equal(clip.at(chosen).read(), np.array(frames)[chosen])
    assert clip.at([4]).source_indices.tolist() == [4]


def test_equal_films_are_equal_files(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8)
    for name in ("a", "b"):
        for suffix in (".mkv", ".mp4"):
            media.write_video(tmp_path / f"{name}{suffix}", frames, FPS, lossless=suffix == ".mkv", comment="same")
    for suffix in (".mkv", ".mp4"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


WRITES = """
import sys
from fractions import Fraction
import numpy as np
from wanlab import media
height, width = 480, 832
ramp = np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.uint8)
moving = [np.repeat(np.roll(ramp, 5 * n, 1)[..., None], 3, axis=2) for n in range(6)]
media.write_video(sys.argv[1], moving, Fraction(25))
"""


def test_equal_films_are_equal_files_whatever_lies_in_memory(tmp_path: Path) -> None:
    for filling in ("1", "85"):  # what the C library puts into memory that is given out and taken back
        command = [sys.executable, "-c", WRITES, str(tmp_path / f"{filling}.mp4")]
        subprocess.run(command, env={**os.environ, "MALLOC_PERTURB_": filling}, check=True)
    assert (tmp_path / "1.mp4").read_bytes() == (tmp_path / "85.mp4").read_bytes()


@pytest.mark.parametrize("fps", [Fraction(16), Fraction(30000, 1001), Fraction(60)])
def test_remux_changes_the_rate_and_no_pixel(tmp_path: Path, fps: Fraction) -> None:
    moving = [np.full((64, 96, 3), 5 * n, np.uint8) for n in range(40)]  # enough for B-frames
    media.write_video(tmp_path / "a.mp4", moving, Fraction(30))
    assert media.remux(tmp_path / "a.mp4", tmp_path / "b.mp4", fps, comment="from a") == 40
    before, after = media.open_clip(tmp_path / "a.mp4"), media.open_clip(tmp_path / "b.mp4")
    assert (after.fps, after.info.variable_rate, after.info.start_s) == (fps, False, 0)
    np.testing.assert_allclose(after.info.times, np.arange(40) / float(fps), atol=1e-4)
    np.testing.assert_array_equal(before.read(), after.read())
    assert media.read_comment(tmp_path / "b.mp4") == "from a"


def test_remux_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="video must be"):
        media.remux(tmp_path / "a.mp4", tmp_path / "b.mp4", Fraction(16))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("fps", [Fraction(16), Fraction(30000, 1001)])
def test_joined_parts_are_the_file_of_all_their_frames(tmp_path: Path, fps: Fraction) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), np.uint8)
    parts = [tmp_path / f"{first}.mkv" for first in (0, 5, 6)]
    for part, piece in zip(parts, np.split(frames, [5, 6]), strict=True):
        media.write_video(part, piece, fps, lossless=True)
    media.write_video(tmp_path / "all.mkv", frames, fps, lossless=True)
    assert media.join(parts, tmp_path / "joined.mkv", fps) == 9
    assert (tmp_path / "joined.mkv").read_bytes() == (tmp_path / "all.mkv").read_bytes()


def test_no_frame_is_encoded_where_parts_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only parts that were encoded in another way, here with another number of slices, cannot stand in one stream."""
    frames = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    parts = [tmp_path / f"{n}.mkv" for n in range(3)]
    for part, piece in zip(parts[:2], np.split(frames[:4], 2), strict=True):
        media.write_video(part, piece, FPS, lossless=True)
    with monkeypatch.context() as patch:
        patch.setattr(write, "_encoded", lambda *_: pytest.fail("encoded again"))
        assert media.join(parts[:2], tmp_path / "two.mkv", FPS) == 4
    with av.open(str(parts[2]), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        stream.options = {"level": "3", "g": "1", "slices": "9"}
        for frame in frames[4:]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame).reformat(format="bgr0")))
        container.mux(stream.encode(None))
    assert media.join(parts, tmp_path / "joined.mkv", FPS) == 6
    np.testing.assert_array_equal(media.read_video(tmp_path / "joined.mkv").frames, frames)


def test_a_join_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    media.write_video(tmp_path / "0.mkv", [grey(9)], FPS, lossless=True)
    (tmp_path / "1.mkv").write_bytes(b"no video")
    with pytest.raises(ValueError, match="video must be"):
        media.join([tmp_path / "0.mkv", tmp_path / "1.mkv"], tmp_path / "joined.mkv", FPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mkv", "1.mkv"]
