"""Equality with the official code's numbers and images.

Cases are read from the files of a folder: `tests/golden` (synthetic ones, always) and the folder that WANLAB_GOLDEN
names (default `../shared/golden`, where it exists). A topic is a folder; `TOPICS` maps it to its cases.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import GOLDEN_NOT_BUILT, SHARED
from PIL import Image

from wanlab import config
from wanlab.mask import (
    DEFAULT_CHAIN,
    apply_chain,
    blank_out,
    blockify,
    blur,
    cells,
    dilate,
    grow,
    keypoint_prompts,
    known_pixels,
    pack_mask,
    upstream_chain,
)
from wanlab.media import resize
from wanlab.model import sampling, solvers
from wanlab.model.segments import make_plan, padding_indices
from wanlab.pose import Meta, draw_frame, editing, retarget, sessions, to_meta, topdown, vitpose, yolo
from wanlab.pose import face as face_module
from wanlab.pose.face import box

Case = tuple[str, Callable[[], None]]
ASIDE = Path(os.environ.get("WANLAB_GOLDEN") or SHARED / "golden")
if "WANLAB_GOLDEN" in os.environ and not ASIDE.is_dir():
    raise FileNotFoundError(f"WANLAB_GOLDEN must name a folder of golden data, got {ASIDE}")
FOLDERS = [folder for folder in (config.project_root() / "tests" / "golden", ASIDE) if folder.is_dir()]


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def listed(folder: Path, name: str = "cases.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def draw_pose(folder: Path) -> Iterator[Case]:
    def check(name: str) -> None:
        meta, expected = load(folder / f"{name}.npz"), picture(folder / f"{name}.png")
        width, height = map(int, meta["wh"])
        drawn = draw_frame(meta["body"], meta["lhand"], meta["rhand"], height, width)
        np.testing.assert_array_equal(drawn, expected)

    for case in listed(folder):
        yield case["name"], lambda name=case["name"]: check(name)


def coco133_to_meta(folder: Path) -> Iterator[Case]:
    def check(name: str) -> None:
        data = load(folder / f"{name}.npz")
        height, width = int(data["height"]), int(data["width"])
        meta = to_meta(data["kp133"], height, width)
        parts = {"body": meta.body, "lhand": meta.left_hand, "rhand": meta.right_hand, "face": meta.face}
        for part, found in parts.items():
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, data[part], rtol=0, atol=1e-6)
            if f"aa_kps_{part}" in data:  # multiplied out in float64, as the drawing does
                points = found[..., :2].astype(np.float64) * (width, height)
                np.testing.assert_allclose(points, data[f"aa_kps_{part}"], rtol=0, atol=1e-6 * max(width, height))
                np.testing.assert_allclose(found[..., 2], data[f"aa_kps_{part}_p"], rtol=0, atol=1e-6)

    for case in listed(folder):
        yield case["name"], lambda name=case["name"]: check(name)


def retargeting(folder: Path) -> Iterator[Case]:
    def posed(data: dict[str, np.ndarray], name: str) -> retarget.Posed:
        parts = (data[f"{name}_{part}"] for part in ("body", "lhand", "rhand", "face"))
        width, height = map(int, np.atleast_2d(data[f"{name}_wh"])[0])
        return retarget.Posed(Meta(*(each if each.ndim == 3 else each[None] for each in parts)), height, width)

    def check(case: dict[str, Any]) -> None:
        data = load(folder / f"{case['name']}.npz")
        edited = None
        if case.get("edited"):
            edited = retarget.Edited(posed(data, "tpl0edit"), posed(data, "refedit"))
        template, reference, first = (posed(data, name) for name in ("tpl", "ref", "tpl0"))
        made = retarget.retarget(template, reference, "official", edited, first)
        if case["status"] != "ok":  # upstream raises; what can be placed is
            assert np.isfinite(made.body).all()
            return
        width, height = map(int, data["out_wh"][0])
        assert (width, height) == (reference.width, reference.height)
        np.testing.assert_allclose(made.body[..., :2] * (width, height), data["out_kps_body"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(made.body[..., 2], data["out_kps_body_p"], rtol=0, atol=1e-6)
        for name, hand in (("lhand", made.left_hand), ("rhand", made.right_hand)):
            points, expected = hand[..., :2] * (width, height), data[f"out_kps_{name}"].astype(float)
            np.testing.assert_array_equal(np.isnan(points), np.isnan(expected))
            np.testing.assert_allclose(points, expected, rtol=0, atol=0.01)
            np.testing.assert_allclose(hand[..., 2], data[f"out_kps_{name}_p"].astype(float), rtol=0, atol=1e-6)
        for t in case["drawn"]:
            drawn = draw_frame(made.body[t], made.left_hand[t], made.right_hand[t], height, width)
            np.testing.assert_array_equal(drawn, picture(folder / f"{case['name']}_f{t:02d}.png"))

    for case in listed(folder):
        yield case["name"], lambda case=case: check(case)


def editing_prompts(folder: Path) -> Iterator[Case]:
    bodies = load(folder / "bodies.npz")

    def check(case: dict[str, Any]) -> None:
        limbs = editing.shown(bodies[f"b{case['i']}"])
        assert limbs == case["case"]
        for canvas, prefix in (("tpl", ""), ("ref", "ref_")):
            asked = editing.prompt(limbs, case[f"{prefix}height"], case[f"{prefix}width"])
            way = "landscape" if "T-pose" in asked else "portrait_or_square" if "by the sides" in asked else None
            assert way == case[f"{canvas}_orientation"]

    for case in listed(folder):
        yield f"body{case['i']}", lambda case=case: check(case)


def face_bbox(folder: Path) -> Iterator[Case]:
    data = load(folder / "cases.npz")

    def check(i: int, status: str) -> None:
        width, height = map(int, data["wh"][i])
        found = box(data["face"][i], height, width)
        if status == "ok":
            assert found is not None
            np.testing.assert_array_equal(found, data["box_x1x2y1y2"][i])
        else:  # upstream's box is empty, or it raises
            assert found is None

    for case in listed(folder):
        yield f"box{case['i']}", lambda case=case: check(case["i"], case["status"])
    for path in sorted(folder.glob("crop*.npz")):

        def crop(path: Path = path) -> None:
            cut, frame = load(path), picture(path.with_name(f"{path.stem}_frame.png"))
            expected = picture(path.with_name(f"{path.stem}_face512.png"))
            np.testing.assert_array_equal(face_module.crop(frame, cut["box_x1x2y1y2"]), expected)
            np.testing.assert_array_equal(box(cut["face"], *frame.shape[:2]), cut["box_x1x2y1y2"])

        yield path.stem, crop


def resizing(folder: Path) -> Iterator[Case]:
    def sizes() -> None:
        for case in listed(folder, "sizes.json"):
            how = case["h"], case["w"], case["area"], case["divisor"]
            if case["status"] == "ok":
                assert resize.area_size(*how) == (case["out_h"], case["out_w"]), case
            else:
                with pytest.raises(ValueError, match="resolution must leave both sides"):
                    resize.area_size(*how)

    def geometry() -> None:
        for case in listed(folder, "padding.json")["geometry"]:
            if case["status"] == "ok":
                found = resize.letterbox_geometry(case["h"], case["w"], case["height"], case["width"])
                assert list(found) == case["filled_y0y1x0x1"], case

    def indices() -> None:
        for case in listed(folder, "frame_indices.json"):
            if case.get("indices") is None:
                continue
            found = resize.frame_indices(case["frame_num"], case["video_fps"], case["clip_length"], case["train_fps"])
            assert found.tolist() == case["indices"], case

    yield "sizes", sizes
    yield "padding_geometry", geometry
    yield "frame_indices", indices
    for case in listed(folder, "area_images.json"):

        def area(case: dict[str, Any] = case) -> None:
            found = resize.resize_by_area(picture(folder / f"{case['file']}_in.png"), case["area"], case["divisor"])
            np.testing.assert_allclose(found.astype(int), picture(folder / f"{case['file']}_out.png"), rtol=0, atol=1)

        yield case["file"], area
    for case in listed(folder, "padding.json")["images"]:

        def padded(case: dict[str, Any] = case) -> None:
            found = resize.letterbox(
                picture(folder / f"{case['file']}_in.png"), case["height"], case["width"],
                tuple(case["padding_color"]), getattr(cv2, f"INTER_{case['interpolation']}"),
            )  # fmt: skip
            np.testing.assert_allclose(found.astype(int), picture(folder / f"{case['file']}_out.png"), rtol=0, atol=1)

        yield case["file"], padded


def masks(folder: Path) -> Iterator[Case]:
    def shaped(path: Path) -> None:
        data = load(path)
        source = data["mask"].astype(bool)[None]
        for key, expected in data.items():
            if key.startswith("dil_"):
                side, times = map(int, re.findall(r"\d+", key))
                found = dilate(source, side, times)[0]
            elif key.startswith("aug_"):
                columns, rows = map(int, re.findall(r"\d+", key))
                found = cells(dilate(source, 7, 3) if "dil" in key else source, columns, rows)[0]
            else:
                continue
            np.testing.assert_array_equal(found, expected.astype(bool), err_msg=key)

    def background(path: Path) -> None:
        name, k, iterations, columns, rows = re.fullmatch(r"(.+)_bg_k(\d+)_i(\d+)_w(\d+)_h(\d+)", path.stem).groups()
        source = load(folder / f"{name}.npz")["mask"].astype(bool)[None]
        grown = apply_chain(source, upstream_chain(int(k), int(iterations), int(columns), int(rows)))
        found = blank_out(picture(folder / f"{name}_frame.png")[None], grown)
        np.testing.assert_array_equal(found[0], picture(path))

    def nodes(path: Path) -> None:
        data = load(path)
        source = data["mask"].astype(bool)
        for key, expected in data.items():
            numbers = [float(text) for text in re.findall(r"-?\d+\.?\d*", key)]
            tolerance = 0.0
            if key.startswith("gray_"):
                soft, tolerance = data["gray_in"].reshape(-1, *data["gray_in"].shape[-2:]), 1e-6
                if key == "gray_in":
                    continue
                grown = "grow" in key
                found = grow(soft, numbers[0], tapered=bool(numbers[1])) if grown else blockify(soft, int(numbers[0]))
            elif key.startswith("kjgrow_flip"):
                found = grow(source, numbers[0], tapered=bool(numbers[1]), flip=True)
            elif key.startswith("kjgrow_incr"):
                found = grow(source, numbers[1], tapered=bool(numbers[2]), per_frame=numbers[0])
            elif key.startswith("kjgrow_blur"):
                soft = blur(grow(source, numbers[1], tapered=bool(numbers[2])), numbers[0])[: len(expected)]
                found, expected, tolerance = soft * 255, expected * (1 if expected.dtype == np.uint8 else 255.0), 1.0
            elif key.startswith(("grow_", "kjgrow_")):
                found = grow(source, numbers[0], tapered=bool(numbers[1]))
            elif key.startswith("block_"):
                found = blockify(source, int(numbers[0]))
            elif key.startswith("chain_grow10t1_block32"):
                found = apply_chain(source, DEFAULT_CHAIN)
            else:
                assert key == "mask", key
                continue
            np.testing.assert_allclose(
                found.astype(float).reshape(expected.shape), expected, rtol=0, atol=tolerance, err_msg=key
            )

    for check, pattern in ((shaped, "m*.npz"), (background, "*_bg_*.png"), (nodes, "nodes*.npz")):
        for path in sorted(folder.glob(pattern)):
            yield path.stem, lambda check=check, path=path: check(path)


def plans(folder: Path) -> Iterator[Case]:
    def lengths() -> None:
        for case in listed(folder, "valid_len.json"):
            for real, target in zip(case["real_len"], case["target_len"], strict=True):
                plan = make_plan(real, case["clip_len"], case["overlap"])
                if real > case["overlap"]:  # else upstream has no segment at all, wanlab one
                    assert len(plan.indices) == target, (case["clip_len"], case["overlap"], real)
                assert plan.segments[-1][1] == len(plan.indices)

    def padding() -> None:
        for case in listed(folder, "padding_indices.json"):
            if case["status"] == "ok":
                assert padding_indices(case["length"], case["target"]).tolist() == case["indices"]

    yield "valid_len", lengths
    yield "padding_indices", padding
    masks = load(folder / "i2v_mask.npz")
    for case in listed(folder, "i2v_mask.json"):

        def mask(case: dict[str, Any] = case) -> None:
            frames, height, width = case["lat"]
            known = np.zeros((4 * (frames - 1) + 1, height, width), np.float32)
            if case["mask"] != "none":
                generated = 1 - masks[case["key"] + "_in"][0]  # the file holds what is kept
                known = known_pixels(len(known), case["mask_len"], height, width, generated)
            known[: case["mask_len"]] = 1
            np.testing.assert_allclose(pack_mask(known), masks[case["key"] + "_out"], rtol=0, atol=1e-6)

        yield case["key"], mask


def schedules(folder: Path) -> Iterator[Case]:
    def values(case: dict[str, Any]) -> None:
        solver = solvers.make_solver(case["solver"], case["steps"], case["shift"])
        np.testing.assert_allclose(solver.sigmas.numpy(), case["sigmas"], rtol=0, atol=1e-6)
        assert solver.timesteps.tolist() == case["timesteps"]

    def trajectory(case: dict[str, Any]) -> None:
        data = load(folder / "trajectories.npz")
        solver = solvers.make_solver(case["solver"], case["steps"], case["shift"])
        x, phase, expected = (torch.from_numpy(data[key]) for key in ("noise", "phase", case["key"] + "_all"))
        for step, t in enumerate(solver.timesteps):
            velocity = 0.8 * torch.sin(1.7 * x + 0.003 * t.float() + phase) + 0.1 * x
            x = solver.advance(step, velocity, x, None)
            np.testing.assert_allclose(x.reshape(expected[step].shape), expected[step], rtol=0, atol=1e-4)

    for case in listed(folder, "schedules.json"):
        yield f"{case['solver']}_{case['steps']}_{case['shift']}", lambda case=case: values(case)
    for case in listed(folder, "trajectories.json"):
        if case["status"] == "ok":
            yield case["key"], lambda case=case: trajectory(case)


def sam_prompts(folder: Path) -> Iterator[Case]:
    data = load(folder / "points.npz")

    def check(case: dict[str, Any]) -> None:
        frames = keypoint_prompts.key_frames(case["frames"], case["chunk"])
        assert [[t // case["chunk"], t % case["chunk"]] for t in frames] == case["prompts"]
        body = np.zeros((case["frames"], 20, 3), np.float32)
        body[:, keypoint_prompts.PROMPTED, :2] = data[f"body{case['i']}"]
        found = keypoint_prompts.body_prompts(body, case["height"], case["width"])[frames]
        np.testing.assert_array_equal(found, data[f"pts{case['i']}"])

    for case in listed(folder):
        yield f"prompts{case['i']}", lambda case=case: check(case)


class FakeNetworks:
    """Networks that remember what they were given and decode to known numbers, as those behind the golden files did."""

    device = torch.device("cpu")
    face_size = 8
    vae_stride = 8

    def __init__(self) -> None:
        self.encoded: list[np.ndarray] = []
        self.denoised: list[dict[str, np.ndarray]] = []
        self.segments = 0

    def encode_text(self, prompts: list[str]) -> list[torch.Tensor]:
        return [torch.zeros(1, 512, 4) for _ in prompts]

    def encode_image(self, reference: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, 5, 4)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self.encoded.append(pixels.numpy().copy())
        return torch.zeros(16, (pixels.shape[1] + 3) // 4, pixels.shape[2] // 8, pixels.shape[3] // 8)

    def denoise(self, latents, condition, pose, face, image, text, timestep):
        self.denoised.append(
            {"latents": latents.numpy().copy(), "mask": condition[:4].numpy(), "face": face.numpy().copy()}
        )
        return torch.zeros_like(latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        count = 4 * (latents.shape[1] - 1) + 1
        made = torch.zeros(3, count, latents.shape[2] * 8, latents.shape[3] * 8)
        made[0] = (torch.arange(count) / 1000).view(-1, 1, 1)
        made[1] = self.segments / 100
        self.segments += 1
        return made


class NumberedMaterial:
    """A clip whose frames carry their number: R = i % 256, G = i // 256."""

    def __init__(self, case: dict[str, Any], data: dict[str, np.ndarray]) -> None:
        self.mode = "replace" if case["replace"] else "animate"
        self.height, self.width, self.data = case["height"], case["width"], data

    def fingerprint(self, name: str) -> str:
        return name

    def reference_image(self) -> np.ndarray:
        return np.zeros((self.height, self.width, 3), np.uint8)

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        shape = (8, 8) if name == "face_video" else (self.height, self.width)
        frames = np.zeros((len(indices), *shape, 3), np.uint8)
        if name == "background_video":  # the files hold the first pixel and the mean: the other pixels make up the mean
            first, mean, count = (
                self.data["bg"][indices].astype(float),
                self.data["bg_mean"][indices],
                shape[0] * shape[1],
            )
            frames[:] = np.round((mean * count - first) / (count - 1)).clip(0, 255)[:, None, None]
            frames[:, 0, 0] = self.data["bg"][indices]
        else:
            frames[..., 0], frames[..., 1] = (indices % 256)[:, None, None], (indices // 256)[:, None, None]
        return frames

    def mask(self, indices: np.ndarray) -> np.ndarray:
        return self.data["mask255"][indices].astype(np.float32) / 255


def generate_loop(folder: Path) -> Iterator[Case]:
    def check(case: dict[str, Any]) -> None:
        path = folder / f"gen{case['i']:02d}.npz"
        data = load(path) if path.is_file() else {}
        plan = make_plan(case["real_len"], case["clip_len"], case["overlap"])
        networks = FakeNetworks()
        if case["status"] != "ok" and case["replace"]:
            data = {"bg": np.zeros((case["real_len"], 3), np.uint8), "bg_mean": np.zeros((case["real_len"], 3)),
                    "mask255": np.zeros((case["real_len"], case["height"], case["width"]), np.uint8)}  # fmt: skip
        sampler = sampling.SamplerSettings("", 1, 1.0, 5.0, 42)
        segments = list(sampling.generate_segments(networks, NumberedMaterial(case, data), plan, sampler))
        assert sum(len(segment.frames) for segment in segments) == case["real_len"]
        if case["status"] != "ok":  # upstream raises; wanlab pads one segment and cuts it
            assert len(segments) == 1
            return
        assert [list(window) for window in plan.segments] == case["windows"]
        assert plan.indices.tolist() == case["padded_indices"]
        local = [range(plan.overlap if s.number else 0, case["clip_len"])[: len(s.frames)] for s in segments]
        assert [s.number for s in segments for _ in s.frames] == case["out_segment"]
        assert [i for part in local for i in part] == case["out_local_index"]
        red = np.concatenate([segment.frames[:, 0, 0, 0] for segment in segments]).astype(int)
        expected = np.round((np.array(case["out_local_index"]) / 1000 + 1) * 127.5)
        np.testing.assert_allclose(red, expected, rtol=0, atol=1)
        poses, conditions = networks.encoded[1::2], networks.encoded[2::2]  # the reference comes first
        for s, facts in enumerate(case["segments"]):
            given, y = networks.denoised[s], facts["y_shape"]
            assert list(given["latents"].shape) == facts["model_x_shape"]
            assert list(poses[s].shape) == facts["pose_shape"]
            assert list(conditions[s].shape) == facts["cond_shape"]
            assert [1, *given["face"].shape] == facts["face_shape"]
            assert list(given["mask"].shape) == [4, *y[1:]]
            np.testing.assert_allclose(given["mask"], data[f"s{s}_mask4"], rtol=0, atol=0.01)
            for name, found in (("pose", poses[s]), ("face", given["face"]), ("cond", conditions[s])):
                np.testing.assert_allclose(found[:, :, 0, 0], data[f"s{s}_{name}_first_px"], rtol=0, atol=0.01)
            np.testing.assert_allclose(conditions[s].mean(axis=(2, 3)), data[f"s{s}_cond_mean"], rtol=0, atol=0.01)
            assert 0.8 < given["latents"].std() < 1.2

    for case in listed(folder):
        yield f"gen{case['i']:02d}", lambda case=case: check(case)


def pose_model(folder: Path) -> Iterator[Case]:
    def vit_input(case: dict[str, Any]) -> None:
        expected, image = load(folder / f"{case['name']}.npz"), picture(folder / case["image"])
        seen = vitpose.window(None if case["bbox"] is None else np.array(case["bbox"], float), *image.shape[:2])
        np.testing.assert_array_equal(seen.centre, expected["center"])
        np.testing.assert_array_equal(seen.scale, expected["scale"])
        found = vitpose.tensor(image, seen, "rgb")  # the image is given in the order in which it is taken
        np.testing.assert_allclose(found, expected["tensor_fp16"], rtol=0, atol=2e-3)
        np.testing.assert_allclose(found[:, ::8, ::8], expected["sub8"], rtol=0, atol=1e-5)

    def windows() -> None:
        for case in listed(folder, "vit_crop_geometry.json"):
            x1, y1, x2, y2 = vitpose.source(vitpose.window(np.array(case["bbox"]), case["h"], case["w"]))
            assert [y2 - y1, x2 - x1] == case["crop_hw"], case
            assert [max(0, x1), min(case["w"], x2), max(0, y1), min(case["h"], y2)] == case["src_x"] + case["src_y"]

    def heat(name: str) -> None:
        data = load(folder / f"{name}.npz")
        seen = vitpose.Window(data["center"], data["scale"])
        found = vitpose.keypoints(data["heatmaps_fp16"].astype(np.float32)[None], [seen])[0]
        np.testing.assert_allclose(found, data["keypoints"], rtol=0, atol=2e-3)

    def boxes(case: dict[str, Any], data: dict[str, np.ndarray]) -> None:
        raw, size = data[f"raw{case['i']}"], (case["height"], case["width"])
        found = yolo.boxes(raw, *size)
        if raw.ndim == 3 and raw.shape[-1] != 6:  # upstream reads such a head wrongly; as it would read it rightly:
            table = raw[0] if raw.shape[1] == 84 else raw[0].T
            np.testing.assert_array_equal(found, yolo.boxes(table[None, None], *size))
            return
        np.testing.assert_array_equal(found, data[f"nms{case['i']}"].reshape(-1, 6))
        np.testing.assert_array_equal(yolo.person(found, *size), case["persons"][0]["bbox"])

    for case in listed(folder, "yolo_pre.json"):

        def yolo_input(case: dict[str, Any] = case) -> None:  # upstream's function exchanges the channels itself
            found = yolo.tensor(picture(folder / case["image"])[..., ::-1])
            np.testing.assert_allclose(
                found[:, ::10, ::10], load(folder / f"{case['name']}.npz")["sub10"], rtol=0, atol=1e-5
            )

        yield case["name"], yolo_input
    for case in listed(folder, "vit_pre.json"):
        yield case["name"], lambda case=case: vit_input(case)
    yield "windows", windows
    for case in listed(folder, "heat.json"):
        yield case["name"], lambda case=case: heat(case["name"])
    data = load(folder / "yolo_post.npz")
    for case in listed(folder, "yolo_post.json"):
        if case["status"] == "ok":
            yield f"boxes{case['i']}", lambda case=case: boxes(case, data)
    for case in listed(folder, "e2e.json"):
        yield case["name"], lambda case=case: whole_pose_model(folder, case["name"], case["frames"])


def whole_pose_model(folder: Path, name: str, num_frames: int) -> None:
    """Run frames through networks that remember what they get, and answer with what is in the files, in batches of two."""
    data = load(folder / f"{name}.npz")
    frames = [picture(folder / f"{name}_f{t}.png") for t in range(num_frames)]
    given: dict[str, list[np.ndarray]] = {"boxes": [], "pose": []}

    def network(kind: str, answers: np.ndarray) -> sessions.Network:
        def run(images: np.ndarray) -> np.ndarray:
            start = len(given[kind])
            given[kind].extend(images)
            return answers[start : start + len(images)].astype(np.float32)

        return sessions.Network(run, batch=2, fixed=False, device="a test")

    networks = topdown.Networks(network("boxes", data["yolo_raw"]), network("pose", data["heatmaps_fp16"]))
    found = list(topdown.find(frames, networks))
    yolo_in, vit_in = (np.array(given[kind]) for kind in ("boxes", "pose"))
    np.testing.assert_allclose(yolo_in[..., ::10, ::10], data["yolo_in_sub10"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(vit_in[..., ::8, ::8], data["vit_in_sub8"], rtol=0, atol=1e-5)
    width, height = map(int, data["wh"][0])
    meta = to_meta(np.array([each.points for each in found]), height, width)
    for part, points in {
        "body": meta.body,
        "lhand": meta.left_hand,
        "rhand": meta.right_hand,
        "face": meta.face,
    }.items():
        np.testing.assert_allclose(points, data[part], rtol=0, atol=2e-3 / min(width, height))


TOPICS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "01_draw_pose": draw_pose,
    "02_coco133_to_meta": coco133_to_meta,
    "03_retarget": retargeting,
    "04_face_bbox": face_bbox,
    "05_resize": resizing,
    "06_masks": masks,
    "07_pose_model": pose_model,
    "08_plan": plans,
    "09_schedule": schedules,
    "10_editing_prompts": editing_prompts,
    "11_sam_prompts": sam_prompts,
    "12_generate_loop": generate_loop,
}
NOT_BUILT = {
    "13_model": "denoising steps; networks, layouts, LoRA and bf16 are in model/test_loading.py and test_precision.py",
}
CASES = [
    pytest.param(check, id=f"{'aside' if folder == ASIDE else 'bundled'}-{topic}-{name}")
    for folder in FOLDERS
    for topic, cases in TOPICS.items()
    if (folder / topic).is_dir()
    for name, check in cases(folder / topic)
]


@pytest.mark.parametrize("check", CASES)
def test_equals_the_official_code(check: Callable[[], None]) -> None:
    check()


def test_every_topic_is_built_or_named(record_property: Callable[[str, object], None]) -> None:
    found = {path.name for folder in FOLDERS for path in folder.iterdir() if path.is_dir()}
    assert found <= set(TOPICS) | set(NOT_BUILT)
    assert set(TOPICS) <= found
    record_property(GOLDEN_NOT_BUILT, NOT_BUILT)
