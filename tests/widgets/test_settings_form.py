"""The form reads and writes the parameters cell, refuses what is wrong, shows files by sight and takes uploads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import config, media
from wanlab.config import cell
from wanlab.steps import outlook
from wanlab.widgets import settings_form

LAB = """(source) => {
  const follow = new Set();
  window.shared = { source, getSource() { return this.source; },
    setSource(text) { this.source = text; follow.forEach((each) => each()); },
    changed: { connect: (each) => follow.add(each), disconnect: (each) => follow.delete(each) } };
  const model = { getMetadata: () => ["parameters"], sharedModel: window.shared };
  const panel = { id: "p", context: { path: "notebooks/10_preprocess.ipynb" }, content: { widgets: [{ model }] } };
  window.ran = [];
  window.jupyterapp = { shell: { widgets: () => [panel], activateById: () => {} },
    commands: { execute: async (name) => { window.ran.push([name, panel.content.activeCellIndex]); } } };
}"""


class Form(settings_form.SettingsForm):
    """Keeps what it tells."""

    def __init__(self, step: str) -> None:
        self.told: list[tuple[dict[str, Any], list[bytes]]] = []
        super().__init__(step)

    def send(self, content: Any, buffers: Any = None) -> None:
        self.told.append((content, buffers or []))

    def ask(self, buffers: list[bytes] | None = None, **content: Any) -> dict[str, Any]:
        self._receive(None, content, buffers or [])
        return self.told[-1][0]


@pytest.fixture
def form(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Form:
    monkeypatch.setattr(outlook, "of", lambda step, settings: f"{step} with {settings.max_frames}")
    return Form("preprocess")


def test_a_setting_is_checked_and_written_where_it_stands(form: Form) -> None:
    source = cell.source_of("10_preprocess")
    for name, text, value in (
        ("max_frames", "33", 33), ("mode", "replace", "replace"), ("preview", "True", True), ("resolution", "832 480", "832 480"),
        ("start_s", "", 0.0), ("max_frames", "", None),
    ):  # fmt: skip
        told = form.ask(kind="set", source=source, name=name, text=text)
        assert told["kind"] == "source"
        source = told["source"]
        assert cell.values(source)[name] == value, name
    assert cell.values(source) == {
        **cell.values(cell.source_of("10_preprocess")), "mode": "replace", "preview": True, "resolution": "832 480",
    }  # fmt: skip


def test_lists_are_written_as_lists_and_chains_are_no_lists(outputs: Path) -> None:
    form, source = Form("generate"), cell.source_of("30_generate")
    told = form.ask(kind="set", source=source, name="lora", text="a.safetensors:0.5, b.safetensors")
    assert cell.values(told["source"])["lora"] == ["a.safetensors:0.5", "b.safetensors"]
    form, source = Form("sweep"), cell.source_of("40_sweep")
    told = form.ask(kind="set", source=source, name="grid", text="shift: [3, 5]")
    assert cell.values(told["source"])["grid"] == {"shift": [3, 5]}


def test_a_wrong_value_is_told_and_not_written(form: Form) -> None:
    told = form.ask(kind="set", source=cell.source_of("10_preprocess"), name="max_frames", text="many")
    assert told["kind"] == "error"
    assert "max_frames must be" in told["text"]
    told = form.ask(kind="cell", source="seed = = 3")
    assert (told["groups"], "no Python" in told["faults"][0]) == ([], True)
    told = form.ask(kind="cell", source="max_frame = 3")
    assert "did you mean max_frames?" in told["faults"][0]


def test_the_form_has_the_headings_of_the_cell(form: Form) -> None:
    form.ask(kind="cell", source=cell.source_of("10_preprocess"))
    shown = next(content for content, _ in form.told if content["kind"] == "form")
    assert [group["heading"] for group in shown["groups"]] == list(cell.groups(cell.source_of("10_preprocess")))
    fields = {field["name"]: field for group in shown["groups"] for field in group["fields"]}
    assert fields["mode"]["choices"] == ["animate", "replace"]
    assert fields["preview"]["choices"] == ["True", "False"]
    assert fields["sam_checkpoint"]["choices"] == []  # a word or a path
    assert [name for name, field in fields.items() if field["seen"]] == ["driving_video", "reference_image"]


def test_files_are_shown_by_sight_and_are_where_they_were(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_form, "SHOWN", 4)
    form.ask(kind="choose", name="driving_video", text="wanlab/assets/sample/walk.mp4")
    told, images = form.told[-1]
    paths = [each["path"] for each in told["files"]]
    assert paths[0] == "wanlab/assets/sample/walk.mp4"
    assert "wanlab/assets/sample/dark.mp4" in paths
    assert len(images) == len(paths) == len(set(paths))
    assert all(bytes(image[:2]) == b"\xff\xd8" for image in images)
    assert told["files"][0]["label"].startswith("walk.mp4\n480x832, ")


def test_an_upload_is_kept_once_and_others_of_its_name_stay_beside_it(form: Form, tmp_path: Path) -> None:
    contents = []
    for grey in (90, 200):
        media.write_image(tmp_path / f"{grey}.png", np.full((48, 64, 3), grey, np.uint8))
        contents.append((tmp_path / f"{grey}.png").read_bytes())

    def upload(content: bytes, name: str = "../my face.png") -> dict[str, Any]:
        told, asked = {"path": None, "offset": 0, "kind": "uploaded"}, {"name": "reference_image", "size": len(content)}
        while told["kind"] == "uploaded" and told["path"] is None:
            offset = told["offset"]
            told = form.ask([content[offset : offset + 50]], kind="upload", file=name, offset=offset, **asked)
        return told

    folder = config.outputs_root() / settings_form.UPLOADS
    places = [upload(content)["path"] for content in (contents[0], contents[1], contents[0])]
    assert places == [str(folder / name) for name in ("my face.png", "my face_2.png", "my face.png")]
    assert [Path(place).read_bytes() for place in places[:2]] == contents
    assert len(list(folder.iterdir())) == 2
    assert "must be one of .png" in upload(b"x", "run.sh")["text"]
    form.ask(kind="choose", name="reference_image", text="wanlab/assets/sample/character.png")
    assert {each["path"] for each in form.told[-1][0]["files"]} >= set(places)


@pytest.mark.browser
def test_own_clip_in_two_clicks_and_preprocessed_in_one(
    form: Form, mount: Callable[..., Any], browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = browser.new_page

    def with_lab(**how: Any) -> Any:
        made = original(**how)
        made.add_init_script(f"({LAB})({cell.written(cell.source_of('10_preprocess'))})")
        return made

    monkeypatch.setattr(type(browser), "new_page", lambda _, **how: with_lab(**how))
    page = mount(settings_form.SettingsForm("preprocess"), width=900, height=600)
    page.get_by_text("preprocess with None").wait_for()
    page.get_by_label("choose driving_video").click()
    page.get_by_label("walk.mp4").click()
    page.wait_for_function(
        "window.shared.source.includes('driving_video = \"wanlab/assets/sample/walk.mp4\"  # video')"
    )
    page.get_by_label("mode").select_option("replace")  # both at once: none is lost
    page.get_by_label("max_frames").fill("9")
    page.get_by_label("max_frames").press("Tab")
    page.get_by_text("preprocess with 9").wait_for()
    values = cell.values(page.evaluate("window.shared.source"))
    assert (values["mode"], values["max_frames"]) == ("replace", 9)
    page.evaluate("window.shared.setSource(window.shared.source.replace('max_frames = 9', 'max_frames = 5'))")
    page.get_by_text("preprocess with 5").wait_for()  # who types in the cell sees it in the form
    assert page.get_by_label("max_frames").input_value() == "5"
    page.get_by_label("max_frames").fill("-2")
    page.get_by_label("max_frames").press("Tab")
    page.get_by_text("max_frames must be").wait_for()
    assert page.get_by_label("max_frames").input_value() == "5"
    page.get_by_role("button", name="Run").click()
    page.wait_for_function("window.ran.length")
    assert page.evaluate("window.ran") == [["notebook:run-all-below", 0]]
