"""Step 50: a run of 30_generate and what it was made from → the parts of one page to share.

run = report.start(settings)
story = report.gather(run)           # the run, its inputs, its files
report.overview(story); report.settings_table(story); …   # each shows one part
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import HTML

from wanlab import config, inputs, media, runs, viz

RESULT_VERSION = 1  # raise it when the same settings come to mean another result
RESULT = "result.mp4"


@dataclasses.dataclass(frozen=True)
class Story:
    """What a report tells.

    Attributes:
        title: heading.
        folder: of the report, where links start.
        result: the run of 30_generate.
        before: the runs that its inputs came from, the oldest first; those that are gone are missing.
        inputs: what it was made from.
    """

    title: str
    folder: Path
    result: runs.Run
    before: tuple[runs.Run, ...]
    inputs: inputs.AnimateInputs

    @property
    def video(self) -> Path:
        """The full result."""
        return self.result.path(RESULT)


def start(settings: config.ReportSettings) -> runs.Run:
    """Find the run to report on and make the report's own folder.

    Raises:
        FileNotFoundError: if there is no such run, or none completed.
    """
    result = runs.find_run(settings.run, "generate")
    if result.manifest["step"] != "generate" or not result.completed:
        raise FileNotFoundError(
            f"run must be a completed run of 30_generate, got {result.id} ({result.manifest['step']}, {result.status}); finish it: wanlab generate"
        )
    return runs.open_run(
        "report",
        settings.replaced(
            run=result.folder,
            title=settings.title or f"{result.manifest['settings']['mode']} · {result.manifest['hash']}",
        ),
        inputs={
            "run": {
                "id": result.id,
                "sha256": config.digest({key: result.manifest[key] for key in ("id", "ended", "artefacts")}),
            }
        },
        models={},
        result_version=RESULT_VERSION,
        parents=(result.id,),
    )


def gather(run: runs.Run) -> Story:
    """Collect the run, its inputs and the run that made them; mark the report completed."""
    with run.working():
        result = runs.find_run(run.settings.run)
        before = _ancestors(result)
        made = inputs.read(before[-1].folder if before else config.absolute(result.manifest["settings"]["inputs"]))
        return Story(run.settings.title, run.folder, result, before, made)


def _ancestors(run: runs.Run) -> tuple[runs.Run, ...]:
    """Return the runs whose files a run was made from, the oldest first."""
    found: tuple[runs.Run, ...] = ()
    for parent in run.manifest["parents"]:
        with contextlib.suppress(FileNotFoundError):  # removed since
            earlier = runs.find_run(parent)
            found += (*_ancestors(earlier), earlier)
    return found


def overview(story: Story) -> HTML:
    """Show title and one paragraph: what was made from what, how long it took, where the full file is."""
    chosen, made = story.result.manifest["settings"], story.result.manifest["artefacts"]["video"]
    first = story.before[0].manifest["inputs"] if story.before else {}
    files = {name: facts["file"] for name, facts in first.items() if "file" in facts}
    sentence = (
        f"{made['frames']} frames of {made['height']}x{made['width']} (height x width) at {_rate(made['fps'])} frames per second, "
        f"mode {chosen['mode']}, checkpoint {chosen['checkpoint']}"
    )
    if {"driving_video", "reference_image"} <= set(files):
        sentence += f"; the person of {files['driving_video']} drives {files['reference_image']}"
    link = Path("..") / story.result.id / RESULT
    return HTML(
        f"<h1>{escape(story.title)}</h1><p>{escape(sentence)}.</p>"
        f'<p><a href="{escape(link.as_posix())}">Full video</a> (beside this page in the outputs folder), run {escape(story.result.id)}, '
        f"{story.result.manifest['seconds_total']:.0f} s.</p>"
    )


def videos(story: Story) -> None:
    """Play driver, background (in replace), pose and result side by side."""
    result, made = media.open_clip(story.video), story.inputs
    kept = made.video("background_video") if story.result.manifest["settings"]["mode"] == "replace" else None
    shown = {"driving": made.driving(), "background": kept, "pose": made.video("pose_video"), "result": result}
    viz.show_videos(shown, fps=result.fps)


def frames(story: Story) -> Any:
    """Show the result under its driver, the reference in front, both frames at each seam."""
    driving = story.inputs.driving() or story.inputs.video("pose_video")
    seams = story.result.manifest["artefacts"]["video"]["seams"]
    return viz.result_beside(driving, story.inputs.reference_image(), media.open_clip(story.video), seams)


def numbers(story: Story) -> Any:
    """Show the result's metrics."""
    return viz.metric_table(story.result.manifest.get("metrics", {}))


def confidence(story: Story) -> Any:
    """Plot how sure the key points are over time."""
    facts = story.inputs.facts
    return viz.keypoint_confidence(
        story.inputs.keypoints(), story.inputs.fps, facts.get("no_person", ()), facts.get("cuts", ())
    )


def settings_table(story: Story) -> HTML:
    """Show the settings that differ from the defaults, and all of them folded away."""
    parts = []
    for run in (*story.before, story.result):
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


def notes(story: Story) -> HTML:
    """Show what the runs said about their inputs and results."""
    said = [note for run in (*story.before, story.result) for note in run.manifest["notes"]]
    said += story.inputs.notes
    return HTML(
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(said)) + "</ul>"
        if said
        else "<p>Nothing to note.</p>"
    )


def times(story: Story) -> HTML:
    """Show the seconds per stage and the peak memory of each run."""
    rows = []
    for run in (*story.before, story.result):
        step = run.manifest["step"]
        rows += [(f"{step}: {stage}", f"{seconds:.1f} s") for stage, seconds in run.manifest["seconds"].items()]
        rows.append(
            (
                f"{step}: in all",
                f"{run.manifest['seconds_total']:.1f} s, peak memory {run.manifest['peak_memory_bytes'] / 2**30:.1f} GiB",
            )
        )
    return viz.table(("stage", "took"), rows)


def provenance(story: Story) -> HTML:
    """Show hashes of inputs and models, versions and machine: enough to tell whether another run is the same."""
    rows: list[tuple[str, Any]] = []
    for run in (*story.before, story.result):
        rows += [
            (f"{run.manifest['step']}: {name}", f"{facts.get('file', '')} SHA-256 {facts['sha256']}")
            for name, facts in run.manifest["inputs"].items()
        ]
    rows += [(f"model: {name}", fingerprint) for name, fingerprint in story.result.manifest["models"].items()]
    about = story.result.manifest["environment"]
    rows += [
        ("wanlab", story.result.manifest["wanlab"]),
        ("git commit", about.get("git_commit", "unknown")),
        ("system", f"Python {about['python']}, {about['system']}"),
    ]
    rows += [
        ("GPU", about.get("gpu", "none")),
        ("versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
    ]
    return viz.table(("what", "value"), rows)


def command(story: Story) -> HTML:
    """Show the commands that repeat the runs exactly, every setting spelled out."""
    lines, earlier = [], None
    for run in (*story.before, story.result):
        instead = {"inputs": earlier.id} if earlier else {}
        lines.append(_command(run.manifest["step"], run.manifest["settings"], instead))
        earlier = run
    return HTML("<pre>" + escape("\n".join(lines)) + "</pre>")


def _command(step: str, chosen: Mapping[str, Any], instead: Mapping[str, str]) -> str:
    model = config.NOTEBOOKS[step][1]
    words = ["wanlab", step]
    for name, value in {**chosen, **instead}.items():
        if name not in model.conveniences() and value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _rate(fps: str) -> str:
    top, _, bottom = fps.partition("/")
    return f"{int(top) / int(bottom or 1):.3f}".rstrip("0").rstrip(".")
