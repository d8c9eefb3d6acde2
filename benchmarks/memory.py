"""Peak memory of stage 1 and of showing its videos, by the clip's length: each part and length in a process of its own.

    .venv/bin/python benchmarks/memory.py [FRAMES ...]     # of 480x270; 100 and 1000 without
    .venv/bin/python benchmarks/memory.py --only show_videos --only inspect 100 1000 4000

Stage 1 is all of it: reading, detection, drawings, crops, and in replace the bundled segmenter (or a mask video), the mask
chain and the background. Aim: 1,000 frames need at most a fifth more than 100.

Peak in MiB on two CPU cores, imports of about 220 MiB (in replace with torch) among it; –: not measured:

    frames                   100    400   1000   4000
    animate                  399      –    396    424
    replace                  857    858      –      –
    replace, a mask video    396      –    404      –
    inspect, 6 masks         282      –    288    296
    show_videos, 3 videos    218      –    219    239

Masks are kept as deflated bits (mask.PackedMasks): as bools 4,000 frames of them would be 518 MB each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from wanlab import config, inputs, mask, media, viz
from wanlab.media.resize import letterbox
from wanlab.steps import inspect, preprocess
from wanlab.widgets import mask_comparison

HEIGHT, WIDTH, FPS = 270, 480, Fraction(30)
SAMPLE = Path(config.__file__).parents[1] / "assets" / "sample"
MASKED = "replace_mask_video"  # replace with a mask video as mask_source, without the segmenter's second a frame
PARTS = ("animate", "replace", MASKED, "inspect", "show_videos")


def main(parts: list[str], lengths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for length in lengths:
            film = Path(place) / f"{length}.mp4"
            media.write_video(film, person(length), FPS, for_player=True)
            if {"inspect", MASKED} & {*parts}:
                write_inputs(film)
            for part in parts:
                print(f"{length:5d} frames of {WIDTH}x{HEIGHT}, {measured(part, film)}", flush=True)


def measured(part: str, film: Path) -> str:
    """Return a line about one part of the work on a video, done in a process of its own."""
    with tempfile.TemporaryDirectory() as outputs:
        command = [sys.executable, __file__, "--measure", part, str(film)]
        environment = {**os.environ, "WANLAB_OUTPUTS": outputs, "WANLAB_HEADLESS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    before, after, seconds = json.loads(done.stdout.splitlines()[-1])
    return f"{part}: peak {after:.0f} MiB, of which {before:.0f} MiB are imports and the opened video; {seconds:.0f} s"


def measure(part: str, film: Path) -> None:
    """Print the peak memory of this process in MiB, before and after the work, and the seconds."""
    clip = media.open_clip(film)
    before, begin = peak(), time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        if part == "show_videos":
            viz.show_videos(dict.fromkeys(("driving", "pose", "face"), clip), fps=clip.fps)
        elif part == "inspect":
            chosen = {"inputs": film.with_suffix(""), "auto_keypoint": False, "mask_chain": "grow:4,median:5"}
            seen = inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))
            mask_comparison.mask_comparison(seen)
        else:
            asked: dict[str, object] = {
                "driving_video": film,
                "reference_image": SAMPLE / "reference.png",
                "resolution": "480 270",
            }
            asked |= {"mode": part.split("_")[0], "checkpoint": SAMPLE.parent / "nano"}
            if part == MASKED:
                asked["mask_source"] = film.with_suffix("") / inputs.EXPORTS["mask_video"][0]
            chosen = config.PreprocessSettings.build(asked)
            made = preprocess.work(preprocess.prepare(chosen))
            assert isinstance(made, inputs.AnimateInputs)
    print(json.dumps([before, peak(), time.monotonic() - begin]))


def write_inputs(film: Path) -> None:
    """Write inputs of replace beside a video: the video itself at 480x256, and a box that moves as the mask."""
    folder, clip, height = film.with_suffix(""), media.open_clip(film), HEIGHT // 16 * 16
    folder.mkdir()
    sides = {"pose_video": (height, WIDTH), "background_video": (height, WIDTH), "face_video": (512, 512)}
    for name, size in sides.items():
        export, master = inputs.EXPORTS[name]
        grey = (np.full((*size, 3), 127, np.uint8) for _ in clip.source_indices)
        frames = grey if name == "face_video" else (frame[:height] for frame in clip)
        media.write_video(folder / master, frames, clip.fps, lossless=True)
        media.write_video(folder / export, media.open_clip(folder / master), clip.fps)
    media.write_video(folder / inputs.DRIVING, (frame[:height] for frame in clip), clip.fps, lossless=True)
    boxes = (np.add.outer(np.arange(height) // 200, (np.arange(WIDTH) - t % 300) // 100) == 0 for t in range(len(clip)))
    masks = mask.PackedMasks(height, WIDTH, boxes)
    inputs.save_masks(folder, masks, masks, clip.fps)
    media.write_image(folder / inputs.REFERENCE, next(iter(clip))[:height])
    inputs.write_facts(folder, mode="replace", clip_height=height, clip_width=WIDTH, run="", parent=None)


def person(count: int) -> Iterator[np.ndarray]:
    """Yield the bundled clip's frames, forwards and back again, small in a wide image."""
    frames = [letterbox(frame, HEIGHT, WIDTH) for frame in media.open_clip(SAMPLE / "driving.mp4")]
    there_and_back = [*frames, *frames[-2:0:-1]]
    for n in range(count):
        yield there_and_back[n % len(there_and_back)]


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--only", action="append", choices=PARTS)
        parser.add_argument("frames", nargs="*", type=int)
        given = parser.parse_args()
        main(given.only or list(PARTS), given.frames or [100, 1000])
