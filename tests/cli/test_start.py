"""The start page: notebooks, newest runs with their state and what comes next, on no disk; nobody's text becomes markup."""

from __future__ import annotations

import asyncio
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, media, runs
from wanlab.cli import start


def made(step: str, parents: tuple[str, ...] = (), **chosen: object) -> runs.Run:
    settings = config.NOTEBOOKS[step][1].build(chosen)
    run = runs.open_run(step, settings, inputs={}, models={}, result_version=1, parents=parents)
    with run.working():
        return run


def rows() -> dict[str, str]:
    """Return the page's lines about runs by the run's id."""
    lines = start.page().splitlines()
    return {found[0]: line for line in lines if (found := re.findall(r"\d{8}T\d{6}_\w+", line))}


def test_without_runs_it_leads_to_the_notebooks(outputs: Path) -> None:
    text = start.page()
    for name, _ in config.NOTEBOOKS.values():
        assert f"](notebooks/{name}.ipynb)" in text
    assert "None yet" in text


def test_the_newest_runs_with_state_image_and_what_comes_next(outputs: Path) -> None:
    generated = made("generate", seed=1)
    media.write_video(generated.folder / "result.mp4", np.full((3, 64, 48, 3), 90, np.uint8), Fraction(8))
    sweep = made("sweep")
    sweep.save(points=[{"values": {}, "run": generated.id, "status": "completed"}])
    report = made("report", (sweep.id,), title="a | b <img src=x>")
    failed = runs.open_run("preprocess", config.PreprocessSettings.build({}), inputs={}, models={}, result_version=1)
    with pytest.raises(ValueError, match="no person"), failed.working():
        raise ValueError("no person | <b>\nanywhere")
    found = rows()
    assert list(found) == [failed.id, report.id, sweep.id, generated.id]
    images = [re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', line) for line in found.values()]
    assert images[0] == []
    assert (
        images[1] == images[2] == images[3] != []
    )  # a report's is that of its sweep, whose is that of its first point
    assert "[one page to share](notebooks/50_report.ipynb)" in found[generated.id]
    assert "failed (no person &#124; &lt;b&gt;)" in found[failed.id]
    assert "[go on with the same settings](notebooks/10_preprocess.ipynb)" in found[failed.id]
    assert "a &#124; b &lt;img src=x&gt;" in found[report.id]


def test_points_of_a_sweep_and_old_runs_are_left_out(outputs: Path) -> None:
    for seed in range(start.SHOWN + 2):
        made("generate", seed=seed)
    runs.open_run(
        "generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1, made_for="a sweep"
    )
    assert len(rows()) == start.SHOWN


def test_jupyter_gets_it_as_a_file_that_is_never_written(outputs: Path, tmp_path: Path) -> None:
    contents = start.OwnContents(root_dir=str(tmp_path))

    async def ask() -> list[dict]:
        saved = await contents.save({"type": "file", "format": "text", "content": "mine"}, start.PAGE)
        return [saved, await contents.get(start.PAGE), await contents.get("", content=True)]

    saved, page, folder = asyncio.run(ask())
    assert (saved["content"], page["content"], page["mimetype"]) == (None, start.page(), "text/markdown")
    assert folder["content"] == []
    assert list(tmp_path.iterdir()) == []
    assert asyncio.run(contents.file_exists(start.PAGE))
