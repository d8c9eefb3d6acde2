"""Settings of every step, and where files live.

One frozen model per notebook holds its defaults; the notebook's `parameters` cell, the command line and params files
are three ways to fill it. Nothing here has effects or loads a heavy library, so that `wanlab --help` is quick.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_origin

from pydantic import BaseModel, ValidationError, field_validator

from wanlab.config.paths import absolute, lies_outside, shown


class SettingsError(ValueError):
    """A parameter that no run should start with; its text has one line per fault."""


class Settings(BaseModel, extra="forbid", frozen=True, validate_default=True):
    """What every settings model shares: frozen, no unknown names, one clear line per fault."""

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: Any, info: Any) -> Any:
        kinds = kinds_of(cls.model_fields[info.field_name].annotation)
        if (
            isinstance(value, str) and value.isdigit() and int(value) in kinds
        ):  # the command line's "5" for Literal[1, 5]
            return int(value)
        if isinstance(value, bool) and bool not in kinds and {int, float} & {*kinds}:
            raise ValueError(f"must be a number, got {value}; YAML reads yes, no, on and off as true and false")
        return value

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Check `values` and return the settings.

        Raises:
            SettingsError: a line per unknown name (with the nearest known one), wrong type or broken rule.
        """
        lines = [unknown_name(name, cls.model_fields) for name in values if name not in cls.model_fields]
        try:
            settings = cls(**{name: value for name, value in values.items() if name in cls.model_fields})
        except ValidationError as error:
            faults = {
                fault["loc"][:1]: fault for fault in error.errors(include_url=False)
            }  # one of a union's is enough
            lines += [_explain(cls, fault) for fault in faults.values()]
        else:
            if not lines:
                return settings
        raise SettingsError("\n".join(lines))

    def replaced(self, **changes: Any) -> Self:
        """Return a checked copy with `changes`."""
        return self.build({**self.model_dump(), **changes})

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result, ready for JSON; paths are left out: files count by content.

        A setting that came later is left out while it has its default, so that older runs keep their hash.
        """
        paths = {name for name in self.paths() if self.files(name)}
        unused = set(self._marked("later")) - set(self.changed(*self._marked("later")))
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
    def conveniences(cls) -> tuple[str, ...]:
        """Return the names of the fields that do not change the result (`fresh`, `device`, …)."""
        return cls._marked("convenience")

    @classmethod
    def _marked(cls, mark: str) -> tuple[str, ...]:
        return tuple(n for n, f in cls.model_fields.items() if (f.json_schema_extra or {}).get(mark))  # type: ignore[union-attr]

    def changed(self, *names: str) -> tuple[str, ...]:
        """Return those of the fields `names` that do not have their default."""
        return tuple(name for name in names if getattr(self, name) != type(self).model_fields[name].default)

    def _repr_html_(self) -> str:
        values = self.published()
        rows = "".join(
            f"<tr><td>{name}</td><td>{_escape(value)}</td><td>{_escape(type(self).model_fields[name].description)}</td></tr>"
            for name, value in values.items()
        )
        return f'<table class="wanlab"><tr><th>setting</th><th>value</th><th>meaning</th></tr>{rows}</table>'


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return the line that refuses the parameter `name`, with the nearest of the `known` names."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
    return f"unknown parameter {name}{hint}"


def unknown_choice(name: str, got: str, known: Sequence[str]) -> str:
    """Return the line that refuses `got` as the value of `name`, with the nearest of the `known` values."""
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


RULES = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "is_instance_of": "a number or a fraction such as 30000/1001",
    "fraction_parsing": "a number or a fraction such as 30000/1001",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "one of {expected}",
}


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
    limit = next((context[key] for key in ("ge", "le") if key in context), None)
    default = model.model_fields[name].default if name in model.model_fields else None
    remedy = _short(limit if limit is not None else default)
    return f"{name} must be {rule}, got {fault['input']!r}; use {remedy}"


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse_text(values: Mapping[str, str]) -> dict[str, Any]:
    """Return command-line texts as values: `None` and `null` mean None; numbers are read by the settings model."""
    return {name: None if text in ("None", "null") else text for name, text in values.items()}


def read_params(files: Sequence[Path]) -> dict[str, Any]:
    """Read params files (YAML mappings of name to value); later files win.

    Raises:
        FileNotFoundError: if a file is missing.
        SettingsError: if a file is not a YAML mapping.
    """
    import yaml

    values: dict[str, Any] = {}
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"params file {file} does not exist; the ones that come with wanlab are in params/")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise SettingsError(
                f"{file} must be YAML, got {str(error).splitlines()[0]}; write `name: value` lines"
            ) from None
        if content is not None and not isinstance(content, dict):
            raise SettingsError(f"{file} must hold `name: value` lines, got a {type(content).__name__}")
        values.update(content or {})
    return values
