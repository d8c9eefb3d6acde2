"""The miniature SAM2: built from config.yaml without hydra, run over pictures and clips, saved as wanlab loads it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file
from sam2.modeling.sam2_base import SAM2Base
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


def normalised(pictures: Tensor) -> Tensor:
    """[..., 3, S, S], 0 to 1 → as the network takes them."""
    mean, deviation = (torch.tensor(v, device=pictures.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return (pictures - mean) / deviation


class Looks:
    """The image encoder's view of some pictures, from which objects are looked up."""

    def __init__(self, net: SAM2Base, pictures: Tensor) -> None:
        """Take pictures: [N, 3, S, S], 0 to 1."""
        made = net.forward_image(normalised(pictures))
        _, self._features, self._positions, self.sizes = net._prepare_backbone_features(made)

    def of(self, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return sam2's features and positions of each object's picture, [pixels, O, C] a level."""
        return [level[:, rows] for level in self._features], [level[:, rows] for level in self._positions]


class Tracker:
    """A batch of objects followed over frames, as sam2's video predictor does it, with gradients where they are on."""

    def __init__(self, net: SAM2Base, looks: Looks) -> None:
        self.net, self.looks = net, looks
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
        _, heads, self._fine, self._pixels = self.net._track_step(
            t, first, self._features, positions, self.looks.sizes, points.as_sam2() if points else None, None,
            self.memory, 10**6, back, None,
        )  # fmt: skip
        self._as_prompted = first
        return Found(heads[0], heads[2], *heads[3:])

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
