"""Attention kernels: what is said of each on which machine; the table in docs is the same."""

from __future__ import annotations

import pytest

from wanlab import config
from wanlab.model import attention


def test_the_table_in_docs_is_the_one_in_the_code() -> None:
    text = (config.project_root() / "docs" / "attention.md").read_text(encoding="utf-8")
    for kernel in attention.KERNELS:
        module = f"`{kernel.module}`" if kernel.module else "–"
        get = f"`{kernel.get}`" if kernel.module else kernel.get
        assert f"| {kernel.name} | {module} | {kernel.gpus} | {kernel.torch} | {kernel.users} | {get} |" in text
    assert text.count("\n| ") == len(attention.KERNELS) + 2


@pytest.mark.parametrize(
    ("capability", "installed", "states"),
    [
        (None, (), ["installed", "not for a CPU", "not for a CPU", "not for a CPU", "not for a CPU"]),
        ((9, 0), ("flash_attn",), ["installed", "installed", "not installed: python", "not installed: make gpu", "not installed"]),
        (
            (8, 9),
            ("fa3_fwd_interface",),
            ["installed", "not installed: pip", "not for compute capability 8.9", "installed, but not for compute", "not installed"],
        ),
        ((7, 5), (), ["installed", "not for compute capability 7.5: Ampere", "not for", "not for", "not for"]),
        ((12, 0), (), ["installed", "not installed", "not for", "not for", "not installed"]),
    ],
)  # fmt: skip
def test_each_machine_gets_its_rows(
    capability: tuple[int, int] | None, installed: tuple[str, ...], states: list[str]
) -> None:
    found = attention.rows(capability, installed)
    assert [name for name, _ in found] == [kernel.name for kernel in attention.KERNELS]
    for (_, what), state in zip(found, states, strict=True):
        assert what.startswith(state)


def test_the_wheel_is_named_by_torch_cuda_and_python() -> None:
    assert attention.wheel("3.12.4", "2.8.0+cu128", "12.8") == "cu12torch2.8 (or cu128torch2.8) and cp312"
    assert attention.wheel("3.10.1", "2.11.1", "13.0") == "cu13torch2.11 (or cu130torch2.11) and cp310"
    with pytest.raises(ValueError, match="torch must be built for CUDA for flash-attn, got 2.8.0"):
        attention.wheel("3.12.4", "2.8.0+cpu", None)


def test_the_quickest_kernel_that_loses_nothing_is_taken() -> None:
    assert attention.best((9, 0), {"fa3_fwd_interface", "sageattention"}) == "flash3"
    assert attention.best((9, 0), {"flash_attn"}) == "sdpa"
    assert attention.best((8, 9), {"fa3_fwd_interface"}) == "sdpa"
    assert attention.best(None, {"fa3_fwd_interface"}) == "sdpa"


@pytest.mark.parametrize(
    ("asked", "capability", "message"),
    [
        ("flash3", None, "attention must be a kernel for a CPU, got flash3 (FlashAttention 3, fa3-fwd wheel, for Hopper"),
        ("flash3_fp8", (8, 9), "attention must be a kernel for compute capability 8.9, got flash3_fp8"),
        ("sage", (9, 0), "got sage: sageattention is not; use auto, or install it: pip install sageattention"),
    ],
)  # fmt: skip
def test_a_kernel_that_does_not_run_here_is_refused(
    asked: str, capability: tuple[int, int] | None, message: str
) -> None:
    (line,) = attention.faults(asked, capability, {"fa3_fwd_interface"})
    assert message in line


def test_kernels_that_run_here_are_taken() -> None:
    for asked in ("auto", "sdpa", "flash3", "flash3_fp8"):
        assert attention.faults(asked, (9, 0), {"fa3_fwd_interface"}) == []
    assert attention.faults("sdpa", None, ()) == []
