"""Settings of every step, and where files live.

One frozen model per notebook holds its defaults; the notebook's `parameters` cell, the command line and params files
are three ways to fill it. Nothing here has effects or loads a heavy library, so that `wanlab --help` is quick.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

PACKAGE = Path(__file__).resolve().parent
ASSETS = PACKAGE / "assets"

PROMPT = "视频中的人在做动作"  # the official code's fixed prompt for animate: "the person in the video is moving"
NEGATIVE_PROMPT = (  # the official one
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)


def project_root() -> Path:
    """Return the folder that relative paths of notebooks and params start at: the checkout that holds `wanlab/`."""
    return PACKAGE.parent


def outputs_root() -> Path:
    """Return the folder of all runs: `outputs/` of the project, or what WANLAB_OUTPUTS names (a larger disk, say)."""
    return Path(os.environ.get("WANLAB_OUTPUTS") or project_root() / "outputs").expanduser().resolve()


def headless() -> bool:
    """Return whether a notebook runs without anyone at it: `wanlab` says so to its kernels by WANLAB_HEADLESS."""
    return bool(os.environ.get("WANLAB_HEADLESS"))


def absolute(path: Path | str) -> Path:
    """Return `path` made absolute from the project root, wherever the kernel was started."""
    return (project_root() / Path(path).expanduser()).resolve()


def shown(path: Path | str) -> str:
    """Return `path` as it may be published: from the project root if it lies inside, else its name alone.

    Manifests and reports are shared; an absolute path would tell a user's name and disks.
    """
    full = absolute(path)
    return _inside(full) or full.name


def lies_outside(path: Path | str) -> bool:
    """Return whether `shown` gives the name of `path` alone, for it lies neither in the outputs nor in the project."""
    return _inside(absolute(path)) is None


def _inside(full: Path) -> str | None:
    for root, name in ((outputs_root(), Path("outputs")), (project_root(), Path())):
        if full.is_relative_to(root):
            return (name / full.relative_to(root)).as_posix()
    return None


def placed(published: Path | str) -> Path:
    """Return the path that `shown` was given, as far as it tells: of what lies in the outputs or the project."""
    path = Path(published)
    inside = outputs_root().joinpath(*path.parts[1:])
    return inside if path.parts[:1] == ("outputs",) and inside.exists() else absolute(path)


class SettingsError(ValueError):
    """A parameter that no run should start with; its text has one line per fault."""


class Settings(BaseModel):
    """What every settings model shares: frozen, no unknown names, one clear line per fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: Any, info: Any) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        if (
            isinstance(value, str) and value.isdigit() and int(value) in kinds
        ):  # the command line's "5" for Literal[1, 5]
            return int(value)
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError(f"must be a number, got {value}; YAML reads yes, no, on and off as true and false")
        return value

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Check `values` and return the settings.

        Raises:
            SettingsError: a line per unknown name (with the nearest known one), wrong type or broken rule.
        """
        lines = [unknown_name(name, cls.model_fields) for name in values if name not in cls.model_fields]
        try:
            settings = cls(**{name: value for name, value in values.items() if name in cls.model_fields})
        except ValidationError as error:
            faults = {
                fault["loc"][:1]: fault for fault in error.errors(include_url=False)
            }  # one of a union's is enough
            lines += [_explain(cls, fault) for fault in faults.values()]
        else:
            if not lines:
                return settings
        raise SettingsError("\n".join(lines))

    def replaced(self, **changes: Any) -> Self:
        """Return a checked copy with `changes`."""
        return self.build({**self.model_dump(), **changes})

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result, ready for JSON; paths are left out: files count by content.

        A setting that came later is left out while it has its default, so that older runs keep their hash.
        """
        paths = {name for name in self.paths() if self.files(name)}
        unused = set(self._marked("later")) - set(self.given(*self._marked("later")))
        kept = self.model_dump(mode="json", exclude=paths | unused | set(self.conveniences()))
        return dict(sorted(kept.items()))

    @classmethod
    def paths(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold paths, targets among them."""
        targets = cls.targets()
        return tuple(n for n, field in cls.model_fields.items() if n in targets or Path in _kinds(field.annotation))

    @classmethod
    def targets(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold a place to write to, as text: a final / is lost in a Path."""
        return cls._marked("target")

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the paths that the field `name` holds; none where it holds a word or None."""
        value = getattr(self, name)
        if name in self.targets():
            return () if value is None else (Path(value),)
        return tuple(part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Path))

    def published(self) -> dict[str, Any]:
        """Return all settings, ready for JSON and to be shared: paths as `shown` gives them."""
        values = self.model_dump(mode="json")
        for name in self.paths():
            shown_paths = [shown(path) for path in self.files(name)]
            if shown_paths:
                values[name] = shown_paths if isinstance(getattr(self, name), tuple) else shown_paths[0]
        return values

    def places(self) -> dict[str, Any]:
        """Return what `published` leaves out, ready for JSON: the fields that hold paths outside the project, those in full."""
        found = {}
        for name in set(self.paths()) - set(self.conveniences()):
            full = [str(absolute(path)) for path in self.files(name)]
            if any(map(lies_outside, full)):
                found[name] = full if isinstance(getattr(self, name), tuple) else full[0]
        return found

    @classmethod
    def words(cls, name: str) -> tuple[str, ...]:
        """Return the words that the field `name` takes beside other values (`latest`, `auto`, …)."""
        parts: list[Any] = [cls.model_fields[name].annotation]
        while any(hasattr(part, "__args__") for part in parts):
            parts = [inner for part in parts for inner in getattr(part, "__args__", (part,))]
        return tuple(part for part in parts if isinstance(part, str))

    @classmethod
    def takes_several(cls, name: str) -> bool:
        """Return whether the field `name` holds a tuple; a text is cut at its commas."""
        return get_origin(cls.model_fields[name].annotation) is tuple

    @classmethod
    def conveniences(cls) -> tuple[str, ...]:
        """Return the names of the fields that do not change the result (`fresh`, `device`, …)."""
        return cls._marked("convenience")

    @classmethod
    def _marked(cls, mark: str) -> tuple[str, ...]:
        return tuple(n for n, f in cls.model_fields.items() if (f.json_schema_extra or {}).get(mark))  # type: ignore[union-attr]

    def given(self, *names: str) -> tuple[str, ...]:
        """Return those of the fields `names` that do not have their default."""
        return tuple(name for name in names if getattr(self, name) != type(self).model_fields[name].default)

    def _repr_html_(self) -> str:
        values = self.published()
        rows = "".join(
            f"<tr><td>{name}</td><td>{_escape(value)}</td><td>{_escape(type(self).model_fields[name].description)}</td></tr>"
            for name, value in values.items()
        )
        return f'<table class="wanlab"><tr><th>setting</th><th>value</th><th>meaning</th></tr>{rows}</table>'


def _convenience(default: Any, description: str, **rules: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"convenience": True}, **rules)


def _text_of_target(value: Any) -> Any:
    text = str(value) if isinstance(value, Path) else value
    if isinstance(text, str) and (not text.strip() or "\0" in text):
        raise ValueError(f"must name a place, got {text!r}; use None for no copy")
    return text


_Target = Annotated[str, BeforeValidator(_text_of_target)]


def _target(description: str) -> Any:
    """Return the field of a place to write to, outside the run folders: module targets says which it may be."""
    extra: dict[str, Any] = {"convenience": True, "target": True}
    return Field(None, description=description, json_schema_extra=extra)


_SAM_CHECKPOINT: Any = Field(
    "auto",
    union_mode="left_to_right",
    description="SAM2's weights: a file or folder, auto (full-size ones of the checkpoint or ComfyUI/), nano (bundled, for rendered people), none",
)
_COMPILE_SAM: Any = _convenience("auto", "compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more")


def _of_wan22(default: Any, description: str, mark: str, **rules: Any) -> Any:
    """Return a field that only the official scripts take, marked as a convenience or as having come later."""
    extra: dict[str, Any] = {"wan22": True, mark: True}
    return Field(default, description=f"wan22: {description}", json_schema_extra=extra, **rules)


_BACKEND: Any = Field(
    "wanlab",
    description="who does the work: wanlab, or wan22: the official scripts of your clone of Wan2.2",
    json_schema_extra={"later": True},
)
_WAN22_DIR: Any = _of_wan22(Path("Wan2.2"), "your clone of Wan2.2", "convenience")
_WAN22_PYTHON: Any = _of_wan22(
    None, "the clone's own Python, never wanlab's; None: .venv/bin/python in the clone", "convenience"
)


def _preview(what: str) -> Any:
    """Return the field that asks for a quick look, which came later than the other settings."""
    extra: dict[str, Any] = {"later": True}
    return Field(False, description=f"a quick look: {what}", json_schema_extra=extra)


class _Backed(Settings):
    """What the settings of a step share that the official scripts can do as well."""

    if TYPE_CHECKING:  # each model has it at a place of its own
        backend: Literal["wanlab", "wan22"]

    @model_validator(mode="after")
    def _fits_the_backend(self) -> Self:
        faults = list(self._faults_of_wan22() if self.backend == "wan22" else self._faults_of_wanlab())
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _faults_of_wanlab(self) -> Iterable[str]:
        for name in self.given(*self._marked("wan22")):
            yield f"{name} must be left out with backend wanlab, got {getattr(self, name)}: only the official scripts take it; use backend wan22"

    def _faults_of_wan22(self) -> Iterable[str]:
        raise NotImplementedError


class PreprocessSettings(_Backed):
    """Settings of one preprocessing; field names are those of the `parameters` cell of 10_preprocess."""

    driving_video: Path = Field(
        Path("wanlab/assets/sample/half.mp4"), description="film whose person's motion is taken over"
    )
    reference_image: Path = Field(
        Path("wanlab/assets/sample/character.png"), description="picture of the character that shall move"
    )
    mode: Literal["animate", "replace"] = Field(
        "animate", description="animate: the character moves as the person does; replace: takes their place in the film"
    )
    backend: Literal["wanlab", "wan22"] = _BACKEND
    start_s: float = Field(0.0, ge=0, description="seconds of the film to skip")
    max_frames: int | None = Field(None, ge=1, description="frames of the working clip at most; None: all")
    preview: bool = _preview("the first second only, at the full size")
    fps: Fraction | None = Field(None, gt=0, description="frames per second of the working clip; None: the film's own")
    resolution: str | None = Field(
        None,
        description='"width height", e.g. "1280 720": an area; shape of the reference, in replace of the film; None: the checkpoint\'s',
    )
    retarget: bool | None = Field(
        None,
        description="fit the skeleton to the reference's proportions; None: as the backend does (wanlab: off, wan22: on in animate)",
    )
    use_flux: bool = _of_wan22(False, "edit reference and first frame with FLUX before retargeting", "later")
    mask_source: Literal["auto", "segmenter", "keypoints", "official", "centre"] | Path = Field(
        "auto",
        union_mode="left_to_right",
        description="replace: what finds the person: auto (the best that is present, named), segmenter, keypoints, official, centre, a points file, a mask video",
    )
    mask_chain: str | None = Field(
        None,
        description="replace: what is done to the mask, e.g. dilate:7x3,cells:1x1; None: grow:10,blockify:32 (wan22: dilate:7x3,cells:1x1)",
    )
    sam_checkpoint: Literal["auto", "nano", "none"] | Path = _SAM_CHECKPOINT
    compile_sam: Literal["auto"] | bool = _COMPILE_SAM
    mask_video: Path | None = Field(
        None,
        description="replace: your own finished mask, white is generated anew; None: from mask_source and mask_chain",
    )
    background_video: Path | None = Field(
        None, description="replace: your own background; None: the film, black inside the mask"
    )
    pose_video: Path | None = Field(None, description="your own pose drawings; None: drawn from the key points")
    face_video: Path | None = Field(None, description="your own face crops, 512x512; None: cropped from the film")
    checkpoint: Path | None = Field(
        None, description="folder of the model; None: Wan2.2-Animate-14B/ with a GPU, else the bundled nano"
    )
    wan22_dir: Path = _WAN22_DIR
    wan22_python: Path | None = _WAN22_PYTHON
    save_path: _Target | None = _target(
        "folder that gets a copy of the finished inputs: new, empty, or inputs of wanlab's"
    )
    fresh: bool = _convenience(False, "work anew even where a finished run with the same settings exists")

    @field_validator("fps", mode="before")
    @classmethod
    def _fraction(cls, value: Any) -> Any:
        if isinstance(value, float):  # 29.97 means 2997/100, not the nearest binary fraction
            return Fraction(str(value))
        return value

    @field_validator("resolution", mode="before")
    @classmethod
    def _width_height(cls, value: Any) -> Any:
        if value is None:
            return None
        parts = list(value) if isinstance(value, list | tuple) else str(value).lower().replace("x", " ").split()
        if len(parts) != 2 or not all(str(part).isdigit() and int(part) >= 16 for part in parts):
            raise ValueError(f'must be "width height" in pixels, each at least 16, got {value!r}; use "1280 720"')
        return f"{int(parts[0])} {int(parts[1])}"

    def _faults_of_wanlab(self) -> Iterable[str]:
        yield from super()._faults_of_wanlab()
        if self.retarget:
            yield "retarget must be None or False, got True; retargeting is not built into wanlab yet, backend wan22 does it"

    def _faults_of_wan22(self) -> Iterable[str]:
        for name in self.given(*NO_UPSTREAM_ARGUMENT):
            yield f"{name} must be left out with backend wan22, got {getattr(self, name)}: the official script has no argument for it; use backend wanlab"
        if self.fps is not None and self.fps.denominator != 1:
            yield f"fps must be a whole number with backend wan22, got {self.fps}; use {round(self.fps)}, or None: the film's own"
        if self.retarget and self.mode == "replace":
            yield "retarget must be None or False in replace, where the official script never retargets, got True; use None"
        if self.use_flux and (self.mode == "replace" or self.retarget is False):
            yield "use_flux must be left out without retargeting, which it belongs to (in animate, retarget None or True); use False"


NO_UPSTREAM_ARGUMENT = (
    "start_s", "max_frames", "preview", "mask_source", "sam_checkpoint", "compile_sam", "mask_video", "background_video", "pose_video", "face_video",
)  # fmt: skip


class InspectSettings(Settings):
    """Settings of one inspection; field names are those of the `parameters` cell of 20_inspect."""

    inputs: Literal["latest"] | Path = Field(
        "latest", union_mode="left_to_right", description="folder that 10_preprocess wrote, or latest: the newest one"
    )
    driving_video: Path | None = Field(
        None, description="the film, for a folder of other tools; None: driving.mkv of the inputs"
    )
    points: Path | None = Field(
        None,
        description="clicked points and boxes (PointsEditor's JSON): the person is cut out anew; None: as the inputs have it",
    )
    edits: Path | None = Field(
        None,
        description="file of decisions to replay: the edits.json that this notebook's editors write beside the inputs; None: none",
        json_schema_extra={"later": True},
    )
    sam_checkpoint: Literal["auto", "nano", "none"] | Path = _SAM_CHECKPOINT
    compile_sam: Literal["auto"] | bool = _COMPILE_SAM
    mask_chain: str | None = Field(
        None,
        description="the chain that new inputs get; None: that of the edits, with points the one in use, else no new inputs are written",
    )
    compare: tuple[str, ...] = Field(
        ("grow:10,blockify:32", "dilate:7x3,cells:1x1", "snap:16"), description="mask chains to look at side by side"
    )
    auto_keypoint: bool = Field(
        True, description="look as well at the person that upstream's eight key points give (SAM2, else GrabCut)"
    )
    base: str | None = Field(
        None, description="variant that the others are compared with; None: the person's outline before any chain"
    )
    save_path: _Target | None = _target("folder that gets a copy of the new inputs: new, empty, or inputs of wanlab's")
    fresh: bool = _convenience(False, "work anew even where a finished run with the same settings exists")

    @field_validator("compare", mode="before")
    @classmethod
    def _chains(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value  # the command line's: chains hold no space


class _Generation(_Backed):
    """What decides a video, shared by one generation and a sweep over many."""

    inputs: Literal["latest"] | Path = Field(
        "latest",
        union_mode="left_to_right",
        description="folder that 10_preprocess or 20_inspect wrote, or latest: the newest one",
    )
    backend: Literal["wanlab", "wan22"] = _BACKEND
    checkpoint: Path | None = Field(
        None, description="folder of the model; None: Wan2.2-Animate-14B/ with a GPU, else the bundled nano"
    )
    mode: Literal["animate", "replace"] | None = Field(
        None, description="None: as the inputs are (replace where they hold src_bg.mp4 and src_mask.mp4, else animate)"
    )
    prompt: str = Field(PROMPT, description="what happens, in words; the official code always uses this one")
    num_inference_steps: int | None = Field(
        None, ge=1, le=1000, description="denoising steps per segment; customary 30 to 40; None: the checkpoint's"
    )
    guidance_scale: float | None = Field(
        None, ge=1, le=30, description="classifier-free guidance; customary 2 to 4.5, 1 is off; None: the checkpoint's"
    )
    shift: float | None = Field(
        None, gt=0, le=30, description="shift of the noise schedule; customary 3 to 5; None: the checkpoint's"
    )
    solver: Literal["unipc", "dpm++"] = Field(
        "unipc", description="the sampler: unipc, as the official command line's default, or dpm++ (wan22)"
    )
    seed: int = Field(42, ge=0, lt=2**63, description="seed of the noise")
    segment_frame_length: int | None = Field(
        None,
        description="frames per segment, 4n + 1; None: the checkpoint's",  # the VAE packs 4 frames after the first
    )
    prev_segment_conditioning_frames: Literal[1, 5] | None = Field(
        None, description="frames taken over from the segment before: 1 or 5; None: the checkpoint's"
    )
    max_frames: int | None = Field(None, ge=1, description="frames of the inputs to make at most; None: all")
    use_relighting_lora: bool = _of_wan22(
        False, "fit the character's light to the film's (replace) with relighting_lora.ckpt", "later"
    )
    no_offload: bool = _of_wan22(False, "keep the text encoder on the GPU", "convenience")
    multi_gpu: bool = _of_wan22(False, "one video on several GPUs (FSDP and Ulysses)", "convenience")
    nproc_per_node: int | None = _of_wan22(
        None, "how many GPUs with multi_gpu; None: all of this machine", "convenience", ge=2
    )
    wan22_dir: Path = _WAN22_DIR
    wan22_python: Path | None = _WAN22_PYTHON
    device: Literal["cuda", "cpu"] | None = _convenience(None, "where the model runs; None: a GPU where there is one")
    fresh: bool = _convenience(False, "work anew even where a finished run with the same settings exists")

    @field_validator("segment_frame_length")
    @classmethod
    def _is_4n_plus_1(cls, n: int | None) -> int | None:
        if n is not None and (n < 5 or n % 4 != 1):
            low = max(5, (n - 1) // 4 * 4 + 1)
            use = f"{low} or {low + 4}" if n > 5 else "5"
            raise ValueError(f"must be 4n + 1 and at least 5, got {n}; use {use}")
        return n

    def _faults_of_wanlab(self) -> Iterable[str]:
        yield from super()._faults_of_wanlab()
        if self.solver != "unipc":
            yield f"solver must be unipc with backend wanlab, got {self.solver}; use unipc, or backend wan22"

    def _faults_of_wan22(self) -> Iterable[str]:
        only_ours = [name for name in ("max_frames", "device", "preview") if name in type(self).model_fields]
        for name in self.given(*only_ours):
            yield f"{name} must be left out with backend wan22, got {getattr(self, name)}: the official script has no argument for it; use backend wanlab"
        if self.nproc_per_node is not None and not self.multi_gpu:
            yield f"nproc_per_node must be left out without multi_gpu, got {self.nproc_per_node}; use multi_gpu true"


class GenerateSettings(_Generation):
    """Settings of one generation; field names are those of the `parameters` cell of 30_generate."""

    preview: bool = _preview("the first segment only, smaller and with fewer steps")
    output_path: _Target | None = _target(
        "video (.mp4, .mov, .mkv) that gets a copy of the result; in a folder it has the run's name"
    )
    overwrite: bool = _convenience(False, "let output_path replace a file that wanlab did not write there")


class SweepSettings(_Generation):
    """Settings of one sweep; field names are those of the `parameters` cell of 40_sweep."""

    grid: dict[str, tuple[Any, ...]] = Field(
        {"shift": (3.0, 5.0)},
        description="values by setting, every combination is a point; of 30_generate's settings and mask_chain",
    )
    cases: tuple[dict[str, Any], ...] = Field((), description="further points, each with its own settings")
    preview_steps: int | None = _convenience(
        None, "for a first look: only so many steps of each point's first segment; None: all", ge=1
    )
    finish: tuple[int, ...] = _convenience((), "numbers of the points to take to the end, e.g. 3,7; (): all")
    workers: int | None = _convenience(
        None, "points at a time, each in a process of its own, with a GPU of its own; None: one after the other", ge=1
    )
    cluster: Annotated[str, Field(pattern=r"^\w+://")] | Path | None = _convenience(
        None,
        "where the workers are: a scheduler's address (tcp://…), a YAML file for a batch system; None: this machine",
        union_mode="left_to_right",
    )

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result; of swept paths the names, for `sweep` adds what lies there."""
        return {**super().identity(), **self.with_paths(shown)}

    def published(self) -> dict[str, Any]:
        """Return all settings, ready for JSON and to be shared: swept paths too as `shown` gives them."""
        return {**super().published(), **self.with_paths(shown)}

    def places(self) -> dict[str, Any]:
        """Return what `published` leaves out; of swept paths grid and cases whole."""
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
            return change(str(value)) if takes_paths and isinstance(value, str | Path) else value

        return {
            "grid": {name: [changed(name, value) for value in values] for name, values in self.grid.items()},
            "cases": [{name: changed(name, value) for name, value in case.items()} for case in self.cases],
        }

    @field_validator("finish", mode="before")
    @classmethod
    def _numbers_of_points(cls, value: Any) -> Any:
        if isinstance(value, str | int):
            return tuple(part.strip() for part in str(value).split(",") if part.strip())
        return value

    @field_validator("grid", "cases", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, str):  # the command line's: YAML, e.g. "shift: [3, 5]"
            import yaml

            try:
                value = yaml.safe_load(value)
            except yaml.YAMLError:
                raise ValueError(f"must be YAML, got {value!r}; use 'shift: [3, 5]'") from None
        return value


class ReportSettings(Settings):
    """Settings of one report; field names are those of the `parameters` cell of 50_report."""

    run: tuple[Annotated[Literal["latest"] | Path, Field(union_mode="left_to_right")], ...] = Field(
        ("latest",), description="runs of 30_generate or 40_sweep, several with commas between; latest: the newest one"
    )
    title: str | None = Field(None, description="heading of the report; None: made from the run")

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


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return the line that refuses the parameter `name`, with the nearest of the `known` names."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
    return f"unknown parameter {name}{hint}"


def unknown_choice(name: str, got: str, known: Sequence[str]) -> str:
    """Return the line that refuses `got` as the value of `name`, with the nearest of the `known` values."""
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.0)
    return f"{name} must be one of {', '.join(known)}, got {got}; use {near[0]}"


def from_notebook(model: type[Settings]) -> Settings:
    """Build the settings of the notebook that runs this, from its `parameters` cell and what was set after it.

    papermill only warns about a name that the notebook does not have, and JupyterLab not at all: so the names are read
    from the kernel's history with `ast`: those assigned from the last run of the `parameters` cell up to the cell
    that first called this function. (A live kernel holds the names of all later cells too.)

    Raises:
        SettingsError: an unknown name, a wrong type or a broken rule.
        RuntimeError: outside a notebook, or before its `parameters` cell has run.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    history: list[str] = shell.user_ns.get("In", [""])[:-1] if shell else []
    assigned = [assigned_names(source) for source in history]
    fields = set(model.model_fields)
    starts = [i for i, names in enumerate(assigned) if len(names & fields) * 2 > len(fields)]
    if shell is None or not starts:
        raise RuntimeError("run the `parameters` cell of this notebook first")
    names = set(assigned[starts[-1]])
    for source, more in zip(history[starts[-1] + 1 :], assigned[starts[-1] + 1 :], strict=True):
        if from_notebook.__name__ in source:
            break
        names |= more
    values = {
        name: shell.user_ns[name] for name in (names | fields) if name in shell.user_ns and not name.startswith("_")
    }
    return model.build(values)


def assigned_names(source: str) -> set[str]:
    """Return the names that the top level of a cell's `source` assigns; a cell that is no Python assigns none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # magics and half-written cells
        return set()
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets.append(node.target)
    return {target.id for target in targets if isinstance(target, ast.Name)}


def digest(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON, so that equal settings have equal hashes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _kinds(annotation: Any) -> set[Any]:
    """Return the plain types inside an annotation such as `int | None`."""
    inner = getattr(annotation, "__args__", None)
    return set().union(*(_kinds(part) for part in inner)) if inner else {annotation}


def _escape(value: Any) -> str:
    from html import escape

    return escape("" if value is None else str(value))


_RULES = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "is_instance_of": "a number or a fraction such as 30000/1001",
    "fraction_parsing": "a number or a fraction such as 30000/1001",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "one of {expected}",
}


def _explain(model: type[Settings], fault: Any) -> str:
    """Return one line for one fault of pydantic: the name, the rule, the value, the remedy."""
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    if fault["type"] == "value_error":
        return f"{name} {fault['ctx']['error']}" if fault["loc"] else str(fault["ctx"]["error"])
    rule = _RULES.get(fault["type"])
    context: dict[str, Any] = fault.get("ctx", {})
    rule = (
        rule.format(**{k: _short(v) for k, v in context.items()})
        if rule
        else fault["msg"].removeprefix("Input should be ")
    )
    limit = next((context[key] for key in ("ge", "le") if key in context), None)
    default = model.model_fields[name].default if name in model.model_fields else None
    remedy = _short(limit if limit is not None else default)
    return f"{name} must be {rule}, got {fault['input']!r}; use {remedy}"


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse_text(values: Mapping[str, str]) -> dict[str, Any]:
    """Return command-line texts as values: `None` and `null` mean None; numbers are read by the settings model."""
    return {name: None if text in ("None", "null") else text for name, text in values.items()}


def read_params(files: Sequence[Path]) -> dict[str, Any]:
    """Read params files (YAML mappings of name to value); later files win.

    Raises:
        FileNotFoundError: if a file is missing.
        SettingsError: if a file is not a YAML mapping.
    """
    import yaml

    values: dict[str, Any] = {}
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"params file {file} does not exist; the ones that come with wanlab are in params/")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise SettingsError(
                f"{file} must be YAML, got {str(error).splitlines()[0]}; write `name: value` lines"
            ) from None
        if content is not None and not isinstance(content, dict):
            raise SettingsError(f"{file} must hold `name: value` lines, got a {type(content).__name__}")
        values.update(content or {})
    return values
