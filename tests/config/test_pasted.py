"""Paths as they are pasted: mended where it is clear what they mean, and that is said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from wanlab import config
from wanlab.config import GenerateSettings, PreprocessSettings, pasted


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a b#1.mp4", unicodedata.normalize("NFC", "fée.mp4"), "Dance.MP4", "' odd '.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"a b#1.mp4"', "a b#1.mp4"),
        ("'{here}/a b#1.mp4' \n", "{here}/a b#1.mp4"),
        ("“a b#1.mp4”", "a b#1.mp4"),
        ("\u00a0a b#1.mp4\u200b", "a b#1.mp4"),
        ("a\\ b#1.mp4", "a b#1.mp4"),
        ("file://{here}/a%20b%231.mp4", "{here}/a b#1.mp4"),
        ("file://localhost{here}/a%20b%231.mp4", "{here}/a b#1.mp4"),
        ("file:{here}/a%20b%231.mp4", "{here}/a b#1.mp4"),
        ("FILE://{here}/f%C3%A9e.mp4", "{here}/fée.mp4"),
        (unicodedata.normalize("NFD", "fée.mp4"), unicodedata.normalize("NFC", "fée.mp4")),
        ("dance.mp4 ", "Dance.MP4"),
        ("'Latest'", "Latest"),  # neither a word of the setting nor a file: said elsewhere
        ("latest ", "latest"),
    ],
)
def test_a_pasted_path_is_mended_and_that_is_said(
    films: Path, text: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, name = (each.replace("{here}", str(films)) for each in (text, name))
    assert pasted.mended("driving_video", text, films, ("latest",)) == name
    assert capsys.readouterr().out == f"note: driving_video {text!r} is read as {name}\n"


@pytest.mark.parametrize("text", ["' odd '.mp4", "~/Dance.MP4", "none.mp4", "latest", "", "C:\\films\\a.mp4"])
def test_a_path_that_is_there_or_means_nothing_else_stays(
    films: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pasted.mended("inputs", text, films, ("latest",)) == text
    assert not capsys.readouterr().out


def test_two_names_that_differ_in_case_are_not_guessed_between(films: Path) -> None:
    (films / "dance.MP4").touch()
    assert pasted.mended("driving_video", "DANCE.mp4", films) == "DANCE.mp4"


def test_a_missing_file_is_answered_with_the_nearest_name(films: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean .*Dance\.MP4"):
        config.existing_file("driving_video", films / "dnace.mp4")
    assert config.nearest(films / "nothing like it") == ""
    with pytest.raises(FileNotFoundError, match=r"which is a folder \(relative paths start at the project root\)$"):
        config.existing_file("driving_video", films)


def test_notebooks_mend_paths_too(films: Path) -> None:
    found = config.mended_paths(
        PreprocessSettings, {"driving_video": f" {films}/dance.mp4", "save_path": "'out/'", "seed": 3}
    )
    assert found == {"driving_video": f"{films}/Dance.MP4", "save_path": "out/", "seed": 3}
    assert config.mended_paths(GenerateSettings, {"inputs": "latest ", "output_path": None}) == {
        "inputs": "latest",
        "output_path": None,
    }
