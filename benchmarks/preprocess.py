"""Keypoints by the checkpoint's detectors: upstream's way (one image at a time, one thing after another) beside wanlab's.

    python benchmarks/preprocess.py                           # a GPU: through torch, 308 frames
    python benchmarks/preprocess.py --onnx --frames 4         # a CPU: through onnxruntime, weights outside the graph, 2.5 GB on disk
    python benchmarks/preprocess.py --tiny --frames 20        # does it run?

Stand-ins of YOLOv10m's and ViTPose-H's size with random weights (graphs.py); on a GPU the same graphs run in torch, TF32 as
onnxruntime does by default, each shape recorded as a CUDA graph, so that launching kernels costs neither way anything:
onnxruntime-gpu itself needs less time to launch than torch, and more than nothing. The clip is the bundled one, over and over.
What counts: frames per second of all, their ratio, and that keypoints are equal.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests")]

import graphs  # noqa: E402
import onnx_files  # noqa: E402

from wanlab import config, media  # noqa: E402
from wanlab.media.colour import IMAGENET_DEVIATION, IMAGENET_MEAN  # noqa: E402
from wanlab.pose import detector_files, sessions, topdown, vitpose, yolo  # noqa: E402

Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    args = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() and not args.onnx else "cpu")
    boxes, pose = (
        graphs.person_detector(0.25 if args.tiny else 1),
        graphs.pose_network(*((64, 2, 4) if args.tiny else ())),
    )
    print(f"{boxes.parameters() / 1e6:.1f} M and {pose.parameters() / 1e6:.1f} M parameters", flush=True)
    with tempfile.TemporaryDirectory() as place:
        networks = through_onnx(Path(place), boxes, pose) if args.onnx else through_torch(boxes, pose, device)
        print(f"on {networks.pose.device}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
        for network, graph in ((networks.boxes, boxes), (networks.pose, pose)):  # kernels are chosen, pages are read
            for count in (1, network.batch):
                network.run(np.zeros((count, *graph.shape), np.float32))
        seconds: dict[str, float] = defaultdict(float)
        began = time.perf_counter()
        theirs = upstream(clip(args.frames), networks, seconds)
        whole = time.perf_counter() - began
        alone = stages(clip(args.frames), networks)
        began = time.perf_counter()
        found = list(topdown.find(clip(args.frames), networks))
        ours = time.perf_counter() - began
    show(args.frames, seconds, alone, whole, ours)
    apart = np.abs(np.array([each.points for each in found]) - np.array([points for _, points in theirs]))
    box_apart = np.abs(np.array([each.box for each in found]) - np.array([box for box, _ in theirs])).max()
    print(
        f"boxes differ by at most {box_apart:.4f}; keypoints by {apart[..., :2].max():.4f} px at most, "
        f"{np.quantile(apart[..., :2], 0.999):.4f} px in all but 0.1 %; scores by {apart[..., 2].max():.5f}"
    )


def arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=308)
    options.add_argument("--onnx", action="store_true", help="through onnxruntime on the CPU")
    options.add_argument("--tiny", action="store_true", help="small networks")
    return options.parse_args()


def clip(num_frames: int) -> Iterator[np.ndarray]:
    """Yield the bundled clip's frames, decoded again each time round."""
    sample = media.open_clip(config.ASSETS / "sample" / "driving.mp4")
    return itertools.islice(itertools.chain.from_iterable(itertools.repeat(sample)), num_frames)


def through_onnx(place: Path, boxes: graphs.Graph, pose: graphs.Graph) -> topdown.Networks:
    """Write the graphs as a checkpoint has them and open them as stage 1 does."""
    boxes.write(place / "process_checkpoint" / "det" / "yolov10m.onnx", onnx_files, None)
    graph = place / "process_checkpoint" / "pose2d" / "vitpose_h_wholebody.onnx" / "end2end.onnx"
    pose.write(graph, onnx_files, "end2end.data")
    files, _ = detector_files.choose(place)
    assert files is not None
    return topdown.open_networks(files)


def through_torch(boxes: graphs.Graph, pose: graphs.Graph, device: torch.device) -> topdown.Networks:
    """Run the graphs in torch, on a GPU in TF32 and as CUDA graphs."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    name = torch.cuda.get_device_name(0) if device.type == "cuda" else "the CPU"
    return topdown.Networks(
        *(sessions.Network(recorded(g, device), sessions.BATCH, device.type == "cuda", name) for g in (boxes, pose))
    )


def recorded(graph: graphs.Graph, device: torch.device) -> Run:
    """Return a function of numpy arrays; on a GPU each batch size is recorded once and replayed from then on."""
    function, kept = graph.in_torch(device), {}

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = torch.from_numpy(images)
            if device.type == "cpu":
                return function(given).numpy()
            if len(images) not in kept:
                kept[len(images)] = record(function, given.to(device))
            taken, replay, result = kept[len(images)]
            taken.copy_(given)
            replay()
            return result.cpu().numpy()

    return run


def record(function: Callable[[torch.Tensor], torch.Tensor], taken: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None], torch.Tensor]:  # fmt: skip
    """Record a function's kernels for one input; returns where to write it, what runs them, where the result will be."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            function(taken)
    torch.cuda.current_stream().wait_stream(aside)
    recording = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recording):
        result = function(taken)
    return taken, recording.replay, result


def upstream(frames: Iterator[np.ndarray], networks: topdown.Networks, seconds: dict[str, float]) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Find boxes and keypoints in the order and with the operations of the official code; return box and points a frame."""

    def timed(stage: str, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        done = work()
        seconds[stage] += time.perf_counter() - began
        return done

    images = timed("decode", lambda: [frame[..., ::-1].copy() for frame in frames])
    assert isinstance(images, list)
    boxes, found = [], []
    for image in images:
        height, width = image.shape[:2]
        given = timed("person detector's input", lambda image=image: _squeezed(image))
        raw = timed("person detector", lambda given=given: networks.boxes.run(given))
        boxes.append(timed("boxes", lambda raw=raw, h=height, w=width: yolo.person(yolo.boxes(raw, h, w), h, w)))
    for image, box in zip(images, boxes, strict=True):
        given, seen = timed("pose network's input", lambda image=image, box=box: _cropped(image, box))  # type: ignore[misc]
        heat = timed("pose network", lambda given=given: networks.pose.run(given))
        found.append((box, timed("keypoints", lambda heat=heat, seen=seen: _read(heat[0], seen))))
    return found


def _squeezed(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image[..., ::-1], (yolo.SIDE, yolo.SIDE))
    return (np.array(small) / 255.0).transpose(2, 0, 1).astype(np.float32)[None]


def _cropped(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, vitpose.Window]:
    seen = vitpose.window(box, *image.shape[:2])
    x1, y1, x2, y2 = vitpose.source(seen)
    crop = np.zeros((y2 - y1, x2 - x1, 3), np.float32)
    inside = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    crop[max(-y1, 0) :, max(-x1, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    small = cv2.resize(crop, (vitpose.WIDTH, vitpose.HEIGHT))
    scaled = (small / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_DEVIATION)
    return scaled.transpose(2, 0, 1).astype(np.float32)[None], seen


def _read(heatmaps: np.ndarray, seen: vitpose.Window) -> np.ndarray:
    """Return keypoints, heatmap by heatmap: the highest value, a blur, a step of Newton's method."""
    rows = []
    height, width = heatmaps.shape[1:]
    for heat in heatmaps:
        y, x = divmod(int(heat.argmax()), width)
        score = heat.max()
        padded = cv2.copyMakeBorder(heat, *[vitpose.KERNEL // 2] * 4, cv2.BORDER_CONSTANT)
        blurred = cv2.GaussianBlur(padded, (vitpose.KERNEL, vitpose.KERNEL), 0)[5:-5, 5:-5]
        high = np.log(np.maximum(blurred * score / blurred.max(), vitpose.EMPTY))
        place = np.array([x, y], np.float32)
        if 1 < x < width - 2 and 1 < y < height - 2:
            slope = 0.5 * np.array([high[y, x + 1] - high[y, x - 1], high[y + 1, x] - high[y - 1, x]])
            across = 0.25 * (high[y + 1, x + 1] - high[y - 1, x + 1] - high[y + 1, x - 1] + high[y - 1, x - 1])
            bend = np.array(
                [
                    [0.25 * (high[y, x + 2] - 2 * high[y, x] + high[y, x - 2]), across],
                    [across, 0.25 * (high[y + 2, x] - 2 * high[y, x] + high[y - 2, x])],
                ]
            )
            if np.linalg.det(bend):
                place = place - np.linalg.inv(bend) @ slope
        sides = seen.scale * vitpose.UNIT
        rows.append((*(place * (sides / (width, height)) + seen.centre - sides / 2), score))
    return np.array(rows, np.float32)


def stages(frames: Iterator[np.ndarray], networks: topdown.Networks) -> dict[str, float]:
    """Return the seconds of wanlab's stages, each by itself on one thread, in batches; in the run they overlap."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(stage: str, began: float) -> float:
        now = time.perf_counter()
        seconds[stage] += now - began
        return now

    while True:
        at = time.perf_counter()
        batch = list(itertools.islice(frames, sessions.BATCH))
        at = timed("decode", at)
        if not batch:
            return seconds
        given = np.empty((len(batch), 3, yolo.SIDE, yolo.SIDE), np.float32)
        for frame, image in zip(batch, given, strict=True):
            yolo.tensor(frame, image)
        at = timed("person detector's input", at)
        raws = networks.boxes(given)
        at = timed("person detector", at)
        sizes = [frame.shape[:2] for frame in batch]
        boxes = [yolo.person(yolo.boxes(raw, *size), *size) for raw, size in zip(raws, sizes, strict=True)]
        at = timed("boxes", at)
        windows = [vitpose.window(box, *size) for box, size in zip(boxes, sizes, strict=True)]
        given = np.stack([vitpose.tensor(frame, seen) for frame, seen in zip(batch, windows, strict=True)])
        at = timed("pose network's input", at)
        heatmaps = networks.pose(given)
        at = timed("pose network", at)
        vitpose.keypoints(heatmaps, windows)
        timed("keypoints", at)


def show(num_frames: int, theirs: dict[str, float], ours: dict[str, float], whole: float, overlapped: float) -> None:
    print(f"{'frames per second':26s} {'upstream':>10s} {'wanlab':>10s} {'ratio':>7s}")
    for stage in theirs:
        rates = num_frames / theirs[stage], num_frames / ours[stage]
        print(f"{stage:26s} {rates[0]:10.1f} {rates[1]:10.1f} {rates[1] / rates[0]:7.2f}")
    print(
        f"{'all':26s} {num_frames / whole:10.1f} {num_frames / overlapped:10.1f} {whole / overlapped:7.2f}", flush=True
    )


if __name__ == "__main__":
    main()
