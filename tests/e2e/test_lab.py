"""JupyterLab as `make lab` starts it: on this machine only, with a token, at the start page; a notebook runs in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from browsing import Lab, run_notebook, save_nothing, scroll_to

from wanlab import inputs, mask

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def preprocessed(page: Any, lab: Lab) -> int:
    """Preprocess a clip with the form of 10_preprocess; return how many of its outputs are errors or warnings.

    The clip is chosen in two clicks and preprocessed in one.
    """
    page.route("**/api/contents/**", save_nothing)
    page.get_by_role("link", name="Begin: your own clip and character").click()
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    page.get_by_text("| Idle").wait_for(timeout=60000)  # keys pressed before the kernel is there are lost
    panel.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    form = panel.get_by_role("region", name="settings")
    form.get_by_label("choose driving_video").click(timeout=60000)
    form.get_by_label("half.mp4").click()
    form.get_by_label("mode").select_option("replace")
    form.get_by_label("max_frames").fill("3")
    form.get_by_label("max_frames").press("Tab")
    form.get_by_text("3 frames, result").wait_for(timeout=60000)
    form.get_by_role("button", name="Run").click()
    panel.get_by_text("preprocess run outputs").first.wait_for(timeout=90000)
    panel.locator(".jp-OutputArea video").first.wait_for(timeout=90000)
    return panel.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count()


def test_lab_opens_at_the_start_page_and_runs_a_notebook(preprocessed: int, page: Any, lab: Lab) -> None:
    """The page asks nothing in a new home, shows the run that was made since, and leads to the notebooks."""
    assert preprocessed == 0
    page.goto(f"{lab.base}/lab/tree/Start.md?token={lab.token}&reset")
    page.get_by_role("heading", name="Newest runs").wait_for(timeout=60000)
    row = page.get_by_role("row").filter(has_text="10_preprocess")
    row.get_by_text("completed").wait_for()
    assert row.get_by_role("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 60
    assert page.get_by_text("Would you like to").count() == 0
    row.get_by_role("link", name="generate the video").click()
    page.locator(".jp-NotebookPanel").get_by_role("heading", name="30 Generate").wait_for(timeout=60000)


@pytest.mark.usefixtures("preprocessed")
def test_a_mask_is_chosen_in_the_notebook(page: Any, lab: Lab, shoot: Callable[[Any, str], None]) -> None:
    """A tried chain is used, and new inputs with it are on the disk."""
    panel = run_notebook(page, lab, "20_inspect", "auto_keypoint = False; compare = ['snap:16']")
    comparison = panel.get_by_role("region", name="mask comparison")
    scroll_to(page, panel, comparison)
    comparison.get_by_label("mask chain to try").fill("grow:4,snap:8")
    comparison.get_by_role("button", name="Show this chain").click()
    comparison.get_by_role("button", name="Use this mask: grow:4,snap:8").click()
    comparison.get_by_text("New inputs with mask chain grow:4,snap:8: outputs/").wait_for(timeout=60000)
    shoot(page, "mask_comparison_lab")
    (decided,) = lab.outputs.glob("*_preprocess_*/edits.json")
    assert json.loads(decided.read_text(encoding="utf-8"))["mask_chain"] == "grow:4,snap:8"
    newest = max(lab.outputs.glob("*_inspect_*/inputs.json"))
    assert json.loads(newest.read_text(encoding="utf-8"))["mask_chain"] == "grow:4,snap:8"
    assert newest.parent.name in comparison.locator(".wl-result").inner_text()
    made = inputs.read(newest.parent)
    np.testing.assert_array_equal(made.mask(), mask.apply_chain(made.person_mask(), "grow:4,snap:8"))
    changed = comparison.get_by_label("view")
    changed.select_option("leak")
    comparison.get_by_text("black, though to be kept").wait_for()
    decided.unlink()
