"""The sound of a clip: decoded to 16-bit stereo, encoded beside a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np

from wanlab.media.decode import open_container
from wanlab.media.probe import probe_video

Sound = tuple[list[Any], int]  # frames of 16-bit stereo, samples per second


class AudioStretch(NamedTuple):
    """The sound of the file `path` from `start_s` of its film on, `duration_s` seconds long."""

    path: Path
    start_s: float
    duration_s: float


def decode_sound(audio: AudioStretch | None) -> Sound | None:
    """Decode a stretch of sound to frames of 16-bit stereo that start at time 0; None where the file has none."""
    if audio is None:
        return None
    info = probe_video(audio.path)
    if not info.has_audio:
        return None
    with open_container(audio.path) as container:
        source = container.streams.best("audio")
        if source is None or source.codec_context is None:
            return None
        rate = source.codec_context.sample_rate or 48000
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=rate)
        begin = info.start_s + audio.start_s
        wanted = round(audio.duration_s * rate)
        samples = np.zeros((wanted, 2), np.int16)
        position = None
        for frame in container.decode(source):
            if position is None:
                position = round((float(frame.time or 0.0) - begin) * rate)
            for block in resampler.resample(frame):
                values = block.to_ndarray().reshape(-1, 2)
                low, high = max(position, 0), min(position + len(values), wanted)
                if low < high:
                    samples[low:high] = values[low - position : high - position]
                position += len(values)
            if position >= wanted:
                break
    blocks = []
    for start in range(0, wanted, 1024):
        block = av.AudioFrame.from_ndarray(samples[start : start + 1024].reshape(1, -1), format="s16", layout="stereo")
        block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
        blocks.append(block)
    return blocks, rate


def add_sound_stream(container: Any, sound: Sound | None, lossless: bool) -> Any:
    if sound is None or not sound[0]:
        return None
    stream = container.add_stream("flac" if lossless else "aac", rate=sound[1])
    stream.layout = "stereo"
    return stream


def mux_sound(container: Any, stream: Any, sound: Sound | None) -> None:
    if stream is None or sound is None:
        return
    for block in (*sound[0], None):  # None: the encoder's rest
        container.mux(stream.encode(block))
