"""Where the decisions about some inputs lie, which of them the inputs hold, and which are not applied yet.

Decisions belong to a working clip: `edits.json` lies beside the inputs that 10_preprocess made of it (or another tool), the
base. Inputs that 20_inspect made say in `inputs.json` which inputs led to them and which decisions they hold, so that 20
shows them all again and replays them from inputs that hold none, never twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wanlab import config, files, runs
from wanlab.inputs import edits, folder
from wanlab.inputs.folder import FACTS, AnimateInputs

ORIGIN = "origin.json"  # in a run folder, never published, for it holds absolute paths: {"inputs": [folder, …], "edits": file}, nearest inputs first


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where some inputs come from.

    Attributes:
        trail: the inputs themselves, those that they were made from, and so on, down to the base.
        start: the first of them without decisions: decisions are replayed on it. Points and a chain that it was made with stay.
        file: the file of decisions about the working clip; it may not be there yet.
        applied: the decisions that the inputs hold, None where they were made from none.
        asked_chain: the setting mask_chain that they were made with beside their decisions.
        notes: what a reader must know.
    """

    trail: tuple[AnimateInputs, ...]
    start: AnimateInputs
    file: Path
    applied: edits.Edits | None
    asked_chain: str | None
    notes: tuple[str, ...]


def origin(animate_inputs: AnimateInputs) -> Origin:
    """Return where inputs come from, as far as it is still there.

    Decisions that lie beside inputs which hold decisions themselves come on top of those: such inputs count as a base.
    """
    trail = [animate_inputs]
    while not _are_decided_on(trail[-1]):
        before = _before(trail[-1])
        if before is None:
            break
        trail.append(before)
    base = trail[-1]
    applied = _applied(animate_inputs) if base is not animate_inputs else None
    return Origin(
        tuple(trail),
        next((each for each in trail if _applied(each) is None), base),
        base.folder / edits.EDITS,
        applied,
        animate_inputs.facts.get("asked_chain") if applied is not None else None,
        () if _applied(base) is None else (_on_top(base),),
    )


def read(animate_inputs: AnimateInputs, file: Path) -> edits.Edits:
    """Return the decisions in a file, none where there is no file; sizes are those of the inputs' working clip.

    Raises:
        ValueError: if it is no file of decisions, or they do not fit the clip.
    """
    return edits.read(file, *size(animate_inputs)) if file.is_file() else edits.Edits()


def size(animate_inputs: AnimateInputs) -> tuple[int, int, int]:
    """Return the number of frames, the height and the width in pixels of the inputs' working clip."""
    height, width = (
        int(animate_inputs.facts.get(f"clip_{side}", getattr(animate_inputs, side))) for side in ("height", "width")
    )
    return animate_inputs.num_frames, height, width


def unapplied(animate_inputs: AnimateInputs) -> str | None:
    """Return a sentence about the decisions that inputs do not hold, and about those that they hold though taken back since.

    None where they agree with the file of decisions; the sentence names the command that makes such inputs.
    """
    found = origin(animate_inputs)
    held = found.applied or edits.Edits()
    where = shown(found.file)
    try:
        wanted = read(animate_inputs, found.file)
    except (OSError, ValueError) as error:
        return f"the decisions in {where} are not applied: they cannot be read ({error})"
    if not found.file.is_file() or wanted.digest() == held.digest():
        return None
    said = [
        f"{what}: {', '.join(each.describe())}" if each.describe() else ""
        for what, each in (
            ("not applied", wanted.without(held)),
            ("applied, but taken back since", held.without(wanted)),
        )
    ]
    differences = "; ".join(filter(None, said)) or "their order or their stretch is another one"
    return (
        f"these inputs differ from {where} ({differences}); to apply it: "
        f"wanlab inspect --inputs {config.typed(animate_inputs.folder)} --edits {config.typed(found.file)}"
    )


def shown(file: Path) -> str:
    """Return the path of a file of decisions as it may be published: at least with the name of its folder."""
    return f"{config.shown(file.parent)}/{file.name}"


def last_applied(file: Path) -> runs.Run | None:
    """Return the newest run that made inputs of this file of decisions, None if there is none."""
    for run in reversed(runs.list_runs("inspect")):
        if run.completed and run.path(FACTS).is_file() and _recorded(run.folder).get("edits") == str(file):
            return run
    return None


def bring_back(found: Origin) -> None:
    """Write the decisions that inputs hold into the file of decisions where there is none (they came from another file)."""
    if found.applied is None or found.applied.empty or found.file.exists():
        return
    held = found.applied
    edits.change(found.file, lambda now: now if found.file.exists() else held, *size(found.trail[0]))
    print(f"note: {shown(found.file)} holds the decisions that these inputs were made with")


def record(run: runs.Run, trail: Sequence[AnimateInputs], file: Path | None) -> None:
    """Keep in a run, for this machine only, where the inputs lie that it reads and the file of decisions that it replays.

    Args:
        run: an inspection.
        trail: of the inputs that it reads.
        file: None: it replays none.
    """
    folders = [str(each.folder) for each in trail]
    files.write_private_json(run.path(ORIGIN), {"inputs": folders, "edits": None if file is None else str(file)})


def facts(read_from: AnimateInputs, replayed: edits.Edits | None, asked_chain: str | None) -> dict[str, Any]:
    """Return the origin of new inputs, for their `inputs.json`.

    Args:
        read_from: the inputs that they are made from.
        replayed: the decisions that are replayed on those; None: none, and those that they hold stay.
        asked_chain: the setting mask_chain.
    """
    known = [each.facts.get("run") for each in origin(read_from).trail]
    said: dict[str, Any] = {"ancestors": known}
    _, height, width = size(read_from)
    if replayed is not None:
        said["decisions"] = edits.as_content(replayed, height, width)
    elif "decisions" in read_from.facts:
        said["decisions"] = read_from.facts["decisions"]
    if asked_chain is not None:
        said["asked_chain"] = asked_chain
    return said


def _applied(animate_inputs: AnimateInputs) -> edits.Edits | None:
    """Return the decisions that inputs were made with; None: with none."""
    content = animate_inputs.facts.get("decisions")
    if content is None:
        return (
            edits.Edits() if animate_inputs.facts.get("by_hand") else None
        )  # older inputs record only that there were some
    return edits.parse(content, FACTS, *size(animate_inputs))


def _are_decided_on(animate_inputs: AnimateInputs) -> bool:
    """Return whether a file with decisions lies beside inputs."""
    file = animate_inputs.folder / edits.EDITS
    try:
        return file.is_file() and not read(animate_inputs, file).empty
    except (OSError, ValueError):
        return True


def _before(animate_inputs: AnimateInputs) -> AnimateInputs | None:
    """Return the inputs that inputs were made from, the nearest that are still there; None: none, or they are the base."""
    parent = animate_inputs.facts.get("parent")
    ids = animate_inputs.facts.get("ancestors", [parent] if parent else [])
    places = _recorded(
        animate_inputs.folder
        if (animate_inputs.folder / ORIGIN).is_file()
        else _outputs(animate_inputs.facts.get("run"))
    ).get("inputs", [])
    for place, run in itertools.zip_longest(places[: len(ids)], ids):
        for candidate in _candidates(animate_inputs.folder, place, run):
            try:
                found = folder.read(candidate)
            except (OSError, ValueError):
                continue
            if found.facts.get("run") == run and size(found) == size(animate_inputs):
                return found
    return None


def _candidates(here: Path, place: str | None, run: str | None) -> Iterator[Path]:
    if place is not None:
        yield Path(place)
    if run is not None:
        yield here.parent / run  # outputs that were moved as a whole
        yield _outputs(run)


def _outputs(run: str | None) -> Path:
    return config.outputs_root() / Path(run or "-").name


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config.printable(content) if isinstance(content, dict) else {}


def _on_top(base: AnimateInputs) -> str:
    """Return what a reader must know of a base that holds decisions itself."""
    where = config.shown(base.folder)
    why = "the inputs that they were made from are gone"
    if _are_decided_on(base):
        why = f"{edits.EDITS} beside them holds decisions of its own"
    return f"decisions come on top of those that {where} was made with, which stay: {why}"
