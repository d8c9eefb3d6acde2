"""The grid player's Python side: every frame is there, the page stays small, nobody's text becomes markup."""

from __future__ import annotations

import base64
import json
import re
import weakref
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest

from wanlab import media
from wanlab.viz import player

HOSTILE = """</script><img src=x onerror="alert('1')">&amp;"""


class Tags(HTMLParser):
    """Collects (tag, attributes) of a fragment, and the text outside script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def clip(tmp_path: Path) -> media.Clip:
    path = tmp_path / "clip.mp4"
    media.write_video(path, np.full((9, 32, 48, 3), 90, np.uint8), Fraction(24000, 1001))
    return media.open_clip(path)


def previews(page: str, folder: Path) -> list[Path]:
    """Write the videos of a page to files."""
    paths = []
    for n, code in enumerate(re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)):
        paths.append(folder / f"preview{n}.mp4")
        paths[-1].write_bytes(base64.b64decode(code))
    return paths


def test_twelve_results_fit_a_page_and_keep_every_frame(sample: Path, tmp_path: Path) -> None:
    points = [player.Point(name, {"name": name}, sample / f"{name}.mp4") for name in ("walk", "driving")]
    page = player.grid(points).data
    assert page is not None
    assert 6 * len(page) <= 25e6  # the same two, six times
    for path in previews(page, tmp_path):
        info = media.probe_video(path)
        assert (info.num_frames, info.fps, info.height, info.width) == (77, 16, 480, 276)
        with av.open(str(path)) as container:
            keys = [n for n, frame in enumerate(container.decode(video=0)) if frame.key_frame]
        assert max(np.diff([*keys, 77])) <= 12  # a jump decodes no more than that


def test_a_small_clip_is_not_enlarged_and_rates_become_the_first_ones(clip: media.Clip, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    media.write_video(other, np.full((5, 34, 20, 3), 90, np.uint8), Fraction(30))
    page = player.grid([player.Point("a", {}, clip), player.Point("b", {}, other)]).data
    first, second = (media.probe_video(path) for path in previews(page or "", tmp_path))
    assert (first.height, first.width, first.num_frames) == (32, 48, 9)
    assert (second.height, second.width, second.num_frames) == (34, 20, 5)
    assert first.fps == second.fps == Fraction(24000, 1001)
    assert f'data-fps="{24000 / 1001}"' in (page or "")


def test_a_caption_says_another_rate_and_an_earlier_end(tmp_path: Path) -> None:
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    media.write_video(tmp_path / "a.mp4", frames, Fraction(12))
    media.write_video(tmp_path / "b.mp4", frames[:4], Fraction(30000, 1001))
    points = [player.Point(name, {}, tmp_path / f"{name}.mp4") for name in "ab"]
    said = re.findall(r'class="remark">([^<]*)<', player.grid(points).data)
    assert said == ["29.97 frames per second, played at 12; 4 of 6 frames"]


def test_what_a_user_wrote_stays_text(clip: media.Clip) -> None:
    point = player.Point(HOSTILE, {HOSTILE: HOSTILE}, clip, [3, np.int64(5)], Path("../a #1/javascript:x?.mp4"))
    page = player.grid([point]).data or ""
    tags = Tags(page)
    assert {name for name, _ in tags.found} == {
        "div", "style", "figure", "video", "figcaption", "b", "a", "dl", "dt", "dd", "script",
    }  # fmt: skip
    assert len(tags.all("script")) == 1
    assert tags.text.count(HOSTILE) == 3
    figure, video = tags.all("figure")[0], tags.all("video")[0]
    assert json.loads(figure["data-parameters"] or "") == {HOSTILE: HOSTILE}
    assert json.loads(figure["data-seams"] or "") == [3, 5]
    assert video["aria-label"] == HOSTILE
    assert [link["href"] for link in tags.all("a")] == ["../a%20%231/javascript%3Ax%3F.mp4"]


def test_a_page_names_no_address_and_no_id(clip: media.Clip) -> None:
    page = player.grid([player.Point("a", {"seed": 1}, clip)]).data or ""
    assert re.findall(r"https?://[^\"']+", page) == ["http://www.w3.org/2000/svg"]  # a name, nothing is fetched
    assert not re.search(r"\sid=|@import|url\(", page)
    assert "<a " not in page


def test_a_shared_page_holds_the_full_files_and_what_they_were_made_from(clip: media.Clip, tmp_path: Path) -> None:
    point = player.Point("a", {}, clip, link=Path("../run/clip.mp4"), number=3, command="wanlab 'x'")
    given = {"reference": np.zeros((64, 48, 3), np.uint8), "driver": clip, "none": None}
    page = player.grid([point], given, star=player.Star("key", 3), full=True).data or ""
    tags = Tags(page)
    (link,) = tags.all("a")
    assert link["download"] == "run_clip.mp4"
    assert base64.b64decode((link["href"] or "").split("base64,")[1]) == clip.info.path.read_bytes()
    assert [each["alt"] for each in tags.all("img")] == ["reference"]
    assert [each["aria-label"] for each in tags.all("video")] == ["driver", "a"]
    shown = tags.all("figure")[-1]
    assert (shown["data-number"], shown["data-command"]) == ("3", "wanlab 'x'")
    assert 'data-star="3" data-key="key"' in page


def test_a_longer_driver_ends_with_the_results(clip: media.Clip, tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    media.write_video(short, np.full((5, 32, 48, 3), 90, np.uint8), Fraction(24000, 1001))
    page = player.grid([player.Point("a", {}, short)], {"driver": clip}).data or ""
    assert [media.probe_video(path).num_frames for path in previews(page, tmp_path)] == [5, 5]


def test_wrong_points_are_refused(clip: media.Clip) -> None:
    assert "No point has a video" in player.grid([]).data
    with pytest.raises(ValueError, match="seams must lie inside the video of 9 frames, got 9 in a; use 1 to 8"):
        player.grid([player.Point("a", {}, clip, [4, 9])])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        player.grid([player.Point("a", {}, Path("missing.mp4"))])


def test_videos_side_by_side_are_whole_and_hold_few_frames(
    clip: media.Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, alive, most = [], set(), []
    monkeypatch.setattr(player, "display", lambda page: shown.append(page.data))
    original = media.Clip.__iter__

    def counted(self: media.Clip) -> object:
        for frame in original(self):
            alive.add(id(frame))
            weakref.finalize(frame, alive.discard, id(frame))
            most.append(len(alive))
            yield frame
            del frame

    monkeypatch.setattr(media.Clip, "__iter__", counted)
    player.show_videos({HOSTILE: clip, "none": None, "again": clip}, fps=clip.fps)
    (page,) = shown
    assert len(Tags(page).all("video")) == 2
    assert not Tags(page).all("img")
    for path in previews(page, tmp_path):
        info = media.probe_video(path)
        assert (info.num_frames, info.fps) == (9, clip.fps)
    assert max(most) <= 3
