"""A long clip, segment after segment: seconds and host memory of each, with the bundled miniature; both should stay the same.

    .venv/bin/python benchmarks/long.py [SEGMENTS]     # of 17 frames of 192x256; 10 without

Through a run as `wanlab generate` makes it, in replace with colour_hold and guidance: reading, encoding, 2 steps, decoding,
saving. Memory is what the process holds when a segment is handed over to be saved; the first one also pays for the text.

On two CPU cores that others used too: ten segments of 17 frames 8.4 to 10.4 CPU seconds each (second half to first 1.07 and
1.09, as the load rose), 1,103 to 1,298 MiB (0.98 and 1.01); 24 segments of 5 frames 0.92 and, in MiB, 1.03: nothing grows. At
1280x720 a segment leaves nothing on the host, and on the GPU 18 MB of encoded drawings, of which 256 MiB are kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from wanlab import config, media
from wanlab.model import checkpoints
from wanlab.steps import denoise, generate, segment_files

HEIGHT, WIDTH, LENGTH, FPS = 256, 192, 17, Fraction(16)


def main(num_segments: int) -> None:
    reached: list[tuple[float, float, float]] = []

    class Watched(segment_files.SegmentWriter):
        def save(self, number: int, frames: np.ndarray, tail: np.ndarray) -> None:
            reached.append((time.perf_counter(), time.process_time(), held()))
            super().save(number, frames, tail)

    denoise.SegmentWriter = Watched  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as place:
        os.environ["WANLAB_OUTPUTS"] = str(Path(place) / "outputs")
        folder = write(Path(place) / "inputs", num_segments * (LENGTH - 1) + 1)
        chosen: dict[str, Any] = {"inputs": folder, "checkpoint": checkpoints.NANO, "segment_frame_length": LENGTH}
        chosen |= {"mode": "replace", "num_inference_steps": 2, "guidance_scale": 2, "colour_hold": True}
        reached.append((time.perf_counter(), time.process_time(), held()))
        with contextlib.redirect_stdout(io.StringIO()):
            generate.work(generate.prepare(config.GenerateSettings.build(chosen)))
    walls, cpus, memory = np.array(reached).T
    for number, (wall, cpu, mib) in enumerate(zip(np.diff(walls), np.diff(cpus), memory[1:], strict=True), 1):
        print(f"segment {number:2d}: {wall:6.2f} s, {cpu:6.2f} CPU seconds, {mib:6.0f} MiB")
    halves = np.array_split(np.arange(1, num_segments), 2)  # the first segment loads the networks
    for what, values in (("CPU seconds of a segment", np.diff(cpus)), ("MiB", memory[1:])):
        early, late = (float(np.median(values[half])) for half in halves)
        print(f"{what}, median of the second half to that of the first: {late / early:.2f}")


def write(folder: Path, num_frames: int) -> Path:
    """Write inputs of replace: a box that moves over noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def box(t: int, value: int) -> np.ndarray:
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame[60:200, t % 100 : t % 100 + 60] = value
        return frame

    videos = {
        "src_pose": lambda t: box(t, 200),
        "src_mask": lambda t: box(t, 255),
        "src_bg": lambda t: noise * (box(t, 1) == 0),
        "src_face": lambda t: np.full((512, 512, 3), 100 + t % 50, np.uint8),
    }
    for name, frame in videos.items():
        media.write_video(folder / f"{name}.mp4", (frame(t) for t in range(num_frames)), FPS)
    media.write_video(folder / "driving.mkv", (noise for _ in range(num_frames)), FPS, lossless=True)
    media.write_image(folder / "src_ref.png", noise)
    return folder


def held() -> float:
    """Return how much memory the process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
