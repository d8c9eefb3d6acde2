"""What a ComfyUI workflow gives Wan-Animate, as settings of 10_preprocess: video and image, frames, size, mask, points."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath

from wanlab import config, media
from wanlab.comfyui import points
from wanlab.comfyui.graph import Graph, Link, Node
from wanlab.comfyui.nodes import EMBEDS, IMAGES, KIJAI_OVERLAP, MASK_STEPS, RESIZERS, SAME_IMAGE, VIDEOS
from wanlab.comfyui.report import Import, params_path, short, where
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.media import resize
from wanlab.model import checkpoints


def take_mode(graph: Graph, embeds: Node, found: Import) -> None:
    """Take the mode; note which inputs that wanlab always uses are not connected."""
    names = EMBEDS[embeds.kind]
    replace = names.mask in embeds.links
    found.put(
        "mode", "replace" if replace else "animate", f"{embeds}.{names.mask} = {'' if replace else 'not '}connected"
    )
    if not replace and names.background in embeds.links:
        found.not_mapped.append(
            f"{embeds}.{names.background}: a background without a mask; wanlab's animate has none, replace needs both"
        )
    if replace and names.background not in embeds.links:
        found.not_mapped.append(
            f"{embeds}: no {names.background} is connected; wanlab keeps the video around the mask, or what background_video shows"
        )
    for name, sentence in (
        (names.pose, "wanlab always takes the pose over"),
        (names.face, "wanlab always takes the face over"),
        (names.clip, "wanlab always gives the model the reference's CLIP features"),
    ):
        if name not in embeds.links:
            found.not_mapped.append(f"{embeds}: no {name} is connected; {sentence}")


def take_files(
    graph: Graph, embeds: Node, folders: Sequence[Path], driving: Path | None, reference: Path | None, found: Import
) -> media.VideoInfo | None:
    """Take the video, the character's image, and finished pose, face and background videos; return facts about the video if it is here."""
    _take_reference(graph, embeds, folders, reference, found)
    video, ready = _videos(graph, embeds)
    path = _file(graph, "driving_video", video, folders, driving, found)
    for setting, node in ready.items():
        if video is not None and node.id == video.id:
            found.not_mapped.append(
                f"{embeds}: {setting.removesuffix('_video')} is the driving video itself; wanlab makes its own from the video"
            )
        else:
            _file(graph, setting, node, folders, None, found)
    try:
        info = media.probe_video(path) if path else None
    except ValueError as error:
        raise config.SettingsError(str(error)) from None
    if video is not None and video.kind.startswith("VHS"):
        _stretch(graph, video, info, found)
    return info


def _take_reference(graph: Graph, embeds: Node, folders: Sequence[Path], reference: Path | None, found: Import) -> None:
    trail = graph.walk(embeds.links.get(EMBEDS[embeds.kind].reference), SAME_IMAGE)
    image = trail[-1] if trail and trail[-1].kind in IMAGES else None
    if trail and image is None and reference is None:
        found.not_mapped.append(
            f"{trail[-1]}: the reference comes from this node; save its image and give it as reference_image"
        )
    _file(graph, "reference_image", image, folders, reference, found)
    for node in trail:
        if node.kind in RESIZERS:
            found.not_mapped.append(
                f"{node}: the reference's size; wanlab fits it by the official rule (replace: letterboxed in the video's size)"
            )


def _videos(graph: Graph, embeds: Node) -> tuple[Node | None, dict[str, Node]]:
    """Return the node that loads the driving video, and those that load finished videos, by their setting."""
    names = EMBEDS[embeds.kind]
    ready: dict[str, Node] = {}
    video: Node | None = None
    for setting, name in (
        ("pose_video", names.pose),
        ("face_video", names.face),
        ("mask", names.mask),
        ("background_video", names.background),
    ):
        link = embeds.links.get(name)
        trail = graph.walk(link, SAME_IMAGE)
        if setting != "mask" and trail and trail[-1].kind in VIDEOS:
            ready[setting] = trail[-1]
        elif link is not None and video is None:
            video = _nearest(graph, link, VIDEOS)
    return video or ready.pop("background_video", None), ready


def _stretch(graph: Graph, video: Node, info: media.VideoInfo | None, found: Import) -> None:
    """Take which frames VideoHelperSuite's loader picks."""

    def number(widget: str, setting: str) -> float:
        value = graph.value(video, widget)
        if value is None and widget in video.links:
            found.not_mapped.append(f"{video}.{widget}: it is computed; set {setting} yourself")
        return value or 0

    forced, nth = number("force_rate", "fps"), int(number("select_every_nth", "fps") or 1)
    skipped, cap = number("skip_first_frames", "start_s"), int(number("frame_load_cap", "max_frames"))
    rate = Fraction(str(forced)) if forced else info.fps if info else None
    unknown = "the video's rate is not known, as the video was not found; run this again with --driving_video"
    if nth > 1 and rate is None:
        found.not_mapped.append(f"{video}.select_every_nth = {nth}: {unknown}")
    elif rate is not None and (nth > 1 or forced):
        fps, source = rate / nth, f"{video}.force_rate = {short(forced)}"
        found.put("fps", _param(fps), source if nth == 1 else f"{source}, select_every_nth = {nth}")
    if skipped and rate is None:
        found.not_mapped.append(f"{video}.skip_first_frames = {short(skipped)}: {unknown}")
    elif skipped:
        found.put("start_s", round(float(skipped / rate), 6), f"{video}.skip_first_frames = {short(skipped)}")  # type: ignore[operator]
    start = number("start_time", "start_s")
    if start:
        found.put("start_s", start, f"{video}.start_time = {short(start)}")
    if cap:
        found.put("max_frames", cap, f"{video}.frame_load_cap = {cap}")


def _param(fps: Fraction) -> int | float | str:
    """Return a rate as a params file holds it: exact, and as short as that allows."""
    if fps.denominator == 1:
        return fps.numerator
    return float(fps) if Fraction(str(float(fps))) == fps else str(fps)


def _file(
    graph: Graph, setting: str, node: Node | None, folders: Iterable[Path], given: Path | None, found: Import
) -> Path | None:
    """Take a file that a node loads, or `given`; return its path if it is there."""
    if given is not None:
        found.put(setting, params_path(given), f"--{setting} = {given.name}")
        return given
    if node is None:
        if setting in ("driving_video", "reference_image"):
            found.put(
                setting,
                "video.mp4" if setting == "driving_video" else "character.png",
                f"the workflow names no file as {setting}",
            )
            found.to_fill[setting] = f"the workflow names no file; write its path here, or give --{setting}"
        return None
    widget = (VIDEOS | IMAGES)[node.kind]
    named = str(graph.value(node, widget) or "")
    text = re.sub(r" \[(input|output|temp)\]$", "", named)  # ComfyUI's mark of the folder
    base = PureWindowsPath(text).name if "\\" in text else PurePosixPath(text).name
    base = "" if base in (".", "..") else base
    places = [below(folder, part) for folder in folders for part in dict.fromkeys((text, base)) if base]
    path = next((place for place in places if place is not None and place.is_file()), None)
    if path is not None:
        found.put(setting, params_path(path), where(node, widget, named))
    elif found.put(setting, base or setting, where(node, widget, named)):
        places_said = " or ".join(dict.fromkeys(folder.name or str(folder) for folder in folders))
        found.to_fill[setting] = (
            f"{base or 'the file'} is not in {places_said}; write its path here, or give --{setting}"
        )
    return path


def below(folder: Path, name: str) -> Path | None:
    """Return the path of a file that a workflow names, None where it leads out of the folder: workflows come from others."""
    if "\0" in name:
        return None
    path = Path(os.path.normpath(folder / name))
    return path if path.is_relative_to(folder) else None


def _nearest(graph: Graph, link: Link, kinds: Iterable[str]) -> Node | None:
    """Return the nearest node of these kinds that a link depends on."""
    ahead, seen = [link.node], set()
    while ahead:
        name = ahead.pop(0)
        node = graph.nodes.get(name)
        if node is None or name in seen:
            continue
        if node.kind in kinds:
            return node
        seen.add(name)
        ahead += [onward.node for onward in node.links.values()]
    return None


def take_size_and_length(graph: Graph, chain: list[Node], video: media.VideoInfo | None, found: Import) -> None:
    """Take the size, the segments and the number of frames."""
    first = chain[0]
    names = EMBEDS[first.kind]
    _take_size(graph, first, video, found)
    length, total = graph.value(first, names.window), None
    cap = found.values.get("max_frames")
    if names.frames is not None:  # Kijai's: a loop over windows in one node
        total = graph.value(first, names.frames)
        total = total and (total - 1) // 4 * 4 + 1  # as the node does
        length = length and min(length, total or length)
        found.put(
            "prev_segment_conditioning_frames", KIJAI_OVERLAP, f"{first}: the overlap of its windows = {KIJAI_OVERLAP}"
        )
    elif length is None and cap and names.window in first.links:  # the number of frames that were loaded
        length = cap
    segment = _take_segment(first, length, found)
    source = f"{first}.{names.frames} = {total}"
    if names.frames is None:
        total, source = segment, f"{first}.{names.window} = {length}"
    if len(chain) > 1 and total:
        total += _frames_added(graph, chain[1:], total, found)
        source = f"{len(chain)} {first.kind} in a row = {total} frames"
    if total and (not cap or total < cap):
        found.put("max_frames", total, source)


def _take_size(graph: Graph, first: Node, video: media.VideoInfo | None, found: Import) -> None:
    width, height = (graph.value(first, name) for name in ("width", "height"))
    if not width or not height:
        found.not_mapped.append(f"{first}.width, height: they are computed; set resolution yourself")
        return
    found.put("resolution", f"{width} {height}", f"{first}.width, height = {width}, {height}")
    shape = "video's" if found.values["mode"] == "replace" else "reference's"
    size = ""
    if shape == "video's" and video is not None:
        size = ", {1}x{0}".format(*resize.area_size(video.height, video.width, width * height))
    found.notes.append(
        f"resolution is an area in wanlab, the result has the {shape} shape{size}; ComfyUI makes {width}x{height} (width x height)"
    )


def _take_segment(first: Node, length: int | None, found: Import) -> int | None:
    """Take the length of a segment, in frames; return it as 4n + 1, None where it is computed."""
    names = EMBEDS[first.kind]
    if length is None:
        whole = (
            ""
            if names.frames
            else ", as a rule from the video's number of frames, all of which ComfyUI makes in one piece"
        )
        found.not_mapped.append(
            f"{first}.{names.window}: it is computed{whole}; wanlab works in segments of the checkpoint's length, else set segment_frame_length"
        )
        return None
    segment, source = (length - 1) // 4 * 4 + 1, f"{first}.{names.window} = {length}"
    most = json.loads(checkpoints.SETTINGS_14B.read_text(encoding="utf-8"))["limits"]["segment_frame_length"][1]
    if segment > most:
        found.not_mapped.append(
            f"{source}: Wan2.2-Animate-14B takes segments of {most} frames at most in wanlab; it works in those of the checkpoint"
        )
    else:
        found.put("segment_frame_length", segment, source)
    return segment


def _frames_added(graph: Graph, later: Sequence[Node], first_length: int, found: Import) -> int:
    """Take what nodes in a row take over from each other; return how many frames those after the first add."""
    overlaps = [graph.value(node, "continue_motion_max_frames") or 0 for node in later]
    found.put(
        "prev_segment_conditioning_frames", overlaps[0], where(later[0], "continue_motion_max_frames", overlaps[0])
    )
    lengths = [graph.value(node, EMBEDS[later[0].kind].window) or first_length for node in later]
    return sum(length - overlap for length, overlap in zip(lengths, overlaps, strict=True))


def take_mask(
    graph: Graph,
    embeds: Node,
    video: media.VideoInfo | None,
    comfyui_dir: Path | None,
    folders: Sequence[Path],
    found: Import,
) -> None:
    """Take the chain of the mask, what finds the person, and the points."""
    trail = graph.walk(embeds.links[EMBEDS[embeds.kind].mask], MASK_STEPS)
    steps = [node for node in reversed(trail) if node.kind in MASK_STEPS]
    parts, sources = [], []
    for node in steps:
        widget = "block_size" if node.kind == "BlockifyMask" else "expand"
        value = graph.value(node, widget)
        if value is None:
            found.not_mapped.append(f"{node}.{widget}: it is computed; add the step to mask_chain yourself")
            continue
        sources.append(where(node, widget, value))
        if node.kind == "BlockifyMask":
            parts.append(f"blockify:{value}")
        elif value:
            parts.append(f"{'grow' if graph.value(node, 'tapered_corners') is not False else 'square'}:{value}")
        parts += ["fill"] if graph.value(node, "fill_holes") is True else []
    found.put("mask_chain", ",".join(parts), ", ".join(sources) or f"{embeds}: no node changes the mask = {len(steps)}")
    maker = trail[-1] if trail and trail[-1].kind not in MASK_STEPS else None
    if maker is None:
        found.not_mapped.append(f"{embeds}: nothing makes its mask; wanlab finds the person by itself, see mask_source")
        return
    loaded = graph.walk(maker.links.get("image"), SAME_IMAGE) if maker.kind == "ImageToMask" else [maker]
    if loaded and loaded[-1].kind in VIDEOS:
        _file(graph, "mask_source", loaded[-1], folders, None, found)
        return
    model = graph.nodes.get(maker.links["sam2_model"].node) if "sam2_model" in maker.links else None
    if model is not None:
        _sam2(graph, model, comfyui_dir, found)
    _points(graph, maker, video, found)


def _sam2(graph: Graph, model: Node, comfyui_dir: Path | None, found: Import) -> None:
    name = str(graph.value(model, "model"))
    places = [below(comfyui_dir / "models" / folder, name) for folder in ("sam2", "sams")] if comfyui_dir else []
    path = next((place for place in places if place is not None and place.is_file()), None)
    if path is not None:
        found.put("sam_checkpoint", params_path(path), where(model, "model", name))
    else:
        found.not_mapped.append(
            f"{where(model, 'model', name)}: the file was not found, sam_checkpoint stays auto (full-size SAM2 weights where there are "
            "any); give --comfyui_dir, or name the file as sam_checkpoint"
        )


def _points(graph: Graph, maker: Node, video: media.VideoInfo | None, found: Import) -> None:
    """Take the points and boxes that mark the person for `maker`, into pixels of the working clip."""
    asked = [maker]
    if maker.kind == "Sam2VideoSegmentation":  # each of a row of nodes adds the points of one frame and object
        asked = graph.walk(
            maker.links.get("inference_state"), {"Sam2VideoSegmentationAddPoints": "prev_inference_state"}
        )[::-1]
    images = next((node.links[name] for node in asked for name in ("image", "frames") if name in node.links), None)
    trail = graph.walk(images, SAME_IMAGE)
    geometry = points.follow(graph, trail, video.height, video.width) if video else None
    size = geometry.size if geometry else points.known_size(graph, trail)
    clicks: list[Click] = []
    boxes: list[Box] = []
    for node in asked:
        drawn, size = _drawn(graph, node, size, found)
        clicks += drawn.clicks
        boxes += drawn.boxes
    if not clicks and not boxes:
        return
    prompts, lost = Prompts(tuple(clicks), tuple(boxes)), 0
    assert size is not None
    if geometry and video is not None:
        area = found.values.get("resolution")
        prompts, size, lost = points.place(prompts, geometry, video, area)
    else:
        found.notes.append(
            "how the video became the frames that were clicked on is not known: the points are right if the video has their "
            "shape; else run this again with --driving_video"
        )
    if lost:
        found.notes.append(
            f"{lost} of the points and boxes lie outside the video, where ComfyUI had padded it; they are left out"
        )
    if prompts.clicks or prompts.boxes:
        found.prompts, found.canvas = prompts, size
        found.values["mask_source"] = "points"  # `write` puts the file's name


def _drawn(
    graph: Graph, node: Node, size: tuple[int, int] | None, found: Import
) -> tuple[Prompts, tuple[int, int] | None]:
    """Take the points and boxes that an editor gives a node.

    Args:
        graph: of the workflow.
        node: that gets the prompts for the person.
        size: (height, width) in pixels of the frames that were clicked on; None: the first editor's canvas.
        found: that gets notes.

    Returns:
        the prompts in pixels of those frames, and their size once it is known.
    """
    sources = {name: graph.nodes[link.node] for name, link in node.links.items() if link.node in graph.nodes}
    outputs = {
        link.slot: sources[name]
        for name, link in node.links.items()
        if name in sources and sources[name].kind == "PointsEditor"
    }
    for name, link in node.links.items():
        if name in sources and sources[name].kind == "PoseAndFaceDetection":
            _detected(node, name, link.slot, found)
    if not outputs:
        return Prompts(()), size
    editor = next(iter(outputs.values()))
    canvas = (int(graph.value(editor, "height") or 512), int(graph.value(editor, "width") or 512))
    size = size or canvas
    try:
        drawn = points.prompts(editor, set(outputs), size)
    except ValueError as error:
        found.not_mapped.append(f"{error}; wanlab finds the person by itself, see mask_source")
        return Prompts(()), size
    if graph.value(node, "individual_objects") is True:
        drawn = points.as_objects(drawn)
    frame, number = int(graph.value(node, "frame_index") or 0), int(graph.value(node, "object_index") or 0)
    found.sources["mask_source"] = f"{editor} = {drawn.describe()}"
    found.notes += points.remarks(editor, set(outputs), canvas, size)
    clicks = (click._replace(frame=frame, object=click.object + number) for click in drawn.clicks)
    boxes = (box._replace(frame=frame, object=box.object + number) for box in drawn.boxes)
    return Prompts(tuple(clicks), tuple(boxes)), size


def _detected(node: Node, name: str, slot: int, found: Import) -> None:
    """Note which prompts SAM2 gets from Kijai's pose detection."""
    if slot == 2:  # key_frame_body_points
        found.put("mask_source", "keypoints", f"{node}.{name} = body points of PoseAndFaceDetection")
        found.notes.append(
            f"{node}: ComfyUI gives SAM2 the points of the last key frame as those of the first; wanlab gives each key frame its own"
        )
    else:
        found.not_mapped.append(
            f"{node}.{name}: SAM2 gets the detector's box in the first frame as its prompt; wanlab has no such source: mask_source stays auto "
            "(keypoints where SAM2's weights are), or give a points file with that box"
        )
