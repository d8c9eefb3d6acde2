"""The mask browser: what is chosen is what is shown; headless a still picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import ipywidgets
import numpy as np
import pytest
from IPython.display import Image

from wanlab import config, inputs, inspection, media
from wanlab.widgets.mask_browser import mask_browser


@pytest.fixture
def seen(tmp_path: Path) -> inspection.Inspection:
    frames = np.repeat(np.arange(20, 220, 20, dtype=np.uint8), 64 * 96 * 3).reshape(10, 64, 96, 3)
    media.write_video(tmp_path / "driving.mkv", frames, Fraction(16), lossless=True)
    masks = np.zeros((2, 10, 64, 96), bool)
    masks[1, :, 20:40, 20:40] = True
    np.savez(tmp_path / inspection.VARIANTS, **{str(i): np.packbits(mask, axis=-1) for i, mask in enumerate(masks)})
    made = inputs.AnimateInputs(tmp_path, "replace", {}, 10, 64, 96, Fraction(16), {}, ())
    numbers = {name: {"area": mask.mean(axis=(1, 2))} for name, mask in zip(("none", "box"), masks, strict=True)}
    clip, asked = media.open_clip(tmp_path / "driving.mkv"), config.InspectSettings.build({})
    return inspection.Inspection(
        tmp_path, made, False, clip, "none", None, numbers, made, tmp_path / "edits.json", (), asked
    )


def pixels(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_what_is_chosen_is_shown(seen: inspection.Inspection) -> None:
    browser = mask_browser(seen)
    (variant, view), image, (player, slider), numbers = (
        part.children if isinstance(part, ipywidgets.Box) else part for part in browser.children
    )
    assert (slider.value, variant.value, view.value) == (5, "none", "overlay")
    slider.value = 2
    assert abs(pixels(image.value).astype(int) - 60).max() < 6  # frame 2, nothing tinted
    variant.value, view.value = "box", "background"
    shown = pixels(image.value)
    assert shown[30, 30].max() < 8
    assert abs(shown[5, 5].astype(int) - 60).max() < 8
    assert numbers.value == f"area {400 / 6144:.3f}"
    assert player.max == slider.max == 9
    assert {part.description for part in (variant, view, slider)} == {"mask", "view", "frame"}


def test_headless_it_is_a_picture(seen: inspection.Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    shown = mask_browser(seen)
    assert isinstance(shown, Image)
    assert pixels(shown.data).shape == (64, 96, 3)
