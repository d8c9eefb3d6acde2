"""Which plan is chosen on which machine, and how far its estimates lie from what was measured."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from wanlab.model import checkpoints, loading, memory, parts
from wanlab.model.memory import GIB, Clip, Machine, Needs, Wishes

SMALL, LARGE = Clip(77, 480, 832), Clip(77, 720, 1280)
FP8 = Wishes(quantization="fp8")
# 40 blocks of 404 million numbers and 1.15 billion more, UMT5, CLIP and the VAE in float32
EAGER = Needs(
    SMALL, 40, int(0.752 * GIB), int(2.15 * GIB), int(10.6 * GIB), int(1.2 * GIB), int(0.47 * GIB), int(0.195 * GIB)
)
REAL = EAGER._replace(is_compiled=True, pace=memory.pace("sdpa", False, True))
EIGHT = EAGER._replace(block=EAGER.block // 2, keys=EAGER.keys // 2, is_quantised=True)
SCALED = EIGHT._replace(is_compiled=True, lora=int(2.0 * GIB), text=int(6.27 * GIB))  # with LoRAs beside
A_3060, A_4090, A_5090, AN_A100, AN_H100 = (8, 6), (8, 9), (12, 0), (8, 0), (9, 0)


def machine(gpu: float, host: float, capability: tuple[int, int] = A_4090) -> Machine:
    """Return a machine of which a GB of the GPU and 4 GB of the host are taken."""
    return Machine(int((gpu - 1) * GIB), int((host - 4) * GIB), capability)


@pytest.mark.parametrize(
    ("gpu", "host", "capability", "clip", "wishes", "expected"),
    [  # fits, offload, resident, bands, whether the text encoder is there as a whole
        (8, 16, A_3060, SMALL, Wishes(), (False, "blocks", 22, 13, False)),
        (8, 32, A_3060, SMALL, FP8, (False, "blocks", 0, 13, False)),
        (12, 16, A_3060, SMALL, Wishes(), (False, "blocks", 22, 13, False)),
        (12, 32, A_3060, SMALL, Wishes(), (True, "blocks", 1, 3, False)),
        (12, 32, A_3060, SMALL, FP8, (True, "blocks", 1, 2, False)),
        (12, 64, A_4090, SMALL, Wishes(), (True, "blocks", 1, 3, False)),
        (12, 64, A_4090, LARGE, FP8, (True, "blocks", 0, 9, False)),
        (16, 64, A_4090, SMALL, Wishes(), (True, "blocks", 1, 1, True)),
        (16, 64, A_4090, LARGE, Wishes(), (True, "blocks", 0, 4, True)),
        (24, 32, A_3060, SMALL, Wishes(), (True, "blocks", 15, 1, True)),
        (24, 64, A_4090, LARGE, FP8, (True, "blocks", 16, 2, True)),
        (32, 128, A_5090, SMALL, FP8, (True, "none", 40, 1, True)),
        (40, 128, AN_A100, SMALL, Wishes(), (True, "blocks", 39, 1, True)),
        (40, 16, AN_A100, LARGE, FP8, (True, "none", 40, 2, True)),
        (48, 64, A_4090, SMALL, Wishes(), (True, "none", 40, 1, True)),
        (48, 64, A_4090, LARGE, Wishes(), (True, "blocks", 36, 1, True)),
        (80, 128, AN_H100, LARGE, Wishes(), (True, "none", 40, 1, True)),
        (80, 16, AN_H100, LARGE, Wishes(), (True, "none", 40, 1, True)),
        (80, 128, AN_H100, SMALL, Wishes("blocks"), (True, "blocks", 0, 1, True)),
        (12, 64, A_4090, SMALL, Wishes("none"), (False, "none", 40, 13, False)),
    ],
)  # fmt: skip
def test_the_plan_of_a_machine(
    gpu: int, host: int, capability: tuple[int, int], clip: Clip, wishes: Wishes, expected: tuple[object, ...]
) -> None:
    found = memory.choose(machine(gpu, host, capability), REAL._replace(clip=clip), wishes)
    assert (found.fits, found.offload, found.resident, found.vae_bands, found.text_stays) == expected
    assert found.fits == (found.gpu_bytes <= (gpu - 1) * GIB and (host - 4) * GIB >= found.host_bytes * bool(found.num_blocks - found.resident))  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "wishes", "how", "measured"),
    [  # blocks that stay, bands, GiB at their peak, on one H100; those of compiled blocks on an H200
        (EAGER, Wishes(), (40, 1), 43.0),
        (EAGER._replace(clip=LARGE), Wishes(), (40, 1), 54.0),
        (EIGHT, Wishes(), (40, 1), 27.8),
        (REAL, Wishes(), (40, 1), 43.8),
        (REAL._replace(clip=LARGE), Wishes(), (40, 1), 55.5),
        (REAL, Wishes(), (1, 4), 9.3),
        (REAL, FP8, (1, 3), 9.2),
        (REAL._replace(clip=LARGE), Wishes(), (0, 7), 11.0),
        (SCALED, Wishes(), (0, 2), 9.8),  # fp8-scaled files
    ],
)
def test_estimates_are_near_what_was_measured(
    needs: Needs, wishes: Wishes, how: tuple[int, int], measured: float
) -> None:
    gpu = 80 if how[0] == 40 else 11  # the text encoder comes layer by layer
    found = memory._plan(machine(gpu, 128, AN_H100), needs, wishes.quantization, *how)
    assert found.gpu_bytes / GIB == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(("bands", "measured"), [(1, 9.9), (2, 7.1), (3, 6.2), (4, 5.6), (4, 4.9)])
def test_the_estimate_of_bands_is_near_what_was_measured(bands: int, measured: float) -> None:
    assert (memory._vae_bytes(REAL, bands) + REAL.vae) / GIB == pytest.approx(measured, rel=0.08)


@pytest.mark.parametrize(
    ("clip", "how", "measured"),
    [
        (SMALL, None, 3.51),
        (LARGE, None, 12.6),
        (SMALL, ("sdpa", False, True), 2.89),
        (SMALL, ("flash3", False, True), 2.60),
        (LARGE, ("flash3", False, True), 9.98),
        (SMALL, ("flash3", True, True), 2.17),
        (LARGE, ("flash3", True, True), 9.00),
        (SMALL, ("flash3_fp8", True, True), 1.88),
    ],
)
def test_the_estimate_of_a_step_is_near_what_was_measured(
    clip: Clip, how: tuple[str, bool, bool] | None, measured: float
) -> None:
    needs = EAGER._replace(clip=clip, is_compiled=how is not None, pace=memory.pace(*how) if how else memory.Pace())
    found = memory.choose(machine(80, 128, AN_H100), needs)
    assert found.step_seconds == pytest.approx(measured, rel=0.04)


def test_a_plan_is_one_sentence() -> None:
    said = memory.choose(machine(12, 64), REAL).describe()
    assert said == (
        "memory: 39 of 40 blocks travel from host memory, 1 stay on the GPU, the VAE in 3 bands, the text encoder layer by layer; "
        "about 11.0 GiB of the GPU, 23.7 GiB of host memory, 17.2 s a step"
    )
    assert memory.choose(machine(8, 16), REAL).describe().endswith(
        "that is more than is free: use a smaller resolution, or quantization fp8 or int8"
    )  # fmt: skip
    assert "weights in fp8" in memory.choose(machine(12, 64), REAL, FP8).describe()


def test_each_cheaper_plan_takes_less_until_there_is_none() -> None:
    here = machine(48, 64)
    plans = [memory.choose(here, REAL)]
    while (found := memory.cheaper(plans[-1], here, REAL)) is not None:
        plans.append(found)
    sizes = [plan.gpu_bytes for plan in plans]
    assert len(plans) > 3
    assert all(after < before for before, after in itertools.pairwise(sizes))
    assert plans[0].offload == "none"
    assert plans[-1].resident == 0


def test_without_a_gpu_nothing_travels_unless_it_is_asked_for() -> None:
    here = Machine(None, 8 * GIB)
    assert memory.choose(here, REAL).offload == "none"
    assert memory.choose(here, REAL, Wishes("blocks")).resident == 0


def test_loras_stay_beside_weights_that_are_quantised_in_their_files_alone() -> None:
    here = machine(80, 128)
    for needs, wishes, more in ((REAL, Wishes(), 0), (REAL, FP8, 0), (EIGHT, Wishes(), 4 * GIB)):
        plain, with_loras = (memory.choose(here, needs._replace(lora=lora), wishes) for lora in (0, 4 * GIB))
        assert with_loras.gpu_bytes == pytest.approx(plain.gpu_bytes + more, rel=1e-6)


def test_guidance_takes_twice_the_time_and_the_keys_of_two_texts() -> None:
    one, two = (memory.choose(machine(80, 128), REAL._replace(passes=passes)) for passes in (1, 2))
    assert two.step_seconds == 2 * one.step_seconds
    assert 0.3 * GIB < two.gpu_bytes - one.gpu_bytes < 1 * GIB


def test_what_makes_keys_does_not_travel() -> None:
    here = machine(12, 64)
    found, without = (memory.choose(here, needs) for needs in (REAL, REAL._replace(keys=0)))
    assert found.host_bytes < 0.8 * without.host_bytes
    changed = memory.choose(here, REAL._replace(lora=GIB))
    assert changed.host_bytes == pytest.approx(
        found.host_bytes + 40 * REAL.keys, rel=0.05
    )  # no longer those of the file


def test_quantised_files_are_not_quantised_again() -> None:
    assert memory.choose(machine(80, 128), EIGHT, FP8).quantization == "none"


def test_headers_tell_what_is_needed() -> None:
    here = parts.of(checkpoints.NANO)
    found = memory.needs(here, Clip(17, 96, 64), 4)
    files = list((checkpoints.NANO / "transformer").glob("*.safetensors"))
    whole = sum(file.stat().st_size for file in files)
    assert found.num_blocks == 8
    assert (found.width, found.vae_width) == (256, loading.shapes("vae", here["vae"])["encoder.conv_in.weight"][0])
    assert not found.is_quantised
    assert memory.needs(here, Clip(17, 96, 64), 2).block == found.block // 2
    assert found.num_blocks * found.block + found.rest >= whole - 200_000


def test_files_in_eight_bits_count_by_the_bytes_that_they_keep(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    rows = {"vision_model.post_layernorm.weight": torch.ones(8), "a.weight": torch.ones(8, 16).to(torch.float8_e4m3fn)}
    save_file(rows, tmp_path / "x.safetensors")
    found = loading.sizes("image_encoder", (tmp_path / "x.safetensors",), 2)
    assert sorted(found.values()) == [16, 128]
