"""The followed person's mask from whatever finds them: SAM2, GrabCut, the bundled segmenter, or a video.

What SAM2 found is kept in the outputs folder by the clip, the prompts and the weights, so that another mask chain, or
the same clicks in another run, never run it again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import cv2
import numpy as np

from wanlab import config, files, media
from wanlab.files import arrays, locks
from wanlab.mask import carry, grabcut, keypoint_prompts, sam2_weights, silhouette
from wanlab.mask.packed import Masks, PackedMasks, bits_of
from wanlab.mask.prompts import Prompts, read_prompts
from wanlab.mask.video import read_mask

if TYPE_CHECKING:
    from wanlab.mask import sam2_video

T = TypeVar("T")
MOST_LOST = 0.5  # of the frames: clicks that lead to a mask in fewer are not followed
KEPT = "masks"  # folder of the outputs; may be deleted at any time


class Progress(Protocol):
    """Shows how far work is; `runs.Progress` is one."""

    def iterate(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Yield `items` and report how many of `total` are done."""
        ...


class Listener(Protocol):
    """Receives the progress and the notes of a segmentation: a run, or a widget."""

    @property
    def progress(self) -> Progress:
        """How far it is."""
        ...

    def add_notes(self, *notes: str) -> None:
        """Take sentences."""
        ...


class ClickMasks(Protocol):
    """Finds the masks of single frames, as one clicks: by SAM2 or by GrabCut."""

    def mask(self, t: int, prompts: Prompts) -> np.ndarray:
        """Return what the prompts on frame `t` cover: [H, W], bool; other frames' prompts do not count."""
        ...


def takes_sam2(source: str | Path) -> bool:
    """Return whether SAM2 takes part in this `mask_source` where its weights are."""
    return source != "segmenter" and not _is_video(source)


class PersonMasker:
    """Finds the followed person: by SAM2 where its weights are here, else by GrabCut.

    Attributes:
        weights: SAM2's; None: points and boxes go through GrabCut.
        listener: receives progress and notes; may be changed between two masks.
    """

    def __init__(
        self,
        weights: sam2_weights.Weights | None,
        compile_sam: Literal["auto"] | bool,
        listener: Listener,
        *,
        keep_probabilities: bool = False,
    ) -> None:
        """Take what finds the person; nothing is loaded yet.

        Args:
            weights: SAM2's; None: points and boxes go through GrabCut.
            compile_sam: compile SAM2's image encoder; auto: where it is worth it.
            listener: receives progress and notes.
            keep_probabilities: keep for GrabCut, in 255 steps, how likely each pixel shows the person, which takes most of
                its time: for several masks of one clip.
        """
        self.weights, self.listener = weights, listener
        self._compile = compile_sam
        self._probabilities: dict[Any, np.ndarray] | None = {} if keep_probabilities else None

    def mask(
        self, source: str | Path | Prompts, clip: media.Clip, keypoints: np.ndarray, name: str = "the person's mask"
    ) -> PackedMasks:
        """Return the followed person's mask; a note names what made it.

        Args:
            source: segmenter, keypoints, official, centre, a points file, a mask video, or clicked points and boxes.
            clip: the working clip, or a stretch of it.
            keypoints: [T, 133, 3], x, y in pixels of the clip, score.
            name: what the note calls the mask.

        Raises:
            ValueError: if nothing marks the person.
        """
        if isinstance(source, Path) and _is_video(source):
            self.listener.add_notes(f"{name} comes from {source.name}")
            masks, notes = read_mask(config.absolute(source), "mask_source", len(clip))
            self.listener.add_notes(*notes)
            return masks
        if source == "segmenter":
            self.listener.add_notes(f"{name} comes from the bundled segmenter (BlazePose and U2-Net), not from SAM2")
            return self._packed(clip, silhouette.segment(clip, keypoints))
        prompts = self._prompts(source, clip, keypoints)
        origin = source if isinstance(source, str) else "by hand" if isinstance(source, Prompts) else source.name
        if isinstance(source, Path | Prompts):
            origin += f": {prompts.where()}"
            self.listener.add_notes(*prompts.untouched(clip.height, clip.width))
        described = f"with {prompts.describe()} ({origin})"
        if self.weights is not None:
            self.listener.add_notes(f"{name} comes from {self.weights.describe()} {described}")
            return self._by_sam2(self.weights, clip, prompts, source == "official")
        self.listener.add_notes(f"{name} comes from the bundled segmenter and GrabCut {described}, not from SAM2")
        likely = None if self._probabilities is None else self._likely(self._probabilities, clip, keypoints)
        found = grabcut.grabcut(clip, keypoints, prompts, likely, spread=isinstance(source, Path | Prompts))
        masks = self._packed(clip, found)
        if carry.is_needed(keypoints, prompts):
            self.listener.add_notes(_carried(masks, prompts))
        return masks

    def of_stretch(self, clip: media.Clip, keypoints: np.ndarray, frames: range, prompts: Prompts) -> PackedMasks:
        """Return the mask of clicks in a stretch of a clip.

        Args:
            clip: the working clip.
            keypoints: [T, 133, 3], of all of the clip.
            frames: the stretch.
            prompts: their frames count from the stretch's start.
        """
        stretch = slice(frames.start, frames.stop)
        return self.mask(prompts, clip.at(stretch), keypoints[stretch])

    def clicks(self, frames: media.Frames | media.Seeker, keypoints: Callable[[], np.ndarray]) -> ClickMasks:
        """Return what finds single frames' masks at once, as one clicks.

        Args:
            frames: of the clip.
            keypoints: returns those of the clip, [T, 133, 3]; called for GrabCut alone.
        """
        if self.weights is None:
            return grabcut.GrabCutClicks(frames, keypoints())
        from wanlab.mask import sam2_image, sam2_video  # torch

        return sam2_image.Sam2Clicks(sam2_video.load(self.weights), frames)

    def _packed(self, clip: media.Clip, masks: Iterable[np.ndarray]) -> PackedMasks:
        return PackedMasks(clip.height, clip.width, self.listener.progress.iterate(masks, "mask", len(clip)))

    def _prompts(self, source: str | Path | Prompts, clip: media.Clip, keypoints: np.ndarray) -> Prompts:
        if isinstance(source, Prompts):
            return source
        if isinstance(source, Path):
            return read_prompts(config.absolute(source), len(clip), clip.height, clip.width)
        if source == "centre":
            return keypoint_prompts.centre_clicks(keypoints, clip.height, clip.width)
        make = keypoint_prompts.keypoint_prompts if self.weights else keypoint_prompts.keypoint_clicks
        return make(keypoints, clip.height, clip.width)

    def _likely(self, kept: dict[Any, np.ndarray], clip: media.Clip, keypoints: np.ndarray) -> Iterator[np.ndarray]:
        """Return how likely each pixel shows the person, [H, W], float32, 0 to 1, a frame; look at those that are not kept yet."""
        keys = [
            (clip.info.path, *each) for each in zip(clip.source_indices.tolist(), map(bytes, keypoints), strict=True)
        ]
        missing = [t for t, key in enumerate(keys) if key not in kept]
        looked_at = self.listener.progress.iterate(clip.at(missing), "segment", len(missing)) if missing else ()
        for t, frame in zip(missing, looked_at, strict=True):
            grey = (255 * silhouette.person_probability(frame, keypoints[t])).astype(np.uint8)
            kept[keys[t]] = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        greys = (cv2.imdecode(kept[key], cv2.IMREAD_GRAYSCALE) for key in keys)
        return (np.divide(np.asarray(grey), 255, dtype=np.float32) for grey in greys)

    def _by_sam2(
        self, weights: sam2_weights.Weights, clip: media.Clip, prompts: Prompts, official: bool
    ) -> PackedMasks:
        """Return SAM2's masks: those that were kept of the same question, else found now and kept."""
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
        with locks.awaited(
            kept.with_suffix(".lock"), "SAM2's masks of this clip", lambda text: print(text, flush=True)
        ):
            packed = _kept(kept, len(clip), clip.height, clip.width)
            before = "SAM2 has followed these prompts in this clip before"
            if packed is not None:
                self.listener.add_notes(f"{before}: its masks are used again")
            else:
                if kept.exists():
                    self.listener.add_notes(f"{before}, but its masks were damaged: again")
                packed = self._track(weights, clip, passes)
                files.write_arrays(kept, array=bits_of(packed))
        return packed

    def _track(self, weights: sam2_weights.Weights, clip: media.Clip, passes: list[sam2_video.Pass]) -> PackedMasks:
        """Follow the prompts through the clip."""
        from wanlab.mask import sam2_video

        network = sam2_video.load(weights)
        if sam2_video.worth_compiling(network, len(clip)) if self._compile == "auto" else self._compile:
            sam2_video.compile_encoder(network)
        packed = PackedMasks.empty(len(clip), clip.height, clip.width)
        found = sam2_video.track(network, media.Frames(clip), passes)
        for t, mask in self.listener.progress.iterate(found, "SAM2", sum(each.num_frames for each in passes)):
            packed.put(t, packed[t] | mask)
        return packed


def _carried(masks: Masks, prompts: Prompts) -> str:
    """Return what a reader must know of masks that were carried without a skeleton.

    Raises:
        ValueError: if they were lost in most of the frames.
    """
    where = prompts.where()
    empty = [t for t, mask in enumerate(masks) if not mask.any()]
    if len(empty) > MOST_LOST * len(masks):
        raise ValueError(
            f"points must lead to a mask in most frames, got none in {len(empty)} of {len(masks)} ({media.describe_frames(empty)}): "
            f"nobody was found in {where}, and without SAM2's weights what was clicked there could not be followed; click or "
            "draw a box on more frames, or get SAM2's weights: wanlab models"
        )
    return f"nobody was found in {where}: what was clicked there is carried by colour and motion; look at its outline"


def _kept(path: Path, num_frames: int, height: int, width: int) -> PackedMasks | None:
    """Return masks that were kept; None where there are none of this shape that can be read."""
    try:
        if arrays.headers(path)["array"] != ((num_frames, height, -(-width // 8)), np.uint8):
            return None
        return PackedMasks.read(path, "array", width)
    except arrays.UNREADABLE:
        return None


def _content(clip: media.Clip) -> str:
    """Return a hash of the images: two files of the same clip differ in their bytes."""
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
