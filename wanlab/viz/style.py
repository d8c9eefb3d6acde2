"""Colours, sizes and the few drawing helpers that all images share."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

COLUMNS = 8
CELL = 1.5  # inches, the height of an image in a contact sheet
PAGE = 13.0  # inches, the width of a sheet
DPI = 110
SEAM_COLOUR = "#c2185b"
# Neither green nor pink: without red cones or green ones, both are seen as grey (the leak is: it is drawn on grey and black alone)
MASK_COLOUR, MORE_COLOUR, LESS_COLOUR, LEAK_COLOUR = (86, 180, 233), (230, 159, 0), (0, 114, 178), (255, 0, 144)
ERASED_COLOUR = (213, 94, 0)
OBJECT_COLOURS = (
    (230, 159, 0),
    (150, 80, 255),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)  # of clicked objects 1, 2, …
LABEL_GAP = 8  # pixels of a plot within which two labels would lie on each other
INK = "#010203"  # of text, axes and the first line; in a drawing it becomes the page's own, dark or light
ON_BOTH = "#808893"  # its place in images of pixels: 3.6 : 1 on white, 4.8 : 1 on a dark page
BAND_COLOUR = "#80889355"  # of frames in which something is missing
LINE_COLOURS = (INK, "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
LINE_STYLES = ("-", "--", ":")
SURE_COLOUR, UNSURE_COLOUR = "#0072b2", "#d0d0d0"  # of a part's score, 1 and 0
MISSING_COLOUR, JUMP_COLOUR = "#d55e00", "#f0e442"
PART_COLOURS = ("#2f80c3", "#e08a1e", "#2e9b63", "#a35fc4")


def show_image(axis: Axes, image: np.ndarray) -> None:
    """Show an image in axes without ticks.

    Args:
        axis: where.
        image: [H, W, 3], 0 to 255, uint8 RGB.
    """
    axis.axis("on")
    axis.imshow(image)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def plain_axes(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


class Drawing(Image):
    """A figure as notebooks and pages show it: on their own ground, with their own ink where it is drawn in lines.

    Attributes:
        alt: what it shows, for those who do not see it.
        data: an SVG or WebP file.
        format: svg or webp.
    """

    def __init__(self, data: bytes, kind: Literal["svg", "webp"], alt: str) -> None:
        """Take the file; unlike its base class, of any kind that browsers know."""
        self.data, self.format, self.alt, self.embed = data, kind, alt, True  # type: ignore[assignment]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str | None]:
        if self.format == "svg":
            shown = self.data.decode("utf-8").replace("<svg ", f'<svg role="img" aria-label="{escape(self.alt)}" ', 1)
        else:
            text = base64.b64encode(self.data).decode("ascii")
            shown = f'<img alt="{escape(self.alt)}" style="max-width: 100%" src="data:image/webp;base64,{text}">'
        return {"text/html": shown, "text/plain": self.alt}


def as_image(figure: Figure, alt: str, kind: Literal["svg", "webp"] = "svg") -> Drawing:
    """Draw a figure: shown the same with every backend, without a ground of its own.

    Args:
        figure: what is black in it takes the colour of text around it.
        alt: what it shows.
        kind: svg for lines and words, webp for what is made of images.
    """
    ink = INK if kind == "svg" else ON_BOTH
    for text in figure.findobj(Text):
        if to_hex(text.get_color()) in ("#000000", INK):  # type: ignore[attr-defined]
            text.set_color(ink)  # type: ignore[attr-defined]
    for axis in figure.axes:
        axis.patch.set_alpha(0)
        axis.tick_params(which="both", color=ink, labelcolor=ink)
        for spine in axis.spines.values():
            spine.set_edgecolor(ink)
    target = io.BytesIO()
    if kind == "webp":
        figure.savefig(target, format="webp", transparent=True, pil_kwargs={"quality": 86, "method": 3})
        return Drawing(target.getvalue(), "webp", alt)
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(target, format="svg", transparent=True)
    return Drawing(_fragment(target.getvalue().decode("utf-8")).encode(), "svg", alt)


def _fragment(svg: str) -> str:
    """Return an SVG file as a part of a page: no head, no address, no style that reaches others, INK as the page's colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<style[^>]*>\*\{([^}]*)\}</style>", "", svg)
    svg = re.sub(r' (width|height)="([\d.]+)pt"', "", svg, count=2)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg).group(1))  # type: ignore[union-attr]
    look = (
        f"width: {width / 72 * DPI:.0f}px; max-width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt"
    )
    return svg.replace("<svg ", f'<svg style="{look}" ', 1).replace(INK, "currentColor")
