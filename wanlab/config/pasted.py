"""Paths as people paste them: in quotes, as file://…, with blanks around, accents in two pieces, letters of another case."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wanlab.config.paths import expanded, folded, names_in, outputs_root

_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "„": "“", "<": ">"}
_BLANKS = " \t\r\n\v\f\u00a0\u200b\u200e\u200f\ufeff"  # with those that no editor shows


def mended(name: str, text: str, start: Path, words: Collection[str] = ()) -> str:
    """Return the path that `text` means, itself where it is there or nothing better is; print a note where it is another.

    Args:
        name: of the setting, for the note.
        text: as it was pasted.
        start: folder that relative paths start at.
        words: that the setting takes beside paths.
    """
    if not text or "\0" in text or text in words or _is_there(text, start):
        return text
    readings = [text, *_peeled(text)]
    found = next((reading for reading in readings if reading in words or _is_there(reading, start)), None)
    found = found or next(filter(None, (_alike(reading, start) for reading in readings)), readings[-1])
    if found != text:
        print(f"note: {name} {text!r} is read as {found}")
    return found


def split_strength(text: str) -> tuple[str, str]:
    """Return the file and the strength, `:` in front, of a LoRA as settings have it; no strength means 1."""
    found = re.fullmatch(r"(.+?)(:[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))?", text.strip(), re.DOTALL)
    return (found[1], found[2] or "") if found else (text, "")


def peeled(name: str, text: str) -> str:
    """Return a path to write to without the quotes, `file://` and blanks around it; print a note where there were some."""
    found = [text, *_peeled(text)][-1]
    if found != text and found.strip():
        print(f"note: {name} {text!r} is read as {found}")
        return found
    return text


def _is_there(text: str, start: Path) -> bool:
    try:
        return (start / expanded(text)).exists() or (outputs_root() / text).exists()
    except (OSError, ValueError):  # too long
        return False


def _peeled(text: str) -> Iterator[str]:
    """Yield what `text` is without blanks around it, quotes, `file://` and a terminal's backslashes, one after the other."""
    for _ in range(4):  # quotes in quotes and more
        before = text
        text = text.strip(_BLANKS)
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
            text = text[1:-1].strip(_BLANKS)
        if text.lower().startswith("file:"):
            text = _of_url(text)
        if text in ("", before):
            break
        yield text
    if "\\" in text and not re.match(r"[A-Za-z]:\\|\\\\", text):  # as a terminal writes a file that is dropped on it
        yield re.sub(r"\\(.)", r"\1", text)


def _of_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    if parts.netloc not in ("", "localhost"):
        return text
    path = unquote(text.split("//", 1)[1] if text[5:7] == "//" else text[5:])  # ? and # may stand in names
    return path.removeprefix("localhost")


def _alike(text: str, start: Path) -> str | None:
    """Return the path that is there and differs in the pieces of its accents or the case of its letters alone."""
    path = expanded(text)
    here = Path(path.anchor) if path.is_absolute() else start
    found = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        if part != ".." and not os.path.lexists(here / part):
            alike = [name for name in names_in(here) if folded(name) == folded(part)]
            exact = [name for name in alike if _composed(name) == _composed(part)]
            chosen = exact if len(exact) == 1 else alike
            if len(chosen) != 1:
                return None
            part = chosen[0]
        here, found = here / part, found / part
    return str(found)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
