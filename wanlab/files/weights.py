"""Whether files of weights are whole, seen from their headers and sizes: nothing large is read and nothing is unpickled."""

from __future__ import annotations

import json
import math
import mmap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
HEADER_LIMIT = 100_000_000  # bytes, that of the safetensors format itself
ITEM_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
PARSED = 2**20  # bytes of JSON that are read for a look; UMT5's tokenizer.json has 16 MB, which take half a second
ZIPPED = (".pth", ".pt", ".ckpt", ".bin")  # torch.save's
ONNX_BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    16: 16,
}  # of its types


def fault(path: Path) -> str | None:
    """Return what is wrong with a file as far as its header and size tell, as the end of a sentence; None if nothing is.

    Args:
        path: `.safetensors`, PyTorch's `.pth .pt .ckpt .bin`, `.gguf`, `.onnx` with its external data, `.json`; of
            others only that they are there, hold something and are no pointer.
    """
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if not size:
        return "is empty (0 bytes)"
    with path.open("rb") as file:
        start = file.read(1024)
    if start.startswith(LFS_POINTER):
        return f"is a Git LFS pointer of {size} bytes, not the file itself: git lfs pull brings it"
    try:
        if path.suffix == ".safetensors":
            end = end_of_tensors(path)
            return None if size == end else f"is damaged: its header promises {end:,} bytes, it has {size:,}"
        if path.suffix in ZIPPED:
            return _fault_of_pytorch(path, start)
        if path.suffix == ".gguf":
            return _fault_of_gguf(path)
        if path.suffix == ".onnx":
            return _fault_of_onnx(path)
        if path.name.endswith(".index.json"):
            shards(path)
        elif path.suffix == ".json" and size <= PARSED:
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".json":
            return _fault_of_large_json(path, start)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return f"is damaged: {error}"
    return None


def shards(index: Path) -> list[str]:
    """Return the names of the files that an index of shards (`….safetensors.index.json`) lists.

    Raises:
        ValueError: if it is no such index.
    """
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        found = sorted(set(names))
        if found and all(Path(name).name == name for name in found):
            return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError("it must be a JSON object whose weight_map names a file beside it for each tensor")


def header(path: Path) -> dict[str, Any]:
    """Return what a `.safetensors` file says of its tensors: by name its `dtype`, `shape` and `data_offsets`.

    Raises:
        ValueError: if it has no such header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, path.stat().st_size - 8):
            raise ValueError(f"its header must have 2 to {HEADER_LIMIT} bytes and lie in the file, got {length}")
        found = json.loads(file.read(length))
    if not isinstance(found, dict):
        raise ValueError("its header must be a JSON object")
    return found


def end_of_tensors(path: Path) -> int:
    """Return how many bytes a `.safetensors` file must have by its header.

    Raises:
        ValueError, KeyError, TypeError: if the header contradicts itself.
    """
    end = 0
    for name, facts in header(path).items():
        if name == "__metadata__":
            continue
        start, stop = facts["data_offsets"]
        bits = math.prod(facts["shape"]) * ITEM_BITS.get(facts["dtype"], 0)
        if bits and (stop - start) * 8 != bits:
            raise ValueError(f"{name} must have {bits // 8} bytes, got {stop - start}")
        end = max(end, stop)
    return start_of_tensors(path) + end


def start_of_tensors(path: Path) -> int:
    """Return how many bytes a `.safetensors` file has before its tensors: eight that say its header's length, and that."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def gguf(path: Path) -> Any:
    """Return the package gguf's reader of a file, which maps its tensors into memory.

    Raises:
        ValueError: if it is no such file, or cut off.
    """
    from gguf import GGUFReader

    try:
        return GGUFReader(path, "c")  # pages that are written to would be private: arrays that PyTorch takes
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"it is no GGUF file, or cut off ({error})") from None


def _fault_of_gguf(path: Path) -> str | None:
    gguf(path)  # the reader looks for the last byte of each tensor
    return None


def _fault_of_large_json(path: Path, start: bytes) -> str | None:
    """Return what is wrong with an object that takes too long to be read for a look: whether it begins and ends as one."""
    with path.open("rb") as file:
        file.seek(-1024, 2)
        end = file.read()
    if start.lstrip()[:1] == b"{" and end.rstrip()[-1:] == b"}":
        return None
    return "is damaged: it must be a JSON object, from { to }; it is cut off, or something else"


def _fault_of_pytorch(path: Path, start: bytes) -> str | None:
    """Return what is wrong with what torch.save wrote: a zip file, or a pickle of before PyTorch 1.6."""
    if start.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return f"is cut off: its table of contents, which stands at the end, is missing in its {path.stat().st_size:,} bytes"
        return (
            None if any(name.endswith("data.pkl") for name in names) else "is no PyTorch checkpoint: it has no data.pkl"
        )
    return None if start.startswith(b"\x80") else "is no PyTorch checkpoint"


def external_files(path: Path) -> list[str]:
    """Return the names of the files beside an ONNX file that hold its tensors, in the order of the graph; none if it holds them itself.

    Raises:
        ValueError: if it is cut off, or no ONNX file.
    """
    return list(dict.fromkeys(tensor.file for tensor in _external_tensors(path)))


class _External(NamedTuple):
    """A tensor outside an ONNX file.

    Attributes:
        file: that holds it, beside the ONNX file.
        end: byte after its last.
    """

    file: str
    end: int


def _fault_of_onnx(path: Path) -> str | None:
    """Return what is wrong with an ONNX file or the files that hold its tensors beside it."""
    ends: dict[str, int] = {}
    for tensor in _external_tensors(path):
        ends[tensor.file] = max(ends.get(tensor.file, 0), tensor.end)
    for name, end in ends.items():
        beside = path.parent / name
        if not beside.is_file():
            return f"lacks its weights: {name} is missing beside it"
        size = beside.stat().st_size
        with beside.open("rb") as file:
            is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
        if is_pointer:
            return f"lacks its weights: {name} beside it is a Git LFS pointer of {size} bytes: git lfs pull brings them"
        if not size:
            return f"lacks its weights: {name} beside it is empty (0 bytes)"
        if size < end:
            return f"lacks its weights: {name} beside it is cut off: {end:,} bytes are needed, it has {size:,}"
    return None


def _external_tensors(path: Path) -> Iterator[_External]:
    """Yield the tensors of an ONNX file's graph that lie outside it; protobuf's messages are walked, nothing is copied."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for model_field, graph in _fields(content, 0, len(content)):
            for field, tensor in _fields(content, *graph) if model_field == 7 and isinstance(graph, tuple) else ():
                if field == 5 and isinstance(tensor, tuple):  # an initializer
                    yield from _external(content, *tensor)


def _external(content: mmap.mmap, start: int, end: int) -> Iterator[_External]:
    """Yield where a TensorProto's data lie outside the file; nothing where they lie in it."""
    items, kind, facts = 1, 1, {}
    for field, value in _fields(content, start, end):
        if field == 1 and isinstance(value, int):  # dims, one a field
            items *= value
        elif field == 1 and isinstance(value, tuple):  # packed
            at = value[0]
            while at < value[1]:
                length, at = _varint(content, at, value[1])
                items *= length
        elif field == 2 and isinstance(value, int):  # data_type
            kind = value
        elif field == 13 and isinstance(value, tuple):  # external_data, a pair of texts each
            pair = {n: content[v[0] : v[1]].decode() for n, v in _fields(content, *value) if isinstance(v, tuple)}
            facts[pair.get(1, "")] = pair.get(2, "")
    if "location" in facts:
        size = int(facts["length"]) if facts.get("length") else items * ONNX_BITS.get(kind, 0) // 8
        yield _External(facts["location"], int(facts.get("offset") or 0) + size)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int] | None]]:
    """Yield number and value of a protobuf message's fields: a whole number, the bytes' place (start, end), or None.

    Raises:
        ValueError: if they do not end where the message does.
    """
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        value: int | tuple[int, int] | None = None
        if tag & 7 == 0:
            value, at = _varint(content, at, end)
        elif tag & 7 == 2:
            length, at = _varint(content, at, end)
            value, at = (at, at + length), at + length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("it is no ONNX file, or cut off")
        if at > end:
            raise ValueError(f"it is cut off: {at:,} bytes are needed, it has {len(content):,}")
        yield tag >> 3, value


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a whole number as protobuf writes it, seven bits a byte, and the place after it."""
    value, shift = 0, 0
    while at < end and shift < 64:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("it is no ONNX file, or cut off")
