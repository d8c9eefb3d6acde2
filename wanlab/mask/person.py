"""The followed person's mask from whatever finds them: SAM2, GrabCut, the bundled segmenter, or a video.

What SAM2 found is kept in the outputs folder by the clip, the prompts and the weights, so that another mask chain, or
the same clicks in another run, never run it again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np

from wanlab import config, files, media
from wanlab.files import arrays, locks
from wanlab.mask import grabcut, keypoint_prompts, sam2_weights, silhouette
from wanlab.mask.packed import read_mask
from wanlab.mask.prompts import Prompts
from wanlab.mask.prompts import read as read_prompts

if TYPE_CHECKING:
    from wanlab.mask import sam2_video

T = TypeVar("T")
KEPT = "masks"  # folder of the outputs; may be deleted at any time


class Listener(Protocol):
    """Who is told how far the work is and what a reader must know: a run, or a widget."""

    def progress(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Yield `items` and tell how many of `total` are done."""
        ...

    def add_notes(self, *notes: str) -> None:
        """Take sentences."""
        ...


def takes_sam2(source: str | Path) -> bool:
    """Return whether SAM2 takes part in this `mask_source` where its weights are."""
    return source != "segmenter" and not _is_video(source)


def find(
    run: Listener,
    source: str | Path | Prompts,
    clip: media.Clip,
    keypoints: np.ndarray,
    weights: sam2_weights.Weights | None,
    chances: Sequence[np.ndarray] | None = None,
    compile_sam: Literal["auto"] | bool = "auto",
    name: str = "the person's mask",
) -> np.ndarray:
    """Return the followed person's mask, [T, H, W], bool; a note names what made it.

    Args:
        run: that is told.
        source: segmenter, keypoints, official, centre, a points file, a mask video, or clicked points and boxes.
        clip: the working clip.
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        weights: SAM2's; None: points and boxes go through GrabCut.
        chances: from `probabilities`, for GrabCut; None computes them.
        compile_sam: compile SAM2's image encoder; auto: where it is worth it.
        name: what the note calls the mask.

    Raises:
        ValueError: if nothing says where the person is.
    """
    if isinstance(source, Path) and _is_video(source):
        run.add_notes(f"{name} comes from {source.name}")
        return read_mask(config.absolute(source))[: len(clip)]
    if source == "segmenter":
        run.add_notes(f"{name} comes from the bundled segmenter (BlazePose and U2-Net), not from SAM2")
        return np.stack(list(run.progress(silhouette.segment(clip, keypoints), "mask", len(clip))))
    size = clip.height, clip.width
    by_hand = isinstance(source, Path | Prompts)
    if isinstance(source, Prompts):
        prompts = source
    elif isinstance(source, Path):
        prompts = read_prompts(config.absolute(source), len(clip), *size)
    elif source == "centre":
        prompts = keypoint_prompts.centre_clicks(keypoints, *size)
    else:
        prompts = (keypoint_prompts.keypoint_prompts if weights else keypoint_prompts.keypoint_clicks)(keypoints, *size)
    origin = source if isinstance(source, str) else "by hand" if isinstance(source, Prompts) else source.name
    said = f"with {prompts.describe()} ({origin})"
    if weights is not None:
        run.add_notes(f"{name} comes from {weights.describe()} {said}")
        return _by_sam2(run, clip, prompts, weights, source == "official", compile_sam)
    run.add_notes(f"{name} comes from the bundled segmenter and GrabCut {said}, not from SAM2")
    likely = None if chances is None else (np.divide(chance, 255, dtype=np.float32) for chance in chances)
    cut = grabcut.grabcut(clip, keypoints, prompts, likely, spread=by_hand)
    return np.stack(list(run.progress(cut, "mask", len(clip))))


def probabilities(run: Listener, clip: media.Clip, keypoints: np.ndarray) -> Iterator[np.ndarray]:
    """Yield how likely each pixel shows the person: [H, W], 0 to 255, uint8, a frame."""
    for each in zip(run.progress(clip, "segment", len(clip)), keypoints, strict=True):
        yield (255 * silhouette.person_probability(*each)).astype(np.uint8)


def _by_sam2(
    run: Listener,
    clip: media.Clip,
    prompts: Prompts,
    weights: sam2_weights.Weights,
    official: bool,
    compile_sam: Literal["auto"] | bool,
) -> np.ndarray:
    from wanlab.mask import sam2_video

    passes = sam2_video.plan(prompts, len(clip), official=official)
    key = {
        "clip": _content(clip),
        "prompts": [prompts.clicks, prompts.boxes],
        "official": official,
        "weights": weights.sha256(),
        "version": sam2_video.RESULT_VERSION,
    }
    kept = config.outputs_root() / KEPT / f"{config.digest(key)[:24]}.npz"
    files.remove_dead_parts(files.make_folder(kept.parent))
    with locks.awaited(kept.with_suffix(".lock"), "SAM2's masks of this clip", lambda text: print(text, flush=True)):
        packed = _kept(kept, (len(clip), clip.height, -(-clip.width // 8)))
        if packed is not None:
            run.add_notes("SAM2 has followed these prompts in this clip before: its masks are used again")
        else:
            if kept.exists():
                run.add_notes("SAM2 has followed these prompts in this clip before, but its masks were damaged: again")
            packed = _track(run, clip, passes, weights, compile_sam)
            files.write_arrays(kept, array=packed)
    return np.unpackbits(packed, axis=-1, count=clip.width).astype(bool)


def _kept(path: Path, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Return masks that were kept, as bits, uint8; None where there are none of this shape that can be read."""
    try:
        arrays.check_arrays(path)
        with np.load(path, allow_pickle=False) as saved:
            packed = saved["array"]
    except arrays.UNREADABLE:
        return None
    return packed if packed.shape == shape and packed.dtype == np.uint8 else None


def _track(
    run: Listener,
    clip: media.Clip,
    passes: list[sam2_video.Pass],
    weights: sam2_weights.Weights,
    compile_sam: Literal["auto"] | bool,
) -> np.ndarray:
    """Follow the prompts through the clip; returns bits, [T, H, ceil(W / 8)], uint8: an eighth of the memory."""
    from wanlab.mask import sam2_video

    network = sam2_video.load(weights)
    if sam2_video.worth_compiling(network, len(clip)) if compile_sam == "auto" else compile_sam:
        sam2_video.compile_encoder(network)
    packed = np.zeros((len(clip), clip.height, -(-clip.width // 8)), np.uint8)
    found = sam2_video.track(network, media.Frames(clip), passes)
    for t, mask in run.progress(found, "SAM2", sum(each.num_frames for each in passes)):
        packed[t] |= np.packbits(mask, axis=-1)
    return packed


def _content(clip: media.Clip) -> str:
    """Return a hash of the pictures: two files of the same clip differ in their bytes."""
    facts = clip.info.path.stat()
    return _hash_of(clip.info, facts.st_mtime_ns, facts.st_size, clip.fps, tuple(clip.source_indices.tolist()))


@functools.lru_cache(maxsize=16)
def _hash_of(info: media.VideoInfo, _mtime: int, _size: int, fps: Fraction, indices: tuple[int, ...]) -> str:
    whole = hashlib.sha256(f"{len(indices)} {info.height} {info.width}".encode())
    for frame in media.Clip(info, fps, np.array(indices), ()):
        whole.update(frame.tobytes())
    return whole.hexdigest()


def _is_video(source: str | Path) -> bool:
    return isinstance(source, Path) and source.suffix != ".json"
