"""The mask comparison in Chromium: what is painted is what viz paints, panes in step, wipes, curves, a choice on disk."""

from __future__ import annotations

import base64
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from wanlab import config, inputs, mask, media, viz
from wanlab.inputs import edits
from wanlab.steps import inspect
from wanlab.widgets.mask_comparison import MaskComparison

pytestmark = pytest.mark.browser
HEIGHT, WIDTH, FRAMES = 180, 320, 24
CHAINS = ("outline", "grow:6", "snap:16", "square:12")


@pytest.fixture
def widget(tmp_path: Path) -> MaskComparison:
    """A wandering disc that is gone in frame 17, and three chains of it, over frames of one colour each."""
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = (np.arange(FRAMES) * 8 + 40)[:, None, None, None]
    frames[..., 2] = 90
    media.write_video(tmp_path / "driving.mkv", frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for t in range(FRAMES):
        if t != 17:
            cv2.circle(outline[t], (100 + 5 * t, 90), 45, 1, -1)
    chains = [mask.apply_chain(outline.astype(bool), "" if name == "outline" else name) for name in CHAINS]
    np.savez(tmp_path / inspect.VARIANTS, **{str(i): np.packbits(each, axis=-1) for i, each in enumerate(chains)})
    numbers = {name: inspect.measure(each, chains[0]) for name, each in zip(CHAINS, chains, strict=True)}
    made = inputs.AnimateInputs(tmp_path, "replace", {}, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    clip = media.open_clip(tmp_path / "driving.mkv")
    asked = config.InspectSettings.build({})
    seen = inspect.Inspection(
        tmp_path, made, False, clip, "outline", None, numbers, made, tmp_path / edits.EDITS, (), asked
    )
    return MaskComparison(seen, clip)


def until(page: Any, condition: str) -> None:
    page.wait_for_function(condition, timeout=10000)


def at_frame(page: Any, t: int) -> None:
    """Wait until every pane shows frame `t`."""
    until(page, f"[...document.querySelectorAll('.wl-view')].every((view) => view.dataset.frame === '{t}')")


def painted(page: Any, pane: int = 0) -> np.ndarray:
    """Return a pane's canvas: [h, w, 3], uint8 RGB."""
    url = page.evaluate(
        """(i) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
             done(document.querySelectorAll('.wl-stage canvas')[i].toDataURL('image/png')))))""",
        pane,
    )
    data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def pixels(page: Any, pane: int = 0) -> np.ndarray:
    """Return what a pane shows in the middle of each pixel of the clip: [H, W, 3], uint8 RGB."""
    canvas = painted(page, pane)
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in zip((HEIGHT, WIDTH), canvas.shape[:2], strict=True))
    return canvas[rows.astype(int)][:, columns.astype(int)]


def expected(widget: MaskComparison, view: str, name: str, t: int) -> np.ndarray:
    masks = widget.seen.masks
    return getattr(viz, view)(widget.frames[t], masks(name)[t], masks(widget.base)[t])


@pytest.mark.parametrize("view", list(viz.MASK_VIEWS))
def test_what_is_painted_is_what_viz_paints(widget: MaskComparison, mount: Callable[..., Any], view: str) -> None:
    widget.view, widget.frame = view, 9
    page = mount(widget, width=1280)
    at_frame(page, 9)
    for pane, name in enumerate(("grow:6", "snap:16")):
        shown, right = pixels(page, pane), expected(widget, view, name, 9)
        apart = np.abs(shown.astype(int) - right).max(axis=-1) > 12  # JPEG and two ways to grey
        # where the outline is drawn viz draws it around each edge pixel too
        assert apart.mean() < (0.02 if view == "overlay" else 0.002), (pane, view, apart.mean())


def test_a_fringe_of_one_pixel_is_seen_in_a_small_pane(widget: MaskComparison, mount: Callable[..., Any]) -> None:
    widget.view, widget.count, widget.frame = "leak", 4, 9
    page = mount(widget, width=300)
    at_frame(page, 9)
    canvas = page.locator(".wl-stage canvas").first.bounding_box()
    assert canvas["width"] < WIDTH / 2
    name = widget.panes[0]
    assert name == "grow:6"
    image = painted(page).astype(int)
    pink = (np.abs(image - viz.LEAK_COLOUR).max(axis=-1) < 100).sum()
    leaking = viz.REGIONS["leak"](widget.seen.masks(name)[9], widget.seen.masks(name)[9])
    scale = canvas["width"] / WIDTH
    shrunk = cv2.resize(leaking.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert pink >= 0.8 * (shrunk > 0.3).sum() > 0


def test_panes_scrub_and_play_in_step(
    widget: MaskComparison, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    widget.count, widget.frame = 4, 2
    page = mount(widget)
    at_frame(page, 2)
    assert page.locator(".wl-view").count() == 4
    page.get_by_label("frame", exact=True).fill("11")
    at_frame(page, 11)
    until(page, "document.querySelector('.wl-curves').getAttribute('aria-valuenow') === '11'")
    assert widget.frame == 11
    shoot(page, "mask_comparison_4")
    page.evaluate("""() => { const slider = document.querySelector('.wl-line input');
      for (const t of [3, 7, 20, 15]) { slider.value = t; slider.dispatchEvent(new Event('input')); } }""")
    at_frame(page, 15)  # the frames on the way do not lead back
    page.wait_for_timeout(300)
    at_frame(page, 15)
    page.evaluate(
        """() => { window.frames_ = new Set(); window.apart = 0;
             const look = () => { const shown = [...document.querySelectorAll('.wl-view')].map((view) => view.dataset.frame);
               if (new Set(shown).size > 1) window.apart++; window.frames_.add(shown[0]); requestAnimationFrame(look); };
             requestAnimationFrame(look); }"""
    )
    page.get_by_role("button", name="Play or pause").click()
    until(page, "window.frames_.size > 8")
    page.get_by_role("button", name="Play or pause").click()
    assert page.evaluate("window.apart") == 0
    page.get_by_role("button", name="2 images in step").click()
    until(page, "document.querySelectorAll('.wl-view').length === 2")
    assert widget.count == 2
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_label("mask 2", exact=True).select_option("square:12")
    until(page, "document.querySelectorAll('.wl-head select')[1].value === 'square:12'")
    assert widget.panes[1] == "square:12"


def test_a_wipe_shows_each_mask_in_its_part(
    widget: MaskComparison, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    widget.view, widget.count, widget.wiped, widget.frame = "background", 2, True, 9
    widget.panes = ["outline", "square:12", "grow:6", "snap:16"]
    page = mount(widget)
    at_frame(page, 9)
    page.get_by_label("wipe", exact=True).fill("0.4")
    until(page, "document.querySelector('.wl-stage canvas')")
    assert widget.wipe == [0.4, 0.5]
    shown, cut = pixels(page), round(0.4 * WIDTH)
    left, right = (expected(widget, "background", name, 9) for name in ("outline", "square:12"))
    apart = np.abs(shown.astype(int) - np.concatenate([left[:, :cut], right[:, cut:]], axis=1)).max(axis=-1) > 12
    assert apart[:, np.abs(np.arange(WIDTH) - cut) > 3].mean() < 0.002
    box = page.locator(".wl-stage canvas").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)
    assert widget.wipe[0] == pytest.approx(0.75, abs=0.01)
    page.get_by_role("button", name="4 masks in one image").click()
    until(page, "document.querySelectorAll('.wl-tag').length === 4")
    shoot(page, "mask_comparison_wipe")


def test_a_click_on_a_curve_and_a_worst_frame_lead_to_the_frame(
    widget: MaskComparison, mount: Callable[..., Any]
) -> None:
    widget.frame = 3
    page = mount(widget)
    at_frame(page, 3)
    curves = page.locator(".wl-curves")
    until(page, "document.querySelector('.wl-curves polyline')")
    assert curves.locator("polyline").count() == 4
    ends = [
        [*map(float, place.split(","))] for place in curves.locator("polyline").first.get_attribute("points").split()
    ]
    box = curves.bounding_box()
    page.mouse.click(box["x"] + ends[14][0], box["y"] + 30)
    at_frame(page, 14)
    curves.press("ArrowLeft")
    at_frame(page, 13)
    curves.press("Home")
    at_frame(page, 0)
    page.get_by_label("number", exact=True).select_option("change")
    worst = page.get_by_role("group", name="worst frames").get_by_role("button")
    change = widget.seen.numbers["grow:6"]["change"]
    order = sorted(range(FRAMES), key=lambda t: (-change[t].round(5), t))
    assert [int(text.split(":")[0]) for text in worst.all_inner_texts()] == order[:12]
    worst.first.click()
    at_frame(page, 17)
    until(page, "document.querySelector('.wl-curves').getAttribute('aria-valuetext').startsWith('frame 17')")


def test_another_chain_is_tried(widget: MaskComparison, mount: Callable[..., Any]) -> None:
    widget.view, widget.frame = "background", 9
    page = mount(widget)
    at_frame(page, 9)
    chain = page.get_by_label("mask chain to try")
    chain.fill("gorw:3")
    chain.press("Enter")
    page.get_by_text("mask_chain must be made of grow:10").wait_for()
    chain.fill("grow:20")
    chain.press("Enter")
    page.get_by_role("button", name="Work grow:20 out in all frames").wait_for()
    until(page, "document.querySelectorAll('.wl-values')[1].textContent.includes('0.')")
    right = viz.background(widget.frames[9], mask.grow(widget.seen.masks("outline"), 20)[9])
    assert (np.abs(pixels(page, 1).astype(int) - right).max(axis=-1) > 12).mean() < 0.002
    page.get_by_role("button", name="Work grow:20 out in all frames").click()
    page.get_by_text("grow:20 is worked out in all frames").wait_for()
    until(page, "document.querySelectorAll('.wl-curves polyline').length === 5")
