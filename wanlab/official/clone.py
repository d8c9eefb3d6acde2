"""What the official scripts need on this machine: their clone, its own Python, the checkpoint; found, or the command that gets it.

Nothing is installed or downloaded here: what is missing is answered with the commands that bring it.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import config, runs
from wanlab.files import fingerprints, weights
from wanlab.model import attention, checkpoints
from wanlab.model.parts import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER, VAE
from wanlab.model.parts import SHARDS as INDEX
from wanlab.official.process import FOREIGN

REPOSITORY = "https://github.com/Wan-Video/Wan2.2"
MODEL = "Wan-AI/Wan2.2-Animate-14B"  # at Hugging Face and at ModelScope
FLUX = "black-forest-labs/FLUX.1-Kontext-dev"
CHECKPOINT = Path("Wan2.2-Animate-14B")
PREPROCESS = "wan/modules/animate/preprocess/preprocess_data.py"
GENERATE = "generate.py"
MODULES = {  # what each script imports that is not in everybody's environment; sam2 is imported in animate too
    PREPROCESS: ("torch", "cv2", "diffusers", "decord", "onnxruntime", "moviepy", "loguru", "sam2"),
    GENERATE: ("torch", "diffusers", "transformers", "decord", "peft", "easydict", "librosa", "flash_attn"),
}
KERNELS = {  # module that upstream looks for: the kernel
    "flash_attn_interface": "FlashAttention 3",
    "flash_attn": "FlashAttention 2",
}
PROBE = """
import importlib.util, json, platform, sys
facts = {"python": platform.python_version(), "prefix": sys.prefix}
facts["modules"] = [name for name in dict.fromkeys(sys.argv[1:]) if importlib.util.find_spec(name)]
if "torch" in facts["modules"]:
    import torch
    facts |= {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": torch.cuda.device_count()}
    if facts["gpus"]:
        facts["gpu"] = torch.cuda.get_device_name(0)
for name in ("flash_attn", "flash_attn_interface"):
    if name in facts["modules"]:
        try:
            __import__(name)
        except Exception as error:
            facts["modules"].remove(name)
            facts["broken"] = f"{name} cannot be imported: {error}"
print(json.dumps(facts))
"""
ITS_TOKENIZER, LORA = "xlm-roberta-large", "relighting_lora.ckpt"
PARTS = {  # of the checkpoint: which files, as the clients' patterns; * takes folders too
    "process_checkpoint": ("process_checkpoint/*",),
    "transformer": ("config.json", "diffusion_pytorch_model*"),
    "text_encoder": (TEXT_ENCODER, f"{TOKENIZER}/*"),
    "image_encoder": (IMAGE_ENCODER, f"{ITS_TOKENIZER}/*"),
    "vae": (VAE,),
    "relighting_lora": ("relighting_lora*",),
    "flux": (),  # a repository of its own
}
SOURCES = ("huggingface", "modelscope")
_whole: dict[tuple[Path, str], dict[str, Any]] = {}  # facts of interpreters that have all that a script needs


class Clone(NamedTuple):
    """A usable clone of Wan2.2.

    Attributes:
        folder: where it is.
        python: its own interpreter.
        commit: of the clone; without git a hash of its scripts.
        facts: what its interpreter reports: `python`, `torch`, `cuda`, `gpus`, `gpu`, `modules`, `broken`.
    """

    folder: Path
    python: Path
    commit: str
    facts: Mapping[str, Any]

    @property
    def kernel(self) -> str:
        """The attention kernel that upstream will pick for its transformer."""
        return next((kernel for module, kernel in KERNELS.items() if module in self.facts["modules"]), "none")

    def describe(self) -> str:
        """Say in a line what the scripts run on."""
        facts = self.facts
        gpus = f"{facts['gpus']} x {facts['gpu']}" if facts.get("gpus") else "no GPU"
        return (
            f"Wan2.2 {self.commit[:12]}{'-dirty' if '-dirty' in self.commit else ''}, Python {facts['python']}, torch {facts.get('torch')} for CUDA {facts.get('cuda')}, {gpus}, "
            f"attention by {self.kernel}"
        )


def find_clone(settings: Any, script: str, arguments: Sequence[str]) -> Clone:
    """Return the clone that `settings` name, checked for one script.

    Args:
        settings: with `wan22_dir` and `wan22_python`.
        script: PREPROCESS or GENERATE.
        arguments: what will be given to it; those that begin with -- must be known to its parser.

    Raises:
        FileNotFoundError, SettingsError: what is missing, with the commands that bring it.
    """
    folder = config.absolute(settings.wan22_dir)
    if not (folder / script).is_file():
        if (folder / ".git").exists() or (folder / GENERATE).is_file():
            raise FileNotFoundError(
                f"wan22_dir must be a clone of Wan2.2 with {script}, got {settings.wan22_dir}, which is of before Animate; "
                f"bring it up to date: git -C {shlex.quote(str(settings.wan22_dir))} pull"
            )
        what = f"it has no {script}" if folder.is_dir() else "it does not exist"
        raise FileNotFoundError(
            f"wan22_dir must be a clone of Wan2.2, got {settings.wan22_dir}: {what}; make one:\n{setup(settings.wan22_dir)}"
        )
    known = _texts((folder / script).read_text(encoding="utf-8"))
    unknown = [word for word in arguments if word.startswith("--") and word not in known]
    if unknown:
        raise config.SettingsError(
            f"{script} of the clone must know {', '.join(unknown)}, which it does not; bring the clone up to date: "
            f"git -C {shlex.quote(str(settings.wan22_dir))} pull"
        )
    python = _python(settings, folder)
    facts = _whole.get((python, script)) or _probe(python, MODULES[script] + tuple(KERNELS))
    if Path(facts["prefix"]).resolve() == Path(sys.prefix).resolve():
        raise config.SettingsError(
            f"wan22_python must be an environment of the clone's own, got wanlab's, whose packages are too new for it; make one:\n{setup(settings.wan22_dir)}"
        )
    missing = [name for name in MODULES[script] if name not in facts["modules"]]
    if missing:
        hint = f"\n{facts['broken']}" if "broken" in facts else ""
        if missing == ["flash_attn"] and facts.get("cuda"):
            names = attention.wheel(facts["python"], facts["torch"], facts["cuda"])
            hint += f"\na prebuilt wheel of flash-attn must have {names} in its name: docs/attention.md"
        raise config.SettingsError(
            f"wan22_python must have the clone's packages, it lacks {', '.join(missing)}; install them:\n{setup(settings.wan22_dir)}{hint}"
        )
    _whole[python, script] = facts
    return Clone(folder, python, commit(folder), facts)


def setup(folder: Path) -> str:
    """Return the commands that set up a clone at `folder`, a line each; README shows the same."""
    return "\n".join(
        [
            f"git clone {REPOSITORY} {shlex.quote(str(folder))}",
            f"cd {shlex.quote(str(folder))}",
            "python3.12 -m venv .venv                # Python 3.10 to 3.12: it wants numpy 1",
            ".venv/bin/pip install torch torchvision setuptools wheel",
            "grep -v flash_attn requirements.txt | .venv/bin/pip install -r /dev/stdin",
            "# compiles sam2: needs nvcc, and a GPU in sight or TORCH_CUDA_ARCH_LIST (8.0 for an A100, 8.9 for a 4090, 9.0 for an H100)",
            ".venv/bin/pip install --no-build-isolation -r requirements_animate.txt moviepy librosa einops 'peft<0.18' 'numpy<2'",
            ".venv/bin/pip install --no-build-isolation flash-attn   # compiles for long; a prebuilt wheel: docs/attention.md",
        ]
    )


def download(source: str, only: str | None = None, folder: Path = CHECKPOINT) -> list[str]:
    """Return the command that downloads the checkpoint, or a part of it, into `folder`; it continues where it stopped.

    Args:
        source: one of SOURCES.
        only: one of PARTS; None: all of the model's repository.
        folder: the checkpoint's.
    """
    name, patterns = MODEL, PARTS[only] if only else ()
    if only == "flux":
        name, folder = FLUX, folder / "process_checkpoint" / FLUX.partition("/")[2]
    if source == "huggingface":
        included = [word for pattern in patterns for word in ("--include", pattern)]
        return ["hf", "download", name, "--local-dir", str(folder), *included]
    included = ["--include", *patterns] if patterns else []
    return ["modelscope", "download", "--model", name, "--local_dir", str(folder), *included]


def find_checkpoint(path: Path | None, script: str, *, replacing: bool, flux: bool = False, lora: bool = False) -> Path:
    """Return the folder of the original checkpoint, complete as far as `script` needs it.

    Raises:
        FileNotFoundError: the files that are missing, and the commands that bring them.
    """
    given = path or CHECKPOINT
    folder = config.absolute(given)
    faults = {
        name: fault for name in _names(folder, script, replacing, flux, lora) if (fault := weights.fault(folder / name))
    }
    if faults:
        missing = [name for name, fault in faults.items() if fault == "is missing"]
        damaged = [f"{name} {fault}" for name, fault in faults.items() if fault != "is missing"]
        named = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        said = "; ".join([*([f"lacks {named}"] if missing else []), *damaged[:3]])
        only = _part_of(list(faults)) if folder.is_dir() else "process_checkpoint" if script == PREPROCESS else None
        commands = "\n".join(shlex.join(download(source, only, given)) for source in SOURCES)
        raise FileNotFoundError(
            f"checkpoint must be a folder with the official files, {config.typed(folder)} "
            f"{said if folder.is_dir() else 'does not exist'}; get them from Hugging Face or from ModelScope "
            f"(wanlab models download runs either):\n{commands}"
        )
    return folder


def read_checkpoint(folder: Path) -> checkpoints.Checkpoint:
    """Return the original checkpoint in `folder` with what upstream's configuration recommends."""
    facts = json.loads(checkpoints.SETTINGS_14B.read_text(encoding="utf-8"))
    limits = {name: tuple(value) for name, value in facts["limits"].items()}
    return checkpoints.Checkpoint(folder, facts["name"], facts["recommended"], limits)


def fingerprint(folder: Path, script: str, *, flux: bool = False, lora: bool = False) -> str:
    """Return the fingerprint of the files that a script reads from the checkpoint."""
    if script == PREPROCESS:
        found = [
            path
            for path in (folder / "process_checkpoint").rglob("*")
            if flux or "FLUX.1-Kontext-dev" not in path.parts
        ]
    else:
        parts = ("transformer", "text_encoder", "image_encoder", "vae", *(["relighting_lora"] if lora else []))
        found = [path for part in parts for pattern in PARTS[part] for path in folder.glob(pattern)]
    return fingerprints.of_files(folder, [path for path in found if path.is_file()])


def commit(folder: Path) -> str:
    """Return the clone's commit, with -dirty where files were changed; without git a hash of its Python files."""
    if (folder / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and not answer.stdout.strip().endswith("-dirty"):
            return answer.stdout.strip()
        start = answer.stdout.strip() + "-" if answer.returncode == 0 else ""
    else:
        start = ""
    whole = hashlib.sha256()
    for path in sorted([folder / GENERATE, *(folder / "wan").rglob("*.py")]):
        if path.is_file():
            whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return f"{start}files-{whole.hexdigest()[:16]}"


def overview() -> Iterator[tuple[str, str]]:
    """Yield a row (topic, what is known) about the clone in its default folder, for `wanlab check`."""
    settings = config.GenerateSettings.build({"backend": "wan22"})
    folder = config.absolute(settings.wan22_dir)
    if not folder.is_dir():
        yield "official scripts", f"no clone in {config.typed(folder)}; docs/official_scripts.md says how to set one up"
        return
    for script in (PREPROCESS, GENERATE):
        try:
            yield Path(script).name, find_clone(settings, script, ()).describe()
        except (config.SettingsError, FileNotFoundError) as error:
            yield Path(script).name, str(error).splitlines()[0]


def _python(settings: Any, folder: Path) -> Path:
    """Return the clone's interpreter; not resolved: a virtual environment's is a link, and is known by its place."""
    given = settings.wan22_python
    path = config.project_root() / given.expanduser() if given else folder / ".venv" / "bin" / "python"
    if not path.is_file() or not os.access(path, os.X_OK):
        raise FileNotFoundError(
            f"wan22_python must be the Python of the clone's own environment, got {given or str(settings.wan22_dir) + '/.venv/bin/python'}, "
            f"which is not there; set it up:\n{setup(settings.wan22_dir)}"
        )
    return path


def _probe(python: Path, modules: Sequence[str]) -> dict[str, Any]:
    """Ask an interpreter what it has; importing torch takes seconds."""
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    said = ""
    try:
        answer = subprocess.run(
            [str(python), "-c", PROBE, *modules],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=variables,
        )
        said = answer.stderr
        return json.loads(answer.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        last = (said.strip() or str(error)).splitlines()[-1]
        raise config.SettingsError(
            f"wan22_python must be a Python that runs and imports its torch, got {python.name} which printed: {runs.scrub(last)}; "
            "set its environment up again"
        ) from None


def _texts(source: str) -> set[str]:
    """Return every text that stands in a Python file: an argument that its parser knows is among them."""
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _names(folder: Path, script: str, replacing: bool, flux: bool, lora: bool) -> Iterator[str]:
    """Yield the files of the checkpoint that a script will look for."""
    if script == PREPROCESS:
        yield "process_checkpoint/det/yolov10m.onnx"
        if replacing:
            yield "process_checkpoint/sam2/sam2_hiera_large.pt"
        pose = "process_checkpoint/pose2d/vitpose_h_wholebody.onnx"  # a file, or a folder with its weights beside
        yield f"{pose}/end2end.onnx" if (folder / pose).is_dir() else pose
        if flux:
            yield "process_checkpoint/FLUX.1-Kontext-dev/model_index.json"
        return
    yield from ("config.json", TEXT_ENCODER, IMAGE_ENCODER, VAE, *([LORA] if lora else []))
    for name in (TOKENIZER, ITS_TOKENIZER):
        files = [f"{name}/{file}" for file in ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model")]
        yield next((file for file in files if (folder / file).is_file()), files[0])
    yield INDEX
    with contextlib.suppress(OSError, ValueError):  # its own fault is named by itself
        yield from weights.shards(folder / INDEX)


def _part_of(missing: Sequence[str]) -> str | None:
    """Return the part of the checkpoint that all missing files belong to, None where there are several."""
    parts = {
        "flux"
        if "FLUX" in name
        else next((part for part, patterns in PARTS.items() if any(fnmatch(name, p) for p in patterns)), "")
        for name in missing
    }
    return parts.pop() or None if len(parts) == 1 else None
