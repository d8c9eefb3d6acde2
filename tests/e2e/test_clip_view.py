"""The view that the bench's widgets share: the frame asked for is shown, places are those of the clip, nothing floods."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import media
from wanlab.widgets import stills

pytestmark = pytest.mark.browser
FRAMES, HEIGHT, WIDTH = 40, 288, 512
PROBE = """
import { ClipView } from "./clip_view.js";
import { Link, root } from "./parts.js";
export default { render({ model, el }) {
  const panel = root(el, "probe");
  const link = new Link(model);
  const view = new ClipView(link, model.get("clip"), { label: "the clip", start: 3, marksStretch: true });
  const second = new ClipView(link, model.get("clip"), { label: "the other", layers: ["other"], leader: view, height: 200 });
  panel.node.append(view.node, second.node);
  window.places = [];
  window.view = view;
  view.on("down", (event, place) => window.places.push([place.x, place.y, view.t]));
  view.setMarks([{ t: 5, colour: "#d55e00" }]);
  link.on("error", ({ text }) => panel.fail(text));
  panel.node.append(panel.alert);
} };
"""


class Probe(stills.Stills):
    """A view of a clip and a second one that follows it and shows the negative."""

    def __init__(self, clip: media.Clip) -> None:
        super().__init__(clip)
        self.asked: list[tuple[int, str]] = []

    def image(self, t: int, layer: str) -> np.ndarray:
        self.asked.append((t, layer))
        return 255 - self.frames[t] if layer == "other" else super().image(t, layer)


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Return a probe on a video whose every frame is of another grey."""
    frames = np.repeat(np.arange(FRAMES, dtype=np.uint8) * 6, HEIGHT * WIDTH * 3).reshape(FRAMES, HEIGHT, WIDTH, 3)
    media.write_video(tmp_path / "video.mkv", frames, Fraction(25), lossless=True)
    (tmp_path / "probe.js").write_text(PROBE)
    Probe._esm = stills.module(str(tmp_path / "probe.js"))
    return Probe(media.open_clip(tmp_path / "video.mkv"))


def shown(page: Any, which: int = 0) -> int:
    """Return the grey in the middle of a canvas."""
    script = """n => { const c = document.querySelectorAll('.wl-stage canvas')[n];
                       return c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0]; }"""
    return page.evaluate(script, which)


def wait(page: Any, t: int) -> None:
    page.wait_for_function(f"[...document.querySelectorAll('.wl-view')].every(view => view.dataset.frame === '{t}')")


def test_frames_are_shown_in_step_and_neighbours_are_there_before(
    probe: Probe, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    page = mount(probe)
    wait(page, 3)
    assert abs(shown(page) - 18) < 4
    assert abs(shown(page, 1) - 237) < 4
    stage = page.locator(".wl-stage").first
    stage.focus()
    for key, t in [("ArrowRight", 4), ("Shift+ArrowRight", 14), ("ArrowLeft", 13), ("End", 39), ("Home", 0)]:
        stage.press(key)
        wait(page, t)
        assert abs(shown(page) - 6 * t) < 4
        assert abs(shown(page, 1) - (255 - 6 * t)) < 4
    page.wait_for_timeout(600)
    before = len(probe.asked)
    stage.press("ArrowRight")
    wait(page, 1)
    assert (1, "clip") not in probe.asked[before:]  # it was there
    assert len(set(probe.asked)) == len(probe.asked)  # nothing was made twice
    page.get_by_label("frame", exact=True).fill("20")
    wait(page, 20)
    stage.press("i")
    stage.press("Space")
    page.wait_for_function("view.t > 24")
    stage.press("Space")
    shoot(page, "clip_view")


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_click_means_the_pixel_under_the_pointer(probe: Probe, mount: Callable[..., Any], ratio: float) -> None:
    page = mount(probe, ratio=ratio)
    wait(page, 3)
    canvas = page.locator(".wl-stage canvas").first
    box = canvas.bounding_box()
    scale = box["width"] / WIDTH
    for x, y in [(10.5, 20.5), (300.5, 200.5), (511.5, 0.5)]:
        canvas.click(position={"x": x * scale, "y": y * scale})
    for got, (x, y) in zip(page.evaluate("places"), [(10.5, 20.5), (300.5, 200.5), (511.5, 0.5)], strict=True):
        assert got[:2] == pytest.approx((x, y), abs=1)
        assert got[2] == 3
    page.evaluate("view.zoomTo(4, { x: 100, y: 60 })")
    assert page.evaluate("view.look.zoom") == 4
    shift = box["width"] / 4, 0
    before = page.evaluate("view.look.x")
    page.keyboard.down("Alt")
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 - shift[0], box["y"] + 100, steps=3)
    page.mouse.up()
    page.keyboard.up("Alt")
    assert page.evaluate("view.look.x") - before == pytest.approx(WIDTH / 16, abs=1)
    look = page.evaluate("[view.look.x, view.look.y]")
    canvas.click(position={"x": 50, "y": 70})
    expected = [look[0] + (50 - box["width"] / 2) / (4 * scale), look[1] + (70 - box["height"] / 2) / (4 * scale)]
    assert page.evaluate("places.at(-1)")[:2] == pytest.approx(expected, abs=0.5)


def test_what_fails_in_the_kernel_is_said(probe: Probe, mount: Callable[..., Any]) -> None:
    page = mount(probe)
    wait(page, 3)
    page.evaluate("view.setLayers(['clip', 'nothing'])")
    page.get_by_role("alert").get_by_text("layer must be clip, got 'nothing'").wait_for()
