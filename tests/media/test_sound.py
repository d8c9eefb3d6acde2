"""Sound with truth by construction: tones, damaged places, tracks without a decoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from wanlab import media

RATE = 48000


def tone(seconds: float, channels: int = 2) -> np.ndarray:
    return np.tile(0.3 * np.sin(np.arange(int(seconds * RATE)) * 0.05), (channels, 1)).astype(np.float32)


def written(path: Path, samples: np.ndarray, layout: str = "stereo", rate: int = RATE, codec: str = "aac") -> Path:
    """Write 2 seconds of grey at 25 frames per second with a sound track."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 32, 32, "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout=layout)
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        kind = "fltp" if codec == "aac" else "s16"
        for start in range(0, samples.shape[1], 1024):
            values = samples[:, start : start + 1024]
            values = values if codec == "aac" else (values.T.reshape(1, -1) * 32767).astype(np.int16)
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), kind, layout)
            block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


def with_damaged_packets(source: Path, path: Path) -> Path:
    """Copy a file; audio packets 20 to 29 become noise."""
    rng = np.random.default_rng(8)
    with av.open(str(source)) as given, av.open(str(path), "w") as container:
        targets = {s.index: container.add_stream_from_template(s) for s in given.streams}
        k = 0
        for packet in given.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio":
                k += 1
            target, data = targets[packet.stream.index], bytes(packet)
            if packet.stream.type == "audio" and 20 <= k < 30:
                data = rng.bytes(packet.size)
            new = av.Packet(data)
            new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, target
            container.mux(new)
    return path


def carried_over(source: Path, path: Path, seconds: float = 2.0, start: float = 0.0) -> np.ndarray:
    """Return the sound of a lossless copy, [N], mono, -1 to 1; empty where it has none."""
    stretch = media.AudioStretch(source, start, seconds)
    frames = [np.full((32, 32, 3), 90, np.uint8)] * round(25 * seconds)
    media.write_video(path, frames, Fraction(25), lossless=True, audio=stretch)
    assert media.probe_video(path).num_frames == len(frames)
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0)
        return np.concatenate([f.to_ndarray().reshape(-1, 2).mean(1) / 32768 for f in container.decode(audio=0)])


def loudness(samples: np.ndarray, start: float, end: float) -> float:
    return float(np.abs(samples[int(start * RATE) : int(end * RATE)]).mean())


def test_damaged_sound_is_silent_there_and_said(tmp_path: Path) -> None:
    broken = with_damaged_packets(written(tmp_path / "whole.mp4", tone(2)), tmp_path / "a.mp4")
    samples = carried_over(broken, tmp_path / "out.mkv")
    assert len(samples) == 2 * RATE
    assert loudness(samples, 0.05, 0.35) > 0.15
    assert loudness(samples, 0.8, 1.9) > 0.15
    assert loudness(samples, 0.46, 0.58) < 0.05
    (note,) = media.describe_sound(media.AudioStretch(broken, 0.0, 2.0))
    assert "a.mp4 has damaged sound: " in note
    assert "it is silent there" in note
    assert not any("damaged" in said for said in media.describe_sound(media.AudioStretch(broken, 0.0, 0.3)))


def test_a_track_without_a_decoder_leaves_the_video(tmp_path: Path) -> None:
    data = written(tmp_path / "whole.mp4", tone(2)).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data.replace(b"mp4a", b"apac").replace(b"esds", b"free"))
    assert len(carried_over(tmp_path / "a.mp4", tmp_path / "out.mkv")) == 0
    assert media.describe_sound(media.AudioStretch(tmp_path / "a.mp4", 0.0, 2.0)) == (
        "a.mp4 has a sound track that cannot be decoded: the video is silent",
    )


def test_a_mix_an_unusual_rate_and_a_cut_are_said(tmp_path: Path) -> None:
    def said(path: Path, seconds: float) -> str:
        return " ".join(media.describe_sound(media.AudioStretch(path, 0.0, seconds)))

    surround = written(tmp_path / "surround.mkv", tone(2, 6), "5.1")
    assert "has sound of 6 channels (5.1): it was mixed down to stereo" in said(surround, 2)
    fast = written(tmp_path / "fast.mkv", tone(8), rate=192000, codec="flac")
    assert "192000 samples per second: it was resampled to 48000" in said(fast, 2)
    assert len(carried_over(fast, tmp_path / "fast_out.mkv")) == 2 * RATE
    short = written(tmp_path / "short.mkv", tone(1), codec="flac")
    assert "ends at second 1.000 of the clip: it is silent from there on" in said(short, 2)
    samples = carried_over(short, tmp_path / "short_out.mkv")
    assert loudness(samples, 0, 1) > 0.15
    assert np.abs(samples[RATE:]).max() == 0
    long = written(tmp_path / "long.mkv", tone(3), codec="flac")
    assert "goes on for 1.000 s after the clip's last frame: it was cut there" in said(long, 2)
    assert said(written(tmp_path / "right.mkv", tone(2), codec="flac"), 2) == ""


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_samples_keep_their_place(tmp_path: Path, seconds: float) -> None:
    ramp = np.tile(np.linspace(0, 0.9, 2 * RATE), (2, 1)).astype(np.float32)
    path = written(tmp_path / "a.mkv", ramp, codec="flac")
    found = carried_over(path, tmp_path / "out.mkv", seconds, start=0.6)
    np.testing.assert_allclose(found, ramp[0, int(0.6 * RATE) : int((0.6 + seconds) * RATE)], atol=1e-4)
