"""`wanlab check --checkpoint`: what is right passes, what is wrong is named, and nothing private is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from wanlab.cli import check_checkpoint, main
from wanlab.cli.check_checkpoint import BAD, INFO, OK, Row
from wanlab.model import checkpoints, loading, memory
from wanlab.model.networks import Networks


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_checkpoint, "AREA", "96 128")


def test_nano_passes_and_its_proof_names_nothing_private(outputs: Path) -> None:
    rows = list(check_checkpoint.check_checkpoint(checkpoints.NANO, "cpu"))
    assert [row.verdict for row in rows] == [OK] * (len(rows) - 1) + [INFO]
    file = check_checkpoint.write(rows)
    text = file.read_text()
    checks = {each["topic"]: each for each in json.loads(text)["checks"]}
    assert checks["keys: transformer"]["num_tensors"] == 364
    assert checks["VAE round trip"]["psnr_db"] > check_checkpoint.LEAST_PSNR
    assert checks["first velocity"]["likeness"] > 0.5
    assert checks["2 steps of 9 frames, 128x96"]["seconds_a_step"] > 0
    assert checks["peak memory"]["host_gib"] > 0.1
    assert not [word for word in (str(outputs), str(Path.home()), "/", "\\") if word in text.replace("\\u", "")]
    assert file.parent == outputs


def test_the_full_size_model_gets_estimates_for_usual_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check_checkpoint._plans(checkpoints.NANO)) == []  # they are fitted to the full size
    monkeypatch.setattr(memory, "WIDTH", 256)
    rows = list(check_checkpoint._plans(checkpoints.NANO))
    assert {row.topic for row in rows} == {
        f"{card}, {size}" for card in memory.CARDS for size in ("832x480", "1280x720")
    }
    assert all(row.verdict == INFO and row.found.startswith("estimate: memory: ") for row in rows)


@pytest.mark.parametrize(
    ("velocity", "topic"),
    [
        (lambda latents: torch.full_like(latents, float("nan")), "2 steps of 9 frames, 128x96"),
        (lambda latents: torch.rand_like(latents) - 0.5, "first velocity"),
    ],
)
def test_wrong_weights_are_told(monkeypatch: pytest.MonkeyPatch, velocity: Any, topic: str) -> None:
    monkeypatch.setattr(Networks, "denoise", lambda self, latents, *given: velocity(latents))
    monkeypatch.setattr(check_checkpoint, "_keys", lambda folder: iter(()))
    monkeypatch.setattr(check_checkpoint, "_round_trip", lambda *given: iter(()))
    found = {row.topic: row.verdict for row in check_checkpoint.check_checkpoint(checkpoints.NANO, "cpu")}
    assert found[topic] == BAD


def test_a_vae_that_is_another_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Networks, "decode", lambda self, latents: torch.zeros(3, 9, 128, 96))
    trial = check_checkpoint._Trial(128, 96)
    (row,) = check_checkpoint._round_trip(Networks(checkpoints.NANO, "cpu"), trial)
    assert row.verdict == BAD


def test_keys_that_are_missing_unknown_or_misshapen_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoints.NANO / "vae" / "config.json").read_bytes())
    tensors = load_file(next((checkpoints.NANO / "vae").glob("*.safetensors")))
    first, second, *_ = names = sorted(tensors)
    changed = {**tensors, second: tensors[second].repeat(2, *[1] * (tensors[second].ndim - 1)), "more": torch.zeros(3)}
    del changed[first]
    save_file(changed, folder / "diffusion_pytorch_model.safetensors")
    found = loading.contents("vae", (folder,))
    assert (found.num_tensors, found.missing, found.unknown) == (len(names), [first], ["more"])
    assert [each.split(" ")[0] for each in found.misshapen] == [second]


def test_the_command_writes_what_it_has_and_fails_where_something_is_wrong(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def proof(*_: Any) -> Iterator[Row]:
        yield Row("keys", "3 missing", BAD, {"missing": ["a"]})
        yield Row("size", "1 GiB", INFO, {"gib": 1})

    monkeypatch.setattr(check_checkpoint, "check_checkpoint", proof)
    assert main.main(["check", "--checkpoint", "some"]) == 1
    (file,) = outputs.glob("check_*.json")
    assert json.loads(file.read_text())["checks"][0] == {"topic": "keys", "verdict": BAD, "missing": ["a"]}
    assert "3 missing" in capsys.readouterr().out
