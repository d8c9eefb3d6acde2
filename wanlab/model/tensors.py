"""The tensors of a network in its files: names, types and shapes at once, each tensor when it is asked for.

Files are mapped into memory and nothing is unpickled but tensors. Of 8-bit weights the scales come along: without them the
numbers are wrong, and nothing shows it, for the norms hide it.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from wanlab import config
from wanlab.files import weights

FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
SCALES = (".scale_weight", ".weight_scale")  # of <layer>.weight: ComfyUI's older and newer spelling
BESIDE = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant")  # what quantised files hold beside weights
MARKER = "scaled_fp8"
FORMAT = "float8_e4m3fn"  # the one of ComfyUI's newer formats that is read
TOKENIZER = "spiece_model"  # ComfyUI's UMT5 files hold the tokenizer as a tensor of bytes


class _Facts(NamedTuple):
    """Of a tensor: its file, its name there, its type as safetensors spells it, its shape."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]


class Tensors(Mapping[str, Tensor]):
    """The tensors of one network by name; what quantised files hold beside them is in `scale`.

    Attributes:
        shapes: by name.
        dtypes: by name, as safetensors spells them (`BF16`, `F8_E4M3`, …).
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Read the headers.

        Raises:
            ValueError: if a file is damaged, would run code, or is in a quantised format that is not read.
        """
        self._pickled: dict[Path, Mapping[str, Tensor]] = {}
        self._opened: dict[Path, Any] = {}
        everything = {facts.name: facts for file in files for facts in self._facts(file)}
        self._scales = {
            f"{name.removesuffix(end)}.weight": facts
            for name, facts in everything.items()
            for end in SCALES
            if name.endswith(end)
        }
        self._check_formats(everything)
        self._all = {
            name: facts
            for name, facts in everything.items()
            if not name.endswith(BESIDE) and name.rpartition(".")[2] != MARKER
        }
        self.shapes = {name: facts.shape for name, facts in self._all.items()}
        self.dtypes = {name: facts.dtype for name, facts in self._all.items()}
        self._check_scales()

    def __getitem__(self, name: str) -> Tensor:
        return self._read(self._all[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def scale(self, name: str) -> float:
        """Return what the numbers of a tensor are to be multiplied by; 1 where its file says nothing."""
        facts = self._scales.get(name)
        return 1.0 if facts is None else float(self._read(facts))

    def _read(self, facts: _Facts) -> Tensor:
        if facts.file in self._pickled:
            return self._pickled[facts.file][facts.name]
        if facts.file not in self._opened:
            self._opened[facts.file] = safe_open(facts.file, "pt")
        return self._opened[facts.file].get_tensor(facts.name)

    def _facts(self, file: Path) -> Iterator[_Facts]:
        if (wrong := weights.fault(file)) is not None:
            raise ValueError(f"{config.typed(file)} {wrong}")
        if file.suffix == ".safetensors":
            for name, facts in weights.header(file).items():
                if name != "__metadata__":
                    yield _Facts(file, name, facts["dtype"], tuple(facts["shape"]))
                else:
                    _check_metadata(file, facts)
            return
        if file.suffix not in weights.ZIPPED:
            raise ValueError(_refused(file, f"a {file.suffix or 'nameless'} file"))
        self._pickled[file] = _unpickled(file)
        for name, tensor in self._pickled[file].items():
            yield _Facts(file, name, _SPELLED.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))

    def _check_formats(self, everything: Mapping[str, _Facts]) -> None:
        for name, facts in everything.items():
            if name.endswith(".comfy_quant"):
                _check_format(facts.file, bytes(self._read(facts).flatten().tolist()))
            elif facts.dtype not in FLOATS and name.endswith(".weight"):
                raise ValueError(_refused(facts.file, f"{facts.dtype} weights ({name})"))

    def _check_scales(self) -> None:
        for name, facts in self._scales.items():
            if facts.shape not in ((), (1,)):
                raise ValueError(
                    _refused(facts.file, f"{facts.name} of shape {list(facts.shape)}, more than one scale a tensor")
                )
            if name not in self._all:
                raise ValueError(
                    f"{config.typed(facts.file)} must have a weight for each scale, {name} is missing; get the file again"
                )
        for name, facts in self._all.items() if self._scales else ():
            if facts.dtype.startswith("F8") and name not in self._scales:
                raise ValueError(
                    f"{config.typed(facts.file)} must have a scale for each 8-bit weight, that of {name} is missing; get the file again"
                )


def _check_metadata(file: Path, metadata: Mapping[str, str]) -> None:
    """Refuse a format that the header of a safetensors file names for a layer and that is not read."""
    text = metadata.get("_quantization_metadata")
    if text is not None:
        try:
            layers = json.loads(text)["layers"].values()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(
                f"{config.typed(file)} is damaged: its _quantization_metadata is no JSON with layers"
            ) from None
        for layer in layers:
            _check_format(file, json.dumps(layer).encode())


def _check_format(file: Path, text: bytes) -> None:
    try:
        found = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{config.typed(file)} is damaged: a layer's comfy_quant is no JSON with a format") from None
    if found != FORMAT:
        raise ValueError(_refused(file, f"the format {found}"))


def _refused(file: Path, what: str) -> str:
    return (
        f"{config.typed(file)} must be of a type that wanlab reads, got {what}; "
        "use its bf16, fp16, fp8 or fp8-scaled (float8_e4m3fn) variant"
    )


def _unpickled(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a PyTorch checkpoint, mapped into memory where its format lets that be.

    Raises:
        ValueError: if it would run code, or holds no tensors by name.
    """
    try:
        try:
            found = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError:  # written before PyTorch 1.6: such files cannot be mapped
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        said = str(error).splitlines()
        reason = next((line.strip() for line in said if "GLOBAL" in line or "Unsupported" in line), said[0])
        raise ValueError(
            f"{config.typed(file)} must hold tensors alone, got a pickle that would run code ({reason}); use a .safetensors file"
        ) from None
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(
            f"{config.typed(file)} must hold tensors by name, got {type(found).__name__}; get the file again"
        )
    return found


_SPELLED = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int8: "I8", torch.uint8: "U8",
}  # fmt: skip
