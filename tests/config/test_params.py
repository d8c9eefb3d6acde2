"""Params files: each fault is one line with file, line, name, rule and remedy; what is meant plainly is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanlab import config
from wanlab.config import SettingsError

DEEP = "[" * 3000
BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]" for i in range(20)
)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.yaml", "seed: 1\nprompt: Müller".encode("latin-1"), "a.yaml, line 2: prompt must be text in UTF-8, got 'Müller'"),
        ("a.yaml", "prompt: “hi”".encode("cp1252"), "save it as UTF-8: iconv -f CP1252 -t UTF-8"),
        ("a.yaml", "seed: 1".encode("utf-16"), "a.yaml must be text in UTF-8, got UTF-16; save it as UTF-8: iconv"),
        ("a.yaml", "seed: 1".encode("utf-16-le"), "got UTF-16"),
        ("a.json", '{"prompt": "dance \\ud83d"}', "a.json: prompt must be text in UTF-8, got 'dance \\ud83d'"),
        ("a.yaml", "seed: 5\nshift: 3\nseed: 6", "a.yaml, line 3: seed must be given once, got it on line 1 too"),
        ("a.json", '{"seed": 5, "seed": 6}', "a.json: seed must be given once"),
        ("a.yaml", "grid:\n  seed: [1]\n  seed: [2]", "a.yaml, line 3: seed must be given once, got it on line 2"),
        ("a.yaml", "seed: 0017", "a.yaml, line 1: seed must be a number without leading zeros, got 0017; use 17, or '0017'"),
        ("a.yaml", "seed: 0089", "use 89"),
        ("a.yaml", "start_s: 1:30", "a.yaml, line 1: start_s must be in quotes, for YAML reads it in base 60, got 1:30"),
        ("a.yaml", "shift: 3\nprompt: None", "a.yaml, line 2: prompt must be a value, got the text 'None'; use null"),
        ("a.yaml", "num_inference_steps: None", "num_inference_steps must be a value, got the text 'None'; use null"),
        ("a.yaml", "fps: .nan", "a.yaml, line 1: fps must be a number or a fraction such as 30000/1001, got nan; use null"),
        ("a.yaml", "fps: 1e999999999", "fps must be a number or a fraction such as 30000/1001, got '1e999999999'"),
        ("a.yaml", "fps: 1/0", "fps must be a number or a fraction such as 30000/1001, got '1/0'"),
        ("a.yaml", "fps: 1e9", "fps must be at most 240, got '1e9'; use 240"),
        ("a.yaml", "start_s: .inf", "start_s must be a finite number, got inf; use 0"),
        ("a.json", '{"shift": NaN}', "shift must be a finite number, got nan"),
        ("a.yaml", f"seed: {DEEP}", "a.yaml, line 1: seed must have at most 12 lists and mappings in each other"),
        ("a.json", f'{{"seed": {DEEP}{"]" * 3000}}}', "a.json must have at most 12 lists and mappings in each other"),
        ("a.yaml", BOMB, "a.yaml, line 2: b must have its values written out, got the alias *a"),
        ("a.yaml", "seed: !!python/object/apply:os.getpid []", "seed must have plain values, got one marked"),
        ("a.yaml", "num_inference_steps: ²", "num_inference_steps must be a whole number, got '²'"),
        ("a.yaml", "resolution: ²² 720", 'resolution must be "width height" in pixels'),
        ("a.yaml", "prev_segment_conditioning_frames: ⁵", "must be one of 1 or 5"),
        ("a.yaml", 'driving_video: "a\\0b.mp4"', "driving_video must be text without control characters"),
        ("a.yaml", "driving_video: a\0b.mp4", "a.yaml, line 1: driving_video must be text without control characters"),
        ("a.yaml", f"seed: {'9' * 5000}", "seed must hold numbers of a usual size"),
        ("a.yaml", "resolution: 20000 20000", "must be an area of at most 3840x2160 = 8,294,400 pixels, got '20000 20000'"),
        ("a.yaml", f"grid: {{seed: {list(range(40))}, shift: {list(range(1, 40))}}}", "at most 1000 points, got 40 x 39"),
        ("a.yaml", "grid: {mask_chain: [square: 6]}", 'use {"mask_chain": ["square:6"]}'),
        ("a.yaml", "workers: 100000", "workers must be at most 256"),
        ("a.yaml", f"prompt: {'a' * 30000}", "prompt must have at most 20000 characters, got 30000"),
        ("a.yaml", "sede: 3", "a.yaml, line 1: unknown parameter sede; did you mean seed?"),
        ("a.yaml", "[1]: 2", "a.yaml, line 1: must have a word before each colon"),
        ("a.yaml", "seed: 2\n---\nseed: 3", "a.yaml, line 2: seed must be YAML"),
        ("a.yaml", "#" * 400_000, "at most 300 kB, got 0.4 MB"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_file_key_value_rule_and_remedy(
    tmp_path: Path, name: str, content: str | bytes, line: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as error:
        config.read_params([file])
    assert line in str(error.value)
    assert str(file) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 600 + len(str(file))


@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        ("a.yaml", b"\xef\xbb\xbfseed: 5", {"seed": 5}),
        ("a.json", b'{"prompt": "dance \\ud83d\\udd7a"}', {"prompt": "dance 🕺"}),
        ("a.yaml", b'prompt: "dance \\ud83d\\udd7a"', {"prompt": "dance 🕺"}),
        ("a.yaml", "prompt: Müller".encode(), {"prompt": "Müller"}),
        ("a.yaml", b"fps: 30000/1001", {"fps": "30000/1001"}),
        ("a.yaml", b"title: '0042'", {"title": "0042"}),
        ("a.yaml", b"", {}),
    ],
)
def test_what_is_meant_plainly_is_read(tmp_path: Path, name: str, content: bytes, values: dict) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert config.read_params([file]) == values


def test_a_remedy_can_be_typed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        config.SweepSettings.build({"grid": 5})
    remedy = str(error.value).rpartition("use ")[2]
    assert config.SweepSettings.build({"grid": remedy}).grid == {"shift": (3, 5)}
    (tmp_path / "a.yaml").write_text(f"grid: {remedy}")
    assert config.read_params([tmp_path / "a.yaml"]) == {"grid": {"shift": [3, 5]}}


def test_a_folder_and_a_misspelt_name_are_answered(tmp_path: Path) -> None:
    (tmp_path / "dance.yaml").write_text("seed: 1")
    with pytest.raises(FileNotFoundError, match=r"does not exist; did you mean .*dance\.yaml\?"):
        config.read_params([tmp_path / "dnace.yaml"])
    with pytest.raises(FileNotFoundError, match="is a folder; the ones that come with wanlab are in params/"):
        config.read_params([tmp_path])


def test_a_value_that_one_of_the_steps_takes_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("mode: null\n")  # generation's own default; preprocessing has none such
    assert config.read_params([tmp_path / "a.yaml"]) == {"mode": None}
