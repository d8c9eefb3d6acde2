"""Metrics of a result, each of one aspect only: MEANINGS has the unit, the good direction and what it misses.

Videos are [T, H, W, 3], 0 to 255, uint8 RGB, or any iterable of such frames (a `media.Clip`): a few are held at a time.
Masks are [T, H, W], bool, or an iterable of frames. What cannot be measured, as in an empty mask, is NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from wanlab.pose import DRAWN_FROM

Frames = Iterable[np.ndarray]


class Series(NamedTuple):
    """A number over time.

    Attributes:
        per_frame: [T], float64; NaN where it cannot be measured.
        overall: of the whole clip.
    """

    per_frame: np.ndarray
    overall: float


class Meaning(NamedTuple):
    """How to read a metric; of `seam_jump` the best value is 1.

    Attributes:
        unit: of the number.
        higher_is_better: whether more is better.
        cannot_tell: what the number does not show, one sentence.
        noise: a difference that says nothing, in the unit: more than the standard deviation between six seeds of nano.
        noise_is_share: whether `noise` is a share of the number instead.
    """

    unit: str
    higher_is_better: bool
    cannot_tell: str
    noise: float
    noise_is_share: bool = False

    def span(self, about: float) -> float:
        """Return the least that an axis shows of the number around the value `about`, so that noise looks small."""
        return AXIS * self.noise * (abs(about) if self.noise_is_share else 1.0)


AXIS = 10  # times the noise, the least that an axis shows: a difference of noise takes a tenth of it
MEANINGS = {
    "pose_agreement": Meaning("share of points, 0 to 1", True,
        "It cannot tell a badly generated pose from a keypoint detector that failed on a good one.", 0.01),
    "psnr": Meaning("dB, 0 to infinite", True,
        "It cannot tell damage that is seen from damage that is not: a shift by one pixel can cost more than a blur.", 0.1),
    "ssim": Meaning("similarity, -1 to 1", True,
        "It cannot tell a change of colour at the same luma, nor anything within 5 pixels of the mask.", 0.001),
    "colour_drift": Meaning("ΔE*ab, from 0; about 2.3 is just seen", False,
        "It cannot tell drift from a change that the driving video has too, nor see shifts that cancel out over the image.", 0.1),
    "seam_jump": Meaning("times the usual change, from 0; 1 is no jump", False,
        "It cannot tell a faulty seam from a cut or a sudden movement of the driving video at the same frame.", 0.03),
    "flicker": Meaning("grey levels of amplitude, from 0", False,
        "It cannot tell steadiness from a shaking of whole parts, which optical flow follows as if it were movement.", 0.02),
    "sharpness": Meaning("squared grey levels, from 0", True,
        "It cannot tell detail from noise, nor a blurred image from one of smooth things.", 0.02, noise_is_share=True),
    "reference_agreement": Meaning("share of common colour, 0 to 1", True,
        "It cannot tell where a colour is worn, nor another character from the same one seen from closer or behind.", 0.025),
}  # fmt: skip
BODY = slice(0, 17)  # of COCO-WholeBody's 133 points; `keypoints` has the other parts
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
TORSO_PER_SHOULDERS = 1.4  # its diagonal is 0.37, shoulders are 0.26 of a height (Drillis and Contini 1966)
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SEAM_REACH = 4  # pairs of frames on each side of a seam
SEAM_FLOOR = 0.5  # grey levels; below is rounding to 8 bits
LAB_ORIGIN, LAB_BIN, LAB_BINS = (0, -128, -128), 4, (26, 64, 64)
LAB_TOLERANCE = (16, 8, 8)  # sigma in L, a, b: colours that far apart agree by 0.62; light changes L most


def pose_agreement(
    found: np.ndarray,
    driven: np.ndarray,
    torso: np.ndarray | float | None = None,
    *,
    threshold: float = 0.1,
    points: slice = BODY,
) -> Series:
    """Compare the pose found in a result with the one that drove it: the percentage of correct keypoints (PCK).

    A point is correct within `threshold` torsos of where it was driven to. Points unseen in `driven` do not count;
    those not found (score 0, as without a person) are wrong. All points of the clip weigh the same in `overall`.

    Args:
        found, driven: [T, 133, 3], float32, x, y, score in pixels of the result.
        torso: length in pixels, one or [T]; None for `torso_length(driven)`.
        threshold: in torsos; 0.2 is usual for images in the wild.
        points: which of the 133 count; face and hands (`keypoints.FACE`, `HANDS`) would outnumber the body.

    Raises:
        ValueError: if the arrays do not fit each other.

    Source: Yang and Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts", 2013; torso as scale from
    Sapp and Taskar, "MODEC", 2013.
    """
    for name, value in (("found", found), ("driven", driven)):
        if value.shape != (len(driven), 133, 3):
            raise ValueError(f"{name} must be [T, 133, 3], got {value.shape}; use {(len(driven), 133, 3)}")
    if torso is not None and np.shape(torso) not in ((), (len(driven),)):
        raise ValueError(f"torso must be one length or one a frame, got {np.shape(torso)}; use {(len(driven),)}")
    length = np.broadcast_to(torso_length(driven) if torso is None else torso, len(driven))[:, None]
    found, driven = found[:, points], driven[:, points]
    counted = (driven[..., 2] >= DRAWN_FROM) & np.isfinite(length)
    near = np.linalg.norm(found[..., :2] - driven[..., :2], axis=-1) <= threshold * length
    return _series((counted & near & (found[..., 2] > 0)).sum(axis=1), counted.sum(axis=1))


def torso_length(keypoints: np.ndarray) -> np.ndarray:
    """Return the distance from a shoulder to the opposite hip, the longer of the two: [T], float64, pixels.

    Frames that show none get the clip's median; a clip without hips, 1.4 shoulder widths; without shoulders, NaN.
    """
    seen = keypoints[..., 2] >= DRAWN_FROM

    def apart(a: int, b: int) -> np.ndarray:
        length = np.linalg.norm(keypoints[:, a, :2] - keypoints[:, b, :2], axis=-1)
        return np.where(seen[:, a] & seen[:, b], length, np.nan)

    torso = np.fmax(apart(LEFT_SHOULDER, RIGHT_HIP), apart(RIGHT_SHOULDER, LEFT_HIP))
    known, shoulders = torso, apart(LEFT_SHOULDER, RIGHT_SHOULDER)
    if np.isnan(known).all():
        known = TORSO_PER_SHOULDERS * shoulders
    known = known[~np.isnan(known)]
    return np.where(np.isnan(torso), np.median(known) if len(known) else np.nan, torso)


def psnr(a: Frames, b: Frames, where: Frames | None = None) -> Series:
    """Compare two videos pixel by pixel: the peak signal-to-noise ratio over R, G and B, infinite where they are equal.

    Args:
        a, b: videos of one size and length, frames of [H, W, 3], uint8 RGB.
        where: mask of the pixels that count, [H, W], bool, a frame each, the background of a replacement being `~mask`; None for all.

    Returns:
        in dB; `overall` is of the clip's mean squared error, not the mean of the frames' ratios.
    """
    return _run(_Psnr(), a=a, b=b, where=where)


def ssim(a: Frames, b: Frames, where: Frames | None = None) -> Series:
    """Compare the structure of two videos: SSIM of their luma (BT.601), in Gaussian windows of 11x11 pixels, sigma 1.5.

    Only windows count that lie wholly in `where` and in the image, so that nothing beyond leaks in: at least 5 pixels
    inside its edge. All windows of the clip weigh the same in `overall`.

    Args:
        a, b, where: as for `psnr`.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004; no shrinking.
    """
    return _run(_Ssim(), a=a, b=b, where=where)


def colour_drift(video: Frames, seams: Sequence[int], mask: Frames | None = None) -> np.ndarray:
    """Tell how far the mean colour of each segment is from the first one's: CIE 1976 ΔE of mean L*a*b* (D65).

    Args:
        video: the result.
        seams: frames at which a new segment begins, rising, as `Plan.seams`; may be empty.
        mask: of the pixels that count; None for all.

    Returns:
        [segments], float64, the first 0; NaN for segments without a pixel in the mask.
    """
    return _run(_ColourDrift(seams), video=video, mask=mask)


def seam_jump(video: Frames, seams: Sequence[int]) -> np.ndarray:
    """Compare the change at each seam with what is usual around it; 1 is no jump, less than 1 a standstill.

    A change is the mean absolute difference of two frames in grey levels over R, G and B; usual is the median of up to
    4 pairs of frames on each side, other seams left out. Changes below half a grey level count as that much.

    Args:
        video, seams: as for `colour_drift`.

    Returns:
        [seams], float64; NaN for a seam without other pairs around.
    """
    return _run(_SeamJump(seams), video=video)


def flicker(video: Frames) -> Series:
    """Measure what blinks: the second difference of luma over three frames, both neighbours moved onto the middle one.

    The plain |f(t-1) - 2 f(t) + f(t+1)| is blind to slow fades but not to movement: a texture that glides by 2.5 pixels
    a frame gives it 6 grey levels. So the neighbours are warped by DIS optical flow, which takes the mean out of its
    patches and is thus not misled by blinking; that leaves 0.3. Warping one neighbour alone (Lai et al.) would count
    fades; leaving out where flow there and back do not meet, as they do, would hide what blinks most. Only what comes
    in over the image's edge is left out.

    Returns:
        grey levels: a where every pixel alternates by ±a, 0.49 sigma for noise; NaN for the first and the last frame.

    Source: Lai et al., "Learning Blind Video Temporal Consistency", 2018 (the warping error); Kroeger et al., "Fast
    Optical Flow using Dense Inverse Search", 2016.
    """
    return _run(_Flicker(), video=video)


def sharpness(video: Frames, mask: Frames | None = None) -> Series:
    """Measure fine detail: the variance of the Laplacian (4 neighbours) of luma; `overall` is the mean of the frames.

    It compares frames and results of the same scene and size. Only pixels count whose 8 neighbours are in the mask and
    in the image: the outline of the person is not the person's.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    """
    return _run(_Sharpness(), video=video, mask=mask)


def reference_agreement(video: Frames, mask: Frames, reference: np.ndarray, reference_mask: np.ndarray) -> Series:
    """Tell how much of the person's colours (clothes, hair, skin) the reference character has too; 1 is all.

    The intersection of two histograms of L*a*b* in bins of 4, each smoothed by a Gaussian (sigma 16 in L, 8 in a and b):
    a small shift of colour or light costs little, and a share of pixels in another colour costs that share.

    Args:
        video, mask: the result and its person; `overall` is the mean of the frames that show one.
        reference: [H, W, 3], 0 to 255, uint8 RGB, of any size.
        reference_mask: [H, W], bool, its person.

    Raises:
        ValueError: if shapes do not fit, or the reference has no person.

    Source: Swain and Ballard, "Color Indexing", 1991.
    """
    ((image, person),) = _together(reference=[reference], reference_mask=[reference_mask])
    if not person.any():
        raise ValueError("reference_mask must be True somewhere, got no such pixel; use the mask of the character")
    wanted = _histogram(image[person])
    values = []
    for frame, counted in _together(video=video, mask=mask):
        values.append(np.minimum(_histogram(frame[counted]), wanted).sum() if counted.any() else np.nan)
    return _mean_of(values)


class OnePass:
    """All of the above that needs no keypoints, measured while somebody else goes through the video's frames.

    Iterating yields the frames, [H, W, 3], uint8 RGB; at the end of them `results` are there.
    """

    def __init__(self, video: Frames, seams: Sequence[int], other: Frames | None = None, where: Frames | None = None):
        """Take the result and its seams, and the video that it is compared with inside the mask `where`; None: with none."""
        self._streams = {"video": video, "other": other, "where": where}
        self._alone: dict[str, _Metric] = {
            "flicker": _Flicker(), "sharpness": _Sharpness(), "colour_drift": _ColourDrift(seams), "seam_jump": _SeamJump(seams),
        }  # fmt: skip
        self._compared: dict[str, _Metric] = {} if other is None else {"psnr": _Psnr(), "ssim": _Ssim()}

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame, other, where in _together(**self._streams):
            everywhere = np.ones(frame.shape[:2], bool)
            for metric in self._alone.values():
                metric.add(frame, everywhere)
            for metric in self._compared.values():
                metric.add(frame, other, where)
            yield frame

    def results(self) -> dict[str, Any]:
        """Return what each metric's function does, by its name."""
        return {name: metric.result() for name, metric in (self._alone | self._compared).items()}


class _Metric(Protocol):
    """A metric that is shown the frames of its videos and masks one after the other."""

    def add(self, *frames: np.ndarray) -> None: ...
    def result(self) -> Any: ...


def _run(metric: _Metric, **streams: Frames | None) -> Any:
    """Show a metric all frames of videos and masks, by name as `_together` takes them."""
    for frames in _together(**streams):
        metric.add(*frames)
    return metric.result()


class _Shares:
    """What metrics have in common that are a sum over a count, of each frame and of all."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.counts: list[int] = []

    def result(self) -> Series:
        return _series(self.sums, self.counts)


class _Psnr(_Shares):
    def add(self, *frames: np.ndarray) -> None:
        x, y, counted = frames
        self.sums.append((np.subtract(x[counted], y[counted], dtype=np.float64) ** 2).sum())
        self.counts.append(3 * counted.sum())

    def result(self) -> Series:
        error = super().result()
        with np.errstate(divide="ignore"):  # equal frames
            ratios = 10 * np.log10(255**2 / np.append(error.per_frame, error.overall))
        return Series(ratios[:-1], float(ratios[-1]))


class _Ssim(_Shares):
    def add(self, *frames: np.ndarray) -> None:
        x, y = (_luma(frame).astype(np.float64) for frame in frames[:2])
        mean_x, mean_y, xx, yy, xy = (
            cv2.GaussianBlur(each, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA) for each in (x, y, x * x, y * y, x * y)
        )
        light = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
        spread = xx - mean_x**2 + yy - mean_y**2
        similarity = light * (2 * (xy - mean_x * mean_y) + SSIM_C2) / (spread + SSIM_C2)
        whole = _whole_windows(frames[2], SSIM_WINDOW)
        self.sums.append(similarity[whole].sum())
        self.counts.append(whole.sum())


class _ColourDrift:
    def __init__(self, seams: Sequence[int]) -> None:
        self.seams = seams
        self.sums: list[np.ndarray] = []
        self.counts: list[int] = []

    def add(self, *frames: np.ndarray) -> None:
        frame, counted = frames
        self.sums.append(_lab(frame)[counted].sum(axis=0, dtype=np.float64))
        self.counts.append(counted.sum())

    def result(self) -> np.ndarray:
        starts = [0, *_checked(self.seams, len(self.sums))]
        total, count = np.add.reduceat(self.sums, starts, axis=0), np.add.reduceat(self.counts, starts)[:, None]
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return np.linalg.norm(mean - mean[0], axis=1)


class _SeamJump:
    def __init__(self, seams: Sequence[int]) -> None:
        self.seams = seams
        self.change = [np.nan]  # by the later frame of a pair
        self.before: np.ndarray | None = None

    def add(self, *frames: np.ndarray) -> None:
        frame = frames[0]
        if self.before is not None:
            self.change.append(float(cv2.norm(self.before, frame, cv2.NORM_L1)) / frame.size)
        self.before = frame

    def result(self) -> np.ndarray:
        change, seams = self.change, self.seams
        floored = np.maximum(change, SEAM_FLOOR)
        ratios = []
        for seam in _checked(seams, len(change)):
            around = np.arange(max(1, seam - SEAM_REACH), min(len(change), seam + SEAM_REACH + 1))
            usual = floored[np.setdiff1d(around, seams)]
            ratios.append(floored[seam] / np.median(usual) if len(usual) else np.nan)
        return np.array(ratios, np.float64)


class _Flicker(_Shares):
    def __init__(self) -> None:
        super().__init__()
        self.sums, self.counts = [0.0], [0]
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.lumas: list[np.ndarray] = []

    def add(self, *frames: np.ndarray) -> None:
        self.lumas = lumas = [*self.lumas[-2:], _luma(frames[0])]
        if len(lumas) == 3:
            earlier, in_earlier = _follow(self.dis, lumas[1], lumas[0])
            later, in_later = _follow(self.dis, lumas[1], lumas[2])
            seen = in_earlier & in_later
            self.sums.append(float(np.abs(earlier - 2.0 * lumas[1] + later)[seen].sum()) / 4)
            self.counts.append(int(seen.sum()))

    def result(self) -> Series:
        ends = [0] * (len(self.lumas) > 1)
        return _series([*self.sums, *ends], [*self.counts, *ends])


class _Sharpness:
    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, *frames: np.ndarray) -> None:
        inside = cv2.Laplacian(_luma(frames[0]), cv2.CV_64F)[_whole_windows(frames[1], 3)]
        self.values.append(inside.var() if len(inside) else np.nan)

    def result(self) -> Series:
        return _mean_of(self.values)


def _together(**streams: Frames | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield frames of videos and masks (by name: where, mask) side by side; a mask that is None is True everywhere."""
    given = {name: stream for name, stream in streams.items() if stream is not None}
    first, size = next(iter(given)), None
    for t, frames in enumerate(itertools.zip_longest(*given.values())):
        row = dict(zip(given, frames, strict=True))
        for name, frame in row.items():
            if frame is None:
                raise ValueError(f"{name} must have as many frames as the others, got {t}; use {t} of each")
            if name.endswith(("mask", "where")):
                fits, rule, use = frame.dtype == bool and frame.ndim == 2, "[H, W], bool", "mask >= 128"
            else:
                fits = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
                rule, use = "[H, W, 3], uint8 RGB", "a media.Clip"
            if not fits:
                raise ValueError(f"{name} must be {rule} in each frame, got {frame.shape}, {frame.dtype}; use {use}")
            size = size or frame.shape[:2]
            if frame.shape[:2] != size:
                got, use = (f"{height}x{width}" for height, width in (frame.shape[:2], size))
                raise ValueError(f"{name} must be of {first}'s size (height x width), got {got}; use {use}")
        yield tuple(row[name] if name in row else np.ones(size or (), bool) for name in streams)
    if size is None:
        raise ValueError(f"{first} must be at least one frame, got none; use a longer clip")


def _checked(seams: Sequence[int], length: int) -> Sequence[int]:
    """Return seams that lie inside a clip, in order."""
    if any(later <= earlier for earlier, later in itertools.pairwise([0, *seams, length])):
        raise ValueError(f"seams must be rising frames from 1 to {length - 1}, got {list(seams)}; use Plan.seams")
    return seams


def _series(sums: Sequence[float] | np.ndarray, counts: Sequence[int] | np.ndarray) -> Series:
    """Return sums over counts: of each frame, and of all."""
    total, count = np.append(sums, np.sum(sums)).astype(np.float64), np.append(counts, np.sum(counts))
    mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return Series(mean[:-1], float(mean[-1]))


def _mean_of(values: Sequence[float]) -> Series:
    return Series(np.array(values, np.float64), _series(np.nan_to_num(values), ~np.isnan(values)).overall)


def _luma(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _lab(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _whole_windows(mask: np.ndarray, side: int) -> np.ndarray:
    """Return the centres of the windows that lie wholly in the mask and in the image."""
    kernel = np.ones((side, side), np.uint8)
    return cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)


def _follow(dis: cv2.DISOpticalFlow, luma: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `other` moved onto `luma` along the optical flow, float32, and where that is from inside the image."""
    height, width = luma.shape
    flow = dis.calc(luma, other, np.zeros((height, width, 2), np.float32))
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(other.astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return moved, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Return the smoothed share of each L*a*b* bin in [N, 3] uint8 RGB."""
    index = np.rint((_lab(pixels[:, None])[:, 0] - LAB_ORIGIN) / LAB_BIN).astype(int)
    flat = np.bincount(np.ravel_multi_index(tuple(index.T), LAB_BINS), minlength=int(np.prod(LAB_BINS)))
    share = flat.reshape(LAB_BINS) / len(pixels)
    for axis, (bins, sigma) in enumerate(zip(LAB_BINS, LAB_TOLERANCE, strict=True)):
        apart = np.subtract.outer(np.arange(bins), np.arange(bins)) * LAB_BIN / sigma
        kernel = np.exp(-0.5 * apart**2)
        share = np.moveaxis(np.tensordot(kernel / kernel.sum(axis=0), share, (1, axis)), 0, axis)
    return share
