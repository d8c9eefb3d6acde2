"""LoRAs: each spelling changes the same weights, by exactly strength * (alpha / rank) * up @ down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wanlab.model import lora, parts, single_files
from wanlab.model.quantised import QuantisedLinear, Stored

OUT, IN, RANK = 6, 8, 2
LAYERS = {"blocks.0.self_attn.q": "blocks.0.attn1.to_q", "blocks.1.ffn.0": "blocks.1.ffn.net.0.proj"}
SPELLINGS: dict[str, Callable[[str], tuple[str, str, str]]] = {
    "official": lambda layer: (f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", f"{layer}.alpha"),
    "official.ckpt": lambda layer: (f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight", ""),
    "peft": lambda layer: (f"base_model.model.{layer}.lora_A.weight", f"base_model.model.{layer}.lora_B.weight", ""),
    "diffusers": lambda layer: (
        f"transformer.{LAYERS[layer]}.lora_A.weight",
        f"transformer.{LAYERS[layer]}.lora_B.weight",
        "",
    ),
    "kijai": lambda layer: tuple(f"diffusion_model.{layer}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")),
    "lightx2v": lambda layer: tuple(f"{layer}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")),
    "kohya": lambda layer: tuple(
        f"lora_unet_{layer.replace('.', '_')}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")
    ),
}  # fmt: skip


def network() -> nn.Module:
    """Return some layers of the transformer under its own names."""
    made = nn.Module()
    generator = torch.Generator().manual_seed(5)
    made.blocks = nn.ModuleList(nn.Module() for _ in range(2))
    for block in made.blocks:
        block.attn1 = nn.Module()
        block.attn1.to_q = nn.Linear(IN, OUT)
        block.ffn = nn.Module()
        block.ffn.net = nn.ModuleList([nn.Module()])
        block.ffn.net[0].proj = nn.Linear(IN, OUT)
        block.norm2 = nn.LayerNorm(IN)
        block.scale_shift_table = nn.Parameter(torch.zeros(1, 6, IN))
    made.face_adapter = nn.ModuleList([nn.Module()])
    made.face_adapter[0].to_k = nn.Linear(IN, OUT)
    made.face_adapter[0].to_v = nn.Linear(IN, OUT)
    for each in made.parameters():
        each.data = torch.randn(each.shape, generator=generator)
    return made


def shapes(of: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in of.named_parameters()}


def matrices(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(RANK, IN, generator=generator), torch.randn(OUT, RANK, generator=generator)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_changes_the_same_weights(spelling: str, tmp_path: Path) -> None:
    given: dict[str, Tensor] = {}
    alpha = 1.0 if SPELLINGS[spelling]("blocks.0.self_attn.q")[2] else RANK
    for number, layer in enumerate(LAYERS):
        down, up, its_alpha = SPELLINGS[spelling](layer)
        given[down], given[up] = matrices(number)
        if its_alpha:
            given[its_alpha] = torch.tensor(alpha)
    file = tmp_path / ("x.ckpt" if spelling.endswith("ckpt") else "x.safetensors")
    torch.save({"state_dict": given}, file) if file.suffix == ".ckpt" else save_file(given, file)
    made = network()
    before = {name: each.clone() for name, each in made.named_parameters()}
    found = lora.read(file, 0.8, shapes(made))
    assert found.describe() == f"LoRA {file.name} at 0.8: 2 of 2 layers match"
    lora.apply(made, [found])
    after = dict(made.named_parameters())
    for number, layer in enumerate(LAYERS.values()):
        down, up = matrices(number)
        name = f"{layer}.weight"
        assert torch.equal(after[name], before.pop(name) + (up * (0.8 * alpha / RANK)) @ down)
    assert all(torch.equal(after[name], each) for name, each in before.items())


def test_differences_of_norms_biases_and_modulation_count(tmp_path: Path) -> None:
    given = {
        "blocks.0.norm3.diff": torch.ones(IN),
        "blocks.0.norm3.diff_b": torch.full((IN,), 2.0),
        "blocks.1.self_attn.q.diff_b": torch.ones(OUT),
        "blocks.1.diff_m": torch.ones(1, 6, IN),
        "blocks.1.self_attn.q.diff": torch.ones(OUT, IN),
    }
    save_file(given, tmp_path / "x.safetensors")
    made = network()
    before = {name: each.clone() for name, each in made.named_parameters()}
    found = lora.read(tmp_path / "x.safetensors", 0.5, shapes(made))
    assert found.describe().endswith("3 of 3 layers match")
    lora.apply(made, [found])
    names = ("norm2.weight", "norm2.bias"), ("attn1.to_q.bias", "scale_shift_table", "attn1.to_q.weight")
    changed = {f"blocks.{i}.{name}": 1.0 if name == "norm2.bias" else 0.5 for i in (0, 1) for name in names[i]}
    for name, each in made.named_parameters():
        torch.testing.assert_close(each, before[name] + changed.get(name, 0.0))


def test_keys_and_values_in_one_matrix_are_two_layers_here(tmp_path: Path) -> None:
    down, up = torch.randn(RANK, IN), torch.randn(2 * OUT, RANK)
    layer = "face_adapter.fuser_blocks.0.linear1_kv"
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, tmp_path / "x.safetensors")
    made = network()
    before = made.face_adapter[0].to_v.weight.clone()
    lora.apply(made, [lora.read(tmp_path / "x.safetensors", 1.0, shapes(made))])
    torch.testing.assert_close(made.face_adapter[0].to_v.weight, before + up[OUT:] @ down)


def test_quantised_layers_stay_and_add_the_product(tmp_path: Path) -> None:
    down, up = matrices(0)
    layer = "blocks.0.self_attn.q"
    for name, strength in (("one", 0.5), ("two", -1.0)):
        save_file(
            {f"{layer}.lora_A.weight": down * strength, f"{layer}.lora_B.weight": up}, tmp_path / f"{name}.safetensors"
        )
    full, quantised = network(), network()
    known = shapes(full)
    numbers = full.blocks[0].attn1.to_q.weight.detach().to(torch.float8_e4m3fn)
    full.blocks[0].attn1.to_q.weight.data = numbers.float()
    quantised.blocks[0].attn1.to_q = QuantisedLinear(Stored(numbers), full.blocks[0].attn1.to_q.bias)
    both = [lora.read(tmp_path / f"{name}.safetensors", 2.0, known) for name in ("one", "two")]
    x = torch.randn(3, IN)
    for each in (full, quantised):
        lora.apply(each, both)
    assert quantised.blocks[0].attn1.to_q.numbers.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(quantised.blocks[0].attn1.to_q(x), full.blocks[0].attn1.to_q(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(full.blocks[0].attn1.to_q.weight, numbers.float() - up @ down, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [({"r": RANK, "lora_alpha": 8}, 4), ({"r": RANK, "lora_alpha": 8, "use_rslora": True}, 8 / RANK**0.5)],
)
def test_peft_s_settings_tell_alpha(settings: dict[str, Any], factor: float, tmp_path: Path) -> None:
    down, up = matrices(0)
    given = {"blocks.0.self_attn.q.lora_A.weight": down, "blocks.0.self_attn.q.lora_B.weight": up}
    save_file(given, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    told = {f"transformer.{name}": value for name, value in settings.items()}
    save_file(given, tmp_path / "x.safetensors", {"lora_adapter_metadata": json.dumps(told)})
    for file in ("adapter_model.safetensors", "x.safetensors"):
        made = network()
        before = made.blocks[0].attn1.to_q.weight.clone()
        lora.apply(made, [lora.read(tmp_path / file, 1.0, shapes(made))])
        torch.testing.assert_close(made.blocks[0].attn1.to_q.weight, before + factor * up @ down)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"single_blocks.0.lora_A.weight": (2, 8), "single_blocks.0.lora_B.weight": (6, 2)}, "0 of 1 layers match"),
        ({"blocks.0.self_attn.q.lora_A.weight": (2, 9), "blocks.0.self_attn.q.lora_B.weight": (6, 2)}, "0 of 1 layers"),
        ({"blocks.0.self_attn.q.weight": (6, 8)}, "must be a LoRA, it has no lora_A"),
        (
            {"blocks.0.self_attn.q.lora_A.weight": (2, 8)},
            "is damaged: of blocks.0.self_attn.q one of lora_A and lora_B",
        ),
        ({"blocks.0.self_attn.q.lokr_w1": (2, 8)}, "must be a plain LoRA, got lokr_w1"),
        ({"blocks.0.self_attn.q.dora_scale": (2, 8)}, "must be a plain LoRA, got dora_scale"),
    ],
)
def test_what_does_not_fit_is_refused(tensors: dict[str, tuple[int, int]], said: str, tmp_path: Path) -> None:
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=said):
        lora.read(tmp_path / "x.safetensors", 1.0, shapes(network()))


def test_what_matches_in_part_names_the_rest(tmp_path: Path) -> None:
    given = {
        f"blocks.{i}.self_attn.q.lora_{end}.weight": torch.ones(shape)
        for i in (0, 7)
        for end, shape in (("A", (2, 8)), ("B", (6, 2)))
    }
    save_file(given, tmp_path / "x.safetensors")
    found = lora.read(tmp_path / "x.safetensors", 1.0, shapes(network()))
    assert found.describe() == "LoRA x.safetensors at 1: 1 of 2 layers match; not blocks.7.self_attn.q"


def test_the_relighting_lora_is_found_in_each_layout(tmp_path: Path) -> None:
    folder, models = tmp_path / "official", tmp_path / "ComfyUI" / "models"
    (folder / "relighting_lora").mkdir(parents=True)
    (folder / parts.VAE).write_bytes(b"")
    assert lora.relighting(folder) is None
    for name in reversed(lora.RELIGHTING):
        (folder / name).write_bytes(b"")
        assert lora.relighting(folder) == folder / name
    names = "".join(f"{part}: ComfyUI/models/diffusion_models/x.safetensors\n" for part in single_files.FOLDERS)
    (tmp_path / "my.yaml").write_text(names.replace("ComfyUI", str(tmp_path / "ComfyUI")))
    assert lora.relighting(tmp_path / "my.yaml") is None
    (models / "loras").mkdir(parents=True)
    (models / "loras" / "WanAnimate_relight_lora_fp16.safetensors").write_bytes(b"")
    assert lora.relighting(tmp_path / "my.yaml") == models / "loras" / "WanAnimate_relight_lora_fp16.safetensors"
