"""A parameters cell is read and changed as text: one value, with every comment and line around it as it was."""

from __future__ import annotations

import pytest

from wanlab import config
from wanlab.config import cell

SOURCE = """# what you change first
seed = 42  # of the noise
prompt = "视频"  # text = "x"
grid = {
    "shift": [3.0, 5.0],
}  # several lines
# where and how it runs
device = None  # cuda or cpu
fast = 2 * 3
"""


def test_values_stand_under_their_headings() -> None:
    found = cell.groups(SOURCE)
    assert found == {"what you change first": ["seed", "prompt", "grid"], "where and how it runs": ["device", "fast"]}
    assert cell.values(SOURCE) == {"seed": 42, "prompt": "视频", "grid": {"shift": [3.0, 5.0]}, "device": None}


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("seed", 7, "seed = 7  # of the noise"),
        ("prompt", 'sagt "hü"', 'prompt = "sagt \\"hü\\""  # text = "x"'),
        ("grid", {"seed": [1, None], "lora": ["a.b"]}, 'grid = {"seed": [1, None], "lora": ["a.b"]}  # several lines'),
        ("device", "cuda", 'device = "cuda"  # cuda or cpu'),
        ("fast", True, "fast = True"),
        ("added", [1.5], "added = [1.5]"),
    ],
)
def test_one_value_changes_and_nothing_else(name: str, value: object, line: str) -> None:
    text = cell.changed(SOURCE, name, value)
    assert line in text.splitlines()
    assert cell.values(text)[name] == value
    others = {each: cell.values(text)[each] for each in cell.values(SOURCE) if each != name}
    assert others == {each: kept for each, kept in cell.values(SOURCE).items() if each != name}
    assert [each for each in text.splitlines() if each.startswith("#")] == [
        each for each in SOURCE.splitlines() if each.startswith("#")
    ]


@pytest.mark.parametrize(("name", "model"), config.NOTEBOOKS.values())
def test_the_notebooks_cells_hold_every_setting_once(name: str, model: type[config.Settings]) -> None:
    source = cell.source_of(name)
    assert [each for names in cell.groups(source).values() for each in names] == list(model.model_fields)
    assert model.build(cell.values(source)) == model.build({})


def test_a_cell_that_is_no_python_is_left_alone() -> None:
    with pytest.raises(SyntaxError):
        cell.changed("seed = = 3", "seed", 7)
