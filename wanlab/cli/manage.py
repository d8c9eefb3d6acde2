"""The commands that manage runs, models and params files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wanlab import config
from wanlab.cli.flags import target_from_shell
from wanlab.config import SettingsError

FOUND = ("comfyui_dir", "driving_video", "reference_image")  # places that are given in a workflow's stead


def add_models(commands: Any) -> None:
    """Add `wanlab models` and its download; without a further word it lists them."""
    from wanlab.official import clone

    what = "checkpoints and networks: which are here; download the original checkpoint"
    command = commands.add_parser("models", help=what, description=what)
    command.set_defaults(run=_models)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    what = "the original checkpoint, by Hugging Face's or ModelScope's own client; it goes on where it stopped"
    action = actions.add_parser("download", help=what, description=what)
    action.add_argument("--source", required=True, choices=clone.SOURCES, help="where from")
    action.add_argument("--only", choices=tuple(clone.PARTS), help="a part of it [all but flux]")
    flags = ["--checkpoint", "--ckpt_dir", "--ckpt-dir"]
    folder = clone.CHECKPOINT
    what = f"folder that gets it: new, empty, or the checkpoint [{folder}/ of the project]"
    action.add_argument(*flags, metavar="DIR", help=what)
    action.set_defaults(run=_download)
    what = "a params file that names the parts of a checkpoint in ComfyUI's folders, to keep: wanlab models link > my_models.yaml"
    action = actions.add_parser("link", help=what, description=what)
    for name in ("transformer", "vae", "text_encoder", "image_encoder"):
        what = "which file, where there are several: its name, or the end of its path"
        action.add_argument(f"--{name}", metavar="FILE", help=what)
    what = f"ComfyUI's folder [what {config.COMFYUI} names, else ComfyUI/ of the project]"
    action.add_argument("--comfyui_dir", "--comfyui-dir", metavar="DIR", help=what)
    action.set_defaults(run=_link)


def add_params(commands: Any) -> None:
    """Add `wanlab params` and where it reads settings from."""
    what = "params files from elsewhere: of ComfyUI's workflows"
    command = commands.add_parser("params", help=what, description=what)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    what = "a workflow of ComfyUI for Wan-Animate → params file and points file, and a list of what has no counterpart"
    action = actions.add_parser("from-comfyui", help=what, description=what)
    action.set_defaults(run=_from_comfyui)
    action.add_argument(
        "workflow",
        metavar="WORKFLOW",
        help="JSON (saved or exported as API), or a PNG or video that ComfyUI made",
    )
    action.add_argument(
        "--out", metavar="FILE", help="params file to write [params/ of the project, named as WORKFLOW]"
    )
    for name, text in (
        (
            "comfyui_dir",
            "ComfyUI's folder: its input/ and models/ are looked through for the files that the workflow names",
        ),
        ("driving_video", "the video, in place of the one that the workflow names"),
        ("reference_image", "the character's image, in place of the one that the workflow names"),
    ):
        flags = [f"--{spelled}" for spelled in (name, name.replace("_", "-"))]
        action.add_argument(*flags, dest=name, metavar="PATH", help=text)
    action.add_argument("--overwrite", action="store_true", help="replace files of an earlier import, as it left them")


def add_runs(commands: Any) -> None:
    """Add `wanlab runs` and what it does to runs; without a further word it lists them."""
    what = "the runs in outputs/: list, watch, compare two, remove, cancel"
    command = commands.add_parser("runs", help=what, description=what)
    command.set_defaults(run=_runs)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    action = actions.add_parser("compare", help="what differs between two runs: settings, inputs, versions, numbers")
    action.add_argument("first", metavar="RUN")
    action.add_argument("second", metavar="RUN")
    action.set_defaults(run=_compare)
    action = actions.add_parser("remove", help="delete run folders, after asking")
    action.add_argument("run_ids", metavar="RUN", nargs="+")
    action.add_argument("--yes", action="store_true", help="do not ask")
    action.set_defaults(run=_remove)
    action = actions.add_parser("cancel", help="stop a run that works; what is finished stays")
    action.add_argument("run_id", metavar="RUN", nargs="?", help="left out: the newest that works")
    action.add_argument(
        "--after-segment", action="store_true", help="first end its segment: what is finished is its result then"
    )
    action.set_defaults(run=_cancel)
    action = actions.add_parser("watch", help="how far a run is, until it ends; Ctrl-C ends the watching, not the run")
    action.add_argument("run_id", metavar="RUN", nargs="?", help="left out: the newest that works")
    action.set_defaults(run=_watch)


def _models(_: argparse.Namespace) -> int:
    from wanlab.mask import sam2_weights
    from wanlab.model import checkpoints
    from wanlab.pose import detector_files, people

    print_table(
        [
            *checkpoints.overview(),
            *sam2_weights.overview(),
            *detector_files.overview(),
            *((name, f"bundled network, SHA-256 {sha[:12]}…") for name, sha in people.fingerprints().items()),
        ]
    )
    return 0


def _link(args: argparse.Namespace) -> int:
    from wanlab.model import checkpoints, single_files

    folder = config.comfyui_folder()
    if args.comfyui_dir is not None:
        folder = Path.cwd() / config.expanded(_pasted(args.comfyui_dir, "comfyui_dir"))
    if not single_files.is_comfyui(folder):
        raise FileNotFoundError(
            f"comfyui_dir must be ComfyUI's folder, or its models folder, got {config.typed(folder)}; "
            f"use --comfyui_dir DIR, or set {config.COMFYUI}"
        )
    wanted = {name: getattr(args, name) for name in single_files.FOLDERS if getattr(args, name) is not None}
    print(config.printable(checkpoints.link(folder, wanted)))
    return 0


def _download(args: argparse.Namespace) -> int:
    from wanlab.official import clone, download

    given = str(clone.CHECKPOINT) if args.checkpoint is None else target_from_shell(args.checkpoint)
    download.download(args.source, args.only, given)
    return 0


def _runs(_: argparse.Namespace) -> int:
    from wanlab import runs
    from wanlab.runs import manage

    print_table(manage.overview())
    found = [run.folder for run in runs.list_runs()] + [folder for folder, _ in runs.list_damaged()]
    where = config.typed(config.outputs_root())
    if found:
        print(f"{len(found)} runs, {manage.in_bytes(sum(map(manage.size, found)))} in {where}")
    else:
        print(f"no runs in {where}; wanlab demo makes the first")
    return 0


def _compare(args: argparse.Namespace) -> int:
    from wanlab import runs
    from wanlab.runs import manage

    pasted = (manage.pasted(text) for text in (args.first, args.second))
    table = manage.compare(*(runs.find_run(run, "generate", previews=True) for run in pasted))
    print(config.printable(table.to_string()) if len(table) else "nothing differs")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from wanlab.runs import manage

    if not args.yes and not sys.stdin.isatty():
        raise SettingsError("remove asks before it deletes, but there is no terminal to answer at; use --yes")
    chosen = [manage.named(run) for run in args.run_ids]
    from wanlab.inputs import edits

    removed = manage.remove(
        chosen, lambda question: args.yes or input(f"{question} [y/N] ").strip().lower() == "y", edits.by_hand
    )
    print(f"removed {len(removed)} of {len(chosen)} runs")
    return 0


def _watch(args: argparse.Namespace) -> int:
    from wanlab import runs
    from wanlab.cli import watch
    from wanlab.runs import manage

    run = runs.find_run(manage.pasted(args.run_id), previews=True) if args.run_id else manage.working("watch")
    return watch.watch(run.folder)


def _cancel(args: argparse.Namespace) -> int:
    from wanlab import runs
    from wanlab.runs import manage, watching

    run = runs.find_run(manage.pasted(args.run_id), previews=True) if args.run_id else manage.working()
    if args.after_segment:
        watching.ask_to_pause(run)
        print(f"{run.id} stops after its segment; what is finished is its result then")
        return 0
    stopped = manage.cancel(run)
    print(f"{run.id} {'has stopped' if stopped else 'stops after its current step'}; finished work is kept")
    return 0


def _from_comfyui(args: argparse.Namespace) -> int:
    from wanlab import comfyui

    places = {name: _pasted(text, name) for name in FOUND if (text := getattr(args, name)) is not None}
    workflow = _pasted(args.workflow, "WORKFLOW")
    found = comfyui.read(workflow, **places)
    given = [workflow, *(path for name, path in places.items() if name != "comfyui_dir")]
    out = str(comfyui.default_out(workflow)) if args.out is None else target_from_shell(config.peeled("out", args.out))
    made = comfyui.write(found, out, workflow, overwrite=args.overwrite, given=given)
    for title, lines in (
        ("mapped", found.mapped()),
        ("not mapped", found.missing()),
        ("good to know", found.notes),
        ("to fill in", [f"{name}: {what}" for name, what in found.to_fill.items()]),
    ):
        if lines:
            print(f"{title}:", *(f"  {line}" for line in lines), sep="\n")
    here = Path.cwd()
    names = [str(path.relative_to(here)) if path.is_relative_to(here) else str(path) for path in made]
    print(f"written: {', '.join(names)}", f"next: wanlab pipeline -f {names[0]}", sep="\n")
    return 0


def _pasted(text: str, name: str) -> Path:
    return Path(config.mended(name, text, Path.cwd()))


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    rows = [(config.printable(left), config.printable(right)) for left, right in rows]
    width = max((len(left) for left, _ in rows), default=0)
    for left, right in rows:
        print(f"{left:<{width}}  " + right.replace("\n", "\n" + " " * (width + 2)))
