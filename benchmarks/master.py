"""Frames a second of writing results of 1280x720: each segment's lossless file, and the master of all of them.

    .venv/bin/python benchmarks/master.py [FRAMES]     # of a segment; 77 without

The images are the bundled clip enlarged, with soft noise as a camera's sensor makes it: noise is what a lossless file is
spent on. A segment is encoded in a thread while the next one is denoised, so what counts there is that it takes less
time than the denoising; the master is written afterwards, by copying coded images. Aim: 40 frames a second for it.

On two CPU cores that others used too (load 8): segments 10 frames/s (an idle core does 21 to 25), the master joined 622
frames/s; decoded and encoded again, as it was written before, 3.3 frames/s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from wanlab import config, media

HEIGHT, WIDTH, FPS = 720, 1280, Fraction(24)
NOISE = 12.0  # grey levels before it is blurred, about 4 after: an indoor video's
NUM_SEGMENTS = 3


def main(num_frames: int) -> None:
    frames = list(natural(num_frames))
    with tempfile.TemporaryDirectory() as place:
        parts = [Path(place) / f"{number:03d}.mkv" for number in range(NUM_SEGMENTS)]
        total = NUM_SEGMENTS * num_frames
        measured = {
            "segments": seconds(lambda: [media.write_video(part, frames, FPS, lossless=True) for part in parts])
        }
        master, again = Path(place) / "master.mkv", Path(place) / "again.mkv"
        measured["master, joined"] = seconds(lambda: media.join(parts, master, FPS))
        decoded = (frame for part in parts for frame in media.open_clip(part))
        measured["master, encoded again"] = seconds(lambda: media.write_video(again, decoded, FPS, lossless=True))
        mib = master.stat().st_size / 2**20 / total
        same = master.read_bytes() == again.read_bytes()
    for what, taken in measured.items():
        print(f"{what:<22} {total / taken:8.1f} frames/s, {taken:.2f} s for {total} frames")
    print(f"{mib:.2f} MiB a frame; both masters are {'equal' if same else 'DIFFERENT'} files")


def natural(num_frames: int) -> Iterator[np.ndarray]:
    """Yield the bundled clip's frames, there and back again, enlarged and with noise: [H, W, 3], uint8 RGB."""
    random = np.random.default_rng(0)
    clip = media.open_clip(config.ASSETS / "sample" / "driving.mp4").read()
    there_and_back = [*clip, *clip[-2:0:-1]]
    for n in range(num_frames):
        large = cv2.resize(there_and_back[n % len(there_and_back)], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise = cv2.GaussianBlur(random.normal(0, NOISE, large.shape).astype(np.float32), (0, 0), 0.8)
        yield np.clip(large + noise, 0, 255).astype(np.uint8)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 77)
