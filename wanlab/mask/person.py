"""The followed person's mask from whatever finds them: SAM2, GrabCut, the bundled segmenter, or a video.

What SAM2 found is kept in the outputs folder by the clip, the prompts and the weights, so that another mask chain, or
the same clicks in another run, never run it again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import cv2
import numpy as np

from wanlab import config, files, media
from wanlab.files import arrays, locks
from wanlab.mask import carry, clicked, grabcut, keypoint_prompts, local_regions, sam2_weights, silhouette
from wanlab.mask.packed import Masks, PackedMasks, bits_of
from wanlab.mask.prompts import Click, Prompts, read_prompts
from wanlab.mask.regions import Mark
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
                its time: for several masks of one clip, in other runs too.
        """
        self.weights, self.listener = weights, listener
        self._compile, self._keeps = compile_sam, keep_probabilities

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
        spread = isinstance(source, Path | Prompts)
        key = {"clip": _content(clip), "keypoints": _hash(keypoints), "prompts": [prompts.clicks, prompts.boxes]}
        key |= {"spread": spread, "steps": self._keeps, "version": grabcut.RESULT_VERSION}
        masks = self._once(key, "GrabCut", clip, lambda: self._by_grabcut(clip, keypoints, prompts, spread))
        if carry.is_needed(keypoints, prompts):
            self.listener.add_notes(_carried(masks, prompts))
        return masks

    def clicked(
        self,
        clip: media.Clip,
        frames: media.Frames | media.Seeker,
        keypoints: Callable[[], np.ndarray],
        before: PackedMasks,
    ) -> clicked.Clicked:
        """Return what corrects an outline by clicks; nothing is found or followed yet.

        Args:
            clip: the working clip.
            frames: its frames.
            keypoints: returns those of the clip, [T, 133, 3]; called when the first click is looked at.
            before: the outline.
        """
        local = functools.cache(lambda: local_regions.LocalRegions(frames, keypoints(), before))
        return clicked.Clicked(
            before, lambda: self._finder(frames, local(), before), _Follower(self.weights, clip, local)
        )

    def _finder(
        self, frames: media.Frames | media.Seeker, local: local_regions.LocalRegions, before: PackedMasks
    ) -> clicked.Finder:
        if self.weights is None:
            return local
        from wanlab.mask import sam2_image, sam2_video  # torch

        return sam2_image.Sam2Regions(sam2_video.load(self.weights), frames, before, local)

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

    def _by_grabcut(self, clip: media.Clip, keypoints: np.ndarray, prompts: Prompts, spread: bool) -> PackedMasks:
        likely = self._likely(clip, keypoints) if self._keeps and not carry.is_needed(keypoints, prompts) else None
        return self._packed(clip, grabcut.grabcut(clip, keypoints, prompts, likely, spread=spread))

    def _likely(self, clip: media.Clip, keypoints: np.ndarray) -> Iterator[np.ndarray]:
        """Return how likely each pixel shows the person, [H, W], float32, 0 to 1, a frame; found once for a clip and its keypoints."""
        key = {"clip": _content(clip), "keypoints": _hash(keypoints), "version": silhouette.RESULT_VERSION}
        place = _place({"probabilities": key})
        with locks.awaited(place.with_suffix(".lock"), "the segmenter's probabilities of this clip"):
            coded = _read_coded(place, len(clip))
            if coded is None:
                coded = []
                for t, frame in enumerate(self.listener.progress.iterate(clip, "segment", len(clip))):
                    grey = (255 * silhouette.person_probability(frame, keypoints[t])).astype(np.uint8)
                    coded.append(cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel())
                files.write_arrays(place, coded=np.concatenate(coded), sizes=np.array([len(each) for each in coded]))
        greys = (cv2.imdecode(each, cv2.IMREAD_GRAYSCALE) for each in coded)
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
        return self._once(key, "SAM2", clip, lambda: self._track(weights, clip, passes))

    def _once(self, key: Any, by: str, clip: media.Clip, find: Callable[[], PackedMasks]) -> PackedMasks:
        """Return the masks that were kept of the same question, else found now and kept."""
        kept = _place(key)
        with locks.awaited(
            kept.with_suffix(".lock"), f"{by}'s masks of this clip", lambda text: print(text, flush=True)
        ):
            packed = _kept(kept, len(clip), clip.height, clip.width)
            before = f"{by} has followed these prompts in this clip before"
            if packed is not None:
                self.listener.add_notes(f"{before}: its masks are used again")
            else:
                if kept.exists():
                    self.listener.add_notes(f"{before}, but its masks were damaged: again")
                packed = find()
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


class _Follower:
    """Follows regions; what was followed once is kept in the outputs folder.

    By SAM2; else a click on or near a person is looked for again at its place on the body, anything else follows the
    image's motion.
    """

    def __init__(
        self,
        weights: sam2_weights.Weights | None,
        clip: media.Clip,
        local: Callable[[], local_regions.LocalRegions],
    ) -> None:
        self._weights, self._clip, self._local = weights, clip, local

    def follow(
        self, marks: Sequence[Mark], seeds: Sequence[np.ndarray], within: range
    ) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        """Yield frame and masks, [H, W], bool, one a mark of the same frame, None where it is lost."""
        start, height, width = marks[0].frame, self._clip.height, self._clip.width
        places = [self._place(*each, within) for each in zip(marks, seeds, strict=True)]
        kept = [_kept(place, len(within), height, width) for place in places]
        new = [i for i, masks in enumerate(kept) if masks is None]
        found = {i: PackedMasks.empty(len(within), height, width) for i in new}
        yielded = self._followed([marks[i] for i in new], [seeds[i] for i in new], within)
        for t, masks in yielded if new else ((t, []) for t in within if t != start):
            for i, mask in zip(new, masks, strict=True):
                found[i].put(t - within.start, mask)
            there = [(packed or found[i])[t - within.start] for i, packed in enumerate(kept)]
            yield t, [mask if mask.any() else None for mask in there]
        for i, masks in found.items():
            files.write_arrays(places[i], array=bits_of(masks))

    def _followed(
        self, marks: Sequence[Mark], seeds: Sequence[np.ndarray], within: range
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        frames, start = media.Frames(self._clip), marks[0].frame
        if self._weights is not None:
            from wanlab.mask import sam2_video  # torch

            yield from sam2_video.follow_regions(sam2_video.load(self._weights), frames, within, start, seeds)
            return
        nothing = np.zeros((self._clip.height, self._clip.width), bool)
        for way in (range(start + 1, within.stop), range(start - 1, within.start - 1, -1)):
            moving = [self._one(frames, *each, way) for each in zip(marks, seeds, strict=True)]
            for t in way:
                yield t, [next(each, nothing) for each in moving]

    def _one(self, frames: media.Frames, mark: Mark, seed: np.ndarray, way: range) -> Iterator[np.ndarray]:
        """Yield the region of a mark on the frames of a way, [H, W], bool, none of it where it is not to be told."""
        if not self._is_tied(mark):
            yield from (mask for _, mask in carry.follow(frames, mark.frame, seed, way))
            return
        for t in way:
            found = self._local().elsewhere(mark.what, t)  # type: ignore[arg-type]
            small = found is not None and found.sum() <= carry.GROWN * seed.sum()
            yield found if small and found is not None else np.zeros_like(seed)

    def _is_tied(self, mark: Mark) -> bool:
        return isinstance(mark.what, Click) and self._local().is_tied(mark.what)

    def _place(self, mark: Mark, seed: np.ndarray, within: range) -> Path:
        """Return where the masks of a mark with this region are kept."""
        by: dict[str, Any] = {"by": "motion", "version": carry.RESULT_VERSION}
        if self._weights is not None:
            from wanlab.mask import sam2_video

            by = {"by": self._weights.sha256(), "version": sam2_video.RESULT_VERSION}
        elif self._is_tied(mark):
            by = {"by": self._local().identity(), "click": mark.what, "version": local_regions.RESULT_VERSION}
        key = {
            "clip": _content(self._clip),
            "start": mark.frame,
            "seed": hashlib.sha256(np.packbits(seed).tobytes()).hexdigest(),
            "within": [within.start, within.stop],
            **by,
        }
        return _place(key)


def _place(key: Any) -> Path:
    """Return where the answer to a question is kept."""
    folder = files.make_folder(config.outputs_root() / KEPT)
    files.remove_dead_parts(folder)
    return folder / f"{config.digest(key)[:24]}.npz"


def _read_coded(path: Path, count: int) -> list[np.ndarray] | None:
    """Return images that were kept coded; None where there are none of this number that can be read."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            coded, sizes = saved["coded"], saved["sizes"]
    except arrays.UNREADABLE:
        return None
    return np.split(coded, np.cumsum(sizes)[:-1]) if len(sizes) == count and sizes.sum() == len(coded) else None


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


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
