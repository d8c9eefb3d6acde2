"""Settings of every step, and where files live.

One frozen model per notebook holds its defaults; the notebook's `parameters` cell, the command line and params files
are three ways to fill it. Nothing here has effects or loads a heavy library, so that `wanlab --help` is quick.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_origin

from pydantic import BaseModel, ValidationError, field_validator
from pydantic.fields import FieldInfo

from wanlab.config.paths import absolute, lies_outside, shown


class SettingsError(ValueError):
    """Parameters that no run can start with; the text has one line per fault."""


MAX_TEXT = 20_000  # characters: the text encoder reads 512 tokens
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Settings(BaseModel, extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False):
    """What every settings model shares: frozen, no unknown names, one clear line per fault.

    GenerateSettings(seed=3) raises SettingsError for a wrong value or name, as does settings.replaced(seed="x").
    """

    def __init__(self, **values: Any) -> None:
        """Check `values`.

        Raises:
            SettingsError: a line per unknown name (with the nearest known one), wrong type or broken rule.
        """
        known = {name: value for name, value in values.items() if name in type(self).model_fields}
        lines = [unknown_name(name, type(self).model_fields) for name in values if name not in known]
        try:
            super().__init__(**known)
        except ValidationError as error:
            lines += _lines(type(self), error)
        if lines:
            raise SettingsError("\n".join(lines)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change a setting: other code relies on what was checked together."""
        if name in type(self).model_fields:
            raise SettingsError(f"{name} must not be set, settings are frozen; use settings.replaced({name}={value!r})")
        super().__setattr__(name, value)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: Any) -> Any:
        kinds = kinds_of(cls.model_fields[info.field_name].annotation)
        for text in _texts(value):
            _check_text(text)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 and int(value) in kinds:
            return int(value)  # the command line's "5" for Literal[1, 5]
        if isinstance(value, bool) and bool not in kinds and {int, float} & {*kinds}:
            raise ValueError(f"must be a number, got {value}; YAML reads yes, no, on and off as true and false")
        return value

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Check `values` and return the settings.

        Raises:
            SettingsError: a line per unknown name (with the nearest known one), wrong type or broken rule.
        """
        return cls(**{str(name): value for name, value in values.items()})

    @classmethod
    def faults_of(cls, name: str, value: Any) -> list[str]:
        """Return a line for what is wrong with one value, whatever the others are; none where nothing is."""
        try:
            cls.__pydantic_validator__.validate_python({name: value}, self_instance=cls.__new__(cls))
        except ValidationError as error:
            return _lines(cls, error, name)
        return []

    @classmethod
    def value_of(cls, name: str, value: Any) -> Any:
        """Return one value as the settings hold it, e.g. 5 of "5", whatever the others are.

        Raises:
            SettingsError: a line for what is wrong with it.
        """
        settings = cls.__new__(cls)
        try:
            cls.__pydantic_validator__.validate_python({name: value}, self_instance=settings)
        except ValidationError as error:
            if lines := _lines(cls, error, name):
                raise SettingsError("\n".join(lines)) from None
            return value  # it does not go with another setting's default
        return getattr(settings, name)

    def replaced(self, **changes: Any) -> Self:
        """Return a checked copy with `changes`."""
        return self.build({**self.model_dump(), **changes})

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result, ready for JSON; paths are left out: files count by content.

        A setting that came later is left out while it has its default, or says what runs did before, so that older runs
        keep their hash.
        """
        paths = {name for name in self.paths() if self.files(name)}
        later = self._marked("later")
        unused = set(later) - set(self.changed(*later))
        unused |= {name for name in later if getattr(self, name) == self._marked_as(name, "before")}
        kept = self.model_dump(mode="json", exclude=paths | unused | set(self.conveniences()))
        return dict(sorted(kept.items()))

    @classmethod
    def paths(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold paths, targets among them."""
        targets = cls.targets()
        return tuple(n for n, field in cls.model_fields.items() if n in targets or Path in kinds_of(field.annotation))

    @classmethod
    def targets(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold a place to write to, as text: a final / is lost in a Path."""
        return cls._marked("target")

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the paths that the field `name` holds; none where it holds a word or None."""
        value = getattr(self, name)
        if name in self.targets():
            return () if value is None else (Path(value),)
        return tuple(part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Path))

    def published(self) -> dict[str, Any]:
        """Return all settings, ready for JSON and to be shared: paths as `shown` gives them."""
        values = self.model_dump(mode="json")
        for name in self.paths():
            shown_paths = [shown(path) for path in self.files(name)]
            if shown_paths:
                values[name] = shown_paths if isinstance(getattr(self, name), tuple) else shown_paths[0]
        return values

    def places(self) -> dict[str, Any]:
        """Return what `published` leaves out, ready for JSON: the fields that hold paths outside the project, those in full."""
        found = {}
        for name in set(self.paths()) - set(self.conveniences()):
            full = [str(absolute(path)) for path in self.files(name)]
            if any(map(lies_outside, full)):
                found[name] = full if isinstance(getattr(self, name), tuple) else full[0]
        return found

    @classmethod
    def words(cls, name: str) -> tuple[str, ...]:
        """Return the words that the field `name` takes beside other values (`latest`, `auto`, …)."""
        return tuple(kind for kind in kinds_of(cls.model_fields[name].annotation) if isinstance(kind, str))

    @classmethod
    def takes_several(cls, name: str) -> bool:
        """Return whether the field `name` holds a tuple; a text is cut at its commas."""
        return get_origin(cls.model_fields[name].annotation) is tuple

    @classmethod
    def with_paths_changed(cls, name: str, text: str, change: Callable[[str], str]) -> str:
        """Return the text of the field `name` with each path in it replaced by what `change` makes of it."""
        return ",".join(map(change, text.split(",") if cls.takes_several(name) else [text]))

    @classmethod
    def conveniences(cls) -> tuple[str, ...]:
        """Return the names of the fields that do not change the result (`fresh`, `device`, …)."""
        return cls._marked("convenience")

    @classmethod
    def _marked(cls, mark: str) -> tuple[str, ...]:
        return tuple(n for n, f in cls.model_fields.items() if (f.json_schema_extra or {}).get(mark))  # type: ignore[union-attr]

    @classmethod
    def _marked_as(cls, name: str, mark: str) -> Any:
        return (cls.model_fields[name].json_schema_extra or {}).get(mark)  # type: ignore[union-attr]

    def changed(self, *names: str) -> tuple[str, ...]:
        """Return those of the fields `names` that do not have their default."""
        return tuple(name for name in names if getattr(self, name) != type(self).model_fields[name].default)

    def _repr_html_(self) -> str:
        """Show what differs from the defaults, and the rest folded away."""
        changed = self.changed(*type(self).model_fields)
        rest = [name for name in type(self).model_fields if name not in changed]
        return (
            self._table(changed)
            + f"<details><summary>{len(rest)} settings have their default</summary>{self._table(rest)}</details>"
        )

    def _table(self, names: Iterable[str]) -> str:
        values, fields = self.published(), type(self).model_fields
        rows = "".join(
            f"<tr><td>{name}</td><td>{_escape(values[name])}</td><td>{_escape(fields[name].description)}</td></tr>"
            for name in names
        )
        return f'<table class="wanlab"><tr><th>setting</th><th>value</th><th>meaning</th></tr>{rows}</table>'


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return the message about an unknown parameter `name`, with the nearest of the `known` names."""
    name = name if len(name) < 60 else f"{name[:59]}…"
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
    return f"unknown parameter {name}{hint}"


def unknown_choice(name: str, got: str, known: Sequence[str]) -> str:
    """Return the message about an unknown value `got` of `name`, with the nearest of the `known` values."""
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.0)
    return f"{name} must be one of {', '.join(known)}, got {got}; use {near[0]}"


def digest(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON, so that equal settings have equal hashes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """Return the plain types and words inside an annotation such as `int | Literal["auto"] | None`, in its order."""
    inner = getattr(annotation, "__args__", None)
    return tuple(dict.fromkeys(kind for part in inner for kind in kinds_of(part))) if inner else (annotation,)


def _escape(value: Any) -> str:
    from html import escape

    return escape("" if value is None else str(value))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value, of lists and mappings too."""
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _check_text(text: str) -> None:
    """Refuse a text that no file can hold, or that nobody means."""
    if text == "None":
        raise ValueError(
            "must be a value, got the text 'None'; use null in a params file, elsewhere None without quotes"
        )
    if len(text) > MAX_TEXT:
        raise ValueError(f"must have at most {MAX_TEXT} characters, got {len(text)}; use a shorter text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"must be text in UTF-8, got {brief(text)} with half a character; write the character itself, or rename the file"
        ) from None
    if wrong := CONTROLS.search(text):
        raise ValueError(f"must be text without control characters, got {brief(text)}; take {wrong[0]!r} out")


RULES = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of a usual size",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_pattern_mismatch": "an address such as tcp://host:8786",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "names with their values",
    "is_instance_of": "a number or a fraction such as 30000/1001",
    "fraction_parsing": "a number or a fraction such as 30000/1001",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "one of {expected}",
}


def _lines(model: type[Settings], error: ValidationError, only: str | None = None) -> list[str]:
    """Return a line for each setting that pydantic refuses, or for the setting `only`."""
    faults = {fault["loc"][:1]: fault for fault in error.errors(include_url=False)}  # one of a union's is enough
    return [_explain(model, fault) for place, fault in faults.items() if only is None or place == (only,)]


def _explain(model: type[Settings], fault: Any) -> str:
    """Return one line for one fault of pydantic: the name, the rule, the value, the remedy."""
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    if fault["type"] == "value_error":
        return f"{name} {fault['ctx']['error']}" if fault["loc"] else str(fault["ctx"]["error"])
    rule = RULES.get(fault["type"])
    context: dict[str, Any] = fault.get("ctx", {})
    rule = (
        rule.format(**{k: _short(v) for k, v in context.items()})
        if rule
        else fault["msg"].removeprefix("Input should be ")
    )
    if fault["type"].startswith("bool_") and name in model.model_fields:
        rule = ", ".join((*model.words(name), rule))
    limit = next((context[key] for key in ("ge", "le") if key in context), None)
    remedy = _remedy(model.model_fields[name]) if limit is None and name in model.model_fields else _short(limit)
    return f"{name} must be {rule}, got {brief(fault['input'])}; use {remedy}"


def _remedy(field: FieldInfo) -> str:
    """Return a value that would do, as it can be typed in a shell, a params file and a notebook alike."""
    if field.examples:
        return str(field.examples[0])
    default = field.default
    return default[0] if isinstance(default, tuple) and len(default) == 1 else str(_short(default))


def brief(value: Any, depth: int = 3) -> str:
    """Return a value as messages print it: on one line, cut off where it is long or deep."""
    if isinstance(value, str | bytes):
        value = value[:200]
    elif isinstance(value, Mapping | list | tuple) and not depth:
        return "…"
    elif isinstance(value, Mapping):
        first = itertools.islice(value.items(), 4)
        return f"{{{_few(f'{brief(name)}: {brief(each, depth - 1)}' for name, each in first)}}}"
    elif isinstance(value, list | tuple):
        return f"[{_few(brief(each, depth - 1) for each in value[:4])}]"
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 300 else f"{value.bit_length()} bits"
    return text if len(text) <= 80 else f"{text[:79]}…"


def printable(value: Any) -> Any:
    """Return a value of JSON without control characters in its texts: a terminal would take them for orders."""
    if isinstance(value, str):
        return CONTROLS.sub("�", value)
    if isinstance(value, list):
        return [printable(each) for each in value]
    if isinstance(value, dict):
        return {printable(name): printable(each) for name, each in value.items()}
    return value


def _few(parts: Iterable[str]) -> str:
    shown = list(parts)
    return ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse_text(values: Mapping[str, str]) -> dict[str, Any]:
    """Return command-line texts as values: `None` and `null` mean None; numbers are read by the settings model."""
    return {name: None if text in ("None", "null") else text for name, text in values.items()}
