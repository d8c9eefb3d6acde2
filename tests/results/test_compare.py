"""Several runs side by side: what sets them apart, none twice, failed and equal ones."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.cli import flags, main
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


def timed(seconds: float, calls: int, warmed_up: bool | None, seed: int) -> runs.Run:
    run = generation("a", {}, seed=seed)
    more = {} if warmed_up is None else {"warmed_up": warmed_up}
    run.save(seconds={"generate": seconds, "load": 3.0 if seed == 1 else 0.0}, denoise_calls=calls, **more)
    return run


@pytest.mark.parametrize(
    ("others", "shown"),
    [
        ([(4.0, 2, False), (4.4, 2, False)], 4.2),  # equal work: the median
        ([(3.0, 1, False), (11.0, 5, False)], 5.0),  # other work: two seconds a call, one beside
        ([(8.0, 4, False)], 4.0),
        ([(44.0, 2, True)], 44.0),  # each warmed up by itself: nothing to compare with
        ([(4.0, 2, None)], 4.0),  # an older run that did not load the model
    ],
)
def test_the_first_point_s_warm_up_is_no_price_of_its_settings(outputs: Path, others: list, shown: float) -> None:
    marked = None if others[0][2] is None else True
    made = [timed(44.0, 2, marked, 1), *(timed(*each, seed) for seed, each in enumerate(others, 2))]
    table = compare.table(compare.entries(made))
    assert table["seconds"].tolist() == [pytest.approx(shown, abs=0.05), *(seconds for seconds, *_ in others)]


def test_the_command_of_a_run_finds_it_again(outputs: Path) -> None:
    """What the command line makes of it has the same hash, lists, prompts and quotes too."""
    chosen = {
        "shift": 3.5,
        "lora": ["a b.safetensors:0.5", "c.safetensors"],
        "prompt": 'it\'s, "so"',
        "colour_hold": True,
    }
    run = generation("a", {}, **chosen)
    text = compare.command(run)
    assert text.startswith("wanlab generate --prompt ")
    assert "--seed" not in text
    assert "--seed 42" in compare.command(run, complete=True)
    args = main._parser().parse_args(shlex.split(text)[1:])
    again = config.GenerateSettings.build(flags.given_settings(args, ["generate"]))
    assert again.identity() == config.GenerateSettings.build(chosen).identity()
    assert again.lora == config.GenerateSettings.build(chosen).lora


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
