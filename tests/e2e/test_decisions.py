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
from browsing import Clicks, Lab, run_notebook, scroll_to

from wanlab import config, inputs, media
from wanlab.inputs import edits
from wanlab.mask.prompts import Click, Prompts
from wanlab.mask.strokes import Stroke
from wanlab.pose import wholebody
from wanlab.steps import inspect

pytestmark = pytest.mark.browser
SIZE = FRAMES, HEIGHT, WIDTH = 12, 352, 640
YESTERDAY = edits.Edits(
    points=Prompts((Click(6, 300.5, 180.5, True), Click(6, 500.5, 40.5, False))),
    strokes=(Stroke(5, True, 20.0, ((500.0, 60.0),)),),
)


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
    click = Clicks(2)
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
    click = Clicks(3)
    comparison = panel.get_by_role("region", name="mask comparison")
    scroll_to(page, panel, comparison)
    click(comparison.get_by_role("textbox", name="mask chain to try"))
    page.keyboard.type("grow:4,snap:16")
    click(comparison.get_by_role("button", name="Try"))
    click(comparison.get_by_role("button", name="Use this mask: grow:4,snap:16"))
    comparison.get_by_text(re.compile("^New inputs with")).wait_for(timeout=60000)
    assert newest(lab).facts["mask_chain"] == "grow:4,snap:16"
    page.close()


@pytest.fixture
def without_a_hand(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Return inputs of a bundled clip whose mask lacks the left hand, the pixels of the hand in frame 2, and its middle."""
    clip = media.open_clip(config.ASSETS / "sample" / "half.mp4", max_frames=5)
    with np.load(config.ASSETS / "sample" / "half_truth.npz") as saved:
        true = np.unpackbits(saved["mask"][:5], axis=-1, count=int(saved["mask_shape"][2])).view(bool)
        hands = saved["keypoints"][:5, wholebody.HANDS[0]]
    drawn = np.zeros(true.shape, np.uint8)
    for image, points in zip(drawn, hands, strict=True):
        cv2.fillConvexPoly(image, cv2.convexHull(points[:, :2].astype(np.int32)), 1)  # type: ignore[call-overload]
        cv2.dilate(image, np.ones((5, 5), np.uint8), dst=image)
    hand = (drawn > 0) & true
    folder, frames = tmp_path / "process_results", clip.read()
    mask = np.repeat((true & ~hand)[..., None], 3, axis=-1).astype(np.uint8) * 255
    media.write_image(folder / "src_ref.png", frames[0])
    media.write_video(folder / inputs.DRIVING, frames, clip.fps, lossless=True)
    faces = np.full((len(frames), 512, 512, 3), 127, np.uint8)
    for name, video in {
        "src_pose": frames,
        "src_face": faces,
        "src_mask": mask,
        "src_bg": frames * (mask == 0),
    }.items():
        media.write_video(folder / f"{name}.mp4", video, clip.fps)
    np.savez(folder / inputs.KEYPOINTS, keypoints=np.zeros((len(frames), 133, 3), np.float32))
    return folder, hand[2], hands[2, [0, 5, 9, 13, 17], :2].mean(axis=0)


@pytest.mark.slow
def test_a_hand_is_clicked_into_the_mask_in_one_click(
    lab: Lab, browser: Any, without_a_hand: tuple[Path, np.ndarray, np.ndarray], shoot: Callable[..., None]
) -> None:
    folder, hand, (x, y) = without_a_hand
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    panel = run_notebook(
        page, lab, "20_inspect", f'inputs = "{folder}"; auto_keypoint = False; compare = []; sam_checkpoint = "none"'
    )
    editor = panel.get_by_role("region", name="Mask editor")
    scroll_to(page, panel, editor)
    editor.locator(".wl-view[data-frame='2']").wait_for()
    canvas = editor.locator("canvas").first
    scale = canvas.bounding_box()["width"] / hand.shape[1]
    Clicks(1)(canvas, position={"x": float(x) * scale, "y": float(y) * scale})
    editor.get_by_text("1 mark, kept in").wait_for(timeout=60000)
    shoot(page, "hand_clicked")
    page.close()
    replayed = {"inputs": folder, "edits": folder / edits.EDITS, "auto_keypoint": False, "sam_checkpoint": "none"}
    made = inspect.work(inspect.prepare(config.InspectSettings.build(replayed))).made
    before, after = inputs.read(folder).mask()[2], made.person_mask()[2]
    assert (after & hand).sum() > 0.75 * hand.sum()
    assert not (before & ~after).any()
    assert (after & ~before & ~hand).sum() < 0.5 * hand.sum()


def newest(lab: Lab) -> inputs.AnimateInputs:
    """Return the inputs that were made last."""
    made = [path.parent for path in lab.outputs.glob(f"*_inspect_*/{inputs.FACTS}")]
    return inputs.read(max(made, key=lambda folder: (folder / inputs.FACTS).stat().st_mtime))
