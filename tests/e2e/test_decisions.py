"""The jobs of a day around decisions, in a browser: each takes no more clicks than it should."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import Lab, run_notebook, scroll_to

from wanlab import inputs, media
from wanlab.inputs import edits
from wanlab.mask.prompts import Click, Prompts
from wanlab.mask.strokes import Stroke

pytestmark = pytest.mark.browser
SIZE = FRAMES, HEIGHT, WIDTH = 12, 352, 640
YESTERDAY = edits.Edits(
    points=Prompts((Click(6, 300.5, 180.5, True), Click(6, 500.5, 40.5, False))),
    strokes=(Stroke(5, True, 20.0, ((500.0, 60.0),)),),
)


class Clicks:
    """Clicks on a page, counted."""

    def __init__(self, page: Any, most: int) -> None:
        self.page, self.left = page, most

    def __call__(self, what: Any) -> None:
        self.left -= 1
        assert self.left >= 0, "too many clicks"
        what.scroll_into_view_if_needed()
        what.click()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Return inputs of a grey disc that moves over dark ground, with what was decided about them yesterday."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 40, np.uint8)
    white = np.zeros_like(frames)
    for t, (frame, mask) in enumerate(zip(frames, white, strict=True)):
        cv2.circle(frame, (240 + 10 * t, 180), 40, (170, 160, 150), -1)
        mask[130:230, 190 + 10 * t : 290 + 10 * t] = 255
    folder = tmp_path / "process_results"
    media.write_image(folder / "src_ref.png", frames[0])
    media.write_video(folder / inputs.DRIVING, frames, Fraction(16), lossless=True)
    videos = {"src_pose": frames, "src_face": np.full((FRAMES, 512, 512, 3), 127, np.uint8)}
    for name, video in {**videos, "src_mask": white, "src_bg": frames * (white == 0)}.items():
        media.write_video(folder / f"{name}.mp4", video, Fraction(16))
    np.savez(folder / inputs.KEYPOINTS, keypoints=np.zeros((FRAMES, 133, 3), np.float32))
    edits.change(folder / edits.EDITS, lambda _: YESTERDAY, *SIZE)
    return folder


@pytest.mark.slow
def test_in_a_fresh_kernel_a_click_goes_in_two_clicks_and_another_chain_is_taken_in_three(
    lab: Lab, browser: Any, given: Path, shoot: Callable[..., None]
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    chosen = f'inputs = "{given}"; auto_keypoint = False; compare = ["snap:16"]; sam_checkpoint = "none"'
    panel = run_notebook(page, lab, "20_inspect", chosen)
    listed = panel.get_by_role("region", name="Decisions")
    scroll_to(page, panel, listed)
    listed.get_by_text("3 decisions · all applied").wait_for(timeout=90000)  # Run All has run its cell too
    shoot(page, "decisions_lab")
    click = Clicks(page, 2)
    click(listed.get_by_role("button", name="Delete: added with the brush on frame 5"))
    listed.get_by_text("2 decisions · ⚠ not applied").wait_for()
    click(listed.get_by_role("button", name="Apply"))
    listed.get_by_text("2 decisions · all applied").wait_for(timeout=60000)
    assert newest(lab).facts["by_hand"] == ["2 points on 1 frame"]
    listed.get_by_role("button", name="Go to: point on frame 6").click()
    editor = panel.get_by_role("region", name="Mask editor")
    editor.locator(".wl-view[data-frame='6']").wait_for()
    page.wait_for_timeout(500)
    assert editor.bounding_box()["y"] < 720  # it came into sight
    click = Clicks(page, 3)
    comparison = panel.get_by_role("region", name="mask comparison")
    scroll_to(page, panel, comparison)
    click(comparison.get_by_role("textbox", name="mask chain to try"))
    page.keyboard.type("grow:4,snap:16")
    click(comparison.get_by_role("button", name="Try"))
    click(comparison.get_by_role("button", name="Use this mask: grow:4,snap:16"))
    comparison.get_by_text(re.compile("^New inputs with")).wait_for(timeout=60000)
    assert newest(lab).facts["mask_chain"] == "grow:4,snap:16"
    page.close()


def newest(lab: Lab) -> inputs.AnimateInputs:
    """Return the inputs that were made last."""
    made = [path.parent for path in lab.outputs.glob(f"*_inspect_*/{inputs.FACTS}")]
    return inputs.read(max(made, key=lambda folder: (folder / inputs.FACTS).stat().st_mtime))
