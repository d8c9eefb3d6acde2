"""Encoded prompts on disk: used by the next process, made again where they are damaged or something differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from wanlab.model import checkpoints, texts
from wanlab.model.networks import Networks

PROMPT = "a dancer in the rain"


@pytest.fixture
def loads(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let nano's text encoder count as large; return the networks that are loaded from then on."""
    found: list[str] = []
    load = Networks._load
    monkeypatch.setattr(texts, "LARGE", 1)
    monkeypatch.setattr(Networks, "_load", lambda self, name, *more: found.append(name) or load(self, name, *more))
    return found


def test_a_second_process_loads_no_text_encoder(loads: list[str], outputs: Path) -> None:
    first = Networks(checkpoints.NANO, "cpu").encode_text([PROMPT, "x"])
    assert loads == ["text_encoder"]
    again = Networks(checkpoints.NANO, "cpu").encode_text(["x", PROMPT])
    assert loads == ["text_encoder"]
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])
    files = list((outputs / texts.KEPT).iterdir())
    assert len(files) == 2
    assert not any(b"dancer" in file.read_bytes() for file in files)


def test_only_the_missing_prompt_is_encoded(loads: list[str], outputs: Path) -> None:
    made = Networks(checkpoints.NANO, "cpu")
    made.encode_text([PROMPT])
    both = made.encode_text([PROMPT, "x"])
    assert loads == ["text_encoder"] * 2
    with torch.inference_mode():
        assert torch.equal(both[1], next(made._encode_text(["x"])))


@pytest.mark.parametrize("content", [b"", b"no tensor", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_file_is_made_again(loads: list[str], outputs: Path, content: bytes) -> None:
    made = Networks(checkpoints.NANO, "cpu")
    (first,) = made.encode_text([PROMPT])
    (file,) = (outputs / texts.KEPT).iterdir()
    file.write_bytes(content)
    assert torch.equal(made.encode_text([PROMPT])[0], first)
    assert torch.equal(made.encode_text([PROMPT])[0], first)
    assert loads == ["text_encoder"] * 2


def test_other_weights_and_another_type_are_other_texts(loads: list[str], outputs: Path, tmp_path: Path) -> None:
    Networks(checkpoints.NANO, "cpu").encode_text([PROMPT])
    half = Networks(checkpoints.NANO, "cpu")
    half.dtype = torch.bfloat16
    half.encode_text([PROMPT])
    assert loads == ["text_encoder"] * 2
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints.NANO, copy)
    weights = copy / "text_encoder" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    Networks(copy, "cpu").encode_text([PROMPT])
    assert loads == ["text_encoder"] * 3


def test_small_encoders_are_not_kept(outputs: Path) -> None:
    Networks(checkpoints.NANO, "cpu").encode_text([PROMPT])
    assert not (outputs / texts.KEPT).exists()
