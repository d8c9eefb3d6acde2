"""The tensors of a network in its files: names, types and shapes at once, each tensor when it is asked for.

Files are mapped into memory and nothing is unpickled but tensors. Of 8-bit weights the scales come along: without them the
numbers are wrong, and nothing shows it, for the norms hide it.

ComfyUI's int8 (`int8_tensorwise`, with `convrot` called int8_convrot) by public descriptions and the package comfy-kitchen
0.2.40: <layer>.weight int8 [out, in], <layer>.weight_scale float32, one or [out, 1], and <layer>.comfy_quant, JSON with
format, convrot, convrot_groupsize.
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
from wanlab.model.quantised import Stored
from wanlab.model.single_files import BLOCKS, FLOAT8, INT8

FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
SCALES = (".scale_weight", ".weight_scale")  # of <layer>.weight: ComfyUI's older and newer spelling
BESIDE = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant")  # what quantised files hold beside weights
MARKER = "scaled_fp8"
ROTATION = 256  # columns that ConvRot turns together where its marker does not say
ORIGINAL_SHAPE = (
    "comfy.gguf.orig_shape."  # and a tensor's name: ComfyUI-GGUF's field for what GGUF cannot say, five axes
)
TOKENIZER = "spiece_model"  # ComfyUI's UMT5 files hold the tokenizer as a tensor of bytes


class _Facts(NamedTuple):
    """Of a tensor: its file, its name there, its type as safetensors spells it, its shape."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]


class Tensors(Mapping[str, Tensor]):
    """The tensors of one network by name; `stored` has what quantised files hold beside them.

    Attributes:
        shapes: by name.
        dtypes: by name, as safetensors and GGUF spell them (`BF16`, `F8_E4M3`, `Q8_0`, …).
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Read the headers.

        Raises:
            ValueError: if a file is damaged, would run code, or is in a quantised format that is not read.
        """
        self._pickled: dict[Path, Mapping[str, Tensor]] = {}
        self._opened: dict[Path, Any] = {}
        self._mapped: dict[Path, Mapping[str, Any]] = {}
        self._formats: dict[str, Mapping[str, Any]] = {}  # what a file says of a layer
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

    def stored(self, name: str) -> Stored:
        """Return a tensor with what makes weights of its numbers."""
        facts, scale = self._all[name], self._scales.get(name)
        blocks = facts.dtype if facts.dtype in BLOCKS else ""
        if scale is None:
            return Stored(self._read(facts), blocks=blocks)
        found = self._read(scale).float()
        return Stored(
            self._read(facts), float(found) if found.numel() == 1 else found.reshape(-1, 1), self._rotation(name)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def _read(self, facts: _Facts) -> Tensor:
        if facts.file in self._pickled:
            return self._pickled[facts.file][facts.name]
        if facts.file in self._mapped:
            numbers = torch.from_numpy(self._mapped[facts.file][facts.name].data)
            numbers = numbers.view(torch.bfloat16) if facts.dtype == "BF16" else numbers
            return numbers.reshape(numbers.shape if facts.dtype in BLOCKS else facts.shape)
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
                    self._formats |= {layer: _format(file, how) for layer, how in _layers(file, facts)}
            return
        if file.suffix == ".gguf":
            reader = weights.gguf(file)
            self._mapped[file] = {each.name: each for each in reader.tensors}
            for name, each in self._mapped[file].items():
                told = reader.get_field(ORIGINAL_SHAPE + name)
                shape = each.shape.tolist()[::-1] if told is None else told.contents()
                yield _Facts(file, name, each.tensor_type.name, tuple(shape))
            return
        if file.suffix not in weights.ZIPPED:
            raise ValueError(_refused(file, f"a {file.suffix or 'nameless'} file"))
        self._pickled[file] = _unpickled(file)
        for name, tensor in self._pickled[file].items():
            yield _Facts(file, name, _SPELLED.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))

    def _check_formats(self, everything: Mapping[str, _Facts]) -> None:
        for name, facts in everything.items():
            if name.endswith(".comfy_quant"):
                text = bytes(self._read(facts).flatten().tolist())
                self._formats[name.removesuffix(".comfy_quant")] = _format(facts.file, text)
        for name, facts in everything.items():
            is_int8 = facts.dtype == "I8" and self._format(name) == INT8
            if name.endswith(".weight") and facts.dtype not in {*FLOATS, *BLOCKS} and not is_int8:
                raise ValueError(_refused(facts.file, f"{facts.dtype} weights ({name})"))

    def _format(self, weight: str) -> str | None:
        return self._formats.get(weight.removesuffix(".weight"), {}).get("format")

    def _rotation(self, weight: str) -> int:
        how = self._formats.get(weight.removesuffix(".weight"), {})
        return how.get("convrot_groupsize", ROTATION) if how.get("convrot") else 0

    def _check_scales(self) -> None:
        for name, facts in self._scales.items():
            if name not in self._all:
                raise ValueError(
                    f"{config.typed(facts.file)} must have a weight for each scale, {name} is missing; get the file again"
                )
            rows, columns = (self.shapes[name] + (1, 1))[:2]
            by_row = ((rows,), (rows, 1)) if self.dtypes[name] == "I8" else ()
            if facts.shape not in ((), (1,), *by_row):
                raise ValueError(
                    _refused(facts.file, f"{facts.name} of shape {list(facts.shape)}, other scales than one a tensor")
                )
            size = self._rotation(name)
            if size and not (isinstance(size, int) and size in (4**n for n in range(1, 10)) and columns % size == 0):
                raise ValueError(_refused(facts.file, f"{name}, {columns} columns turned by {config.brief(size)}"))
        for name, facts in self._all.items():
            needs_scale = facts.dtype == "I8" or (facts.dtype.startswith("F8") and self._scales)
            if needs_scale and name.endswith(".weight") and name not in self._scales:
                raise ValueError(
                    f"{config.typed(facts.file)} must have a scale for each 8-bit weight, that of {name} is missing; get the file again"
                )


def _layers(file: Path, metadata: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Return what the header of a safetensors file says of its layers' formats, a JSON text each."""
    text = metadata.get("_quantization_metadata")
    try:
        layers = {} if text is None else json.loads(text)["layers"].items()
        return [(layer, json.dumps(how).encode()) for layer, how in dict(layers).items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"{config.typed(file)} is damaged: its _quantization_metadata is no JSON with layers"
        ) from None


def _format(file: Path, text: bytes) -> Mapping[str, Any]:
    """Return what a file says of a layer's format.

    Raises:
        ValueError: if it is one that is not read.
    """
    try:
        how = json.loads(text)
        found = how["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{config.typed(file)} is damaged: a layer's comfy_quant is no JSON with a format") from None
    if found not in (FLOAT8, INT8):
        raise ValueError(_refused(file, f"the format {found}"))
    return how


def _refused(file: Path, what: str) -> str:
    return (
        f"{config.typed(file)} must be of a type that wanlab reads, got {what}; "
        "use its bf16, fp16, fp8, fp8-scaled (float8_e4m3fn), int8 (int8_tensorwise) or GGUF variant"
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
