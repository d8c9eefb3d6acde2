"""YAML and JSON, read strictly: what would become another value without a word is refused.

YAML itself takes the last of two equal keys, reads 0042 as 34 and 1:30 as 90, and lets nine lines of aliases fill the
memory. Nobody means that in settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import yaml

from wanlab.config.base import brief

MAX_DEPTH = 12  # of lists and mappings in each other: cases are three deep
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))
_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # JSON's way to write a character beyond 16 bits


class TextError(ValueError):
    """What is wrong with a text, in words that follow its name; `line` from 1, None where it is not known."""

    def __init__(self, line: int | None, words: str) -> None:
        super().__init__(words)
        self.line = line


def parse_yaml(text: str) -> tuple[Any, dict[str, int]]:
    """Return the value of a text in YAML; where it is a mapping, also the line of each key. Raises TextError."""
    try:
        _check_shape(text)
        loader = _Strict(text)
        try:
            node = loader.get_single_node()
            value = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise TextError(line, f"must be YAML, got an error in it: {error.problem}; write `name: value` lines") from None
    except yaml.YAMLError as error:
        raise TextError(None, f"must be YAML, got {str(error).splitlines()[0]}; write `name: value` lines") from None
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return value, {key.value: key.start_mark.line + 1 for key, _ in pairs}


def parse_json(text: str) -> tuple[Any, dict[str, int]]:
    """Return the value of a text in JSON, and no lines. Raises TextError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise TextError(None, f"{twice[:60]} must be given once, got it twice; take one out")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
        if max(_depths(value)) > MAX_DEPTH:
            raise RecursionError
    except RecursionError:
        raise TextError(
            None, f"must have at most {MAX_DEPTH} lists and mappings in each other, got more; write plain values"
        ) from None
    except json.JSONDecodeError as error:
        raise TextError(
            error.lineno, f"must be JSON, got an error in it: {error.msg}; check it, or write YAML in a .yaml file"
        ) from None
    except TextError:
        raise
    except ValueError:  # more digits than Python reads
        raise TextError(None, "must hold numbers of a usual size, got one of thousands of digits; use fewer") from None
    return value, {}


class _Strict(yaml.SafeLoader):
    """YAML without what turns a value into another one: octal and base-60 numbers, dates, merges, a key given twice."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [each for each in resolvers if each[0].rpartition(":")[2] not in ("timestamp", "merge", "value")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            text = node.value.replace("_", "")
            line = node.start_mark.line + 1
            if re.fullmatch(r"[-+]?0\d+", text):
                plain = text.lstrip("+-0") or "0"
                raise TextError(
                    line, f"must be a number without leading zeros, got {node.value}; use {plain}, or '{text}' as text"
                )
            if ":" in text and node.tag.endswith((":int", ":float")):
                raise TextError(
                    line, f"must be in quotes, for YAML reads it in base 60, got {node.value}; use '{node.value}'"
                )
        try:
            value = super().construct_object(node, deep=deep)
        except ValueError as error:  # more digits than Python reads
            raise TextError(
                node.start_mark.line + 1, f"must hold numbers of a usual size, got one of {len(node.value)} characters"
            ) from error
        return _PAIRS.sub(_joined, value) if isinstance(value, str) else value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise TextError(
                    line, "must have a word before each colon, got a list or mapping; write `name: value` lines"
                )
            if key.value in lines:
                raise TextError(
                    line,
                    f"{str(key.value)[:60]} must be given once, got it on line {lines[key.value]} too; take one out",
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep=deep)


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _check_shape(text: str) -> None:
    """Refuse what YAML has beyond plain values, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Strict):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise TextError(
                line, f"must have its values written out, got the alias *{event.anchor}; write the value there"
            )
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", *_PLAIN_TAGS):
            raise TextError(line, f"must have plain values, got one marked {brief(tag)}; take the mark out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise TextError(
                line,
                f"must have at most {MAX_DEPTH} lists and mappings in each other, got more; write `name: value` lines",
            )


def _depths(value: Any) -> Iterator[int]:
    """Yield how deep each value lies, without recursion."""
    ahead = [(value, 0)]
    while ahead:
        here, depth = ahead.pop()
        yield depth
        inner = here.values() if isinstance(here, Mapping) else here if isinstance(here, list) else ()
        ahead += [(each, depth + 1) for each in inner]
