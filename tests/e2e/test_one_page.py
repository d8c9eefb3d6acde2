"""Several widgets on one page, as in 20_inspect: each looks as it does alone, whatever the others' styles say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import config, inputs, mask, media
from wanlab.inputs import edits, pose_videos
from wanlab.steps import inspect
from wanlab.widgets import stills
from wanlab.widgets.mask_comparison import MaskComparison
from wanlab.widgets.mask_editor import MaskEditor
from wanlab.widgets.pose_review import PoseReview

pytestmark = pytest.mark.browser
FRAMES, HEIGHT, WIDTH = 12, 90, 160
CHAINS = ("outline", "grow:6")
# A widget that styles everything which the others are made of.
LOUD = """
import { make, root } from "./parts.js";
const STYLES = `:scope, :scope *, section, .wl-row, .wl-legend, .wl-stage { color: red; letter-spacing: 9px; margin: 7px; display: block; }`;
export default { render({ el }) { root(el, "loud", STYLES).node.append(make("b", { class: "wl-row", text: "loud" })); } };
"""
PROPERTIES = [
    "display", "position", "width", "height", "margin", "padding", "border", "flex", "gap", "grid-template-columns", "color",
    "background-color", "font-size", "font-weight", "line-height", "letter-spacing", "text-align", "white-space", "opacity",
    "visibility", "cursor", "overflow", "outline", "touch-action", "pointer-events", "fill", "stroke", "stroke-width",
]  # fmt: skip
# Per widget the looks of its elements where all styles hold, and where those of the other widgets are switched off.
LOOKS = """
() => [...document.querySelectorAll('section.wl')].map((section) => {
  const look = () => [section, ...section.querySelectorAll(':not(style)')].filter((node) => node.checkVisibility()).map((node) => {
    const style = getComputedStyle(node);
    return [node.tagName, node.getAttribute('class'), ...PROPERTIES.map((name) => `${name}: ${style.getPropertyValue(name)}`)];
  });
  const others = [...document.querySelectorAll('style')].filter((style) => !section.contains(style));
  const switched = (off) => others.forEach((style) => { style.sheet.disabled = off; });
  const together = look();
  switched(true);
  const alone = look();
  switched(false);
  return { label: section.getAttribute('aria-label'), others: others.length, together, alone };
})
""".replace("PROPERTIES", str(PROPERTIES))


@pytest.fixture
def seen(tmp_path: Path) -> inspect.Inspection:
    """Return inputs of replace that all widgets take."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8)
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    outline[:, 20:60, 30:80] = True
    packed = np.packbits(outline, axis=-1)
    np.savez(tmp_path / "mask.npz", mask=packed, mask_final=packed, shape=np.array(outline.shape))
    chains = [mask.apply_chain(outline, name) for name in ("", "grow:6")]
    np.savez(tmp_path / inspect.VARIANTS, **{str(i): np.packbits(each, axis=-1) for i, each in enumerate(chains)})
    numbers = {name: inspect.measure(each, outline) for name, each in zip(CHAINS, chains, strict=True)}
    points = np.random.default_rng(0).uniform((40, 20, 0.9), (90, 80, 0.95), (133, 3)).astype(np.float32)
    np.savez(tmp_path / inputs.KEYPOINTS, keypoints=np.repeat(points[None], FRAMES, axis=0))
    files = {name: tmp_path / inputs.EXPORTS[name][1] for name in pose_videos.VIDEOS}
    files["mask_video"] = tmp_path / "mask.npz"
    made = inputs.AnimateInputs(tmp_path, "replace", files, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    asked = config.InspectSettings.build({"sam_checkpoint": "none"})
    where = tmp_path / edits.EDITS
    return inspect.Inspection(tmp_path, made, False, clip, "outline", None, numbers, made, where, (), asked)


def test_no_style_reaches_another_widget(
    seen: inspect.Inspection, tmp_path: Path, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    (tmp_path / "loud.js").write_text(LOUD)
    loud = type("Loud", (stills.Stills,), {"_esm": stills.module(str(tmp_path / "loud.js"))})
    clip = seen.clip
    assert clip is not None
    page = mount(MaskEditor(seen, clip), MaskComparison(seen, clip), PoseReview(seen), loud(clip))
    page.wait_for_function("document.querySelectorAll('.wl-view[data-frame]').length === 4")
    shoot(page, "one_page")
    assert page.locator("b.wl-row").evaluate("(node) => getComputedStyle(node).letterSpacing") == "9px"
    button = page.locator(".wl-parts button").first  # the shared style and the widget's own hold
    assert button.evaluate("(node) => [node.offsetHeight, getComputedStyle(node).borderTopWidth]") == [17, "0px"]
    tool = page.get_by_role("button", name="Box", exact=False).first
    assert tool.evaluate("(node) => getComputedStyle(node).borderTop") == "1px solid rgb(189, 189, 189)"
    assert page.locator(".wl-review").evaluate("(node) => getComputedStyle(node).fontSize") == "13px"
    found = page.evaluate(LOOKS)
    assert [each["label"] for each in found] == ["Mask editor", "mask comparison", "Pose review", "loud"]
    for each in found:
        assert each["others"] == 3
        for one, other in zip(each["together"], each["alone"], strict=True):
            assert one == other, each["label"]
    assert sum(len(each["together"]) for each in found) > 200


ROOMS = [(864, 599), (1184, 879), (966, 292)]  # of a notebook at 1280x720 and 1600x1000, of an output's own view
HEIGHTS = """([width, height]) => {
  const found = Object.fromEntries([...document.querySelectorAll('section.wl')].map((section) =>
    [section.getAttribute('aria-label'), [section.offsetHeight, section.scrollWidth, section.querySelector('canvas').offsetHeight]]));
  const now = JSON.stringify([innerHeight, found]);
  [window.same, window.before] = [now === window.before ? window.same + 1 : 0, now];  // a layout on its way may fit as well
  const fits = innerHeight === height && Object.values(found).every(([high, wide]) => high <= height && wide <= width);
  return fits && window.same > 20 && found;
}"""


SPLIT = """() => {
  const panel = document.createElement('div');
  panel.className = 'jp-WindowedPanel-outer';
  panel.style.cssText = 'height: 590px; overflow: auto';
  panel.append(...document.body.children);
  document.body.append(panel);
}"""  # puts the widgets into what JupyterLab has around a notebook's cells, whose height changes alone when it is split


def test_each_editor_fits_into_the_window_and_its_image_is_large(
    seen: inspect.Inspection, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    clip = seen.clip
    assert clip is not None
    page = mount(MaskEditor(seen, clip), MaskComparison(seen, clip), PoseReview(seen))
    page.wait_for_function("document.querySelectorAll('.wl-view[data-frame]').length === 4")
    heights = {}
    for width, height in ROOMS:
        page.set_viewport_size({"width": width, "height": height})
        heights[height] = page.wait_for_function(HEIGHTS, arg=[width, height], timeout=10000).json_value()
        shoot(page, f"room_{width}x{height}")
    page.set_viewport_size({"width": 864, "height": 599})  # larger again
    page.wait_for_function(HEIGHTS, arg=[864, 599])
    page.evaluate(SPLIT)
    page.set_viewport_size({"width": 860, "height": 640})  # the widgets look where they are
    page.locator(".jp-WindowedPanel-outer").evaluate("(node) => { node.style.height = '450px'; }")
    page.wait_for_function(
        "[...document.querySelectorAll('section.wl')].every((section) => section.offsetHeight <= 450)"
    )
    images = {height: {label: found[2] for label, found in each.items()} for height, each in heights.items()}
    assert images[599]["Mask editor"] > 0.7 * 599
    assert images[599]["Pose review"] > 0.5 * 599  # its timeline has 200
    assert images[879]["Mask editor"] > 0.7 * 879
    assert images[292]["Mask editor"] > 0.6 * 292
