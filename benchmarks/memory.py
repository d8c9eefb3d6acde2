"""Peak memory of stage 1 and of showing its videos, by the clip's length: each length in a process of its own.

    .venv/bin/python benchmarks/memory.py [FRAMES ...]     # of 480x270; 100, 1000 and 4000 without

Detection is left out (its networks see one frame at a time): what is measured is what holds or passes on frames. Aim: 4000
frames need at most a fifth more than 100.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from wanlab import media, viz
from wanlab.pose.cuts import mark_shots

HEIGHT, WIDTH, FPS = 270, 480, Fraction(30)


def main(lengths: list[int]) -> None:
    peaks = []
    with tempfile.TemporaryDirectory() as place:
        for length in lengths:
            film = Path(place) / f"{length}.mp4"
            media.write_video(film, moving(length), FPS, preview=True)
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(film)], stdout=subprocess.PIPE, check=True
            )
            stages = json.loads(done.stdout)
            peaks.append(max(stages.values()))
            listed = ", ".join(f"{name} {peak / 2**20:.0f} MiB" for name, peak in stages.items())
            print(f"{length:5d} frames of {WIDTH}x{HEIGHT}: peak {peaks[-1] / 2**20:.0f} MiB ({listed})", flush=True)
    print(f"{lengths[-1] / lengths[0]:.0f} times the length: {peaks[-1] / peaks[0]:.2f} times the peak memory")


def measure(film: Path) -> dict[str, int]:
    """Return the peak memory of this process, in bytes, after each part of the work on a video."""
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        clip = media.open_clip(film)
        peaks["probe"] = peak()
        master, export = Path(place) / "driving.mkv", Path(place) / "src_pose.mp4"
        media.write_video(master, clip, clip.fps, lossless=True)
        peaks["master"] = peak()
        working = media.open_clip(master)
        media.write_video(export, working, working.fps)
        peaks["export"] = peak()
        exhaust(mark_shots(working))
        peaks["shots"] = peak()
        with contextlib.redirect_stdout(io.StringIO()):
            viz.show_videos({"driving": working, "pose": media.open_clip(export), "face": working}, fps=working.fps)
        peaks["show_videos"] = peak()
    return peaks


def moving(count: int) -> Iterator[np.ndarray]:
    ramp = np.add.outer(np.arange(HEIGHT), 2 * np.arange(WIDTH)).astype(np.uint8)
    for n in range(count):
        yield np.repeat(np.roll(ramp, 3 * n, 1)[..., None], 3, axis=2)


def exhaust(values: Iterable[object]) -> None:
    for _ in values:
        pass


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main([int(text) for text in sys.argv[1:]] or [100, 1000, 4000])
