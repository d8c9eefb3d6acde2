"""ComfyUI workflows as plain graphs: out of JSON, PNG and video files, in both of ComfyUI's formats.

The *prompt* format (what ComfyUI runs and its API takes) names every value. The *graph* format (what the browser saves)
holds widgets by position, and nodes that only exist on screen: reroutes, Get and Set, primitives, subgraphs, nodes that
are muted or bypassed. Both become the same `Graph`, in which only what would run is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import config, media

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".gif")
REMEDY = "use a workflow saved by ComfyUI (.json), or a PNG or video that it made and nothing converted since"
MUTED, BYPASSED = 2, 4  # a node's `mode`; 0 is on
INPUTS, OUTPUTS = -10, -20  # the ends of a subgraph, as its links name them
AFTER_SEED = ("fixed", "increment", "decrement", "randomize")  # a widget of the browser's alone, behind each seed
ON_SCREEN = ("Note", "MarkdownNote", "Reroute", "GetNode", "SetNode", "PrimitiveNode")
CONSTANTS = ("value", "string")  # the widget of a node that only holds a value
FIRST_INPUT = ("Reroute (rgthree)", "Any Switch (rgthree)")  # they hand on the first input that is connected
SWITCHES = {  # node: the widget that chooses between its inputs on_true and on_false
    "Switch any [Crystools]": "boolean",
    "Switch image [Crystools]": "boolean",
    "Switch mask [Crystools]": "boolean",
    "ComfySwitchNode": "switch",
}
_SAMPLER = ("steps", "cfg", "shift", "seed", "force_offload", "scheduler", "riflex_freq_index", "denoise_strength",
            "batched_cfg", "rope_function", "start_step", "end_step", "add_noise_to_samples")  # fmt: skip
_EMBEDS = ("width", "height", "num_frames", "force_offload", "frame_window_size")
_LORAS = tuple(name for i in range(5) for name in (f"lora_{i}", f"strength_{i}"))
WIDGETS: dict[str, tuple[str, ...]] = {  # the order in which the graph format holds each node's widgets
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "BlockifyMask": ("block_size", "device"),
    "CFGGuider": ("cfg",),
    "CLIPTextEncode": ("text",),
    "CLIPVisionEncode": ("crop",),
    "CreateVideo": ("fps",),
    "DiffusionModelLoaderKJ": ("model_name", "weight_dtype", "compute_dtype"),
    "DownloadAndLoadSAM2Model": ("model", "segmentor", "device", "precision"),
    "DrawMaskOnImage": ("color", "device"),
    "DrawViTPose": ("width", "height", "retarget_padding", "body_stick_width", "hand_stick_width", "draw_head"),
    "FloatConstant": ("value",),
    "GrowMask": ("expand", "tapered_corners"),
    "GrowMaskWithBlur": (
        "expand", "incremental_expandrate", "tapered_corners", "flip_input", "blur_radius", "lerp_alpha", "decay_factor", "fill_holes",
    ),
    "INTConstant": ("value",),
    "ImageResizeKJv2": (
        "width", "height", "upscale_method", "keep_proportion", "pad_color", "crop_position", "divisible_by", "device",
    ),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "KSamplerSelect": ("sampler_name",),
    "LoadImage": ("image",),
    "LoadVideo": ("file",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "ModelSamplingSD3": ("shift",),
    "PointsEditor": (
        "points_store", "coordinates", "neg_coordinates", "bbox_store", "bboxes", "bbox_format", "width", "height", "normalize",
    ),
    "PoseAndFaceDetection": ("width", "height", "face_padding"),
    "PrimitiveBoolean": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "RandomNoise": ("noise_seed",),
    "Sam2Segmentation": ("keep_model_loaded", "individual_objects"),
    "Sam2VideoSegmentationAddPoints": ("frame_index", "object_index"),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "StringConstant": ("string",),
    "StringConstantMultiline": ("string", "strip_newlines"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "WanAnimateToVideo": ("width", "height", "length", "batch_size", "continue_motion_max_frames", "video_frame_offset"),
    "WanVideoAnimateEmbeds": (*_EMBEDS, "colormatch", "pose_strength", "face_strength", "tiled_vae"),
    "AdaptiveWanVideoAnimateEmbeds": (
        *_EMBEDS, "adaptive_window_mode", "colormatch", "pose_strength", "face_strength", "tiled_vae",
    ),
    "WanVideoClipVisionEncode": ("strength_1", "strength_2", "crop", "combine_embeds", "force_offload", "tiles", "ratio"),
    "WanVideoLoraSelect": ("lora", "strength", "low_mem_load", "merge_loras"),
    "WanVideoLoraSelectMulti": (*_LORAS, "low_mem_load", "merge_loras"),
    "WanVideoModelLoader": ("model", "base_precision", "quantization", "load_device", "attention_mode", "rms_norm_function"),
    "WanVideoSampler": _SAMPLER,
    "WanVideoSamplerSettings": _SAMPLER,
    "WanVideoSamplerv2": ("cfg", "seed", "force_offload", "add_noise_to_samples"),
    "WanVideoScheduler": ("scheduler", "steps", "shift", "start_step", "end_step"),
    "WanVideoSchedulerv2": ("scheduler", "steps", "shift", "start_step", "end_step"),
    "WanVideoTextEncode": ("positive_prompt", "negative_prompt", "force_offload", "use_disk_cache", "device"),
    "WanVideoTextEncodeCached": (
        "model_name", "precision", "positive_prompt", "negative_prompt", "quantization", "use_disk_cache", "device",
    ),
    "WanVideoTextEncodeSingle": ("prompt", "force_offload", "use_disk_cache", "device"),
    **{kind: (widget,) for kind, widget in SWITCHES.items()},
}  # fmt: skip


class Link(NamedTuple):
    """Where an input comes from.

    Attributes:
        node: id of the node.
        slot: number of its output.
    """

    node: str
    slot: int


class Node(NamedTuple):
    """A node that would run.

    Attributes:
        id: as ComfyUI writes it; in a subgraph with the ids of the nodes around it, `232:63`.
        kind: its class.
        title: as the user sees it.
        values: by widget.
        links: by input.
    """

    id: str
    kind: str
    title: str
    values: dict[str, Any]
    links: dict[str, Link]

    def __str__(self) -> str:
        title = "".join(c for c in " ".join(self.title.split())[:60] if c.isprintable())
        return f"{title} (#{self.id})" + (f" {self.kind}" if self.kind != self.title else "")

    def is_constant(self) -> bool:
        """Return whether the node only holds a value, or hands one on."""
        return set(self.links) <= set(CONSTANTS) and any(name in (*self.values, *self.links) for name in CONSTANTS)


class Graph(NamedTuple):
    """A workflow.

    Attributes:
        nodes: those that would run, by id.
        off: classes of the nodes that are muted or bypassed.
    """

    nodes: dict[str, Node]
    off: tuple[str, ...] = ()

    def value(self, node: Node | None, widget: str) -> Any:
        """Return a widget's value, through the nodes that feed it if they hold constants; None if there is none or it is computed."""
        seen: set[str] = set()
        while node is not None and node.id not in seen:
            seen.add(node.id)
            if widget in node.values:
                value = node.values[widget]
                return round(value, 6) if isinstance(value, float) else value  # a slider's 1.0000000000000002
            link = node.links.get(widget)
            node = self.nodes.get(link.node) if link else None
            if node is not None and not node.kind.startswith(
                "WanVideoScheduler"
            ):  # its outputs are named as its widgets
                names = [name for name in CONSTANTS if name in node.values or name in node.links]
                if not names or set(node.links) - set(names):
                    return None
                widget = names[0]
        return None

    def upstream(self, *start: str) -> set[str]:
        """Return the ids of all nodes that `start` depends on, with `start` itself."""
        found: set[str] = set()
        ahead = list(start)
        while ahead:
            node = ahead.pop()
            if node not in found and node in self.nodes:
                found.add(node)
                ahead += [link.node for link in self.nodes[node].links.values()]
        return found

    def downstream(self, start: str, stop: frozenset[str] = frozenset()) -> list[str]:
        """Return the ids of all nodes that depend on `start`, nearest first, without it; not those behind `stop`."""
        found: dict[str, None] = {start: None}
        ahead = [start]
        while ahead:
            here = ahead.pop(0)
            for node in self.nodes.values():
                if node.id not in found and node.id not in stop and here in {link.node for link in node.links.values()}:
                    found[node.id] = None
                    ahead.append(node.id)
        return list(found)[1:]

    def walk(self, link: Link | None, onward: Mapping[str, str]) -> list[Node]:
        """Return the nodes from `link` up to the first that `onward` (node kind: the input to go on with) leaves out."""
        found: list[Node] = []
        while link is not None and link.node in self.nodes and self.nodes[link.node] not in found:
            found.append(self.nodes[link.node])
            link = found[-1].links.get(onward.get(found[-1].kind, ""))
        return found


def read_graph(path: Path) -> Graph:
    """Read the workflow in a file: JSON, the text chunks of a PNG, or the tags of a video's container.

    Where a file holds both formats, the prompt is taken: it is what ran.

    Raises:
        FileNotFoundError: if there is no such file.
        config.SettingsError: no ComfyUI workflow is in it, or a damaged one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"workflow must be a file, got {path}, which does not exist; check the path")
    suffix = path.suffix.lower()
    if suffix in VIDEOS or suffix == ".png":
        tags = _png_texts(path) if suffix == ".png" else _video_tags(path)
        texts = [tags.get(name, "") for name in ("prompt", "workflow", "comment")]
        texts = [text for text in texts if text.lstrip().startswith("{")]  # a comment may be about anything
        if not texts:
            raise config.SettingsError(
                f"workflow must be in the file's metadata (prompt, workflow or comment), got {path.name} without; {REMEDY}"
            )
    else:
        texts = [path.read_text(encoding="utf-8-sig", errors="replace")]
    for text in texts:
        graph = _parse(text, path.name)
        if graph is not None and graph.nodes:
            return graph
    raise config.SettingsError(
        f"workflow must hold ComfyUI's nodes ({{'nodes': …}} or {{'1': {{'class_type': …}}}}), got none in {path.name}; {REMEDY}"
    )


def _png_texts(path: Path) -> dict[str, str]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return {str(name): text for name, text in image.info.items() if isinstance(text, str)}
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise config.SettingsError(
            f"workflow must be a complete PNG, got {path.name}, which cannot be read; {REMEDY}"
        ) from None


def _video_tags(path: Path) -> dict[str, str]:
    try:
        return media.read_tags(path)
    except ValueError as error:
        raise config.SettingsError(str(error)) from None


def _parse(text: str, name: str) -> Graph | None:
    """Return the graph that a text holds, None where it is JSON of something else."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise config.SettingsError(f"workflow must be JSON, got {name}, which breaks off: {error}; {REMEDY}") from None
    try:
        return _graph(content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise config.SettingsError(
            f"workflow must be as ComfyUI writes it, got {name}, in which {error!r} does not fit; open it in ComfyUI and save it again"
        ) from None
    except RecursionError:
        raise config.SettingsError(
            f"workflow must not lead in a circle, got one that does in {name}; {REMEDY}"
        ) from None


def _graph(content: Any) -> Graph | None:
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("nodes"), list):
        return _from_graph_format(content)
    if any(isinstance(node, dict) and "class_type" in node for node in content.values()):
        return _from_prompt_format(content)
    for name in ("prompt", "workflow"):  # as posted to ComfyUI's API, or as VideoHelperSuite's comment has it
        inner = content.get(name)
        graph = _graph(json.loads(inner) if isinstance(inner, str) else inner)
        if graph is not None:
            return graph
    return None


def _from_prompt_format(content: dict[str, Any]) -> Graph:
    nodes: dict[str, Node] = {}
    for key, raw in content.items():
        if not isinstance(raw, dict) or "class_type" not in raw:
            continue
        values: dict[str, Any] = {}
        links: dict[str, Link] = {}
        for name, value in (raw.get("inputs") or {}).items():
            if isinstance(value, list) and len(value) == 2 and str(value[0]) in content and isinstance(value[1], int):
                links[name] = Link(str(value[0]), value[1])
            else:  # ComfyUI wraps a list that is a value
                values[name] = value["__value__"] if isinstance(value, dict) and "__value__" in value else value
        kind = str(raw["class_type"])
        nodes[key] = Node(key, kind, str((raw.get("_meta") or {}).get("title") or kind), values, links)
    return _without_switches(Graph(nodes))


class _Scope(NamedTuple):
    """One level of the graph format: the whole workflow, or the inside of a subgraph's node.

    Attributes:
        host: the subgraph's node, None for the whole workflow.
        outer: the level that holds it.
    """

    nodes: dict[str, Any]
    links: dict[int, tuple[int, int]]  # link: the node and slot where it begins
    content: dict[str, Any]
    definitions: dict[str, Any]
    prefix: str = ""
    outer: _Scope | None = None
    host: dict[str, Any] | None = None

    @classmethod
    def of(cls, content: dict[str, Any], definitions: dict[str, Any], **where: Any) -> _Scope:
        nodes = {str(raw["id"]): raw for raw in content["nodes"]}
        links: dict[int, tuple[int, int]] = {}
        for link in content.get("links") or ():
            if isinstance(link, dict):
                links[link["id"]] = (link["origin_id"], link["origin_slot"])
            elif link:
                links[link[0]] = (link[1], link[2])
        return cls(nodes, links, content, definitions, **where)

    def inside(self, host: dict[str, Any]) -> _Scope:
        content = self.definitions[host["type"]]
        return _Scope.of(content, self.definitions, prefix=f"{self.prefix}{host['id']}:", outer=self, host=host)


class _Constant(NamedTuple):
    """A value that comes through a link."""

    value: Any


def _from_graph_format(content: dict[str, Any]) -> Graph:
    definitions = {raw["id"]: raw for raw in (content.get("definitions") or {}).get("subgraphs") or ()}
    nodes: dict[str, Node] = {}
    off: list[str] = []
    for scope, raw in _expand(_Scope.of(content, definitions)):
        if raw.get("mode") in (MUTED, BYPASSED):
            off.append(str(raw["type"]))
            continue
        values = _widgets(raw)
        links: dict[str, Link] = {}
        for given in _inputs(raw):
            name = (given.get("widget") or given)["name"]
            found = _source(scope, given.get("link"))
            if isinstance(found, _Constant):
                values[name] = found.value
            elif found is not None:
                links[name] = found
                values.pop(name, None)
        node = scope.prefix + str(raw["id"])
        nodes[node] = Node(node, str(raw["type"]), str(raw.get("title") or raw["type"]), values, links)
    return _without_switches(Graph(nodes, tuple(off)))


def _expand(scope: _Scope) -> Iterator[tuple[_Scope, dict[str, Any]]]:
    """Yield all nodes that are more than a sign on the screen, with those inside subgraphs."""
    for raw in scope.nodes.values():
        if raw["type"] in scope.definitions and raw.get("mode") not in (MUTED, BYPASSED):
            yield from _expand(scope.inside(raw))
        elif raw["type"] not in ON_SCREEN:
            yield scope, raw


def _inputs(raw: dict[str, Any]) -> list[dict[str, Any]]:
    return raw.get("inputs") or []


def _widgets(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a node's widgets by name; those of an unknown node that does not name them itself by number."""
    stored = raw.get("widgets_values") or []
    if isinstance(stored, dict):
        return dict(stored)
    names = WIDGETS.get(raw["type"])
    if names is None:
        names = tuple(given["widget"]["name"] for given in _inputs(raw) if given.get("widget"))
        seeds = sum(name in ("seed", "noise_seed") for name in names)
        if len(names) not in (len(stored), len(stored) - seeds):
            names = tuple(map(str, range(len(stored))))
    values: dict[str, Any] = {}
    rest = list(stored)
    for name in names:
        if not rest:
            break
        values[name] = rest.pop(0)
        if name in ("seed", "noise_seed") and rest and rest[0] in AFTER_SEED:
            values["control_after_generate"] = rest.pop(0)
    return values


def _source(scope: _Scope, link: int | None) -> Link | _Constant | None:
    """Return what a link of the graph format brings, through everything that only exists on screen."""
    if link is None or link not in scope.links:
        return None
    origin, slot = scope.links[link]
    if origin == INPUTS:
        return _promoted(scope, slot)
    raw = scope.nodes.get(str(origin))
    if raw is None or raw.get("mode") == MUTED:
        return None
    kind = raw["type"]
    if raw.get("mode") == BYPASSED:
        return _source(scope, _bypass(raw, slot))
    if kind in ("Reroute", "SetNode"):
        return _source(scope, next((given.get("link") for given in _inputs(raw)), None))
    if kind == "GetNode":
        return _set_elsewhere(scope, raw["widgets_values"][0])
    if kind == "PrimitiveNode":
        return _Constant(raw["widgets_values"][0])
    if kind in scope.definitions:
        inner = scope.inside(raw)
        ends = inner.content.get("outputs") or []
        name = raw["outputs"][slot]["name"]  # a node may show fewer outputs than its subgraph has
        end = next((end for end in ends if end["name"] == name), ends[slot] if slot < len(ends) else {})
        return _source(inner, next(iter(end.get("linkIds") or ()), None))
    return Link(scope.prefix + str(origin), slot)


def _promoted(scope: _Scope, slot: int) -> Link | _Constant | None:
    """Return what the subgraph's input `slot` is given from outside: a link, or a widget of the subgraph's node."""
    assert scope.host is not None
    assert scope.outer is not None
    name = scope.content["inputs"][slot]["name"]
    link = next((given.get("link") for given in _inputs(scope.host) if given["name"] == name), None)
    found = _source(scope.outer, link)
    if found is not None:
        return found
    stored = scope.host.get("widgets_values")
    stored = stored if isinstance(stored, list) else []
    proxies = (scope.host.get("properties") or {}).get("proxyWidgets")
    if proxies:  # -1: of an input; else of a node inside, which holds its value itself
        names = [proxy[1] if str(proxy[0]) == "-1" else None for proxy in proxies]
    else:
        fed = {given.get("link") for raw in scope.nodes.values() for given in _inputs(raw) if given.get("widget")}
        names = [end["name"] for end in scope.content["inputs"] if fed & set(end.get("linkIds") or ())]
        if len(names) != len(stored):
            return None
    value = dict(zip(names, stored, strict=False)).get(name)
    return None if value is None else _Constant(value)


def _set_elsewhere(scope: _Scope, name: str) -> Link | _Constant | None:
    """Return what the SetNode of this name is given, here or in a level above."""
    level: _Scope | None = scope
    while level is not None:
        for raw in level.nodes.values():
            if raw["type"] == "SetNode" and (raw.get("widgets_values") or [None])[0] == name:
                given = next((given.get("link") for given in _inputs(raw)), None)
                return None if raw.get("mode") == MUTED else _source(level, given)
        level = level.outer
    return None


def _bypass(raw: dict[str, Any], slot: int) -> int | None:
    """Return the link that a bypassed node hands on: its input of the output's type, at the same place if that fits."""
    kind = raw["outputs"][slot]["type"]
    inputs = _inputs(raw)
    ordered = [*inputs[slot : slot + 1], *inputs]
    return next((given.get("link") for given in ordered if given["type"] == kind), None)


def _without_switches(graph: Graph) -> Graph:
    """Return the graph with links that lead to what a switch or reroute chooses."""

    def chosen(link: Link) -> Link | None:
        seen = set()
        while link.node in graph.nodes and link.node not in seen:
            seen.add(link.node)
            node = graph.nodes[link.node]
            if node.kind in FIRST_INPUT:
                onward = next(iter(node.links.values()), None)
            elif node.kind in SWITCHES and SWITCHES[node.kind] in node.values:
                onward = node.links.get("on_true" if node.values[SWITCHES[node.kind]] else "on_false")
            else:
                break
            if onward is None:
                return None
            link = onward
        return link

    nodes = {}
    for name, node in graph.nodes.items():
        links = {key: found for key, link in node.links.items() if (found := chosen(link)) is not None}
        nodes[name] = node._replace(links=links)
    return graph._replace(nodes=nodes)
