"""How much the package's folders talk to each other in one generation with nano: calls from one folder into another.

    .venv/bin/python benchmarks/calls.py [FRAMES]     # of the bundled clip, in replace; 33 without

A call counts where caller and callee are wanlab's and lie in different folders; so does each frame that a generator of
another folder yields. Preparing and working are counted apart, after one generation that loads and imports everything.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from wanlab import config
from wanlab.model import checkpoints
from wanlab.steps import generate, preprocess

PACKAGE = Path(config.__file__).parents[1]
SHOWN = 12  # pairs of functions, the most frequent first
QUICK = {"num_inference_steps": 2, "checkpoint": checkpoints.NANO}

Pair = tuple[str, str]  # caller and callee, as folder/module.function


def main(num_frames: int) -> None:
    sample = config.ASSETS / "sample"
    clip = {"driving_video": sample / "half.mp4", "reference_image": sample / "character.png"}
    with contextlib.redirect_stdout(io.StringIO()):
        chosen = config.PreprocessSettings.build({**clip, "mode": "replace", "max_frames": num_frames})
        folder = preprocess.work(preprocess.prepare(chosen)).folder
        generate.work(generate.prepare(config.GenerateSettings.build({"inputs": folder, **QUICK, "seed": 1})))
        asked = config.GenerateSettings.build({"inputs": folder, **QUICK})
        prepared, run = counted(lambda: generate.prepare(asked))
        worked, _ = counted(lambda: generate.work(run))
    print(f"{num_frames} frames, calls between folders: prepare {prepared.total()}, work {worked.total()}")
    for name, calls in (("prepare", prepared), ("work", worked)):
        print(f"\n{name}")
        for (caller, callee), count in calls.most_common(SHOWN):
            print(f"  {count:6d}  {caller} -> {callee}")


def counted(do: Callable[[], Any]) -> tuple[collections.Counter[Pair], Any]:
    """Return how often each pair of functions in different folders called, and what `do` returned."""
    calls: collections.Counter[Pair] = collections.Counter()

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_back is not None:
            caller, callee = _place(frame.f_back), _place(frame)
            if caller and callee and caller.partition("/")[0] != callee.partition("/")[0]:
                calls[caller, callee] += 1

    sys.setprofile(on_event)
    try:
        result = do()
    finally:
        sys.setprofile(None)
    return calls, result


def _place(frame: FrameType) -> str:
    """Return folder/module.function of wanlab's code, nothing of any other."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(PACKAGE):
        return ""
    return f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}.{frame.f_code.co_qualname}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ["WANLAB_OUTPUTS"] = str(Path(place))
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 33)
