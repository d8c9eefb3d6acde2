"""The `wanlab` command: each step runs its notebook headless and leaves notebook and report in the run folder.

Exit status: 0 done, 1 the run failed, 2 bad parameters.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import wanlab
from wanlab import config, targets
from wanlab.config import NOTEBOOKS, SettingsError

STEPS = {
    "preprocess": "driving video and reference image → inputs (10_preprocess)",
    "inspect": "inputs → masks side by side, and new inputs with the one chosen (20_inspect)",
    "generate": "inputs → video (30_generate)",
    "sweep": "inputs and a grid of settings → a video per point (40_sweep)",
    "report": "run → one HTML page to share (50_report)",
}
PIPELINE = ("preprocess", "inspect", "generate", "report")
HANDED_ON = {"inspect": "inputs", "generate": "inputs", "report": "run"}  # what takes the folder of the step before
SWITCHES = {"replace": ("mode", "replace"), "replace_flag": ("mode", "replace"), "retarget_flag": ("retarget", "true")}

UPSTREAM_MASK = {
    "iterations": 3,
    "k": 7,
    "w_len": 1,
    "h_len": 1,
}  # upstream's options and their defaults: one mask chain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    args = _parser().parse_args(arguments)
    args.command_line = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return args.run(args)
    except (SettingsError, FileNotFoundError, NotADirectoryError) as error:
        _say(error)
        return 2
    except (RuntimeError, OSError) as error:  # what a run's state or the disk forbids
        _say(error)
        return 1
    except KeyboardInterrupt:
        print("wanlab: interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
        return 1


def _say(error: Exception) -> None:
    for line in str(error).splitlines():
        print(f"wanlab: {line}", file=sys.stderr)


def _run(args: argparse.Namespace, steps: Sequence[str]) -> int:
    """Run one step, or the pipeline, with the settings of the command line; detached if asked to."""
    given = _values(args, steps)
    if given.get("finish") and not {"grid", "cases"} & set(given):  # of the newest sweep
        from wanlab import sweep

        given = {**sweep.newest_settings(), **given}
    if not args.detach:
        return run_pipeline(given)[0] if len(steps) > 1 else run_step(steps[0], given)[0]
    _check_steps(_per_step(given, steps))
    from wanlab import headless

    return headless.detach(args.command_line)


def run_step(step: str, values: Mapping[str, Any]) -> tuple[int, Path | None]:
    """Run the notebook of `step` with `values` in a kernel of its own.

    Returns:
        the exit status, and the run folder if the notebook got as far as making one.

    Raises:
        SettingsError, FileNotFoundError: before a kernel starts.
    """
    from wanlab import headless

    _check_steps({step: values})
    name, _ = NOTEBOOKS[step]
    print(f"== {name}", flush=True)
    return headless.execute(step, name, {key: _plain(value) for key, value in values.items()})


def _check_steps(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Check settings by step and the places they name, before anything is started; raises as `run_step`."""
    chosen = [_checked(step, given) for step, given in values.items()]
    keep = targets.kept(*chosen)
    for settings in chosen:
        if getattr(settings, "output_path", None) is not None:
            targets.video(settings, keep=keep).check()  # type: ignore[arg-type]
        elif getattr(settings, "save_path", None) is not None:
            from wanlab import input_copies

            input_copies.check(settings.save_path, keep)  # type: ignore[attr-defined]


def _checked(step: str, values: Mapping[str, Any]) -> config.Settings:
    """Return the settings of a step, whose files are there."""
    model = NOTEBOOKS[step][1]
    settings = model.build(values)
    for field in set(model.paths()) - set(model.conveniences()):
        for path in settings.files(field):
            if not config.absolute(path).exists() and not (config.outputs_root() / path.name).exists():
                words = "".join(f"{word}, " for word in model.words(field))
                raise FileNotFoundError(
                    f"{field} must {'be ' + words + 'or ' if words else ''}exist, got {path} (paths on the command line "
                    "start at the shell's folder)"
                )
    if getattr(settings, "backend", None) == "wan22":
        from wanlab import official_setup

        official_setup.check(settings)
    return settings


def run_pipeline(given: Mapping[str, Any], inspecting: bool = False) -> tuple[int, dict[str, Path]]:
    """Run the steps in order, each on what the one before wrote.

    Args:
        given: settings by name; each step takes those that it has.
        inspecting: run 20_inspect though neither points nor edits are given.

    Returns:
        the exit status, and the run folders by step.
    """
    from wanlab.inputs import FACTS

    values = _per_step(given, PIPELINE)
    values["inspect"].pop("driving_video", None)  # the inputs hold the working clip
    _check_steps(values)
    corrections = [name for name in ("points", "edits") if given.get(name)]
    if given.get("backend") == "wan22" and corrections:
        raise SettingsError(
            f"{corrections[0]} must be left out of the pipeline with backend wan22, whose script takes none; give them to "
            "wanlab inspect, between wanlab preprocess and wanlab generate"
        )
    folder: Path | None = None
    folders: dict[str, Path] = {}
    for step in PIPELINE:
        if step == "inspect" and not (inspecting or corrections):
            continue
        handed = {HANDED_ON[step]: folder.name} if folder else {}
        status, made = run_step(step, {**values[step], **handed})
        if status or made is None:
            return status or 1, folders
        folders[step] = made
        if step != "inspect" or (made / FACTS).is_file():  # an inspection that only looked hands nothing on
            folder = made
    return 0, folders


def _per_step(given: Mapping[str, Any], steps: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return for each step those of the settings that it has."""
    return {
        step: {name: value for name, value in given.items() if name in NOTEBOOKS[step][1].model_fields}
        for step in steps
    }


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="wanlab", description=wanlab.__doc__, epilog="exit status: 0 done, 1 the run failed, 2 bad parameters"
    )
    parser.add_argument("--version", action="version", version=wanlab.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for step, what in STEPS.items():
        command = commands.add_parser(step, help=what, description=what)
        _add_flags(command, [step])
        command.set_defaults(run=lambda args, step=step: _run(args, [step]))
    what = "10 → 20 (with --points) → 30 → 50 in one go"
    command = commands.add_parser("pipeline", help=what, description=what)
    _add_flags(command, PIPELINE)
    command.set_defaults(run=lambda args: _run(args, PIPELINE))
    for name, function, what in (
        (
            "demo",
            _demo,
            "all steps on a bundled clip and character, animate, replace and a sweep, with the bundled nano checkpoint",
        ),
        ("check", _check, "what this machine has, and what will therefore be used"),
        ("lab", _lab, "JupyterLab on this machine (127.0.0.1)"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(run=function)
        if name == "lab":
            command.add_argument("--port", type=int, default=8888, help="port to listen on; the next free one is taken")
            command.add_argument("--no-browser", action="store_true", help="only print the address")
    _add_models(commands)
    _add_runs(commands)
    _add_params(commands)
    return parser


def _add_models(commands: Any) -> None:
    """Add `wanlab models` and its download; without a further word it lists them."""
    from wanlab import official_setup

    what = "checkpoints and networks: which are here; download the original checkpoint"
    command = commands.add_parser("models", help=what, description=what)
    command.set_defaults(run=_models)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    what = "the original checkpoint, for backend wan22, by Hugging Face's or ModelScope's own client; it goes on where it stopped"
    action = actions.add_parser("download", help=what, description=what)
    action.add_argument("--source", required=True, choices=official_setup.SOURCES, help="where from")
    action.add_argument("--only", choices=tuple(official_setup.PARTS), help="a part of it [all but flux]")
    flags = ["--checkpoint", "--ckpt_dir", "--ckpt-dir"]
    folder = official_setup.CHECKPOINT
    what = f"folder that gets it: new, empty, or the checkpoint [{folder}/ of the project]"
    action.add_argument(*flags, metavar="DIR", help=what)
    action.set_defaults(run=_download)


def _add_params(commands: Any) -> None:
    """Add `wanlab params` and where it reads settings from."""
    what = "params files from elsewhere: of ComfyUI's workflows"
    command = commands.add_parser("params", help=what, description=what)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    what = "a workflow of ComfyUI for Wan-Animate → params file and points file, and what they cannot say"
    action = actions.add_parser("from-comfyui", help=what, description=what)
    action.set_defaults(run=_from_comfyui)
    action.add_argument(
        "workflow",
        type=Path,
        metavar="WORKFLOW",
        help="JSON (saved or exported as API), or a PNG or film that ComfyUI made",
    )
    action.add_argument(
        "--out", metavar="FILE", help="params file to write [params/ of the project, named as WORKFLOW]"
    )
    for name, text in (
        (
            "comfyui_dir",
            "ComfyUI's folder: its input/ and models/ are looked through for the files that the workflow names",
        ),
        ("driving_video", "the film, in place of the one that the workflow names"),
        ("reference_image", "the character's picture, in place of the one that the workflow names"),
    ):
        flags = [f"--{spelled}" for spelled in (name, name.replace("_", "-"))]
        action.add_argument(*flags, dest=name, type=Path, metavar="PATH", help=text)
    action.add_argument("--overwrite", action="store_true", help="replace files of an earlier import, as it left them")


def _add_runs(commands: Any) -> None:
    """Add `wanlab runs` and what it does to runs; without a further word it lists them."""
    what = "the runs in outputs/: list, compare two, remove, cancel"
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
    action.set_defaults(run=_cancel)


class _Parser(argparse.ArgumentParser):
    """argparse that knows near misses: `--sede` is answered with `did you mean --seed?`."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how, allow_abbrev=False)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [name.lstrip("-") for name in found.known]
            line = (
                config.unknown_name(rest[0].lstrip("-").split("=")[0], known)
                if rest[0].startswith("-")
                else f"what is {rest[0]!r}?"
            )
            self.error(line)
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        found, rest = super().parse_known_args(args, namespace)
        if not hasattr(found, "known"):  # a subcommand has said it already: its options are those that were meant
            found.known = [option for action in self._actions for option in action.option_strings]
        return found, rest

    def error(self, message: str) -> NoReturn:
        print(f"wanlab: {message}", file=sys.stderr)
        print(f"see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def _add_flags(command: argparse.ArgumentParser, steps: Sequence[str]) -> None:
    """Give `command` a flag per setting of `steps`, the earlier scripts' names, and `-f` and `-p` as in papermill."""
    from wanlab.inputs import UPSTREAM_NAMES

    command.add_argument(
        "-f",
        "--params_file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="params file (YAML); may be repeated, and hold settings of other steps",
    )
    command.add_argument(
        "-p", "--parameter", action="append", default=[], nargs=2, metavar=("NAME", "VALUE"), help="one setting by name"
    )
    command.add_argument(
        "--detach",
        action="store_true",
        help="work in the background; wanlab runs says how far it is, wanlab runs cancel stops it",
    )
    handed = {HANDED_ON[step] for step in steps if len(steps) > 1 and step in HANDED_ON}
    fields = {
        name: field for step in steps for name, field in NOTEBOOKS[step][1].model_fields.items() if name not in handed
    }
    aliases: dict[str, list[str]] = {}
    for theirs, ours in UPSTREAM_NAMES.items():
        aliases.setdefault(ours, []).append(theirs)
    group = command.add_argument_group("settings")
    for name, field in fields.items():
        names = [name, *(alias for alias in aliases.get(name, []) if alias not in fields)]
        flags = [f"--{spelled}" for given in names for spelled in dict.fromkeys((given, given.replace("_", "-")))]
        switch = {"nargs": "?", "const": "true"} if bool in config._kinds(field.annotation) else {}
        text = f"{field.description} [{field.default}]".replace("%", "%%")
        group.add_argument(*flags, dest=f"set_{name}", default=None, metavar=name.upper(), help=text, **switch)  # type: ignore[arg-type]
    for switch_name, (name, value) in SWITCHES.items():
        if name in fields:
            group.add_argument(
                f"--{switch_name}",
                dest=f"set_{name}",
                action="store_const",
                const=value,
                help=f"the same as --{name} {value}",
            )
    for name, default in UPSTREAM_MASK.items() if "mask_chain" in fields else ():
        text = f"upstream's; the four of them are one mask_chain [{default}]"
        group.add_argument(f"--{name}", dest=f"mask_{name}", type=int, default=None, metavar="N", help=text)


def _values(args: argparse.Namespace, steps: Sequence[str]) -> dict[str, Any]:
    """Return the settings given on the command line: params files, then -p, then flags."""
    from wanlab.inputs import UPSTREAM_NAMES

    models = {step: NOTEBOOKS[step][1] for step in steps}
    known = {name for model in models.values() for name in model.model_fields}
    elsewhere = {name for _, model in NOTEBOOKS.values() for name in model.model_fields} - known
    given = {name: value for name, value in config.read_params(args.params_file).items() if name not in elsewhere}
    typed: dict[Any, str] = {UPSTREAM_NAMES.get(name, name): text for name, text in args.parameter}
    typed |= {
        name.removeprefix("set_"): text
        for name, text in vars(args).items()
        if name.startswith("set_") and text is not None
    }
    upstream = {name: getattr(args, f"mask_{name}", None) for name in UPSTREAM_MASK}
    if any(value is not None for value in upstream.values()):
        if "mask_chain" in typed:
            raise SettingsError(
                "mask_chain must not be given beside --iterations, --k, --w_len or --h_len; use one of both"
            )
        from wanlab.mask import upstream_chain

        typed["mask_chain"] = upstream_chain(
            **{name: UPSTREAM_MASK[name] if value is None else value for name, value in upstream.items()}
        )
    unknown = [config.unknown_name(str(name), known) for name in (*given, *typed) if name not in known]
    if unknown:
        raise SettingsError("\n".join(unknown))
    path_models = {name: model for model in models.values() for name in model.paths()}
    read = config.parse_text(typed)
    return given | {
        name: _paths_from_shell(path_models[name], name, text) if name in path_models and text is not None else text
        for name, text in (read | _swept_from_shell(read)).items()
    }


def _paths_from_shell(model: type[config.Settings], name: str, text: str) -> str:
    if name in model.targets():
        return _target_from_shell(text)
    parts = text.split(",") if model.takes_several(name) else [text]
    return ",".join(part if part in model.words(name) or "://" in part else _from_shell(part) for part in parts)


def _swept_from_shell(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `grid` and `cases` that were typed and name paths, with the paths as notebooks read them."""
    swept = {name: typed[name] for name in ("grid", "cases") if typed.get(name) is not None}
    try:
        settings = config.SweepSettings.build(swept)
    except SettingsError:
        return {}  # it is said where all settings are checked
    found = settings.with_paths(_from_shell)
    return {name: found[name] for name in swept if found[name] != settings.with_paths(str)[name]}


def _target_from_shell(text: str) -> str:
    """Return a place to write to as notebooks read it; a final / stays, and what is no path is refused by the settings."""
    if not text.strip() or "\0" in text:
        return text
    with contextlib.suppress(RuntimeError):  # ~ of nobody
        full = str(Path.cwd() / Path(text).expanduser())
        return f"{full.rstrip(os.sep)}{os.sep}" if targets.names_folder(text) else full
    return text


def _from_shell(text: str) -> str:
    """Return a path typed in the shell as notebooks read it: from the project root where it lies inside."""
    full = Path.cwd() / Path(text).expanduser()
    full = (
        full.parent.resolve() / full.name if full.is_symlink() else full.resolve()
    )  # a link to Python means its place
    if not full.exists() and (config.outputs_root() / text).is_dir():  # a run by its id
        return text
    root = config.project_root()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(full)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path | Fraction) else value


def _demo(_: argparse.Namespace) -> int:
    params = config.project_root() / "params" / "demo"
    made: dict[str, Path] = {}
    for mode in ("animate", "replace"):
        status, made = run_pipeline(config.read_params([params / f"{mode}.yaml"]), inspecting=True)
        if status:
            return status
    values = {**config.read_params([params / "sweep.yaml"]), "inputs": made["inspect"].name}  # those of replace
    status, sweep = run_step("sweep", values)
    if status or sweep is None:
        return status or 1
    return run_step("report", {"run": sweep.name})[0]


def _check(_: argparse.Namespace) -> int:
    from wanlab import machine

    _table((line.topic, line.found + (f"\n→ {line.remedy}" if line.remedy else "")) for line in machine.check())
    return 0


def _models(_: argparse.Namespace) -> int:
    from wanlab import checkpoints, keypoints, sam_models

    _table(
        [
            *checkpoints.overview(),
            *sam_models.overview(),
            *((name, f"bundled network, SHA-256 {sha[:12]}…") for name, sha in keypoints.fingerprints().items()),
        ]
    )
    return 0


def _download(args: argparse.Namespace) -> int:
    from wanlab import downloads, official_setup

    given = str(official_setup.CHECKPOINT) if args.checkpoint is None else _target_from_shell(args.checkpoint)
    downloads.download(args.source, args.only, given)
    return 0


def _runs(_: argparse.Namespace) -> int:
    from wanlab import manage, runs

    _table(manage.overview())
    found = [run.folder for run in runs.list_runs()] + [folder for folder, _ in runs.list_damaged()]
    where = config.shown(config.outputs_root())
    if found:
        print(f"{len(found)} runs, {manage.in_bytes(sum(map(manage.size, found)))} in {where}")
    else:
        print(f"no runs in {where}; wanlab demo makes the first")
    return 0


def _compare(args: argparse.Namespace) -> int:
    from wanlab import manage, runs

    table = manage.compare(*(runs.find_run(run, "generate", previews=True) for run in (args.first, args.second)))
    print(table.to_string() if len(table) else "nothing differs")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from wanlab import manage

    if not args.yes and not sys.stdin.isatty():
        raise SettingsError("remove asks before it deletes, and nobody is there to answer; use --yes")
    chosen = [manage.named(run) for run in args.run_ids]
    removed = manage.remove(chosen, lambda question: args.yes or input(f"{question} [y/N] ").strip().lower() == "y")
    print(f"removed {len(removed)} of {len(chosen)} runs")
    return 0


def _cancel(args: argparse.Namespace) -> int:
    from wanlab import manage, runs

    run = runs.find_run(args.run_id, previews=True) if args.run_id else manage.working()
    stopped = manage.cancel(run)
    print(
        f"{run.id} {'has stopped' if stopped else 'is told to stop and ends its current step first'}; finished work is kept"
    )
    return 0


def _from_comfyui(args: argparse.Namespace) -> int:
    from wanlab import comfyui

    found = comfyui.read(
        args.workflow,
        comfyui_dir=args.comfyui_dir,
        driving_video=args.driving_video,
        reference_image=args.reference_image,
    )
    given = [path for path in (args.workflow, args.driving_video, args.reference_image) if path is not None]
    out = str(comfyui.default_out(args.workflow)) if args.out is None else _target_from_shell(args.out)
    made = comfyui.write(found, out, args.workflow, overwrite=args.overwrite, given=given)
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


def _lab(args: argparse.Namespace) -> NoReturn:
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--ip=127.0.0.1",
        f"--port={args.port}",
        f"--ServerApp.root_dir={config.project_root()}",
        "--LabApp.default_url=/lab/tree/README.md",
        "--LabApp.news_url=None",  # nothing is fetched from outside, and nobody is asked whether it may be
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container, where Jupyter would refuse
        command.append("--allow-root")
    command += ["--no-browser"] if args.no_browser else []
    os.execv(command[0], command)  # the server takes this process's place: what stops the command stops it


def _table(rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    width = max((len(left) for left, _ in rows), default=0)
    for left, right in rows:
        print(f"{left:<{width}}  " + right.replace("\n", "\n" + " " * (width + 2)))


if __name__ == "__main__":
    sys.exit(main())
