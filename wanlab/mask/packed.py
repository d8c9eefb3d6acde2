"""Masks kept small: packed bits in mask.npz and in memory, white on black in videos."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from wanlab import media
from wanlab.mask.video import white

FINAL = "mask_final"  # in mask.npz: after the chain; `mask` is from before it


class MaskReader:
    """The masks of a file, a stretch at a time: going forward, each frame is read once, and only what was asked for is kept.

    Of mask.npz the compressed bits are read on from where the last stretch ended; a video is sought in.
    """

    def __init__(self, path: Path) -> None:
        """Take mask.npz, whose masks after the chain are meant, or a mask video; it is opened at the first stretch."""
        self._path = path
        self._bits: IO[bytes] | None = None
        self._shape = 0, 0, 0  # frames, height, bytes per row
        self._width = 0
        self._next = 0  # frame whose bits come next
        self._last: dict[int, np.ndarray] = {}  # packed masks of the last stretch, [H, ceil(W / 8)], uint8, by frame

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the masks of the frames `indices` (in any order, repeated or not): [n, H, W], bool."""
        wanted, order = np.unique(indices, return_inverse=True)
        if self._path.suffix != ".npz":
            return white(media.Seeker(media.open_clip(self._path)).read(wanted))[order]
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

    def __getitem__(self, frames: int | slice, /) -> np.ndarray:
        """Return the mask of a frame, [H, W], or of a stretch, [n, H, W], bool."""
        ...


class PackedMasks:
    """Masks as deflated bits, 3 kB a frame of 1280x720; a frame or a stretch comes unpacked.

    Attributes:
        height, width: of a frame in pixels.
        frames: the bits of each, deflated.
    """

    def __init__(self, height: int, width: int) -> None:
        """Begin without frames."""
        self.height, self.width = height, width
        self.frames: list[bytes] = []

    @classmethod
    def of(cls, masks: np.ndarray) -> PackedMasks:
        """Return masks, [T, H, W], bool, packed."""
        packed = cls(*masks.shape[1:])
        packed.add(np.packbits(masks, axis=-1))
        return packed

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, H and W."""
        return len(self.frames), self.height, self.width

    def add(self, bits: np.ndarray) -> None:
        """Take the next frames: [n, H, ceil(W / 8)], uint8, as np.packbits makes them."""
        self.frames += [zlib.compress(frame.tobytes(), 1) for frame in bits]  # 1: the quickest

    def __getitem__(self, frames: int | slice) -> np.ndarray:
        """Return the mask of a frame, [H, W], or of a stretch, [n, H, W], bool."""
        if not isinstance(frames, slice):
            return self[frames : frames + 1 or None][0]
        joined = b"".join(map(zlib.decompress, self.frames[frames]))
        bits = np.frombuffer(joined, np.uint8).reshape(-1, self.height, -(-self.width // 8))
        return np.unpackbits(bits, axis=-1, count=self.width).astype(bool)


def unpack(path: Path, name: str) -> np.ndarray:
    """Read a mask that was written as packed bits.

    Args:
        path: `mask.npz`.
        name: of the array in it.

    Returns:
        [T, H, W], bool.
    """
    with np.load(path, allow_pickle=False) as packed:
        return np.unpackbits(packed[name], axis=-1)[..., : int(packed["shape"][2])].astype(bool)
