"""SAM2 over a clip: prompts on any frames → the objects' mask on every frame.

Each object is followed from its first prompted frame to the end, and then from there back to the start. Every other
frame with a positive point or a box is looked at by itself, before anything is followed, and remembered throughout, as
upstream's key frames are; negative points alone correct what was followed up to their frame. So masks are a function of
the prompts, not of the order in which they were clicked.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch.nn import functional as F

from wanlab.mask import sam2_weights
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.media import Frames
from wanlab.media.colour import IMAGENET_DEVIATION, IMAGENET_MEAN

RESULT_VERSION = 2  # raise it when the same clip, prompts and weights come to mean other masks
RECENT = 16  # frames whose features are kept: 8 MB each for the large model in bfloat16
CHUNK = 400  # frames after which upstream starts again
BATCH = 4  # frames that the image encoder looks at together on a GPU: launching its 1,200 kernels takes longer than one frame's
AHEAD = 8  # frames, BATCH at least, whose pixels are made in a thread before they are wanted: 3 MB each
LAG = 4  # masks that may be on their way from the GPU
COMPILE_FROM = 2000  # frames; on an H200 compiling took 51 s, and all of a frame 61 ms, of which it can save a part


class Predictor(SAM2VideoPredictor):
    """sam2's video predictor over frames in memory, whose state does not grow with the clip.

    Attributes:
        is_compiled: whether the image encoder is, see `compile_encoder`.
    """

    is_compiled = False

    def __init__(self, **arguments: Any) -> None:
        """Take the arguments of sam2's config files; a correction is remembered like any other prompted frame."""
        super().__init__(**arguments, add_all_frames_to_correct_as_cond=True)

    def open(self, frames: Frames, stretch: range) -> dict[str, Any]:
        """Return sam2's inference state for a stretch of a clip, without a JPEG folder and without a frame that is not asked for."""
        names = (
            "point_inputs_per_obj", "mask_inputs_per_obj", "cached_features", "constants", "output_dict_per_obj",
            "temp_output_dict_per_obj", "frames_tracked_per_obj", "obj_id_to_idx", "obj_idx_to_id",
        )  # fmt: skip
        return {
            "images": _Pixels(frames, stretch, self.image_size, self.device),
            "num_frames": len(stretch),
            "video_height": frames.height,
            "video_width": frames.width,
            "device": self.device,
            "storage_device": self.device,
            "obj_ids": [],
            "recent_features": OrderedDict(),
            "no_image": torch.zeros(1, 3, 1, 1, device=self.device),  # sam2 hands the image on and never looks at it
            **{name: {} for name in names},
        }

    @property
    def batch(self) -> int:
        """Frames to look at together; on a CPU nothing is gained."""
        return BATCH if self.device.type == "cuda" else 1

    def look(self, state: dict[str, Any], frames: Sequence[int]) -> None:
        """Let the image encoder look at frames together, and keep their features with those of RECENT others."""
        shown = [state["images"][t] for t in frames]
        if self.is_compiled:  # for one number of frames
            shown += shown[-1:] * (self.batch - len(shown))
        made = self.forward_image(torch.stack(shown))
        positions = state["constants"].setdefault("positions", [level[:1] for level in made["vision_pos_enc"]])
        recent = state["recent_features"]
        for n, t in enumerate(frames):
            levels = [level[n : n + 1] for level in made["backbone_fpn"]]
            recent[t] = {"backbone_fpn": levels, "vision_pos_enc": positions}
        while len(recent) > RECENT:
            recent.popitem(last=False)

    def follow(self, state: dict[str, Any], t: int, reverse: bool) -> torch.Tensor:
        """Find every object on frame `t` by what is remembered; return logits, [objects, 1, H, W].

        Source: the body of the loop in `propagate_in_video`, which cannot end at frame 0 and draws on stderr.
        """
        logits = []
        for index, outputs in state["output_dict_per_obj"].items():
            if t in outputs["cond_frame_outputs"]:
                logits.append(outputs["cond_frame_outputs"][t]["pred_masks"])
            else:
                outputs["non_cond_frame_outputs"][t], found = self._run_single_frame_inference(
                    inference_state=state,
                    output_dict=outputs,
                    frame_idx=t,
                    batch_size=1,
                    is_init_cond_frame=False,
                    point_inputs=None,
                    mask_inputs=None,
                    reverse=reverse,
                    run_mem_encoder=True,
                )
                logits.append(found)
            state["frames_tracked_per_obj"][index][t] = {"reverse": reverse}
        return self._get_orig_video_res_output(state, torch.cat(logits))[1]

    def forget(self, state: dict[str, Any], t: int | None = None) -> None:
        """Drop what was followed on frame `t`, on every frame for None; prompted frames stay."""
        for index, outputs in state["output_dict_per_obj"].items():
            for kept in (outputs["non_cond_frame_outputs"], state["frames_tracked_per_obj"][index]):
                kept.clear() if t is None else kept.pop(t, None)

    @property
    def memory(self) -> int:
        """Frames back that a frame is found by."""
        return max((self.num_maskmem + 1) * self.memory_temporal_stride_for_eval, self.max_obj_ptrs_in_encoder)

    def _forward_sam_heads(
        self,
        backbone_features: torch.Tensor,
        point_inputs: Any = None,
        mask_inputs: Any = None,
        high_res_features: Any = None,
        multimask_output: bool = False,
    ) -> Any:
        """Find masks in float32: it costs next to nothing, and half precision here would move outlines."""
        fine = None if high_res_features is None else [level.float() for level in high_res_features]
        with torch.autocast(self.device.type, enabled=False):
            return super()._forward_sam_heads(
                backbone_features.float(), point_inputs, mask_inputs, fine, multimask_output
            )

    def _get_image_feature(self, inference_state: dict[str, Any], frame_idx: int, batch_size: int) -> Any:
        recent = inference_state["recent_features"]
        if frame_idx not in recent:
            self.look(inference_state, [frame_idx])
        recent.move_to_end(frame_idx)
        inference_state["cached_features"] = {frame_idx: (inference_state["no_image"], recent[frame_idx])}
        return super()._get_image_feature(inference_state, frame_idx, batch_size)


@functools.lru_cache(maxsize=1)
def load(weights: sam2_weights.Weights) -> Predictor:
    """Return the network, on a GPU where there is one; the last one is kept."""
    network = sam2_weights.build(weights, Predictor, "cuda" if torch.cuda.is_available() else "cpu")
    if network.device.type == "cuda":
        halve(network, _half())
    return network


def halve(network: Predictor, dtype: torch.dtype) -> None:
    """Keep in half precision the weights that `precision` would convert again for each frame: the results stay the same.

    The heads that find masks stay in float32, as they are computed.
    """
    for part in (network.image_encoder, network.memory_attention, network.memory_encoder):
        for layer in part.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                layer.to(dtype)


def worth_compiling(network: Predictor, num_frames: int) -> bool:
    """Return whether compiling the image encoder saves more than it costs: on a GPU, from COMPILE_FROM frames on."""
    return network.device.type == "cuda" and num_frames >= COMPILE_FROM


def compile_encoder(network: Predictor) -> None:
    """Compile the image encoder, as upstream does, once for a network; on a CPU nothing is done.

    Without CUDA graphs, which would overwrite the features that are kept, and without upstream's search for the fastest
    kernels, which had not ended after three minutes on an H200.
    """
    if network.device.type == "cuda" and not network.is_compiled:
        network.is_compiled = True
        network.image_encoder.forward = torch.compile(network.image_encoder.forward, fullgraph=True, dynamic=False)


def precision(network: torch.nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Return the context that the network computes in: half precision (and so flash attention) on a GPU, else float32."""
    device = next(network.parameters()).device.type
    return torch.autocast(device, _half()) if device == "cuda" else contextlib.nullcontext()


def _half() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class Pass(NamedTuple):
    """Objects that are tracked together, since they are first prompted on the same frame.

    Attributes:
        stretch: frames of the clip.
        first: the first prompted frame, counted from the start of the stretch.
        prompts: their frames counted likewise.
        backwards: whether the frames before `first` are segmented too.
    """

    stretch: range
    first: int
    prompts: Prompts
    backwards: bool

    @property
    def num_frames(self) -> int:
        """Frames that get a mask."""
        return len(self.stretch) - (0 if self.backwards else self.first)


def plan(prompts: Prompts, num_frames: int, *, official: bool = False) -> list[Pass]:
    """Return the passes over a clip.

    Args:
        prompts: in pixels of the clip; outside the image is allowed. Per object a positive point or a box.
        num_frames: of the clip.
        official: as upstream does: again every CHUNK frames, with the prompts there, and forwards only.

    Raises:
        ValueError: if there is no prompt, or an object without a positive one.

    Source: `get_mask` of Wan2.2's animate preprocessing.
    """
    if not any(prompts):
        raise ValueError("prompts must hold a positive point or a box, got none; click on the person")
    length = CHUNK if official else num_frames
    stretches = [range(start, min(start + length, num_frames)) for start in range(0, num_frames, length)]
    return [
        Pass(stretch, first, group, not official)
        for stretch in stretches
        for first, group in _groups(_moved(prompts, stretch)).items()
    ]


def track(network: Predictor, frames: Frames, passes: Iterable[Pass]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frame index and mask, [H, W], bool, in the order in which they are found.

    A frame comes once in each pass; the person is what any of them covers. Stopping is up to the caller, between any
    two frames.

    Args:
        network: from `load`.
        frames: of the clip; read once forwards, and once backwards before the first prompted frame.
        passes: from `plan`.

    Source: SAM2 (Ravi et al., 2024).
    """
    lag = LAG if network.device.type == "cuda" else 0
    for each in passes:
        yield from ((each.stretch[t], mask) for t, mask in _brought(_follow(network, frames, each), lag))


def follow_regions(
    network: Predictor, frames: Frames, within: range, start: int, regions: Sequence[np.ndarray]
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Follow regions of one frame, each by itself; yield frame and their masks, [H, W], bool, forwards, then backwards.

    Args:
        network: from `load`.
        frames: of the clip.
        within: the frames to follow them through.
        start: the frame on which they are known; it is not yielded.
        regions: [H, W], bool each, not empty.
    """
    state = network.open(frames, within)
    with contextlib.closing(state["images"]):
        with torch.inference_mode(), precision(network):
            for number, region in enumerate(regions):
                network.add_new_mask(state, start - within.start, number, torch.from_numpy(region))
            network.propagate_in_video_preflight(state)
        for order in (range(start - within.start + 1, len(within)), range(start - within.start - 1, -1, -1)):
            for t, logits in _went(network, state, order, {}):
                yield within[t], list((logits[:, 0] > 0).cpu().numpy())
            network.forget(state)


class _Prompt(NamedTuple):
    """The prompts of one object on one frame.

    Attributes:
        frame: counted from the start of the stretch.
        object: number of the object.
        clicks: on that frame.
        box: around the object, None without one.
    """

    frame: int
    object: int
    clicks: tuple[Click, ...]
    box: Box | None

    @property
    def corrects(self) -> bool:
        """Whether it has negative points only."""
        return self.box is None and not any(click.positive for click in self.clicks)


class _Pixels:
    """Frames as the network takes them, made when they are asked for: [3, side, side], float32, normalised.

    Squashed to a square bicubically in whole levels, as Pillow does it for upstream; torch does that on the CPU alone. A
    thread does it for frames that are expected, while the network is busy with others.
    """

    def __init__(self, frames: Frames, stretch: range, side: int, device: torch.device) -> None:
        self._frames, self._stretch, self._side = frames, stretch, side
        self._mean = torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
        self._deviation = torch.tensor(IMAGENET_DEVIATION, device=device)[:, None, None]
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "pixels")
        self._coming: dict[int, concurrent.futures.Future[torch.Tensor]] = {}

    def expect(self, frames: Iterable[int]) -> None:
        """Begin with frames that are going to be asked for."""
        for t in frames:
            if t not in self._coming:
                self._coming[t] = self._thread.submit(self._squashed, t)

    def close(self) -> None:
        """Leave out what was expected and not asked for."""
        self._thread.shutdown(cancel_futures=True)

    def __getitem__(self, t: int) -> torch.Tensor:
        self.expect([t])
        squashed = self._coming.pop(t).result()
        return (squashed.to(self._mean.device, non_blocking=True) / 255 - self._mean) / self._deviation

    def _squashed(self, t: int) -> torch.Tensor:
        frame = torch.tensor(self._frames[self._stretch[t]]).permute(2, 0, 1)[None]
        squashed = F.interpolate(frame, (self._side, self._side), mode="bicubic", antialias=True)[0]
        return squashed.pin_memory() if self._mean.is_cuda else squashed


def _brought(found: Iterable[tuple[int, torch.Tensor]], lag: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield masks as arrays; `lag` of them are on their way from the GPU while it is busy with the next frames."""
    coming: deque[tuple[int, torch.Tensor, Any]] = deque()
    for t, mask in found:
        coming.append((t, *_sent(mask)))
        if len(coming) > lag:
            yield _arrived(*coming.popleft())
    while coming:
        yield _arrived(*coming.popleft())


def _sent(mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Return where a mask will be on the host, and the event after which it is there, None where it is already."""
    if not mask.is_cuda:
        return mask, None
    place = torch.empty(mask.shape, dtype=mask.dtype, pin_memory=True).copy_(mask, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return place, event


def _arrived(t: int, mask: torch.Tensor, event: Any) -> tuple[int, np.ndarray]:
    if event is not None:
        event.synchronize()
    return t, np.array(mask.numpy())  # a copy: what was pinned for it is used again


def _follow(network: Predictor, frames: Frames, each: Pass) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield index within the stretch and mask: from the first prompted frame on to the end, then back to the start."""
    state = network.open(frames, each.stretch)
    corrections: dict[int, list[_Prompt]] = {}
    with contextlib.closing(state["images"]):
        with torch.inference_mode(), precision(network):
            for prompt in _by_place(each.prompts):
                if prompt.corrects:
                    corrections.setdefault(prompt.frame, []).append(prompt)
                else:
                    _add(network, state, prompt)
            network.propagate_in_video_preflight(state)
        yield from _go(network, state, range(each.first, len(each.stretch)), corrections)
        if each.backwards:
            network.forget(state)
            yield from _go(network, state, range(each.first - 1, -1, -1), corrections)


def _go(
    network: Predictor, state: dict[str, Any], order: range, corrections: Mapping[int, Iterable[_Prompt]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the masks of the frames in `order`, of all objects together; as `_went`."""
    for t, logits in _went(network, state, order, corrections):
        yield t, (logits > 0).any(dim=0)[0]


def _went(
    network: Predictor, state: dict[str, Any], order: range, corrections: Mapping[int, Iterable[_Prompt]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the logits, [objects, 1, H, W], in the frames in `order`, correcting on the way and forgetting what lies too far back."""
    for place, t in enumerate(order):
        unseen = [each for each in order[place : place + AHEAD] if each not in state["recent_features"]]
        state["images"].expect(unseen)
        with torch.inference_mode(), precision(network):  # not held while the caller works
            if unseen[:1] == [t]:
                network.look(state, unseen[: network.batch])
            logits = network.follow(state, t, reverse=order.step < 0)
            for prompt in corrections.get(t, ()):
                logits = _add(network, state, prompt)
                network.propagate_in_video_preflight(state)
        network.forget(state, t - order.step * network.memory)
        yield t, logits


def _add(network: Predictor, state: dict[str, Any], prompt: _Prompt) -> torch.Tensor:
    """Tell the network a prompt; return all objects' logits on its frame, [objects, 1, H, W]."""
    box = prompt.box
    _, _, logits = network.add_new_points_or_box(
        inference_state=state,
        frame_idx=prompt.frame,
        obj_id=prompt.object,
        points=np.array([(click.x, click.y) for click in prompt.clicks], np.float32).reshape(-1, 2),
        labels=np.array([click.positive for click in prompt.clicks], np.int32),
        box=None if box is None else np.array([box.x0, box.y0, box.x1, box.y1], np.float32),
    )
    return logits


def _by_place(prompts: Prompts) -> list[_Prompt]:
    """Return the prompts put together by frame and object, in that order."""
    clicks: dict[tuple[int, int], list[Click]] = {}
    for click in prompts.clicks:
        clicks.setdefault((click.frame, click.object), []).append(click)
    boxes = {(box.frame, box.object): box for box in reversed(prompts.boxes)}
    return [_Prompt(*place, tuple(clicks.get(place, ())), boxes.get(place)) for place in sorted({*clicks, *boxes})]


def _groups(prompts: Prompts) -> dict[int, Prompts]:
    """Return the prompts by the frame of the first prompt of their object."""
    placed = _by_place(prompts)
    firsts: dict[int, int] = {}
    for prompt in placed:
        if not prompt.corrects:
            firsts.setdefault(prompt.object, prompt.frame)
    lost = next((prompt.object for prompt in placed if prompt.object not in firsts), None)
    if lost is not None:
        raise ValueError(f"prompts must hold a positive point or a box for object {lost}, got negative points only")
    return {
        first: Prompts(
            tuple(click for click in prompts.clicks if firsts[click.object] == first),
            tuple(box for box in prompts.boxes if firsts[box.object] == first),
        )
        for first in sorted(set(firsts.values()))
    }


def _moved(prompts: Prompts, stretch: range) -> Prompts:
    """Return the prompts of a stretch, whose first frame becomes frame 0."""
    start = stretch.start
    return Prompts(
        tuple(click._replace(frame=click.frame - start) for click in prompts.clicks if click.frame in stretch),
        tuple(box._replace(frame=box.frame - start) for box in prompts.boxes if box.frame in stretch),
    )
