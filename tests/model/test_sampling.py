"""The segment loop on the nano checkpoint: the same as diffusers' pipeline, and the same after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wanlab import config, media, pose
from wanlab.media import resize
from wanlab.model import checkpoints, sampling, segments
from wanlab.model.latent_colours import averaged
from wanlab.model.networks import Networks
from wanlab.pose import face

HEIGHT, WIDTH, LENGTH = 96, 64, 5  # an eighth of nano's size: what is compared does not depend on it


class SampleConditions:
    """A few frames of the bundled half-body clip with its true keypoints."""

    def __init__(self, sample: Path, num_frames: int, mode: str) -> None:
        self.mode = mode
        clip = media.open_clip(sample / "half.mp4", max_frames=num_frames)
        with np.load(sample / "half_truth.npz") as truth:
            points = truth["keypoints"][:num_frames].astype(np.float32)
            masks = np.unpackbits(truth["mask"], axis=-1)[:num_frames, :, : clip.width].astype(bool)
        frames, meta = clip.read(), pose.to_meta(points, clip.height, clip.width)
        drawn = pose.letterbox_meta(meta, clip.height, clip.width, HEIGHT, WIDTH)
        boxes = face.boxes(meta.face, clip.height, clip.width).boxes
        self._reference = resize.letterbox(media.read_image(sample / "character.png"), HEIGHT, WIDTH)
        small = np.stack([resize.letterbox(frame, HEIGHT, WIDTH) for frame in frames])
        self._mask = masks[:, :: clip.height // HEIGHT, :: clip.width // WIDTH][:, :HEIGHT, :WIDTH]
        self._videos = {
            "pose_video": np.stack(list(pose.draw(drawn, HEIGHT, WIDTH))),
            "face_video": np.stack([face.crop(f, b) for f, b in zip(frames, boxes, strict=True)]),
            "background_video": small * ~self._mask[..., None],
        }

    def reference_image(self) -> np.ndarray:
        return self._reference

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        return self._videos[name][indices]

    def fingerprint(self, name: str) -> str:
        return f"{id(self)} {name}"

    def mask(self, indices: np.ndarray) -> np.ndarray:
        return self._mask[indices]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(checkpoints.NANO, "cpu")


@pytest.mark.filterwarnings("ignore")  # the pipeline's own
@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_equals_the_pipeline_of_diffusers(networks: Networks, sample: Path, tmp_path: Path, mode: str) -> None:
    """Two segments, guided. Their schedule and image encoding differ from the official ones, so ours are put in."""
    import shutil

    from diffusers import UniPCMultistepScheduler, WanAnimatePipeline

    num_frames = 9
    conditions, plan = SampleConditions(sample, num_frames, mode), segments.make_plan(num_frames, LENGTH, 1)
    sampler = sampling.SamplerSettings("a prompt", 2, 1.6, 5.0, 7)
    ours = np.concatenate([s.frames for s in sampling.generate_segments(networks, conditions, plan, sampler)])

    folder = tmp_path / "nano"
    shutil.copytree(checkpoints.NANO, folder)
    index = json.loads((folder / "model_index.json").read_text())
    pipe = WanAnimatePipeline.from_pretrained(folder, torch_dtype=torch.float32)
    assert index["_class_name"] == "WanAnimatePipeline"
    pipe.set_progress_bar_config(disable=True)
    reference = torch.from_numpy(conditions.reference_image().copy()).permute(2, 0, 1).float() / 127.5 - 1
    pipe.encode_image = lambda image, device=None: networks.encode_image(reference)

    class OfficialSteps(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, **how):
            super().set_timesteps(sigmas=np.linspace(0.999, 0, num_inference_steps + 1)[:-1])

    pipe.scheduler = OfficialSteps.from_config(
        UniPCMultistepScheduler(
            num_train_timesteps=1000, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
        ).config
    )
    every = np.arange(num_frames)
    images = lambda name: [Image.fromarray(frame) for frame in conditions.frames(name, every)]  # noqa: E731
    more = {}
    if mode == "replace":
        masks = [Image.fromarray((mask * 255).astype(np.uint8)) for mask in conditions.mask(every)]
        more = {"background_video": images("background_video"), "mask_video": masks}
    theirs = pipe(
        image=Image.fromarray(conditions.reference_image()), pose_video=images("pose_video"), face_video=images("face_video"),
        prompt="a prompt", negative_prompt=config.NEGATIVE_PROMPT, height=HEIGHT, width=WIDTH, segment_frame_length=LENGTH,
        prev_segment_conditioning_frames=1, num_inference_steps=2, guidance_scale=1.6, mode=mode,
        generator=torch.Generator().manual_seed(7), output_type="np", **more,
    ).frames[0]  # fmt: skip
    assert theirs.shape == ours.shape
    np.testing.assert_allclose(ours.astype(float), theirs * 255, rtol=0, atol=1.6)


def test_goes_on_bit_for_bit_after_an_interruption(networks: Networks, sample: Path) -> None:
    conditions, plan = SampleConditions(sample, 12, "animate"), segments.make_plan(12, LENGTH, 1)
    sampler = sampling.SamplerSettings("", 2, 1.0, 5.0, 3)
    whole = list(sampling.generate_segments(networks, conditions, plan, sampler))
    rest = list(sampling.generate_segments(networks, conditions, plan, sampler, num_done=1, tail=whole[0].tail))
    assert [segment.number for segment in rest] == [1, 2]
    for one, other in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.tail, other.tail)


def test_who_watches_sees_every_step_and_changes_no_bit(networks: Networks, sample: Path) -> None:
    """What the last step foresees is what is decoded: its colours are those of the frames, averaged."""
    conditions, plan = SampleConditions(sample, LENGTH, "replace"), segments.make_plan(LENGTH, LENGTH, 1)
    sampler, encodings = sampling.SamplerSettings("", 2, 1.0, 5.0, 3), sampling.EncodingCache()
    seen: list[tuple[int, int, torch.Tensor]] = []
    how = {"on_foreseen": lambda *given: seen.append(given[:3]), "encodings": encodings}
    watched = list(sampling.generate_segments(networks, conditions, plan, sampler, **how))
    alone = list(sampling.generate_segments(networks, conditions, plan, sampler))
    assert [place[:2] for place in seen] == [(0, 0), (0, 1)]
    for one, other in zip(watched, alone, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.tail, other.tail)
    last = seen[1][2]
    shown = encodings.colours.shown(last).float()
    frames = torch.from_numpy(watched[0].frames).permute(3, 0, 1, 2)
    wanted = averaged(frames, last.shape).permute(1, 2, 3, 0)
    assert (shown - wanted).square().mean().sqrt() < 0.5 * (wanted - wanted.mean()).square().mean().sqrt()


def test_a_segment_computed_again_draws_the_same_noise(networks: Networks, sample: Path) -> None:
    """As after a kill in the second segment, and as after a first look at the first."""
    conditions, plan = SampleConditions(sample, 9, "animate"), segments.make_plan(9, LENGTH, 1)
    sampler = sampling.SamplerSettings("", 3, 1.0, 5.0, 3, "lcm")
    whole = list(sampling.generate_segments(networks, conditions, plan, sampler))
    looked = sampling.begin(networks, conditions, plan, sampler, 2)
    first = next(iter(sampling.generate_segments(networks, conditions, plan, sampler, velocities=looked.velocities)))
    rest = sampling.generate_segments(networks, conditions, plan, sampler, num_done=1, tail=whole[0].tail)
    for one, other in zip(whole, [first, *rest], strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.tail, other.tail)


def test_further_images_of_the_character_reach_the_model_through_clip(sample: Path) -> None:
    """The same image twice is another condition than once, another one again another."""
    networks, sampler = Networks(checkpoints.NANO, "cpu"), sampling.SamplerSettings("", 1, 1.0, 5.0, 3)
    given, plan = SampleConditions(sample, LENGTH, "animate"), segments.make_plan(LENGTH, LENGTH, 1)
    reference, black = given.reference_image(), np.zeros((8, 8, 3), np.uint8)
    shapes: list[torch.Size] = []
    whole = networks.denoise
    networks.denoise = lambda *how, **more: shapes.append(how[4].shape) or whole(*how, **more)  # type: ignore[method-assign]
    encodings = sampling.EncodingCache()
    made = [
        next(
            sampling.generate_segments(
                networks, given, plan, sampler._replace(more_references=more), encodings=encodings
            )
        )
        for more in ((), (reference,), (black,), ())
    ]
    assert [shape[1] // shapes[0][1] for shape in shapes] == [1, 2, 2, 1]
    one, twice, other, again = (segment.frames for segment in made)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(twice, other)


def test_of_what_is_kept_encoded_the_oldest_drawings_go_first() -> None:
    """The prompt's states stay through a long clip: its encoder takes long to load."""
    cache, made = sampling.EncodingCache(limit=40), []

    def get(*key: object) -> None:
        cache.get(key, lambda: made.append(key) or torch.zeros(4))

    get("text", "a dance")
    for n in range(4):
        get(sampling.DRAWINGS, n)
    get("text", "a dance")
    get(sampling.DRAWINGS, 3)
    assert made == [("text", "a dance"), *((sampling.DRAWINGS, n) for n in range(4))]
    get(sampling.DRAWINGS, 2)
    assert made[5:] == [(sampling.DRAWINGS, 2)]


def test_the_seed_decides_the_result(networks: Networks, sample: Path) -> None:
    conditions, plan = SampleConditions(sample, 5, "animate"), segments.make_plan(5, LENGTH, 1)
    made = [
        next(
            iter(
                sampling.generate_segments(networks, conditions, plan, sampling.SamplerSettings("", 1, 1.0, 5.0, seed))
            )
        ).frames
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).mean() > 0.1


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "no numbers"), (-1.0, "black frames only")])
def test_a_broken_result_is_an_error(networks: Networks, sample: Path, value: float, what: str) -> None:
    class Broken(Networks):
        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return super().decode(latents) * 0 + value

    conditions, plan = SampleConditions(sample, 5, "animate"), segments.make_plan(5, LENGTH, 1)
    broken = Broken(checkpoints.NANO, "cpu")
    with pytest.raises(FloatingPointError, match=what):
        list(sampling.generate_segments(broken, conditions, plan, sampling.SamplerSettings("", 1, 1.0, 5.0, 1)))


def test_the_first_step_that_is_no_number_ends_it(networks: Networks, sample: Path) -> None:
    calls = []

    class Broken(Networks):
        def denoise(self, *given: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return super().denoise(*given, **more) * (float("inf") if len(calls) == 2 else 1)

    conditions, plan = SampleConditions(sample, 5, "animate"), segments.make_plan(5, LENGTH, 1)
    with pytest.raises(FloatingPointError, match="after step 2"):
        list(
            sampling.generate_segments(
                Broken(checkpoints.NANO, "cpu"), conditions, plan, sampling.SamplerSettings("", 6, 1.0, 5.0, 1)
            )
        )
    assert len(calls) == 2


def test_decode_undoes_encode(networks: Networks, sample: Path) -> None:
    picture = resize.letterbox(media.read_image(sample / "character.png"), 256, 192)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[:, None].float() / 127.5 - 1
    back = networks.decode(networks.encode(pixels))
    assert back.shape == pixels.shape
    assert float((back - pixels).abs().mean()) < 0.06


def test_the_sampler_s_fields_are_settings_with_the_same_defaults() -> None:
    fields = config.GenerateSettings.model_fields
    assert set(sampling.SamplerSettings._fields) <= set(fields)
    for name, default in sampling.SamplerSettings._field_defaults.items():
        assert fields[name].default == default, name


def test_strengths_reach_the_model_guided_and_not(sample: Path) -> None:
    told = []

    class Listening(Networks):
        def denoise(self, latents: torch.Tensor, *given: torch.Tensor, **more: float) -> torch.Tensor:
            told.append(more)
            return latents * 0

    sampler = sampling.SamplerSettings("", 1, 2.0, 5.0, 1, pose_strength=0.5)
    conditions, plan = SampleConditions(sample, 5, "animate"), segments.make_plan(5, LENGTH, 1)
    next(iter(sampling.generate_segments(Listening(checkpoints.NANO, "cpu"), conditions, plan, sampler)))
    assert told == [{"pose_strength": 0.5}] * 2


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_colour_hold_takes_an_injected_drift_back(networks: Networks, sample: Path, mode: str) -> None:
    """Each later segment comes out darker and redder; held, it does not, and a continued run is the same to the bit."""

    class Drifting(Networks):
        def denoise(self, latents: torch.Tensor, *given: torch.Tensor, **more: float) -> torch.Tensor:
            return latents * 0

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            self.decoded += 1
            made = torch.linspace(-0.6, 0.6, HEIGHT)[:, None] * torch.ones(3, LENGTH, HEIGHT, WIDTH)
            return made - 0.08 * self.decoded * torch.tensor([0.5, 1.0, 1.0])[:, None, None, None]

    conditions, plan = SampleConditions(sample, 9, mode), segments.make_plan(9, LENGTH, 1)
    sampler = sampling.SamplerSettings("", 1, 1.0, 5.0, 1, colour_hold=True)
    drifting = Drifting(checkpoints.NANO, "cpu")
    drifting.__dict__.update(networks.__dict__)

    def made(sampler: sampling.SamplerSettings, decoded: int = 0, **more: object) -> list[sampling.Segment]:
        drifting.decoded = decoded
        return list(sampling.generate_segments(drifting, conditions, plan, sampler, **more))

    off, on = made(sampler._replace(colour_hold=False)), made(sampler)
    np.testing.assert_array_equal(on[0].frames, off[0].frames)
    region = conditions.mask(np.arange(5, 9)) if mode == "replace" else np.ones((4, HEIGHT, WIDTH), bool)
    first = conditions.mask(np.arange(5)) if mode == "replace" else np.ones((5, HEIGHT, WIDTH), bool)
    wanted = off[0].frames[first].mean(axis=0)
    assert np.abs(off[1].frames[region].mean(axis=0) - wanted).max() > 8
    assert np.abs(on[1].frames[region].mean(axis=0) - wanted).max() < 3
    np.testing.assert_array_equal(on[1].frames[~region], off[1].frames[~region])
    (rest,) = made(sampler, 1, num_done=1, tail=on[0].tail, first_frames=on[0].frames)
    np.testing.assert_array_equal(rest.frames, on[1].frames)
    np.testing.assert_array_equal(rest.tail, on[1].tail)
