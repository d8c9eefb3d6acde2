"""Stands in for upstream's script in tests: takes its arguments and no other, writes the files that it writes.

The table is upstream's parser at commit 42bf4cfaa384bc21833865abc2f9e6c0e67233dc (2026-03-17).
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

ARGUMENTS = {
    "--ckpt_path": {"type": str, "default": None},
    "--video_path": {"type": str, "default": None},
    "--refer_path": {"type": str, "default": None},
    "--save_path": {"type": str, "default": None},
    "--resolution_area": {"type": int, "nargs": 2, "default": [1280, 720]},
    "--fps": {"type": int, "default": 30},
    "--replace_flag": {"action": "store_true", "default": False},
    "--retarget_flag": {"action": "store_true", "default": False},
    "--use_flux": {"action": "store_true", "default": False},
    "--iterations": {"type": int, "default": 3},
    "--k": {"type": int, "default": 7},
    "--w_len": {"type": int, "default": 1},
    "--h_len": {"type": int, "default": 1},
}
CLONE = Path(__file__).resolve().parents[4]
EMPTY_MASK = """Traceback (most recent call last):
  File "preprocess_data.py", line 121, in <module>
  File "utils.py", line 17, in get_mask_boxes
    x_min = x_coords.min()
ValueError: zero-size array to reduction operation minimum which has no identity
"""


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, how in ARGUMENTS.items():
        parser.add_argument(name, **how)
    args = parser.parse_args()
    print(vars(args))
    assert not args.use_flux or args.retarget_flag
    (CLONE / "seen.json").write_text(json.dumps({"args": vars(args), "env": dict(os.environ), "cwd": str(Path.cwd())}))
    for path in (args.video_path, args.refer_path):
        assert Path(path).is_file(), path
    assert (Path(args.ckpt_path) / "det" / "yolov10m.onnx").exists()
    print("frame_num: 9\nvideo_fps: 16.0\nfps: 16\ntarget_num: 9")
    if os.environ.get("WAN22_STUB") == "empty mask":
        sys.exit(EMPTY_MASK)
    save = Path(args.save_path)
    save.mkdir(exist_ok=True)
    shutil.copy(args.refer_path, save / "src_ref.png")
    if args.use_flux:
        for name in ("refer_edit.png", "tpl_edit.png"):
            shutil.copy(args.refer_path, save / name)
    names = ["src_face.mp4", "src_pose.mp4", *(["src_bg.mp4", "src_mask.mp4"] if args.replace_flag else [])]
    for name in names:
        print(f"Moviepy - Writing video {name}", file=sys.stderr)
        for n in range(10):
            print(f"frame_index:  {n * 11}%|###   | {n}/9 [00:00<00:00, 99it/s]", end="\r", file=sys.stderr)
        print(file=sys.stderr)
        shutil.copy(CLONE / "canned" / name, save / name)


main()
