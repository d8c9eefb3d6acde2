"""Functions that cannot be compiled are used as they are, and it is said why."""

from __future__ import annotations

import os

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from wanlab import config
from wanlab.model import attention, kernels


def test_what_cannot_be_compiled_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def compiled(function: object, **_: object) -> object:
        def fail(*given: object) -> object:
            tries.append(given)
            raise torch._dynamo.exc.BackendCompilerFailed(function, RuntimeError("no C compiler\nmore"), None)

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    made = kernels.Compiled(lambda x: x + 1)
    assert made(torch.tensor(1)) == 2
    assert made(torch.tensor(2)) == 3
    assert len(tries) == 1
    assert made.failure is not None
    assert "no C compiler" in made.failure
    assert "\n" not in made.failure


def test_an_error_of_the_function_itself_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    def fails(x: object) -> object:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        kernels.Compiled(fails)(1)


def test_every_choice_has_a_kernel_and_a_row() -> None:
    choices = {choice for kernel in attention.KERNELS for choice in kernel.choices}
    assert choices == set(kernels.KERNELS)


def test_pytorchs_kernel_attends() -> None:
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, tokens, 3, 8, generator=random) for tokens in (5, 7, 7))
    weights = torch.einsum("nqhd,nkhd->nhqk", query, key).mul(8**-0.5).softmax(-1)
    torch.testing.assert_close(kernels.sdpa(query, key, value), torch.einsum("nhqk,nkhd->nqhd", weights, value))


def test_programs_are_kept_in_the_outputs_unless_a_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for before, after in ((default_cache_dir(), str(config.outputs_root() / ".compiled")), ("/mine", "/mine")):
        monkeypatch.setenv(kernels.PROGRAMS_FOLDER, before)
        kernels.Compiled(abs)
        assert os.environ[kernels.PROGRAMS_FOLDER] == after
