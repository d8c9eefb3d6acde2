"""`save_path`: a copy of inputs in a folder that the user names, which holds nothing else than what wanlab wrote there.

`inputs.json` records the SHA-256 of every file that was put there. Only files that still have it are replaced. It is written
first, as unfinished with the old hashes and the new, and last: a copy that was cut off reads as such, and the same command
goes on from it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from pathlib import Path

from wanlab import files
from wanlab.files import targets
from wanlab.inputs import edits
from wanlab.inputs.folder import FACTS, FILES


def check(text: str, keep: targets.Kept) -> Path:
    """Return the folder that `save_path` names.

    Raises:
        SettingsError: if it is none that may be filled, or holds what wanlab did not write or what was changed since.
    """
    folder = targets.folder("save_path", text, keep)
    _recorded(folder, text)
    return folder


def write(made: Path, text: str, keep: targets.Kept) -> Path:
    """Copy the inputs (not the manifest, notebook or report) of the folder `made` into the one that `save_path` names.

    What it held before stays until the new files are complete; what wanlab did not write stays in any case.

    Raises:
        SettingsError: as `check`, which may have been hours ago.
        OSError: if it cannot be written; a full disk is named.
    """
    folder = files.make_folder(check(text, keep))
    facts = json.loads((made / FACTS).read_text(encoding="utf-8"))
    names = [name for name in FILES if (made / name).is_file()]
    with targets.alone(folder, text), contextlib.ExitStack() as stack:
        files.remove_dead_parts(folder)
        parts = {name: stack.enter_context(files.part(folder / name)) for name in (*names, FACTS)}
        try:
            for name in names:
                files.copy(made / name, parts[name])
            hashes = {name: files.sha256(parts[name]) for name in names}
            files.write_json(parts[FACTS], targets.sealed({**facts, "files": hashes}))
            before = _recorded(check(text, keep), text)
            both = {name: sorted({*before.get(name, ()), *filter(None, [hashes.get(name)])}) for name in FILES}
            unfinished = {
                "schema": 1,
                "unfinished": True,
                "files": {name: found for name, found in both.items() if found},
            }
            files.write_json(folder / FACTS, targets.sealed(unfinished))
            for name in before.keys() - hashes.keys():
                if (folder / name).exists():
                    files.remove_written(folder / name, before[name])
            for name, part in parts.items():  # inputs.json is the last
                files.put(part, folder / name)
        except OSError as error:
            raise files.explained(error, folder) from error
    return folder


def _recorded(folder: Path, text: str) -> dict[str, list[str]]:
    """Return by name the hashes that a file in `folder` may have to be replaced; none for a new or an empty folder.

    Raises:
        SettingsError: naming what lies there and must stay.
    """
    there = sorted(path.name for path in folder.iterdir() if not files.is_part(path)) if folder.is_dir() else []
    if not there:
        return {}
    index = folder / FACTS
    facts = targets.unsealed(index)
    recorded = {name: [found] if isinstance(found, str) else found for name, found in facts.get("files", {}).items()}
    if not recorded or not set(recorded) <= set(FILES):
        if index.name in there:
            _refuse(text, f"whose {index.name} was changed, or is of an earlier version")
        _refuse(text, f"which holds {', '.join(there[:3])}{' …' if len(there) > 3 else ''}")
    for name in FILES:
        path = folder / name
        if (path.exists() or path.is_symlink()) and not _is_unchanged(path, recorded.get(name, ())):
            _refuse(text, f"whose {name} wanlab did not write, or was swapped since")
    if (folder / edits.EDITS).exists() and edits.decides(folder / edits.EDITS):
        _refuse(text, f"whose {edits.EDITS} holds decisions about the inputs in it")
    return recorded


def _refuse(text: str, found: str) -> None:
    rule = "be new, empty, or inputs that wanlab wrote, unchanged"
    raise targets.refused("save_path", rule, f"{text}, {found}", "a new folder")


def _is_unchanged(path: Path, recorded: Collection[str]) -> bool:
    return path.is_file() and not path.is_symlink() and files.sha256(path) in recorded
