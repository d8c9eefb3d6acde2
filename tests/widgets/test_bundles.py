"""The widgets' modules are joined by a pattern (`stills.module`): each bundle is checked for what that could break.

Files put one behind the other share one scope: no name may be declared twice at the top, and what a file imports must be
exported by the file that it names, which must be in the bundle before it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wanlab.widgets import (
    decision_list,
    mask_comparison,
    mask_editor,
    pose_review,
    run_watch,
    settings_form,
    stills,
    sweep_winner,
)

BUNDLES = {
    "decision_list.js": decision_list.DecisionList,
    "mask_comparison.js": mask_comparison.MaskComparison,
    "mask_editor.js": mask_editor.MaskEditor,
    "pose_review.js": pose_review.PoseReview,
    "run_watch.js": run_watch.RunWatch,
    "settings_form.js": settings_form.SettingsForm,
    "sweep_winner.js": sweep_winner.SweepWinner,
}
FILES = sorted(path.name for path in stills.FOLDER.glob("*.js"))
TOKENS = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", re.S)
OPEN, CLOSE = "([{", ")]}"


def statements(text: str) -> list[str]:
    """Return the pieces of a module that lie outside all brackets, without comments and the contents of texts."""
    bare = TOKENS.sub(lambda found: '""' if found[0][0] in "\"'`" else "", text)
    depth, outside = 0, []
    for sign in bare:
        if sign in CLOSE:
            depth -= 1
        if depth == 0:
            outside.append(sign)
        if sign in OPEN:
            depth += 1
    assert depth == 0, "brackets do not match: the pattern above does not understand this file"
    return re.split(r"[;\n]", "".join(outside))


def declared(text: str) -> list[str]:
    """Return the names that a module declares at its top, in order."""
    names = []
    bare = TOKENS.sub(lambda found: '""' if found[0][0] in "\"'`" else "", text)
    for piece in statements(text):
        found = re.match(r"\s*(?:export\s+)?(?:async\s+)?(function\*?|class|const|let|var)\s+(.*)", piece)
        if not found:
            continue
        kind, rest = found.groups()
        if kind in ("const", "let", "var"):
            names += re.findall(r"(?:^|,)\s*([A-Za-z_$][\w$]*)\s*(?==|$|,)", rest)
        else:
            names += re.findall(r"^([A-Za-z_$][\w$]*)", rest)
    for inner in re.findall(r"^(?:export )?(?:const|let) [\[{]([^\]}]*)[\]}] =", bare, re.M):  # taken apart: [A, B] = …
        names += [part.split(":")[-1].split("=")[0].strip() for part in inner.split(",")]
    return names


def exported(text: str) -> set[str]:
    return set(re.findall(r"^export (?:async )?(?:function\*?|class|const|let) ([A-Za-z_$][\w$]*)", text, re.M))


def imported(text: str) -> list[tuple[str, list[str]]]:
    """Return per import the file and the names."""
    return [
        (name, [part.strip() for part in inner.split(",") if part.strip()])
        for inner, name in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)";$', text, re.M)
    ]


def read(name: str) -> str:
    return (stills.FOLDER / name).read_text(encoding="utf-8")


def files_of(bundle: str) -> list[str]:
    """Return the files of a bundle in order, as found in its text."""
    text = BUNDLES[bundle]._esm if isinstance(BUNDLES[bundle]._esm, str) else str(BUNDLES[bundle]._esm)
    places = {}
    for name in FILES:
        body = re.sub(r'^import [^;]*? from "\./[^"]+";\n', "", read(name), flags=re.M)
        for each in (body, re.sub(r"^export ", "", body, flags=re.M)):
            if each.strip() and each.strip() in text:
                places[name] = text.index(each.strip())
    return sorted(places, key=places.__getitem__)


def test_every_file_is_in_a_bundle() -> None:
    assert {name for bundle in BUNDLES for name in files_of(bundle)} == set(FILES)
    for bundle in BUNDLES:
        shared = stills.SHARED if issubclass(BUNDLES[bundle], stills.Stills) else stills.SHARED[:1]
        assert files_of(bundle)[: len(shared)] == list(shared)
        assert files_of(bundle)[-1] == bundle


@pytest.mark.parametrize("bundle", BUNDLES)
def test_no_name_is_declared_twice_in_a_bundle(bundle: str) -> None:
    owners = {"MESSAGES": ["the table of messages"]}
    for name in files_of(bundle):
        for each in declared(read(name)):
            owners.setdefault(each, []).append(name)
    assert {each: where for each, where in owners.items() if len(where) > 1} == {}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_each_import_is_exported_by_a_file_before(bundle: str) -> None:
    files = files_of(bundle)
    for position, name in enumerate(files):
        text = read(name)
        taken = imported(text)
        assert len(taken) == len(re.findall(r"^import\b", text, re.M)), f"{name} imports in a form that is not joined"
        for source, names in taken:
            assert source in files[:position], f"{name} imports {source}, which is not before it in {bundle}"
            assert set(names) <= exported(read(source)), f"{name} imports from {source} what it does not export"


def test_a_bundle_has_one_export_and_no_import() -> None:
    for widget in BUNDLES.values():
        text = str(widget._esm)
        assert re.findall(r"^import\b", text, re.M) == []
        assert len(re.findall(r"^export\b", text, re.M)) == 1


def test_the_parser_sees_what_it_must(tmp_path: Path) -> None:
    text = """
import { make } from "./parts.js";
const A = 1, B = "x; const no = 1", { c, d: e } = f;
let [g, h] = [1, 2]; // const not = 3
export class One { method() { const inner = 1; } }
async function two() { let other = `const ${A} = {`; }
/* class Gone {} */
export function* three() {}
"""
    assert {"A", "B", "g", "h", "One", "two", "three"} <= set(declared(text))
    assert not {"no", "not", "inner", "other", "Gone", "method"} & set(declared(text))
    assert exported(text) == {"One", "three"}
    assert imported(text) == [("parts.js", ["make"])]
