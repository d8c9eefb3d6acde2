"""What a point of a sweep costs beside its work: wall time less denoising, encoding, decoding, writing and metrics.

    .venv/bin/python benchmarks/sweep.py [FRAMES]     # of the bundled clip at nano's size; 33 without

The first point loads the networks and the second is the one to look at. Aim: at most 3 %.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from wanlab import config, media, runs
from wanlab.model import checkpoints
from wanlab.model.networks import Networks
from wanlab.steps import preprocess, sweep

NETWORK_CALLS = ("encode_text", "encode_image", "encode", "decode", "denoise")


def main(num_frames: int) -> None:
    spent = {"networks": 0.0, "video files": 0.0}
    time_calls(Networks, NETWORK_CALLS, "networks", spent)
    time_calls(media, ("write_video", "_probe"), "video files", spent)
    sample = config.ASSETS / "sample"
    made = preprocess.work(
        preprocess.prepare(
            config.PreprocessSettings.build(
                {
                    "driving_video": sample / "half.mp4",
                    "reference_image": sample / "character.png",
                    "max_frames": num_frames,
                }
            )
        )
    )
    run = sweep.prepare(
        config.SweepSettings.build(
            {"inputs": made.folder, "checkpoint": checkpoints.NANO, "grid": {"shift": [2.0, 3.0, 4.0, 5.0]}}
        )
    )
    before = dict(spent)
    entries = sweep.work(run)
    wall = sum(entry["seconds"] for entry in entries)
    stages = [runs.find_run(entry["run"]).manifest["seconds"] for entry in entries]
    loading, measuring = (sum(seconds[stage] for seconds in stages) for stage in ("load", "measure"))
    networks, files = (spent[name] - before[name] for name in spent)
    rest = wall - loading - networks - files - measuring
    print(f"\n{len(entries)} points of {num_frames} frames at {made.height}x{made.width}: {wall:.1f} s")
    for name, seconds in (
        ("networks", networks), ("video files", files), ("metrics", measuring), ("load", loading), ("the rest", rest),
    ):  # fmt: skip
        print(f"  {name:<12} {seconds:7.2f} s  {seconds / wall:6.1%}")


def time_calls(owner: object, names: tuple[str, ...], kind: str, spent: dict[str, float]) -> None:
    """Add the seconds of each call of these functions to `spent[kind]`."""
    for name in names:
        original = getattr(owner, name)

        def timed(*args: object, _original=original, **how: object) -> object:
            began = time.perf_counter()
            try:
                return _original(*args, **how)
            finally:
                spent[kind] += time.perf_counter() - began

        setattr(owner, name, timed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ["WANLAB_OUTPUTS"] = str(Path(place))
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 33)
