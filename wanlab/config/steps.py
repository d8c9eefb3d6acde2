"""The five settings models, one per notebook: the only place of defaults."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from wanlab.config.base import Settings, brief
from wanlab.config.pasted import split_strength
from wanlab.config.paths import absolute, lies_outside, shown
from wanlab.config.strict import TextError, parse_yaml

PROMPT = "视频中的人在做动作"  # the official code's fixed prompt for animate: "the person in the video is moving"
NEGATIVE_PROMPT = (  # the official one
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

AUTO = "auto"  # of segment_frame_length; auto:N once it is resolved
OFFICIAL_SOLVERS = ("unipc", "dpm++")  # what generate.py takes

MAX_AREA = 3840 * 2160  # pixels of a result: nine times what the 14B model is made for
LORA = "lora"  # the setting whose paths have a strength behind them
MAX_STRENGTH = 10.0  # of a LoRA: nobody means more
MAX_POINTS = 1000  # of a sweep, checked one by one before it starts
MAX_WORKERS = 256  # processes
_RATE = r"[0-9]{1,9}(\.[0-9]{1,9})?(e[-+]?[0-9]{1,2})?|[0-9]{1,9}/0*[1-9][0-9]{0,8}"


def _convenience(default: Any, description: str, **rules: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"convenience": True}, **rules)


def _text_of_target(value: Any) -> Any:
    text = str(value) if isinstance(value, Path) else value
    if isinstance(text, str) and (not text.strip() or "\0" in text):
        raise ValueError(f"must be a path, got {text!r}; use None for no copy")
    return text


_Target = Annotated[str, BeforeValidator(_text_of_target)]


def _target(description: str) -> Any:
    """Return the field of a file or folder to write to outside the run folders; files/targets checks it."""
    extra: dict[str, Any] = {"convenience": True, "target": True}
    return Field(None, description=description, json_schema_extra=extra)


_SAM_CHECKPOINT: Any = Field(
    "auto",
    union_mode="left_to_right",
    description="weights of SAM2: a file or folder; auto: full-size ones in the checkpoint or ComfyUI/; nano: bundled, for rendered people; none",
)
_COMPILE_SAM: Any = _convenience("auto", "compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more")


def _of_wan22(default: Any, description: str, mark: str, **rules: Any) -> Any:
    """Return a field that only the official scripts take, marked as a convenience or as added later."""
    extra: dict[str, Any] = {"wan22": True, mark: True}
    return Field(default, description=f"wan22: {description}", json_schema_extra=extra, **rules)


def _later(default: Any, description: str, before: Any = None, **rules: Any) -> Any:
    """Return a field that was added later: while it has its default it is not in the hash, so that older runs are found.

    Args:
        default: of the field.
        description: of the field.
        before: another value that is not in the hash: what runs did before there was a choice.
        rules: further ones of pydantic's Field.
    """
    extra: dict[str, Any] = {"later": True, "before": before}
    return Field(default, description=description, json_schema_extra=extra, **rules)


_BACKEND: Any = Field(
    "wanlab",
    description="what runs the step: wanlab, or wan22: the official scripts in your clone of Wan2.2",
    json_schema_extra={"later": True},
)
_CHECKPOINT: Any = Field(
    None,
    description="folder of the Wan2.2-Animate weights, or a params file that names its parts; None: with a GPU the first complete one that wanlab models lists, else the bundled nano",
)
_FRESH: Any = _convenience(False, "compute again even where a finished run with the same settings exists")
_WAN22_DIR: Any = _of_wan22(Path("Wan2.2"), "your clone of Wan2.2", "convenience")
_WAN22_PYTHON: Any = _of_wan22(
    None, "Python of the clone's own environment, not wanlab's; None: .venv/bin/python in the clone", "convenience"
)


def _preview(what: str) -> Any:
    """Return the field that asks for a smaller run first; it was added later than the other settings."""
    extra: dict[str, Any] = {"later": True}
    return Field(False, description=f"a smaller run first: {what}", json_schema_extra=extra)


class _Backed(Settings, frozen=True):
    """What the settings of the steps share that the official scripts can run as well."""

    if TYPE_CHECKING:  # each model declares it at its place in the reader's order
        backend: Literal["wanlab", "wan22"]

    @property
    def is_official(self) -> bool:
        """Whether the official scripts do the step."""
        return self.backend == "wan22"

    @model_validator(mode="after")
    def _fits_the_backend(self) -> Self:
        faults = self._faults_of_wan22() if self.is_official else self._faults_of_wanlab()
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _faults_of_wanlab(self) -> list[str]:
        return [
            f"{name} must be left out with backend wanlab, got {getattr(self, name)}: only the official scripts take it; use backend wan22"
            for name in self.changed(*self._marked("wan22"))
        ]

    def _faults_of_wan22(self) -> list[str]:
        raise NotImplementedError

    def _without_upstream_argument(self, *names: str) -> list[str]:
        return [
            f"{name} must be left out with backend wan22, got {getattr(self, name)}: the official script has no argument for it; use backend wanlab"
            for name in self.changed(*names)
        ]


class PreprocessSettings(_Backed, frozen=True):
    """Settings of one preprocessing; field names are those of the `parameters` cell of 10_preprocess."""

    driving_video: Path = Field(
        Path("wanlab/assets/sample/half.mp4"), description="video of the person whose motion is transferred"
    )
    reference_image: Path = Field(
        Path("wanlab/assets/sample/character.png"), description="image of the character to animate"
    )
    mode: Literal["animate", "replace"] = Field(
        "animate",
        description="animate: the character moves as the person does; replace: takes the person's place in the video",
    )
    resolution: str | None = Field(
        None,
        description='"width height", e.g. "1280 720": an area; the shape is the reference image\'s, in replace the video\'s; None: the checkpoint\'s',
    )
    start_s: float = Field(0.0, ge=0, description="seconds to skip at the start of the video")
    max_frames: int | None = Field(None, ge=1, description="process at most this many frames; None: all")
    fps: Fraction | None = Field(
        None, ge=Fraction(1, 10), le=240, description="frames per second to resample to; None: the video's own"
    )
    deinterlace: bool = Field(
        False,
        description="make whole frames of interlaced video, whose frames are woven of two moments",
        json_schema_extra={"later": True},
    )
    person: int | str | None = _later(
        None,
        "whom to follow: a number from 10_preprocess's contact sheet, or clicks on them: x,y@frame, separated by spaces, in pixels of the working clip; None: number 1, with detectors of a checkpoint the largest in each frame, as upstream",
        union_mode="left_to_right",
    )
    pose_video: Path | None = Field(None, description="your own pose drawings; None: drawn from the keypoints")
    face_video: Path | None = Field(
        None, description="your own face crops, 512x512; None: cropped from the driving video"
    )
    face_crop: Literal["official", "steady"] = _later(
        "official",
        "how faces are cropped: official (each frame for itself, as upstream), steady (one size, moved between pixels)",
    )
    detectors: Literal["auto", "bundled"] | Path = _later(
        "auto",
        "what finds body, hands and face: bundled, or a folder with YOLOv10m and ViTPose-H (a checkpoint's, ComfyUI's); auto: those where they are, else bundled",
        before="bundled",
        union_mode="left_to_right",
    )
    pose_channel_order: Literal["bgr", "rgb"] = _later(
        "bgr", "order of the colours that ViTPose gets: bgr as the official code, rgb as ComfyUI's nodes"
    )
    detector_filter: Literal["blur", "brighten"] | None = _later(
        None,
        "what detectors see of the driving video: None: its frames as they are, as upstream; blur: without noise; brighten: lighter, for dark clips",
    )
    retarget: Literal["wanlab", "official"] | bool | None = Field(
        None,
        union_mode="left_to_right",
        description="animate: give the skeleton the reference's proportions: wanlab, official (upstream's arithmetic), False: the driver's; None: on in animate (wanlab's, with wan22 upstream's)",
    )
    use_flux: bool = _later(
        False, "edit reference and first frame with FLUX.1-Kontext (gated weights, 34 GB) before retargeting"
    )
    mask_source: Literal["auto", "segmenter", "keypoints", "official", "centre"] | Path = Field(
        "auto",
        union_mode="left_to_right",
        description="replace: where the person's mask comes from: auto (the best available; its name is printed), segmenter, keypoints, official, centre, a points file, a mask video",
    )
    mask_chain: str | None = Field(
        None,
        description="replace: how the mask is enlarged, e.g. dilate:7x3,cells:1x1; None: grow:10,blockify:32 (wan22: dilate:7x3,cells:1x1)",
    )
    mask_video: Path | None = Field(
        None,
        description="replace: your own finished mask, white is generated; None: made with mask_source and mask_chain",
    )
    background_video: Path | None = Field(
        None, description="replace: your own background; None: the driving video, black inside the mask"
    )
    sam_checkpoint: Literal["auto", "nano", "none"] | Path = _SAM_CHECKPOINT
    compile_sam: Literal["auto"] | bool = _COMPILE_SAM
    backend: Literal["wanlab", "wan22"] = _BACKEND
    wan22_dir: Path = _WAN22_DIR
    wan22_python: Path | None = _WAN22_PYTHON
    checkpoint: Path | None = _CHECKPOINT
    preview: bool = _preview("the first second only, at the full size")
    save_path: _Target | None = _target(
        "folder to copy the finished inputs to: new, empty, or holding inputs that wanlab wrote"
    )
    fresh: bool = _FRESH

    @field_validator("fps", mode="before")
    @classmethod
    def _fraction(cls, value: Any) -> Any:
        if isinstance(value, float) and math.isfinite(value):  # 29.97 means 2997/100, not the nearest binary fraction
            return Fraction(str(value))
        if isinstance(value, str | float) and not re.fullmatch(_RATE, str(value).strip()):  # Fraction reads 1e999999999
            raise ValueError(f"must be a number or a fraction such as 30000/1001, got {brief(value)}; use None")
        return value

    @field_validator("resolution", mode="before")
    @classmethod
    def _width_height(cls, value: Any) -> Any:
        if value is None:
            return None
        parts = list(value) if isinstance(value, list | tuple) else str(value).lower().replace("x", " ").split()
        sides = [int(part) for part in parts if re.fullmatch("[0-9]{1,6}", str(part))]
        if len(parts) != 2 or len(sides) != 2 or min(sides) < 16:
            raise ValueError(f'must be "width height" in pixels, each at least 16, got {brief(value)}; use "1280 720"')
        if sides[0] * sides[1] > MAX_AREA:
            raise ValueError(
                f'must be an area of at most 3840x2160 = {MAX_AREA:,} pixels, got {value!r}; use "3840 2160"'
            )
        return f"{sides[0]} {sides[1]}"

    def _faults_of_wanlab(self) -> list[str]:
        faults = super()._faults_of_wanlab()
        if self.retarget and self.mode == "replace":
            faults.append(
                f"retarget must be None or False in replace, where the person keeps their place in the video, got {self.retarget}; use None"
            )
        if self.retarget and self.pose_video is not None:
            faults.append(
                f"retarget must be None or False with a pose_video, which is taken as it is, got {self.retarget}; use None"
            )
        if self.face_crop != "official" and self.face_video is not None:
            faults.append(
                f"face_crop must be left out with a face_video, which is taken as it is, got {self.face_crop}; use official"
            )
        faults += self._faults_of_flux()
        return faults

    def _faults_of_wan22(self) -> list[str]:
        faults = self._without_upstream_argument(*NO_UPSTREAM_ARGUMENT)
        if self.fps is not None and self.fps.denominator != 1:
            faults.append(
                f"fps must be a whole number with backend wan22, got {self.fps}; use {round(self.fps)}, or None: the video's own"
            )
        if self.retarget and self.mode == "replace":
            faults.append(
                f"retarget must be None or False in replace, where the official script never retargets, got {self.retarget}; use None"
            )
        if self.retarget == "wanlab":
            faults.append("retarget must be official with backend wan22, got wanlab; use official, or None")
        return faults + self._faults_of_flux()

    def _faults_of_flux(self) -> list[str]:
        if self.use_flux and (self.mode == "replace" or self.retarget is False or self.pose_video is not None):
            return [
                "use_flux must be left out without retargeting, which it belongs to (in animate, retarget None or on); use False"
            ]
        return []


NO_UPSTREAM_ARGUMENT = (
    "start_s", "max_frames", "deinterlace", "person", "preview", "detectors", "pose_channel_order", "detector_filter", "face_crop", "mask_source", "sam_checkpoint", "compile_sam", "mask_video", "background_video", "pose_video", "face_video",
)  # fmt: skip


class InspectSettings(Settings, frozen=True):
    """Settings of one inspection; field names are those of the `parameters` cell of 20_inspect."""

    inputs: Literal["latest"] | Path = Field(
        "latest", union_mode="left_to_right", description="folder that 10_preprocess wrote, or latest: the newest one"
    )
    driving_video: Path | None = Field(
        None, description="the driving video, for inputs that other tools wrote; None: driving.mkv of the inputs"
    )
    points: Path | None = Field(
        None,
        description="clicked points and boxes (PointsEditor's JSON) to segment the person from; None: the mask of the inputs",
    )
    edits: Path | None = Field(
        None,
        description="decisions to apply: the edits.json that this notebook's editors write beside the inputs; None: none",
        json_schema_extra={"later": True},
    )
    pose_cleaning: str | None = _later(
        None,
        "rules that mend the pose, e.g. gaps:6,jumps,swaps,hands:0.6; what they find is added to edits.json, where it can be undone; None: none",
    )
    mask_chain: str | None = Field(
        None,
        description="mask chain of the new inputs; None: the one in edits, with points that of the inputs, else no new inputs are written",
    )
    compare: tuple[str, ...] = Field(
        ("grow:10,blockify:32", "dilate:7x3,cells:1x1", "snap:16"),
        examples=["grow:10 snap:16"],
        description="mask chains to show side by side",
        max_length=16,
    )
    auto_keypoint: bool = Field(
        True,
        description="also show the mask that the official code's eight keypoints give (SAM2, else GrabCut)",
    )
    base: str | None = Field(
        None, description="mask that the others are compared with; None: the person's mask before any chain"
    )
    sam_checkpoint: Literal["auto", "nano", "none"] | Path = _SAM_CHECKPOINT
    compile_sam: Literal["auto"] | bool = _COMPILE_SAM
    save_path: _Target | None = _target(
        "folder to copy the new inputs to: new, empty, or holding inputs that wanlab wrote"
    )
    fresh: bool = _FRESH

    @field_validator("compare", mode="before")
    @classmethod
    def _chains(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value  # the command line's: chains hold no space


class _Generation(_Backed, frozen=True):
    """What decides a video, shared by one generation and a sweep over many."""

    inputs: Literal["latest"] | Path = Field(
        "latest",
        union_mode="left_to_right",
        description="folder that 10_preprocess or 20_inspect wrote, or latest: the newest one",
    )
    mode: Literal["animate", "replace"] | None = Field(
        None, description="None: replace where the inputs hold src_bg.mp4 and src_mask.mp4, else animate"
    )
    prompt: str = Field(PROMPT, description="text prompt; the official code always uses this one")
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="denoising steps per segment; usual 20 to 40; None: the checkpoint's"
    )
    guidance_scale: float | None = Field(
        None, ge=1, le=30, description="classifier-free guidance; usual 2 to 4.5, 1 is off; None: the checkpoint's"
    )
    shift: float | None = Field(
        None, gt=0, le=30, description="shift of the noise schedule; usual 3 to 5; None: the checkpoint's"
    )
    seed: int = Field(42, ge=0, lt=2**63, description="seed of the noise")
    max_frames: int | None = Field(None, ge=1, description="generate at most this many frames; None: all of the inputs")
    segment_frame_length: int | str | None = Field(
        None,
        description="frames per segment, 4n + 1; auto: as few and as short as the clip needs, up to the checkpoint's, or auto:49; None: the checkpoint's",
    )
    prev_segment_conditioning_frames: Literal[1, 5] | None = Field(
        None, description="last frames of a segment that condition the next: 1 or 5; None: the checkpoint's"
    )
    continue_from: Literal["latest"] | Path | None = _later(
        None,
        "run of 30_generate whose result this one goes on from, of the same size, or latest: the newest; None: a start of its own",
        union_mode="left_to_right",
    )
    solver: Literal["unipc", "dpm++", "euler", "lcm"] = Field(
        "unipc",
        description="sampling method: unipc, the official default; dpm++; euler or lcm, which distilled models need",
    )
    sigma_schedule: Literal["linear", "simple", "normal"] = _later(
        "linear", "noise levels of the steps: linear, as the official code; simple or normal, as ComfyUI's schedulers"
    )
    precision: Literal["fast", "official"] = _later(
        "fast",
        "official: float32 where the official code keeps it, slower; fast: rounded after each block, as diffusers",
    )
    quantization: Literal["none", "fp8", "int8"] = _later(
        "none",
        "the blocks' weights in 8 bits with a scale a row: half the memory, less exact; fp8 multiplies in 8 bits too, on GPUs that can",
    )
    attention: Literal["auto", "sdpa", "flash2", "flash3", "flash3_fp8", "sage"] = _later(
        "auto",
        "attention kernel; auto: FlashAttention 3 on Hopper where it is installed, else PyTorch's; flash3_fp8 and sage are less exact",
    )
    vae_precision: Literal["float32", "bfloat16"] = _later(
        "float32", "of the VAE; bfloat16 takes little more than half the time and memory, 46 dB from float32 or better"
    )
    noise_device: Literal["cpu", "cuda"] = _later(
        "cpu", "where noise is drawn: cpu, the same on every machine; or cuda, as the official code"
    )
    pose_strength: float = _later(
        1.0, "how strongly the skeleton acts; 1 as the model was trained, 0: not at all", ge=0, le=10
    )
    face_strength: float = _later(
        1.0, "how strongly the face crops act; 1 as the model was trained, 0: not at all", ge=0, le=10
    )
    colour_hold: bool = _later(
        False,
        "give later segments the mean colours and contrast of the first, against drift; in replace inside the mask",
    )
    more_references: tuple[Path, ...] = _later(
        (),
        "further images of the same character, separated by commas, which CLIP sees beside the reference; unproven: the model was trained with one; empty: none",
    )
    lora: tuple[Path, ...] = _later(
        (),
        "LoRAs, each a file or file:strength, several separated by commas, e.g. lightx2v.safetensors:0.8; empty: none",
    )
    use_relighting_lora: bool = _later(
        False, "adapt the character's lighting to the video's (replace) with the checkpoint's relighting LoRA"
    )
    backend: Literal["wanlab", "wan22"] = _BACKEND
    no_offload: bool = _convenience(False, "the same as offload none; wan22: keep the text encoder on the GPU")
    multi_gpu: bool = _of_wan22(False, "one video on several GPUs (FSDP and Ulysses)", "convenience")
    nproc_per_node: int | None = _of_wan22(
        None, "how many GPUs with multi_gpu; None: all of this machine", "convenience", ge=2
    )
    wan22_dir: Path = _WAN22_DIR
    wan22_python: Path | None = _WAN22_PYTHON
    checkpoint: Path | None = _CHECKPOINT
    device: Literal["cuda", "cpu"] | None = _convenience(None, "device the model runs on; None: a GPU if there is one")
    offload: Literal["auto", "none", "blocks"] = _convenience(
        "auto",
        "auto: as much of the model stays in host memory as must; none: all on the GPU; blocks: all blocks travel",
    )
    compile_model: Literal["auto"] | bool = _convenience(
        "auto",
        "compile the model's blocks, never on a CPU: half a minute once for each size, then quicker; auto: on a GPU",
    )
    gpu_memory_gb: float | None = _convenience(
        None, "most of the GPU's memory that is used, 10^9 bytes each; None: what is free", gt=0, le=10_000
    )
    fresh: bool = _FRESH
    video_quality: int = _convenience(
        14,
        "of result.mp4: x264's crf, 0 to 40; less is better and larger; another one is written from what is there",
        ge=0,
        le=40,
    )

    @field_validator(LORA, mode="before")
    @classmethod
    def _with_strengths(cls, value: Any) -> Any:
        if value is None:
            return ()
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str | Path) for part in parts):
            raise ValueError(
                f"must be files, each with a strength where it is not 1, got {brief(value)}; use file.safetensors:0.8"
            )
        texts = [str(part).strip() for part in parts if str(part).strip()]
        for text in texts:
            file, strength = split_strength(text)
            if abs(float(strength[1:] or 1)) > MAX_STRENGTH:
                raise ValueError(f"must have strengths of -10 to 10, got {strength[1:]}; use {file}:1")
        return tuple(texts)

    def loras(self) -> tuple[tuple[Path, float], ...]:
        """Return the LoRAs' files and strengths."""
        pairs = (split_strength(str(path)) for path in self.lora)
        return tuple((Path(file), float(strength[1:] or 1)) for file, strength in pairs)

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the paths that the field `name` holds, without a LoRA's strength; none where it holds a word or None."""
        return tuple(file for file, _ in self.loras()) if name == LORA else super().files(name)

    def published(self) -> dict[str, Any]:
        """Return all settings, ready for JSON and to be shared: paths as `shown` gives them."""
        return {**super().published(), LORA: self._with_their_strengths(shown)}

    def places(self) -> dict[str, Any]:
        """Return what `published` leaves out, ready for JSON: the fields that hold paths outside the project, those in full."""
        found = super().places()
        return {**found, LORA: self._with_their_strengths(lambda path: str(absolute(path)))} if LORA in found else found

    @classmethod
    def with_paths_changed(cls, name: str, text: str, change: Callable[[str], str]) -> str:
        """Return the text of the field `name` with each path in it replaced by what `change` makes of it; strengths stay."""

        def file_changed(part: str) -> str:
            file, strength = split_strength(part)
            return change(file) + strength

        return super().with_paths_changed(name, text, file_changed if name == LORA else change)

    def _with_their_strengths(self, spelled: Callable[[Path], str]) -> list[str]:
        pairs = (split_strength(str(path)) for path in self.lora)
        return [spelled(Path(file)) + strength for file, strength in pairs]

    @field_validator("more_references", mode="before")
    @classmethod
    def _cut_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            return _cut(value)
        return () if value is None else value

    @field_validator("segment_frame_length", mode="before")
    @classmethod
    def _is_4n_plus_1(cls, given: Any) -> Any:
        if given in (None, AUTO):
            return given
        number = int(given) if isinstance(given, float) and given.is_integer() else given
        text = str(number).removeprefix(f"{AUTO}:").strip()
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 6:
            raise ValueError(f"must be 4n + 1, {AUTO}, or {AUTO}:N with at most N frames, got {brief(given)}; use 77")
        n = int(text)
        if n < 5 or n % 4 != 1:  # the VAE packs 4 frames after the first
            low = max(5, (n - 1) // 4 * 4 + 1)
            use = f"{low} or {low + 4}" if n > 5 else "5"
            raise ValueError(f"must be 4n + 1 and at least 5, got {number}; use {use}")
        return f"{AUTO}:{n}" if str(number).startswith(AUTO) else n

    def _faults_of_wanlab(self) -> list[str]:
        faults = super()._faults_of_wanlab()
        if self.no_offload and self.offload == "blocks":
            faults.append("no_offload must be left out with offload blocks, got True; use one of the two")
        return faults

    def _faults_of_wan22(self) -> list[str]:
        ours = (
            LORA,
            "more_references",
            "max_frames",
            "continue_from",
            "sigma_schedule",
            "precision",
            "quantization",
            "attention",
            "vae_precision",
            "noise_device",
            "pose_strength",
            "face_strength",
            "colour_hold",
            "device",
            "offload",
            "compile_model",
            "gpu_memory_gb",
            "video_quality",
            "preview",
        )
        faults = self._without_upstream_argument(*(name for name in ours if name in type(self).model_fields))
        if self.solver not in OFFICIAL_SOLVERS:
            faults.append(
                f"solver must be {' or '.join(OFFICIAL_SOLVERS)} with backend wan22, got {self.solver}: "
                "the official script has no other; use unipc, or backend wanlab"
            )
        if isinstance(self.segment_frame_length, str):
            faults.append(
                f"segment_frame_length must be a number with backend wan22, got {self.segment_frame_length}: the official script "
                "makes all segments equally long; use 77"
            )
        if self.nproc_per_node is not None and not self.multi_gpu:
            faults.append(
                f"nproc_per_node must be left out without multi_gpu, got {self.nproc_per_node}; use multi_gpu true"
            )
        return faults


class GenerateSettings(_Generation, frozen=True):
    """Settings of one generation; field names are those of the `parameters` cell of 30_generate."""

    preview: bool = _preview("the first segment only, smaller and with fewer steps")
    output_path: _Target | None = _target(
        "video file (.mp4, .mov, .mkv) or folder to copy the result to; in a folder it gets the run's name"
    )
    overwrite: bool = _convenience(False, "allow output_path to replace a file that wanlab did not write")


class ResolvedGenerateSettings(GenerateSettings, frozen=True):
    """Settings of one generation in which nothing is `None` that means "as the checkpoint recommends"."""

    if TYPE_CHECKING:  # told to the type checker alone: fields, defaults and hash stay those of GenerateSettings
        inputs: Path
        checkpoint: Path = Path()
        mode: Literal["animate", "replace"]
        num_inference_steps: int
        guidance_scale: float
        shift: float
        segment_frame_length: int | str
        prev_segment_conditioning_frames: Literal[1, 5]

    @model_validator(mode="after")
    def _leaves_nothing_open(self) -> Self:
        names = (
            "checkpoint", "mode", "num_inference_steps", "guidance_scale", "shift", "segment_frame_length", "prev_segment_conditioning_frames",
        )  # fmt: skip
        if left := [name for name in names if getattr(self, name) is None]:
            raise ValueError(f"{left[0]} must be resolved, got None; use generate.resolve")
        return self


class _Points(Settings, frozen=True):
    """What a sweep varies: a class of its own, since a subclass's fields come last and these are read first."""

    grid: dict[str, tuple[Any, ...]] = Field(
        {"shift": (3.0, 5.0)},
        examples=['{"shift": [3, 5]}'],
        description="settings of 30_generate, or mask_chain, each with its values; every combination is one point",
    )
    cases: tuple[dict[str, Any], ...] = Field(
        (), examples=['[{"seed": 1}, {"seed": 2}]'], description="further points, each a set of settings"
    )
    preview_steps: int | None = _convenience(
        None, "for a first look: stop after this many steps of each point's first segment; None: all", ge=1
    )
    finish: tuple[int, ...] = _convenience(
        (), "numbers of the points to compute completely, e.g. 3,7; empty: all", examples=["3,7"]
    )


class SweepSettings(_Generation, _Points, frozen=True):
    """Settings of one sweep; field names are those of the `parameters` cell of 40_sweep."""

    workers: int | None = _convenience(
        None,
        "points computed at a time, each in its own process on its own GPU; None: one after the other",
        ge=1,
        le=MAX_WORKERS,
    )
    cluster: Annotated[str, Field(pattern=r"^\w+://")] | Path | None = _convenience(
        None,
        "where the workers run: a Dask scheduler's address (tcp://…) or a YAML file for a batch system; None: this machine",
        union_mode="left_to_right",
    )

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result; of swept paths the names: `sweep` adds the files' contents."""
        return {**super().identity(), **self.with_paths(shown)}

    def published(self) -> dict[str, Any]:
        """Return all settings, ready for JSON and to be shared: swept paths too as `shown` gives them."""
        return {**super().published(), **self.with_paths(shown)}

    def places(self) -> dict[str, Any]:
        """Return what `published` leaves out; where swept paths are among it, all of grid and cases."""
        outside: list[bool] = []

        def full(path: str) -> str:
            outside.append(lies_outside(path))
            return str(absolute(path))

        swept = self.with_paths(full)
        return {**super().places(), **(swept if any(outside) else {})}

    def with_paths(self, change: Callable[[str], str]) -> dict[str, Any]:
        """Return `grid` and `cases`, ready for JSON, with every path in them replaced by what `change` makes of it."""

        def changed(name: str, value: Any) -> Any:
            takes_paths = name in GenerateSettings.paths() and value not in GenerateSettings.words(name)
            if not takes_paths or not isinstance(value, str | Path):
                return value
            return GenerateSettings.with_paths_changed(
                name, str(value), lambda path: change(path) if path.strip() else ""
            )

        return {
            "grid": {name: [changed(name, value) for value in values] for name, values in self.grid.items()},
            "cases": [{name: changed(name, value) for name, value in case.items()} for case in self.cases],
        }

    @field_validator("finish", mode="before")
    @classmethod
    def _numbers_of_points(cls, value: Any) -> Any:
        if isinstance(value, str | int):
            return _cut(value)
        return value

    @field_validator("grid", mode="before")
    @classmethod
    def _lists_of_plain_values(cls, value: Any) -> Any:
        value = _from_text(value)
        if not isinstance(value, Mapping):
            raise ValueError(f'must be names with their values, got {brief(value)}; use {{"shift": [3, 5]}}')
        for name, values in value.items():
            if not isinstance(values, list | tuple):
                one = '"3.0"' if isinstance(values, Mapping) else json.dumps(values, ensure_ascii=False, default=str)
                raise ValueError(
                    f'must have a list of values for {name}, got {brief(values)}; use {{"{name}": [{one}]}}'
                )
            for each in values:
                _check_plain(str(name), each)
        if math.prod(map(len, value.values())) > MAX_POINTS:
            raise ValueError(
                f"must have at most {MAX_POINTS} points, got {' x '.join(str(len(v)) for v in value.values())}; use fewer values"
            )
        return value

    @field_validator("cases", mode="before")
    @classmethod
    def _plain_cases(cls, value: Any) -> Any:
        value = _from_text(value)
        if not isinstance(value, list | tuple) or not all(isinstance(case, Mapping) for case in value):
            raise ValueError(f'must be a list of settings, got {brief(value)}; use [{{"seed": 1}}, {{"seed": 2}}]')
        for name, each in itertools.chain.from_iterable(case.items() for case in value):
            _check_plain(str(name), each)
        if len(value) > MAX_POINTS:
            raise ValueError(f"must have at most {MAX_POINTS} points, got {len(value)}; use fewer")
        return value


def _cut(value: object) -> tuple[str, ...]:
    """Return what stands between the commas of a text, without blanks and what is empty."""
    return tuple(part.strip() for part in str(value).split(",") if part.strip())


def longest_segment(segment_frame_length: int | str) -> int:
    """Return the most frames that a segment may have, of a resolved setting."""
    return int(str(segment_frame_length).removeprefix(f"{AUTO}:"))


def _from_text(value: Any) -> Any:
    """Return the value of the command line's YAML, e.g. "shift: [3, 5]"."""
    if not isinstance(value, str):
        return value
    try:
        return parse_yaml(value)[0]
    except TextError as error:
        raise ValueError(str(error).replace("`name: value` lines", "'shift: [3, 5]'")) from None


def _check_plain(name: str, value: Any) -> None:
    """Refuse a list or mapping as one value of a sweep's points."""
    if isinstance(value, Mapping):
        text = ",".join(f"{word}:{number}" for word, number in value.items()) if name == "mask_chain" else "value"
        raise ValueError(
            f"must have plain values for {name}, got {brief(value)}, a mapping: YAML makes one of a colon with a blank; "
            f'use {{"{name}": ["{text[:60]}"]}}'
        )
    if isinstance(value, list | tuple | set):
        raise ValueError(
            f'must have plain values for {name}, got the list {brief(value)} as one; use {{"{name}": [3, 5]}}'
        )


class ReportSettings(Settings, frozen=True):
    """Settings of one report; field names are those of the `parameters` cell of 50_report."""

    run: tuple[Annotated[Literal["latest"] | Path, Field(union_mode="left_to_right")], ...] = Field(
        ("latest",), description="runs of 30_generate or 40_sweep, separated by commas; latest: the newest one"
    )
    title: str | None = Field(None, description="heading of the report; None: from the run")
    winner: int | None = _later(
        None, "number of the point that is shown as the winner; None: the one starred in 40_sweep", ge=1
    )
    full: bool = _later(False, "hold the full-quality videos too, so that a page that is sent away keeps its links")

    @field_validator("run", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


NOTEBOOKS: dict[str, tuple[str, type[Settings]]] = {
    "preprocess": ("10_preprocess", PreprocessSettings),
    "inspect": ("20_inspect", InspectSettings),
    "generate": ("30_generate", GenerateSettings),
    "sweep": ("40_sweep", SweepSettings),
    "report": ("50_report", ReportSettings),
}
