"""Flags of the commands: one per setting, and the earlier scripts' names."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from wanlab import config
from wanlab.config import NOTEBOOKS, SettingsError, base
from wanlab.files import targets

STEPS = {
    "preprocess": "driving video and reference image → inputs (10_preprocess)",
    "inspect": "inputs → masks, poses and faces to review; new, corrected inputs (20_inspect)",
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


class Parser(argparse.ArgumentParser):
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
        if not hasattr(found, "known"):  # a subcommand has set it already: its options were meant
            found.known = [option for action in self._actions for option in action.option_strings]
        return found, rest

    def error(self, message: str) -> NoReturn:
        print(f"wanlab: {message}", file=sys.stderr)
        print(f"see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def add_flags(command: argparse.ArgumentParser, steps: Sequence[str]) -> None:
    """Give `command` a flag per setting of `steps`, the earlier scripts' names, and `-f` and `-p` as in papermill."""
    _add_general(command)
    _add_settings(command.add_argument_group("settings"), steps)


def _add_general(command: argparse.ArgumentParser) -> None:
    """Add what every step takes beside its settings."""
    command.add_argument(
        "-f",
        "--params_file",
        action="append",
        default=[],
        type=params_file,
        metavar="FILE",
        help="params file (YAML); may be repeated, and hold settings of other steps",
    )
    command.add_argument(
        "-p", "--parameter", action="append", default=[], nargs=2, metavar=("NAME", "VALUE"), help="one setting by name"
    )
    command.add_argument(
        "--detach",
        action="store_true",
        help="run in the background; wanlab runs shows the progress, wanlab runs cancel stops it",
    )


def _add_settings(group: argparse._ArgumentGroup, steps: Sequence[str]) -> None:
    """Add a flag per setting of `steps`, under all its names."""
    from wanlab.inputs import UPSTREAM_NAMES

    handed = {HANDED_ON[step] for step in steps if len(steps) > 1 and step in HANDED_ON}
    fields = {
        name: field for step in steps for name, field in NOTEBOOKS[step][1].model_fields.items() if name not in handed
    }
    aliases: dict[str, list[str]] = {}
    for theirs, ours in UPSTREAM_NAMES.items():
        aliases.setdefault(ours, []).append(theirs)
    for name, field in fields.items():
        names = [name, *(alias for alias in aliases.get(name, []) if alias not in fields)]
        flags = [f"--{spelled}" for given in names for spelled in dict.fromkeys((given, given.replace("_", "-")))]
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if bool in base.kinds_of(field.annotation) else {}
        text = f"{field.description} [{field.default}]".replace("%", "%%")
        group.add_argument(
            *flags, dest=f"set_{name}", action=_Once, default=None, metavar=name.upper(), help=text, **switch
        )
    for switch_name, (name, value) in SWITCHES.items():
        if name in fields:
            group.add_argument(
                f"--{switch_name}",
                dest=f"set_{name}",
                action=_Once,
                nargs=0,
                const=value,
                help=f"the same as --{name} {value}",
            )
    for name, default in UPSTREAM_MASK.items() if "mask_chain" in fields else ():
        text = f"upstream's; the four of them are one mask_chain [{default}]"
        group.add_argument(f"--{name}", dest=f"mask_{name}", type=int, default=None, metavar="N", help=text)


def params_file(text: str) -> Path:
    """Return the params file that was named, as it was typed or pasted."""
    return Path(config.mended("params_file", text, Path.cwd()))


def given_settings(args: argparse.Namespace, steps: Sequence[str]) -> dict[str, Any]:
    """Return the settings given on the command line: params files, then -p, then flags."""
    from wanlab.inputs import UPSTREAM_NAMES

    models = {step: NOTEBOOKS[step][1] for step in steps}
    known = {name for model in models.values() for name in model.model_fields}
    elsewhere = {name for _, model in NOTEBOOKS.values() for name in model.model_fields} - known
    given = {name: value for name, value in config.read_params(args.params_file).items() if name not in elsewhere}
    for model in models.values():
        given |= config.mended_paths(
            model, {name: value for name, value in given.items() if name in model.model_fields}
        )
    typed: dict[Any, str] = {}
    for name, text in args.parameter:
        _take_once(typed, UPSTREAM_NAMES.get(name, name) or name, text)
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
    if "grid" in typed and "grid" in given:
        print("note: the grid on the command line replaces the one in the params file")
    unknown = [config.unknown_name(str(name), known) for name in (*given, *typed) if name not in known]
    if unknown:
        raise SettingsError("\n".join(unknown))
    path_models = {name: model for model in models.values() for name in model.paths()}
    read = config.parse_text(typed)
    return given | {
        name: _paths_from_shell(path_models[name], name, text) if name in path_models and text is not None else text
        for name, text in (read | _swept_from_shell(read)).items()
    }


class _Once(argparse.Action):
    """Take a flag's value; refuse another one for the same setting, which argparse would let win in silence."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        found = vars(namespace)
        text = self.const if values is None or self.nargs == 0 else values
        name = self.dest.removeprefix("set_")
        given = {name: found[self.dest]} if found.get(self.dest) is not None else {}
        try:
            _take_once(given, name, str(text))
        except SettingsError as error:
            parser.error(str(error))
        setattr(namespace, self.dest, text)


def _take_once(given: dict[Any, str], name: str, text: str) -> None:
    """Put a setting's text into `given`.

    Raises:
        SettingsError: if it is there with another one.
    """
    if given.setdefault(name, text) == text:
        return
    remedy = "one of both"
    if name == "grid":
        remedy = f"one: --grid {shlex.quote(f'{{{given[name]}, {text}}}')}"
    elif name in ("run", "finish"):
        remedy = f"one: --{name} {shlex.quote(f'{given[name]},{text}')}"
    raise SettingsError(f"{name} must be given once, got {given[name]} and {text}; use {remedy}")


def _paths_from_shell(model: type[config.Settings], name: str, text: str) -> str:
    if name in model.targets():
        return target_from_shell(config.peeled(name, text))

    def changed(path: str) -> str:
        is_address = re.match(r"\w+://", path) and not path.lower().startswith("file:")
        return path if is_address else from_shell(path, name, model.words(name))

    return model.with_paths_changed(name, text, changed)


def _swept_from_shell(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `grid` and `cases` that were typed and name paths, with the paths as notebooks read them."""
    swept = {name: typed[name] for name in ("grid", "cases") if typed.get(name) is not None}
    try:
        settings = config.SweepSettings.build(swept)
    except SettingsError:
        return {}  # the error comes where all settings are checked
    found = settings.with_paths(lambda path: from_shell(path, "grid"))
    return {name: found[name] for name in swept if found[name] != settings.with_paths(str)[name]}


def target_from_shell(text: str) -> str:
    """Return a place to write to as notebooks read it; a final / stays, the settings reject what is not a path."""
    if not text.strip() or "\0" in text:
        return text
    with contextlib.suppress(RuntimeError):  # ~ of an unknown user
        full = str(Path.cwd() / Path(text).expanduser())
        return f"{full.rstrip(os.sep)}{os.sep}" if targets.names_folder(text) else full
    return text


def from_shell(text: str, name: str = "", words: Sequence[str] = ()) -> str:
    """Return a path typed in the shell as notebooks read it: from the project root where it lies inside.

    Args:
        text: as it was typed or pasted.
        name: of the setting, for the note that says what was mended in it.
        words: that the setting takes beside paths.
    """
    text = config.mended(name, text, Path.cwd(), words)
    if text in words or "\0" in text:
        return text
    full = Path.cwd() / config.expanded(text)
    full = (
        full.parent.resolve() / full.name if full.is_symlink() else full.resolve()
    )  # a link to Python means its place
    if not full.exists() and (config.outputs_root() / text).is_dir():  # a run by its id
        return text
    root = config.project_root()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(full)
