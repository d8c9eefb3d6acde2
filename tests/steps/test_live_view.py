"""What a generation foresees, in its run folder: a moving picture, and of each segment a strip and its changes."""

from __future__ import annotations

import errno
import json
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wanlab import files
from wanlab.model.latent_colours import LatentColours
from wanlab.steps import live_view
from wanlab.steps.live_view import LiveView

NUM_STEPS = 8
GREY = 100  # of 255, what the latents of `latents_of(GREY)` look like


class Brightness(LatentColours):
    """Shows the first channel as grey, 0 to 255."""

    is_ready = True

    def shown(self, latents: Tensor) -> Tensor:
        return latents[0, ..., None].expand(*latents.shape[1:], 3).to(torch.uint8).contiguous()


def latents_of(level: float, size: tuple[int, int, int] = (3, 40, 48)) -> Tensor:
    return torch.full((16, *size), float(level))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a moving picture be written at each step at which none is being written."""
    monkeypatch.setattr(live_view, "EVERY_S", 0.0)


def watched(folder: Path, levels: list[float], segment: int = 0) -> LiveView:
    with LiveView(folder, Fraction(16), NUM_STEPS) as view:
        for step, level in enumerate(levels):
            view.foreseen(segment, step, latents_of(level), Brightness())
    return view


def test_the_moving_picture_is_that_of_the_newest_step(tmp_path: Path, at_once: None) -> None:
    assert live_view.read(tmp_path) is None
    watched(tmp_path, [GREY], segment=2)
    found = live_view.read(tmp_path)
    assert found is not None
    assert (found.frames.shape, found.segment, found.step, found.fps) == ((3, 40, 48, 3), 2, 0, 4.0)
    assert abs(found.frames.astype(int) - GREY).max() <= 2
    (tmp_path / live_view.LIVE).write_bytes(b"\xff\xd8 no image")
    assert live_view.read(tmp_path) is None


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    with LiveView(tmp_path, Fraction(16), 1) as view:
        view.foreseen(0, 0, latents_of(GREY, (2, 320, 480)), Brightness())
    found = live_view.read(tmp_path)
    assert found is not None
    assert found.frames.shape == (2, 160, 240, 3)


def test_of_a_segment_strip_and_changes_are_kept(tmp_path: Path) -> None:
    watched(tmp_path, [100, 200, 250, 250, 250, 200, 200, 200])
    kept = json.loads((tmp_path / "steps" / "000.json").read_text())
    assert kept["changes"] == pytest.approx([0.5, 0.2, 0, 0, 0.25, 0, 0], abs=1e-4)
    assert kept["shown"] == [0, 1, 3, 4, 6, 7]
    with Image.open(tmp_path / "steps" / "000.jpg") as strip:
        levels = np.asarray(strip).reshape(40, 6, 48, 3).mean((0, 2, 3))
    assert abs(levels - [100, 200, 250, 250, 200, 200]).max() < 2
    assert not (tmp_path / "steps" / "001.json").exists()


def test_a_strip_shows_the_middle_frame_made_with_the_two_before_it(tmp_path: Path) -> None:
    """What shows latents may remember: here each frame is as bright as it and all that were given before it."""

    class Remembering(Brightness):
        def shown(self, latents: Tensor) -> Tensor:
            return super().shown(latents.cumsum(1))

    latents = torch.stack([torch.full((16, 40, 48), level) for level in (10.0, 20, 40, 100)], dim=1)
    with LiveView(tmp_path, Fraction(16), 1) as view:
        view.foreseen(0, 0, latents, Remembering())
    with Image.open(tmp_path / "steps" / "000.jpg") as strip:
        assert abs(np.asarray(strip).astype(int) - (10 + 20 + 40)).max() <= 2


def test_an_interrupted_segment_keeps_the_steps_it_has(tmp_path: Path) -> None:
    watched(tmp_path, [100, 125])
    kept = json.loads((tmp_path / "steps" / "000.json").read_text())
    assert kept == {"changes": [pytest.approx(0.2, abs=1e-4)], "shown": [0, 1]}


def test_nobody_is_waited_for(tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a picture is being written no other one is begun, and the steps go on."""
    gate, begun = threading.Event(), []
    original = LiveView._write

    def slowly(self: LiveView, *given: Any) -> None:
        begun.append(given[1])
        assert gate.wait(30)
        original(self, *given)

    monkeypatch.setattr(LiveView, "_write", slowly)
    with LiveView(tmp_path, Fraction(16), NUM_STEPS) as view:
        for step in range(5):
            view.foreseen(0, step, latents_of(100 + step), Brightness())
        gate.set()
    assert begun == [0]


def test_at_most_two_pictures_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(LiveView, "_write", lambda self, segment, step, fetch: written.append(step))
    now = iter([0.0, 0.3, 0.6, 0.9, 1.2])
    monkeypatch.setattr(live_view.time, "monotonic", lambda: next(now))
    with LiveView(tmp_path, Fraction(16), NUM_STEPS) as view:
        for step in range(5):
            view.foreseen(0, step, latents_of(100), Brightness())
            concurrent_end(view)
    assert written == [0, 2, 4]


def concurrent_end(view: LiveView) -> None:
    if view._writing is not None:
        view._writing.result()


def test_a_fault_ends_the_view_and_not_the_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full while writing live.jpg")

    monkeypatch.setattr(files, "writing", full)
    monkeypatch.setattr(files, "write_json", full)
    view = watched(tmp_path, [1, 2, 3])
    assert "disk full" in view.fault
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("num_steps", "shown"), [(1, (0,)), (2, (0, 1)), (4, (0, 1, 2, 3)), (20, (0, 4, 8, 11, 15, 19))]
)
def test_a_strip_shows_first_last_and_some_between(num_steps: int, shown: tuple[int, ...]) -> None:
    assert live_view.strip_steps(num_steps) == shown
