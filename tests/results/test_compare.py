"""Several runs side by side: what sets them apart, none twice, failed and equal ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.results import compare


def generation(inputs_sha: str, metrics: dict, **chosen: object) -> runs.Run:
    settings = config.GenerateSettings.build(chosen)
    made = {"inputs": {"folder": "somewhere", "sha256": inputs_sha}}
    run = runs.open_run("generate", settings, inputs=made, models={}, result_version=1, parents=(f"of {inputs_sha}",))
    with run.working():
        run.save(metrics=metrics)
    return run


def test_what_sets_generations_apart(outputs: Path) -> None:
    chosen = [
        generation("a", {"psnr": 30.0}, shift=3, seed=1, fresh=True),
        generation("a", {"psnr": None}, shift=5, seed=1),
        generation("b", {}, shift=5, seed=1),
    ]
    entries = compare.entries([*chosen, chosen[0]])
    assert [entry["run"] for entry in entries] == [run.id for run in chosen]
    assert compare.varied(entries) == ["inputs", "shift"]
    assert entries[2]["values"] == {"inputs": "of b", "shift": 5.0}
    assert compare.title(entries[0]) == "inputs of a, shift 3.0"
    table = compare.table(entries)
    assert list(table.columns) == ["inputs", "shift", "psnr", "seconds", "memory GiB", "run"]
    assert table.loc[1, "psnr"] == 30
    assert table.loc[3, "run"] == chosen[2].id
    assert table["memory GiB"].min() > 0


def test_one_run_is_called_by_its_id(outputs: Path) -> None:
    run = generation("a", {})
    (entry,) = compare.entries([run])
    assert compare.title(entry) == run.id
    assert list(compare.finished([entry])) == [run.id]


def test_a_sweep_stands_for_its_points(outputs: Path) -> None:
    run = generation("a", {}, shift=3)
    sweep = runs.open_run("sweep", config.SweepSettings.build({}), inputs={}, models={}, result_version=1)
    points = [
        {"values": {"shift": 3}, "run": run.id, "status": "completed"},
        {"values": {"shift": 4}, "status": "failed", "error": "RuntimeError: no memory"},
        {"values": {"shift": 9}, "status": "pending"},
    ]
    sweep.save(points=points)
    entries = compare.entries([sweep, run])
    assert len(entries) == 3
    assert compare.table(entries)["run"].tolist() == [run.id, "RuntimeError: no memory", "pending"]
    assert list(compare.finished(entries)) == ["shift 3"]


def test_equal_titles_are_told_apart(outputs: Path) -> None:
    first, second = generation("a", {}, shift=3), generation("a", {}, shift=3, seed=2)
    entries = [{"values": {"shift": 3}, "run": run.id, "status": "completed"} for run in (first, second)]
    assert list(compare.finished(entries)) == ["shift 3", f"shift 3 ({second.id})"]


def test_a_removed_run_is_an_error_that_names_it(outputs: Path) -> None:
    with pytest.raises(FileNotFoundError, match="got 20260101T000000_generate_abc, which does not exist"):
        compare.table([{"values": {}, "run": "20260101T000000_generate_abc", "status": "completed"}])
