"""JupyterLab as `make lab` starts it: on this machine only, with a token, at the README; a notebook runs in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the server from another folder, with outputs of its own; return the address with its token."""
    if not CHROMIUM.is_file():
        pytest.skip("needs Debian's chromium; .ci/run installs it")
    place = tmp_path_factory.mktemp("lab")
    command = [str(Path(sys.executable).with_name("wanlab")), "lab", "--no-browser", "--port", "8911"]
    env = {**os.environ, "WANLAB_OUTPUTS": str(place / "outputs")}
    with subprocess.Popen(
        command, cwd=place, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as server:
        assert server.stderr is not None
        found = None
        for line in server.stderr:
            found = re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\S+", line)
            if found:
                break
        assert found, "the server did not start"
        yield found.group()
        server.terminate()
        server.stderr.close()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[object]:
    """Open JupyterLab in a browser; yield the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.goto(address)
        page.get_by_text("A Jupyter research workbench").first.wait_for(timeout=60000)
        yield page
        browser.close()


def run_notebook(page: Any, address: str, name: str, more: str) -> Any:
    """Open a notebook, add lines to its `parameters` cell and run all cells; return its panel."""
    base, token = address.split("/lab")[0], address.split("token=")[1]
    page.goto(f"{base}/lab/tree/notebooks/{name}.ipynb?token={token}")
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")  # those opened before are still in the page
    panel.get_by_role("heading", name=name.replace("_", " ").title()).wait_for(timeout=60000)
    panel.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+End")
    page.keyboard.type(f"\n{more}")
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    return panel


def test_lab_opens_at_the_readme_and_runs_a_notebook(page: Any, address: str) -> None:
    panel = run_notebook(page, address, "10_preprocess", 'max_frames = 3; mode = "replace"')
    panel.get_by_text("preprocess run outputs").first.wait_for(timeout=90000)
    panel.locator(".jp-OutputArea video").first.wait_for(timeout=90000)
    assert panel.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_masks_are_browsed_frame_by_frame(page: Any, address: str) -> None:
    """On the inputs of the test before: slider, mask and view change the picture."""
    panel = run_notebook(page, address, "20_inspect", "auto_keypoint = False")
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
    screenshots = os.environ.get("WANLAB_SCREENSHOTS")  # a folder, for someone who wants to look
    if screenshots:
        page.screenshot(path=Path(screenshots) / "mask_browser.png")
