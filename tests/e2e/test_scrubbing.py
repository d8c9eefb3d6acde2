"""Scrubbing 300 frames of 1280x720 in JupyterLab: how long a frame takes, what the kernel and the notebook hold."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import Lab, open_notebook

from wanlab import config, media

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FRAMES, HEIGHT, WIDTH = 300, 720, 1280
MOST_KERNEL_MB, MOST_STATE_MB = 500, 1
JUMPS = 25
CELLS = (
    "import psutil, os\n"
    "from pathlib import Path\n"
    "from wanlab import config, inputs, media\nfrom wanlab.inputs import edits\nfrom wanlab.steps import inspect\n"
    "from wanlab.widgets.mask_editor import MaskEditor\n"
    "folder = Path({folder!r})\n"
    "clip = media.open_clip(folder / 'driving.mkv')\n"
    "made = inputs.AnimateInputs(folder, 'replace', {{'mask_video': folder / 'mask.npz'}}, len(clip), clip.height, clip.width, clip.fps, {{}}, ())\n"
    "asked = config.InspectSettings.build({{'sam_checkpoint': 'none'}})\n"
    "seen = inspect.Inspection(folder, made, False, clip, '', None, {{}}, made, folder / 'edits.json', (), asked)\n"
    "before = psutil.Process().memory_info().rss\n"
    "MaskEditor(seen, clip)",
    "import json\n"
    "from ipywidgets import Widget\n"
    "state = len(json.dumps(Widget.get_manager_state())) / 2**20\n"
    "print('grown by', (psutil.Process().memory_info().rss - before) / 2**20, 'MB, state', state, 'MB')",
)
WATCH = """
() => new Promise((done) => {
  const node = document.querySelector('.wl-view');
  const press = (key) => node.querySelector('.wl-stage').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  const slide = (t) => { const s = node.querySelector('input[type=range]'); s.value = t; s.dispatchEvent(new Event('input')); };
  const times = { keys: [], jumps: [] };
  let seed = 1;
  const next = (kind, left) => {
    if (!left) return kind === 'keys' ? next('jumps', JUMPS) : done(times);
    seed = (seed * 48271) % 2147483647;
    const now = Number(node.dataset.frame);
    const t = kind === 'keys' ? now + 1 : seed % FRAMES;
    if (t === now) return next(kind, left);
    const begin = performance.now();
    const watch = new MutationObserver(() => {
      if (Number(node.dataset.frame) !== t) return;
      watch.disconnect();
      times[kind].push(performance.now() - begin);
      setTimeout(() => next(kind, left - 1), 20);
    });
    watch.observe(node, { attributes: true, attributeFilter: ['data-frame'] });
    if (kind === 'keys') press('ArrowRight'); else slide(t);
  };
  next('keys', 120);
})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the sample video enlarged, with grain, and a mask; return their folder."""
    place = tmp_path_factory.mktemp("long")
    source = media.open_clip(config.ASSETS / "sample" / "half.mp4").read()
    grain = np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH, 1))

    def frames() -> Any:
        for t in range(FRAMES):
            large = cv2.resize(source[t % len(source)], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
            yield np.clip(large + np.roll(grain, 7 * t, axis=1), 0, 255).astype(np.uint8)

    media.write_video(place / "driving.mkv", frames(), Fraction(30), lossless=True)
    packed = np.packbits(
        np.broadcast_to(np.hypot(*np.mgrid[-360:360, -640:640]) < 200, (FRAMES, HEIGHT, WIDTH)), axis=-1
    )
    np.savez_compressed(place / "mask.npz", mask=packed, mask_final=packed, shape=np.array((FRAMES, HEIGHT, WIDTH)))
    return place


def test_scrubbing_is_quick_and_holds_little(lab: Lab, browser: Any, folder: Path) -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": cell.format(folder=str(folder))}
            for i, cell in enumerate(CELLS)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip
    name = "outputs/scrubbing_test.ipynb"  # in the server's root, which git ignores
    path = config.project_root() / name
    path.write_text(json.dumps(notebook))
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        panel = open_notebook(page, lab, name)
        page.get_by_text("| Idle").wait_for(timeout=120000)  # the kernel has started
        panel.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        page.locator(".wl-view[data-frame]").wait_for(timeout=240000)
        page.wait_for_timeout(3000)
        page.locator(".wl-stage").focus()
        times = page.evaluate(WATCH.replace("FRAMES", str(FRAMES)).replace("JUMPS", str(JUMPS)))
        panel.locator(".jp-CodeCell .cm-content").nth(1).click()
        page.keyboard.press("Control+Enter")
        said = panel.get_by_text("grown by")
        said.last.wait_for(timeout=60000)
        words = panel.locator(".jp-OutputArea-output pre", has_text="grown by").inner_text().split()
        grown, state = float(words[2]), float(words[5])
    finally:
        page.close()
        path.unlink()
    keys, jumps = (np.array(times[kind]) for kind in ("keys", "jumps"))
    print(
        f"\n300 frames of 1280x720: key to frame median {np.median(keys):.0f} ms (90 %: {np.percentile(keys, 90):.0f} ms), "
        f"slider jump median {np.median(jumps):.0f} ms (90 %: {np.percentile(jumps, 90):.0f} ms), "
        f"kernel +{grown:.0f} MB, widget state that a notebook saves {state:.3f} MB; load of the machine {os.getloadavg()[0]:.1f}"
    )
    assert len(keys) == 120
    assert grown < MOST_KERNEL_MB
    assert state < MOST_STATE_MB
