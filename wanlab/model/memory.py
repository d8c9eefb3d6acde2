"""How a clip is generated in the memory that is there: what stays on the GPU, what travels, and what is made in bands.

    plan = choose(here(device, cap), needs(parts, clip), Wishes())
    print(plan.describe())

Everything but `here` and `needs` is arithmetic. The constants of the estimates are fitted to what was measured on one H100 and one
H200 with random weights of the full size (17.3 B parameters, segments of 77 frames, CFG 1); other cards are estimates.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

GIB = 2**30
ALLOCATION = "expandable_segments:True,pinned_use_cuda_host_register:True,pinned_num_register_threads:8"
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")  # where users set it
KEPT_FREE = 0.5 * GIB  # of the GPU: what the allocator cannot use, libraries' workspaces
HOST_KEPT_FREE = 2 * GIB  # of the host: Python, torch and the frames of a segment
WIDTH = 5120  # channels of the real transformer, which the bytes per token were measured with
VAE_WIDTH = 96  # channels of the real VAE
# Peaks of a step at 832x480 (32,760 tokens) and 1280x720 (75,600): 35.6 and 39.0 GiB with blocks compiled, 24.0 the latter with
# weights in fp8; 37.3 the former with blocks as they are. Less weights, keys and values, and face crops:
BYTES_A_TOKEN = {False: 139_000, True: 84_000}  # by whether blocks are compiled
TEXT_LENGTH, IMAGE_TOKENS = 512, 257  # whose keys and values are kept for each block
FACES = 0.25 * GIB  # crops of a segment, 77 of 512 x 512 in float32
# Decoding 77 frames of 832x480 took 9.4, 6.6, 5.7 and 4.4 to 5.1 GiB beside the weights, whole and in 2, 3 and 4 bands; at 1280x720
# 21.6 GiB whole, 6.7 in 7 bands
WHOLE_BYTES_A_PIXEL, BAND_BYTES_A_PIXEL = 23_800, 26_000  # of the image, of a band with its margins
VIDEO_BYTES = 12  # for each pixel of each frame: float32; twice while bands are put together
MIDDLE_BYTES = 6  # for each pixel of each frame: the middle block's 384 channels of a latent cell
# One decoding and three encodings: pose, condition, background
VAE_SECONDS_A_PIXEL = (3.09 + 3 * 1.92) / (77 * 832 * 480)
SHORT_VAE = 0.57  # of float32's seconds in bfloat16
BANDS_COST = 0.55  # of each pixel that is made twice: 4 bands make 1.62 times the pixels in 1.34 times the time
MOST_BANDS = 20
# Steps of 32,760 and 75,600 tokens took 3.51 and 12.6 s; compiled with flash3 2.60 and 9.98 s, with products in fp8 2.17 and
# 9.00 s: what grows with tokens, and what grows with their square. sdpa compiled 2.89 s, flash3_fp8 1.88 s, both of 32,760
SECONDS_A_TOKEN = {"plain": 5.78e-5, "compiled": 3.88e-5, "fp8": 2.58e-5}
SECONDS_A_PAIR = {"sdpa": 1.506e-9, "flash3": 1.233e-9, "flash3_fp8": 0.96e-9}
STREAMING_COST = 1.01  # 0.329 s beside 0.326 s for blocks that arrive in time
BYTES_A_SECOND = 20e9  # from pinned host memory, PCIe 4 x16; an H100's PCIe 5 does twice that
STEPS = 20  # of a segment, where it is to be decided what costs more
SPEED = {(8, 0): 0.32, (8, 6): 0.08, (8, 9): 0.17, (9, 0): 1.0, (10, 0): 1.8, (12, 0): 0.21}  # dense bf16, H100 is 1
SLOWEST = 0.07  # a card before Ampere
WIDENED = 0.6 * GIB  # a matrix of 5120 x 13824 while its 8 bits are widened: float32, twice, and bfloat16
NEXT = 0.85  # of the memory that the plan before was to take, after it was too much: estimates err by up to 15 %
EIGHT_BIT_SHARE = 0.5  # of bfloat16's bytes; norms and biases are a thousandth of a block
TEXT_LAYERS, IMAGE_LAYERS = (
    ("to_k", "norm_k", "to_v"),
    ("add_k_proj", "norm_added_k", "add_v_proj"),
)  # keys, norm, values
KEYS = tuple(
    f"attn2.{name}." for name in (*TEXT_LAYERS, *IMAGE_LAYERS)
)  # of a block: used once a run, they do not travel
QUANTISED_SHARE = 0.75  # of the bytes of plain numbers: fewer, and the file's blocks are quantised


class Machine(NamedTuple):
    """What a machine has to give.

    Attributes:
        gpu: bytes free on the GPU; None: there is none, and the host's memory is all.
        host: bytes of host memory that are free.
        capability: of the GPU, (9, 0) for an H100.
    """

    gpu: int | None
    host: int
    capability: tuple[int, int] = (9, 0)


class Clip(NamedTuple):
    """What a segment asks for: its frames and its size in pixels."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Tokens of the transformer, the reference's among them."""
        return ((self.frames - 1) // 4 + 2) * (self.height // 16) * (self.width // 16)

    @property
    def pixels(self) -> int:
        return self.height * self.width


class Pace(NamedTuple):
    """Seconds of a step on one H100 for each token, and for each pair of tokens that attention looks at."""

    token: float = SECONDS_A_TOKEN["plain"]
    pair: float = SECONDS_A_PAIR["sdpa"]


class Needs(NamedTuple):
    """What checkpoint and clip need.

    Attributes:
        clip: a segment.
        num_blocks: of the transformer.
        block: bytes of the largest block, as it is held.
        rest: bytes of the transformer besides its blocks.
        text, image, vae: bytes of these networks.
        keys: bytes of the layers of a block that make keys and values of text and image: they do not travel.
        lora: bytes of LoRAs, which stay beside weights that are quantised in their files.
        is_quantised: whether the blocks' weights are in 8 bits or GGUF's blocks in their file already.
        width, vae_width: channels of transformer and VAE, which what they compute grows with.
        passes: of the transformer in a step: 2 with guidance.
        is_compiled: whether blocks are compiled.
        vae_itemsize: bytes of a number of the VAE: 4, or 2 in bfloat16.
        pace: how quickly the blocks compute.
    """

    clip: Clip
    num_blocks: int
    block: int
    rest: int
    text: int
    image: int
    vae: int
    keys: int = 0
    lora: int = 0
    is_quantised: bool = False
    width: int = WIDTH
    vae_width: int = VAE_WIDTH
    passes: int = 1
    is_compiled: bool = False
    pace: Pace = Pace()
    vae_itemsize: int = 4


class Wishes(NamedTuple):
    """What the settings ask for; names and values as in `config.GenerateSettings`."""

    offload: str = "auto"
    quantization: str = "none"


AS_THEY_ARE = Wishes()
CARDS = {  # free of the GPU (a GiB is taken) and of the host, of machines that people have
    "RTX 3060, 12 GB": Machine(11 * GIB, 28 * GIB, (8, 6)),
    "RTX 4060 Ti, 16 GB": Machine(15 * GIB, 60 * GIB, (8, 9)),
    "RTX 4090, 24 GB": Machine(23 * GIB, 60 * GIB, (8, 9)),
    "RTX 5090, 32 GB": Machine(31 * GIB, 60 * GIB, (12, 0)),
    "L40S, 48 GB": Machine(44 * GIB, 120 * GIB, (8, 9)),
    "H100, 80 GB": Machine(78 * GIB, 120 * GIB, (9, 0)),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a clip is generated, and what that is expected to take.

    Attributes:
        offload: none, or blocks: those of the transformer that do not stay lie in pinned host memory and travel.
        resident: how many blocks stay on the GPU.
        num_blocks: how many there are.
        quantization: of plain weights when they are loaded: none, fp8 or int8.
        vae_bands: in how many bands the VAE makes an image.
        text_stays: whether the text encoder is on the GPU as a whole; else each of its layers comes when it is used.
        text_beside: whether it is so beside the transformer too, for prompts that come later.
        gpu_bytes, host_bytes: at their peak; files that are mapped do not count.
        step_seconds: of a denoising step.
        vae_seconds: of encoding and decoding a segment.
        fits: whether this is within the machine's memory.
    """

    offload: str = "none"
    resident: int = 0
    num_blocks: int = 0
    quantization: str = "none"
    vae_bands: int = 1
    text_stays: bool = True
    text_beside: bool = True
    gpu_bytes: int = 0
    host_bytes: int = 0
    step_seconds: float = 0.0
    vae_seconds: float = 0.0
    fits: bool = True

    def describe(self) -> str:
        """Return the plan as a sentence."""
        stay = "all weights stay on the GPU"
        if self.offload == "blocks":
            away = self.num_blocks - self.resident
            stay = f"{away} of {self.num_blocks} blocks travel from host memory, {self.resident} stay on the GPU"
        parts = [
            stay,
            *([f"weights in {self.quantization}"] if self.quantization != "none" else []),
            f"the VAE in {self.vae_bands} bands" if self.vae_bands > 1 else "the VAE whole",
            *([] if self.text_stays else ["the text encoder layer by layer"]),
        ]
        need = f"about {self.gpu_bytes / GIB:.1f} GiB of the GPU, {self.host_bytes / GIB:.1f} GiB of host memory"
        short = (
            "" if self.fits else "; that is more than is free: use a smaller resolution, or quantization fp8 or int8"
        )
        return f"memory: {', '.join(parts)}; {need}, {self.step_seconds:.1f} s a step{short}"

    def seconds(self, num_steps: int = STEPS) -> float:
        """Return the seconds of a segment of so many denoising steps."""
        return num_steps * self.step_seconds + self.vae_seconds

    def facts(self) -> dict[str, Any]:
        """Return the plan for a manifest."""
        rounded = {name: round(getattr(self, name), 2) for name in ("step_seconds", "vae_seconds")}
        return {**dataclasses.asdict(self), **rounded}

    def is_like(self, other: Plan) -> bool:
        """Return whether networks loaded by the other plan can be used as they are; bands are no matter of loading."""
        return self._how() == other._how()

    def _how(self) -> tuple[Any, ...]:
        return self.offload, self.resident if self.offload == "blocks" else None, self.quantization


def choose(machine: Machine, needs: Needs, wishes: Wishes = AS_THEY_ARE) -> Plan:
    """Return the plan that is expected to be the fastest of those that fit; where none does, the one that takes least.

    Args:
        machine: what is free.
        needs: what is to be held and computed.
        wishes: with offload `none` all blocks stay, with `blocks` all travel, with `auto` as many as must.
    """
    plans = list(_plans(machine, needs, wishes))
    fitting = [plan for plan in plans if plan.fits]
    if fitting:
        return min(fitting, key=lambda plan: (plan.seconds(), plan.vae_bands, plan.num_blocks - plan.resident))
    return min(plans, key=lambda plan: (_excess(machine, plan), plan.seconds()))


def cheaper(plan: Plan, machine: Machine, needs: Needs, wishes: Wishes = AS_THEY_ARE) -> Plan | None:
    """Return the plan to try after one that took more memory of the GPU than was there; None: there is none."""
    most = plan.gpu_bytes if machine.gpu is None else min(plan.gpu_bytes, machine.gpu)
    found = choose(machine._replace(gpu=int(most * NEXT)), needs, wishes._replace(offload="auto"))
    has_room = found.offload == "none" or found.host_bytes <= machine.host
    return found if found.gpu_bytes < plan.gpu_bytes and has_room else None


def _plans(machine: Machine, needs: Needs, wishes: Wishes) -> Iterator[Plan]:
    count = needs.num_blocks
    residents = {"none": [count], "blocks": [0]}.get(wishes.offload, range(count, -1, -1))
    bands = [1] if machine.gpu is None else range(1, most_bands(needs.clip) + 1)
    if machine.gpu is None and wishes.offload == "auto":
        residents = [count]
    for resident, number in itertools.product(residents, bands):
        yield _plan(machine, needs, wishes.quantization, resident, number)


def most_bands(clip: Clip) -> int:
    """Return how many bands are of use: thinner than their margins they take no less."""
    return max(1, min(MOST_BANDS, max(clip.height, clip.width) // 8 // 8))


def _plan(machine: Machine, needs: Needs, quantization: str, resident: int, bands: int) -> Plan:
    """Return a plan with what it is expected to take."""
    away = needs.num_blocks - resident
    shrinks = quantization != "none" and not needs.is_quantised
    share_kept = EIGHT_BIT_SHARE if shrinks else 1
    is_quantised = shrinks or needs.is_quantised
    lora = needs.lora // max(1, needs.num_blocks) if needs.is_quantised else 0
    keys = int(needs.keys * share_kept)
    block = int(needs.block * share_kept) + lora - (keys if away else 0)
    held = needs.rest + (resident + min(away, 2)) * block  # two slots that blocks arrive in
    scale, clip = needs.width / WIDTH, needs.clip
    tokens = TEXT_LENGTH * needs.passes + IMAGE_TOKENS
    seen = 2 * 2 * tokens * needs.width * needs.num_blocks  # keys and values, bfloat16
    working = BYTES_A_TOKEN[needs.is_compiled] * clip.tokens * scale
    working += WIDENED * scale**2 * (is_quantised and not needs.is_compiled)
    image = 0 if away else needs.image  # it is dropped after use where weights travel
    stages = {
        "denoising": held + image + needs.vae + seen + FACES * scale * needs.passes + working,
        "decoding": held + image + needs.vae + seen + _vae_bytes(needs, bands),
        "image": needs.image,
    }
    peak = int(max(stages.values()) + KEPT_FREE)
    on_gpu = machine.gpu is not None and needs.text + KEPT_FREE <= machine.gpu
    if on_gpu:
        peak = max(peak, int(needs.text + KEPT_FREE))
    beside = on_gpu and machine.gpu is not None and held + needs.vae + seen + needs.text + KEPT_FREE <= machine.gpu
    changed = shrinks or needs.lora  # what files have as it is stays in them, mapped
    host = int(away * block + (needs.num_blocks * keys if changed and away else 0) + HOST_KEPT_FREE)
    step = _step_seconds(machine, needs, scale, away * block)
    vae = VAE_SECONDS_A_PIXEL * clip.pixels * clip.frames / _speed(machine)
    vae *= SHORT_VAE if needs.vae_itemsize == 2 else 1
    again = 1 + BANDS_COST * (bands * share(clip, bands) - 1)
    fits = (machine.gpu is None or peak <= machine.gpu) and (not away or host <= machine.host)
    return Plan(
        "blocks" if away else "none", resident, needs.num_blocks, quantization if shrinks else "none", bands,
        on_gpu, beside, peak, host, step, vae * again, fits,
    )  # fmt: skip


def share(clip: Clip, bands: int) -> float:
    """Return which share of the image is in the largest band with its margins, of 8 latent cells on either side."""
    cells = max(clip.height, clip.width) // 8
    sides = 0 if bands == 1 else 8 if bands == 2 else 16
    return min(1.0, (math.ceil(cells / bands) + sides) / cells)


def _vae_bytes(needs: Needs, bands: int) -> float:
    """Return what decoding a segment takes beside the VAE's weights."""
    clip, scale = needs.clip, needs.vae_width / VAE_WIDTH
    features = WHOLE_BYTES_A_PIXEL if bands == 1 else BAND_BYTES_A_PIXEL * share(clip, bands)
    features += MIDDLE_BYTES * clip.frames
    video = VIDEO_BYTES * min(2, bands) * clip.frames
    return (features * scale * needs.vae_itemsize / 4 + video) * clip.pixels


def _step_seconds(machine: Machine, needs: Needs, scale: float, travelling: int) -> float:
    """Return the seconds of a denoising step: computing, or waiting for blocks where that takes longer."""
    tokens = needs.clip.tokens
    computed = (needs.pace.token * tokens * scale**2 + needs.pace.pair * tokens**2 * scale) / _speed(machine)
    return needs.passes * (max(computed * STREAMING_COST, travelling / BYTES_A_SECOND) if travelling else computed)


def pace(attention: str, fp8_products: bool, compiled: bool) -> Pace:
    """Return the seconds that a step takes for each token and each pair of them, on one H100; arguments as of `kernels.Ways`."""
    tokens = SECONDS_A_TOKEN["plain" if not compiled else "fp8" if fp8_products else "compiled"]
    return Pace(tokens, SECONDS_A_PAIR.get(attention, SECONDS_A_PAIR["sdpa"]))


def _speed(machine: Machine) -> float:
    known = [speed for capability, speed in SPEED.items() if capability <= machine.capability]
    return known[-1] if known else SLOWEST


def _excess(machine: Machine, plan: Plan) -> int:
    """Return by how many bytes a plan takes more than there is."""
    over_gpu = 0 if machine.gpu is None else max(0, plan.gpu_bytes - machine.gpu)
    return over_gpu + (max(0, plan.host_bytes - machine.host) if plan.offload == "blocks" else 0)


def here(device: str, gpu_memory_gb: float | None = None, ours: int = 0) -> Machine:
    """Return what is free on this machine; on a CPU `gpu_memory_gb` stands for a GPU's memory, for tests.

    Args:
        device: cuda or cpu.
        gpu_memory_gb: what may be used of the GPU, 10^9 bytes each; None: all that is free.
        ours: bytes of host memory that this process holds and would give back.
    """
    import psutil
    import torch

    host = psutil.virtual_memory().available + ours
    cap = None if gpu_memory_gb is None else int(gpu_memory_gb * 1e9)
    if device != "cuda":
        return Machine(cap, host)
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()  # what this process holds it can use again
    return Machine(free if cap is None else min(free, cap), host, torch.cuda.get_device_capability())


def cap(gpu_memory_gb: float | None) -> None:
    """Let torch take no more of the GPU than this, 10^9 bytes each; None: all of it. It grows without gaps, and pins quickly."""
    import torch

    if not any(name in os.environ for name in ALLOCATOR):
        known = getattr(torch._C, "_accelerator_setAllocatorSettings", None)  # its name since torch 2.10
        with contextlib.suppress(RuntimeError, ValueError):  # another torch may lack one: a matter of room and speed
            (known or torch.cuda.memory._set_allocator_settings)(ALLOCATION)
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (gpu_memory_gb or math.inf) * 1e9 / total))


def needs(parts: Mapping[str, Sequence[Path]], clip: Clip, plain: int, loras: Iterable[Path] = (), **how: Any) -> Needs:
    """Return what a checkpoint needs by the headers of its files.

    Args:
        parts: of the checkpoint, as `parts.of` gives them.
        clip: a segment.
        plain: bytes of a number whose type is not kept: 2 on a GPU (bfloat16), else 4.
        loras: their files.
        how: passes, is_compiled, pace and vae_itemsize, as of `Needs`.
    """
    from wanlab.model import loading

    shapes = loading.shapes("transformer", tuple(parts["transformer"]))
    sizes = loading.sizes("transformer", tuple(parts["transformer"]), plain)
    blocks, keys = collections.Counter[str](), collections.Counter[str]()
    for name, size in sizes.items():
        if name.startswith("blocks."):
            _, number, layer = name.split(".", 2)
            blocks[number] += size
            keys[number] += size * layer.startswith(KEYS)
    numbers = sum(math.prod(shapes[name]) for name in sizes if name.startswith("blocks."))
    whole = {
        name: sum(loading.sizes(name, tuple(parts[name]), plain).values()) for name in ("text_encoder", "image_encoder")
    }
    vae = loading.sizes("vae", tuple(parts["vae"]), how.get("vae_itemsize", 4))
    return Needs(
        clip,
        len(blocks),
        max(blocks.values()),
        sum(sizes.values()) - sum(blocks.values()),
        whole["text_encoder"],
        whole["image_encoder"],
        sum(vae.values()),
        min(keys.values()),
        sum(file.stat().st_size for file in loras),
        sum(blocks.values()) < QUANTISED_SHARE * plain * numbers,
        shapes["patch_embedding.weight"][0],
        loading.shapes("vae", tuple(parts["vae"]))["encoder.conv_in.weight"][0],
        **how,
    )
