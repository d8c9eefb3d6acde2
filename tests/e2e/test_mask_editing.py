"""The mask editor in Chromium: where a click lands, every tool and key, and that nothing decided is ever lost."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import Lab, run_notebook, scroll_to

from wanlab import config, inputs, media
from wanlab.inputs import edits
from wanlab.mask import person
from wanlab.mask.prompts import Click, Prompts
from wanlab.steps import inspect
from wanlab.widgets import live_masks
from wanlab.widgets.mask_editor import MaskEditor

pytestmark = pytest.mark.browser
FRAMES, HEIGHT, WIDTH = 12, 360, 640
Show = Callable[..., Any]


class Discs:
    """Finds a disc of 40 pixels around a click, everything in the lower left corner, and what is in a box."""

    def of_click(self, click: Click, against: Any) -> np.ndarray:
        found = np.zeros((HEIGHT, WIDTH), np.uint8)
        corner = click.x < 40 and click.y > HEIGHT - 40
        cv2.circle(found, (int(click.x), int(click.y)), WIDTH if corner else 40, 1, -1)
        return found.astype(bool)

    def of_box(self, box: Any, against: Any) -> np.ndarray:
        found = np.zeros((HEIGHT, WIDTH), bool)
        found[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        return found


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MaskEditor:
    """Return an editor of a clip with a marker at (100, 50), (400, 300) and (639, 0); the outline is a square."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 70, np.uint8)
    for t, frame in enumerate(frames):
        cv2.circle(frame, (240 + 10 * t, 180), 40, (170, 160, 150), -1)
        for x, y in ((100, 50), (400, 300), (639, 0)):
            frame[max(0, y - 1) : y + 2, x - 1 : x + 2] = 255
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for t in range(FRAMES):
        outline[t, 60:280, 60 + 10 * t : 380 + 10 * t] = True
    packed = np.packbits(outline, axis=-1)
    np.savez(tmp_path / "mask.npz", mask=packed, mask_final=packed, shape=np.array(outline.shape))
    made = inputs.AnimateInputs(
        tmp_path, "replace", {"mask_video": tmp_path / "mask.npz"}, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ()
    )

    def follow(_: Any, marks: Any, seeds: Any, within: range) -> Iterator[tuple[int, list[np.ndarray]]]:
        yield from ((t, list(seeds)) for t in within if t != marks[0].frame)

    monkeypatch.setattr(live_masks.LiveMasks, "_keypoints", lambda _: np.zeros((FRAMES, 133, 3), np.float32))
    monkeypatch.setattr(person.PersonMasker, "_finder", lambda *_: Discs())
    monkeypatch.setattr(person._Follower, "follow", follow)
    asked = config.InspectSettings.build({"sam_checkpoint": "none"})
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    seen = inspect.Inspection(tmp_path, made, False, clip, "", None, {}, made, tmp_path / edits.EDITS, (), asked)
    return MaskEditor(seen, clip)


def kept(editor: MaskEditor) -> edits.Edits:
    return edits.read(editor.path, FRAMES, HEIGHT, WIDTH)


def shown(page: Any, t: int) -> None:
    page.locator(f".wl-view[data-frame='{t}']").wait_for()


def saved(page: Any, count: int) -> None:
    page.get_by_text(f"{count} mark{'' if count == 1 else 's'}, kept in edits.json").wait_for()


def at(page: Any, x: float, y: float) -> dict[str, float]:
    """Return where the middle of the clip's pixel lies on the canvas, by the size that the page gives it."""
    box = page.locator(".wl-stage canvas").bounding_box()
    return {"x": (x + 0.5) * box["width"] / WIDTH, "y": (y + 0.5) * box["height"] / HEIGHT}


def bright(page: Any) -> list[float]:
    """Return where the bright pixel is that is nearest the middle of the canvas, CSS pixels from its corner."""
    return page.evaluate("""() => {
        const c = document.querySelector('.wl-stage canvas');
        const { data, width, height } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        let n = 0, x = 0, y = 0;
        for (let i = 0; i < width * height; i++)
          if (Math.min(data[4 * i], data[4 * i + 1], data[4 * i + 2]) > 200) { n++; x += i % width + 0.5; y += Math.floor(i / width) + 0.5; }
        return [x / n / devicePixelRatio, y / n / devicePixelRatio, n];
    }""")


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_click_lands_within_a_pixel_also_at_four_times_the_size(editor: MaskEditor, mount: Show, ratio: int) -> None:
    page = mount(editor, ratio=ratio)
    shown(page, FRAMES // 2)
    canvas = page.locator(".wl-stage canvas")
    for count, (x, y) in enumerate([(100, 50), (400, 300), (639, 0)], 1):
        canvas.click(position=at(page, x, y))
        saved(page, count)
        click = kept(editor).points.clicks[-1]
        assert (click.x, click.y) == pytest.approx((x + 0.5, y + 0.5), abs=1)
        assert click.frame == FRAMES // 2
    page.get_by_role("button", name="Clear:").click()
    canvas.hover(position=at(page, 400, 300))
    page.keyboard.down("Control")
    for _ in range(2):
        page.mouse.wheel(0, -200)  # twice the size each
    page.keyboard.up("Control")
    page.wait_for_timeout(300)
    page.mouse.move(5, 5)  # off the image: no preview lies over it
    page.wait_for_timeout(100)
    x, y, count = bright(page)  # where the image itself has the marker
    assert count > 10 * ratio
    canvas.click(position={"x": x, "y": y})
    saved(page, 1)
    click = kept(editor).points.clicks[-1]
    assert (click.x, click.y) == pytest.approx((400.5, 300.5), abs=0.5)


def test_points_boxes_and_strokes_by_mouse_and_keyboard(editor: MaskEditor, mount: Show, shoot: Show) -> None:
    page = mount(editor)
    shown(page, 6)
    canvas, stage = page.locator(".wl-stage canvas"), page.locator(".wl-stage")
    canvas.click(position=at(page, 300, 180))
    canvas.click(position=at(page, 350, 180), modifiers=["Shift"])
    canvas.click(position=at(page, 300, 250), button="right")
    saved(page, 3)
    assert [click.positive for click in kept(editor).points.clicks] == [True, False, False]
    page.get_by_text("the others are out of date: propagate").wait_for()
    stage.press("ArrowRight")
    shown(page, 7)
    page.get_by_text("mask out of date: propagate").wait_for()
    shoot(page, "mask_editor_outdated")
    canvas.click(position=at(page, 330, 170))
    saved(page, 4)
    assert [click.frame for click in kept(editor).points.clicks] == [6, 7, 6, 6]  # positive ones first
    stage.press("Control+z")
    saved(page, 3)
    stage.press("Control+Shift+Z")
    saved(page, 4)
    stage.press(",")
    shown(page, 6)
    drag(page, at(page, 300, 180), at(page, 320, 190))
    page.wait_for_timeout(200)
    assert kept(editor).points.clicks[0][1:3] == pytest.approx((320.5, 190.5), abs=1.5)
    stage.press("Delete")  # the one that was dragged is chosen
    saved(page, 3)
    assert not any(click.positive for click in kept(editor).points.clicks if click.frame == 6)
    stage.press("b")
    page.get_by_role("button", name="Begin another object").click()
    drag(page, at(page, 200, 100), at(page, 420, 260))
    saved(page, 4)
    assert kept(editor).points.boxes[0] == pytest.approx((6, 200.5, 100.5, 420.5, 260.5, 2), abs=1)
    drag(page, at(page, 420, 260), at(page, 400, 240))  # its corner
    page.wait_for_timeout(200)
    assert kept(editor).points.boxes[0] == pytest.approx((6, 200.5, 100.5, 400.5, 240.5, 2), abs=1.5)
    stage.press("d")
    stage.press("]")
    drag(page, at(page, 500, 100), at(page, 560, 160))
    saved(page, 5)
    stage.press("e")
    page.get_by_label("carry to other frames").check()
    drag(page, at(page, 270, 200), at(page, 330, 200))
    saved(page, 6)
    added, erased = kept(editor).strokes
    assert (added.frame, added.add, added.radius, added.carried) == (6, True, 12.0, False)
    assert (erased.add, erased.carried) == (False, True)
    assert added.path[0] == pytest.approx((500.5, 100.5), abs=1)
    assert added.path[-1] == pytest.approx((560.5, 160.5), abs=4)
    stage.press("i")
    stage.press("End")
    shown(page, FRAMES - 1)
    stage.press("ArrowLeft")
    shown(page, FRAMES - 2)
    stage.press("o")
    page.wait_for_timeout(200)
    assert kept(editor).stretch == (6, FRAMES - 2)
    stage.press(",")
    page.wait_for_timeout(300)
    shoot(page, "mask_editor_marks")


def test_a_flood_is_asked_about_a_frame_is_locked_and_marks_are_set_by_keyboard(
    editor: MaskEditor, mount: Show, shoot: Show
) -> None:
    page = mount(editor, width=1280, height=720)
    shown(page, 6)
    stage = page.locator(".wl-stage")
    page.locator(".wl-stage canvas").click(position=at(page, 10, HEIGHT - 10))
    page.get_by_text("⚠ Not kept: this would change").wait_for()
    shoot(page, "mask_editor_doubt")
    assert kept(editor).points.clicks == ()
    page.get_by_role("button", name="Keep anyway").click()
    saved(page, 1)
    stage.press("Control+z")
    for _ in range(3):
        stage.press("Alt+Shift+ArrowRight")
    stage.press("Alt+ArrowUp")
    stage.press("x")
    saved(page, 1)
    click = kept(editor).points.clicks[-1]
    assert (click.frame, click.x, click.y, click.positive) == (6, WIDTH / 2 + 30, HEIGHT / 2 - 1, True)
    stage.press("Shift+X")
    saved(page, 2)
    assert not kept(editor).points.clicks[-1].positive
    stage.press("l")
    page.get_by_text("this frame stays as it is").wait_for()
    page.wait_for_timeout(200)
    shoot(page, "mask_editor_locked")
    assert [lock.frame for lock in kept(editor).locked] == [6]


def drag(page: Any, start: dict[str, float], end: dict[str, float]) -> None:
    box = page.locator(".wl-stage canvas").bounding_box()
    page.mouse.move(box["x"] + start["x"], box["y"] + start["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + end["x"], box["y"] + end["y"], steps=8)
    page.mouse.up()


def test_propagation_preview_and_exchange(editor: MaskEditor, mount: Show, shoot: Show) -> None:
    page = mount(editor, dark=True, width=900)
    shown(page, 6)
    canvas, stage = page.locator(".wl-stage canvas"), page.locator(".wl-stage")
    canvas.click(position=at(page, 300, 180))
    page.get_by_text("this frame shows your marks").wait_for()
    canvas.hover(position=at(page, 500, 100))
    yellow = """() => { const c = document.querySelector('.wl-stage canvas');
        const [r, g, b] = c.getContext('2d').getImageData(%s, 1, 1).data; return r > 110 && g > 100 && b < 90; }"""
    where = at(page, 515, 100)
    page.wait_for_function(yellow % f"{where['x']}, {where['y']}")  # the mask that a click would give
    shoot(page, "mask_editor_dark")
    stage.press("Enter")
    page.get_by_role("button", name="Have the other frames follow the marks").and_(page.locator(":disabled")).wait_for()
    page.wait_for_timeout(200)
    assert not editor.outdated
    stage.press("Home")
    shown(page, 0)
    assert page.get_by_text("out of date").count() == 0
    page.get_by_text("import, export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the points as JSON").click()
    exported = json.loads(Path(download.value.path()).read_text())
    assert exported["positive"][0]["frame"] == 6
    page.get_by_role("textbox", name="points as JSON").fill('[{"x": 10, "y": 20}]')
    page.get_by_role("button", name="Replace the points by those pasted").click()
    saved(page, 1)
    assert kept(editor).points == Prompts((Click(0, 10.0, 20.0, True),))
    page.get_by_role("textbox", name="points as JSON").fill("[{]")
    page.get_by_role("button", name="Replace the points by those pasted").click()
    page.get_by_role("alert").get_by_text("the file must be JSON").wait_for()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Return inputs of a grey disc that moves over dark ground; their mask is a square around it, nobody was found."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 40, np.uint8)[:, :352]
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
    return folder


def kill_kernel(page: Any, lab: Lab) -> None:
    """Kill the notebook's kernel as the machine does when memory runs out."""
    kernel = page.request.get(f"{lab.base}/api/kernels?token={lab.token}").json()[-1]["id"]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        if f"kernel-{kernel}.json" in process.read_text(errors="replace"):
            os.kill(int(process.parent.name), signal.SIGKILL)
            return
    raise AssertionError("no such process")


@pytest.mark.slow
def test_a_killed_kernel_loses_nothing_and_a_headless_replay_makes_the_same_inputs(
    lab: Lab, browser: Any, given: Path, tmp_path: Path, shoot: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
    chosen = f'inputs = "{given}"; auto_keypoint = False; compare = ["snap:16"]; sam_checkpoint = "none"'
    panel = run_notebook(page, lab, "20_inspect", chosen)
    editor = panel.get_by_role("region", name="Mask editor")
    canvas = editor.locator("canvas").first
    scroll_to(page, panel, editor)
    editor.locator(f".wl-view[data-frame='{FRAMES // 2}']").wait_for()
    box = canvas.bounding_box()
    scale = box["width"] / WIDTH
    canvas.click(position={"x": 300.5 * scale, "y": 180.5 * scale})
    canvas.click(position={"x": 500.5 * scale, "y": 40.5 * scale}, modifiers=["Shift"])
    canvas.click(position={"x": 60.5 * scale, "y": 300.5 * scale}, modifiers=["Shift"])
    editor.get_by_text("3 marks, kept in").wait_for()
    kill_kernel(page, lab)
    clicks = edits.read(given / edits.EDITS, FRAMES, 352, WIDTH).points.clicks
    assert [click.positive for click in clicks] == [True, False, False]
    assert clicks[0][1:3] == pytest.approx((300.5, 180.5), abs=1)
    page.close()
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    panel = run_notebook(page, lab, "20_inspect", chosen)
    editor = panel.get_by_role("region", name="Mask editor")
    scroll_to(page, panel, editor)
    editor.get_by_text("3 marks, kept in").wait_for()  # a new kernel, and everything is there
    canvas = editor.locator("canvas").first
    editor.locator(".wl-stage").press("d")
    canvas.click(position={"x": 200, "y": 60})
    editor.get_by_text("4 marks, kept in").wait_for()
    editor.get_by_role("button", name="Propagate").click()
    editor.get_by_text("out of date").wait_for(state="detached")
    shoot(page, "mask_editor_lab")
    here = apply(page, panel, lab, "3 points on 1 frame")
    page.close()
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "outputs"))
    replayed = {"inputs": given, "edits": given / edits.EDITS, "auto_keypoint": False, "sam_checkpoint": "none"}
    there = inspect.work(inspect.prepare(config.InspectSettings.build(replayed))).made
    assert here.folder != there.folder
    assert here.sha256() == there.sha256()
    assert here.mask().any()
    assert not np.array_equal(here.mask(), inputs.read(given).mask())
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    panel = run_notebook(page, lab, "20_inspect", chosen.partition("; ")[2])  # inputs: the latest, those of Apply
    editor = panel.get_by_role("region", name="Mask editor")
    scroll_to(page, panel, editor)
    editor.get_by_text("4 marks, kept in").wait_for()
    editor.locator(f".wl-view[data-frame='{FRAMES // 2}']").wait_for()
    page.get_by_text("| Idle").wait_for()  # what other cells show no longer moves this one
    editor.scroll_into_view_if_needed()
    shoot(page, "mask_editor_again")
    box = editor.locator("canvas").first.bounding_box()
    scale = box["width"] / WIDTH
    page.mouse.move(box["x"] + 500.5 * scale, box["y"] + 40.5 * scale)  # the second click
    page.mouse.down()
    page.mouse.move(box["x"] + 510.5 * scale, box["y"] + 50.5 * scale, steps=4)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the widget chooses a dragged mark once its kernel has answered
    shoot(page, "mask_editor_dragged")
    editor.locator(".wl-stage").press("Delete")
    editor.get_by_text("3 marks, kept in").wait_for()
    here = apply(page, panel, lab, "2 points on 1 frame")
    page.close()
    now = json.loads((given / edits.EDITS).read_text())
    edits.update(
        tmp_path / "never.json",
        points={"positive": [clicks[0]._asdict()], "negative": [clicks[2]._asdict()]},
        strokes=now["strokes"],
    )
    replayed["edits"] = tmp_path / "never.json"  # the second click was never made
    there = inspect.work(inspect.prepare(config.InspectSettings.build(replayed))).made
    assert here.sha256() == there.sha256()


def apply(page: Any, panel: Any, lab: Lab, points: str) -> inputs.AnimateInputs:
    """Run the cell Apply; return the inputs that it names once it says so many points and a brush stroke."""
    cell = panel.locator(".jp-CodeCell", has_text="corrected = inspect.replay(inspection)")
    scroll_to(page, panel, cell)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    done = re.compile(rf"^inputs: (\S+)\s+{points}\s+1 brush stroke on 1 frame", re.M)
    for _ in range(200):
        said = done.search(cell.locator(".jp-OutputArea").inner_text())
        if said:
            return inputs.read(lab.outputs / said[1])
        page.wait_for_timeout(300)
    raise AssertionError(f"Apply did not say so, but {cell.locator('.jp-OutputArea').inner_text()}")
