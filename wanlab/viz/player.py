"""The results of a sweep side by side in one page, playing in step.

player.grid([player.Point("seed 1", {"seed": 1}, clip, seams=[33]), …])   # a notebook and a report show it

Every video is a small preview inside the page; `assets/player.js` drives them by one clock that counts frames.
"""

from __future__ import annotations

import base64
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np
from IPython.display import HTML, display

from wanlab import media

INLINE_HEIGHT = 320  # pixels, the height of an inline video; the full files lie in the run folder


def show_videos(videos: Mapping[str, media.Clip | None], fps: Fraction) -> None:
    """Play videos side by side, made smaller: the notebook holds them, so it can be sent around.

    Frames are encoded one at a time, so that memory does not grow with the clip's length.

    Args:
        videos: clips by name; None is left out.
        fps: frames per second.
    """
    import mediapy

    cells = []
    for name, clip in ((name, clip) for name, clip in videos.items() if clip is not None):
        height, width = _size(clip, INLINE_HEIGHT)
        shown = mediapy.html_from_compressed_video(
            _encoded(clip, fps, INLINE_HEIGHT), width, height, title=escape(name)
        )
        cells.append(f'<td style="padding:1px; font-family:inherit">{shown}</td>')
    display(HTML(f'<table style="border-spacing:0"><tr>{"".join(cells)}</tr></table>'))


HEIGHT = 480  # pixels, of a preview at most; the full files lie in the run folders
ROOM = 240  # pixels, the side of a square as large as a cell of the grid: upright and wide videos get the same room


class Point(NamedTuple):
    """One result of a sweep.

    Attributes:
        title: the text under the video.
        parameters: the settings in which results differ, by name.
        video: a clip, or the file of one.
        seams: frames at which a segment begins.
        link: the full file, relative to the page; None shows no link.
        number: its row in the table, which stands in the title's place; None: it has none.
        command: that makes it again; empty: not known.
    """

    title: str
    parameters: Mapping[str, Any]
    video: media.Clip | Path
    seams: Sequence[int] = ()
    link: Path | None = None
    number: int | None = None
    command: str = ""


class Star(NamedTuple):
    """Which result is starred, and where a browser keeps the reader's own choice.

    Attributes:
        key: names the results; kernel and pages of the same sweep have the same.
        number: of the starred point; None: none is.
    """

    key: str
    number: int | None = None


def grid(
    points: Sequence[Point],
    given: Mapping[str, media.Clip | np.ndarray | None] | None = None,
    table: str = "",
    star: Star | None = None,
    full: bool = False,
) -> HTML:
    """Show results side by side, playing in step: scrub, loop over a seam, filter by setting, wipe between two.

    All previews run at the first result's rate, so that frame n of one stands beside frame n of every other; where a
    video has another rate, or ends before the longest, its caption names it.

    Args:
        points: the results, in the order of the cells.
        given: what they were made from, by name, shown in front: videos play along, images [H, W, 3], uint8 RGB, stand.
        table: of the numbers, see `tables.sortable`; a click on its heads sorts table and cells.
        star: of the results; None: none can be starred.
        full: hold the full files too, for a page that leaves its folder: the links lead to them.

    Returns:
        one fragment with videos, style and script inside, which asks for nothing else; of no points a sentence and the table.

    Raises:
        ValueError: a seam outside its video.
        FileNotFoundError: if there is no such file.
    """
    if not points:
        return HTML(f"<p>No point has a video: what each ended with stands in the table and below.</p>{table}")
    clips = [p.video if isinstance(p.video, media.Clip) else media.open_clip(p.video) for p in points]
    fps = clips[0].fps
    longest = max(map(len, clips))
    shown = "".join(_given(name, each, fps, longest) for name, each in (given or {}).items() if each is not None)
    shown += "".join(_result(point, clip, fps, longest, full) for point, clip in zip(points, clips, strict=True))
    width = round(ROOM * max(clip.width / clip.height for clip in clips) ** 0.5)
    starred = f'data-star="{star.number or ""}" data-key="{escape(star.key)}" ' if star else ""
    return HTML(
        f'<div class="wanlab-player" role="group" aria-label="{len(points)} results, playing in step" tabindex="0" '
        f'data-fps="{float(fps)}" {starred}data-lm-suppress-shortcuts="true">\n'  # JupyterLab leaves the keys to the player
        f"<style>\n{_asset('player.css')}</style>\n"
        f'<div class="results" style="--room: {width}px">\n{shown}</div>\n{table}'
        f"<script>\n{_asset('player.js')}</script>\n</div>"
    )


def _given(name: str, shown: media.Clip | np.ndarray, fps: Fraction, longest: int) -> str:
    """Return a cell of what the results were made from, cut to their length."""
    caption = f'<figcaption><b class="title">{escape(name)}</b></figcaption>'
    if isinstance(shown, np.ndarray):
        height = min(HEIGHT, shown.shape[0])
        small = cv2.resize(
            shown, (round(shown.shape[1] * height / shown.shape[0]), height), interpolation=cv2.INTER_AREA
        )
        code = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 90])[1]
        source = base64.b64encode(code.tobytes()).decode("ascii")
        return f'<figure class="given"><img src="data:image/webp;base64,{source}" alt="{escape(name)}">{caption}</figure>\n'
    frames = min(len(shown), longest)
    return f'<figure class="given" data-frames="{frames}">{_video(name, _encoded(shown, fps, count=frames))}{caption}</figure>\n'


def _video(title: str, file: bytes) -> str:
    source = base64.b64encode(file).decode("ascii")
    return f'<video src="data:video/mp4;base64,{source}" aria-label="{escape(title)}" preload=auto muted playsinline controls></video>'


def _result(point: Point, clip: media.Clip, fps: Fraction, longest: int, full: bool) -> str:
    outside = [seam for seam in point.seams if not 0 < seam < len(clip)]
    if outside:
        raise ValueError(
            f"seams must lie inside the video of {len(clip)} frames, got {outside[0]} in {point.title}; "
            f"use 1 to {len(clip) - 1}"
        )
    values = {name: str(value) for name, value in point.parameters.items()}
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
    remarks = [f"{float(clip.fps):.4g} frames per second, played at {float(fps):.4g}"] if clip.fps != fps else []
    remarks += [f"{len(clip)} of {longest} frames"] if len(clip) < longest else []
    remark = f'<em class="remark">{escape("; ".join(remarks))}</em>' if remarks else ""
    own = f'data-number="{point.number}" ' if point.number else ""
    own += f'data-command="{escape(point.command)}" ' if point.command else ""
    return (
        f'<figure class="result" {own}data-frames="{len(clip)}" data-seams="{[int(seam) for seam in point.seams]}" '
        f'data-parameters="{escape(json.dumps(values))}">\n{_video(point.title, _encoded(clip, fps))}\n'
        f'<figcaption><b class="title">{escape(str(point.number or point.title))}</b>{_link(point, clip, full)}{remark}<dl>{listed}</dl></figcaption>\n'
        "</figure>\n"
    )


def _link(point: Point, clip: media.Clip, full: bool) -> str:
    """Return the link to the full file: beside the page, or inside it."""
    if point.link is None:
        return ""
    if not full:
        return f'<a href="{escape(quote(point.link.as_posix()))}">full size</a>'
    source = base64.b64encode(clip.info.path.read_bytes()).decode("ascii")
    name = "_".join(part for part in point.link.parts if part != "..")  # a browser opens no data address, but saves it
    return f'<a href="data:video/mp4;base64,{source}" download="{escape(name)}">full size</a>'


def _encoded(clip: media.Clip, fps: Fraction, height: int = HEIGHT, count: int | None = None) -> bytes:
    """Encode a clip made smaller, to at most `height` pixels, or its first `count` frames, as an mp4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.mp4"
        media.write_video(path, itertools.islice(_smaller(clip, height), count), fps, for_player=True)
        return path.read_bytes()


def _size(clip: media.Clip, at_most: int) -> tuple[int, int]:
    """Return height and width in pixels of a clip made smaller, to at most `at_most` pixels of height; H.264 needs even sides."""
    height = max(2, min(at_most, clip.height) // 2 * 2)
    return height, max(2, round(clip.width * height / clip.height / 2) * 2)


def _smaller(clip: media.Clip, at_most: int) -> Iterator[np.ndarray]:
    height, width = _size(clip, at_most)
    for frame in clip:
        yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
