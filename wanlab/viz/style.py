"""Colours, sizes and the few drawing helpers that all images share."""

from __future__ import annotations

import io

import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 8
CELL = 1.5  # inches, the height of an image in a contact sheet
PAGE = 13.0  # inches, the width of a sheet
DPI = 110
SEAM_COLOUR = "#c2185b"
MASK_COLOUR, MORE_COLOUR, LESS_COLOUR, LEAK_COLOUR = (0, 158, 115), (230, 159, 0), (86, 180, 233), (255, 0, 144)
ERASED_COLOUR = (213, 94, 0)
OBJECT_COLOURS = (  # of clicked objects 1, 2, …, as the editor has them
    (86, 180, 233), (230, 159, 0), (204, 121, 167), (240, 228, 66), (0, 158, 115), (213, 94, 0), (0, 114, 178),
)  # fmt: skip
LABEL_GAP = 8  # pixels of a plot within which two labels would lie on each other
LINE_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
LINE_STYLES = ("-", "--", ":")
SURE_COLOUR, UNSURE_COLOUR = "#0072b2", "#d0d0d0"  # of a part's score, 1 and 0
MISSING_COLOUR, JUMP_COLOUR = "#d55e00", "#f0e442"
PART_COLOURS = ("#1f4e79", "#e08a1e", "#2e8b57", "#8e44ad")


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


def as_image(figure: Figure, alt: str, kind: str = "png") -> Image:
    """Draw a figure into an image: shown the same with every backend, and of known size."""
    target = io.BytesIO()
    figure.savefig(target, format=kind, pil_kwargs={"quality": 88} if kind == "jpeg" else {})
    return Image(target.getvalue(), format=kind, alt=alt)
