"""The miniature SAM2: built from config.yaml without hydra, run over pictures and clips, saved as wanlab loads it."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

CONFIG = Path(__file__).with_name("config.yaml")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as sam2 normalises
AS_PREDICTED = {  # what sam2's build functions add for prediction; without effect while training
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


class Points(NamedTuple):
    """Prompts of a batch of objects: places [O, P, 2], x, y in pixels; labels [O, P]: 1 on it, 0 not, 2 and 3 a box, -1 none."""

    places: Tensor
    labels: Tensor

    def and_then(self, other: Points) -> Points:
        return Points(torch.cat([self.places, other.places], 1), torch.cat([self.labels, other.labels], 1))

    def as_sam2(self) -> dict[str, Tensor]:
        return {"point_coords": self.places, "point_labels": self.labels}


class Found(NamedTuple):
    """What the heads say: logits [O, M, s, s], predicted IoUs [O, M], the best mask [O, 1, s, s] and [O, 1, S, S], pointer, presence [O, 1]."""

    logits: Tensor
    ious: Tensor
    best: Tensor
    best_large: Tensor
    pointer: Tensor
    present: Tensor


def build(config: Path = CONFIG) -> SAM2Base:
    """Build the network with fresh weights."""
    described = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
    del described["_target_"]
    net = SAM2Base(**_instantiate(described), **AS_PREDICTED)
    with torch.no_grad():
        positions = net.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        positions.copy_(positions.half())  # as it will be shipped
        net.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(
            4.0
        )  # masks of what is thought absent teach nothing
        torch.nn.init.trunc_normal_(net.image_encoder.trunk.pos_embed, std=0.02)
        torch.nn.init.trunc_normal_(net.image_encoder.trunk.pos_embed_window, std=0.02)
    return net


def save(net: SAM2Base, file: Path) -> None:
    """Write the weights as float16."""
    save_file({name: value.detach().half().cpu().contiguous() for name, value in net.state_dict().items()}, file)


def load(net: SAM2Base, file: Path) -> None:
    net.load_state_dict(load_file(file))


@functools.cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a tensor that is copied to the device once: a CUDA graph must not copy."""
    return torch.tensor(values, device=device)


def normalised(pictures: Tensor) -> Tensor:
    """[..., 3, S, S], 0 to 1 → as the network takes them."""
    mean, deviation = (constant(v, pictures.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return (pictures - mean) / deviation


class Looks:
    """The image encoder's view of some pictures, from which objects are looked up."""

    def __init__(self, net: SAM2Base, pictures: Tensor) -> None:
        """Take pictures: [N, 3, S, S], 0 to 1."""
        made = net.forward_image(normalised(pictures))
        _, self._features, self._positions, self.sizes = net._prepare_backbone_features(made)

    def of(self, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return sam2's features and positions of each object's picture, [pixels, O, C] a level."""

        def of(levels):
            return [level.index_select(1, rows) for level in levels]  # its gradient is faster than an index's

        return of(self._features), of(self._positions)


class Tracker:
    """A batch of objects followed over frames, as sam2's video predictor does it, with gradients where they are on."""

    def __init__(self, net: SAM2Base, looks: Looks, gap: Tensor | None = None) -> None:
        """Take the network, what it sees and, while training, how many frames lie between frame 0 and frame 1, [1]."""
        self.net, self.looks, self._gap = net, looks, gap
        self.memory: dict[str, dict[int, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def find(self, t: int, rows: Tensor, points: Points | None, first: bool, back: bool = False) -> Found:
        """Find every object on frame `t`.

        Args:
            t: index of the frame, for memory.
            rows: [O], which of the looks shows it.
            points: prompts there.
            first: whether nothing is remembered yet: a prompted frame.
            back: whether frames come in reverse order.
        """
        self._t, self._prompted = t, points is not None
        self._features, positions = self.looks.of(rows)
        if self.net.training:
            return self._find(t, positions[-1], points, first)
        _, heads, self._fine, self._pixels = self.net._track_step(
            t, first, self._features, positions, self.looks.sizes, points.as_sam2() if points else None, None,
            self.memory, 10**6, back, None,
        )  # fmt: skip
        self._as_prompted = first
        return Found(heads[0], heads[2], *heads[3:])

    def _find(self, t: int, positions: Tensor, points: Points | None, first: bool) -> Found:
        """As sam2's `_track_step` of a network in training, without copies from the CPU, forwards only."""

        def side(level, size):
            return level.permute(1, 2, 0).view(level.shape[1], level.shape[2], *size)

        sizes = self.looks.sizes
        self._fine = [side(level, size) for level, size in zip(self._features[:-1], sizes[:-1], strict=True)]
        self._as_prompted = first
        told = points.as_sam2() if points else None
        pixels = self._features[-1] + self.net.no_mem_embed if first else self._remembered(t, positions)
        self._pixels = side(pixels, sizes[-1])
        heads = self.net._forward_sam_heads(
            backbone_features=self._pixels, point_inputs=told, high_res_features=self._fine,
            multimask_output=self.net._use_multimask(first, told),
        )  # fmt: skip
        return Found(heads[0], heads[2], *heads[3:])

    def _remembered(self, t: int, positions: Tensor) -> Tensor:
        """Return the last frame's features, [pixels, O, C], conditioned on memories and pointers."""
        net, prompted, others = self.net, self.memory["cond_frame_outputs"], self.memory["non_cond_frame_outputs"]
        back = net.num_maskmem - 1
        kept = [(back, out) for out in prompted.values()]
        kept += [(k - 1, others[t - k]) for k in range(back, 0, -1) if t - k in others]

        def flat(maps):
            return maps.flatten(2).permute(2, 0, 1)

        memory = [flat(out["maskmem_features"]) for _, out in kept]
        places = [flat(out["maskmem_pos_enc"][-1]) + net.maskmem_tpos_enc[k] for k, out in kept]
        most = net.max_obj_ptrs_in_encoder
        named = [(t - at, float(at == 0 and t > 0), out["obj_ptr"]) for at, out in prompted.items()]
        named += [(k, 0.0, others[t - k]["obj_ptr"]) for k in range(1, most) if t - k in others]
        device = positions.device
        ago = constant(tuple(float(k) for k, _, _ in named), device)
        if self._gap is not None:
            ago = ago + self._gap * constant(tuple(far for _, far, _ in named), device)
        when = net.obj_ptr_tpos_proj(get_1d_sine_pe(ago / (most - 1), dim=net.hidden_dim))
        pointers = torch.stack([pointer for _, _, pointer in named])
        parts = net.hidden_dim // net.mem_dim
        pointers = pointers.unflatten(-1, (parts, net.mem_dim)).transpose(1, 2).flatten(0, 1)
        when = when.repeat_interleave(parts, 0).unsqueeze(1).expand(-1, pointers.shape[1], -1)
        return net.memory_attention(
            curr=[self._features[-1]], curr_pos=[positions], memory=torch.cat([*memory, pointers]),
            memory_pos=torch.cat([*places, when]), num_obj_ptr_tokens=len(pointers),
        )  # fmt: skip

    def correct(self, points: Points, before: Found | None) -> Found:
        """Find the objects of the last frame again, with all prompts so far and, unless None, what was found before."""
        self._prompted = True
        heads = self.net._forward_sam_heads(
            backbone_features=self._pixels,
            point_inputs=points.as_sam2(),
            mask_inputs=None if before is None else before.best.detach().clamp(-32, 32),
            high_res_features=self._fine,
            multimask_output=self.net._use_multimask(self._as_prompted, points.as_sam2()),
        )
        return Found(heads[0], heads[2], *heads[3:])

    def remember(self, found: Found, as_prompted: bool) -> None:
        """Keep the last frame's masks for the frames to come."""
        features, positions = self.net._encode_new_memory(
            self._features, self.looks.sizes, found.best_large, found.present, self._prompted
        )
        kind = "cond_frame_outputs" if as_prompted else "non_cond_frame_outputs"
        self.memory[kind][self._t] = {
            "maskmem_features": features,
            "maskmem_pos_enc": positions,
            "obj_ptr": found.pointer,
        }


def _instantiate(described: Any) -> Any:
    """Make the objects of a hydra description, innermost first."""
    if isinstance(described, dict):
        made = {key: _instantiate(value) for key, value in described.items()}
        target = made.pop("_target_", None)
        if target is None:
            return made
        module, _, name = target.rpartition(".")
        return getattr(importlib.import_module(module), name)(**made)
    return [_instantiate(value) for value in described] if isinstance(described, list) else described
