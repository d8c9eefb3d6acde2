"""The networks of Wan-Animate, loaded one by one when first needed: UMT5, CLIP, VAE, transformer."""

from __future__ import annotations

import concurrent.futures
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

from wanlab.model import bands, kernels, loading, lora, parts, quantised, streaming, texts
from wanlab.model.memory import TEXT_LENGTH, Plan
from wanlab.model.transformer import Transformer

Loras = Sequence[tuple[Path, float]]


class Networks:
    """The networks of one checkpoint on one device; what `sampling.generate_segments` needs of a model.

    The text encoder, larger than all of a GPU's free memory beside the transformer, is dropped after use.

    Attributes:
        device: where the tensors live.
        precision: fast, or official: float32 where the official code has it (see `transformer`), and pixels rounded as there.
        face_size: side in pixels of the face crops that the transformer takes.
        vae_stride: pixels per side of the latent grid's cell.
        ways: how the networks compute.
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
        self.ways = kernels.Ways()
        self.host_bytes = 0
        self._changes: list[lora.Lora] = []
        self._begun: concurrent.futures.Future[tuple[Any, Transformer]] | None = None

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

    def compute(self, ways: kernels.Ways) -> None:
        """Compute in these ways from now on; what was made by others is dropped."""
        if ways.vae_in_bfloat16 != self.ways.vae_in_bfloat16:
            self.__dict__.pop("_vae", None)
        if ways._replace(vae_in_bfloat16=False) != self.ways._replace(vae_in_bfloat16=False):
            self.__dict__.pop("_denoiser", None)
            if (
                self._streams or self._begun is not None
            ):  # blocks are tied to their places, or are being prepared the other way
                self.drop()
        self.ways = ways

    @property
    def compile_failure(self) -> str | None:
        """Why blocks that were to be compiled are not; None: they are, or were not to be."""
        return self._denoiser.failure if "_denoiser" in vars(self) else None

    def drop(self) -> None:
        """Give back the memory of the transformer; it is loaded again when it is needed."""
        is_held = self._begun is not None or "_transformer" in vars(self)
        if self._begun is not None:
            concurrent.futures.wait([self._begun])
            self._begun = None
        self.host_bytes = 0
        for name in ("_denoiser", "_transformer"):
            self.__dict__.pop(name, None)
        if is_held:
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
        cleaned = list(map(_clean, prompts))
        kept = texts.Kept(self._parts, f"{self.device.type} {self.dtype}")
        found = {prompt: kept.read(prompt) for prompt in cleaned}
        states = {prompt: state for prompt, state in found.items() if state is not None}
        if missing := [prompt for prompt in found if prompt not in states]:
            for prompt, state in zip(missing, self._encode_text(missing), strict=True):
                states[prompt] = state
                kept.write(prompt, state)
        return [states[prompt].to(self.device) for prompt in cleaned]

    def _encode_text(self, prompts: list[str]) -> Iterator[Tensor]:
        plan = self.plan or Plan()
        is_loaded = self._begun is not None or "_transformer" in vars(self)
        has_room = plan.text_beside if is_loaded else plan.text_stays
        encoder = self._load("text_encoder", self.dtype, self.device if has_room else torch.device("cpu"))
        if not has_room:
            streaming.visit(encoder, self.device)
        for ids, mask in map(self._tokenizer(self.device), prompts):
            state = encoder(ids, mask).last_hidden_state
            yield (state * mask[..., None]).to(self.dtype)

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
        mean, deviation = self._latent_statistics
        return ((bands.encode(self._vae, self._rounded(pixels)[None], self._num_bands) - mean) / deviation)[0]

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return [3, T, H, W], -1 to 1, float32, of standardised latents; the inverse of `encode`."""
        mean, deviation = self._latent_statistics
        return bands.decode(self._vae, latents[None].float() * deviation + mean, self._num_bands)[0]

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
            image, text: from `encode_image` and `encode_text`. What is made of them and of `face` is kept for the next
                step, which hands in the same tensors.
            timestep: 0 to 1000.
            pose_strength, face_strength: factors of what the drawing adds to the tokens, and the face crops after each
                fifth block; 1 changes nothing, 0 leaves it out.

        Returns:
            [16, t + 1, h, w], float32.
        """
        return self._denoiser.velocity(
            torch.cat([latents, condition]),
            pose,
            face,
            image,
            text,
            timestep.to(self.device),
            pose_strength=pose_strength,
            face_strength=face_strength,
            official=self.precision == "official",
        )

    def _rounded(self, pixels: Tensor) -> Tensor:
        """Return pixels as the official code has them: it rounds them to bfloat16 before any network sees them."""
        return pixels.bfloat16().to(pixels) if self.precision == "official" else pixels

    def prepare(self) -> None:
        """Begin to load the transformer beside what is computed meanwhile, where there is room; who needs it waits for it."""
        is_loaded = self._begun is not None or "_transformer" in vars(self)
        if not is_loaded and (self._streams or (self.plan or Plan()).text_beside):
            thread = concurrent.futures.ThreadPoolExecutor(1, "load")
            self._begun = thread.submit(self._made)
            thread.shutdown(wait=False)  # it ends with this

    @torch.inference_mode()
    def _made(self) -> tuple[Any, Transformer]:
        network = self._loaded()
        return network, self._ready(network)

    @functools.cached_property
    def _transformer(self) -> Any:
        """diffusers' network, with LoRAs, where the plan wants it; blocks that travel are put away by `_denoiser`."""
        if self._begun is None:
            return self._loaded()
        begun, self._begun = self._begun, None
        network, vars(self)["_denoiser"] = begun.result()
        return network

    @functools.cached_property
    def _denoiser(self) -> Transformer:
        """The transformer ready to denoise; blocks that travel lie in host memory then."""
        network = self._transformer
        return vars(self).get("_denoiser") or self._ready(network)

    def _loaded(self) -> Any:
        stays = not self._streams and (self.plan or Plan()).quantization == "none"
        place = self.device if stays else torch.device("cpu")  # in its mapped file, from where it comes block by block
        network = self._load("transformer", self.dtype, place)
        self._changes = lora.matched(network, self._loras)
        lora.apply(network, self._changes, self.device, lambda name: not name.startswith("blocks."))
        if not self._streams:
            for number, block in enumerate(network.blocks):
                block.to(self.device)
                self._change(network, number)
            network.to(self.device)
        return network

    def _change(self, network: Any, number: int) -> None:
        """Give a block its LoRAs, then its 8 bits; weights that are quantised in their files keep LoRAs beside them."""
        plan, block = self.plan or Plan(), network.blocks[number]
        lora.apply(network, self._changes, self.device, lambda name: name.startswith(f"blocks.{number}."))
        if plan.quantization != "none":
            quantised.quantise(block, plan.quantization, self.device)
        for layer in block.modules():
            if isinstance(layer, quantised.QuantisedLinear):
                layer.added.to(self.dtype)  # as its layers would make it each time

    def _ready(self, network: Any) -> Transformer:
        plan = self.plan or Plan()
        made = Transformer(network, self.dtype, kernels.KERNELS[self.ways.attention])
        if self._streams:  # what makes keys and values of text and image stays in its file: it is used once a run
            blocks, network.blocks = network.blocks, torch.nn.ModuleList()
            network.to(self.device)
            network.blocks = blocks

            def change(number: int) -> None:
                self._change(network, number)
                made.blocks[number].take(blocks[number])

            self.host_bytes = streaming.stream(made.blocks, self.device, plan.resident, change)
        quantised.multiply(network, self.ways.fp8_products)
        if self.ways.compiled:
            made.compile()
        return made

    @property
    def _streams(self) -> bool:
        return self.plan is not None and self.plan.offload == "blocks"

    @property
    def _num_bands(self) -> int:
        return self.plan.vae_bands if self.plan else 1

    @functools.cached_property
    def _vae(self) -> Any:
        vae = self._load("vae", torch.float32)
        return bands.in_bfloat16(vae) if self.ways.vae_in_bfloat16 else vae

    @functools.cached_property
    def _image_encoder(self) -> Any:
        return self._load("image_encoder", self.dtype)

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

    def _load(self, component: str, dtype: torch.dtype, device: torch.device | None = None) -> Any:
        return loading.load(component, self._parts[component], device or self.device, dtype)


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
