"""The segment loop: conditions → denoising → frames, one overlapping segment after the other (golden 12).

Both modes go through here; what makes a *replace* is a background and a mask. The networks are handed in, so that
the loop can be run with others: a test's counting ones, a faster backend.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from wanlab import config, mask
from wanlab.model import colours, segments, solvers
from wanlab.model.latent_colours import LatentColours

LATENT_CHANNELS = 16
DRAWINGS = "pose"  # in EncodingCache: a segment's encoded drawings
OnStep = Callable[[int, int], None]
OnForeseen = Callable[[int, int, Tensor, LatentColours], None]


class Networks(Protocol):
    """What the loop needs of a model; `networks.Networks` describes each tensor."""

    device: torch.device

    @property
    def face_size(self) -> int: ...
    @property
    def vae_stride(self) -> int: ...
    def encode_text(self, prompts: list[str]) -> list[Tensor]: ...
    def encode_image(self, reference: Tensor) -> Tensor: ...
    def encode(self, pixels: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def denoise(
        self,
        latents: Tensor,
        condition: Tensor,
        pose: Tensor,
        face: Tensor,
        image: Tensor,
        text: Tensor,
        timestep: Tensor,
        *,
        pose_strength: float = 1.0,
        face_strength: float = 1.0,
    ) -> Tensor: ...


class Conditions(Protocol):
    """What a clip is made from, read segment by segment, so that a long one never has to fit in memory."""

    @property
    def mode(self) -> str: ...
    def reference_image(self) -> np.ndarray:
        """Return [H, W, 3], 0 to 255, uint8 RGB, of the result's size."""
        ...

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return [n, H, W, 3], 0 to 255, uint8 RGB, of pose_video, face_video or background_video."""
        ...

    def fingerprint(self, name: str) -> str:
        """Return what tells one reference_image or pose_video from another: equal contents, equal fingerprint."""
        ...

    def mask(self, indices: np.ndarray) -> np.ndarray:
        """Return [n, H, W], bool or float from 0 to 1; True or 1 where the image is generated."""
        ...


class Segment(NamedTuple):
    """A finished segment.

    Attributes:
        number: from 0.
        frames: the new ones, [n, H, W, 3], 0 to 255, uint8 RGB.
        tail: [3, overlap, H, W], -1 to 1, float32; the unrounded last frames, which the next segment continues from.
    """

    number: int
    frames: np.ndarray
    tail: np.ndarray


class SamplerSettings(NamedTuple):
    """The settings of the denoising; names and ranges as in `config.GenerateSettings`."""

    prompt: str
    num_inference_steps: int
    guidance_scale: float
    shift: float
    seed: int
    solver: str = "unipc"
    sigma_schedule: str = "linear"
    noise_device: str = "cpu"
    pose_strength: float = 1.0
    face_strength: float = 1.0
    colour_hold: bool = False
    more_references: tuple[np.ndarray, ...] = ()  # here the images themselves, [H, W, 3], 0 to 255, uint8 RGB


class EncodingCache:
    """What clips of one model share, computed once: prompts, references, pose drawings.

    The drawings are many in a long clip, 18 MB a segment of 1280x720: of what is too much the oldest of them goes first.

    Attributes:
        limit: bytes that are kept, mostly of the GPU's.
        colours: of the latents, learned from what was encoded while somebody watched.
    """

    def __init__(self, limit: int = 2**28) -> None:
        self.limit = limit
        self.colours = LatentColours()
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def text(self, networks: Networks, prompts: list[str]) -> list[Tensor]:
        """Return `networks.encode_text` of each prompt; the text encoder is loaded once for those not kept."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if ("text", prompt) not in self._kept]
        states = dict(zip(missing, networks.encode_text(missing) if missing else (), strict=True))
        return [self.get(("text", prompt), lambda prompt=prompt: states[prompt]) for prompt in prompts]

    def get(self, key: tuple[object, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Return what `compute` gave for `key`, or gives now."""
        value = self._kept.pop(key, None)
        if value is None:
            value = compute()
        self._kept[key] = value  # the newest last
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self.limit:
            drawings = (other for other in self._kept if other[0] == DRAWINGS)
            del self._kept[next(drawings, next(iter(self._kept)))]
        return value


class PartialSegment(NamedTuple):
    """A first segment that was stopped after some of its steps.

    Attributes:
        velocities: [n, 16, t, h, w], float32, the model's output in each step; with them the segment continues bit for bit.
        frames: [T, H, W, 3], 0 to 255, uint8 RGB; the image as the last of these steps foresees it.
    """

    velocities: np.ndarray
    frames: np.ndarray


def generate_segments(
    networks: Networks,
    conditions: Conditions,
    plan: segments.SegmentPlan,
    sampler: SamplerSettings,
    *,
    num_done: int = 0,
    tail: np.ndarray | None = None,
    velocities: np.ndarray | None = None,
    first_frames: np.ndarray | None = None,
    on_step: OnStep = lambda segment, step: None,
    on_foreseen: OnForeseen | None = None,
    encodings: EncodingCache | None = None,
) -> Iterator[Segment]:
    """Generate a clip segment by segment.

    A clip continued after `num_done` segments is bit for bit the one made in one go: noise is drawn for all segments
    in order, and a segment continues from the unrounded frames of the one before.

    Args:
        networks: the model.
        conditions: the conditions.
        plan: the cut into segments.
        sampler: settings of the denoising.
        num_done: segments that are finished already.
        tail: of the last finished segment; without one the end of an earlier result, where the plan has a lead-in.
        velocities: of the first segment's steps that are done already, from `begin`.
        first_frames: of the first segment where it is done, for the sampler's colour_hold.
        on_step: called with the numbers of segment and step before each denoising step.
        on_foreseen: called after each step with the numbers, the clean latents that it foresees, [16, t, h, w], and what
            shows them; it must not change them. With or without it the result is the same.
        encodings: of clips made before with the same networks; what is there is not computed again.

    Yields:
        the segments that are not done yet, in order.

    Raises:
        FloatingPointError: if a segment is not a number or all black: broken weights or a broken kernel.
    """
    loop = _Loop(networks, conditions, plan, sampler, encodings or EncodingCache(), on_step, on_foreseen)
    if sampler.colour_hold and first_frames is not None:
        loop.first_colours = colours.measure(
            first_frames, loop.region(0, plan.lead_in, plan.lead_in + len(first_frames))
        )
    for number, noise in enumerate(loop.noise()):
        if number < num_done:
            continue
        known = [] if number or velocities is None else list(velocities)
        last = collections.deque(loop.steps(number, noise, tail, known), maxlen=1)[0]
        made = loop.decode(number, last.latents)
        taken, shown = plan.taken(number), plan.shown(number)
        if sampler.colour_hold:
            made = loop.held(number, made, taken, shown)
        frames = _to_uint8(made[:, taken:])[:shown]
        tail = made[:, -plan.overlap :].clone().numpy()
        del made  # not held while the next segment is made
        yield Segment(number, frames, tail)
        del frames


def begin(
    networks: Networks,
    conditions: Conditions,
    plan: segments.SegmentPlan,
    sampler: SamplerSettings,
    num_steps: int,
    *,
    tail: np.ndarray | None = None,
    velocities: np.ndarray | None = None,
    on_step: OnStep = lambda segment, step: None,
    on_foreseen: OnForeseen | None = None,
    encodings: EncodingCache | None = None,
) -> PartialSegment:
    """Run the first steps of a clip's first segment, for a first look; arguments and errors as `generate_segments`.

    Args:
        num_steps: how many; at most all of them.
    """
    loop = _Loop(networks, conditions, plan, sampler, encodings or EncodingCache(), on_step, on_foreseen)
    known = [] if velocities is None else list(velocities)
    steps = list(itertools.islice(loop.steps(0, next(loop.noise()), tail, known), num_steps))
    said = np.stack([step.velocity.cpu().numpy() for step in steps])
    frames = _to_uint8(loop.decode(0, steps[-1].foreseen))[plan.lead_in :]
    return PartialSegment(said, frames[: plan.num_frames])


def noise_of(shape: Sequence[int], seed: int, device: str = "cpu") -> np.ndarray:
    """Return the noise of a clip's first segment, whose latents have this shape; see `SamplerSettings.noise_device`."""
    return torch.randn(tuple(shape), generator=torch.Generator(device).manual_seed(seed), device=device).cpu().numpy()


class _Step(NamedTuple):
    """A step of a segment: the latents after it, the model's output, and the clean latents that it predicts."""

    latents: Tensor
    velocity: Tensor
    foreseen: Tensor


class _Loop:
    """What the segments of one clip share, and the work on one of them."""

    def __init__(
        self,
        networks: Networks,
        conditions: Conditions,
        plan: segments.SegmentPlan,
        sampler: SamplerSettings,
        encodings: EncodingCache,
        on_step: OnStep,
        on_foreseen: OnForeseen | None,
    ) -> None:
        self.networks, self.conditions, self.plan, self.sampler = networks, conditions, plan, sampler
        self.encodings, self.on_step, self.on_foreseen = encodings, on_step, on_foreseen
        self.guided = sampler.guidance_scale > 1
        self.blank: Tensor | None = None  # face crops that show none; one tensor, so that its features are made once
        self.first_colours: colours.Colours | None = None  # of the clip's first segment, once it is made
        self.text = encodings.text(networks, [sampler.prompt, *([config.NEGATIVE_PROMPT] if self.guided else [])])
        self.reference = _pixels(conditions.reference_image()[None], networks.device)
        character = conditions.fingerprint("reference_image")
        self.drawings = DRAWINGS, conditions.fingerprint("pose_video")
        others = (hashlib.sha256(image.tobytes()).digest() for image in sampler.more_references)
        self.image = encodings.get(("image", character, *others), self._encode_images)
        latents = encodings.get(("reference", character), lambda: self.encode("reference", self.reference))
        self.grid = latents.shape[-2:]
        self.reference_slot = torch.cat([torch.ones(4, 1, *self.grid, device=networks.device), latents])

    def _encode_images(self) -> Tensor:
        """Return CLIP's tokens of the reference and of further images of the character, one after the other: [1, tokens, D]."""
        more = (_pixels(image[None], self.networks.device)[:, 0] for image in self.sampler.more_references)
        return torch.cat([self.networks.encode_image(each) for each in (self.reference[:, 0], *more)], dim=1)

    def encode(self, kind: str, pixels: Tensor) -> Tensor:
        """Return the latents of pixels, which those who watch learn the latents' colours from."""
        latents = self.networks.encode(pixels)
        if self.on_foreseen is not None:
            self.encodings.colours.learn(kind, pixels, latents)
        return latents

    def noise(self) -> Iterator[Tensor]:
        """Yield each segment's noise; all of it is drawn in order, whatever is done already."""
        place = self.sampler.noise_device
        random = torch.Generator(place).manual_seed(self.sampler.seed)
        for start, end in self.plan.segments:
            shape = (LATENT_CHANNELS, (end - start - 1) // mask.TEMPORAL_STRIDE + 2, *self.grid)
            yield torch.randn(shape, generator=random, device=place).to(self.networks.device)

    def steps(self, number: int, latents: Tensor, tail: np.ndarray | None, known: list[np.ndarray]) -> Iterator[_Step]:
        """Denoise a segment step by step.

        Args:
            number: of the segment.
            latents: its noise.
            tail: of the segment before, None for the first.
            known: velocities of the first steps; the model is not asked again for them.
        """
        conditions: tuple[Tensor, ...] | None = None
        sampler = self.sampler
        solver = solvers.make_solver(sampler.solver, sampler.num_inference_steps, sampler.shift, sampler.sigma_schedule)
        for step, timestep in enumerate(solver.timesteps):
            if step < len(known):
                velocity = torch.from_numpy(known[step]).to(latents)
            else:
                conditions = conditions or self._conditions(number, tail)
                self.on_step(number, step)
                velocity = self._velocity(latents, *conditions, timestep)
                if not torch.isfinite(velocity).all():  # before the steps that are left are paid too
                    raise _broken(number, f"values that are no numbers (NaN) after step {step + 1}")
            foreseen = latents - solver.sigmas[step].to(latents) * velocity
            if self.on_foreseen is not None:
                self.on_foreseen(number, step, foreseen[:, 1:], self.encodings.colours)
            draws = sampler.solver in solvers.DRAWN and step + 1 < len(solver.timesteps)
            noise = solvers.drawn(sampler.seed, number, step, latents, sampler.noise_device) if draws else None
            latents = solver.advance(step, velocity, latents, noise)
            yield _Step(latents, velocity, foreseen)

    def decode(self, number: int, latents: Tensor) -> Tensor:
        """Return the image of a segment, [3, T, H, W], -1 to 1, float32, on the CPU."""
        made = self.networks.decode(latents[:, 1:]).float().cpu()
        _check(made, number)
        return made

    def held(self, number: int, made: Tensor, taken: int, shown: int) -> Tensor:
        """Return a decoded segment in the colours of the first one: what it gives on to the next one too.

        Args:
            number: of the segment; the first one is measured and kept as it is.
            made: [3, T, H, W], -1 to 1, float32.
            taken: frames taken over from the segment before.
            shown: new frames that the result shows; the others only fill the segment.
        """
        end = min(made.shape[1], taken + shown)
        if self.first_colours is None:
            frames = _to_uint8(made[:, taken:end])
            self.first_colours = colours.measure(frames, self.region(number, taken, end))
            return made
        frames = ((made.permute(1, 2, 3, 0) + 1) / 2).numpy()
        now = colours.measure(frames[taken:end], self.region(number, taken, end))
        if now is None:
            return made
        changed = colours.hold(frames, self.first_colours, now, self.region(number, 0, len(frames)))
        return torch.from_numpy(changed).permute(3, 0, 1, 2) * 2 - 1

    def region(self, number: int, start: int, end: int) -> np.ndarray | None:
        """Return what is generated in some frames of a segment, [n, H, W], bool; None: all, as in animate."""
        if self.conditions.mode != "replace":
            return None
        first = self.plan.segments[number][0]
        return np.asarray(self.conditions.mask(self.plan.indices[first + start : first + end])) > 0.5

    def _velocity(self, latents: Tensor, condition: Tensor, pose: Tensor, face: Tensor, timestep: Tensor) -> Tensor:
        chosen = {"pose_strength": self.sampler.pose_strength, "face_strength": self.sampler.face_strength}
        changed = {name: strength for name, strength in chosen.items() if strength != 1}
        denoise = functools.partial(self.networks.denoise, **changed)
        velocity = denoise(latents, condition, pose, face, self.image, self.text[0], timestep)
        if self.guided:  # the unguided pass sees no expression, as upstream
            if self.blank is None or self.blank.shape != face.shape:
                self.blank = torch.full_like(face, -1)
            unguided = denoise(latents, condition, pose, self.blank, self.image, self.text[1], timestep)
            velocity = unguided + self.sampler.guidance_scale * (velocity - unguided)
        return velocity

    def _conditions(self, number: int, tail: np.ndarray | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return condition, pose latents and face crops of a segment."""
        networks, conditions, device = self.networks, self.conditions, self.networks.device
        start, end = self.plan.segments[number]
        indices = self.plan.indices[start:end]
        drawings = (*self.drawings, indices.tobytes())
        pose = self.encodings.get(
            drawings, lambda: self.encode("pose", _pixels(conditions.frames("pose_video", indices), device))
        )
        face = _pixels(_crops(networks, conditions, indices), device)
        condition = _condition(self, indices, tail)
        return torch.cat([self.reference_slot, condition], dim=1), pose, face


def _condition(loop: _Loop, indices: np.ndarray, given: np.ndarray | None) -> Tensor:
    """Return [20, t, h, w]: what is known of the segment (mask), and the latents of the known image.

    Where nothing is known, animate shows grey to the VAE, replace the background.
    """
    networks, conditions, like = loop.networks, loop.conditions, loop.reference
    height, width = like.shape[-2:]
    generated = None
    if conditions.mode == "replace":
        known_image = _pixels(conditions.frames("background_video", indices), like.device)
        generated = conditions.mask(indices)
    else:
        known_image = torch.zeros(3, len(indices), height, width, device=like.device)
    if given is not None:
        known_image[:, : given.shape[1]] = torch.from_numpy(given).to(known_image)
    stride = networks.vae_stride
    num_given = 0 if given is None else loop.plan.overlap
    known = mask.known_pixels(len(indices), num_given, height // stride, width // stride, generated)
    latents = networks.encode(known_image) if generated is None else loop.encode("background", known_image)
    return torch.cat([torch.from_numpy(mask.pack_mask(known)).to(known_image), latents])


def _pixels(frames: np.ndarray, device: Any) -> Tensor:
    """Turn [T, H, W, 3] uint8 into [3, T, H, W], -1 to 1, float32."""
    return torch.from_numpy(np.array(frames)).to(device).permute(3, 0, 1, 2).float() / 127.5 - 1


def _to_uint8(made: Tensor) -> np.ndarray:
    """Turn [3, T, H, W], -1 to 1, into [T, H, W, 3] uint8."""
    frames = np.empty((*made.shape[1:], 3), np.uint8)
    for t, frame in enumerate(made.unbind(1)):  # one at a time: a segment of 1280x720 is 0.8 GiB
        frames[t] = ((frame.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return frames


def _crops(networks: Networks, conditions: Conditions, indices: np.ndarray) -> np.ndarray:
    """Return face crops of the side that the motion encoder takes, [T, S, S, 3], uint8.

    The real model takes them as they are.
    """
    frames, side = conditions.frames("face_video", indices), networks.face_size
    if frames.shape[1] != side:
        from PIL import Image

        lanczos = Image.Resampling.LANCZOS  # as nano was trained
        frames = np.stack([np.asarray(Image.fromarray(frame).resize((side, side), lanczos)) for frame in frames])
    return frames


def _check(made: Tensor, number: int) -> None:
    if not torch.isfinite(made).all():
        what = "values that are no numbers (NaN)"
    elif made.max() < -0.98:  # of -1 to 1
        what = "black frames only"
    else:
        return
    raise _broken(number, what)


def _broken(number: int, what: str) -> FloatingPointError:
    return FloatingPointError(
        f"segment {number + 1} must be an image, got {what}; check the checkpoint (wanlab models), the inputs, and try another attention kernel"
    )
