"""What the segment loop reads of a clip, against one of 4 times the length: seconds and peak memory, each in its own process.

    .venv/bin/python benchmarks/reading.py [FRAMES]     # of the shorter clip, of 256x448 in replace; 150 without

Through the object that the loop reads with, segment after segment of 77 frames. Aim: at most 4.4 times the seconds, and the
same peak memory within a tenth. (150 frames are 2 segments, 600 are 8.)
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from wanlab import inputs, media
from wanlab.model import segments
from wanlab.pose.face import CROP_SIZE
from wanlab.steps.denoise import ClipConditions

HEIGHT, WIDTH, SEGMENT, OVERLAP = 256, 448, 77, 1
FPS = Fraction(30)


def main(num_frames: int) -> None:
    measured = []
    with tempfile.TemporaryDirectory() as place:
        for count in (num_frames, 4 * num_frames):
            folder = Path(place) / str(count)
            write(folder, count)
            answer = subprocess.run(
                [sys.executable, __file__, "--read", str(folder)], stdout=subprocess.PIPE, check=True
            )
            measured.append(json.loads(answer.stdout))
            seconds, peak = measured[-1]
            print(f"{count:5d} frames: {seconds:6.2f} s, peak memory {peak / 2**20:6.0f} MiB")
    (short, its_peak), (long, peak) = measured
    print(f"4 times the length: {long / short:.2f} times the seconds, {peak / its_peak:.2f} times the peak memory")


def read(folder: Path) -> tuple[float, int]:
    """Return how many seconds reading took, and the most memory of this process in bytes."""
    animate_inputs = inputs.read(folder)
    plan = segments.make_plan(animate_inputs.num_frames, SEGMENT, OVERLAP)
    conditions = ClipConditions(animate_inputs, "replace")
    began = time.perf_counter()
    for start, end in plan.segments:
        indices = plan.indices[start:end]
        for name in ("pose_video", "face_video", "background_video"):
            conditions.frames(name, indices)
        conditions.mask(indices)
    return time.perf_counter() - began, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write(folder: Path, num_frames: int) -> None:
    """Write inputs of moving stripes, and a mask that moves too."""
    folder.mkdir()
    sides = inputs.EXPORTS.keys() - {"mask_video"}
    for name in sides:
        height, width = (CROP_SIZE, CROP_SIZE) if name == "face_video" else (HEIGHT, WIDTH)
        export, master = inputs.EXPORTS[name]
        media.write_video(folder / master, stripes(num_frames, height, width), FPS, lossless=True)
        media.write_video(folder / export, stripes(num_frames, height, width), FPS)
    masks = np.zeros((num_frames, HEIGHT, WIDTH), bool)
    for t in range(num_frames):
        masks[t, 40:200, t % 200 : t % 200 + 160] = True
    inputs.save_masks(folder, masks, masks, FPS)
    media.write_image(folder / inputs.REFERENCE, next(stripes(1, HEIGHT, WIDTH)))
    inputs.write_facts(folder, mode="replace", clip_height=HEIGHT, clip_width=WIDTH, run="", parent=None)


def stripes(num_frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Yield [H, W, 3], uint8 RGB."""
    wave = np.arange(width)[None, :, None] + np.arange(height)[:, None, None] * np.array([1, 2, 3])
    for t in range(num_frames):
        yield (wave + 5 * t).astype(np.uint8)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(read(Path(sys.argv[2]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
