"""The networks of Wan-Animate, loaded one by one when first needed: UMT5, CLIP, VAE, transformer."""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wanlab.model import bands, loading, lora, parts, precision, quantised, streaming, texts
from wanlab.model.memory import Plan

REMEMBERED = 64  # batches of 8 face crops: more than two segments of 77 frames, and 0.4 GB on a GPU
Loras = Sequence[tuple[Path, float]]
TEXT_LENGTH = 512  # tokens; the transformer cuts images and text apart at this place


class Networks:
    """The networks of one checkpoint on one device; what `sampling.generate_segments` needs of a model.

    The text encoder, larger than all of a GPU's free memory beside the transformer, is dropped after use.

    Attributes:
        device: where the tensors live.
        precision: fast, or official: float32 where the official code has it (see `precision`), and pixels rounded as there.
        face_size: side in pixels of the face crops that the transformer takes.
        vae_stride: pixels per side of the latent grid's cell.
        plan: what stays on the device, what travels, and what is made in bands; None: all stays, the VAE works whole.
        host_bytes: of pinned host memory that the transformer's blocks take.
    """

    def __init__(self, folder: Path, device: str) -> None:
        """Find the files; nothing is loaded yet.

        Args:
            folder: of the checkpoint, or the params file that names its parts.
            device: cuda or cpu.
        """
        import transformers

        transformers.utils.logging.disable_progress_bar()  # its bar per network is noise and turns pink in reports
        self._parts = parts.of(folder)
        self._loras: Loras = ()
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.precision = "fast"
        self.plan: Plan | None = None
        self.host_bytes = 0

    def take(self, loras: Loras) -> None:
        """Change the transformer by these LoRAs from now on; where they are others than before, it is loaded again."""
        if tuple(loras) != self._loras:
            self._loras = tuple(loras)
            self.drop()

    def follow(self, plan: Plan | None) -> None:
        """Work by a plan from now on; where it holds the transformer in another way, that is loaded again."""
        if not (plan or Plan()).is_like(self.plan or Plan()):
            self.drop()
        self.plan = plan

    def drop(self) -> None:
        """Give back the memory of the transformer; it is loaded again when it is needed."""
        self.host_bytes = 0
        if self.__dict__.pop("_transformer", None) is not None:
            gc.collect()  # hooks and blocks hold each other
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    @property
    def face_size(self) -> int:
        return self._transformer.config["motion_encoder_size"]

    @property
    def vae_stride(self) -> int:
        return self._vae.config["scale_factor_spatial"]

    @torch.inference_mode()
    def encode_text(self, prompts: list[str]) -> list[Tensor]:
        """Return [1, 512, D] per prompt: zero behind the prompt's own tokens. What is kept on disk is not computed again."""
        cleaned, device = list(map(_clean, prompts)), self._device_of_text()
        kept = texts.Kept(self._parts, f"{device.type} {self.dtype}")
        found = {prompt: kept.read(prompt) for prompt in cleaned}
        states = {prompt: state for prompt, state in found.items() if state is not None}
        if missing := [prompt for prompt in found if prompt not in states]:
            for prompt, state in zip(missing, self._encode_text(missing, device), strict=True):
                states[prompt] = state
                kept.write(prompt, state)
        return [states[prompt].to(self.device) for prompt in cleaned]

    def _encode_text(self, prompts: list[str], device: torch.device) -> Iterator[Tensor]:
        from transformers import UMT5EncoderModel

        encoder = self._load(UMT5EncoderModel, "text_encoder", self.dtype, device)
        for ids, mask in map(self._tokenizer(device), prompts):
            state = encoder(ids, mask).last_hidden_state
            yield (state * mask[..., None]).to(self.dtype)

    def _device_of_text(self) -> torch.device:
        """Return where texts are encoded: on the GPU where there is room, beside the transformer if that is loaded."""
        plan = self.plan or Plan()
        has_room = plan.text_beside if "_transformer" in vars(self) else plan.text_encoder == "gpu"
        return self.device if has_room else torch.device("cpu")

    @torch.inference_mode()
    def encode_image(self, reference: Tensor) -> Tensor:
        """Return CLIP's last layer but one of the reference, squashed to a square as upstream does.

        Args:
            reference: [3, H, W], -1 to 1, float32.

        Returns:
            [1, tokens, D].
        """
        side = self._image_encoder.config.image_size
        small = F.interpolate(self._rounded(reference)[None], size=(side, side), mode="bicubic", align_corners=False)
        settings = json.loads(self._preprocessor.read_text(encoding="utf-8"))
        mean, deviation = (
            torch.tensor(settings[name], device=small.device).view(1, 3, 1, 1) for name in ("image_mean", "image_std")
        )
        small = (small * 0.5 + 0.5 - mean) / deviation
        states = self._image_encoder(small.to(self.dtype), output_hidden_states=True).hidden_states
        if self._streams:  # each reference is encoded once, and the room is short
            del self._image_encoder
        return states[-2].to(self.dtype)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return the VAE's standardised latents, [16, (T + 3) // 4, H / 8, W / 8], of [3, T, H, W], -1 to 1, float32."""
        pixels = self._rounded(pixels)[None]
        num = self._num_bands
        latents = bands.encode(self._vae, pixels, num) if num > 1 else self._vae.encode(pixels).latent_dist.mode()
        mean, deviation = self._latent_statistics
        return ((latents - mean) / deviation)[0]

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return [3, T, H, W], -1 to 1, float32, of standardised latents; the inverse of `encode`."""
        mean, deviation = self._latent_statistics
        latents, num = latents[None].float() * deviation + mean, self._num_bands
        made = bands.decode(self._vae, latents, num) if num > 1 else self._vae.decode(latents).sample
        return made[0].clamp(-1, 1)

    @torch.inference_mode()
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
    ) -> Tensor:
        """Return the velocity of one denoising step.

        Args:
            latents: [16, t + 1, h, w], float32, the reference's slot first.
            condition: [20, t + 1, h, w], 4 mask channels and 16 of latents.
            pose: [16, t, h, w], latents of the drawing.
            face: [3, T, S, S], -1 to 1.
            image, text: from `encode_image` and `encode_text`.
            timestep: 0 to 1000.
            pose_strength, face_strength: factors of what the drawing adds to the tokens, and the face crops after each
                fifth block; 1 changes nothing, 0 leaves it out.

        Returns:
            [16, t + 1, h, w], float32.
        """
        transformer = self._transformer
        with contextlib.ExitStack() as stack:
            if self.precision == "official":
                stack.enter_context(precision.as_official(transformer, self.dtype))
            adding = (
                (pose_strength, transformer.pose_patch_embedding),
                *((face_strength, each) for each in transformer.face_adapter),
            )
            for strength, layer in adding:
                if strength != 1:
                    stack.callback(layer.register_forward_hook(_times(strength)).remove)
            return transformer(
                hidden_states=torch.cat([latents, condition])[None].to(self.dtype),
                timestep=timestep.to(self.device)[None],
                encoder_hidden_states=text,
                encoder_hidden_states_image=image,
                pose_hidden_states=pose[None].to(self.dtype),
                face_pixel_values=self._rounded(face)[None].to(self.dtype),
                return_dict=False,
            )[0][0].float()

    def _rounded(self, pixels: Tensor) -> Tensor:
        """Return pixels as the official code has them: it rounds them to bfloat16 before any network sees them."""
        return pixels.bfloat16().to(pixels) if self.precision == "official" else pixels

    @functools.cached_property
    def _transformer(self) -> Any:
        from diffusers import WanAnimateTransformer3DModel  # pyright: ignore[reportPrivateImportUsage]

        plan = self.plan or Plan()
        waits = (
            self._streams or plan.quantization != "none"
        )  # in files, which are mapped, until each block has its place
        place = torch.device("cpu") if waits else self.device
        transformer = self._load(WanAnimateTransformer3DModel, "transformer", self.dtype, place)
        if plan.quantization != "none":
            quantised.quantise(transformer.blocks, plan.quantization, self.device)
        if self._loras:
            lora.changed(transformer, self._loras, self.device)
            self._halve_added(transformer)
        if self._streams:
            blocks = transformer.blocks
            transformer.blocks = torch.nn.ModuleList()
            transformer.to(self.device)
            self.host_bytes = streaming.stream(list(blocks), self.device, plan.resident)
            transformer.blocks = blocks
        else:
            transformer.to(self.device)
        transformer.motion_encoder = _Remembering(transformer.motion_encoder)
        return transformer

    def _halve_added(self, transformer: torch.nn.Module) -> None:
        """Hold what LoRAs add to quantised layers in the type that it is used in, as its layers would make it each time."""
        for layer in transformer.modules():
            if isinstance(layer, quantised.QuantisedLinear):
                layer.added.to(self.dtype)

    @property
    def _streams(self) -> bool:
        return self.plan is not None and self.plan.offload == "blocks"

    @property
    def _num_bands(self) -> int:
        return self.plan.vae_bands if self.plan else 1

    @functools.cached_property
    def _vae(self) -> Any:
        from diffusers import AutoencoderKLWan  # pyright: ignore[reportPrivateImportUsage]

        return self._load(AutoencoderKLWan, "vae", torch.float32)  # in half precision colours drift

    @functools.cached_property
    def _image_encoder(self) -> Any:
        from transformers import CLIPVisionModel

        return self._load(CLIPVisionModel, "image_encoder", self.dtype)

    @functools.cached_property
    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        settings = self._vae.config
        mean, deviation = (
            torch.tensor(settings[name], device=self.device).view(1, -1, 1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        return mean, deviation

    @property
    def _preprocessor(self) -> Path:
        """The file that says how CLIP's pixels are normalised."""
        part = self._parts.get("image_processor")
        return part[0] / "preprocessor_config.json" if part else loading.CONFIGS / "image_processor.json"

    def _tokenizer(self, device: torch.device) -> Callable[[str], tuple[Tensor, Tensor]]:
        """Return what makes of a text its tokens and which of them are its own: [1, 512] each, int64."""
        if not parts.is_folder(part := self._parts["tokenizer"]):
            pieces = loading.tokens_of(part[0])
            return lambda text: _padded(pieces(text), device)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(part[0], local_files_only=True)
        how = {"max_length": TEXT_LENGTH, "padding": "max_length", "truncation": True, "return_tensors": "pt"}

        def tokens(text: str) -> tuple[Tensor, Tensor]:
            found = tokenizer(text, **how).to(device)
            return found.input_ids, found.attention_mask

        return tokens

    def _load(self, kind: Any, component: str, dtype: torch.dtype, device: torch.device | None = None) -> Any:
        part, device = self._parts[component], device or self.device
        if not parts.is_folder(part):
            return loading.load(component, part, device, dtype)
        name = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
        return kind.from_pretrained(part[0], local_files_only=True, **{name: dtype}).to(device).eval()


class _Remembering(torch.nn.Module):
    """A network that remembers its last results: the face crops of a segment are the same in every denoising step.

    Results are those of the network itself, to the bit: inputs are compared completely.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self._seen: collections.deque[tuple[Tensor, tuple[Any, ...], Tensor]] = collections.deque(maxlen=REMEMBERED)

    def forward(self, pixels: Tensor, *more: Any) -> Tensor:
        more = (torch.is_autocast_enabled(pixels.device.type), *more)  # the same pixels give other results under it
        for known, with_more, result in self._seen:
            if with_more == more and known.shape == pixels.shape and torch.equal(known, pixels):
                return result
        result = self.network(pixels, *more[1:])
        self._seen.append((pixels, more, result))
        return result


def _times(strength: float) -> Callable[[Any, Any, Tensor], Tensor]:
    return lambda layer, given, result: result * strength


def default_device() -> str:
    """Return cuda where there is a GPU that torch can use, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _padded(ids: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return tokens, cut or filled with 0 to the transformer's length, and which of them are the text's own."""
    if len(ids) > TEXT_LENGTH:
        ids = [*ids[: TEXT_LENGTH - 1], ids[-1]]  # the last one says where the text ends
    filled = torch.tensor([[*ids, *[0] * (TEXT_LENGTH - len(ids))]], device=device)
    return filled, (torch.arange(TEXT_LENGTH, device=device)[None] < len(ids)).long()


def _clean(prompt: str) -> str:
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()
