"""JupyterLab as `make lab` starts it: on this machine only, with a token, at the README; a notebook runs in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_lab_opens_at_the_readme_and_runs_a_notebook(address: str) -> None:
    from playwright.sync_api import sync_playwright

    base, token = address.split("/lab")[0], address.split("token=")[1]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.goto(address)
        page.get_by_text("A Jupyter research workbench").first.wait_for(timeout=60000)
        page.goto(f"{base}/lab/tree/notebooks/10_preprocess.ipynb?token={token}")
        page.locator(".jp-Notebook h1").first.wait_for(timeout=60000)
        parameters = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
        parameters.click()
        page.keyboard.press("Control+End")
        page.keyboard.type("\nmax_frames = 3")
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).first.click()
        page.get_by_text("preprocess run outputs").first.wait_for(timeout=90000)
        page.locator(".jp-OutputArea img").first.wait_for(timeout=90000)
        assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        browser.close()
