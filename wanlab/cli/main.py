"""The `wanlab` command: each step runs its notebook headless and leaves notebook and report in the run folder.

Exit status: 0 done, 1 the run failed, 2 bad parameters.
"""

from __future__ import annotations

import argparse
import contextlib
import locale
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import wanlab
from wanlab import config
from wanlab.cli.flags import HANDED_ON, PIPELINE, STEPS, Parser, add_flags, given_settings
from wanlab.cli.manage import add_models, add_params, add_runs, print_table
from wanlab.config import NOTEBOOKS, SettingsError
from wanlab.files import targets


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    if arguments is None:
        _speak_utf8()
        os.environ.setdefault(config.SHELL_FOLDER, str(Path.cwd()))
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
        print("wanlab: interrupted; finished work is kept, the same command continues from there", file=sys.stderr)
        return 1


def _speak_utf8() -> None:
    """Begin once more in Python's UTF-8 mode where the locale has another encoding (C, POSIX, Latin-1).

    Else the first arrow or accent would end the command, as would a file name that has one.
    """
    if locale.getencoding().lower() not in ("utf-8", "utf8") and not sys.flags.utf8_mode:
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(command[0], command, {**os.environ, "PYTHONUTF8": "1"})  # kernels and workers inherit it


def _say(error: Exception) -> None:
    for line in str(error).splitlines():
        print(f"wanlab: {config.printable(line)}", file=sys.stderr)


def _run(args: argparse.Namespace, steps: Sequence[str]) -> int:
    """Run one step, or the pipeline, with the settings of the command line; detached if asked to."""
    given = given_settings(args, steps)
    if given.get("finish") and not {"grid", "cases"} & set(given):  # of the newest sweep
        from wanlab.steps.sweep import newest_settings

        given = {**newest_settings(), **given}
    if not args.detach:
        return run_pipeline(given)[0] if len(steps) > 1 else run_step(steps[0], given)[0]
    _check_steps(_per_step(given, steps))
    from wanlab.runs import notebook

    return notebook.detach(args.command_line)


def run_step(step: str, values: Mapping[str, Any]) -> tuple[int, Path | None]:
    """Run the notebook of `step` with `values` in a kernel of its own.

    Returns:
        the exit status, and the run folder if the notebook got as far as making one.

    Raises:
        SettingsError, FileNotFoundError: before a kernel starts.
    """
    from wanlab.runs import notebook

    _check_steps({step: values})
    name, _ = NOTEBOOKS[step]
    print(f"== {name}", flush=True)
    if step in ("generate", "sweep"):
        _warn_of_decisions(values)
    return notebook.execute(step, name, {key: _param(value) for key, value in values.items()})


def _check_steps(values: Mapping[str, Mapping[str, Any]]) -> list[config.Settings]:
    """Check settings by step and the places they name, before anything is started; return them. Raises as `run_step`."""
    chosen = [_checked(step, given) for step, given in values.items()]
    keep = targets.kept(*chosen)
    for settings in chosen:
        if getattr(settings, "output_path", None) is not None:
            targets.video(settings, keep=keep).check()  # type: ignore[arg-type]
        elif getattr(settings, "save_path", None) is not None:
            from wanlab.inputs import copies

            copies.check(settings.save_path, keep)  # type: ignore[attr-defined]
    return chosen


def _warn_of_decisions(values: Mapping[str, Any]) -> None:
    """Say which decisions about the inputs are not applied to them; inputs that are not there are the step's to name."""
    from wanlab import inputs
    from wanlab.inputs import decisions

    with contextlib.suppress(OSError, ValueError):
        said = decisions.unapplied(inputs.find(values.get("inputs", "latest"))[0])
        if said:
            print(f"warning: {config.printable(said)}", file=sys.stderr, flush=True)


def _checked(step: str, values: Mapping[str, Any]) -> config.Settings:
    """Return the settings of a step, whose files are there."""
    model = NOTEBOOKS[step][1]
    settings = model.build(values)
    _check_words(settings)
    for field in set(model.paths()) - set(model.conveniences()) - {"checkpoint"}:  # whose absence its finder explains
        for path in settings.files(field):
            if not config.absolute(path).exists() and not (config.outputs_root() / path.name).exists():
                words = "".join(f"{word}, " for word in model.words(field))
                raise FileNotFoundError(
                    f"{field} must {'be ' + words + 'or ' if words else ''}exist, got {config.typed(path)} (paths on the command line "
                    f"start at the shell's folder){config.nearest(config.absolute(path))}"
                )
    if getattr(settings, "is_official", False):
        from wanlab import official

        official.check(settings)  # type: ignore[arg-type]
    elif getattr(settings, "checkpoint", None):
        from wanlab.model import checkpoints

        checkpoints.find(settings.checkpoint)  # type: ignore[attr-defined]
    if step == "generate" and not settings.is_official:  # type: ignore[attr-defined]
        from wanlab.steps import denoise

        if faults := denoise.faults_of_machine(settings):  # type: ignore[arg-type]
            raise SettingsError("\n".join(faults))
    return settings


def _check_words(settings: config.Settings) -> None:
    """Refuse settings in a small language of their own that cannot be read, before a pipeline's first step has worked for them."""
    _check_chains(settings)
    person, rules = getattr(settings, "person", None), getattr(settings, "pose_cleaning", None)
    try:
        if person is not None:
            from wanlab.pose import tracks

            tracks.read_person(person)
        if rules:
            from wanlab.pose import cleaning

            cleaning.read(rules)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _check_chains(settings: config.Settings) -> None:
    """Refuse mask chains that cannot be read: in the settings, to compare, and of a sweep's points."""
    from wanlab.mask import parse_chain

    swept = [*getattr(settings, "grid", {}).get("mask_chain", ())]
    swept += [case.get("mask_chain") for case in getattr(settings, "cases", ())]
    for chain in (getattr(settings, "mask_chain", None), *getattr(settings, "compare", ()), *swept):
        try:
            parse_chain(chain if isinstance(chain, str) else "")
        except ValueError as error:
            raise SettingsError(str(error)) from None


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
    checked = _check_steps(values)
    corrections = [name for name in ("points", "edits", "pose_cleaning") if given.get(name)]
    if corrections and any(getattr(settings, "is_official", False) for settings in checked):
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
    parser = Parser(
        prog="wanlab",
        description=(wanlab.__doc__ or "").splitlines()[0],
        epilog="exit status: 0 done, 1 the run failed, 2 bad parameters",
    )
    parser.add_argument("--version", action="version", version=wanlab.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for step, what in STEPS.items():
        command = commands.add_parser(step, help=what, description=what)
        add_flags(command, [step])
        command.set_defaults(run=lambda args, step=step: _run(args, [step]))
    what = "10 → 20 (with points, edits or pose_cleaning) → 30 → 50 in one go"
    command = commands.add_parser("pipeline", help=what, description=what)
    add_flags(command, PIPELINE)
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
        if name == "check":
            command.add_argument(
                "--checkpoint", metavar="DIR",
                help="prove this checkpoint instead: keys, VAE, two steps of nine frames, seconds, memory; writes a JSON without paths and names",
            )  # fmt: skip
            command.add_argument(
                "--device", choices=("cuda", "cpu"), help="device of the proof [a GPU if there is one]"
            )
        if name == "lab":
            command.add_argument("--port", type=int, default=8888, help="port to listen on; the next free one is taken")
            command.add_argument("--no-browser", action="store_true", help="only print the address")
    add_models(commands)
    add_runs(commands)
    add_params(commands)
    return parser


def _param(value: Any) -> Any:
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


def _check(args: argparse.Namespace) -> int:
    if args.checkpoint is not None:
        place = Path.cwd() / config.mended("checkpoint", args.checkpoint, Path.cwd())
        return _prove(place, args.device)
    from wanlab.cli import check

    print_table((line.topic, line.found + (f"\n→ {line.remedy}" if line.remedy else "")) for line in check.check())
    return 0


def _prove(checkpoint: Path, device: str | None) -> int:
    """Print the proof of a checkpoint row by row and write it down, as far as it came."""
    from wanlab.cli import check_checkpoint

    rows: list[check_checkpoint.Row] = []
    error: Exception | None = None
    try:
        for row in check_checkpoint.check_checkpoint(checkpoint, device):
            rows.append(row)
            print(f"{row.topic:34} {row.verdict:16} {row.found}", flush=True)
    except Exception as fault:  # of any network, on any machine: what was found until then is wanted
        error = fault
        raise
    finally:
        if rows:
            print(f"written to {config.typed(check_checkpoint.write(rows, error))}: no path and no name is in it")
    return 1 if any(row.verdict == check_checkpoint.BAD for row in rows) else 0


def _lab(args: argparse.Namespace) -> NoReturn:
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--ip=127.0.0.1",
        f"--port={args.port}",
        f"--ServerApp.root_dir={config.project_root()}",
        "--ServerApp.kernel_spec_manager_class=wanlab.runs.lab_kernels.LabKernels",
        "--ServerApp.kernel_manager_class=wanlab.runs.lab_kernels.LabKernelManager",
        "--ServerApp.contents_manager_class=wanlab.cli.start.OwnContents",
        "--LabApp.default_url=/lab/tree/Start.md",
        f"--LabApp.app_settings_dir={config.ASSETS / 'lab'}",  # overrides.json: no question about news, Markdown rendered
        "--LabApp.expose_app_in_browser=True",  # widgets save the notebook and write its parameters cell
        "--LabApp.news_url=None",  # nothing is fetched from outside
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container, where Jupyter would refuse
        command.append("--allow-root")
    command += ["--no-browser"] if args.no_browser else []
    os.execv(command[0], command)  # the server takes this process's place: what stops the command stops it
