"""A ComfyUI workflow for Wan-Animate, read into wanlab's settings; what has no counterpart is named, never dropped.

`read` gives an `Import`, `write` its params file and points file. What is known of each node is in `nodes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from wanlab import config, files, media
from wanlab.comfyui.graph import Graph, Link, Node, read_graph
from wanlab.comfyui.nodes import (
    CORE_SHIFT,
    EMBEDS,
    FEW,
    FEW_STEPS,
    MODELS,
    NEUTRAL,
    NO_COUNTERPART,
    PICKERS,
    SAMPLERS,
    SAVING,
    SCHEDULES,
    SOLVERS,
    STRENGTHS,
    TEXTS,
    UNKNOWN,
    WEIGHTS,
    WITHOUT_EFFECT,
)
from wanlab.comfyui.report import Import, at, one_line, params_path, short, take, where
from wanlab.comfyui.settings import below, take_files, take_mask, take_mode, take_size_and_length
from wanlab.files import targets
from wanlab.mask import prompts


def read(
    workflow: Path,
    *,
    comfyui_dir: Path | None = None,
    driving_video: Path | None = None,
    reference_image: Path | None = None,
) -> Import:
    """Read a ComfyUI workflow for Wan-Animate.

    Args:
        workflow: JSON in either of ComfyUI's formats, or a PNG or video that ComfyUI made.
        comfyui_dir: ComfyUI's folder; videos and images are looked for in its `input`, SAM2's weights in its `models`.
        driving_video, reference_image: taken instead of those that the workflow names.

    Raises:
        FileNotFoundError: if a file that was named here does not exist.
        config.SettingsError: no workflow, a damaged one, or one without Wan-Animate.
    """
    graph = read_graph(workflow)
    comfyui_dir = comfyui_dir and comfyui_dir.expanduser().resolve()
    folders = [workflow.resolve().parent, *([comfyui_dir / "input", comfyui_dir] if comfyui_dir else [])]
    if comfyui_dir is not None and not comfyui_dir.is_dir():
        raise FileNotFoundError(
            f"comfyui_dir must be a folder, got {comfyui_dir}; name the one that holds input/ and models/"
        )
    for name, path in (("driving_video", driving_video), ("reference_image", reference_image)):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{name} must be a file, got {path}; check the path")
    found = Import()
    chain, relevant = _generation(graph, found)
    first = chain[0]
    take_mode(graph, first, found)
    video = take_files(graph, first, folders, driving_video, reference_image, found)
    take_size_and_length(graph, chain, video, found)
    for strength in STRENGTHS:
        if first.values.get(strength, 1) != 1 or strength in first.links:
            take(graph, first, strength, strength, found)
    if found.values["mode"] == "replace":
        take_mask(graph, first, video, comfyui_dir, folders, found)
    sampler = _sampler(graph, chain, found)
    if sampler is not None:
        _sampling(graph, sampler, found, workflow.suffix.lower() == ".json")
        _prompts(graph, first, sampler, found)
    _take_loras(graph, relevant, comfyui_dir, found)
    _rest(graph, first, relevant, video, found)
    return found


def default_out(workflow: Path) -> Path:
    """Return the params file that a workflow becomes where none is named: in `params/` of the project."""
    name = re.sub(r"[^\w.-]+", "_", workflow.stem).strip("._") or "comfyui"
    return config.project_root() / "params" / f"{name}.yaml"


def write(
    found: Import, out: Path | str, workflow: Path, *, overwrite: bool = False, given: Sequence[Path] = ()
) -> list[Path]:
    """Write the params file and, where points were clicked, the points file beside it; return what was written.

    `mask_source` of `found` becomes the points file.

    Args:
        found: what `read` gave.
        out: the params file, `.yaml`, as it was typed; in a folder it is named as the workflow.
        workflow: where it was read, named in the file.
        overwrite: replace files of an earlier import, as it left them.
        given: files that are never replaced.

    Raises:
        config.SettingsError: if `out` is no `.yaml`, or a file is there already that may not be replaced.
    """
    keep = targets.Kept({path.name: path for path in (workflow, *given)})
    inside = default_out(workflow).name
    params = targets.File("out", str(out), (".yaml", ".yml"), inside, keep, remedy="another name")
    out = params.check()
    clicked = targets.File("out", str(points_file(out)), (".json",), None, keep, remedy="another name")
    made = [out, *([clicked.check()] if found.prompts else [])]
    there = next((path for path in made if path.exists()), None)
    if there is not None and not overwrite:
        raise config.SettingsError(f"out must not exist yet, got {there}; use --overwrite, or --out with another name")
    if found.prompts is not None:
        found.values["mask_source"] = params_path(points_file(out))
    lines = [
        f"# wanlab pipeline -f {params_path(out)}",
        f"# Read from ComfyUI's {one_line(workflow.name)} by wanlab params from-comfyui.",
    ]
    for name, value in found.values.items():
        source = found.sources[name].split(" = ")[0] if name == "prompt" else found.sources[name]
        comment = f"to fill in: {found.to_fill[name]}" if name in found.to_fill else source
        lines.append(f"{_yaml(name, value)}  # {one_line(comment)}")
    if found.not_mapped:
        lines += ["", "# Not mapped:", *(f"# - {one_line(line)}" for line in found.missing())]
    try:
        if found.prompts is not None:
            with clicked.writing() as part:
                prompts.write_prompts(part, found.prompts, *found.canvas)
        with params.writing() as part:
            files.write_text(part, "\n".join(lines) + "\n")
    except OSError as error:
        raise config.SettingsError(
            f"out must be a place that can be written, got {out}: {error.strerror}; use --out"
        ) from None
    return made


def points_file(out: Path) -> Path:
    """Return where the points of the params file `out` go."""
    return out.with_name(f"{out.stem}_points.json")


def _yaml(name: str, value: Any) -> str:
    import yaml

    if isinstance(value, str) and (not value or "\n" in value):  # on one line, so that a comment can follow
        return f"{name}: {json.dumps(value, ensure_ascii=False)}"
    return yaml.safe_dump({name: value}, allow_unicode=True, width=10**9).strip()


def _generation(graph: Graph, found: Import) -> tuple[list[Node], list[Node]]:
    """Return the nodes that hand the model its material, in the order of the clip, and all nodes that their result needs."""
    embeds = [node for node in graph.nodes.values() if node.kind in EMBEDS]
    if not embeds:
        known = " or ".join(list(EMBEDS)[:2])
        off = next((kind for kind in graph.off if kind in EMBEDS), None)
        what = f"one whose {off} is muted or bypassed" if off else f"one of {len(graph.nodes)} other nodes"
        raise config.SettingsError(
            f"workflow must be for Wan-Animate, with a node {known}, got {what}; switch it on in ComfyUI, or name another file"
        )
    before = {node.id: graph.upstream(node.id) for node in embeds}
    starts = [node for node in embeds if not any(other.id in before[node.id] for other in embeds if other is not node)]
    fed = {link.node for node in graph.nodes.values() for link in node.links.values()}
    ends = {node.id: graph.upstream(node.id) for node in graph.nodes.values() if node.id not in fed}
    saving = [name for name in ends if _saves(graph.nodes[name])]
    starts = sorted(
        starts, key=lambda node: not any(node.id in ends[name] for name in saving)
    )  # stable: else in the file's order
    start = starts[0]
    for other in starts[1:]:
        found.not_mapped.append(
            f"{other}: a second generation in the same workflow; a params file describes one, here {start}: mute the first to read this one"
        )
    mine = [name for name in ends if start.id in ends[name]]
    mine = [name for name in mine if name in saving] or mine
    relevant = graph.upstream(*mine) if mine else graph.upstream(start.id)
    chain = [node for node in embeds if node.id in relevant and (node is start or start.id in before[node.id])]
    chain = sorted(chain, key=lambda node: sum(other.id in before[node.id] for other in chain))
    return chain, [node for node in graph.nodes.values() if node.id in relevant]


def _saves(node: Node) -> bool:
    return node.kind in SAVING or (node.kind == "VHS_VideoCombine" and bool(node.values.get("save_output")))


def _sampler(graph: Graph, chain: list[Node], found: Import) -> Node | None:
    """Return the sampler that starts from the first of `chain`; name the others."""
    sampler = None
    for i, embeds in enumerate(chain):
        stop = frozenset(node.id for node in chain if node is not embeds)
        near = [graph.nodes[name] for name in graph.downstream(embeds.id, stop) if graph.nodes[name].kind in SAMPLERS]
        near = sorted(near, key=lambda node: sum(other.id in graph.upstream(node.id) for other in near))
        if not near:
            found.not_mapped.append(
                f"{embeds}: no sampler that wanlab knows works on it; set num_inference_steps, guidance_scale, shift and seed yourself"
            )
            continue
        if i == 0:
            sampler = near[0]
        elif sampler is not None:
            _compare(graph, sampler, near[0], found)
        for other in near[1:]:
            after = near[0].id in graph.upstream(other.id)
            what = "works on from the result of" if after else "takes the same material as"
            found.not_mapped.append(
                f"{other}: a second sampler, which {what} {near[0]}; wanlab has one, its settings are those of the first"
            )
    return sampler


def _compare(graph: Graph, first: Node, other: Node, found: Import) -> None:
    """Say where the sampler of a later segment differs from the first one's."""
    for setting, path in SAMPLERS[first.kind].items():
        mine = graph.value(*at(graph, first, path))
        theirs = graph.value(*at(graph, other, SAMPLERS[other.kind].get(setting, "")))
        if mine != theirs:
            found.not_mapped.append(
                f"{other} {SAMPLERS[other.kind].get(setting, setting).split('/')[-1]} = {short(theirs)}: wanlab makes all segments with one {setting}, here {short(mine)}"
            )


def _sampling(graph: Graph, sampler: Node, found: Import, saved: bool) -> None:
    """Take steps, guidance, shift, seed and solver."""
    for setting, path in SAMPLERS[sampler.kind].items():
        node, widget = at(graph, sampler, path)
        if setting == "solver" and node is not None:
            value = graph.value(node, widget)
            if value is not None:
                found.put(setting, SOLVERS.get(value, value), where(node, widget, value))
                if value == "dpmpp_2m":
                    found.notes.append(
                        f"{where(node, widget, value)}: taken as the official dpm++, whose steps differ a little from ComfyUI's"
                    )
        elif not (setting == "seed" and _take_large_seed(graph, node, widget, found)):
            take(graph, node, widget, setting, found)
        after = node.values.get("control_after_generate", "fixed") if node else "fixed"
        if setting == "seed" and saved and after != "fixed":
            found.notes.append(
                f"{node}.{widget} is set to {after}: a saved workflow holds the next seed, the PNG or video of a result its own"
            )
    if "shift" in SAMPLERS[sampler.kind]:
        return
    schedule, _ = at(graph, sampler, "sigmas/scheduler")
    schedule = schedule or sampler
    name = schedule.values.get("scheduler")
    if name in SCHEDULES:
        found.put("sigma_schedule", name, where(schedule, "scheduler", name))
    elif name is not None:
        found.not_mapped.append(
            f"{where(schedule, 'scheduler', name)}: sigma_schedule must be {' or '.join(SCHEDULES)}, or linear as the official code; use linear"
        )
    guider, _ = at(graph, sampler, "guider/model")
    start = next((node for node in (schedule, guider, sampler) if node and "model" in node.links), None)
    models = graph.walk(start.links["model"], {node.kind: "model" for node in graph.nodes.values()}) if start else []
    shifted = next((node for node in models if node.kind == "ModelSamplingSD3"), None)
    if shifted is not None:
        take(graph, shifted, "shift", "shift", found)
    else:
        found.put("shift", CORE_SHIFT, f"{sampler}: no ModelSamplingSD3 before it, ComfyUI's own shift = {CORE_SHIFT}")


def _take_large_seed(graph: Graph, node: Node | None, widget: str, found: Import) -> bool:
    """Take a seed that ComfyUI has and wanlab has not, folded into those that both have; return whether it was one."""
    seed = graph.value(node, widget)
    if node is None or not isinstance(seed, int) or not 2**63 <= seed < 2**64:
        return False
    found.put("seed", seed - 2**63, where(node, widget, seed))
    found.notes.append(
        f"{where(node, widget, seed)}: wanlab's seeds end at 2^63 - 1, so 2^63 less is taken: {seed - 2**63}; "
        "the noise of a seed is another one in ComfyUI anyway"
    )
    return True


def _prompts(graph: Graph, embeds: Node, sampler: Node, found: Import) -> None:
    """Take the prompt; note what happens to the negative one."""
    settings, _ = at(graph, sampler, "sampler_inputs/text_embeds")
    holders = [node for node in (embeds, settings, sampler) if node is not None]
    for i, (setting, side) in enumerate((("prompt", "positive"), ("negative_prompt", "negative"))):
        links = (node.links.get(name) for node in holders for name in (side, "text_embeds"))
        node = _text(graph, next((link for link in links if link), None), side)
        if node is None and setting == "prompt":
            found.not_mapped.append(
                f"{embeds}: no text is connected as its {side} prompt; wanlab takes its own, set prompt yourself"
            )
        if node is None:
            continue
        zeros = node.kind == "ConditioningZeroOut"
        widget = "conditioning" if zeros else TEXTS[node.kind][i]
        text = "" if zeros else graph.value(node, widget)
        if not isinstance(text, str):
            found.not_mapped.append(f"{node}.{widget}: it is computed; set {setting} yourself")
            continue
        source = where(node, widget, "zeros" if zeros else text)
        if setting == "prompt":
            found.put(setting, text, source)
            if node.kind == "CLIPTextEncode" and re.search(r"\([^()]+:[\d.]+\)", text):
                found.not_mapped.append(
                    f"{node}.{widget}: weights such as (word:1.2); wanlab takes the text as it is: take them out"
                )
        elif setting in config.GenerateSettings.model_fields:
            found.put(setting, text, source)
        elif " ".join(text.split()) == config.NEGATIVE_PROMPT:
            continue
        elif found.values.get("guidance_scale", 1) == 1:
            found.not_mapped.append(f"{source}: a negative prompt has no effect at guidance_scale 1")
        else:
            found.not_mapped.append(f"{source}: wanlab always takes the official negative prompt")


def _text(graph: Graph, link: Link | None, side: str) -> Node | None:
    """Return the node that holds the text behind a conditioning, on the positive or the negative side."""
    other = {"positive": ("neg", "nag_"), "negative": ("positive",)}[side]  # beginnings of the other side's inputs
    seen: set[str] = set()
    while link is not None and link.node in graph.nodes and link.node not in seen:
        seen.add(link.node)
        node = graph.nodes[link.node]
        if node.kind in TEXTS or node.kind == "ConditioningZeroOut":
            return node
        onward = {name: to for name, to in node.links.items() if not name.startswith(other)}
        if (
            len(onward) < len(node.links) or node.kind in EMBEDS
        ):  # a node with two sides: what is not connected is not the other one
            onward = {name: to for name, to in onward.items() if side in name or "text_embeds" in name}
        link = next((onward[name] for name in (side, "conditioning", *onward) if name in onward), None)
    return None


def _take_loras(graph: Graph, relevant: list[Node], comfyui_dir: Path | None, found: Import) -> None:
    """Take the LoRAs that change the model, each with its strength."""
    named = [(node, name, strength) for node in relevant for name, strength in _loras(graph, node)]
    texts, absent = [], []
    for _, name, strength in named:
        name = name.replace("\\", "/")
        path = below(comfyui_dir / "models" / "loras", name) if comfyui_dir else None
        is_here = path is not None and path.is_file()
        absent += [] if is_here else [PurePosixPath(name).name]
        texts.append(f"{params_path(path) if path is not None and is_here else PurePosixPath(name).name}:{strength:g}")
    source = ", ".join(f"{node} {short(name)} at {strength:g}" for node, name, strength in named)
    if named and found.put(config.LORA, ",".join(texts), source) and absent:
        found.to_fill[config.LORA] = (
            f"{', '.join(absent)} not found in ComfyUI's models/loras; write the path here, or give --comfyui_dir"
        )
        if found.values.get("num_inference_steps", FEW_STEPS) < FEW_STEPS:
            found.notes.append(FEW)


def _rest(graph: Graph, first: Node, relevant: list[Node], video: media.VideoInfo | None, found: Import) -> None:
    """Name every other node and widget that has an effect on the result."""
    before = graph.upstream(first.id)
    for node in relevant:
        for widget, (harmless, reason) in NEUTRAL.get(node.kind, {}).items():
            value = graph.value(node, widget)
            if value is not None and value not in harmless:
                found.not_mapped.append(f"{where(node, widget, value)}: {reason}")
        if node.kind in MODELS:
            widget = MODELS[node.kind]
            found.not_mapped.append(f"{where(node, widget, graph.value(node, widget))}: {WEIGHTS}")
        elif node.kind in NO_COUNTERPART:
            found.not_mapped.append(f"{node}: {NO_COUNTERPART[node.kind]}")
        elif node.kind in PICKERS and node.id in before:
            found.not_mapped.append(f"{node}: it picks frames; set start_s and max_frames yourself")
        elif node.kind == "PoseAndFaceDetection" and "retarget_image" in node.links:
            found.put("retarget", True, f"{node}.retarget_image = connected")
        elif node.kind not in WITHOUT_EFFECT and "lora" not in node.kind.lower() and not node.is_constant():
            found.not_mapped.append(f"{node}: {UNKNOWN}")
        _rate(graph, node, video, found)


def _rate(graph: Graph, node: Node, video: media.VideoInfo | None, found: Import) -> None:
    """Say where a result is played at another rate than the frames were taken at."""
    rate = graph.value(node, {"VHS_VideoCombine": "frame_rate", "CreateVideo": "fps"}.get(node.kind, ""))
    taken = found.values.get("fps") or (video.fps if video else None)
    kept = float(Fraction(str(taken))) if taken else None
    if rate and (kept is None or abs(kept - rate) > 0.01):
        found.not_mapped.append(
            f"{node} plays {rate:g} frames per second: wanlab keeps {'the rate of the video' if kept is None else f'{kept:g}'}, "
            "so that the result moves as fast as the video"
        )


def _loras(graph: Graph, node: Node) -> list[tuple[str, float]]:
    """Return name and strength of the LoRAs of a node, those that are switched on."""
    if "lora" not in node.kind.lower():
        return []
    found = []
    for name, value in node.values.items():
        if isinstance(value, dict) and value.get("lora") and value.get("on", True):  # rgthree's
            found.append((str(value["lora"]), float(value.get("strength") or 0)))
        elif isinstance(value, str) and re.fullmatch(r"lora(_name)?(_\d+)?", name) and value.lower() != "none":
            number = re.sub(r"\D", "", name)
            names = (f"strength_{number}", "strength", "strength_model")
            strength = next((one for key in names if (one := graph.value(node, key)) is not None), 1)
            found.append((value, float(strength)))
    return [(name, strength) for name, strength in found if strength]
