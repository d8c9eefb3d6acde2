"""The sound of a clip: decoded to 16-bit stereo, encoded beside a video; where it is damaged it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np

from wanlab.media.decode import open_container, steps
from wanlab.media.probe import probe_video

Sound = tuple[Iterator[Any], int]  # frames of 16-bit stereo, samples per second
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
BLOCK = 1024  # samples
GAP_S = 0.05  # a time stamp that is further from the samples so far is believed


class AudioStretch(NamedTuple):
    """A part of the sound of a file.

    Attributes:
        path: the file.
        start_s: seconds from the start of its video.
        duration_s: seconds.
    """

    path: Path
    start_s: float
    duration_s: float


def decode_sound(audio: AudioStretch | None) -> Sound | None:
    """Decode a stretch of sound to frames of 16-bit stereo that start at time 0; None where the file has none.

    What cannot be decoded is silent; `describe_sound` says it. The frames are decoded as they are asked for.
    """
    if audio is None:
        return None
    decoder = _Decoder(audio)
    return (decoder.blocks(), decoder.rate) if decoder.decodable and decoder.wanted else None


def describe_sound(audio: AudioStretch) -> tuple[str, ...]:
    """Say what becomes of a stretch of sound: no decoder, damaged places, mixed down, cut off; a sentence each."""
    decoder = _Decoder(audio)
    for _ in decoder.pieces():
        pass
    return tuple(f"{audio.path.name} {said}" for said in decoder.notes())


def add_sound_stream(container: Any, sound: Sound | None, lossless: bool) -> Any:
    if sound is None:
        return None
    stream = container.add_stream("flac" if lossless else "aac", rate=sound[1])
    stream.layout = "stereo"
    return stream


def mux_sound(container: Any, stream: Any, sound: Sound | None) -> None:
    if stream is None or sound is None:
        return
    for block in sound[0]:
        container.mux(stream.encode(block))
    container.mux(stream.encode(None))  # the encoder's rest


class _Decoder:
    """Reads one sound track of a file."""

    def __init__(self, audio: AudioStretch) -> None:
        self._audio = audio
        info = probe_video(audio.path)
        self._begin = info.start_s + audio.start_s
        self._faults: list[tuple[float, str]] = []
        self._first = self._end = None
        self._index, self.rate, self._channels, self._layout, self._num_tracks = -1, 48000, 2, "stereo", 0
        if info.has_audio:
            self._choose()
        self.decodable = self._index >= 0
        self.wanted = round(audio.duration_s * self.rate)

    def _choose(self) -> None:
        """Take the best track that there is a decoder for."""
        with open_container(self._audio.path) as container:
            tracks = list(container.streams.audio)
            self._num_tracks = len(tracks)
            decodable = [track for track in tracks if track.codec_context is not None]
            if not decodable:
                return
            best = container.streams.best("audio")
            track = best if best in decodable else decodable[0]
            self._index = tracks.index(track)
            given = track.codec_context.sample_rate or 48000
            self._given_rate, self.rate = given, given if given in AAC_RATES else 48000
            self._channels, self._layout = track.codec_context.channels, track.codec_context.layout.name

    def blocks(self) -> Iterator[Any]:
        """Yield the stretch as frames of 1024 samples at most, silent where nothing was decoded."""
        waiting = np.zeros((0, 2), np.int16)
        done = 0
        for position, values in self.pieces():
            if position >= self.wanted:
                break
            low, high = max(position, done + len(waiting)), min(position + len(values), self.wanted)
            if low >= high:
                continue
            gap = np.zeros((low - done - len(waiting), 2), np.int16)
            waiting = np.concatenate([waiting, gap, values[low - position : high - position]])
            while len(waiting) >= BLOCK:
                yield self._block(done, waiting[:BLOCK])
                waiting, done = waiting[BLOCK:], done + BLOCK
        while done < self.wanted:
            length = min(BLOCK, self.wanted - done)
            piece = np.zeros((length, 2), np.int16)
            piece[: min(len(waiting), length)] = waiting[:length]
            yield self._block(done, piece)
            waiting, done = waiting[length:], done + length

    def _block(self, start: int, samples: np.ndarray) -> Any:
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="stereo")
        block.sample_rate, block.pts, block.time_base = self.rate, start, Fraction(1, self.rate)
        return block

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield what can be decoded: its first sample, counted from the start of the stretch, and [N, 2] int16."""
        if not self.decodable:
            return
        position: int | None = None
        resampler, kind = None, None
        with open_container(self._audio.path) as container:
            stream = container.streams.audio[self._index]
            for step in steps(container, stream):
                if step.fault and step.pts is not None:
                    self._faults.append((float(step.pts * stream.time_base) - self._begin, step.fault))
                for frame in step.frames:
                    time = None if frame.time is None else round((float(frame.time) - self._begin) * self.rate)
                    jumps = time is not None and (position is None or abs(time - position) > GAP_S * self.rate)
                    position = time if jumps else position or 0
                    if jumps or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
                        resampler = av.AudioResampler(format="s16", layout="stereo", rate=self.rate)
                        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
                    for block in resampler.resample(frame):  # type: ignore[union-attr]
                        values = block.to_ndarray().reshape(-1, 2)
                        yield position or 0, values
                        self._first = (position or 0) if self._first is None else self._first
                        position = (position or 0) + len(values)
                        self._end = max(self._end or 0, position)

    def notes(self) -> list[str]:
        """Return what a reader must know after `pieces`, without the file's name."""
        if not self.decodable:
            what = "a sound track" if self._num_tracks == 1 else f"{self._num_tracks} sound tracks"
            return [f"has {what} that cannot be decoded: the video is silent"] if self._num_tracks else []
        found = []
        if self._num_tracks > 1:
            found.append(f"has {self._num_tracks} sound tracks: number {self._index + 1} was taken")
        if self._channels > 2:
            found.append(f"has sound of {self._channels} channels ({self._layout}): it was mixed down to stereo")
        if self.rate != self._given_rate:
            found.append(f"has sound of {self._given_rate} samples per second: it was resampled to {self.rate}")
        if self._first is None or self._end is None:
            return [*found, "has sound of which nothing could be decoded: the video is silent"]
        times = [time for time, _ in self._faults if 0 <= time < self._audio.duration_s]
        if times:
            found.append(
                f"has damaged sound: {len(times)} packets from second {min(times):.3f} to {max(times):.3f} of the clip could not "
                f"be decoded ({self._faults[0][1]}); it is silent there"
            )
        end = self._end / self.rate
        if self._first / self.rate > 0.1:
            found.append(
                f"has sound that begins at second {self._first / self.rate:.3f} of the clip: it is silent before"
            )
        if end < self._audio.duration_s - 0.1:
            found.append(f"has sound that ends at second {max(end, 0):.3f} of the clip: it is silent from there on")
        if end > self._audio.duration_s + 0.1:
            found.append(
                f"has sound that goes on for {end - self._audio.duration_s:.3f} s after the clip's last frame: it was cut there"
            )
        return found
