"""A job of the bench in JupyterLab: a sweep is reported with a starred winner."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import Clicks, Lab, run_notebook, scroll_to

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_sweep_is_reported_with_its_winner_in_three_clicks(
    lab: Lab, browser: Any, folder: Path, shoot: Callable[..., None]
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    short = "num_inference_steps = 1; segment_frame_length = 5; guidance_scale = 1"
    panel = run_notebook(page, lab, "40_sweep", f'inputs = "{folder}"; grid = {{"shift": [3, 5]}}; {short}')
    winner = panel.get_by_role("region", name="winner")
    scroll_to(page, panel, winner)
    star = panel.get_by_role("button", name=re.compile("^make 2 .*the winner$")).first
    scroll_to(page, panel, star)
    click = Clicks(3)
    click(star)
    winner.get_by_text("★ Winner: 2 · shift 5").wait_for()
    click(winner.get_by_role("button", name="Make the report"))
    winner.get_by_text("Open the report").wait_for(timeout=120000)
    with page.expect_popup() as opened:
        click(winner.get_by_text("Open the report"))
    report = opened.value
    report.get_by_text("Winner: 2").first.wait_for(timeout=60000)
    shoot(report, "sweep_report_lab")
    (kept,) = lab.outputs.glob("*_sweep_*/winner.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["point"] == 2
    page.close()
