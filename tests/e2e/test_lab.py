"""JupyterLab as `make lab` starts it: on this machine only, with a token, at the README; a notebook runs in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import Lab, run_notebook

pytestmark = pytest.mark.browser


def test_lab_opens_at_the_readme_and_runs_a_notebook(page: Any, lab: Lab) -> None:
    panel = run_notebook(page, lab, "10_preprocess", 'max_frames = 3; mode = "replace"')
    panel.get_by_text("preprocess run outputs").first.wait_for(timeout=90000)
    panel.locator(".jp-OutputArea video").first.wait_for(timeout=90000)
    assert panel.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_masks_are_browsed_frame_by_frame(page: Any, lab: Lab, shoot: Callable[[Any, str], None]) -> None:
    """On the inputs of the test before: slider, mask and view change the picture."""
    panel = run_notebook(page, lab, "20_inspect", "auto_keypoint = False")
    image = panel.locator(".jp-OutputArea img.widget-image")
    panel.locator(".jp-Notebook").hover()
    for _ in range(180):  # JupyterLab puts only those cells into the page that are near its view
        page.mouse.wheel(0, 2000)
        page.wait_for_timeout(500)
        if image.count():
            break
    image.scroll_into_view_if_needed()
    choices = panel.locator(".jp-OutputArea .widget-dropdown select")
    changes = [(0, "snap:16"), (1, "background"), (1, "leak"), (1, "difference")]
    for box, choice in changes:
        before = image.get_attribute("src")
        choices.nth(box).select_option(choice)
        page.wait_for_function("before => document.querySelector('img.widget-image').src !== before", arg=before)
    panel.locator(".widget-slider .noUi-handle").first.press("ArrowRight")
    panel.locator(".widget-readout").get_by_text("2", exact=True).wait_for()
    shoot(page, "mask_browser")
