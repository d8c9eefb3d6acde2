"""Masks kept small: packed bits in mask.npz and in memory, white on black in videos."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

import cv2
import numpy as np

from wanlab import media
from wanlab.files import arrays

FINAL = "mask_final"  # in mask.npz: after the chain; `mask` is from before it
WHITE = 128  # luminance from which a pixel is generated anew: H.264 leaves soft values


class MaskReader:
    """The masks of a file, a stretch at a time: going forward, each frame is read once, and only what was asked for is kept.

    Of mask.npz the compressed bits are read on from where the last stretch ended; a video is sought in.
    """

    def __init__(self, path: Path) -> None:
        """Take mask.npz, whose masks after the chain are meant, or a mask video; it is opened at the first stretch."""
        self._path = path
        self._video: media.Seeker | None = None
        self._bits: IO[bytes] | None = None
        self._shape = 0, 0, 0  # frames, height, bytes per row
        self._width = 0
        self._next = 0  # frame whose bits come next
        self._last: dict[int, np.ndarray] = {}  # packed masks of the last stretch, [H, ceil(W / 8)], uint8, by frame

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the masks of the frames `indices` (in any order, repeated or not): [n, H, W], bool."""
        wanted, order = np.unique(indices, return_inverse=True)
        if self._path.suffix != ".npz":
            self._video = self._video or media.Seeker(media.open_clip(self._path))
            return white(self._video.read(wanted))[order]
        if self._bits is None or any(t < self._next and t not in self._last for t in wanted.tolist()):
            self._open()
        self._last = {t: self._last[t] if t in self._last else self._packed(t) for t in wanted.tolist()}
        packed = np.stack([self._last[t] for t in wanted.tolist()])
        return np.unpackbits(packed, axis=-1, count=self._width).view(bool)[order]

    def _open(self) -> None:
        """Go to the first frame."""
        archive = zipfile.ZipFile(self._path)
        with archive.open("shape.npy") as file:
            self._width = int(np.lib.format.read_array(file, allow_pickle=False)[2])
        self._bits = archive.open(f"{FINAL}.npy")
        np.lib.format.read_magic(self._bits)
        self._shape = np.lib.format.read_array_header_1_0(self._bits)[0]
        self._next, self._last = 0, {}

    def _packed(self, t: int) -> np.ndarray:
        """Return the bits of frame `t`, which has not been passed yet."""
        assert self._bits is not None
        _, height, row = self._shape
        while True:
            bits = self._bits.read(height * row)
            self._next += 1
            if self._next > t:
                return np.frombuffer(bits, np.uint8).reshape(height, row)


class Masks(Protocol):
    """Masks by frame: an array [T, H, W], bool, or what holds them smaller."""

    @property
    def shape(self) -> tuple[int, ...]:
        """T, H and W."""
        ...

    def __len__(self) -> int:
        """Return T."""
        ...

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the mask of each frame, [H, W], bool."""
        ...

    def __getitem__(self, frames: int | slice, /) -> np.ndarray:
        """Return the mask of a frame, [H, W], or of a stretch, [n, H, W], bool."""
        ...


class PackedMasks:
    """Masks as deflated bits, 3 kB a frame of 1280x720; a frame or a stretch comes unpacked.

    So those of an hour fit in memory, while as bools they take 3.3 GB a minute.

    Attributes:
        height, width: of a frame in pixels.
        frames: the bits of each, deflated.
    """

    def __init__(self, height: int, width: int, masks: Iterable[np.ndarray] = ()) -> None:
        """Take the masks of the first frames, [H, W], bool each; they are asked for one at a time."""
        self.height, self.width = height, width
        self.frames = [_deflated(np.packbits(mask, axis=-1)) for mask in masks]

    @classmethod
    def of(cls, masks: np.ndarray) -> PackedMasks:
        """Return masks, [T, H, W], bool, packed."""
        return cls(masks.shape[1], masks.shape[2], masks)

    @classmethod
    def empty(cls, num_frames: int, height: int, width: int) -> PackedMasks:
        """Return masks of which nothing is white."""
        nothing = np.zeros((height, width), bool)
        return cls(height, width, (nothing for _ in range(num_frames)))

    @classmethod
    def read(cls, path: Path, name: str, width: int) -> PackedMasks:
        """Read the array `name` of a `.npz`, masks of `width` pixels as bits; raises as `arrays.read_parts`."""
        packed = cls(0, width)
        for bits in arrays.read_parts(path, name):
            packed.height = len(bits)
            packed.frames.append(_deflated(bits))
        return packed

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, H and W."""
        return len(self.frames), self.height, self.width

    def __len__(self) -> int:
        return len(self.frames)

    def copy(self, count: int | None = None) -> PackedMasks:
        """Return masks that may be changed: those of the first `count` frames, None: of all."""
        copied = PackedMasks(self.height, self.width)
        copied.frames = self.frames[:count]
        return copied

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the mask of each frame, [H, W], bool."""
        return (self[t] for t in range(len(self)))

    def add(self, bits: np.ndarray) -> None:
        """Take the next frames: [n, H, ceil(W / 8)], uint8, as np.packbits makes them."""
        self.frames += map(_deflated, bits)

    def put(self, t: int, mask: np.ndarray) -> None:
        """Take another mask, [H, W], bool, for frame `t`."""
        self.frames[t] = _deflated(np.packbits(mask, axis=-1))

    def __getitem__(self, frames: int | slice) -> np.ndarray:
        """Return the mask of a frame, [H, W], or of a stretch, [n, H, W], bool."""
        if not isinstance(frames, slice):
            return self[frames : frames + 1 or None][0]
        bits = np.frombuffer(b"".join(map(zlib.decompress, self.frames[frames])), np.uint8)
        bits = bits.reshape(-1, self.height, -(-self.width // 8))
        return np.unpackbits(bits, axis=-1, count=self.width).view(bool)


def white(frames: np.ndarray) -> np.ndarray:
    """Return where frames ([n, H, W, 3], 0 to 255, uint8 RGB) are white: [n, H, W], bool."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) >= WHITE for frame in frames])


def bits_of(masks: Masks) -> arrays.ArrayStream:
    """Return masks as bits, [T, H, ceil(W / 8)], uint8, for `files.write_arrays`, frame by frame."""
    frames, height, width = masks.shape
    shape = frames, height, -(-width // 8)
    return arrays.ArrayStream(shape, np.dtype(np.uint8), (np.packbits(mask, axis=-1) for mask in masks))


def read_masks(path: Path, name: str) -> PackedMasks:
    """Read the masks `name` of mask.npz."""
    with np.load(path, allow_pickle=False) as saved:
        width = int(saved["shape"][2])
    return PackedMasks.read(path, name, width)


def _deflated(bits: np.ndarray) -> bytes:
    return zlib.compress(bits.tobytes(), 1)  # 1: the quickest
