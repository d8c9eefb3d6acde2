"""Golden 13: networks loaded from official and ComfyUI's files give what the official code gives."""

from __future__ import annotations

import concurrent.futures
import functools
import io
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import recipe
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wanlab import config
from wanlab.model import checkpoints, layouts, loading, lora, parts
from wanlab.model.networks import Networks
from wanlab.model.quantised import QuantisedLinear, hadamard

CPU = torch.device("cpu")
TOLERANCE = {"out": 1e-4, "vae": 2e-5, "t5": 2e-5, "clip": 1e-5, "motion_vec": 1e-5}  # of golden 13's README
CASES = {case["name"]: case for case in recipe.facts("transformer")["cases"]}


@functools.cache
def tensors(part: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in recipe.weights(part).items()}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the official folder at small width: the transformer in two shards, the others as torch.save writes them."""
    folder = tmp_path_factory.mktemp("official") / "small"
    folder.mkdir()
    whole = tensors("transformer")
    blocks = {name: each for name, each in whole.items() if name.startswith(("blocks.", "face_adapter."))}
    rest = {name: each for name, each in whole.items() if name not in blocks}
    index = {}
    for i, shard in enumerate((blocks, rest), 1):
        name = f"diffusion_pytorch_model-0000{i}-of-00002.safetensors"
        save_file(shard, folder / name)
        index |= dict.fromkeys(shard, name)
    (folder / parts.SHARDS).write_text(json.dumps({"weight_map": index}))
    for part, name in (("vae", parts.VAE), ("t5", parts.TEXT_ENCODER), ("clip", parts.IMAGE_ENCODER)):
        more = {"log_scale": torch.zeros(()), "textual.norm.bias": torch.zeros(8)} if part == "clip" else {}
        torch.save({**tensors(part), **more}, folder / name)
    tokenizer = folder / parts.TOKENIZER
    tokenizer.mkdir(parents=True)
    for path in (checkpoints.NANO / "tokenizer").iterdir():
        (tokenizer / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def networks(official: Path) -> Networks:
    """Return the networks of the official folder; the image encoder's heads, which shapes do not tell, are the golden's."""
    found = Networks(checkpoints.find(official).folder, "cpu")
    files = [official / parts.IMAGE_ENCODER]
    found.__dict__["_image_encoder"] = loading.load("image_encoder", files, CPU, torch.float32, num_attention_heads=4)
    return found


class Known(nn.Module):
    """Gives the official motion vectors in turn: computing them takes most of a case's time."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self.vectors = torch.from_numpy(vectors)
        self.done = 0

    def forward(self, pixels: Tensor, *_: Any) -> Tensor:
        start, self.done = self.done, self.done + len(pixels)
        return self.vectors[start : self.done]


def velocity(networks: Networks, case: dict[str, Any]) -> np.ndarray:
    """Return what the transformer says to the inputs of a golden case."""
    arrays = recipe.transformer_inputs(case)
    return networks.denoise(*map(torch.from_numpy, arrays), torch.tensor(case["timestep"])).numpy()


@pytest.fixture
def known(networks: Networks) -> Iterator[Callable[[str], None]]:
    """Return what puts the official motion vectors of a case in the motion encoder's place."""
    transformer = networks._transformer
    encoder = transformer.motion_encoder

    def put(name: str) -> None:
        transformer.motion_encoder = Known(recipe.expected("transformer")[f"{name}/motion_vec"])

    yield put
    transformer.motion_encoder = encoder


@pytest.mark.parametrize("name", CASES)
def test_the_official_transformer(networks: Networks, known: Callable[[str], None], name: str) -> None:
    known(name)
    expected = recipe.expected("transformer")[f"{name}/out"]
    np.testing.assert_allclose(velocity(networks, CASES[name]), expected, rtol=0, atol=TOLERANCE["out"])


def test_the_official_motion_encoder(networks: Networks) -> None:
    face = torch.full((1, 3, 512, 512), -1.0)
    with torch.inference_mode():
        found = networks._transformer.motion_encoder(face).numpy()
    expected = recipe.expected("transformer")["null_t500/motion_vec"][:1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE["motion_vec"])


def test_the_official_vae(networks: Networks) -> None:
    expected = recipe.expected("vae")
    facts = recipe.facts("vae")
    for case in facts["encode"]:
        film = recipe.image(f"in/vae/{case['name']}", case["frames"], case["height"], case["width"], case["cell"])
        found = networks.encode(torch.from_numpy(recipe.pixels(film)))
        np.testing.assert_allclose(found, expected[f"enc_{case['name']}/latent"], rtol=0, atol=TOLERANCE["vae"])
    for case in facts["decode"]:
        latents = torch.from_numpy(recipe.tensor(f"in/vae/{case['name']}", case["latent_shape"], 1.73205))
        pixels = expected[f"dec_{case['name']}/pixels"].clip(-1, 1)
        np.testing.assert_allclose(networks.decode(latents), pixels, rtol=0, atol=TOLERANCE["vae"])


@pytest.mark.parametrize("name", ["len37", "len150"])
def test_the_official_text_encoder(official: Path, name: str) -> None:
    encoder = loading.load("text_encoder", [official / parts.TEXT_ENCODER], CPU, torch.float32)
    np.testing.assert_allclose(features(encoder, name), recipe.expected("t5")[f"{name}/features"], rtol=0, atol=2e-5)


def features(encoder: Any, name: str) -> np.ndarray:
    """Return UMT5's features of a golden case's own tokens."""
    ids = torch.from_numpy(recipe.expected("t5")[f"{name}/ids"])[None].long()
    with torch.inference_mode():
        states = encoder(ids, (ids != 0).long()).last_hidden_state
    return states[0, : int((ids != 0).sum())].numpy()


def test_the_official_image_encoder(networks: Networks) -> None:
    expected = recipe.expected("clip")
    for case in recipe.facts("clip")["images"]:
        film = recipe.image(f"in/clip/{case['name']}", 1, case["height"], case["width"], case["cell"])
        found = networks.encode_image(torch.from_numpy(recipe.pixels(film)[:, 0]))[0].numpy()
        every = 1 if case["name"] == "wide" else 8
        np.testing.assert_allclose(found[::every], expected[f"{case['name']}/features"], rtol=0, atol=TOLERANCE["clip"])


def test_the_prompt_is_encoded_from_the_official_folder(networks: Networks) -> None:
    (state,) = networks.encode_text(["a dancer"])
    assert state.shape == (1, 512, 64)
    assert state[0, 0].abs().max() > 0
    assert not state[0, -1].any()  # zero behind the prompt


def test_norms_time_embedding_and_modulation_keep_full_precision(official: Path) -> None:
    network = loading.load("transformer", parts.of(official)["transformer"], CPU, torch.bfloat16)
    kept = {name for name, each in network.named_parameters() if each.dtype == torch.float32}
    assert {"scale_shift_table", "blocks.3.scale_shift_table", "blocks.3.norm2.weight"} <= kept
    assert {"condition_embedder.time_embedder.linear_1.weight", "motion_encoder.motion_synthesis_weight"} <= kept
    assert all(each.dtype == torch.bfloat16 for name, each in network.named_parameters() if name not in kept)
    assert network.get_parameter("blocks.0.attn1.to_q.weight").dtype == torch.bfloat16


def test_the_official_files_hold_exactly_the_networks_tensors(official: Path) -> None:
    for name, part in parts.of(official).items():
        if parts.COMPONENTS[name]:
            found = loading.contents(name, part)
            assert (found.num_tensors > 20, found.missing, found.unknown, found.misshapen) == (True, [], [], []), name


def test_a_tensor_that_is_missing_unknown_or_of_another_shape_is_named(tmp_path: Path) -> None:
    given = tensors("t5")
    name = "blocks.1.attn.k.weight"
    for change, said in (
        ({name: None}, "1 tensors are missing \\(encoder.block.1.layer.0.SelfAttention.k.weight\\)"),
        ({"blocks.1.attn.x.weight": given[name].clone()}, "1 tensors are not known"),
        ({name: given[name][:3].clone()}, r"1 tensors have another shape .*\[3, 64\] for \[64, 64\]"),
    ):
        changed = {key: each for key, each in {**given, **change}.items() if each is not None}
        save_file(changed, tmp_path / "t5.safetensors")
        with pytest.raises(ValueError, match=f"t5.safetensors must be UMT5's encoder: {said}"):
            loading.load("text_encoder", [tmp_path / "t5.safetensors"], CPU, torch.float32)


def test_another_network_is_refused(official: Path) -> None:
    with pytest.raises(ValueError, match="must be Wan-Animate's transformer, it has no tensor patch_embedding.weight"):
        loading.load("transformer", [official / parts.TEXT_ENCODER], CPU, torch.float32)


MEASURE = """
import json, sys, time
sys.path[:0] = sys.argv[1:2]
import full_size, torch
from pathlib import Path
from wanlab.model import checkpoints, loading, parts

place = Path(sys.argv[2])
full_size.TOY["transformer"] |= {"num_attention_heads": 16, "attention_head_dim": 128, "ffn_dim": 8192, "added_kv_proj_dim": 2048}
full_size.TOY["text_encoder"] |= {"vocab_size": 32768, "d_model": 1024, "d_kv": 64, "num_heads": 16, "d_ff": 4096, "num_layers": 12}
if sys.argv[3] == "write":
    full_size.write(place, sys.argv[4], True)
    sys.exit()
here = parts.of(place / "models.yaml" if sys.argv[4] == "fp8" else place)
watch = full_size.Watch()
loading.load("vae", here["vae"], torch.device("meta"), torch.float32)  # what is imported on the way is not counted
start = watch.look()["RssAnon"]
watch.start()
for part in ("transformer", "text_encoder"):
    loading.load(part, here[part], torch.device("meta"), torch.bfloat16)  # as on a GPU: nothing of the result is here
largest = sum(path.stat().st_size for path in here["transformer"])
print(json.dumps({"extra": watch.peak["RssAnon"] - start, "largest": largest}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["official", "fp8"])
def test_loading_holds_little_beside_what_it_loads(layout: str, tmp_path: Path) -> None:
    """The aim is the largest part and 4 GB; files are mapped, so that it is a few of its tensors."""
    own = [sys.executable, "-c", MEASURE, str(config.project_root() / "benchmarks"), str(tmp_path)]
    subprocess.run([*own, "write", layout], check=True)
    done = subprocess.run([*own, "load", layout], check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    print(found)
    assert found["largest"] > (0.9e9 if layout == "official" else 0.5e9)
    assert found["extra"] < 0.25 * found["largest"]


SINGLE = ("scale_weight", "weight_scale + comfy_quant", "weight_scale + header", "plain")


def eight_bits(facts: dict[str, Any], given: dict[str, Tensor], scaled: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, e4m3fn numbers and scale of the tensors that golden 13 has in 8 bits; their bytes are checked."""
    for name, how in facts["fp8_keys"].items():
        scale = torch.tensor(how["scale"] if scaled else 1.0)
        numbers = (given[name] / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
        if scaled:
            assert f"{zlib.crc32(numbers.view(torch.uint8).numpy().tobytes()):08x}" == how["crc32_of_bytes"], name
        yield name, numbers, scale


def written(place: Path, spelling: str, prefix: str, facts: dict[str, Any], given: dict[str, Tensor]) -> None:
    """Write a single file in one of ComfyUI's spellings."""
    found = {prefix + name: each.clone() for name, each in given.items()}
    metadata = {}
    for name, numbers, scale in eight_bits(facts, given, spelling != "plain"):
        found[prefix + name] = numbers
        layer = prefix + name.removesuffix(".weight")
        if spelling == "scale_weight":
            found |= {f"{layer}.scale_weight": scale.reshape(1), f"{layer}.scale_input": torch.ones(1)}
            found[f"{prefix}scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
        elif spelling.startswith("weight_scale"):
            found[f"{layer}.weight_scale"] = scale
            quant = {"format": "float8_e4m3fn"}
            if "comfy_quant" in spelling:
                found[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(quant).encode()), dtype=torch.uint8)
            else:
                metadata.setdefault(layer, quant)
    save_file(found, place, {"_quantization_metadata": json.dumps({"layers": metadata})} if metadata else None)


@pytest.mark.parametrize("spelling", SINGLE)
def test_a_single_file_in_8_bits(
    official: Path, tmp_path: Path, asked: Callable[[nn.Module], np.ndarray], spelling: str
) -> None:
    file, rest = tmp_path / "blocks.safetensors", parts.of(official)["transformer"][1]
    blocks = {
        name: each for name, each in tensors("transformer").items() if name.startswith(("blocks.", "face_adapter."))
    }
    written(file, spelling, "model.diffusion_model.", recipe.facts("layouts"), blocks)
    network = loading.load("transformer", [file, rest], CPU, torch.float32)
    assert network.get_submodule("blocks.3.attn1.to_q").numbers.dtype == torch.float8_e4m3fn  # it stays so
    expected = recipe.expected("layouts")["fp8_plain/out" if spelling == "plain" else "fp8_scaled/out"]
    np.testing.assert_allclose(asked(network), expected, rtol=0, atol=TOLERANCE["out"])


@pytest.fixture
def asked(official: Path) -> Callable[[nn.Module], np.ndarray]:
    """Return what asks a transformer for the velocity of the golden case face_t500, with its official motion vectors."""

    def ask(network: nn.Module) -> np.ndarray:
        found = Networks(official, "cpu")
        network.motion_encoder = Known(recipe.expected("transformer")["face_t500/motion_vec"])
        found.__dict__["_transformer"] = network
        return velocity(found, CASES["face_t500"])

    return ask


def as_gguf(folder: Path) -> list[Path]:
    """Write blocks and embeddings as ComfyUI's users have them: Q8_0, BF16, and float32 where GGUF has no blocks for a shape."""
    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(folder / "animate.gguf", "wan")
    for name, each in tensors("transformer").items():
        if not name.startswith(("motion_encoder.", "face_encoder.")):
            matrix = name.startswith(("blocks.", "face_adapter.")) and name.endswith("weight") and each.ndim == 2
            kind = kinds.Q8_0 if matrix else kinds.BF16 if "embedding." in name else kinds.F32
            if each.ndim > 4:
                writer.add_array(f"comfy.gguf.orig_shape.{name}", list(each.shape))
            numbers = gguf.quantize(each.flatten(1).numpy() if each.ndim > 4 else each.numpy(), kind)
            writer.add_tensor(name, numbers, raw_dtype=kind)
    finished(writer)
    files = [folder / "animate.gguf", folder / "rest.safetensors"]
    save_file(
        {name: each for name, each in tensors("transformer").items() if name.startswith(("motion_", "face_e"))},
        files[1],
    )
    return files


@pytest.mark.slow
def test_nano_s_transformer_as_gguf_named_in_a_params_file(tmp_path: Path) -> None:
    """The whole road of a file that a user has; expected is what the package gguf makes of the same blocks."""
    (file,) = (checkpoints.NANO / "transformer").glob("*.safetensors")
    kinds = gguf.GGMLQuantizationType
    nano = Networks(checkpoints.NANO, "cpu")
    writer = gguf.GGUFWriter(tmp_path / "nano.gguf", "wan")
    for name, each in load_file(file).items():
        whole = each.float().numpy().reshape(-1, *each.shape[-3:]) if each.ndim > 4 else each.float().numpy()
        kind = kinds.Q8_0 if name.startswith("blocks.") and each.ndim == 2 else kinds.F32
        if each.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(each.shape))
        numbers = gguf.quantize(whole, kind)
        writer.add_tensor(name, numbers, raw_dtype=kind)
        if kind == kinds.Q8_0:
            nano._transformer.get_parameter(name).data = torch.from_numpy(gguf.dequantize(numbers, kind).copy())
    finished(writer)
    places = {name: checkpoints.NANO / name for name in parts.COMPONENTS} | {"transformer": tmp_path / "nano.gguf"}
    (tmp_path / "mine.yaml").write_text("".join(f"{name}: {place}\n" for name, place in places.items()))
    ours = Networks(checkpoints.find(tmp_path / "mine.yaml").folder, "cpu")
    torch.manual_seed(0)
    side, how = nano.face_size, nano._transformer.config
    latents = [torch.randn(count, length, 8, 6) for count, length in ((16, 3), (20, 3), (16, 2))]
    image, text = torch.randn(1, 257, how["image_dim"]), torch.randn(1, 512, how["text_dim"])
    given = (*latents, torch.randn(3, 5, side, side).clamp(-1, 1), image, text, torch.tensor(700))
    torch.testing.assert_close(ours.denoise(*given), nano.denoise(*given), rtol=1e-4, atol=1e-4)
    assert isinstance(ours._transformer.get_submodule("blocks.0.attn1.to_q"), QuantisedLinear)


def finished(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def as_int8(folder: Path) -> list[Path]:
    """Write the matrices of blocks as ComfyUI's int8_convrot files have them."""
    marker = {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64}
    named: dict[str, Tensor] = {}
    for name, each in tensors("transformer").items():
        if not (name.startswith("blocks.") and each.ndim == 2):
            named[name] = each.clone()
            continue
        turned = (each.unflatten(1, (-1, 64)) @ hadamard(64, CPU)).flatten(1)
        scale = turned.abs().amax(1, keepdim=True) / 127
        layer = name.removesuffix(".weight")
        named |= {name: (turned / scale).round().to(torch.int8), f"{layer}.weight_scale": scale}
        named[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(marker).encode()), dtype=torch.uint8)
    save_file(named, folder / "animate_int8_convrot.safetensors")
    return [folder / "animate_int8_convrot.safetensors"]


def as_fp8(folder: Path) -> list[Path]:
    """Write one fp8-scaled file."""
    written(
        folder / "fp8.safetensors", "weight_scale + comfy_quant", "", recipe.facts("layouts"), tensors("transformer")
    )
    return [folder / "fp8.safetensors"]


def as_half(folder: Path, dtype: torch.dtype) -> list[Path]:
    """Write one file of 16-bit weights."""
    save_file({name: each.to(dtype) for name, each in tensors("transformer").items()}, folder / "half.safetensors")
    return [folder / "half.safetensors"]


def test_a_gguf_file(official: Path, tmp_path: Path, asked: Callable[[nn.Module], np.ndarray]) -> None:
    files = as_gguf(tmp_path)
    network = loading.load("transformer", files, CPU, torch.float32)
    for layer in ("blocks.3.attn1.to_q", "face_adapter.1.to_v"):
        module = network.get_submodule(layer)
        assert (module.blocks, module.numbers.dtype) == ("Q8_0", torch.uint8)  # it stays so
    given = tensors("transformer")["text_embedding.0.weight"]
    torch.testing.assert_close(
        network.get_parameter("condition_embedder.text_embedder.linear_1.weight"),
        given.bfloat16().float(),
        rtol=0,
        atol=0,
    )
    expected = recipe.expected("transformer")["face_t500/out"]
    error = np.linalg.norm(asked(network) - expected) / np.linalg.norm(expected)
    assert 0.0005 < error < 0.01  # of 8 bits with a scale for each 32, and bfloat16 embeddings
    half = loading.load("transformer", files, CPU, torch.bfloat16)
    assert half.get_parameter("blocks.3.norm2.weight").dtype == torch.float32
    assert half.get_parameter("proj_out.weight").dtype == torch.bfloat16


@pytest.mark.slow
def test_an_int8_file_with_turned_columns(tmp_path: Path, asked: Callable[[nn.Module], np.ndarray]) -> None:
    network = loading.load("transformer", as_int8(tmp_path), CPU, torch.float32)
    assert network.get_submodule("blocks.3.attn1.to_q").numbers.dtype == torch.int8
    expected = recipe.expected("transformer")["face_t500/out"]
    error = np.linalg.norm(asked(network) - expected) / np.linalg.norm(expected)
    assert 0.001 < error < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fast", "official"])
@pytest.mark.parametrize("layout", ["official", "bf16", "fp16", "fp8", "gguf", "int8"])
def test_each_layout_in_bfloat16_is_within_2_percent(
    official: Path, tmp_path: Path, layout: str, precision: str
) -> None:
    """The tolerance is golden 13's for a run in bfloat16: relative, of the whole; of 8-bit weights beside the run with them."""
    files = {
        "official": lambda: parts.of(official)["transformer"], "bf16": lambda: as_half(tmp_path, torch.bfloat16),
        "fp16": lambda: as_half(tmp_path, torch.float16), "fp8": lambda: as_fp8(tmp_path),
        "gguf": lambda: as_gguf(tmp_path), "int8": lambda: as_int8(tmp_path),
    }[layout]()  # fmt: skip
    found = Networks(official, "cpu")
    found.dtype, found.precision = torch.bfloat16, precision
    network = loading.load("transformer", files, CPU, torch.bfloat16)
    vectors = torch.from_numpy(recipe.expected("transformer")["face_t500/motion_vec"]).bfloat16()
    network.motion_encoder = Known(vectors.float().numpy())
    network.motion_encoder.vectors = vectors
    found.__dict__["_transformer"] = network
    *pixels, image, text = map(torch.from_numpy, recipe.transformer_inputs(CASES["face_t500"]))
    given = (*pixels, image.bfloat16(), text.bfloat16(), torch.tensor(500))
    got = found.denoise(*given).numpy()
    expected = (
        recipe.expected("layouts")["fp8_scaled/out"]
        if layout == "fp8"
        else recipe.expected("transformer")["face_t500/out"]
    )
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error < 0.02


@pytest.mark.parametrize("case", ["lora_alpha2", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_lora_in_two_spellings(
    official: Path, tmp_path: Path, asked: Callable[[nn.Module], np.ndarray], case: str
) -> None:
    facts = recipe.facts("lora")
    given = {name: torch.from_numpy(each) for name, each in recipe.weights("lora").items()}
    if case == "lora_alpha2":  # as Kijai and lightx2v write them
        spelled = {".lora_A.": ".lora_down.", ".lora_B.": ".lora_up."}
        given = {
            f"diffusion_model.{name.replace(old, new)}": each
            for name, each in given.items()
            for old, new in spelled.items()
            if old in name
        }
        for name in [name for name in given if "lora_down" in name]:
            given[name.replace(".lora_down.weight", ".alpha")] = torch.tensor(float(facts["config"]["alpha2"]))
    save_file(given, tmp_path / "x.safetensors")
    network = loading.load("transformer", parts.of(official)["transformer"], CPU, torch.float32)
    matched = lora.of_checkpoint(official, [(tmp_path / "x.safetensors", 1.0)])
    assert matched[0].describe().endswith("at 1: 120 of 120 layers match")
    lora.apply(network, matched)
    expected = recipe.expected("lora")[f"{case}/out"]
    np.testing.assert_allclose(asked(network), expected, rtol=0, atol=TOLERANCE["out"])


def test_names_of_transformers_in_8_bits(tmp_path: Path) -> None:
    facts = recipe.facts("t5")
    given = tensors("t5")
    written(tmp_path / "t5.safetensors", "scale_weight", "", facts, given)
    whole = load_file(tmp_path / "t5.safetensors")
    named = {}
    for name, each in whole.items():
        layer, _, last = name.rpartition(".")
        (new,) = layouts.renamed("text_encoder", f"{layer}.weight") if last.startswith("scale_") else (None,)
        named[new.removesuffix("weight") + last if new else (layouts.renamed("text_encoder", name) or (name,))[0]] = (
            each
        )
    named["spiece_model"] = torch.zeros(3, dtype=torch.uint8)
    save_file(named, tmp_path / "comfy.safetensors")
    for file in ("t5", "comfy"):
        encoder = loading.load("text_encoder", [tmp_path / f"{file}.safetensors"], CPU, torch.float32)
        expected = recipe.expected("t5")["len37/features_fp8_scaled"]
        np.testing.assert_allclose(features(encoder, "len37"), expected, rtol=0, atol=TOLERANCE["t5"])


def test_parts_that_a_params_file_names_are_the_checkpoint(official: Path, tmp_path: Path) -> None:
    nano = checkpoints.NANO
    lines = {
        "transformer": official,
        "vae": official / parts.VAE,
        "text_encoder": nano / "text_encoder",
        "image_encoder": official / parts.IMAGE_ENCODER,
        "tokenizer": nano / "tokenizer",
    }
    file = tmp_path / "mine.yaml"
    file.write_text("".join(f"{name}: {place}\n" for name, place in lines.items()))
    found = checkpoints.find(file)
    assert (found.name, found.folder) == ("mine", file)
    before = found.fingerprint()
    networks = Networks(file, "cpu")
    expected = Networks(nano, "cpu").encode_text(["a dancer"])
    np.testing.assert_array_equal(networks.encode_text(["a dancer"])[0], expected[0])
    film = recipe.pixels(recipe.image("in/vae/single", 1, 56, 40, 16))
    latent = recipe.expected("vae")["enc_single/latent"]
    np.testing.assert_allclose(networks.encode(torch.from_numpy(film)), latent, rtol=0, atol=TOLERANCE["vae"])
    file.write_text("".join(f"{name}: {lines[name]}\n" for name in reversed(lines)))
    assert checkpoints.find(file).fingerprint() == before
    file.write_text("".join(f"{name}: {lines['vae' if name == 'transformer' else name]}\n" for name in lines))
    with pytest.raises(
        config.SettingsError, match="transformer .* must be Wan-Animate's transformer, it has no tensor"
    ):
        checkpoints.find(file)


def test_the_tokenizer_in_a_text_encoder_s_file(tmp_path: Path) -> None:
    words = ["a dancer in the rain", "the person in the video is moving", "the rain and a person"]
    model = io.BytesIO()
    how = {"vocab_size": 24, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(words * 20), model_writer=model, **how)
    (tmp_path / "spiece.model").write_bytes(model.getvalue())
    bytes_ = torch.tensor(list(model.getvalue()), dtype=torch.uint8)
    save_file({"spiece_model": bytes_}, tmp_path / "t5.safetensors")
    expected = [*sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode("a person"), 1]
    for name in ("spiece.model", "t5.safetensors"):
        assert loading.tokens_of(tmp_path / name)("a person") == expected
    save_file({"other": bytes_}, tmp_path / "t5.safetensors")
    with pytest.raises(
        ValueError, match="must hold the tensor spiece_model, it has none; name the folder google/umt5-xxl"
    ):
        loading.tokens_of(tmp_path / "t5.safetensors")


def test_networks_are_loaded_at_the_same_time() -> None:
    """Nothing of it is for all threads: weights of one never end in the emptiness of another."""
    found, device = parts.of(checkpoints.NANO), torch.device("cpu")

    def load(name: str) -> dict[str, torch.Tensor]:
        return dict(loading.load(name, found[name], device, torch.float32).named_parameters())

    names = ("transformer", "image_encoder", "text_encoder")
    alone = {name: load(name) for name in names}
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        for name, made in [(name, threads.submit(load, name)) for _ in range(3) for name in names]:
            assert all(torch.equal(each, alone[name][key]) for key, each in made.result().items())


def test_a_folder_is_read_without_the_variants_beside(tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(checkpoints.NANO / "vae", folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, folder / "diffusion_pytorch_model.fp16.safetensors")
    assert loading._files_of((folder,)) == [weights]
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "x-1.safetensors", "b": "x-1.safetensors"}}'
    )
    assert loading._files_of((folder,)) == [folder / "x-1.safetensors"]
