"""Stands in for upstream's script in tests: takes its arguments and no other, writes the film that it writes.

The table is upstream's parser at commit 42bf4cfaa384bc21833865abc2f9e6c0e67233dc (2026-03-17).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TASKS = ("t2v-A14B", "i2v-A14B", "ti2v-5B", "animate-14B", "s2v-14B")
SIZES = ("720*1280", "1280*720", "480*832", "832*480", "704*1280", "1280*704", "1024*704", "704*1024")
SWITCH = {"action": "store_true", "default": False}


def str2bool(text: str) -> bool:
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("Boolean value expected (True/False)")


ARGUMENTS = {
    "--task": {"type": str, "default": "t2v-A14B", "choices": TASKS},
    "--size": {"type": str, "default": "1280*720", "choices": SIZES},
    "--frame_num": {"type": int, "default": None},
    "--ckpt_dir": {"type": str, "default": None},
    "--offload_model": {"type": str2bool, "default": None},
    "--ulysses_size": {"type": int, "default": 1},
    "--t5_fsdp": SWITCH,
    "--t5_cpu": SWITCH,
    "--dit_fsdp": SWITCH,
    "--save_file": {"type": str, "default": None},
    "--prompt": {"type": str, "default": None},
    "--use_prompt_extend": SWITCH,
    "--prompt_extend_method": {"type": str, "default": "local_qwen", "choices": ("dashscope", "local_qwen")},
    "--prompt_extend_model": {"type": str, "default": None},
    "--prompt_extend_target_lang": {"type": str, "default": "zh", "choices": ("zh", "en")},
    "--base_seed": {"type": int, "default": -1},
    "--image": {"type": str, "default": None},
    "--sample_solver": {"type": str, "default": "unipc", "choices": ("unipc", "dpm++")},
    "--sample_steps": {"type": int, "default": None},
    "--sample_shift": {"type": float, "default": None},
    "--sample_guide_scale": {"type": float, "default": None},
    "--convert_model_dtype": SWITCH,
    "--src_root_path": {"type": str, "default": None},
    "--refert_num": {"type": int, "default": 77},
    "--replace_flag": SWITCH,
    "--use_relighting_lora": SWITCH,
    "--num_clip": {"type": int, "default": None},
    "--audio": {"type": str, "default": None},
    "--enable_tts": SWITCH,
    "--tts_prompt_audio": {"type": str, "default": None},
    "--tts_prompt_text": {"type": str, "default": None},
    "--tts_text": {"type": str, "default": None},
    "--pose_video": {"type": str, "default": None},
    "--start_from_ref": SWITCH,
    "--infer_frames": {"type": int, "default": 80},
}
CLONE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, how in ARGUMENTS.items():
        parser.add_argument(name, **how)
    args = parser.parse_args()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    assert args.refert_num in (1, 5), "refert_num should be 1 or 5."
    assert args.ulysses_size in (1, world), "The number of ulysses_size should be equal to the world size."
    assert world > 1 or not (args.dit_fsdp or args.t5_fsdp)
    folder = Path(args.src_root_path)
    names = [
        "src_pose.mp4",
        "src_face.mp4",
        "src_ref.png",
        *(["src_bg.mp4", "src_mask.mp4"] if args.replace_flag else []),
    ]
    for name in names:
        assert (folder / name).is_file(), name
    if rank == 0:
        seen = {"args": vars(args), "env": dict(os.environ), "cwd": str(Path.cwd())}
        (CLONE / "seen.json").write_text(json.dumps(seen))
        print(f"[2026-03-17 10:00:00,000] INFO: Generation job args: {args}")
    frames = int((CLONE / "canned" / "frames").read_text())
    step = args.frame_num - args.refert_num
    target = frames + -(frames - args.refert_num) % step
    print(f"[2026-03-17 10:00:00,000] INFO: real frames: {frames} target frames: {target}")
    print("Loading checkpoint shards: 100%|##########| 4/4 [00:09<00:00,  2.3s/it]", file=sys.stderr)
    mode = os.environ.get("WAN22_STUB", "")
    if mode == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (CLONE / f"pids_{rank}").write_text(f"{os.getpid()} {child.pid}")
    for _ in range((target - args.refert_num) // step):
        for n in range(args.sample_steps + 1):
            share = 100 * n // args.sample_steps
            print(f"\r{share:3d}%|###   | {n}/{args.sample_steps} [00:00<00:00,  4.0s/it]", end="", file=sys.stderr)
            if mode == "hang" and n == 1:
                time.sleep(600)
        print(file=sys.stderr)
    if mode == "oom":
        raise RuntimeError("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has")
    if rank == 0:
        print(f"[2026-03-17 10:00:00,000] INFO: Saving generated video to {args.save_file}")
        if mode == "no video":
            print("[2026-03-17 10:00:00,000] INFO: save_video failed, error: [Errno 28] No space left on device")
        else:
            shutil.copy(CLONE / "canned" / ("black.mp4" if mode == "black" else "generated.mp4"), args.save_file)
    print("[2026-03-17 10:00:00,000] INFO: Finished.")


main()
