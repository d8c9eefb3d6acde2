"""SAM2 over a clip: upstream's way against wanlab's, with the same random weights and prompts.

    .venv/bin/python benchmarks/sam.py --frames 150                 # hiera-large, on a GPU
    .venv/bin/python benchmarks/sam.py --frames 150 --compile       # wanlab's with the image encoder compiled
    .venv/bin/python benchmarks/sam.py --frames 1000 --only wanlab  # memory of a long clip
    .venv/bin/python benchmarks/sam.py --frames 12 --tiny           # does it run? on a CPU

Upstream's way: float32, math attention, a folder of JPEG files through init_state, everything kept; writing the files is
left out of its time. wanlab gets the pixels of these files as a video. The weights are random, so the masks mean nothing;
that both ways give the same ones does: IoU of where the logits are positive.
"""

import argparse
import contextlib
import io
import resource
import tempfile
import time
import warnings
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


def measured(name: str, num_frames: int, run: object, *arguments: object) -> np.ndarray:
    """Run it and print frames a second and peak memory; return the masks."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    masks = run(*arguments)  # type: ignore[operator]
    seconds = time.perf_counter() - start
    gpu = f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory" if cuda else ""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name:<10} {num_frames / seconds:7.2f} frames/s, {seconds:.1f} s{gpu}, {host:.2f} GiB of host memory so far"
    )
    return masks


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=150)
    options.add_argument("--height", type=int, default=720)
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--tiny", action="store_true", help="the tests' tiny network")
    options.add_argument("--compile", action="store_true", help="compile wanlab's image encoder")
    options.add_argument("--only", choices=("wanlab", "upstream"), help="leave the other way out")
    args = options.parse_args()
    folder, clip = video(args.frames, args.height, args.width)
    spots = [(0.5 + dx, y) for y in (0.25, 0.35, 0.5, 0.6) for dx in (-0.03, 0.03)]
    prompts = Prompts(
        tuple(
            Click(t, x * clip.width, y * clip.height, True)
            for t in keypoint_prompts.key_frames(len(clip))
            for x, y in spots
        )
    )
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{card}: {len(clip)} frames of {clip.height}x{clip.width}, {prompts.describe()}")
    results = {}
    if args.only != "upstream":
        net = network(sam2_video.Predictor, args.tiny)
        if args.compile:
            sam2_video.compile_encoder(net)
        few = media.Clip(clip.info, clip.fps, clip.source_indices[:4], ())
        start = time.perf_counter()
        ours(net, few, Prompts(prompts.clicks[: len(spots)]))
        print(f"warm-up    {time.perf_counter() - start:.1f} s")
        results["wanlab"] = measured("wanlab", len(clip), ours, net, clip, prompts)
        if torch.cuda.is_available():  # the same loop in upstream's precision: what of the difference is bfloat16's
            exact, sam2_video.precision = sam2_video.precision, lambda _: contextlib.nullcontext()
            results["in float32"] = measured("in float32", len(clip), ours, net, clip, prompts)
            sam2_video.precision = exact
        del net
    if args.only != "wanlab":
        theirs = network(SAM2VideoPredictor, args.tiny)
        results["upstream"] = measured("upstream", len(clip), upstream, theirs, folder, prompts)
        for name, masks in results.items():
            both = np.bitwise_count(masks & results["upstream"]).sum(axis=(1, 2))
            either = np.bitwise_count(masks | results["upstream"]).sum(axis=(1, 2))
            iou = both / np.maximum(either, 1)
            print(f"{name:<10} IoU with upstream's: mean {iou.mean():.4f}, least {iou.min():.4f}")


if __name__ == "__main__":
    main()
