"""A checkpoint of the real size with random weights: written, loaded by wanlab, two steps run; time and memory as JSON.

    python benchmarks/full_size.py                          # on a GPU: 17.3 B parameters, official folder, then fp8-scaled files
    python benchmarks/full_size.py --frames 9 --layouts fp8
    python benchmarks/full_size.py --layouts official --loras 64,128 --runs "--offload none; --gpu_memory_gb 11.81; \
        --gpu_memory_gb 11.81 --quantization fp8; --gpu_memory_gb 16.11 --height 720 --width 1280"   # as on smaller cards
    python benchmarks/full_size.py --toy                    # does it run? on a CPU, 3 million parameters

The official folder takes 48 GB of disk, the fp8-scaled files 27 GB; each is deleted before the next is written. Writing, and loading with
the run, are processes of their own: what one holds is not counted with the other. Values mean nothing; shapes, types and names
are those of the real files (tests/golden/13_model), without CLIP's text half.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wanlab import config  # noqa: E402
from wanlab.model import (  # noqa: E402
    attention,
    checkpoints,
    kernels,
    layouts,
    loading,
    memory,
    networks,
    parts,
    sampling,
    segments,
)

GOLDEN = ROOT / "tests" / "golden" / "13_model"
PARTS = {"transformer": "transformer", "vae": "vae", "text_encoder": "t5", "image_encoder": "clip"}  # golden's names
SHARDS = 4
BYTES_A_PARAMETER = {"official": 2.1, "fp8": 1.25}  # of disk, with some to spare
DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.float8_e4m3fn: "F8_E4M3"}
STORED = {
    "transformer": torch.bfloat16,
    "vae": torch.float32,
    "text_encoder": torch.bfloat16,
    "image_encoder": torch.float16,
}
FP8 = {
    "transformer": r"^blocks\..*\.weight$",
    "text_encoder": r"^encoder\.block\..*(SelfAttention\.[qkvo]|DenseReluDense\.w\w+)\.weight$",
}
EIGHT_BIT_MAX = 448.0  # of e4m3fn
PLAN = ("gpu_memory_gb", "offload", "quantization", "attention")  # what a run is planned by
TOY = {
    "transformer": {
        "num_attention_heads": 4, "attention_head_dim": 32, "ffn_dim": 256, "num_layers": 5, "text_dim": 64,
        "added_kv_proj_dim": 128, "face_encoder_hidden_dim": 64,
    },
    "vae": {"base_dim": 16},
    "text_encoder": {"vocab_size": 512, "d_model": 64, "d_kv": 16, "num_heads": 4, "d_ff": 160, "num_layers": 3},
    "image_encoder": {"num_hidden_layers": 3},
}  # fmt: skip


class Spec(NamedTuple):
    """A tensor that is to be written: its name, type, shape, and what makes it."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]


def main() -> None:
    args = arguments()
    if args.write:
        write(args.write, args.layout, args.toy)
        write_loras(args.write, args.loras)
    elif args.measure:
        print(json.dumps(measure(args.measure, args)))
    else:
        for layout in args.layouts.split(","):
            for found in each(layout, args):
                print(json.dumps(found), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layouts", default="official,fp8", help="official, fp8 or both [official,fp8]")
    parser.add_argument("--frames", type=int, default=77, help="4n + 1 [77]")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--toy", action="store_true", help="narrow networks")
    parser.add_argument("--gpu_memory_gb", type=float, help="plan for this much of the GPU, and take no more")
    parser.add_argument("--offload", default="auto", help="auto, none or blocks, where a plan is made [auto]")
    parser.add_argument("--quantization", default="none", help="none, fp8 or int8, where a plan is made [none]")
    parser.add_argument("--attention", help="a kernel [the best that is here]")
    parser.add_argument("--no_compile", action="store_true", help="leave the blocks as they are")
    parser.add_argument("--loras", default="", help="ranks of LoRAs for all matrices of the blocks, e.g. 64,128")
    parser.add_argument(
        "--runs", default="", help="more of these options for one run after the other, between semicolons"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder without")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--layout", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def each(layout: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Write a checkpoint, run it once or several times, delete it; yield what was measured."""
    place = Path(tempfile.mkdtemp(prefix="full_size_", dir=args.folder))
    own = [sys.executable, __file__, "--layout", layout, *(["--toy"] if args.toy else [])]
    try:
        start = time.time()
        subprocess.run([*own, "--loras", args.loras, "--write", str(place)], check=True)
        written = time.time() - start
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        shape = ["--frames", args.frames, "--height", args.height, "--width", args.width, "--steps", args.steps]
        plan = [f"--{name}={getattr(args, name)}" for name in PLAN if getattr(args, name) is not None]
        plan += ["--no_compile"] if args.no_compile else []
        for run in args.runs.split(";"):
            command = [*own, *map(str, shape), *plan, *shlex.split(run), "--measure", str(place)]
            done = subprocess.run([*command, "--started", str(time.time())], stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.returncode}
            yield {
                "layout": layout,
                "run": run.strip(),
                "seconds_to_write": round(written, 1),
                "bytes_on_disk": size,
                **found,
            }
    finally:
        shutil.rmtree(place)


def write(place: Path, layout: str, toy: bool) -> None:
    """Write a checkpoint: the official folder, or single fp8-scaled files and the params file that names them."""
    torch.manual_seed(0)
    specs = {part: list(_specs(part, toy)) for part in PARTS}
    count = sum(math.prod(spec.shape) for each in specs.values() for spec in each)
    free = shutil.disk_usage(place).free
    if free < count * BYTES_A_PARAMETER[layout]:
        sys.exit(f"{place} must have {count * BYTES_A_PARAMETER[layout] / 1e9:.0f} GB free, it has {free / 1e9:.0f} GB")
    if layout == "official":
        _write_official(place, specs)
    else:
        for part, each in specs.items():
            safetensors(place / f"{part}.safetensors", _eight_bits(part, each) if part in FP8 else each)
        names = "".join(f"{part}: {place}/{part}.safetensors\n" for part in PARTS)
        (place / "models.yaml").write_text(f"{names}tokenizer: {place}/tokenizer\n", encoding="utf-8")
        _write_tokenizer(place / "tokenizer")


def _write_official(place: Path, specs: dict[str, list[Spec]]) -> None:
    transformer, index = specs["transformer"], {}
    total, so_far = sum(math.prod(spec.shape) for spec in transformer), 0
    shards: list[list[Spec]] = [[] for _ in range(SHARDS)]
    for spec in transformer:
        shards[so_far * SHARDS // total].append(spec)
        so_far += math.prod(spec.shape)
    for number, shard in enumerate(shards, 1):
        name = f"diffusion_pytorch_model-{number:05d}-of-{SHARDS:05d}.safetensors"
        safetensors(place / name, shard)
        index |= dict.fromkeys((spec.name for spec in shard), name)
    (place / parts.SHARDS).write_text(json.dumps({"weight_map": index}), encoding="utf-8")
    for part, name in (
        ("vae", parts.VAE),
        ("text_encoder", parts.TEXT_ENCODER),
        ("image_encoder", parts.IMAGE_ENCODER),
    ):
        torch.save({spec.name: spec.make().cpu() for spec in specs[part]}, place / name)
    _write_tokenizer(place / parts.TOKENIZER)


def safetensors(path: Path, specs: list[Spec]) -> None:
    """Write tensors one after the other: none is held longer than it takes."""
    header: dict[str, Any] = {}
    end = 0
    for spec in specs:
        size = math.prod(spec.shape) * spec.dtype.itemsize
        header[spec.name] = {"dtype": DTYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for spec in specs:
            made = spec.make().to(spec.dtype).contiguous()
            file.write(made.reshape(-1).view(torch.uint8).cpu().numpy().data)


def _specs(part: str, toy: bool) -> Iterator[Spec]:
    """Yield the tensors of a part under their official names, of fp8 files of the text encoder too (rules take either)."""
    network = loading.empty(part, **(TOY[part] if toy else {}))
    wanted = {name: tuple(each.shape) for name, each in network.named_parameters()}
    seen: set[str] = set()
    for name in _official_names(part, wanted):
        names = layouts.renamed(part, name)
        if not names:
            yield Spec(name, torch.float32, (4, 4), lambda: torch.full((4, 4), 1 / 16))
            continue
        rows, *rest = wanted[names[0]]
        shape = (rows * len(names), *rest)
        seen |= set(names)
        yield Spec(name, STORED[part], shape, lambda n=name, s=shape: _random(n, s).to(STORED[part]))
    missing = {name for name in wanted if not name.endswith("embed_tokens.weight")} - seen
    assert not missing, sorted(missing)[:4]


def _official_names(part: str, wanted: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """Yield golden 13's names of a part with as many layers as the network has."""
    known = json.loads((GOLDEN / f"{PARTS[part]}.json").read_text(encoding="utf-8"))["keys"]
    for name in known:
        layer = re.match(r"(blocks|face_adapter\.fuser_blocks|visual\.transformer)\.(\d+)\.", name)
        if layer is None:
            if part != "image_encoder" or layouts.renamed(part, name):
                yield name
        elif layer[2] == "0":
            for number in range(10_000):
                again = f"{layer[1]}.{number}.{name[layer.end() :]}"
                if layouts.renamed(part, again)[0] not in wanted:
                    break
                yield again


def _random(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return weights that keep what flows through at a usual size."""
    made = torch.randn(shape, dtype=torch.float32, device="cuda" if torch.cuda.is_available() else "cpu")
    if name.endswith("modulation"):
        return made * 0.3
    if math.prod(shape) == max(shape):  # norms and biases
        is_norm = not name.endswith("bias") and re.search(r"norm|gamma|img_emb\.proj\.[04]\.", name)
        return 1 + made * 0.1 if is_norm else made * 0.1
    if name.startswith("motion_encoder.") or "embedding" in name.rsplit(".", 2)[-2]:
        return made if name.startswith(("motion", "token")) else made * 0.1
    return made / math.prod(shape[1:]) ** 0.5


def _eight_bits(part: str, specs: Iterable[Spec]) -> list[Spec]:
    """Return the tensors with the matrices of blocks in 8 bits and their scales, as Kijai's and ComfyUI's files have them."""
    found = []
    for spec in specs:
        own = layouts.renamed(part, spec.name)
        name = spec.name if part == "transformer" or not own else own[0]  # ComfyUI's UMT5 has transformers' names
        if not re.search(FP8[part], name) or len(spec.shape) != 2 or math.prod(spec.shape) == max(spec.shape):
            found.append(spec._replace(name=name))
            continue
        scale = torch.empty(1)

        def numbers(make: Callable[[], Tensor] = spec.make, scale: Tensor = scale) -> Tensor:
            made = make().float()
            scale.copy_((made.abs().max() / EIGHT_BIT_MAX).cpu())
            return (made / scale.item()).clamp(-EIGHT_BIT_MAX, EIGHT_BIT_MAX)

        found.append(Spec(name, torch.float8_e4m3fn, spec.shape, numbers))
        found.append(Spec(f"{name.removesuffix('.weight')}.scale_weight", torch.float32, (1,), lambda s=scale: s))
    return [*found, Spec("scaled_fp8", torch.float8_e4m3fn, (0,), lambda: torch.empty(0))]


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    folder.mkdir(parents=True)
    Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>")).save(
        str(folder / "tokenizer.json")
    )
    words = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **words}))


class Clip:
    """Conditions of animate: moving stripes as pose, noise as face and reference."""

    mode = "animate"

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def reference_image(self) -> np.ndarray:
        return np.random.default_rng(1).integers(0, 256, (self.height, self.width, 3), np.uint8)

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        if name == "face_video":
            return np.random.default_rng(2).integers(0, 256, (len(indices), 512, 512, 3), np.uint8)
        found = np.zeros((len(indices), self.height, self.width, 3), np.uint8)
        for t, index in enumerate(indices):
            found[t, :, 4 * index : 4 * index + 40] = (200, 40, 90)
        return found

    def fingerprint(self, name: str) -> str:
        return name

    def mask(self, indices: np.ndarray) -> np.ndarray:
        raise NotImplementedError("animate has no mask")


class Watch(threading.Thread):
    """Follows how much memory this process holds that is no file's: anonymous, and shared with the driver."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = {"RssAnon": 0, "RssShmem": 0}

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.02)

    def look(self) -> dict[str, int]:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
        now = {name: int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) * 1024 for name in self.peak}  # type: ignore[index]
        self.peak = {name: max(self.peak[name], value) for name, value in now.items()}
        return now


def measure(place: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Load a checkpoint as wanlab does, run some steps; return seconds and bytes."""
    marks, peaks = {"imported": time.time() - args.started}, dict[str, int]()
    watch = Watch()
    watch.look()
    before = watch.peak["RssAnon"]
    watch.start()
    named = place / "models.yaml"
    checkpoint = checkpoints.find(named if named.is_file() else place)
    device = networks.default_device()
    loaded: list[dict[str, Any]] = []
    load = loading.load

    def timed(component: str, files: Iterable[Path], *how: Any, **more: Any) -> Any:
        start = time.time()
        network = load(component, files, *how, **more)
        _synchronize()
        size = sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
        loaded.append({"component": component, "seconds": round(time.time() - start, 2), "bytes": size})
        return network

    loading.load = timed
    loras = [(file, 0.5) for file in sorted(place.glob("lora*.safetensors"))]
    made = networks.Networks(checkpoint.folder, device)
    made.take(loras)
    ways = _ways(device, args)
    made.compute(ways)
    planned = _plan(made, checkpoint.folder, args, [file for file, _ in loras], ways)
    marks["planned"] = time.time() - args.started
    if device == "cuda":
        made.prepare()
    for name in ("encode_text", "encode_image", "encode", "decode"):
        setattr(made, name, _marked(getattr(made, name), name, marks, peaks, args.started))
    steps: list[float] = []
    denoise = made.denoise

    def stepped(*given: Tensor) -> Tensor:
        made._transformer  # noqa: B018 (loaded before the clock runs)
        marks.setdefault("transformer loaded", time.time() - args.started)
        made._denoiser  # noqa: B018
        _synchronize()
        marks.setdefault("transformer ready", time.time() - args.started)
        first.setdefault("begins", time.time() - args.started)
        start = time.time()
        result = denoise(*given)
        _synchronize()
        steps.append(round(time.time() - start, 2))
        _note_peak(peaks, "denoise")
        return result

    first: dict[str, float] = {}
    made.denoise = stepped  # type: ignore[method-assign]
    plan = segments.make_plan(args.frames, args.frames, 1)
    sampler = sampling.SamplerSettings(config.PROMPT, args.steps, 1.0, 5.0, 42)
    (result,) = sampling.generate_segments(made, Clip(args.height, args.width), plan, sampler)
    stats = getattr(torch.cuda, "host_memory_stats", dict)() if device == "cuda" else {}
    return {
        "frames": args.frames,
        "size": f"{args.width}x{args.height}",
        "plan": planned,
        "seconds_to_first_step": round(first["begins"], 1),
        "seconds_of_steps": steps,
        "reached_after_seconds": {name: round(seconds, 1) for name, seconds in marks.items()},
        "computed_by": ways._asdict(),
        "not_compiled": made.compile_failure,
        "seconds_in_all": round(time.time() - args.started, 1),
        "loaded": loaded,
        "peak_host_anonymous_bytes": watch.peak["RssAnon"],
        "of_it_before_loading": before,
        "peak_host_shared_bytes": watch.peak["RssShmem"],
        "peak_host_pinned_bytes": stats.get("allocated_bytes.peak"),
        "peak_gpu_bytes": max(peaks.values()),
        "peak_gpu_bytes_of": peaks,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "output": {"mean": round(float(result.frames.mean()), 2), "deviation": round(float(result.frames.std()), 2)},
    }


def _marked(
    work: Callable[..., Any], name: str, marks: dict[str, float], peaks: dict[str, int], started: float
) -> Callable[..., Any]:
    """Return the work; after each call it is noted when it was done, and how much of the GPU was held at its peak."""

    def done(*given: Any) -> Any:
        result = work(*given)
        _synchronize()
        marks[name] = time.time() - started
        _note_peak(peaks, name)
        return result

    return done


def _note_peak(peaks: dict[str, int], name: str) -> None:
    """Keep the most bytes of the GPU that were held since the last note."""
    now = 0
    if torch.cuda.is_available():
        now = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    peaks[name] = max(peaks.get(name, 0), now)


def _ways(device: str, args: argparse.Namespace) -> kernels.Ways:
    """Return how a run computes on this machine."""
    if device != "cuda":
        return kernels.Ways()
    best = attention.best(torch.cuda.get_device_capability(), attention.installed())
    return kernels.Ways(args.attention or best, args.quantization == "fp8", not args.no_compile)


def _plan(
    made: networks.Networks, folder: Path, args: argparse.Namespace, loras: list[Path], ways: kernels.Ways
) -> dict[str, Any] | None:
    """Have the networks follow a plan, as a run does; none where nothing asks for one."""
    wishes = memory.Wishes(args.offload, args.quantization)
    if made.device.type == "cpu" and args.gpu_memory_gb is None and wishes == memory.Wishes():
        return None
    clip = memory.Clip(args.frames, args.height, args.width)
    how = {"is_compiled": ways.compiled, "pace": memory.pace(ways.attention, ways.fp8_products, ways.compiled)}
    needs = memory.needs(parts.of(folder), clip, made.dtype.itemsize, loras, **how)
    if made.device.type == "cuda":
        memory.cap(args.gpu_memory_gb)
    plan = memory.choose(memory.here(made.device.type, args.gpu_memory_gb), needs, wishes)
    print(plan.describe(), file=sys.stderr, flush=True)
    made.follow(plan)
    return plan.facts()


def write_loras(place: Path, ranks: str) -> None:
    """Write a LoRA of each rank for all matrices of the blocks of a checkpoint that was written."""
    named = place / "models.yaml"
    folder = checkpoints.find(named if named.is_file() else place).folder
    shapes = loading.shapes("transformer", parts.of(folder)["transformer"])
    matrices = {name: shape for name, shape in shapes.items() if name.startswith("blocks.") and len(shape) == 2}
    for number, rank in enumerate(map(int, filter(None, ranks.split(",")))):
        specs = []
        for name, (rows, columns) in matrices.items():
            layer = f"transformer.{name.removesuffix('.weight')}"
            for end, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                specs.append(Spec(f"{layer}.lora_{end}.weight", torch.bfloat16, shape, _small(shape)))
        safetensors(place / f"lora{number}.safetensors", specs)


def _small(shape: tuple[int, ...]) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape) * 0.01


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
