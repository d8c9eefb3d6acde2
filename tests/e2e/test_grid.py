"""The grid player in a browser without a network, in a report page and in JupyterLab; a frame's grey is its number."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from browsing import Lab, open_notebook

from wanlab import config, media, viz
from wanlab.runs.page import render
from wanlab.viz import player

pytestmark = pytest.mark.browser

FRAMES, SHORT, SEAM = 41, 25, 21
FPS = 8  # slow, so that a busy machine keeps up
HOSTILE = "<img src=x onerror=console.log(1)>"
READ = """() => [...document.querySelectorAll('.result:not([hidden]) video, dialog[open] video[src]')]
  .filter(video => video.closest('dialog') || !document.querySelector('dialog[open]'))
  .map(video => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 1, 1);
    return Math.round((context.getImageData(0, 0, 1, 1).data[1] - 20) / 5);
  })"""
WATCH = f"""seconds => new Promise(done => {{
  const seen = [], end = performance.now() + 1000 * seconds;
  const look = () => {{ seen.push(({READ})()); performance.now() < end ? requestAnimationFrame(look) : done(seen); }};
  look();
}})"""
READY = "[...document.querySelectorAll('video[src]')].every(video => video.readyState === 4)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a notebook with four numbered results, one of them shorter, as a report does."""
    place = tmp_path_factory.mktemp("player")
    points = []
    for n, (scale, seed) in enumerate([(1.0, 1), (1.0, 2), (3.5, 1), (3.5, 2)]):
        frames = [np.full((96, 64, 3), 20 + 5 * t, np.uint8) for t in range(SHORT if n == 3 else FRAMES)]
        path = place / f"{n}.mp4"
        media.write_video(path, frames, Fraction(FPS))
        values = {"guidance_scale": scale, "seed": seed, "note": HOSTILE}
        link = Path(f"../run {n}/result.mp4")
        points.append(
            player.Point(f"result {n} {HOSTILE}", values, path, [SEAM], link, n + 1, f"wanlab generate --seed {n}")
        )
    given = {"reference": np.full((96, 64, 3), 200, np.uint8), "driver": media.open_clip(place / "0.mp4")}
    numbers = {
        "guidance_scale": [1.0, 1.0, 3.5, 3.5, 9.0],
        "psnr": [30.0, None, 32.0, 31.0, None],
        "run": [HOSTILE] * 5,
    }
    table = pd.DataFrame(numbers, index=pd.RangeIndex(1, 6, name="point"))  # the fifth has failed: it has no video
    shown = player.grid(points, given, viz.sortable(table), player.Star("a sweep", 3))
    output = nbformat.v4.new_output("display_data", {"text/html": shown.data, "text/plain": "a grid"})
    cell = nbformat.v4.new_code_cell("player.grid(points)", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A sweep"), cell])
    nbformat.write(notebook, place / "notebook.ipynb")
    render(place / "notebook.ipynb", place / "report.html")
    return place / "report.html"


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """Open the report offline; at the end nothing was requested and nothing said on the console."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    asked, said = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(report.as_uri())
    opened.wait_for_function(READY, timeout=20000)
    yield opened
    context.close()
    outside = [url for url in asked if not url.startswith("data:") and url != report.as_uri()]
    assert (outside, said) == ([], [])


def wait_for(page: Any, frames: list[int]) -> None:
    """Wait until the videos on the screen show these frames."""
    page.wait_for_function(f"() => JSON.stringify(({READ})()) === '{str(frames).replace(' ', '')}'", timeout=10000)


def test_scrubbing_brings_every_video_to_the_same_frame(page: Any) -> None:
    slider, number = page.get_by_label("frame", exact=True), page.locator(".number")
    for frame in (17, 3, 40, 0, 33, 12):
        slider.fill(str(frame))
        wait_for(page, [frame, frame, frame, min(frame, SHORT - 1)])
        assert number.inner_text() == f"{frame} / {FRAMES - 1}"
    page.evaluate("""() => { const slider = document.querySelector('input.frame');
        for (let n = 0; n <= 30; n++) { slider.value = n; slider.dispatchEvent(new Event('input')); } }""")
    wait_for(page, [30, 30, 30, SHORT - 1])
    assert page.locator(".result.over").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    time = page.locator(".given video").evaluate("(video) => video.currentTime")  # the driver plays along
    assert int(time * FPS) == 30
    boxes = [page.locator(name).first.bounding_box() for name in (".given img", ".given video", ".result video")]
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
    assert boxes[0]["y"] == boxes[1]["y"] == boxes[2]["y"]


def test_keys_step_and_play(page: Any) -> None:
    page.locator(".wanlab-player").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    wait_for(page, [4] * 4)
    page.keyboard.press("Space")
    seen = page.evaluate(WATCH, 1.0)
    page.keyboard.press("Space")
    assert max(seen[-1]) >= 4 + FPS // 2
    assert max(max(frames) - min(frames) for frames in seen) <= 1
    page.wait_for_function("[...document.querySelectorAll('video')].every(video => video.paused && !video.seeking)")
    assert len(set(page.evaluate(READ))) == 1


def test_slow_is_slow(page: Any) -> None:
    page.get_by_label("speed").select_option("1/4×")
    page.get_by_label("play (space)").click()
    assert 1 <= page.evaluate(WATCH, 2.0)[-1][0] <= FPS // 2 + 1


def test_a_seam_loop_stays_around_the_seam(page: Any) -> None:
    page.get_by_label("stretch to play").select_option(f"around seam {SEAM}")
    wait_for(page, [SEAM - 8] * 4)
    page.get_by_label("play (space)").click()
    seen = [frames[0] for frames in page.evaluate(WATCH, 17 / FPS + 1)]
    assert set(seen) <= set(range(SEAM - 8, SEAM + 9))
    assert any(later < earlier for earlier, later in itertools.pairwise(seen))  # it begins again
    assert min(seen) <= SEAM - 5  # a busy machine leaves frames out
    assert max(seen) >= SEAM + 5
    assert sum(b < a for a, b in itertools.pairwise(seen)) >= 1
    page.get_by_label("pause (space)").click()
    page.locator("input.frame").focus()
    for key in ("Home", *["ArrowLeft"] * 3):
        page.keyboard.press(key)
    wait_for(page, [SEAM - 8] * 4)


def test_a_filter_hides_and_pauses(page: Any) -> None:
    assert page.get_by_label("note").count() == 0  # one value: nothing to choose
    page.get_by_label("play (space)").click()
    page.get_by_label("guidance_scale").select_option("3.5")
    assert page.locator(".result:visible .title").all_inner_texts() == ["3", "4"]
    assert page.locator(".points tbody tr:visible").count() == 3  # the failed one stays
    page.wait_for_function(
        "[...document.querySelectorAll('.result video')].map(v => v.paused).join() === 'true,true,false,false'"
    )
    page.get_by_label("seed").select_option("1")
    assert page.locator(".tally").inner_text() == "1 of 4 shown"
    page.get_by_label("pause (space)").click()
    for name in ("guidance_scale", "seed"):
        page.get_by_label(name).select_option("all")
    page.get_by_label("frame", exact=True).fill("9")
    wait_for(page, [9] * 4)


def test_a_click_enlarges_and_escape_closes(page: Any) -> None:
    page.get_by_label("frame", exact=True).fill("11")
    small = page.locator(".result video").nth(1)
    small.click()
    large = page.locator("dialog video.left")
    wait_for(page, [11])
    assert large.bounding_box()["height"] > 1.5 * small.bounding_box()["height"]
    assert page.locator("dialog a:visible").evaluate_all("links => links.map(a => a.getAttribute('href'))") == [
        page.locator(".result a").nth(1).evaluate("a => a.href")
    ]
    assert page.locator(".result a").nth(1).get_attribute("href") == "../run%201/result.mp4"
    page.keyboard.press("ArrowRight")
    wait_for(page, [12])
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    wait_for(page, [12] * 4)


ORDER = """() => [...document.querySelectorAll('.result')].sort((a, b) => a.style.order - b.style.order).map(n => n.dataset.number).join('')"""


def test_a_click_on_a_head_sorts_table_and_results_the_best_first(page: Any) -> None:
    order = page.locator(".points tbody tr")

    def rows() -> str:
        return "".join(order.evaluate_all("rows => rows.map((row) => row.dataset.number)"))

    page.get_by_role("button", name="psnr").click()
    assert (rows(), page.evaluate(ORDER)) == ("34125", "3412")  # what is not known comes last
    page.get_by_role("button", name="psnr").click()
    assert (rows(), page.evaluate(ORDER)) == ("14325", "1432")
    page.get_by_role("button", name="guidance scale").click()
    assert rows() == "12435"  # equal ones stay as they were
    page.get_by_label("frame", exact=True).fill("7")
    wait_for(page, [7] * 4)


def test_a_star_makes_a_winner_whose_command_is_copied_and_the_page_is_dark_for_who_wants_it(
    page: Any, report: Path, shoot: Callable[[Any, str], None]
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert page.locator(".winner b").inner_text() == f"Winner: result 2 {HOSTILE}"  # the page's own
    page.get_by_label(f"make result 1 {HOSTILE} the winner").first.click()
    assert page.locator(".starred").evaluate_all("all => all.map((each) => each.dataset.number)") == ["2", "2"]
    page.get_by_text("Copy its command").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "wanlab generate --seed 1"
    page.goto(report.as_uri())
    assert page.locator(".winner b").inner_text() == f"Winner: result 1 {HOSTILE}"
    page.get_by_label(f"make result 1 {HOSTILE} the winner").last.click()  # in the table, once more: none
    assert page.locator(".starred").count() == 0

    def ground(what: str) -> list[str]:
        return page.locator(what).first.evaluate(
            "(n) => [getComputedStyle(n).backgroundColor, getComputedStyle(n).color]"
        )

    shoot(page, "grid_light")
    light = [ground(what) for what in ("main", ".wanlab-player", ".points td")]
    page.emulate_media(color_scheme="dark")
    shoot(page, "grid_dark")
    dark = [ground(what) for what in ("main", ".wanlab-player", ".points td")]
    assert light[:2] == [["rgb(255, 255, 255)", "rgb(28, 36, 48)"]] * 2
    assert dark[:2] == [["rgb(23, 27, 33)", "rgb(228, 232, 238)"]] * 2
    assert light[2][1] != dark[2][1]


def test_the_wipe_moves_by_mouse_and_by_keys(page: Any) -> None:
    page.get_by_text("Compare two").click()
    page.get_by_label("right result").select_option(f"result 2 {HOSTILE}")
    page.get_by_label("frame", exact=True).fill("15")
    wait_for(page, [15, 15])
    right, view = page.locator("dialog video.right"), page.locator(".view").bounding_box()

    def cut() -> float:
        found = re.search(r"([\d.]+)%\)$", right.evaluate("video => getComputedStyle(video).clipPath"))
        assert found is not None
        return float(found.group(1))

    assert cut() == 50
    page.mouse.move(view["x"] + view["width"] / 2, view["y"] + 40)
    page.mouse.down()
    page.mouse.move(view["x"] + view["width"] / 4, view["y"] + 90, steps=5)
    page.mouse.up()
    assert cut() == pytest.approx(25, abs=1)
    before = cut()
    page.keyboard.press("ArrowRight")
    assert cut() == before + 0.5
    wait_for(page, [15, 15])  # the arrow moved the divider, not the frame
    line = page.locator(".line").bounding_box()
    assert line["x"] + 1 == pytest.approx(view["x"] + view["width"] * cut() / 100, abs=1)


@pytest.fixture
def notebook(report: Path) -> Iterator[str]:
    """Write a notebook that shows the results below the server's root, in a folder that git ignores; return its path."""
    source = (
        "from pathlib import Path\nfrom wanlab.viz import player\n"
        f"player.grid([player.Point(n, {{'n': n}}, Path({str(report.parent)!r}, n + '.mp4'), [{SEAM}]) for n in '012'])"
    )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel})
    path = config.project_root() / "outputs" / f"grid_test_{os.getpid()}.ipynb"
    nbformat.write(content, path)
    yield f"outputs/{path.name}"
    path.unlink()


@pytest.mark.slow
def test_it_plays_in_jupyterlab(browser: Any, lab: Lab, notebook: str) -> None:
    """An executed cell runs the script, and JupyterLab's own shortcuts leave the keys to the player."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    panel = open_notebook(page, lab, notebook)
    page.get_by_text("| Idle").wait_for(timeout=60000)  # keys pressed before the kernel is there are lost
    panel.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    panel.locator(".jp-OutputArea .transport").wait_for(timeout=60000)
    page.wait_for_function(READY, timeout=20000)
    page.locator(".tally").click()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    wait_for(page, [1] * 3)
    page.keyboard.press("Space")
    page.get_by_label("pause (space)").wait_for()
    page.locator(".result video").first.click()
    page.locator("dialog.stage[open]").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog.stage[open]").wait_for(state="detached")
    page.close()
