"""The pose widget in a browser: joints lie where they are dropped, a click goes to its frame, every action is in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Lab, run_notebook, scroll_to

from wanlab import config, inputs, media, pose
from wanlab.inputs import edits
from wanlab.pose import corrections as corrections_module
from wanlab.steps import inspect
from wanlab.widgets.pose_review import PoseReview

pytestmark = pytest.mark.browser
FRAMES, HEIGHT, WIDTH = 30, 288, 512
LEFT_WRIST, RIGHT_WRIST = 9, 10


def skeleton() -> np.ndarray:
    """Return a person who stands in the image and lifts the left arm: [FRAMES, 133, 3]."""
    points = np.zeros((FRAMES, 133, 3), np.float32)
    body = {0: (256, 50), 1: (262, 44), 2: (250, 44), 3: (270, 48), 4: (242, 48), 5: (290, 90), 6: (222, 90), 7: (330, 130), 8: (182, 130), 9: (350, 180), 10: (162, 180), 11: (275, 165), 12: (237, 165), 13: (278, 240), 14: (234, 240), 15: (280, 280), 16: (232, 280)}  # fmt: skip
    for row, place in body.items():
        points[:, row] = *place, 0.9
    lift = np.arange(FRAMES, dtype=np.float32) * 2
    points[:, LEFT_WRIST, 1] -= lift
    for wrist, first in ((LEFT_WRIST, 91), (RIGHT_WRIST, 112)):
        for i in range(21):
            finger, joint = divmod(max(i - 1, 0), 4)
            offset = (0, 0) if i == 0 else ((finger - 2) * 6, 8 + 5 * joint)
            points[:, first + i, :2] = points[:, wrist, :2] + offset
            points[:, first + i, 2] = 0.9
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points[:, 23:91, 0], points[:, 23:91, 1], points[:, 23:91, 2] = 256 + 16 * np.cos(turn), 52 + 20 * np.sin(turn), 0.9
    points[12:15, 91:112, 2] = 0.1  # a gap in the left hand
    points[20, 23:91, 2] = 0.1  # no face
    return points


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inspect.Inspection]:
    """Yield an inspection of inputs of animate with this person, made without a detector. The outputs folder stays set."""
    place, points, fps = tmp_path_factory.mktemp("posed") / "inputs", skeleton(), Fraction(16)
    patch = pytest.MonkeyPatch()
    patch.setenv("WANLAB_OUTPUTS", str(place.with_name("outputs")))
    place.mkdir()
    noise = np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3), np.uint8)
    video = np.stack([np.roll(noise, t, axis=1) for t in range(FRAMES)])
    media.write_image(place / inputs.REFERENCE, noise)
    media.write_video(place / inputs.DRIVING, video, fps, lossless=True)
    drawn = list(pose.draw(pose.to_meta(points, HEIGHT, WIDTH), HEIGHT, WIDTH))
    for name, frames in (("pose_video", drawn), ("face_video", np.full((FRAMES, 512, 512, 3), 90, np.uint8))):
        export, master = inputs.EXPORTS[name]
        media.write_video(place / master, frames, fps, lossless=True)
        media.write_video(place / export, frames, fps)
    np.savez(place / inputs.KEYPOINTS, keypoints=points, reference_keypoints=points[0])
    inputs.write_facts(
        place, mode="animate", clip_height=HEIGHT, clip_width=WIDTH, run="none", parent=None, no_face=[20]
    )
    yield inspect.work(inspect.prepare(config.InspectSettings.build({"inputs": place})))
    patch.undo()


@pytest.fixture
def seen(looked_at: inspect.Inspection) -> Iterator[inspect.Inspection]:
    """Yield the inspection; take the corrections away afterwards."""
    yield looked_at
    looked_at.edits.unlink(missing_ok=True)


@pytest.fixture
def review(seen: inspect.Inspection) -> Iterator[PoseReview]:
    """Return the widget."""
    widget = PoseReview(seen)
    yield widget
    widget.close()


def kept(seen: inspect.Inspection) -> list[dict[str, Any]]:
    return json.loads(seen.edits.read_text())["pose"]


def wait(page: Any, t: int) -> None:
    page.locator(f"section.wl[data-pose='{t}'] .wl-view[data-frame='{t}']").wait_for()


def go(page: Any, t: int) -> None:
    page.get_by_label("frame", exact=True).fill(str(t))
    wait(page, t)


def corrections(page: Any, count: int) -> None:
    page.locator(f"section.wl[data-corrections='{count}']").wait_for()


def drag(page: Any, canvas: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one place to another, both in pixels of the clip, at whatever size and zoom (1) it is shown."""
    box = canvas.bounding_box()
    scale = box["width"] / WIDTH
    page.mouse.move(box["x"] + start[0] * scale, box["y"] + start[1] * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + (start[0] + end[0]) / 2 * scale, box["y"] + (start[1] + end[1]) / 2 * scale)
    page.mouse.move(box["x"] + end[0] * scale, box["y"] + end[1] * scale)
    page.mouse.up()


def colour(page: Any, x: float, y: float) -> list[int]:
    """Return what is on the canvas at a place of the clip."""
    script = """([x, y]) => { const c = document.querySelector('.wl-stage canvas'), s = c.width / %d;
                             return [...c.getContext('2d').getImageData(x * s, y * s, 1, 1).data].slice(0, 3); }"""
    return page.evaluate(script % WIDTH, [x, y])


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_joint_lies_where_it_was_dropped(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any], ratio: float
) -> None:
    page = mount(review, ratio=ratio)
    go(page, 4)
    start = tuple(map(float, review.points[4, LEFT_WRIST, :2]))
    drag(page, page.locator(".wl-stage canvas"), start, (400.5, 60.25))
    corrections(page, 1)
    (entry,) = kept(seen)
    assert (entry["do"], entry["frame"], entry["joint"]) == ("move", 4, LEFT_WRIST)
    assert (entry["x"], entry["y"]) == pytest.approx((400.5, 60.25), abs=1)
    assert review.points[4, LEFT_WRIST].tolist() == pytest.approx([entry["x"], entry["y"], 1.0], abs=0.01)
    assert colour(page, 400.5, 60.25) == list(pose.COLOURS[pose.BODY_NAMES.index("left wrist")])
    drag(page, page.locator(".wl-stage canvas"), (256, 50), (257, 50.5))  # less than a drag: nothing moves
    page.wait_for_timeout(200)
    assert len(kept(seen)) == 1


def test_at_four_times_the_size_a_joint_lies_where_it_was_dropped(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    page = mount(review)
    go(page, 4)
    stage = page.locator(".wl-stage")
    stage.focus()
    for _ in range(2):
        stage.press("+")
    box = page.locator(".wl-stage canvas").bounding_box()
    scale = 4 * box["width"] / WIDTH
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    x, y = map(float, review.points[4, 11, :2])  # the left hip is near the middle
    drag_from = middle[0] + (x - WIDTH / 2) * scale, middle[1] + (y - HEIGHT / 2) * scale
    page.mouse.move(*drag_from)
    page.mouse.down()
    page.mouse.move(drag_from[0] - 40, drag_from[1] - 60)
    page.mouse.up()
    corrections(page, 1)
    (entry,) = kept(seen)
    assert (entry["x"], entry["y"]) == pytest.approx((x - 40 / scale, y - 60 / scale), abs=0.5)


def test_a_click_on_the_timeline_goes_to_the_frame(review: PoseReview, mount: Callable[..., Any]) -> None:
    page = mount(review)
    wait(page, 0)
    strip = page.get_by_role("img", name="confidence of each part")
    box = strip.bounding_box()
    for t in (17, 3, FRAMES - 1):
        strip.click(position={"x": (t + 0.5) / FRAMES * box["width"], "y": 40})
        wait(page, t)
    strip.hover(position={"x": 13.5 / FRAMES * box["width"], "y": box["height"] * 5.5 / 12})
    page.get_by_text("frame 13: left hand, score 0.10, missing").wait_for()


def test_the_worst_frames_and_the_frames_without_a_face_are_there_to_click(
    review: PoseReview, mount: Callable[..., Any]
) -> None:
    page = mount(review)
    page.get_by_role("button", name="12–14 left hand missing").click()
    wait(page, 12)
    page.get_by_text("acts on frames 12 to 14").wait_for()
    page.get_by_role("button", name="12–14 left hand missing").press("n")  # the next fault
    wait(page, 20)
    none = page.get_by_role("button", name="frame 20, no usable face")
    none.wait_for()
    assert none.get_attribute("aria-current") == "true"
    page.get_by_role("button", name="frame 22", exact=True).click()
    wait(page, 22)


def test_every_action_is_in_the_file_and_can_be_undone(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any], shoot: Callable[[Any, str], None]
) -> None:
    page = mount(review)
    go(page, 13)
    page.get_by_role("button", name="left hand", exact=True).click()
    page.get_by_role("button", name="Draw the part again").click()  # no stretch: the gap around the frame
    corrections(page, 1)
    expected = [{"do": "interpolate", "part": "left hand", "first": 12, "last": 14}]
    assert kept(seen) == expected
    hand = review.points[13, 91:112]
    assert (hand[:, 2] > 0.5).all()
    np.testing.assert_allclose(hand[:, :2] - review.points[13, 9, :2], skeleton()[0, 91:112, :2] - skeleton()[0, 9, :2], atol=0.01)  # fmt: skip
    go(page, 5)
    page.get_by_role("button", name="The stretch to be corrected begins").click()
    go(page, 7)
    page.get_by_role("button", name="The stretch to be corrected ends").click()
    page.get_by_role("button", name="Left and right hand change over").click()
    corrections(page, 2)
    page.get_by_role("combobox", name="part").select_option("right hand")
    page.get_by_role("button", name="Hide the part").click()
    corrections(page, 3)
    go(page, 9)  # outside the stretch: the frame alone
    page.locator(".wl-stage").press("h")
    corrections(page, 4)
    expected += [
        {"do": "swap hands", "first": 5, "last": 7},
        {"do": "hide", "part": "right hand", "first": 5, "last": 7},
        {"do": "hide", "part": "right hand", "first": 9, "last": 9},
    ]
    assert kept(seen) == expected
    page.get_by_text("right hand hidden in frames 5-7, 9").wait_for()
    np.testing.assert_array_equal(review.points, corrections_module.apply(skeleton(), edits.read(seen.edits, FRAMES, HEIGHT, WIDTH).pose))  # fmt: skip
    shoot(page, "pose_review_light")
    page.locator(".wl-stage").press("Control+z")
    corrections(page, 3)
    page.get_by_role("button", name="Undo the last").click()
    corrections(page, 2)
    wait(page, 5)  # what was undone is shown
    assert kept(seen) == expected[:2]
    page.get_by_role("button", name="Correct again").click()
    corrections(page, 3)
    assert kept(seen) == expected[:3]


def test_joints_can_be_moved_with_the_keyboard_alone(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    page = mount(review)
    go(page, 2)
    page.get_by_role("button", name="right arm", exact=True).click()
    stage = page.locator(".wl-stage")
    for key in ("j", "j", "Alt+ArrowRight", "Alt+ArrowRight", "Alt+Shift+ArrowUp"):  # elbow, wrist, 2 right, 10 up
        stage.press(key)
    corrections(page, 1)
    page.wait_for_timeout(200)
    (entry,) = kept(seen)
    assert entry == {"do": "move", "frame": 2, "joint": RIGHT_WRIST, "x": 164.0, "y": 170.0}


def test_a_hand_comes_along_with_shift(review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]) -> None:
    page = mount(review, dark=True)
    go(page, 1)
    before = review.points[1].copy()
    page.keyboard.down("Shift")
    drag(page, page.locator(".wl-stage canvas"), (162, 180), (142, 150))
    page.keyboard.up("Shift")
    corrections(page, 22)
    moved = review.points[1, [RIGHT_WRIST, *range(112, 133)], :2] - before[[RIGHT_WRIST, *range(112, 133)], :2]
    np.testing.assert_allclose(moved, np.broadcast_to((-20, -30), (22, 2)), atol=1)
    page.locator(".wl-stage").press("Control+z")  # one action
    corrections(page, 0)
    assert kept(seen) == []


def test_what_cannot_be_done_is_said_and_nothing_is_kept(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    page = mount(review)
    go(page, 3)
    page.get_by_role("button", name="left foot", exact=True).click()
    page.get_by_role("button", name="Draw the part again").click()
    page.get_by_role("alert").get_by_text("left foot must be seen in a frame beside the stretch").wait_for()
    assert not seen.edits.exists()


def test_the_worst_fault_is_mended_in_two_clicks(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    page = mount(review)
    worst = page.get_by_role("list", name="frames to look at, the worst first")
    worst.get_by_role("button").first.click()
    page.get_by_role("button", name="Draw the part again").click()
    corrections(page, 1)
    assert kept(seen) == [{"do": "interpolate", "part": "face", "first": 20, "last": 20}]
    worst.get_by_text("no usable face").wait_for(state="detached")
    worst.get_by_role("button", name="12–14 left hand missing").click()
    page.get_by_role("button", name="Draw the part again").click()
    worst.get_by_text("no fault found").wait_for()
    page.get_by_text("left hand interpolated in frames 12 to 14").first.wait_for()


def test_a_joint_without_a_place_is_set_by_a_click(
    seen: inspect.Inspection, looked_at: inspect.Inspection, mount: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = skeleton()
    points[5, RIGHT_WRIST] = 0
    monkeypatch.setattr(inputs.AnimateInputs, "keypoints", lambda _: points)
    widget = PoseReview(seen)
    page = mount(widget)
    go(page, 5)
    page.get_by_role("button", name="right arm", exact=True).click()
    stage = page.locator(".wl-stage")
    stage.press("j")
    stage.press("j")
    page.get_by_text("right wrist, score 0.00: not drawn").wait_for()
    drag(page, page.locator(".wl-stage canvas"), (300.5, 40.5), (300.5, 40.5))
    corrections(page, 1)
    (entry,) = kept(seen)
    assert (entry["do"], entry["frame"], entry["joint"]) == ("move", 5, RIGHT_WRIST)
    np.testing.assert_allclose((entry["x"], entry["y"]), (300.5, 40.5), atol=1)
    assert widget.points[5, RIGHT_WRIST, 2] == 1
    widget.close()


def test_what_pose_cleaning_did_is_listed_and_can_be_undone(
    seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    settings = config.InspectSettings.build({"inputs": seen.parent.folder, "pose_cleaning": "gaps:6"})
    cleaned = inspect.work(inspect.prepare(settings))
    widget = PoseReview(cleaned)
    page = mount(widget)
    done = page.get_by_role("list", name="corrections")
    done.get_by_text("left hand interpolated in frames 12 to 14").wait_for()
    page.get_by_role("button", name="Undo the last correction").click()
    done.get_by_text("nothing yet").wait_for()
    page.get_by_text("12–14").wait_for()
    assert kept(cleaned) == []
    widget.close()


def test_another_kernel_s_corrections_are_taken_over(
    review: PoseReview, seen: inspect.Inspection, mount: Callable[..., Any]
) -> None:
    edits.update(seen.edits, pose=[{"do": "hide", "part": "left hand", "first": 0, "last": 3}])
    again = PoseReview(seen)
    assert not again.points[:4, 91:112, 2].any()
    page = mount(again)
    corrections(page, 1)
    page.get_by_text("left hand hidden in frames 0 to 3").wait_for()
    again.close()


def test_in_jupyterlab_corrections_become_new_inputs_equal_to_a_headless_replay_s(
    seen: inspect.Inspection, lab: Lab, browser: Any, tmp_path: Path, shoot: Callable[[Any, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
    panel = run_notebook(page, lab, "20_inspect", f'inputs = "{seen.parent.folder}"')
    review = panel.get_by_role("region", name="Pose review")
    scroll_to(page, panel, review)
    review.locator(".wl-view[data-frame='0']").wait_for()
    review.get_by_role("button", name="12–14 left hand missing").click()
    panel.locator("section.wl[data-pose='12']").wait_for()
    review.get_by_role("button", name="Draw the part again").click()
    panel.locator("section.wl[data-corrections='1']").wait_for()
    wrist = corrections_module.apply(skeleton(), [])[12, RIGHT_WRIST, :2]
    drag(page, review.locator("canvas").first, tuple(map(float, wrist)), (120.5, 200.5))
    panel.locator("section.wl[data-corrections='2']").wait_for()
    shoot(page, "pose_review_lab")
    gap, move = kept(seen)
    assert gap == {"do": "interpolate", "part": "left hand", "first": 12, "last": 14}
    assert (move["frame"], move["joint"]) == (12, RIGHT_WRIST)
    assert (move["x"], move["y"]) == pytest.approx((120.5, 200.5), abs=1)
    apply = panel.locator(".jp-CodeCell", has_text="corrected = inspect.replay(inspection)")
    scroll_to(page, panel, apply)
    apply.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    apply.locator("pre", has_text="right wrist moved in frame 12").first.wait_for(timeout=60000)  # the list says it too
    apply.locator("img").first.wait_for()
    shoot(page, "pose_changes_lab")
    said = re.search(r"inputs: (\S+)", apply.locator(".jp-OutputArea").inner_text())
    assert said is not None
    page.close()
    here = inputs.read(lab.outputs / said[1])
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "outputs"))
    replayed = {"inputs": seen.parent.folder, "edits": seen.edits}
    there = inspect.work(inspect.prepare(config.InspectSettings.build(replayed))).made
    assert here.sha256() == there.sha256() != seen.parent.sha256()
    np.testing.assert_array_equal(here.keypoints(), there.keypoints())
