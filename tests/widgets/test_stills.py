"""What the bench's widgets share on the kernel's side: images on demand, held small, and faults that are said."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from wanlab import media
from wanlab.widgets import stills

GREEN = (0, 158, 115)


class Shown(stills.Stills):
    """Frames, and a mask that changes."""

    mask = np.zeros((36, 64), bool)

    def image(self, t: int, layer: str) -> np.ndarray | stills.Tint:
        self.made = (*getattr(self, "made", ()), (t, layer))
        return stills.Tint(self.mask, GREEN) if layer == "mask" else super().image(t, layer)


@pytest.fixture
def widget(tmp_path: Path) -> Shown:
    frames = np.repeat(np.arange(8, dtype=np.uint8) * 30, 36 * 64 * 3).reshape(8, 36, 64, 3)
    media.write_video(tmp_path / "video.mkv", frames, Fraction(24), lossless=True)
    return Shown(media.open_clip(tmp_path / "video.mkv"))


def ask(widget: Shown, **content: Any) -> tuple[dict[str, Any], list[bytes]]:
    said: list[Any] = []
    widget.send = lambda content, buffers=None: said.append((content, buffers))  # type: ignore[method-assign]
    widget._handle_custom_msg({"kind": "frames", "id": "a:1", "t": 3, "layers": ["clip"], "width": 32, **content}, [])
    return said[-1]


def read(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_pictures_come_at_the_size_asked_for_and_are_made_once(widget: Shown) -> None:
    assert widget.clip == {"frames": 8, "height": 36, "width": 64, "fps": 24.0}
    for _ in range(2):
        content, (jpeg, png) = ask(widget, layers=["clip", "mask"])
    assert content == {"kind": "frames", "id": "a:1", "t": 3, "layers": ["clip", "mask"], "width": 32}
    assert read(jpeg).shape == (18, 32, 3)
    assert abs(read(jpeg).astype(int) - 90).max() < 3
    assert read(png).shape[:2] == (18, 32)
    assert read(ask(widget, width=1000)[1][0]).shape == (36, 64, 3)  # never larger than the clip
    assert widget.made == ((3, "clip"), (3, "mask"), (3, "clip"))
    assert ask(widget, t=5, warm=True)[1] == []  # made ready, not sent
    ask(widget, t=5)
    assert widget.made[-1] == (5, "clip")
    assert len(widget.made) == 4


def test_a_mask_is_a_see_through_tint_with_its_outline(widget: Shown) -> None:
    widget.mask = np.zeros((36, 64), bool)
    widget.mask[10:20, 8:30] = True
    widget.stale("mask", frames=[3])
    shown = read(ask(widget, layers=["mask"], width=64)[1][0])
    np.testing.assert_array_equal(shown[..., 3] > 0, widget.mask)
    assert shown[15, 15].tolist() == [*GREEN[::-1], stills.INSIDE]
    assert shown[10, 8].tolist() == [*GREEN[::-1], 255]


def test_what_has_changed_is_made_anew(widget: Shown) -> None:
    for t in (3, 4):
        ask(widget, t=t, layers=["clip", "mask"])
    widget.stale("mask", frames=[3])
    for t in (3, 4):
        ask(widget, t=t, layers=["clip", "mask"])
    assert widget.made[4:] == ((3, "mask"),)


def test_the_coded_pictures_are_bounded(widget: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(ask(widget)[1][0])
    monkeypatch.setattr(stills, "KEPT_BYTES", 3 * size)
    for t in range(8):
        ask(widget, t=t)
    assert sum(map(len, widget._coded.values())) <= 3 * size
    assert (7, "clip", 32) in widget._coded


def test_faults_are_said_to_who_asked(widget: Shown, capsys: pytest.CaptureFixture) -> None:
    content, _ = ask(widget, layers=["nothing"])
    assert content == {"kind": "error", "text": "layer must be clip, got 'nothing'; use clip", "id": "a:1"}
    assert ask(widget, kind="dance")[0]["text"].startswith("the kernel's side knows no message 'dance'")
    assert "ValueError" in capsys.readouterr().err


def test_modules_are_joined_into_one(tmp_path: Path) -> None:
    (tmp_path / "mine.js").write_text('import {\n  make,\n} from "./parts.js";\nexport default {};\n')
    joined = stills.module(str(tmp_path / "mine.js"))
    assert re.findall(r"^(?:import|export) .*", joined, re.M) == ["export default {};"]
    assert re.search(r"^class ClipView", joined, re.M)


def test_styles_are_made_in_one_place_and_reach_one_widget() -> None:
    """Several widgets stand on one page: `root` alone makes a style element, all of it in the scope of the widget."""
    makers = [
        (file.name, found)
        for file in sorted(stills.FOLDER.glob("*.js"))
        for found in re.findall(r'(?:make|createElement)\("style".*', file.read_text(encoding="utf-8"))
    ]
    assert makers == [("parts.js", 'make("style", { text: `@scope {${STYLE}${style}}` }));')]
