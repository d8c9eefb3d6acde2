"""Jobs of the bench in JupyterLab: a generation started and watched, a tab reloaded and still watched, stopped and continued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Lab, open_notebook

from wanlab import config, runs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "outputs/watching_test.ipynb"  # in the server's root, which git ignores


@pytest.fixture
def notebook(folder: Path) -> Iterator[str]:
    """Put a copy of 30_generate, whose parameters make two segments of some seconds, where JupyterLab may save it."""
    content = json.loads((config.project_root() / "notebooks" / "30_generate.ipynb").read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if "parameters" in cell["metadata"].get("tags", ()):
            more = (
                f"\ninputs = {str(folder)!r}\nnum_inference_steps = 150\nsegment_frame_length = 5\nguidance_scale = 1"
            )
            cell["source"] = "".join(cell["source"]) + more
    path = config.project_root() / NAME
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    yield NAME
    path.unlink(missing_ok=True)
    path.with_suffix(".py").unlink(missing_ok=True)  # its pair, which JupyterLab writes with it


def run_all(page: Any) -> None:
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()


def at_the_top(page: Any) -> Any:
    """Scroll to the top of the notebook, since *Run All* goes to the end, and return the widget there."""
    page.wait_for_timeout(2000)
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    return page.get_by_role("region", name="run", exact=True)


def test_a_generation_is_watched_reloaded_stopped_and_continued(lab: Lab, browser: Any, notebook: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    open_notebook(page, lab, notebook)
    page.get_by_text("| Idle").wait_for(timeout=120000)
    run_all(page)
    widget = at_the_top(page)
    widget.get_by_text("generate · segment 1 of 2 · step").wait_for(timeout=120000)
    widget.locator("canvas").wait_for(timeout=20000)
    page.reload()
    widget.get_by_text("segment 1 of 2 · step").wait_for(timeout=60000)  # without a click
    widget.locator("canvas").wait_for(timeout=20000)
    widget.get_by_role("button", name="Stop after this segment").click()
    page.wait_for_timeout(2000)
    assert page.get_by_text("| Busy").count()  # though the widget is answered twice a second
    widget.get_by_text("generate · completed in part").wait_for(timeout=120000)
    widget.get_by_text("run the cells below again to see what it made").wait_for()
    (folder,) = lab.outputs.glob("*_generate_*")
    assert runs.Run(folder).manifest["partial"] == {"segments": 1, "of_segments": 2, "frames": 5}
    widget.get_by_text("kept: 1 of 2 segments").wait_for()
    page.get_by_text("| Idle").wait_for(timeout=60000)
    widget.get_by_role("button", name="Continue").click()  # the second click after "Stop"
    widget = at_the_top(page)
    widget.get_by_text("generate · segment 2 of 2 · step").wait_for(timeout=60000)
    widget.get_by_text("generate · completed", exact=True).wait_for(timeout=120000)
    run = runs.Run(folder)
    assert "partial" not in run.manifest
    assert run.manifest["artefacts"]["video"]["frames"] == 9
    page.close()
