"""Points and boxes of KJNodes' PointsEditor, from the frames that they were clicked on to pixels of the working clip.

A workflow crops, pads or stretches the video before anybody clicks; wanlab does so in its own way (`resize`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanlab import media
from wanlab.comfyui.graph import Graph, Node
from wanlab.mask.prompts import Prompts, parse_prompts
from wanlab.media import resize

OUTPUTS = ("coordinates", "neg_coordinates", "bboxes")  # PointsEditor's first three outputs, by the widget they give
PLACES = {"left": (0, 0.5), "right": (1, 0.5), "top": (0.5, 0), "bottom": (0.5, 1)}  # x and y; else the centre
VHS_STEP = 8  # VideoHelperSuite rounds sizes to it


class Geometry(NamedTuple):
    """How pixels of the video became pixels of the frames: times `scale`, plus `offset`.

    Attributes:
        size: (height, width) of the frames.
        scale: factors along x and y.
        offset: pixels along x and y.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def fitted(self, height: int, width: int, how: str, place: tuple[float, float] = (0.5, 0.5)) -> Geometry:
        """Return this followed by a fit into height x width: `stretch`, `crop` what stands out, or `pad` what is missing."""
        x, y = width / self.size[1], height / self.size[0]
        if how != "stretch":
            x = y = max(x, y) if how == "crop" else min(x, y)
        left, top = (width - x * self.size[1]) * place[0], (height - y * self.size[0]) * place[1]
        return Geometry(
            (height, width),
            (self.scale[0] * x, self.scale[1] * y),
            (self.offset[0] * x + left, self.offset[1] * y + top),
        )

    def back(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the frames was in the video."""
        return (x - self.offset[0]) / self.scale[0], (y - self.offset[1]) / self.scale[1]


def prompts(editor: Node, outputs: set[int], size: tuple[int, int]) -> Prompts:
    """Return what an editor gives SAM2 through `outputs` that are connected, in pixels of frames of `size`.

    Raises:
        ValueError: no positive point or box, or one outside the frames.
    """
    content = {name: editor.values.get(name) or "[]" for slot, name in enumerate(OUTPUTS) if slot in outputs}
    height, width = size
    return parse_prompts({**content, "height": height, "width": width}, str(editor), 1, height, width, as_kijai=True)


def as_objects(found: Prompts) -> Prompts:
    """Return prompts as Sam2Segmentation's individual_objects means them: an object per positive point, each with a negative one.

    Source: Kijai's Sam2Segmentation; negative points that are missing are the first one again.
    """
    positive = [click for click in found.clicks if click.positive]
    negative = [click for click in found.clicks if not click.positive]
    pairs = [
        (click, (negative[i] if i < len(negative) else negative[0]) if negative else None)
        for i, click in enumerate(positive)
    ]
    return Prompts(tuple(click._replace(object=i + 1) for i, pair in enumerate(pairs) for click in pair if click))


def remarks(editor: Node, outputs: set[int], canvas: tuple[int, int], size: tuple[int, int]) -> list[str]:
    """Return notes on an editor whose canvas differs from the frames in size, or whose output is not connected."""
    said = []
    if size != canvas:
        said.append(
            f"{editor}: its canvas is {canvas[1]}x{canvas[0]}, SAM2's frames are {size[1]}x{size[0]} (width x height): ComfyUI takes "
            "the clicks as pixels of the frames, and so does the points file"
        )
    if editor.values.get("normalize") is True:
        said.append(
            f"{editor}: with normalize SAM2 takes all points for the upper left corner; the points file holds what was clicked"
        )
    for slot, name in ((1, "neg_coordinates"), (2, "bboxes")):
        if slot not in outputs and str(editor.values.get(name) or "[]").replace(" ", "") not in ("[]", "[{}]"):
            said.append(
                f"{editor}: its {name} are not connected: ComfyUI does not use them, nor does the points file hold them"
            )
    return said


def follow(graph: Graph, trail: Sequence[Node], height: int, width: int) -> Geometry | None:
    """Return how a video of height x width became the frames at the head of `trail`, whose last node loads it.

    None if a node on the way does something to the frames that is not known here.
    """
    geometry = Geometry((height, width))
    for node in reversed(trail):
        fit = _fit(graph, node, *geometry.size)
        if fit is None:
            return None
        geometry = geometry.fitted(*fit) if fit[:2] != geometry.size else geometry
    return geometry if trail else None


def known_size(graph: Graph, trail: Sequence[Node]) -> tuple[int, int] | None:
    """Return the size of the frames at the head of `trail` (height, width) if it is the same whatever the video's is."""
    made = {
        geometry.size if (geometry := follow(graph, trail, *video)) else None for video in ((720, 1280), (1280, 720))
    }
    return made.pop() if len(made) == 1 else None


def place(
    found: Prompts, geometry: Geometry, video: media.VideoInfo, resolution: str | None
) -> tuple[Prompts, tuple[int, int], int]:
    """Move prompts from the frames of `geometry` to the working clip.

    Args:
        found: in pixels of the frames.
        geometry: how the video became the frames.
        video: the driving video.
        resolution: "width height", the area of the working clip; None: the video's own size.

    Returns:
        the prompts, the working clip's (height, width), and how many lay outside the video and were left out.
    """
    height, width = video.height, video.width
    if resolution:
        height, width = resize.area_size(video.height, video.width, resize.area_of(resolution))
    box = resize.letterbox_geometry(video.height, video.width, height, width)

    def move(x: float, y: float) -> tuple[float, float]:
        x, y = box.place(np.array(geometry.back(x, y)), video.height, video.width).tolist()
        return round(x, 3), round(y, 3)

    clicks = []
    for click in found.clicks:
        x, y = move(click.x, click.y)
        if box.x0 <= x < box.x1 and box.y0 <= y < box.y1:
            clicks.append(click._replace(x=x, y=y))
    boxes = []
    for one in found.boxes:
        (x0, y0), (x1, y1) = move(one.x0, one.y0), move(one.x1, one.y1)
        x0, x1, y0, y1 = max(x0, box.x0), min(x1, box.x1), max(y0, box.y0), min(y1, box.y1)
        if x0 < x1 and y0 < y1:
            boxes.append(one._replace(x0=x0, y0=y0, x1=x1, y1=y1))
    known = {prompt.object for prompt in (*boxes, *(click for click in clicks if click.positive))}
    clicks = [click for click in clicks if click.object in known]  # a negative point alone selects nothing
    lost = len(found.clicks) + len(found.boxes) - len(clicks) - len(boxes)
    return Prompts(tuple(clicks), tuple(boxes)), (height, width), lost


def _fit(graph: Graph, node: Node, height: int, width: int) -> tuple[int, int, str, tuple[float, float]] | None:
    """Return what a node does to frames of height x width, as arguments of `Geometry.fitted`; None if it is not known."""
    centre = (0.5, 0.5)
    if node.kind == "ImageResizeKJ":
        return None
    if node.kind.startswith("VHS_LoadVideo"):
        sides = _sides(graph, node, "custom_width", "custom_height")
        if sides is None:
            return None
        wide, high = sides
        if not wide and not high:
            return height, width, "stretch", centre
        wide, high = wide or width * high / height, high or height * wide / width
        rounded = (int(side / VHS_STEP + 0.5) * VHS_STEP for side in (high, wide))
        return (*rounded, "crop", centre)  # type: ignore[return-value]
    if node.kind not in ("ImageScale", "ImageResizeKJv2"):
        return height, width, "stretch", centre
    sides = _sides(graph, node, "width", "height")
    if sides is None:
        return None
    wide, high = sides
    if node.kind == "ImageScale":  # a side of 0 follows from the other
        wide, high = wide or round(width * high / height) or width, high or round(height * wide / width) or height
        return high, wide, "crop" if node.values.get("crop") == "center" else "stretch", centre
    how, step = str(node.values.get("keep_proportion", "stretch")), int(node.values.get("divisible_by") or 1)
    place = PLACES.get(str(node.values.get("crop_position")), centre)
    if how == "crop" or how == "stretch":
        wide, high = (side - side % step for side in (wide or width, high or height))
        return high, wide, how, place
    if how in ("resize", "pad", "pad_edge", "pad_edge_pixel"):
        scale = min(wide / width if wide else 9e9, high / height if high else 9e9)
        scale = 1.0 if scale > 9e8 else scale
        if how == "resize" or not wide or not high:
            small = (round(side * scale) for side in (height, width))
            high, wide = (side - side % step for side in small)
            return high, wide, "stretch", centre
        return high, wide, "pad", place
    return None


def _sides(graph: Graph, node: Node, *names: str) -> tuple[int, int] | None:
    """Return a node's width and height widgets, 0 where they are not set; None if they are computed."""
    sides = [graph.value(node, name) for name in names]
    if any(side is None and name in node.links for side, name in zip(sides, names, strict=True)):
        return None
    return int(sides[0] or 0), int(sides[1] or 0)
