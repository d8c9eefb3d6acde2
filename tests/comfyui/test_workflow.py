"""Workflows of ComfyUI: both formats in every wrapping, what becomes a setting, where the points land, what is named as lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wanlab import comfyui, config, media
from wanlab.cli import flags, main
from wanlab.comfyui import report
from wanlab.comfyui.graph import read_graph
from wanlab.mask import prompts
from wanlab.media import resize

ON, MUTED, BYPASSED = 0, 2, 4


class Flow:
    """A workflow in the browser's format, built node by node; the nodes are our own, in ComfyUI's form."""

    def __init__(self, first: int = 1) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []
        self.next = first

    def add(
        self, kind: str, widgets: Any = (), *, outputs: str = "*", mode: int = ON, title: str = "", **inputs: Any
    ) -> int:
        """Add a node; inputs by name: a node, or (node, slot). An input that feeds a widget starts with `w_`."""
        node = {
            "id": self.next, "type": kind, "mode": mode, "widgets_values": widgets if isinstance(widgets, dict) else list(widgets),
            "outputs": [{"name": name, "type": name} for name in outputs.split()], "inputs": [], "title": title or kind,
        }  # fmt: skip
        for name, source in inputs.items():
            slot = {"name": name.removeprefix("w_"), "type": name.split("_")[0].upper(), "link": None}
            if name.startswith("w_"):
                slot["widget"] = {"name": slot["name"]}
            if source is not None:
                self.links.append(
                    [
                        len(self.links) + 1,
                        *(source if isinstance(source, tuple) else (source, 0)),
                        self.next,
                        len(node["inputs"]),
                        "*",
                    ]
                )
                slot["link"] = len(self.links)
            node["inputs"].append(slot)
        self.nodes.append(node)
        self.next += 1
        return node["id"]

    def save(self, path: Path, **more: Any) -> Path:
        path.write_text(json.dumps(self.content(**more)))
        return path

    def content(self, **more: Any) -> dict[str, Any]:
        return {"nodes": self.nodes, "links": self.links, "version": 0.4, **more}


def editor(
    clicks: list[tuple[float, float]],
    against: list[tuple[float, float]] = (),
    canvas: tuple[int, int] = (640, 640),
    box: Any = None,
) -> list[Any]:  # type: ignore[assignment]
    """Return PointsEditor's widgets as it stores them: texts; canvas is (width, height)."""
    positive, negative = ([{"x": x, "y": y} for x, y in some] for some in (clicks, against))
    boxes = json.dumps([box or {}])
    store = json.dumps({"positive": positive, "negative": negative})
    return [store, json.dumps(positive), json.dumps(negative), boxes, boxes, "xyxy", *canvas, False, "", None]


def native(
    flow: Flow, *, mode: int = ON, clicks: Any = None, animate: bool = False, film: str = "dance.mp4", lora: int = ON
) -> int:
    """Add a line of ComfyUI's own nodes: load, crop, click, grow, sample, save; return the sampler."""
    loaded = flow.add("GetVideoComponents", video=flow.add("LoadVideo", [film, "image"]))
    width, height = (flow.add("PrimitiveInt", [640, "fixed"], title=name) for name in ("Width", "Height"))
    frames = flow.add("ImageScale", ["lanczos", 512, 512, "center"], image=loaded, w_width=width, w_height=height)
    pose = flow.add("DWPreprocessor", ["enable", "enable", "disable"], image=frames)
    face = flow.add("DWPreprocessor", ["disable", "disable", "enable"], image=frames)
    given: dict[str, Any] = {}
    if not animate:
        points_ = flow.add("PointsEditor", clicks or editor([(320.4, 319.6)], [(0, 0)]), bg_image=frames)
        sam = flow.add("DownloadAndLoadSAM2Model", ["sam2_hiera_base_plus.safetensors", "video", "cuda", "fp16"])
        mask = flow.add("Sam2Segmentation", [True, False], sam2_model=sam, image=frames, coordinates_positive=points_)
        mask = flow.add("BlockifyMask", [32, "cpu"], masks=flow.add("GrowMask", [10, True], mask=mask))
        given = {
            "character_mask": mask,
            "background_video": flow.add("DrawMaskOnImage", ["0, 0, 0", "cpu"], image=frames, mask=mask),
        }
    model = flow.add("UNETLoader", ["Wan2_2-Animate-14B_fp8_scaled.safetensors", "default"], outputs="MODEL")
    model = flow.add(
        "LoraLoaderModelOnly", ["lightx2v_distill.safetensors", 1.2], outputs="MODEL", model=model, mode=lora
    )
    model = flow.add("ModelSamplingSD3", [8.000000000000002], outputs="MODEL", model=model)
    clip = flow.add("CLIPLoader", ["umt5.safetensors", "wan"])
    picture = flow.add("LoadImage", ["hero.png", "image"])
    embeds = flow.add(
        "WanAnimateToVideo", [640, 640, 77, 1, 5, 0], positive=flow.add("CLIPTextEncode", ["she dances"], clip=clip),
        negative=flow.add("CLIPTextEncode", ["blurry"], clip=clip), vae=flow.add("VAELoader", ["wan_2.1_vae.safetensors"]),
        clip_vision_output=flow.add("CLIPVisionEncode", ["none"], image=picture), reference_image=picture, face_video=face, pose_video=pose,
        w_width=width, w_height=height, **given,
    )  # fmt: skip
    sampler = flow.add(
        "KSampler", [7, "randomize", 6, 1.0, "uni_pc", "simple", 1], model=model, positive=embeds, negative=(embeds, 1), latent_image=(embeds, 2)
    )  # fmt: skip
    video = flow.add("CreateVideo", [16], images=flow.add("VAEDecode", samples=sampler))
    flow.add("SaveVideo", ["video/ComfyUI", "auto", "auto"], video=video, mode=mode)
    return sampler


NATIVE = {
    "mode": "replace", "reference_image": "hero.png", "driving_video": "dance.mp4", "resolution": "640 640", "segment_frame_length": 77,
    "max_frames": 77, "mask_chain": "grow:10,blockify:32", "mask_source": "points", "num_inference_steps": 6, "guidance_scale": 1.0, "seed": 7,
    "solver": "unipc", "sigma_schedule": "simple", "shift": 8.0, "prompt": "she dances", "lora": "lightx2v_distill.safetensors:1.2",
}  # fmt: skip


def kijai(flow: Flow, loader: dict[str, Any] | None = None, sampler: tuple[Any, ...] = (4, 1, 5, 42, "fixed", True, "unipc", 0, 1, "", "comfy", 0, -1, False)) -> dict[str, int]:  # fmt: skip
    """Add a line of Kijai's nodes, wired through Set and Get; return some of them by name."""
    width = flow.add("PrimitiveNode", [832, "fixed"])
    height = flow.add("INTConstant", [480])
    flow.add("SetNode", ["height"], INT=height)
    film = flow.add(
        "VHS_LoadVideo",
        {"video": "dance.mp4", "force_rate": 16, "custom_width": 960, "custom_height": 544, "frame_load_cap": 0, "skip_first_frames": 0, "select_every_nth": 1, **(loader or {})},
        w_custom_width=width, w_custom_height=height,
    )  # fmt: skip
    flow.add("SetNode", ["film"], IMAGE=flow.add("Reroute", inputs=film))
    frames = flow.add("GetNode", ["film"])
    count = flow.add("GetNode", ["frame count"])
    flow.add("SetNode", ["frame count"], INT=(film, 1))
    detected = flow.add(
        "PoseAndFaceDetection", [832, 480], model=flow.add("OnnxDetectionModelLoader", ["vitpose-l.onnx", "yolov10m.onnx", "CUDA"]), images=frames
    )  # fmt: skip
    mask = flow.add("Sam2Segmentation", [False, False], image=frames, coordinates_positive=(detected, 2))
    mask = flow.add("GrowMaskWithBlur", [6, 0, False, False, 2.5, 1, 1, True], mask=mask)
    loras = ["none", 1, "relight.safetensors", 0.8, "none", 1, "none", 1, "none", 1, False, False]
    model = flow.add(
        "WanVideoModelLoader", ["Wan2_2-Animate-14B_fp8.safetensors", "fp16", "disabled", "offload_device", "sageattn"]
    )
    model = flow.add("WanVideoSetLoRAs", model=model, lora=flow.add("WanVideoLoraSelectMulti", loras))
    text = flow.add(
        "WanVideoTextEncodeCached",
        ["umt5", "bf16", "she\nwalks: #slowly", config.NEGATIVE_PROMPT, "disabled", False, "gpu"],
    )
    embeds = flow.add(
        "WanVideoAnimateEmbeds", [832, 480, 501, False, 77, "mkl", 1, 0.8, False], clip_embeds=flow.add("WanVideoClipVisionEncode", [1, 1]),
        ref_images=flow.add("ImageResizeKJv2", [832, 480, "lanczos", "pad", "0, 0, 0", "top", 16, "cpu"], image=flow.add("LoadImage", ["hero.png"])),
        pose_images=flow.add("DrawViTPose", [832, 480, 16, -1, -1, "True"], pose_data=detected), face_images=(detected, 1),
        bg_images=flow.add("DrawMaskOnImage", ["0, 0, 0"], image=frames, mask=mask), mask=mask,
        w_width=width, w_height=flow.add("GetNode", ["height"]), w_num_frames=count,
    )  # fmt: skip
    sampled = flow.add("WanVideoSampler", sampler, model=model, image_embeds=embeds, text_embeds=text)
    result = flow.add("WanVideoDecode", [False, 272, 272, 144, 128], samples=sampled)
    flow.add("VHS_VideoCombine", {"frame_rate": 16, "save_output": True}, images=result)
    return {"film": film, "embeds": embeds, "sampler": sampled, "detected": detected, "result": result}


def read(flow: Flow, folder: Path, **how: Any) -> report.Import:
    return comfyui.read(flow.save(folder / "flow.json"), **how)


def has(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def api(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a workflow of the graph format as ComfyUI would run it, by our own reader."""
    path = folder / "for_api.json"
    path.write_text(json.dumps(content))
    graph = read_graph(path)
    return {
        name: {"class_type": node.kind, "inputs": {**node.values, **{key: list(link) for key, link in node.links.items()}}, "_meta": {"title": node.title}}
        for name, node in graph.nodes.items()
    }  # fmt: skip


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Write a video of 640x360 (width x height), 20 frames at 24 frames per second."""
    frames = np.zeros((20, 360, 640, 3), np.uint8)
    frames[:, 100:104, 500:504] = 255
    media.write_video(tmp_path / "dance.mp4", frames, Fraction(24))
    return tmp_path / "dance.mp4"


# What becomes a setting


def test_comfyui_s_own_nodes_become_settings(tmp_path: Path) -> None:
    flow = Flow()
    native(flow)
    found = read(flow, tmp_path)
    assert found.values == NATIVE
    assert found.sources["num_inference_steps"] == "KSampler (#24).steps = 6"
    assert found.sources["mask_chain"] == "GrowMask (#11).expand = 10, BlockifyMask (#12).block_size = 32"
    assert set(found.to_fill) == {"driving_video", "reference_image", "lora"}
    assert found.sources["lora"] == "LoraLoaderModelOnly (#15) lightx2v_distill.safetensors at 1.2"
    assert found.prompts == prompts.Prompts(
        (prompts.Click(0, 320, 320, True),)
    )  # whole pixels; the unconnected (0, 0) is left out
    assert found.canvas == (640, 640)
    missing = found.missing()
    assert has(missing, "Wan2_2-Animate-14B_fp8_scaled", "wanlab models link names ComfyUI's files")
    assert has(missing, "DWPreprocessor (#6), DWPreprocessor (#7)", "pose_video")
    assert has(missing, "sam2_hiera_base_plus.safetensors", "--comfyui_dir")
    assert has(missing, "CLIPTextEncode (#20)", "blurry", "no effect at guidance_scale 1")
    assert has(missing, "CreateVideo", "plays 16 frames per second", "the rate of the video")
    assert len(missing) == 5
    assert has(found.notes, "neg_coordinates are not connected")
    assert has(found.notes, "so few steps are enough with a distillation LoRA alone")
    assert has(found.notes, "seed is set to randomize")
    assert has(found.notes, "run this again with --driving_video")


def test_kijai_s_nodes_become_settings(tmp_path: Path) -> None:
    flow = Flow()
    kijai(flow, {"select_every_nth": 2, "skip_first_frames": 8, "frame_load_cap": 120})
    found = read(flow, tmp_path)
    assert found.values == {
        "mode": "replace", "reference_image": "hero.png", "driving_video": "dance.mp4", "fps": 8, "start_s": 0.5, "max_frames": 120,
        "resolution": "832 480", "prev_segment_conditioning_frames": 1, "segment_frame_length": 77, "mask_chain": "square:6,fill",
        "mask_source": "keypoints", "num_inference_steps": 4, "guidance_scale": 1, "shift": 5, "seed": 42, "solver": "unipc",
        "prompt": "she\nwalks: #slowly", "face_strength": 0.8, "lora": "relight.safetensors:0.8",
    }  # fmt: skip
    missing = found.missing()
    for parts in (
        ("blur_radius = 2.5", "masks are hard"),
        ("colormatch = mkl", "colour_hold true matches later segments"),
        ("attention_mode = sageattn", "PyTorch"),
        ("ImageResizeKJv2", "the reference's size"),
        ("OnnxDetectionModelLoader", "models/detection"),
        ("Wan2_2-Animate-14B_fp8.safetensors", "models link"),
        ("VHS_VideoCombine", "plays 16 frames per second", "keeps 8"),
    ):
        assert has(missing, *parts), parts
    assert len(missing) == 7  # the official negative prompt is wanlab's own: nothing is lost
    assert has(found.notes, "points of the last key frame")


def test_the_prompt_format_says_the_same_as_the_graph_format(tmp_path: Path) -> None:
    for build in (native, kijai):
        flow = Flow()
        build(flow)
        graph = read(flow, tmp_path)
        prompt = api(flow.content(), tmp_path)
        for name, content in {"bare": prompt, "posted": {"client_id": "x", "prompt": prompt}}.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
            found = comfyui.read(tmp_path / f"{name}.json")
            assert (found.values, found.sources, found.prompts) == (graph.values, graph.sources, graph.prompts)
            assert sorted(found.missing()) == sorted(graph.missing())


def test_values_that_the_prompt_format_wraps_and_links_to_other_nodes_are_told_apart(tmp_path: Path) -> None:
    nodes = {
        "1": {"class_type": "X", "inputs": {"a": {"__value__": ["1", 0]}, "b": ["1", 0], "c": ["9", 0], "d": [1, 2, 3]}}
    }
    (tmp_path / "x.json").write_text(json.dumps(nodes))
    node = read_graph(tmp_path / "x.json").nodes["1"]
    assert node.values == {"a": ["1", 0], "c": ["9", 0], "d": [1, 2, 3]}
    assert node.links == {"b": ("1", 0)}


@pytest.mark.parametrize(
    "kind",
    [
        "SamplerCustomAdvanced",
        "SamplerCustom",
        "KSamplerAdvanced",
        "WanVideoSamplerv2",
        "WanVideoSamplerFromSettings",
        "scheduler",
    ],
)
def test_every_sampler_is_read(kind: str, tmp_path: Path) -> None:
    flow = Flow()
    numbers = (4, 1, 5, 42, "fixed", True, "unipc", 0, 1, "", "comfy", 0, -1, False)
    if kind.startswith("WanVideo") or kind == "scheduler":
        made = kijai(flow)
        old = next(node for node in flow.nodes if node["id"] == made["sampler"])
        model, embeds, text = (flow.links[given["link"] - 1][1] for given in old["inputs"])
        flow.nodes.remove(old)
        flow.nodes = [node for node in flow.nodes if node["type"] not in ("WanVideoDecode", "VHS_VideoCombine")]
        links = {"model": model, "image_embeds": embeds, "text_embeds": text}
        plan = flow.add("WanVideoScheduler", ["unipc", 4, 5.0, 0, -1])
        if kind == "scheduler":
            sampled = flow.add(
                "WanVideoSampler",
                (30, 1, 9, 42, "fixed", True, "euler"),
                **links,
                w_steps=(plan, 1),
                w_shift=(plan, 2),
                w_scheduler=(plan, 3),
            )
        elif kind == "WanVideoSamplerv2":
            sampled = flow.add(kind, (1, 42, "fixed", True, False), **links, scheduler=plan)
        else:
            sampled = flow.add(kind, sampler_inputs=flow.add("WanVideoSamplerSettings", numbers, **links))
        flow.add("VHS_VideoCombine", {"frame_rate": 16, "save_output": True}, images=sampled)
        expected = {
            "num_inference_steps": 4,
            "guidance_scale": 1,
            "shift": 5,
            "seed": 42,
            "solver": "unipc",
            "prompt": "she\nwalks: #slowly",
        }
    else:
        sampler = native(flow)
        old = next(node for node in flow.nodes if node["id"] == sampler)
        model, positive, *_ = (flow.links[given["link"] - 1][1] for given in old["inputs"])
        flow.nodes.remove(old)
        flow.nodes = [node for node in flow.nodes if node["type"] not in ("VAEDecode", "CreateVideo", "SaveVideo")]
        links = {"positive": positive, "negative": (positive, 1), "latent_image": (positive, 2)}
        sigmas = flow.add("BasicScheduler", ["simple", 4, 1], model=model)
        solver = flow.add("KSamplerSelect", ["uni_pc"])
        if kind == "SamplerCustomAdvanced":
            guider = flow.add("CFGGuider", [1], model=model, positive=positive)
            noise = flow.add("RandomNoise", [42, "fixed"])
            sampled = flow.add(
                kind, noise=noise, guider=guider, sampler=solver, sigmas=sigmas, latent_image=(positive, 2)
            )
        elif kind == "SamplerCustom":
            sampled = flow.add(kind, ["enable", 42, "fixed", 1], model=model, **links, sampler=solver, sigmas=sigmas)
        else:
            sampled = flow.add(
                kind, ["enable", 42, "fixed", 4, 1, "uni_pc", "simple", 0, 10000, "disable"], model=model, **links
            )
        flow.add("SaveVideo", video=sampled)
        expected = {
            "num_inference_steps": 4,
            "guidance_scale": 1,
            "shift": 8,
            "seed": 42,
            "solver": "unipc",
            "sigma_schedule": "simple",
            "prompt": "she dances",
        }
    values = read(flow, tmp_path).values
    assert {name: values.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("sampler", "scheduler", "solver", "schedule"),
    [
        ("euler", "simple", "euler", "simple"),
        ("lcm", "normal", "lcm", "normal"),
        ("dpmpp_2m", "beta", "dpm++", None),
    ],
)
def test_samplers_and_schedulers_become_solver_and_schedule(
    sampler: str, scheduler: str, solver: str, schedule: str | None, tmp_path: Path
) -> None:
    flow = Flow()
    native(flow)
    next(node for node in flow.nodes if node["type"] == "KSampler")["widgets_values"][4:6] = sampler, scheduler
    found = read(flow, tmp_path)
    assert (found.values["solver"], found.values.get("sigma_schedule")) == (solver, schedule)
    assert has(found.missing(), "scheduler = beta", "sigma_schedule must be simple or normal") == (schedule is None)
    assert any("dpmpp_2m: taken as the official dpm++" in note for note in found.notes) == (sampler == "dpmpp_2m")


def test_without_modelsamplingsd3_the_shift_is_comfyui_s_own(tmp_path: Path) -> None:
    flow = Flow()
    native(flow)
    shifted = next(node for node in flow.nodes if node["type"] == "ModelSamplingSD3")
    shifted["mode"] = BYPASSED
    found = read(flow, tmp_path)
    assert found.values["shift"] == 8.0
    assert "no ModelSamplingSD3" in found.sources["shift"]


@pytest.mark.parametrize(
    ("widgets", "line"),
    [
        ((4, 1, 5, 2**64, "fixed", True, "unipc"), ("seed must be less than", str(2**64))),
        ((4, 0.5, 5, 1, "fixed", True, "unipc"), ("guidance_scale must be at least 1, got 0.5",)),
        ((4, 1, 5, 1, "fixed", True, "dpm++_sde"), ("solver must be one of 'unipc', 'dpm++', 'euler' or 'lcm', got 'dpm++_sde'",)),
        ((4, 1, 50, 1, "fixed", True, "unipc"), ("shift must be at most 30, got 50",)),
        ((4, 1, 5, 1, "fixed", True, "unipc", 6), ("riflex_freq_index = 6", "RIFLEx")),
        ((4, 1, 5, 1, "fixed", True, "unipc", 0, 0.7), ("denoise_strength = 0.7", "starts from noise")),
    ],
)  # fmt: skip
def test_what_wanlab_does_not_offer_is_named_with_the_rule(
    widgets: tuple[Any, ...], line: tuple[str, ...], tmp_path: Path
) -> None:
    flow = Flow()
    kijai(flow, sampler=widgets)
    found = read(flow, tmp_path)
    assert has(found.missing(), "WanVideoSampler (#19)", *line) or has(found.missing(), *line)


def test_an_unknown_node_on_the_way_is_named_and_one_aside_is_not(tmp_path: Path) -> None:
    flow = Flow()
    made = kijai(flow)
    flow.add("MagicGlow", [3], images=made["film"])  # leads nowhere near the result
    flow.add(
        "VHS_VideoCombine",
        {"frame_rate": 16, "save_output": True},
        images=flow.add("RIFE VFI", frames=flow.add("MagicBlur", [3], images=made["result"])),
    )
    missing = read(flow, tmp_path).missing()
    assert has(missing, "MagicBlur", "wanlab does not know this node")
    assert has(missing, "RIFE VFI", "does not make frames in between")
    assert not has(missing, "MagicGlow")


# Nodes that are switched off, and detours


def test_a_bypassed_lora_has_no_effect_and_is_not_listed(tmp_path: Path) -> None:
    flow = Flow()
    native(flow, lora=BYPASSED)
    found = read(flow, tmp_path)
    assert found.values == {name: value for name, value in NATIVE.items() if name != "lora"}
    assert not has(found.missing(), "LoRA")


def test_loras_are_found_in_comfyui_s_folder(tmp_path: Path) -> None:
    loras = tmp_path / "ComfyUI" / "models" / "loras" / "wan"
    loras.mkdir(parents=True)
    (loras / "one.safetensors").write_bytes(b"")
    flow = Flow()
    loaded = flow.add("LoraLoaderModelOnly", ["wan\\one.safetensors", 0.5], outputs="MODEL")
    native(flow)
    lora = next(node for node in flow.nodes if node["type"] == "LoraLoaderModelOnly" and node["id"] != loaded)
    lora["widgets_values"] = ["../../../one.safetensors", -1]
    link = next(link for link in flow.links if link[3] == lora["id"])
    link[1] = loaded
    next(node for node in flow.nodes if node["id"] == loaded)["outputs"] = [{"name": "MODEL", "links": [link[0]]}]
    found = read(flow, tmp_path, comfyui_dir=tmp_path / "ComfyUI")
    assert found.values["lora"] == f"{loras / 'one.safetensors'}:0.5,one.safetensors:-1"
    assert found.to_fill["lora"].startswith("one.safetensors not found in ComfyUI's models/loras")


def test_what_a_muted_node_would_give_is_not_there(tmp_path: Path) -> None:
    flow = Flow()
    made = kijai(flow)
    options = flow.add("WanVideoContextOptions", ["static_standard", 81, 4, 32, True, False, "linear"], mode=MUTED)
    sampler = next(node for node in flow.nodes if node["id"] == made["sampler"])
    flow.links.append([len(flow.links) + 1, options, 0, made["sampler"], 3, "*"])
    sampler["inputs"].append({"name": "context_options", "type": "*", "link": len(flow.links)})
    assert not has(read(flow, tmp_path).missing(), "WanVideoContextOptions")
    flow.nodes[-1]["mode"] = ON
    assert has(read(flow, tmp_path).missing(), "WanVideoContextOptions", "context windows")


def test_switches_of_other_packs_are_followed(tmp_path: Path) -> None:
    flow = Flow()
    made = kijai(flow)
    yes, no = flow.add("INTConstant", [81]), flow.add("INTConstant", [33])
    chosen = flow.add("Switch any [Crystools]", [False], on_true=yes, on_false=no)
    first = flow.add("Any Switch (rgthree)", any_01=None, any_02=chosen)
    embeds = next(node for node in flow.nodes if node["id"] == made["embeds"])
    flow.links.append([len(flow.links) + 1, first, 0, made["embeds"], 9, "*"])
    embeds["inputs"].append(
        {"name": "frame_window_size", "type": "INT", "widget": {"name": "frame_window_size"}, "link": len(flow.links)}
    )
    assert read(flow, tmp_path).values["segment_frame_length"] == 33


def subgraph(*, outer: Any, proxies: Any = None, inner: int = 9) -> tuple[Flow, dict[str, Any]]:
    """Return a workflow whose sampler is inside a subgraph, with `outer` as the widgets of the subgraph's node."""
    flow = Flow()
    native(flow)
    sampler = next(node for node in flow.nodes if node["type"] == "KSampler")
    at = flow.nodes.index(sampler)
    definition = {
        "id": "0000-aaaa", "name": "Sample",
        "inputs": [{"name": name, "type": "*", "linkIds": [i + 1]} for i, name in enumerate(("model", "positive", "negative", "latent", "how many", "seed"))],
        "outputs": [{"name": "LATENT", "type": "LATENT", "linkIds": [9]}],
        "nodes": [{
            "id": 5, "type": "KSampler", "mode": 0, "widgets_values": [3, "fixed", inner, 1.0, "uni_pc", "simple", 1],
            "inputs": [
                *({"name": name, "type": "*", "link": i + 1} for i, name in enumerate(("model", "positive", "negative", "latent_image"))),
                {"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": 5}, {"name": "seed", "type": "INT", "widget": {"name": "seed"}, "link": 6},
            ],
            "outputs": [{"name": "LATENT", "type": "LATENT", "links": [9]}],
        }],
        "links": [
            *({"id": i + 1, "origin_id": -10, "origin_slot": i, "target_id": 5, "target_slot": i, "type": "*"} for i in range(6)),
            {"id": 9, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "LATENT"},
        ],
    }  # fmt: skip
    host = {**sampler, "type": "0000-aaaa", "widgets_values": outer, "outputs": [{"name": "LATENT", "type": "LATENT"}]}
    host["inputs"] = [
        {**given, "name": "latent" if given["name"] == "latent_image" else given["name"]} for given in sampler["inputs"]
    ]
    if proxies:
        host["properties"] = {"proxyWidgets": proxies}
    flow.nodes[at] = host
    return flow, {"subgraphs": [definition]}


@pytest.mark.parametrize(
    ("outer", "proxies", "steps", "seed"),
    [
        ([12, 77], None, 12, 77),  # the widgets of the subgraph's node, in the order of its inputs
        ([], None, 9, 3),  # none of them: those inside
        ([12, 1.0, 77], [["-1", "how many"], ["5", "cfg"], ["-1", "seed"]], 12, 77),
        ([None, 77], [["-1", "how many"], ["-1", "seed"]], 9, 77),
    ],
)
def test_subgraphs_are_opened_and_their_widgets_are_found(
    outer: Any, proxies: Any, steps: int, seed: int, tmp_path: Path
) -> None:
    flow, definitions = subgraph(outer=outer, proxies=proxies)
    path = flow.save(tmp_path / "flow.json", definitions=definitions)
    found = comfyui.read(path)
    assert found.values == {**NATIVE, "num_inference_steps": steps, "seed": seed}
    assert found.sources["num_inference_steps"] == f"KSampler (#24:5).steps = {steps}"


def test_a_link_into_a_subgraph_wins_over_its_widget(tmp_path: Path) -> None:
    flow, definitions = subgraph(outer=[12, 77])
    constant = flow.add("INTConstant", [31])
    host = next(node for node in flow.nodes if node["type"] == "0000-aaaa")
    flow.links.append([len(flow.links) + 1, constant, 0, host["id"], 4, "INT"])
    host["inputs"].append({"name": "how many", "type": "INT", "widget": {"name": "how many"}, "link": len(flow.links)})
    assert comfyui.read(flow.save(tmp_path / "flow.json", definitions=definitions)).values["num_inference_steps"] == 31


# Several samplers, several generations


def test_segments_in_a_row_become_one_clip(tmp_path: Path) -> None:
    """The video goes on in a second WanAnimateToVideo: 77 frames and 72 more."""
    flow = Flow()
    first = native(flow)
    start = next(node for node in flow.nodes if node["type"] == "WanAnimateToVideo")
    decoded = next(node["id"] for node in flow.nodes if node["type"] == "VAEDecode")
    inputs = {given["name"]: flow.links[given["link"] - 1][1] for given in start["inputs"] if not given.get("widget")}
    more = flow.add("WanAnimateToVideo", [640, 640, 77, 1, 5, 0], **inputs, continue_motion=decoded)
    second = flow.add("KSampler", [8, "fixed", 6, 1.0, "uni_pc", "simple", 1], latent_image=(more, 2))
    flow.add(
        "SaveVideo", [], video=flow.add("ImageBatch", image1=decoded, image2=flow.add("VAEDecode", samples=second))
    )
    found = read(flow, tmp_path)
    assert (found.values["max_frames"], found.values["prev_segment_conditioning_frames"]) == (149, 5)
    assert found.values["seed"] == 7
    assert found.sources["seed"].startswith(f"KSampler (#{first})")
    assert has(found.missing(), f"KSampler (#{second}) seed = 8", "one seed, here 7")


def test_of_two_samplers_the_first_after_the_embeds_is_taken_and_the_other_named(tmp_path: Path) -> None:
    flow = Flow()
    first = native(flow)
    start = next(node["id"] for node in flow.nodes if node["type"] == "WanAnimateToVideo")
    low = flow.add(
        "KSamplerAdvanced",
        ["disable", 1, "fixed", 4, 3, "euler", "simple", 2, 4, "disable"],
        positive=start,
        latent_image=first,
    )
    flow.add("SaveVideo", [], video=flow.add("VAEDecode", samples=low))
    found = read(flow, tmp_path)
    assert found.values["num_inference_steps"] == 6
    assert has(
        found.missing(),
        f"KSamplerAdvanced (#{low})",
        "a second sampler, which works on from the result of",
        f"(#{first})",
    )


def test_of_two_generations_the_saved_one_is_taken_and_the_other_named(tmp_path: Path) -> None:
    flow = Flow()
    native(flow, mode=MUTED, film="first.mp4")
    native(flow, film="second.mp4")
    found = read(flow, tmp_path)
    assert found.values["driving_video"] == "second.mp4"
    assert has(found.missing(), "WanAnimateToVideo", "a second generation")


# Files


def test_files_are_found_beside_the_workflow_and_in_comfyui(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow()
    native(flow)
    for name in ("input", "models/sam2", "models/loras"):
        (tmp_path / "Comfy" / name).mkdir(parents=True)
    (tmp_path / "Comfy" / "models" / "loras" / "lightx2v_distill.safetensors").write_bytes(b"weights")
    (tmp_path / "Comfy" / "input" / "hero.png").write_bytes(b"picture")
    weights = tmp_path / "Comfy" / "models" / "sam2" / "sam2_hiera_base_plus.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    found = read(flow, tmp_path, comfyui_dir=Path("Comfy"))
    assert found.values["driving_video"] == str(film)
    assert found.values["reference_image"] == str(tmp_path / "Comfy" / "input" / "hero.png")
    assert found.values["sam_checkpoint"] == str(weights)
    assert found.to_fill == {}
    assert has(found.missing(), "plays 16 frames per second", "keeps 24")
    with pytest.raises(FileNotFoundError, match="comfyui_dir must be a folder"):
        read(flow, tmp_path, comfyui_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("deleted", ["node", "muted"])
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_a_prompt_that_is_missing_is_not_replaced_by_the_other(tmp_path: Path, side: str, deleted: str) -> None:
    flow = Flow()
    native(flow, animate=True)
    text = {"positive": "she dances", "negative": "blurry"}[side]
    if deleted == "muted":
        node = next(node for node in flow.nodes if node["widgets_values"] == [text])
        node["mode"] = 2
        found = read(flow, tmp_path)
    else:
        content = api(flow.content(), tmp_path)
        name = next(name for name, node in content.items() if node["inputs"].get("text") == text)
        del content[name]
        (tmp_path / "prompt.json").write_text(json.dumps(content))
        found = comfyui.read(tmp_path / "prompt.json")
    assert found.values.get("prompt") == (None if side == "positive" else "she dances")
    assert has(found.missing(), "no text is connected as its positive prompt") == (side == "positive")
    assert has(found.missing(), "she dances: ") is False
    assert has(found.missing(), "blurry") == (side == "positive")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x.mp4", "input/../../x.mp4", "{tmp}/x.mp4", "..", "~/x.mp4"])
def test_files_outside_the_given_folders_are_not_taken(tmp_path: Path, name: str) -> None:
    """A workflow comes from others: it says names, and they are looked for below its own folder and ComfyUI's."""
    (tmp_path / "x.mp4").write_bytes(b"not a film")
    place = tmp_path / "a" / "b"
    (place / "Comfy" / "models" / "sam2").mkdir(parents=True)
    flow = Flow()
    native(flow, film=name.format(tmp=tmp_path))
    sam = next(node for node in flow.nodes if node["type"] == "DownloadAndLoadSAM2Model")
    sam["widgets_values"][0] = "../../../../../x.mp4"
    found = read(flow, place, comfyui_dir=place / "Comfy")
    assert found.values["driving_video"] in ("passwd", "x.mp4", "driving_video")
    assert "give --driving_video" in found.to_fill["driving_video"]
    assert "sam_checkpoint" not in found.values


@pytest.mark.parametrize(("seed", "taken"), [(2**63 - 1, 2**63 - 1), (2**63, 0), (2**64 - 1, 2**63 - 1), (2**64, None)])
def test_comfyui_s_large_seeds_fold_into_the_range_and_that_is_said(tmp_path: Path, seed: int, taken: int) -> None:
    flow = Flow()
    native(flow, animate=True)
    next(node for node in flow.nodes if node["type"] == "KSampler")["widgets_values"][0] = seed
    found = read(flow, tmp_path)
    assert found.values.get("seed") == taken
    assert has(found.notes, f"seed = {seed}", "seeds end at 2^63 - 1", f": {taken};") == (2**63 <= seed < 2**64)
    assert has(found.missing(), f"seed = {seed}: seed must be less than") == (seed == 2**64)


def test_files_that_are_given_win_and_set_the_rate(film: Path, tmp_path: Path, sample: Path) -> None:
    flow = Flow()
    kijai(flow, {"video": "C:\\films\\other.mp4", "force_rate": 0, "skip_first_frames": 12, "select_every_nth": 2})
    found = read(flow, tmp_path, driving_video=film, reference_image=sample / "character.png")
    assert found.values["driving_video"] == str(film)
    assert found.values["reference_image"] == "wanlab/assets/sample/character.png"
    assert (found.values["fps"], found.values["start_s"]) == (12, 0.5)
    (tmp_path / "other").mkdir()
    unknown = comfyui.read(flow.save(tmp_path / "other" / "flow.json"))
    assert unknown.values["driving_video"] == "other.mp4"
    assert has(unknown.missing(), "skip_first_frames = 12", "the video's rate is not known")
    with pytest.raises(FileNotFoundError, match="driving_video must be a file, got nowhere.mp4"):
        read(flow, tmp_path, driving_video=Path("nowhere.mp4"))


def test_finished_films_in_the_workflow_become_one_s_own(tmp_path: Path) -> None:
    flow = Flow()
    native(flow)
    start = next(node for node in flow.nodes if node["type"] == "WanAnimateToVideo")
    for name, file in (("pose_video", "pose.mp4"), ("character_mask", "mask.mp4")):
        loaded = flow.add("VHS_LoadVideo", {"video": file})
        source = flow.add("ImageToMask", ["red"], image=loaded) if name == "character_mask" else loaded
        given = next(given for given in start["inputs"] if given["name"] == name)
        flow.links.append([len(flow.links) + 1, source, 0, start["id"], 0, "*"])
        given["link"] = len(flow.links)
    found = read(flow, tmp_path)
    assert (found.values["pose_video"], found.values["mask_source"], found.values["mask_chain"]) == (
        "pose.mp4",
        "mask.mp4",
        "",
    )
    assert found.values["driving_video"] == "dance.mp4"
    assert found.prompts is None
    assert {"pose_video", "mask_source"} <= set(found.to_fill)


# Points


def shown(frame: np.ndarray) -> tuple[float, float]:
    """Return where the brightest spot of a frame is, x and y."""
    weights = frame.astype(float).sum(axis=2)
    weights[weights < weights.max() / 2] = 0
    y, x = np.indices(weights.shape)
    return float((x * weights).sum() / weights.sum()), float((y * weights).sum() / weights.sum())


def centre_crop(frame: np.ndarray, width: int, height: int, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    wide = min(frame.shape[1], round(frame.shape[0] * width / height))
    high = min(frame.shape[0], round(frame.shape[1] * height / width))
    left, top = int((frame.shape[1] - wide) * x), int((frame.shape[0] - high) * y)
    return cv2.resize(frame[top : top + high, left : left + wide], (width, height), interpolation=cv2.INTER_AREA)


def stretch(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def pad(frame: np.ndarray, width: int, height: int, left: int, top: int) -> np.ndarray:
    scale = min(width / frame.shape[1], height / frame.shape[0])
    canvas = np.zeros((height, width, 3), np.uint8)
    small = stretch(frame, round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def kjv2(how: str, place: str) -> tuple[str, list[Any]]:
    return "ImageResizeKJv2", [320, 320, "lanczos", how, "0, 0, 0", place, 2, "cpu"]


@pytest.mark.parametrize(
    ("node", "size", "made"),
    [
        (("ImageScale", ["lanczos", 320, 320, "center"]), (320, 320), lambda f: centre_crop(f, 320, 320)),
        (("ImageScale", ["lanczos", 320, 480, "disabled"]), (320, 480), lambda f: stretch(f, 320, 480)),
        (("ImageScale", ["lanczos", 320, 0, "disabled"]), (320, 180), lambda f: stretch(f, 320, 180)),
        (kjv2("stretch", "center"), (320, 320), lambda f: stretch(f, 320, 320)),
        (kjv2("crop", "right"), (320, 320), lambda f: centre_crop(f, 320, 320, x=1)),
        (kjv2("resize", "center"), (320, 180), lambda f: stretch(f, 320, 180)),
        (kjv2("pad", "center"), (320, 320), lambda f: pad(f, 320, 320, 0, 70)),
        (kjv2("pad_edge_pixel", "top"), (320, 320), lambda f: pad(f, 320, 320, 0, 0)),
        (kjv2("pad", "bottom"), (320, 320), lambda f: pad(f, 320, 320, 0, 140)),
        (("VHS", {"custom_width": 320, "custom_height": 320}), (320, 320), lambda f: centre_crop(f, 320, 320)),
        (("VHS", {"custom_width": 320, "custom_height": 0}), (320, 184), lambda f: centre_crop(f, 320, 184)),
        (None, (640, 360), lambda f: f),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spot", [(430, 190), (300, 60)])
def test_a_click_lands_where_it_was_made(
    node: Any, size: tuple[int, int], made: Callable[[np.ndarray], np.ndarray], spot: tuple[int, int], tmp_path: Path
) -> None:
    """A spot in the video is seen in ComfyUI's frame, clicked on, imported, and is where the working clip shows it."""
    frame = np.zeros((360, 640, 3), np.uint8)
    cv2.circle(frame, spot, 8, (255, 255, 255), -1)
    media.write_video(tmp_path / "dance.mp4", [frame] * 3, Fraction(24))
    click = shown(made(frame))
    assert made(frame).shape[1::-1] == size
    flow = Flow()
    kind, widgets = node or ("", [])
    loaded = flow.add("VHS_LoadVideo", {"video": "dance.mp4", "force_rate": 0, **(widgets if kind == "VHS" else {})})
    frames = flow.add(kind, widgets, image=loaded) if kind not in ("VHS", "") else loaded
    editing = flow.add("PointsEditor", editor([click], canvas=size), bg_image=frames)
    mask = flow.add("Sam2Segmentation", [True, False], image=frames, coordinates_positive=editing)
    flow.add(
        "WanAnimateToVideo",
        [400, 304, 77, 1, 5, 0],
        character_mask=mask,
        background_video=flow.add("DrawMaskOnImage", image=frames, mask=mask),
    )
    found = read(flow, tmp_path)
    comfyui.write(found, tmp_path / "out.yaml", tmp_path / "flow.json")
    clip = resize.resize_by_area(frame, 400 * 304)
    read_back = prompts.read_prompts(tmp_path / "out_points.json", 3, *clip.shape[:2])
    x, y = shown(clip)
    assert len(read_back.clicks) == 1
    factor = 640 / size[0]  # a click is a whole pixel of the smaller frame
    assert read_back.clicks[0].x == pytest.approx(x, abs=factor)
    assert read_back.clicks[0].y == pytest.approx(y, abs=factor)


def test_the_numbers_of_a_cropped_click(sample: Path, tmp_path: Path) -> None:
    """384x512 cropped to 640x640 and clicked in the middle: the middle of 544x736, where the video fills 544x725."""
    flow = Flow()
    native(flow)
    found = read(flow, tmp_path, driving_video=sample / "half.mp4")
    assert found.canvas == (736, 544)
    assert found.prompts == prompts.Prompts((prompts.Click(0, 272.0, 367.5, True),))
    assert has(found.notes, "the result has the video's shape, 544x736; ComfyUI makes 640x640")


def test_a_canvas_of_another_size_is_not_rescaled_as_comfyui_does_not(tmp_path: Path) -> None:
    flow = Flow()
    native(flow, clicks=editor([(400, 200)], canvas=(832, 480)))
    found = read(flow, tmp_path)
    assert found.canvas == (640, 640)
    assert found.prompts is not None
    assert found.prompts.clicks == (prompts.Click(0, 400, 200, True),)
    assert has(found.notes, "its canvas is 832x480, SAM2's frames are 640x640")


def test_clicks_in_the_padding_are_left_out_and_counted(film: Path, tmp_path: Path) -> None:
    flow = Flow()
    loaded = flow.add("VHS_LoadVideo", {"video": film.name})
    frames = flow.add(*kjv2("pad", "center"), image=loaded)
    editing = flow.add("PointsEditor", editor([(160, 160), (160, 10)], canvas=(320, 320)), bg_image=frames)
    mask = flow.add("Sam2Segmentation", [True, False], image=frames, coordinates_positive=editing)
    flow.add("WanAnimateToVideo", [400, 304, 77], character_mask=mask)
    found = read(flow, tmp_path)
    assert found.prompts is not None
    assert len(found.prompts.clicks) == 1
    assert has(found.notes, "1 of the points and boxes lie outside the video")


def test_points_outside_the_frames_are_named_and_none_is_written(tmp_path: Path) -> None:
    flow = Flow()
    native(flow, clicks=editor([(900, 20)], canvas=(1024, 640)))
    found = read(flow, tmp_path)
    assert found.prompts is None
    assert "mask_source" not in found.values
    assert has(found.missing(), "PointsEditor", "points inside the clip", "x 900")


def test_negative_points_boxes_and_individual_objects(tmp_path: Path) -> None:
    box = {"startX": 300.6, "startY": 40, "endX": 100, "endY": 600}
    flow = Flow()
    native(flow, clicks=editor([(10, 20), (30, 40)], [(5, 6)], box=box))
    segment = next(node for node in flow.nodes if node["type"] == "Sam2Segmentation")
    source = next(node["id"] for node in flow.nodes if node["type"] == "PointsEditor")
    for name, slot in (("coordinates_negative", 1), ("bboxes", 2)):
        flow.links.append([len(flow.links) + 1, source, slot, segment["id"], slot, "*"])
        segment["inputs"].append({"name": name, "type": "*", "link": len(flow.links)})
    found = read(flow, tmp_path)
    assert found.prompts is not None
    assert [(c.x, c.y, c.positive, c.object) for c in found.prompts.clicks] == [
        (10, 20, True, 1),
        (30, 40, True, 1),
        (5, 6, False, 1),
    ]
    assert found.prompts.boxes == (prompts.Box(0, 100, 40, 300.6, 600),)
    segment["widgets_values"] = [True, True]
    segment["inputs"].pop()
    found = read(flow, tmp_path)
    assert found.prompts is not None
    assert [(c.x, c.positive, c.object) for c in found.prompts.clicks] == [
        (10, True, 1),
        (5, False, 1),
        (30, True, 2),
        (5, False, 2),
    ]


def test_points_on_several_frames_and_of_several_objects(tmp_path: Path) -> None:
    flow = Flow()
    native(flow)
    segment = next(node for node in flow.nodes if node["type"] == "Sam2Segmentation")
    image = next(node["id"] for node in flow.nodes if node["type"] == "ImageScale")
    state = None
    for frame, number, spot in ((0, 0, (10, 20)), (12, 0, (30, 40)), (5, 1, (50, 60))):
        clicked = flow.add("PointsEditor", editor([spot]))
        state = flow.add(
            "Sam2VideoSegmentationAddPoints",
            [frame, number],
            coordinates_positive=clicked,
            image=image,
            prev_inference_state=state and (state, 1),
        )
    segment.update(type="Sam2VideoSegmentation", widgets_values=[True])
    flow.links.append([len(flow.links) + 1, state, 1, segment["id"], 1, "*"])
    segment["inputs"] = [{"name": "inference_state", "type": "*", "link": len(flow.links)}]
    found = read(flow, tmp_path)
    assert found.prompts is not None
    assert [tuple(click) for click in found.prompts.clicks] == [
        (0, 10, 20, True, 1),
        (12, 30, 40, True, 1),
        (5, 50, 60, True, 2),
    ]


def test_what_kijai_s_detector_tells_sam2(tmp_path: Path) -> None:
    flow = Flow()
    made = kijai(flow)
    segment = next(node for node in flow.nodes if node["type"] == "Sam2Segmentation")
    flow.links[segment["inputs"][1]["link"] - 1][2] = 3  # its boxes in place of its keypoints
    segment["inputs"][1]["name"] = "bboxes"
    found = read(flow, tmp_path)
    assert "mask_source" not in found.values
    assert has(found.missing(), "Sam2Segmentation", "bboxes", "the detector's box in the first frame")
    assert made["detected"]


# What is written


@pytest.mark.parametrize("build", [native, kijai])
def test_the_params_file_is_accepted_by_every_step(
    build: Callable[[Flow], Any], film: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = Flow()
    build(flow)
    found = read(flow, tmp_path, reference_image=sample / "character.png")
    made = comfyui.write(found, tmp_path / "params" / "flow.yaml", tmp_path / "flow.json")
    given = flags.given_settings(main._parser().parse_args(["pipeline", "-f", str(made[0])]), flags.PIPELINE)
    assert given == found.values
    for step, values in main._per_step(given, ("preprocess", "generate")).items():
        if step == "preprocess":
            main._check_steps({step: values})  # the files are there too
        config.NOTEBOOKS[step][1].build(values)
    text = made[0].read_text()
    assert "# Not mapped:" in text
    assert (
        "seed: 7  # KSampler (#24).seed = 7" in text
        if build is native
        else 'prompt: "she\\nwalks: #slowly"  # WanVideoTextEncodeCached' in text
    )
    assert made[1:] == ([tmp_path / "params" / "flow_points.json"] if build is native else [])


def test_a_film_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outputs: Path
) -> None:
    """Never the bundled video in its place."""
    flow = Flow()
    native(flow)
    made = comfyui.write(read(flow, tmp_path), tmp_path / "flow.yaml", tmp_path / "flow.json")
    assert "driving_video: dance.mp4  # to fill in: dance.mp4 is not in" in made[0].read_text()
    assert main.main(["pipeline", "-f", str(made[0])]) == 2
    assert "must exist, got" in capsys.readouterr().err
    assert not list(outputs.glob("2*"))


def test_the_command_prints_what_became_of_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = Flow()
    native(flow)
    flow.nodes[0]["title"] = "my\n\x1b[31m video"
    flow.save(tmp_path / "flow.json")
    command = ["params", "from-comfyui", "flow.json", "--out", "mine/flow.yaml"]
    assert main.main(command) == 0
    printed = capsys.readouterr().out
    assert "mapped:\n  WanAnimateToVideo (#23).character_mask = connected → mode = replace\n" in printed
    assert "  PointsEditor (#8) = 1 point on 1 frame → mask_source = " in printed
    assert "not mapped:\n" in printed
    assert "to fill in:\n  reference_image: hero.png is not in" in printed
    assert printed.endswith("written: mine/flow.yaml, mine/flow_points.json\nnext: wanlab pipeline -f mine/flow.yaml\n")
    assert "\x1b" not in printed
    before = (tmp_path / "mine" / "flow.yaml").read_text()
    assert "\x1b" not in before
    assert main.main(command) == 2
    assert (
        f"out must not exist yet, got {tmp_path / 'mine/flow.yaml'}; use --overwrite, or --out with another name"
        in capsys.readouterr().err
    )
    assert main.main([*command, "--overwrite"]) == 0
    assert (tmp_path / "mine" / "flow.yaml").read_text() == before


def test_where_nothing_is_named_the_file_goes_to_params() -> None:
    assert comfyui.default_out(Path("/x/my flow (2).json")) == config.project_root() / "params" / "my_flow_2.yaml"


# Wrappings


def png(path: Path, **texts: Any) -> Path:
    chunks = PngInfo()
    for name, content in texts.items():
        chunks.add_text(name, content if isinstance(content, str) else json.dumps(content))
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


def tagged_film(path: Path, **tags: Any) -> Path:
    with av.open(
        str(path), "w", options={"movflags": "use_metadata_tags"} if path.suffix == ".mp4" else {}
    ) as container:
        for name, content in tags.items():
            container.metadata[name] = content if isinstance(content, str) else json.dumps(content)
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("wrapping", ["png", "png_workflow", "mp4", "comment.mp4", "webm", "mkv"])
def test_a_workflow_is_found_in_what_comfyui_made(wrapping: str, tmp_path: Path) -> None:
    flow = Flow()
    native(flow, clicks=editor([(320, 320)]))
    graph = flow.content()
    other = Flow()
    native(other)
    other.nodes[-4]["widgets_values"][2] = 33  # KSampler's steps: the prompt ran, the graph was changed afterwards
    prompt = api(other.content(), tmp_path)
    if wrapping.startswith("png"):
        path = png(
            tmp_path / "x.png",
            **({"workflow": graph} if "workflow" in wrapping else {"prompt": prompt, "workflow": graph}),
        )
    elif wrapping == "comment.mp4":
        path = tagged_film(tmp_path / "x.mp4", comment={"prompt": json.dumps(prompt), "workflow": graph})
    else:
        path = tagged_film(tmp_path / f"x.{wrapping}", prompt=prompt, workflow=graph)
    found = comfyui.read(path)
    assert found.values == {**NATIVE, "num_inference_steps": 6 if "workflow" in wrapping else 33}
    assert found.prompts is not None
    assert not has(found.notes, "seed is set to")  # a result holds its own seed


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", "{", "workflow must be JSON, got a.json, which breaks off"),
        ("a.json", "[1, 2]", "workflow must hold ComfyUI's nodes"),
        ("a.json", '{"seed": 3}', "workflow must hold ComfyUI's nodes"),
        ("a.json", '{"nodes": [], "links": []}', "workflow must hold ComfyUI's nodes"),
        ("a.json", '{"nodes": [{"type": "X"}], "links": []}', "workflow must be as ComfyUI writes it, got a.json, in which KeyError('id')"),
        ("a.json", '{"nodes": [{"id": 1, "type": "KSampler"}], "links": []}', "workflow must be for Wan-Animate, with a node WanAnimateToVideo or WanVideoAnimateEmbeds"),
        ("a.json", '{"nodes": [{"id": 1, "type": "X"}, {"id": 2, "type": "WanAnimateToVideo", "mode": 4}]}', "one whose WanAnimateToVideo is muted or bypassed"),
        ("a.png", "no png", "workflow must be a complete PNG, got a.png"),
        ("a.mp4", "no video", "video must be a readable video file"),
        ("a.json", None, "workflow must be a file"),
    ],
)  # fmt: skip
def test_what_is_no_workflow_is_refused_with_a_remedy(
    name: str, content: str | None, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert main.main(["params", "from-comfyui", str(tmp_path / name), "--out", str(tmp_path / "out.yaml")]) == 2
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.startswith("wanlab: ")
    assert not (tmp_path / "out.yaml").exists()


def test_pictures_and_films_without_a_workflow_are_told_so(sample: Path, tmp_path: Path) -> None:
    for path in (
        png(tmp_path / "bare.png"),
        tagged_film(tmp_path / "bare.mp4", comment="a holiday"),
        sample / "half.mp4",
    ):
        with pytest.raises(
            config.SettingsError, match=f"workflow must be in the file's metadata .* got {path.name} without"
        ):
            comfyui.read(path)
    with pytest.raises(config.SettingsError, match="workflow must hold ComfyUI's nodes .* got none in own.mp4"):
        comfyui.read(tagged_film(tmp_path / "own.mp4", comment={"seed": 42}))  # as wanlab's results say their settings


@pytest.mark.parametrize("circle", ["set", "subgraph", "links"])
def test_a_workflow_that_leads_in_a_circle_ends(circle: str, tmp_path: Path) -> None:
    flow = Flow()
    native(flow)
    more: dict[str, Any] = {}
    if circle == "set":
        flow.add("SetNode", ["a"], x=flow.add("GetNode", ["a"]))
        flow.add("WanVideoDecode", samples=flow.add("GetNode", ["a"]))
    elif circle == "subgraph":
        inner = {"id": 1, "type": "loop", "mode": 0, "inputs": [], "outputs": []}
        more = {
            "definitions": {
                "subgraphs": [
                    {"id": "loop", "name": "loop", "inputs": [], "outputs": [], "nodes": [inner], "links": []}
                ]
            }
        }
        flow.add("loop")
    else:
        first = flow.add("GrowMask", [1, True], mask=None)
        second = flow.add("GrowMask", [1, True], mask=first)
        flow.links.append([len(flow.links) + 1, second, 0, first, 0, "MASK"])
        flow.nodes[-2]["inputs"][0]["link"] = len(flow.links)
        start = next(node for node in flow.nodes if node["type"] == "WanAnimateToVideo")
        flow.links.append([len(flow.links) + 1, second, 0, start["id"], 0, "MASK"])
        next(given for given in start["inputs"] if given["name"] == "character_mask")["link"] = len(flow.links)
        found = comfyui.read(flow.save(tmp_path / "flow.json"))
        assert has(found.missing(), "nothing makes its mask")
        return
    with pytest.raises(config.SettingsError, match="must not lead in a circle"):
        comfyui.read(flow.save(tmp_path / "flow.json", **more))
