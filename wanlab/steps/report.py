"""Step 50: one run of 30_generate, a sweep, or several runs, and what they were made from → one page to share.

settings = config.ReportSettings(run="latest")
run = report.prepare(settings)
story = report.gather(run)           # the runs, their inputs, their files
report.overview(story); report.settings_table(story); …   # each shows one part
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from IPython.display import HTML
from PIL import Image

from wanlab import config, inputs, media, runs, viz
from wanlab.results import compare, importance, metrics, winner
from wanlab.results.evaluate import RESULT
from wanlab.steps import generate, inspect, live_view, preview
from wanlab.viz import player

STRIPS = 6  # segments whose strips are shown
STRIP_HEIGHT = 110  # pixels
RESULT_VERSION = 4  # raise it when the same settings come to mean another result


T = TypeVar("T")


def _shown(what: str) -> Callable[[Callable[[ReportContents], T]], Callable[[ReportContents], T]]:
    """Let those who watch the report see that a part is being made."""

    def outer(make: Callable[[ReportContents], T]) -> Callable[[ReportContents], T]:
        @functools.wraps(make)
        def made(story: ReportContents) -> T:
            with runs.Run(story.folder).showing(what):
                return make(story)

        return made

    return outer


@dataclasses.dataclass(frozen=True)
class ReportContents:
    """The contents of a report.

    Attributes:
        title: heading.
        folder: of the report, where links start.
        chosen: the runs that were asked for: of 30_generate or 40_sweep.
        entries: every generation among them, as `compare.entries`.
        results: the finished ones by title.
        before: the runs that the first one's inputs came from, the oldest first; those that are gone are missing.
        inputs: what the first one was made from.
        star: which entry is the winner; None: there is but one.
        full: whether the page holds the full videos.
    """

    title: str
    folder: Path
    chosen: tuple[runs.Run, ...]
    entries: list[compare.Entry]
    results: Mapping[str, runs.Run]
    before: tuple[runs.Run, ...]
    inputs: inputs.AnimateInputs
    star: player.Star | None
    full: bool

    @property
    def first(self) -> runs.Run:
        """The first finished generation."""
        return next(iter(self.results.values()))

    @property
    def single(self) -> bool:
        """Whether the report is about one generation only."""
        return len(self.entries) == 1


def prepare(settings: config.ReportSettings) -> runs.Run:
    """Find the runs to report on and make the report's own folder.

    Raises:
        FileNotFoundError: if there is no such run, or none of it is finished.
    """
    chosen = [_latest() if place == "latest" else runs.find_run(place) for place in settings.run]
    for run in chosen:
        if run.manifest["step"] not in ("generate", "sweep") or not compare.finished(compare.entries([run])):
            raise FileNotFoundError(
                f"run must be a completed run of 30_generate or 40_sweep, got {run.id} ({run.manifest['step']}, {run.status}"
                f"{_why(run)}); mend that and finish it: wanlab generate or wanlab sweep"
            )
    entries = compare.entries(chosen)
    for result in compare.finished(entries).values():
        generate.restore(result)
    chosen = [runs.Run(run.folder) for run in chosen]
    first = chosen[0].manifest
    title = f"{first['settings']['mode'] or first['step']} · {first['hash']}"
    if len(entries) > 1:
        title = f"{len(entries)} generations over {', '.join(compare.varied(entries)) or 'nothing'}"
    previews = compare.previews(entries)
    partial = any(map(generate.is_partial, compare.finished(entries).values()))
    title = f"{'preview · ' if previews else ''}{'partial · ' if partial else ''}{settings.title or title}"
    return runs.open_run(
        "report",
        settings.replaced(
            run=tuple(run.folder for run in chosen), title=title, winner=_winner(settings, chosen, entries)
        ),
        inputs={
            run.id: {
                "sha256": config.digest({key: run.manifest.get(key) for key in ("id", "ended", "artefacts", "points")})
            }
            for run in chosen
        },
        models={},
        result_version=RESULT_VERSION,
        parents=tuple(run.id for run in chosen),
        preview=previews,
    )


def gather(run: runs.Run) -> ReportContents:
    """Collect the runs, their inputs and the runs that made them; the report is begun then, and completed with its page."""
    with run.working():
        run.stop_here()
        chosen = tuple(runs.find_run(folder) for folder in run.settings.run)
        entries = compare.entries(chosen)
        results = compare.finished(entries)
        first = next(iter(results.values()))
        before = _ancestors(first)
        made = preview.smaller_inputs(first)
        star = player.Star(key_of(chosen), run.settings.winner) if len(entries) > 1 else None
        return ReportContents(
            run.settings.title, run.folder, chosen, entries, results, before, made, star, run.settings.full
        )


def _winner(
    settings: config.ReportSettings, chosen: Sequence[runs.Run], entries: Sequence[compare.Entry]
) -> int | None:
    """Return the number of the entry that is the winner: asked for, else starred in the first sweep that has a star."""
    numbers = [number for number, entry in enumerate(entries, 1) if entry["status"] == "completed"]
    if settings.winner is not None and settings.winner not in numbers:
        raise config.SettingsError(
            f"winner must be a finished point, {', '.join(map(str, numbers))}, got {settings.winner}; use {numbers[0]}"
        )
    starred = [run.manifest["points"][number - 1] for run in chosen if (number := winner.read(run)) is not None]
    found = [number for entry in starred for number in numbers if entries[number - 1] == entry]
    return settings.winner or (found[0] if found else None)


def key_of(chosen: Sequence[runs.Run]) -> str:
    """Return what names the results of some runs, for the star that a browser keeps."""
    return chosen[0].id if len(chosen) == 1 else config.digest([run.id for run in chosen])[:10]


def _latest() -> runs.Run:
    """Return the newest generation or sweep; a sweep stands for its points."""
    found = [run for run in runs.list_runs() if run.manifest["step"] in ("generate", "sweep") and run.completed]
    points = {point.get("run") for run in found for point in run.manifest.get("points", ())}
    found = [run for run in found if "order" in run.manifest or run.id not in points]  # older points have no order
    failed = [
        run for run in runs.list_runs() if run.manifest["step"] in ("generate", "sweep") and run.status == "failed"
    ]
    if not found and failed:
        raise FileNotFoundError(
            f"run must be a completed run of 30_generate or 40_sweep, and there is none: {failed[-1].id} failed{_why(failed[-1])}; "
            f"mend that: wanlab {failed[-1].manifest['step']}"
        )
    return runs.newest(found[::-1], "generate")


def _why(run: runs.Run) -> str:
    """Return with what a run ended, in a line that goes on from its status; nothing where nothing is known."""
    text = run.manifest.get("error", {}).get("text", "")
    return f": {'; '.join(text.splitlines()[:3])}" if text else ""


def _ancestors(run: runs.Run) -> tuple[runs.Run, ...]:
    """Return the runs whose files a run was made from, the oldest first."""
    found: tuple[runs.Run, ...] = ()
    for parent in run.manifest["parents"]:
        with contextlib.suppress(FileNotFoundError):  # removed since
            earlier = runs.find_run(parent)
            found += (*_ancestors(earlier), earlier)
    return found


def overview(story: ReportContents) -> HTML:
    """Show title and one paragraph: what was made from what, how long it took, where the full files are."""
    chosen, made = story.first.manifest["settings"], story.first.manifest["artefacts"]["video"]
    sentence = (
        f"{made['frames']} frames of {made['height']}x{made['width']} (height x width) at {media.describe_rate(made['fps'])} frames per second, "
        f"mode {chosen['mode']}, checkpoint {chosen['checkpoint']}"
    )
    first = story.before[0].manifest["inputs"] if story.before else {}
    files = {name: facts["file"] for name, facts in first.items() if "file" in facts}
    if {"driving_video", "reference_image"} <= set(files):
        sentence += f"; the person of {files['driving_video']} drives {files['reference_image']}"
    if story.single:
        where = "inside this page" if story.full else "beside this page in the outputs folder"
        end = f"Run {escape(story.first.id)}, {story.first.manifest['seconds_total']:.0f} s; the full video is {where}."
    else:
        values = [
            f"{name}: {', '.join(dict.fromkeys(str(e['values'].get(name)) for e in story.entries))}"
            for name in compare.varied(story.entries)
        ]
        end = f"{len(story.results)} of {len(story.entries)} generations finished. What differs: {escape('; '.join(values))}."
        if story.star and story.star.number:
            name = compare.title(story.entries[story.star.number - 1])
            end += f"</p><p><b>Winner: {story.star.number} · {escape(name)}</b>"
    return HTML(f"<h1>{escape(story.title)}</h1><p>{escape(sentence)}.</p><p>{end}</p>")


@_shown("videos")
def videos(story: ReportContents) -> HTML:
    """Play the results in step beside reference and driver, with their numbers; a single one as `result`."""
    if story.single:
        return result(story.first, story.inputs, story.full)
    return side_by_side(story.entries, story.inputs, star=story.star, full=story.full)


def result(run: runs.Run, made: inputs.AnimateInputs, full: bool = False) -> HTML:
    """Play a generation in step beside reference, driver, background (in replace) and pose.

    Args:
        run: a finished generation.
        made: its inputs.
        full: hold the full video too.
    """
    kept = made.video("background_video") if run.manifest["settings"]["mode"] == "replace" else None
    more = {"background": kept, "pose": made.video("pose_video")}
    return side_by_side(compare.entries([run]), made, more=more, full=full)


def star_of(sweep: runs.Run) -> player.Star:
    """Return the star of a sweep's grid."""
    return player.Star(key_of([sweep]), winner.read(sweep))


def side_by_side(
    entries: Sequence[compare.Entry],
    made: inputs.AnimateInputs | None = None,
    *,
    more: Mapping[str, media.Clip | None] | None = None,
    star: player.Star | None = None,
    full: bool = False,
) -> HTML:
    """Play results in step, with reference and driver in front and a table of numbers that sorts them.

    Args:
        entries: the results.
        made: the inputs of the first one; None: wherever that one has them.
        more: further videos that they were made from, by name.
        star: which one is starred; None: nothing can be.
        full: hold the full videos too.
    """
    run = next((run for run, _ in compare.videos(entries).values()), None)
    if made is None and run is not None:
        made = preview.smaller_inputs(run)
    whose = " of the first" if "inputs" in compare.varied(entries) else ""
    given: dict[str, Any] = {}
    if made is not None:
        given = {f"reference{whose}": made.reference_image(), f"driver{whose}": made.driving(), **(more or {})}
    table = viz.sortable(compare.table(entries)) if len(entries) > 1 else ""
    return player.grid(player_points(entries), given, table, star, full)


def player_points(entries: Sequence[compare.Entry]) -> list[player.Point]:
    """Return the entries that have a video as the grid player takes them; links start beside a page in a run folder."""
    numbers = {entry.get("run"): number for number, entry in enumerate(entries, 1)}
    values = {entry.get("run"): entry["values"] for entry in entries}
    found = [
        player.Point(
            f"{numbers[run.id]} · {title}" if len(entries) > 1 else "result",
            values[run.id],
            media.open_clip(file),
            run.manifest["artefacts"].get("video", {}).get("seams", ()),
            _link(run, file.name),
            numbers[run.id] if len(entries) > 1 else None,
            compare.command(run),
        )
        for title, (run, file) in compare.videos(entries).items()
    ]
    return sorted(found, key=lambda point: point.number or 0)


@_shown("frames")
def frames(story: ReportContents) -> Any:
    """Show the result under its driver, the reference in front, both frames at each seam; of several, each one's frames."""
    if not story.single:
        return viz.contact_sheet(compare.clips(story.entries))
    driving = story.inputs.driving() or story.inputs.video("pose_video")
    seams = story.first.manifest["artefacts"]["video"]["seams"]
    return viz.result_beside(driving, story.inputs.reference_image(), media.open_clip(story.first.path(RESULT)), seams)


def steps(story: ReportContents) -> list[Any]:
    """Show what the steps foresaw, a strip per segment, and how much each changed it; of several a line each.

    Nothing where nothing is kept: runs of an earlier wanlab, of the official scripts.
    """
    if story.single:
        return steps_of(story.first)
    lines = {title: _largest(live_view.kept(run.folder)) for title, run in story.results.items()}
    lines = {title: line for title, line in lines.items() if line}
    return [viz.step_changes(lines, live_view.SETTLED)] if lines else []


def steps_of(run: runs.Run) -> list[Any]:
    """Show what the steps of one generation foresaw, and how much each changed it."""
    segments = live_view.kept(run.folder)
    strips = "".join(
        f"<figure><img alt='what steps of segment {each.number + 1} foresaw' style='height: {STRIP_HEIGHT}px; max-width: 100%; object-fit: contain' "
        f"src='data:image/jpeg;base64,{base64.b64encode(_enlarged(each.strip)).decode()}'>"
        f"<figcaption>segment {each.number + 1}: steps {', '.join(str(step + 1) for step in each.shown)}</figcaption></figure>"
        for each in segments[:STRIPS]
    )
    lines = {f"segment {each.number + 1}": each.changes for each in segments if each.changes}
    found: list[Any] = [HTML(strips)] if strips else []
    if lines:
        found.append(viz.step_changes(dict(list(lines.items())[:STRIPS]), live_view.SETTLED))
        at = live_view.settled(segments)
        said = f"after step {at} no step changes 1 %" if at else "the last step still changes 1 % or more"
        found.append(HTML(f"<p>In all segments: {said}.</p>"))
    return found


def _enlarged(strip: Path) -> bytes:
    """Return a strip as JPEG of at least STRIP_HEIGHT pixels: latents have an eighth of the frames' size."""
    with Image.open(strip) as image:
        times = max(1, -(-STRIP_HEIGHT // image.height))
        made = io.BytesIO()
        size = image.width * times, image.height * times
        image.resize(size, Image.Resampling.BICUBIC).save(made, "JPEG", quality=85)
    return made.getvalue()


def _largest(segments: Sequence[live_view.Segment]) -> list[float]:
    """Return how much each step changed in the segment in which it changed most."""
    lines = [segment.changes for segment in segments]
    count = min(map(len, lines), default=0)
    return [max(line[i] for line in lines) for i in range(count)]


def numbers(story: ReportContents) -> list[Any]:
    """Show the metrics: of one result with what each cannot show; of several what mattered, and plots."""
    if story.single:
        return [viz.metric_table(story.first.manifest.get("metrics", {}))]
    return plots(story.entries)


def plots(entries: Sequence[compare.Entry]) -> list[Any]:
    """Show what mattered most for each metric, and plot them over what varies and against time; none without a finished entry."""
    table, varied = compare.table(entries), compare.varied(entries)
    effects = {name: importance.effects(table, varied, name) for name in metrics.MEANINGS}
    made = viz.importance_table(effects), viz.metric_plots(table, varied), viz.time_against_metrics(table)
    return [plot for plot in made if plot is not None]


@_shown("material")
def material(story: ReportContents) -> Any:
    """Show what went in: the video, pose drawings, face crops, in replace background and mask, and the reference."""
    return viz.contact_sheet(story.inputs.clips(), reference=story.inputs.reference_image())


def by_hand(story: ReportContents) -> list[Any]:
    """Show what was changed by hand in the inputs: in words, then the changed frames before and after; often nothing."""
    shown: list[Any] = []
    for run in story.before:
        said = run.manifest.get("by_hand", ())
        if not said:
            continue
        items = "".join(f"<li>{escape(each)}</li>" for each in said)
        shown.append(HTML(f"<h3>Changed by hand</h3><ul>{items}</ul>"))
        try:
            seen = inspect.reopen(run)
        except FileNotFoundError:
            shown.append(HTML("<p>The inputs from before are gone, so there is no image of the change.</p>"))
            continue
        masks = inspect.before_and_after(seen)
        images = (
            viz.video_changes(seen.clip, *inspect.videos_before_and_after(seen)),
            viz.mask_changes(seen.clip, *masks, inspect.decided(seen)),
        )
        shown += [image for image in images if image is not None]
    return shown


def confidence(story: ReportContents) -> Any:
    """Plot how sure the keypoints are over time."""
    facts = story.inputs.facts
    return viz.keypoint_confidence(
        story.inputs.keypoints(), story.inputs.fps, facts.get("no_person", ()), facts.get("cuts", ())
    )


def settings_table(story: ReportContents) -> HTML:
    """Show the settings that differ from the defaults, and all of them folded away."""
    parts = []
    for run in (*story.before, *story.chosen):
        notebook, model = config.NOTEBOOKS[run.manifest["step"]]
        defaults = model.build({}).model_dump(mode="json")
        chosen = {key: value for key, value in run.manifest["settings"].items() if key not in model.conveniences()}
        changed = {key: (value, defaults.get(key)) for key, value in chosen.items() if value != defaults.get(key)}
        parts.append(f"<h3>{notebook}</h3>")
        parts.append(
            viz.table(
                ("setting", "here", "default"),
                [(k, v, "as the checkpoint recommends" if d is None else d) for k, (v, d) in changed.items()],
            ).data
        )
        parts.append(
            f"<details><summary>all {len(chosen)} settings</summary>{viz.table(('setting', 'here'), chosen.items()).data}</details>"
        )
    return HTML("".join(parts))


def notes(story: ReportContents) -> HTML:
    """Show the notes of the runs about their inputs and results."""
    said = [note for run in (*story.before, *story.results.values()) for note in run.manifest["notes"]]
    said += story.inputs.notes
    return HTML(
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(said)) + "</ul>"
        if said
        else "<p>Nothing to note.</p>"
    )


def times(story: ReportContents) -> HTML:
    """Show the seconds per stage and the peak memory of each run."""
    rows = []
    for run in (*story.before, *(story.chosen if len(story.chosen) == 1 else story.results.values())):
        step = run.manifest["step"]
        rows += [(f"{step}: {stage}", f"{seconds:.1f} s") for stage, seconds in run.manifest["seconds"].items()]
        rows.append(
            (
                f"{step}: in all",
                f"{run.manifest['seconds_total']:.1f} s, peak memory {run.manifest['peak_memory_bytes'] / 2**30:.1f} GiB",
            )
        )
    return viz.table(("stage", "took"), rows)


def provenance(story: ReportContents) -> HTML:
    """Show hashes of inputs and models, versions and machine: enough to check whether another run is the same."""
    rows: list[tuple[str, Any]] = []
    for run in (*story.before, *story.chosen):
        rows += [
            (f"{run.manifest['step']}: {name}", f"{facts.get('file', '')} SHA-256 {facts['sha256']}")
            for name, facts in run.manifest["inputs"].items()
        ]
    rows += [(f"model: {name}", fingerprint) for name, fingerprint in story.first.manifest["models"].items()]
    about = story.first.manifest["environment"]
    rows += [
        ("wanlab", story.first.manifest["wanlab"]),
        ("git commit", about.get("git_commit", "unknown")),
        ("system", f"Python {about['python']}, {about['system']}"),
    ]
    rows += [
        ("GPU", about.get("gpu", "none")),
        ("versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
    ]
    return viz.table(("what", "value"), rows)


def command(story: ReportContents) -> HTML:
    """Show the commands that repeat the runs exactly, every setting spelled out."""
    lines, earlier = [], None
    for run in story.before:
        lines.append(compare.command(run, earlier, complete=True))
        earlier = run.id
    lines += [compare.command(run, earlier, complete=True) for run in story.chosen]
    return HTML("<pre>" + escape("\n".join(lines)) + "</pre>")


def _link(run: runs.Run, file: str) -> Path:
    return Path("..") / run.id / file
