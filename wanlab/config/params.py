"""Params files: settings as `name: value` lines, with one line per fault that names file, line, key, rule and remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wanlab.config.base import SettingsError, brief, unknown_name
from wanlab.config.paths import nearest
from wanlab.config.steps import NOTEBOOKS
from wanlab.config.strict import TextError, parse_json, parse_yaml

MAX_BYTES = 300_000  # of a params file: a sweep of 1,000 cases has half of that, and YAML reads 100 kB a second
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def read_params(files: Sequence[Path]) -> dict[str, Any]:
    """Read params files (YAML, or JSON where the name ends so): settings of any step, each checked; later files win.

    Raises:
        FileNotFoundError: if a file is missing.
        SettingsError: if a file is no list of `name: value` lines, or a value is none that its setting takes: a line each.
    """
    known = {name for _, model in NOTEBOOKS.values() for name in model.model_fields}
    values: dict[str, Any] = {}
    faults: list[str] = []
    for file in files:
        content, lines = _read(file)
        for name, value in content.items():
            models = [model for _, model in NOTEBOOKS.values() if name in model.model_fields]
            said = min((model.faults_of(name, value) for model in models), key=len, default=())  # one step may take it
            said = said if name in known else [unknown_name(str(name), known)]
            faults += [f"{_where(file, lines.get(name))}: {line.replace('use None', 'use null')}" for line in said]
        values |= content
    if faults:
        raise SettingsError("\n".join(faults))
    return values


def read_mapping(file: Path) -> dict[str, Any]:
    """Read a YAML file of `name: value` lines that are no settings of a step. Raises as `read_params`."""
    return _read(file)[0]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the values of a file by name, and the line of each where that is known."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        near = nearest(file.absolute()) or "; the ones that come with wanlab are in params/"
        raise FileNotFoundError(f"params file {file} {what}{near}")
    if file.stat().st_size > MAX_BYTES:
        raise SettingsError(
            f"{file} must hold `name: value` lines, at most {MAX_BYTES // 1000} kB, got {file.stat().st_size / 1e6:.1f} MB; "
            "name a params file"
        )
    text = ""
    try:
        text = _decoded(file.read_bytes(), file)
        content, lines = parse_json(text) if file.suffix.lower() == ".json" else parse_yaml(text)
        if content is not None and not isinstance(content, dict):
            raise TextError(
                None, f"must hold `name: value` lines, got a {type(content).__name__}; write `seed: 42`, say"
            )
    except TextError as fault:
        key = _key(text, fault.line) if str(fault).startswith("must") else ""
        colon = ":" if fault.line or not str(fault).startswith("must") else ""
        raise SettingsError(f"{_where(file, fault.line)}{colon} {key}{fault}") from None
    return content or {}, lines


def _key(text: str, line: int | None) -> str:
    """Return the name that the value on a line belongs to, with a blank behind it; nothing where there is none."""
    above = text.split("\n")[: line or 0]
    found = next(filter(None, (re.match(r"(\w+)\s*:", each) for each in reversed(above))), None)
    return f"{found[1]} " if found else ""


def _where(file: Path, line: int | None) -> str:
    return f"{file}, line {line}" if line else str(file)


def _decoded(data: bytes, file: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark."""
    encoding = _BOMS.get(data[:2]) or ("UTF-16" if data[:200].count(0) * 3 > len(data[:200]) else None)
    if encoding:
        raise TextError(None, f"must be text in UTF-8, got {encoding}; save it as UTF-8: {_converted(encoding, file)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        read = data.splitlines()[line - 1].decode("cp1252", errors="replace")
        key, _, value = read.partition(":")
        name = key.strip(" \"'")
        raise TextError(
            line,
            f"{name} must be text in UTF-8, got {brief(value.strip())} in another encoding such as Latin-1 or cp1252; "
            f"save it as UTF-8: {_converted('CP1252', file)}",
        ) from None
    wrong = _UNPRINTABLE.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        key = _key(text, line)
        raise TextError(
            line,
            f"{key}must be text without control characters, got {wrong[0]!r}; take it out",
        )
    return text


def _converted(encoding: str, file: Path) -> str:
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(file))} > {shlex.quote(f'{file.stem}_utf8{file.suffix}')}"
