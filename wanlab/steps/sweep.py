"""Step 40: many generations that differ in a few settings, one run folder each, with a model that is loaded once.

settings = config.SweepSettings(grid={"shift": [3, 5]})
run = sweep.prepare(settings)     # the points, checked one by one; nothing is worked on yet
entries = sweep.work(run)         # every point that is not finished; a failed one is recorded, the others are still generated
sweep.finish(run)                 # raises if a point failed
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import config, inputs, mask, runs
from wanlab.files import locks
from wanlab.results import compare
from wanlab.runs import workers
from wanlab.steps import generate, inspect

RESULT_VERSION = 1  # raise it when the same settings come to mean another result
PREVIEW = "preview"  # a setting of 30_generate that is not swept
LISTED = 40  # points that are printed before a sweep starts
LOOK_EVERY = 1.0  # seconds between two looks whether another process has ended
MASK_CHAIN = "mask_chain"  # swept here, but a setting of 20_inspect
CLONE = ("wan22_dir", "wan22_python")  # its commit counts, not its place
SWEPT = tuple(
    name
    for name in config.GenerateSettings.model_fields
    if name not in (PREVIEW, *config.GenerateSettings.conveniences()) or name in CLONE
)
ALIKE = tuple(
    name
    for name in config.GenerateSettings.conveniences()
    if name in config.SweepSettings.model_fields and name not in SWEPT
)  # settings of the whole sweep
NAMING = (
    "inputs",
    "checkpoint",
    "backend",
    "mode",
    "use_relighting_lora",
    "continue_from",
    "more_references",
    config.LORA,
)  # with CLONE, what names inputs and models
_resident = generate.LoadedNetworks()  # in a worker: of its last point


class PointsFailedError(RuntimeError):
    """Some points of a sweep failed; the others are finished."""


class Point(NamedTuple):
    """One generation of a sweep.

    Attributes:
        number: from 1.
        values: what sets it apart, by setting, for readers: of a path its name, or what else distinguishes it from the others.
        resolved: the generation, with inputs that do not have its mask chain yet.
        mask_chain: the chain that its inputs get first, None for the mask as it is.
        key: equal where settings, inputs, models and chain are: what lies at a path counts, not where.
    """

    number: int
    values: Mapping[str, Any]
    resolved: generate.Resolved
    mask_chain: str | None
    key: str

    @property
    def settings(self) -> config.ResolvedGenerateSettings:
        """All settings of the generation."""
        return self.resolved.settings


Outcome = dict[str, Any] | locks.BusyError  # what goes into a point's entry, or that another process works on it
Work = Callable[[Sequence[Point]], Iterator[tuple[Point, Outcome]]]


def points(settings: config.SweepSettings) -> tuple[Point, ...]:
    """Return the points: every combination of the grid, the first name slowest, then the cases; none twice.

    Raises:
        SettingsError: an unknown name, a wrong value or one that checkpoint or inputs cannot do; a line each.
        FileNotFoundError: if inputs or checkpoint are missing.
    """
    if faults := _faults_of_names(settings):
        raise config.SettingsError("\n".join(faults))
    full, named = (
        settings.with_paths(lambda path: str(config.absolute(path))),
        settings.with_paths(_names(settings).__getitem__),
    )
    given_and_shown = zip(_combinations(**full), _combinations(**named), strict=True)
    common = {name: getattr(settings, name) for name in config.GenerateSettings.model_fields if hasattr(settings, name)}
    found: dict[str, Point] = {}
    contents: dict[str, str] = {}  # of inputs and models, by the settings that name them
    opened: dict[str, inputs.AnimateInputs] = {}  # by the setting that names them
    for chosen, values in given_and_shown:
        given = {**common, **chosen}
        chain = given.pop(MASK_CHAIN, None)
        try:
            mask.parse_chain(chain or "")
            named_inputs = str(given["inputs"])
            resolved = generate.resolve(config.GenerateSettings.build(given), opened.get(named_inputs))
            opened[named_inputs] = resolved.inputs
            _refuse_of_backend(settings, resolved)
            if settings.cluster is None and (lacking := resolved.backend.faults_of_machine(resolved.settings)):
                raise ValueError("\n".join(lacking))
            if chain is not None and resolved.settings.mode != "replace":
                raise ValueError("mask_chain must be left out for inputs of animate, which have no mask")
        except ValueError as error:
            faults += [f"point {values}: {line}" for line in str(error).splitlines()]
            continue
        named_by = config.digest([str(getattr(resolved.settings, name)) for name in (*NAMING, *CLONE)])
        if named_by not in contents:
            contents[named_by] = config.digest(_contents(resolved))
        key = config.digest([resolved.settings.identity(), contents[named_by], chain])
        found.setdefault(key, Point(len(found) + 1, values, resolved, chain, key))
    if faults:
        raise config.SettingsError("\n".join(faults))
    if not found:
        raise config.SettingsError('grid must have at least one point, got none; use {"shift": [3, 5]}')
    return tuple(found.values())


def _faults_of_names(settings: config.SweepSettings) -> list[str]:
    """Return a line for each name in grid and cases that cannot be swept, or has no values."""
    names = [*settings.grid, *(name for case in settings.cases for name in case)]
    known = (*SWEPT, MASK_CHAIN)
    faults = [config.unknown_name(name, known) for name in names if name not in (*known, *ALIKE)]
    faults += [
        f"{name} must be one for all points, whose videos it does not change; use it beside the grid"
        for name in dict.fromkeys(names)
        if name in ALIKE
    ]
    if PREVIEW in names:
        faults = ["preview must be left out of a sweep, whose first look can be continued later; use preview_steps"]
    faults += [f"grid must have values for {name}, got none; use a list" for name, v in settings.grid.items() if not v]
    return faults


def _combinations(grid: Mapping[str, Sequence[Any]], cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of each point: of every combination of the grid, the first name slowest, then the cases."""
    combinations = [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())] if grid else []
    return [*combinations, *map(dict, cases)]


def _names(settings: config.SweepSettings) -> dict[str, str]:
    """Return how each swept path is called: by its name, else as `config.shown` gives it, else with a number behind it."""
    found: dict[str, None] = {}
    settings.with_paths(lambda path: (found.setdefault(path), path)[1])
    places = {path: config.absolute(path) for path in found}
    distinct = list(dict.fromkeys(places.values()))
    called: dict[Path, str] = {}
    for place in distinct:
        for name in (place.name, config.shown(place)):
            if not any(name in (other.name, config.shown(other)) for other in distinct if other != place):
                called[place] = name
                break
        else:
            namesakes = [other for other in distinct if config.shown(other) == config.shown(place)]
            called[place] = f"{config.shown(place)} ({namesakes.index(place) + 1})"
    return {path: called[place] for path, place in places.items()}


def _contents(resolved: generate.Resolved) -> list[Any]:
    """Return what inputs and models hold, ready for JSON."""
    made_from = resolved.made_from
    return [{name: facts["sha256"] for name, facts in made_from["inputs"].items()}, made_from["models"]]


def prepare(settings: config.SweepSettings) -> runs.Run:
    """Check every point and find or make the sweep's own run folder.

    Raises:
        SettingsError, FileNotFoundError: as `points`, and for a cluster file that is none, before a folder is made.
    """
    if isinstance(settings.cluster, Path):
        workers.read_file(settings.cluster)
    full = settings.with_paths(lambda path: str(config.absolute(path)))
    none_named = settings.inputs == "latest" and full["grid"].get("inputs") and not settings.cases
    made, _ = inspect.complete_inputs(full["grid"]["inputs"][0] if none_named else settings.inputs)
    settings = settings.replaced(inputs=made.folder, **full)
    all_points = points(settings)
    wrong = [number for number in settings.finish if not 1 <= number <= len(all_points)]
    if wrong:
        raise config.SettingsError(f"finish must name points from 1 to {len(all_points)}, got {wrong[0]}")
    used = list({point.settings.inputs: point.resolved.inputs for point in all_points}.values())
    run = runs.open_run(
        "sweep",
        settings,
        inputs={
            "inputs": {"folder": config.shown(made.folder), "sha256": made.sha256()},
            "points": {"sha256": config.digest([point.key for point in all_points])},
        },
        models={},
        result_version=RESULT_VERSION,
        parents=tuple(dict.fromkeys(each.facts["run"] for each in used if each.facts.get("run"))),
        preview=tuple(dict.fromkeys(phrase for each in used for phrase in each.preview)),
        fresh=settings.fresh,
    )
    run.resolved = all_points
    left = [
        point
        for point in _chosen(all_points, settings)
        if point.mask_chain is not None or not generate.is_finished(point.resolved)
    ]
    about = _estimate(left, seconds_per_call(all_points[0].resolved), settings)
    print("\n".join(_listed(all_points)))
    print(f"{len(all_points)} points, {len(left)} to do: {about}")
    return run


def outlook(settings: config.SweepSettings) -> str:
    """Return how many points settings make and about how long all of them take, before anything is begun; raises as `points`."""
    made, _ = inspect.complete_inputs(settings.inputs)
    found = _chosen(points(settings.replaced(inputs=made.folder)), settings)
    return f"{len(found)} points, {_estimate(found, seconds_per_call(found[0].resolved), settings)}"


def _listed(all_points: Sequence[Point]) -> list[str]:
    """Return a line per point with what sets it apart, and what several mask chains would be as one."""
    lines = [f"  {point.number}: {compare.title({'values': point.values})}" for point in all_points[:LISTED]]
    lines += [f"  … and {len(all_points) - LISTED} more"] if len(all_points) > LISTED else []
    chains = list(dict.fromkeys(point.mask_chain for point in all_points if point.mask_chain))
    if len(chains) > 1 and not any("," in chain for chain in chains):
        one = ",".join(chains)
        lines.append(
            f"note: these are {len(chains)} mask chains; one of all these steps would be mask_chain: ['{one}']"
        )
    return lines


def work(run: runs.Run) -> list[compare.Entry]:
    """Generate every point that is not finished; finished ones are only read, an unfinished one continues.

    A point that fails is recorded with its error, and the others are still generated; the sweep's status is then failed. A point that
    another process works on is left to it, and looked at again at the end: what that process has finished is taken, what
    it left unfinished continues here.

    Returns:
        an entry per point: `values`, `run`, `status`, `seconds`, `error`.
    """
    settings: config.SweepSettings = run.settings
    all_points: tuple[Point, ...] = run.resolved or points(settings)
    before = {config.digest(entry["values"]): entry for entry in run.manifest.get("points", ())}
    table: list[dict[str, Any]] = [
        before.get(config.digest(dict(point.values))) or {"values": dict(point.values), "status": "pending"}
        for point in all_points
    ]
    chosen = _chosen(all_points, settings)
    left = list(chosen)
    with (
        contextlib.suppress(PointsFailedError),  # `finish` reports it, after the images
        run.working() as unfinished,
        _noting_cancelled(run, table),
    ):
        if not unfinished:
            return list(run.manifest["points"])
        for point, outcome in _outcomes(run, chosen, table):
            entry = table[point.number - 1]
            title = f"point {point.number} of {len(all_points)}, {compare.title(entry)}"
            if isinstance(outcome, locks.BusyError):
                print(f"{title}: {outcome.owner} works on it; it is looked at again at the end", flush=True)
                continue
            entry.pop("error", None)
            entry.update(outcome)
            run.save(points=table)
            run.keep(f"{sum(each['status'] == 'completed' for each in table)} of {len(table)} points")
            said = entry.get("error") or f"{duration(entry['seconds'])}, {entry['run']}"
            print(f"{title}: {said}", flush=True)
            left.remove(point)
            if left:
                about = _estimate(left, seconds_per_call(point.resolved), settings)
                print(f"  {len(left)} left: {about}", flush=True)
        faults = [
            f"point {point.number} ({compare.title(entry)}): {entry['error']}"
            for point, entry in zip(all_points, table, strict=True)
            if entry["status"] == "failed"
        ]
        if faults:
            raise PointsFailedError("\n".join(faults))
        if any(entry["status"] != "completed" for entry in table):
            run.stop_here()
    return list(table)


def finish(run: runs.Run) -> None:
    """End the sweep's notebook.

    Raises:
        PointsFailedError: a line per point that failed.
    """
    if run.status == "failed":
        raise PointsFailedError(run.manifest["error"]["text"])
    left = [str(n) for n, entry in enumerate(run.manifest["points"], 1) if entry["status"] != "completed"]
    if left:
        print(
            f"points {', '.join(left)} are not finished; wanlab sweep --finish {','.join(left[:2])} takes some to the end"
        )
    else:
        print(f"all {len(run.manifest['points'])} points are finished")


@contextlib.contextmanager
def _noting_cancelled(run: runs.Run, table: list[dict[str, Any]]) -> Iterator[None]:
    """Where the sweep is cancelled, record which of its points were."""
    try:
        yield
    except KeyboardInterrupt:
        for entry in table:
            if "run" in entry and entry["status"] not in ("completed", "failed"):
                status = runs.Run(config.outputs_root() / entry["run"]).status
                entry["status"] = status if status in ("begun", "cancelled") else entry["status"]
        run.save(points=table)
        raise


def newest_settings() -> dict[str, Any]:
    """Return the settings of the newest sweep, for `finish` without a grid.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = runs.list_runs("sweep")
    if not found:
        raise FileNotFoundError(
            "finish must follow a sweep, and there is none yet; make one: wanlab sweep --preview_steps 2"
        )
    hidden = config.SweepSettings.conveniences()
    return {name: value for name, value in found[-1].given().items() if name not in hidden}


def _refuse_of_backend(settings: config.SweepSettings, point: generate.Resolved) -> None:
    """Refuse a point that its backend cannot make in the way that the sweep asks for."""
    if settings.preview_steps is not None and not point.backend.can_pause:
        raise ValueError(
            f"preview_steps must be None with backend {point.settings.backend}, whose script cannot stop and go on; use None"
        )
    if point.settings.multi_gpu and (settings.workers is not None or settings.cluster is not None):
        raise ValueError("multi_gpu must be false with workers, each of which has one GPU; use one of both")


def _chosen(all_points: Sequence[Point], settings: config.SweepSettings) -> list[Point]:
    """Return the points to work on."""
    return [point for point in all_points if not settings.finish or point.number in settings.finish]


def _outcomes(
    run: runs.Run, chosen: Sequence[Point], table: Sequence[dict[str, Any]]
) -> Iterator[tuple[Point, Outcome]]:
    """Work on the points, here or in workers; yield what goes into a point's entry when it ends, or who works on it.

    Points that others work on come again, when these have ended.
    """
    settings: config.SweepSettings = run.settings

    def start_point(point: Point) -> runs.Run:
        result = generate.prepare(_settings(point, run), made_for=run.id)
        table[point.number - 1]["run"] = result.id
        run.save(points=table)
        return result

    with contextlib.ExitStack() as stack:
        work = _here(run, start_point)
        if settings.workers is not None or settings.cluster is not None:
            work = _in_workers(settings, start_point, stack)
        left, busy = list(chosen), dict[int, locks.BusyError]()
        while left:
            left = _wait_for_one(left, busy)
            for point, outcome in work(left):
                busy.pop(point.number, None)
                if isinstance(outcome, locks.BusyError):
                    busy[point.number] = outcome
                yield point, outcome
            left = [point for point in chosen if point.number in busy]


def _wait_for_one(left: Sequence[Point], busy: Mapping[int, locks.BusyError]) -> list[Point]:
    """Wait until the process that works on one of the points has ended, and return the points for which that is so."""
    said = time.monotonic()
    while True:
        free = [point for point in left if point.number not in busy or locks.owner(busy[point.number].lock) is None]
        if free:
            return free
        if time.monotonic() - said > locks.SAY_EVERY:
            said = time.monotonic()
            for number, error in busy.items():
                print(f"point {number} is waited for: {error.owner} works on it", flush=True)
        time.sleep(LOOK_EVERY)


def _here(run: runs.Run, start_point: Callable[[Point], runs.Run]) -> Work:
    """Return what works on points one after the other in this process, until somebody asks for the end after one."""
    settings: config.SweepSettings = run.settings
    loaded = generate.LoadedNetworks()

    def work(left: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        for point in left:
            if run.progress.pausing:
                return
            yield point, _work_point(lambda point=point: start_point(point), settings.preview_steps, loaded)

    return work


def _in_workers(
    settings: config.SweepSettings, start_point: Callable[[Point], runs.Run], stack: contextlib.ExitStack
) -> Work:
    """Return what works on points in workers, which are opened for the first of them; `stack` closes them."""
    import torch

    home = str(config.outputs_root()), runs.source_hash(), torch.get_num_threads()
    clients: list[Any] = []

    def work(left: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        tasks: list[tuple[Any, ...]] = []
        given: list[Point] = []
        for point in left:  # mask chains run here: two workers with the same one would be in each other's way
            try:
                result = start_point(point)
            except Exception as error:
                yield point, _failed(error)
                continue
            given.append(point)
            tasks.append((home, result.id, result.resolved, settings.preview_steps))
        if not clients and tasks:
            gpus = 0 if settings.device == "cpu" else tasks[0][2].backend.num_gpus_here()
            clients.append(stack.enter_context(workers.pool(settings.workers, settings.cluster, gpus)))
        if not tasks:
            return
        open_ = [task[1] for task in tasks]
        with _ending_in_peace(open_):
            for number, outcome in workers.each(clients[0], _work_there, tasks, settings.workers):
                open_.remove(tasks[number][1])
                yield given[number], _failed(outcome) if isinstance(outcome, Exception) else outcome

    return work


@contextlib.contextmanager
def _ending_in_peace(run_ids: Sequence[str]) -> Iterator[None]:
    """Have workers end their current step of these runs when the sweep is interrupted; a second interrupt ends them at once."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        folders = [config.outputs_root() / run_id for run_id in run_ids]
        for folder in folders:
            if runs.Run(folder).status == "running":
                runs.ask_to_stop(folder)
        while any(runs.Run(folder).status == "running" for folder in folders):
            time.sleep(0.2)
        raise


def _work_there(
    home: tuple[str, str, int], run_id: str, resolved: generate.Resolved, preview_steps: int | None
) -> Outcome:
    """Generate a point in a worker, which keeps the model for the next one.

    Args:
        home: outputs folder, hash of wanlab's source and torch's number of threads (it decides the last bits).
        run_id: the point's run, made by the sweep.
        resolved: the point's generation, from inputs that have its mask chain.
        preview_steps: as in the sweep's settings.
    """
    import torch

    outputs, source, threads = home
    os.environ["WANLAB_OUTPUTS"] = outputs
    torch.set_num_threads(threads)

    def find() -> runs.Run:
        if runs.source_hash() != source:
            raise RuntimeError(
                "wanlab must be the same on all workers, got another source on this one; update it there"
            )
        folder = config.outputs_root() / run_id
        if not folder.is_dir():
            raise RuntimeError(
                f"{config.outputs_root()} must be seen by all workers, and this one does not see it; use a shared disk"
            )
        run = runs.Run(folder, resolved.settings)
        run.resolved = resolved
        return run

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # bars of several workers at once are no reading
            return _work_point(find, preview_steps, _resident)
    except KeyboardInterrupt:  # it would end the worker
        return {"run": run_id, "status": "cancelled", "seconds": 0.0}


def _work_point(find: Callable[[], runs.Run], preview_steps: int | None, loaded: generate.LoadedNetworks) -> Outcome:
    """Generate a point, or the first steps of it; return what goes into its entry."""
    began = time.monotonic()
    try:
        result = find()
        if preview_steps is None:
            generate.work(result, loaded)
        else:
            generate.first_look(result, preview_steps, loaded)
    except Exception as error:  # whatever it is, the other points go on
        return _failed(error)
    return {"run": result.id, "status": result.status, "seconds": round(time.monotonic() - began, 3)}


def _failed(error: Exception) -> Outcome:
    """Return the outcome of a point that raised `error`; one that another process works on has not failed."""
    if isinstance(error, locks.BusyError):
        return error
    return {"status": "failed", "error": runs.scrub(f"{type(error).__name__}: {error}")}


def _settings(point: Point, run: runs.Run) -> config.GenerateSettings:
    """Return a point's settings with inputs that have its mask chain; neither detector nor segmenter runs for that."""
    if point.mask_chain is None:
        return point.settings
    chosen = {"inputs": point.settings.inputs, MASK_CHAIN: point.mask_chain, "compare": (), "auto_keypoint": False}
    masked = inspect.work(inspect.prepare(config.InspectSettings.build(chosen), made_for=run.id))
    return point.settings.replaced(inputs=masked.made.folder)


def _estimate(left: Sequence[Point], seconds_per_call: float | None, settings: config.SweepSettings) -> str:
    calls = sum(_calls(point, settings.preview_steps) for point in left)
    about = "how long is not known yet"
    if seconds_per_call is not None:
        about = f"about {duration(calls * seconds_per_call / max(1, min(settings.workers or 1, len(left))))}"
    return f"{calls} denoising calls, {about}"


def _calls(point: Point, preview_steps: int | None) -> int:
    """Return how often a point asks the model, or what is done of it for a first look."""
    if preview_steps is None:
        return point.resolved.num_calls
    return min(preview_steps, point.settings.num_inference_steps) * point.resolved.calls_per_step


def seconds_per_call(planned: generate.Resolved) -> float | None:
    """Return what a denoising call took in the newest finished run of this checkpoint, size and segment length."""
    chosen, size = planned.settings, (planned.height, planned.width)
    for run in reversed(runs.list_runs("generate")):
        video = run.manifest.get("artefacts", {}).get("video", {})
        alike = (
            run.completed
            and (video.get("height"), video.get("width")) == size
            and run.manifest["settings"]["segment_frame_length"] == chosen.segment_frame_length
            and run.manifest["settings"]["checkpoint"] == config.shown(chosen.checkpoint)
        )
        calls, seconds = run.manifest.get("denoise_calls"), run.manifest["seconds"].get("generate")
        if alike and calls and seconds:  # a process that was killed leaves calls without their seconds
            return seconds / calls
    return None


def duration(seconds: float) -> str:
    """Return a time as people say it: 40 s, 12 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
