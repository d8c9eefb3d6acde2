"""SAM2 over a clip: upstream's way against wanlab's, with the same random weights and prompts.

    .venv/bin/python benchmarks/sam.py                              # hiera-large, 150 frames of 720p, on a GPU: two minutes
    .venv/bin/python benchmarks/sam.py --profile --ways before,wanlab   # and where a frame's time goes
    .venv/bin/python benchmarks/sam.py --ways wanlab,compiled       # the image encoder compiled, which takes a minute
    .venv/bin/python benchmarks/sam.py --frames 1000 --ways wanlab  # memory of a long clip
    .venv/bin/python benchmarks/sam.py --frames 12 --tiny           # does it run? on a CPU

Upstream's way: float32, math attention, a folder of JPEG files through init_state, everything kept; writing the files is
left out of its time. wanlab gets the pixels of these files as a video. The rows between show what each measure is worth:

    before    bfloat16 by autocast, a frame at a time, its pixels made when they are wanted, each mask waited for
    half      weights kept in bfloat16
    batch     the image encoder looks at BATCH frames together
    ahead     pixels made ahead in a thread
    wanlab    masks come LAG frames later

The weights are random, so the masks mean nothing; that all ways give the same ones does: IoU of where the logits are
positive, with upstream's, and with wanlab's loop in float32.
"""

import argparse
import contextlib
import io
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from PIL import Image
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wanlab import config, media
from wanlab.mask import keypoint_prompts, sam2_video, sam2_weights
from wanlab.mask.prompts import Click, Prompts

warnings.filterwarnings("ignore")
BATCH, AHEAD, LAG, PRECISION = sam2_video.BATCH, sam2_video.AHEAD, sam2_video.LAG, sam2_video.precision
PROFILED = 24  # frames

Network = TypeVar("Network", bound=SAM2Base)


def network(kind: type[Network], tiny: bool) -> Network:
    """Return sam2's network with random weights, the same for every class, an object always seen."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    large = sam2_weights._package() / "configs/sam2.1/sam2.1_hiera_l.yaml"
    described = OmegaConf.load(config.project_root() / "tests/tiny_sam2.yaml" if tiny else large).model
    del described["_target_"]
    torch.manual_seed(0)
    made = kind(**instantiate(described, _convert_="all"), **sam2_weights.AS_PREDICTED)
    made.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(9.0)
    return made.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")


def video(num_frames: int, height: int, width: int) -> tuple[Path, media.Clip]:
    """Return the bundled clip, there and back, at this size: a folder of JPEG files, and their pixels as a lossless video."""
    sample = media.open_clip(config.ASSETS / "sample" / "driving.mp4")
    frames = sample.read()
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    folder = Path(tempfile.mkdtemp())
    for t in range(num_frames):
        image = cv2.resize(frames[order[t % len(order)]], (width, height))
        Image.fromarray(image).save(folder / f"{t:05d}.jpg", quality=100, subsampling=0)
    place = Path(tempfile.mkdtemp()) / "video.mkv"
    read = (np.array(Image.open(file)) for file in sorted(folder.iterdir()))
    media.write_video(place, read, sample.fps, lossless=True)
    return folder, media.open_clip(place)


def upstream(net: SAM2VideoPredictor, folder: Path, prompts: Prompts) -> np.ndarray:
    """Run sam2's own loop; return [T, H, ceil(W / 8)] uint8, packed."""
    masks = []
    with sdpa_kernel(SDPBackend.MATH), contextlib.redirect_stderr(io.StringIO()):
        state = net.init_state(str(folder))
        for t in sorted({click.frame for click in prompts.clicks}):
            at = np.array([(click.x, click.y) for click in prompts.clicks if click.frame == t], np.float32)
            net.add_new_points_or_box(state, t, 1, at, np.ones(len(at), np.int32))
        for _, _, logits in net.propagate_in_video(state):
            masks.append(np.packbits((logits[0, 0] > 0).cpu().numpy(), axis=-1))
    return np.stack(masks)


def ours(net: sam2_video.Predictor, clip: media.Clip, prompts: Prompts) -> np.ndarray:
    """Run wanlab's loop; return [T, H, ceil(W / 8)] uint8, packed."""
    packed = np.zeros((len(clip), clip.height, -(-clip.width // 8)), np.uint8)
    for t, mask in sam2_video.track(net, media.Frames(clip), sam2_video.plan(prompts, len(clip))):
        packed[t] |= np.packbits(mask, axis=-1)
    return packed


def way(name: str, tiny: bool) -> sam2_video.Predictor:
    """Return the network of a way of wanlab's, and set the loop to that way."""
    steps = ["before", "half", "batch", "ahead", "wanlab"]
    taken = steps[: steps.index({"compiled": "wanlab", "float32": "before"}.get(name, name)) + 1]
    sam2_video.BATCH = BATCH if "batch" in taken else 1
    sam2_video.AHEAD = AHEAD if "ahead" in taken else sam2_video.BATCH
    sam2_video.LAG = LAG if "wanlab" in taken else 0
    sam2_video.precision = (lambda _: contextlib.nullcontext()) if name == "float32" else PRECISION
    net = network(sam2_video.Predictor, tiny)
    if "half" in taken and net.device.type == "cuda":
        sam2_video.halve(net, torch.bfloat16)
    if name == "compiled":
        sam2_video.compile_encoder(net)
    return net


def measured(run: Callable[[], np.ndarray], num_frames: int) -> tuple[float, np.ndarray, str]:
    """Run it; return frames a second, the masks, and what memory it took."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    masks = run()
    seconds = time.perf_counter() - start
    gpu = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory, " if cuda else ""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return num_frames / seconds, masks, f"{gpu}{host:.2f} GiB of host memory so far"


def profile(net: sam2_video.Predictor, clip: media.Clip, prompts: Prompts) -> None:
    """Print what a few frames cost on the GPU and in Python, and how long the GPU was busy."""
    few = media.Clip(clip.info, clip.fps, clip.source_indices[:PROFILED], ())
    asked = Prompts(tuple(click for click in prompts.clicks if click.frame == 0))
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with torch.profiler.profile(activities=kinds) as found:
        start = time.perf_counter()
        ours(net, few, asked)
        wall = time.perf_counter() - start
    events = found.key_averages()
    if torch.cuda.is_available():
        busy = sum(event.self_device_time_total for event in events) / 1e6
        print(
            f"profiled: {wall / PROFILED * 1e3:.1f} ms a frame, the GPU busy for {busy / PROFILED * 1e3:.1f} ms of them"
        )
        print(events.table(sort_by="self_device_time_total", row_limit=20, max_name_column_width=60))
    print(events.table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=60))


def iou(one: np.ndarray, other: np.ndarray) -> str:
    both, either = np.bitwise_count(one & other), np.bitwise_count(one | other)
    each = both.sum(axis=(1, 2)) / np.maximum(either.sum(axis=(1, 2)), 1)
    return f"{each.mean():.4f} ({each.min():.4f})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=150)
    options.add_argument("--height", type=int, default=720)
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--tiny", action="store_true", help="the tests' tiny network")
    options.add_argument("--ways", default="upstream,float32,before,half,batch,ahead,wanlab", help="[%(default)s]")
    options.add_argument("--profile", action="store_true", help="print what the last way's frames cost")
    args = options.parse_args()
    folder, clip = video(args.frames, args.height, args.width)
    spots = [(0.5 + dx, y) for y in (0.25, 0.35, 0.5, 0.6) for dx in (-0.03, 0.03)]
    key_frames = keypoint_prompts.key_frames(len(clip))
    prompts = Prompts(tuple(Click(t, x * clip.width, y * clip.height, True) for t in key_frames for x, y in spots))
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{card}: {len(clip)} frames of {clip.height}x{clip.width}, {prompts.describe()}")
    few = media.Clip(clip.info, clip.fps, clip.source_indices[:12], ())
    first: float | None = None
    known: dict[str, np.ndarray] = {}
    for name in args.ways.split(","):
        if name == "upstream":
            theirs = network(SAM2VideoPredictor, args.tiny)
            speed, masks, memory = measured(lambda theirs=theirs: upstream(theirs, folder, prompts), len(clip))
            del theirs
        else:
            net = way(name, args.tiny)
            start = time.perf_counter()
            ours(net, few, Prompts(prompts.clicks[: len(spots)]))
            warm = f"warm-up {time.perf_counter() - start:.1f} s, "
            speed, masks, memory = measured(lambda net=net: ours(net, clip, prompts), len(clip))
            memory = warm + memory
        first = first or speed
        known[name] = masks
        apart = ", ".join(f"IoU with {other} {iou(masks, known[other])}" for other in ("upstream", "float32") if other in known and other != name)  # fmt: skip
        print(f"{name:<9}{speed:7.2f} frames/s {speed / first:6.2f}x  {memory}; {apart}", flush=True)
    if args.profile and name != "upstream":
        profile(net, clip, prompts)


if __name__ == "__main__":
    main()
