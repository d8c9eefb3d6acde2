"""Pictures to judge by: contact sheets, curves, plans, players. Each returns something that a notebook shows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import cv2
import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wanlab import media, pose
from wanlab.windows import Plan

COLUMNS = 8
CELL = 1.5  # inches, the height of a picture in a contact sheet
PAGE = 13.0  # inches, the width of a sheet
DPI = 110
PREVIEW = 320  # pixels, the height of an inline video; the full files lie in the run folder
SEAM_COLOUR = "#c2185b"
PARTS = {"body": slice(0, 17), "face": slice(23, 91), "left hand": slice(91, 112), "right hand": slice(112, 133)}
PART_COLOURS = ("#1f4e79", "#e08a1e", "#2e8b57", "#8e44ad")


def contact_sheet(videos: Mapping[str, media.Clip | None], columns: int = COLUMNS) -> Image:
    """Show frames spread over the clip, a row per video, frame numbers on top.

    Args:
        videos: clips of equal length by name; None is left out.
        columns: frames to show.
    """
    shown = {name: clip for name, clip in videos.items() if clip is not None}
    length = min(len(clip) for clip in shown.values())
    return _sheet(shown, _spread(length, columns))


def result_beside(driving: media.Clip, reference: np.ndarray, video: media.Clip, seams: Sequence[int] = ()) -> Image:
    """Show the result under its driver, the reference in front; both frames at each seam, a dashed line between them.

    Args:
        driving: the clip whose motion was taken over.
        reference: [H, W, 3], 0 to 255, uint8 RGB.
        video: the result, as long as `driving`.
        seams: frames at which a segment begins; three at most are shown.
    """
    shown_seams = (
        [seams[i] for i in np.unique(np.linspace(0, len(seams) - 1, min(3, len(seams))).astype(int))] if seams else []
    )
    frames = sorted({*_spread(len(video), 6), *(t for seam in shown_seams for t in (seam - 1, seam))})
    return _sheet({"driving": driving, "result": video}, frames, reference, shown_seams)


def reference_sketch(image: np.ndarray, keypoints: np.ndarray | None) -> Image:
    """Show the reference, and its skeleton over a dimmed copy.

    Args:
        image: [H, W, 3], 0 to 255, uint8 RGB.
        keypoints: [133, 3], float32, x, y in pixels of the image, score; None in a folder of other tools.
    """
    pictures = {"reference": image}
    if keypoints is not None and keypoints[:, 2].any():
        height, width = image.shape[:2]
        scale = max(1, round(512 / height))  # a small picture would have a skeleton of one pixel
        large = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
        meta = pose.to_meta(keypoints[None] * (scale, scale, 1), height * scale, width * scale)
        pictures["its skeleton"] = pose.draw_frame(
            meta.body[0], meta.left_hand[0], meta.right_hand[0], height * scale, width * scale, canvas=large // 3
        )
    ratio = image.shape[1] / image.shape[0]
    figure = Figure(figsize=(len(pictures) * 3.2 * ratio, 3.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        _picture(axis, picture)
        axis.set_title(name, fontsize=9)
    return _image(figure, "The reference and its skeleton", "jpeg")


def keypoint_confidence(
    keypoints: np.ndarray | None, fps: Fraction, no_person: Iterable[int] = (), cuts: Iterable[int] = ()
) -> Image | None:
    """Plot the mean score of each part over time, frames without a person in grey, cuts as lines.

    Args:
        keypoints: [T, 133, 3], float32; None (a folder of other tools) shows nothing.
        fps: frames per second.
        no_person: frames without a person.
        cuts: first frames of new shots.
    """
    if keypoints is None:
        print("these inputs hold no key points")
        return None
    frames = np.arange(len(keypoints))
    figure = Figure(figsize=(10, 2.8), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for (part, rows), colour in zip(PARTS.items(), PART_COLOURS, strict=True):
        axis.plot(frames, keypoints[:, rows, 2].mean(axis=1), label=part, color=colour, linewidth=1.6)
    axis.axhline(pose.DRAWN_FROM, color="#888888", linestyle=":", linewidth=1)
    for t in no_person:
        axis.axvspan(t - 0.5, t + 0.5, color="#dddddd", linewidth=0)
    for t in cuts:
        axis.axvline(t - 0.5, color=SEAM_COLOUR, linestyle="--", linewidth=1.2)
    axis.set(
        xlim=(-0.5, len(keypoints) - 0.5),
        ylim=(-0.03, 1.05),
        xlabel=f"frame ({float(fps):.4g} per second)",
        ylabel="mean score",
    )
    axis.legend(loc="lower left", ncols=4, fontsize=8, frameon=False)
    _plain(axis)
    return _image(figure, "Mean key point score of each part over time")


def segment_plan(plan: Plan) -> Image:
    """Draw the segments over the clip's frames: what is new, what is taken over, and (hatched) what is cut off."""
    count = len(plan.windows)
    figure = Figure(figsize=(10, 0.9 + 0.34 * count), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    for row, (start, end) in enumerate(plan.windows):
        new = start + (plan.overlap if row else 0)
        kept = min(max(plan.num_frames, new), end)
        if row:
            axis.barh(
                row, new - start, left=start, height=0.62, color="#f2b8cd", label="taken over" if row == 1 else None
            )
        axis.barh(row, kept - new, left=new, height=0.62, color="#1f4e79", label="new" if row == 0 else None)
        if end > kept:
            axis.barh(
                row,
                end - kept,
                left=kept,
                height=0.62,
                color="#ffffff",
                edgecolor="#999999",
                hatch="////",
                label="cut off",
            )
    axis.set(
        yticks=range(count),
        yticklabels=[f"segment {n + 1}" for n in range(count)],
        xlabel="frame",
        xlim=(0, plan.windows[-1][1]),
    )
    axis.invert_yaxis()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    _plain(axis)
    return _image(figure, "The segments of the clip")


def show_videos(videos: Mapping[str, media.Clip | None], fps: Fraction) -> None:
    """Play videos side by side, made smaller: the notebook holds them, so it can be sent around.

    Args:
        videos: clips by name; None is left out.
        fps: frames per second.
    """
    import imageio_ffmpeg
    import mediapy

    mediapy.set_ffmpeg(imageio_ffmpeg.get_ffmpeg_exe())
    small = {name: [_preview(frame) for frame in clip] for name, clip in videos.items() if clip is not None}
    mediapy.show_videos(small, fps=float(fps), height=PREVIEW, columns=len(small), qp=26)


def _sheet(
    clips: Mapping[str, media.Clip],
    frames: Sequence[int],
    reference: np.ndarray | None = None,
    seams: Sequence[int] = (),
) -> Image:
    """Lay frames out in bands as wide as a page, in each a row per clip, the reference in front of the first."""
    lead = 0 if reference is None else 1
    widest = max(clip.width / clip.height for clip in clips.values())
    across = max(2, int(PAGE / (CELL * widest)) - lead)
    across = -(-len(frames) // -(-len(frames) // across))  # bands of equal length
    bands = [frames[i : i + across] for i in range(0, len(frames), across)]
    size = (0.4 + (lead + across) * CELL * widest * 1.04, len(bands) * (len(clips) * CELL * 1.05 + 0.25) + 0.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)  # type: ignore[union-attr]
    axes = figure.subplots(len(bands) * len(clips), lead + across, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for band, shown in enumerate(bands):
        for row, (name, clip) in enumerate(clips.items()):
            line = axes[band * len(clips) + row, lead:]
            for axis, frame, t in zip(line, _frames(clip, shown), shown, strict=False):
                _picture(axis, frame)
                if row == 0:
                    axis.set_title(f"{t}", fontsize=8, color=SEAM_COLOUR if t in seams else "#333333")
                if t in seams:
                    axis.axvline(-0.5, color=SEAM_COLOUR, linestyle="--", linewidth=3)
            line[0].set_ylabel(name, fontsize=9)
    if reference is not None:
        axis = axes[len(clips) - 1, 0]
        _picture(axis, reference)
        axis.set_title("reference", fontsize=8)
    return _image(figure, "Frames " + ", ".join(map(str, frames)) + " of " + ", ".join(clips), "jpeg")


def _frames(clip: media.Clip, frames: Sequence[int]) -> np.ndarray:
    return media.Clip(clip.info, clip.fps, clip.source_indices[list(frames)], ()).read()


def _spread(length: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def _preview(frame: np.ndarray) -> np.ndarray:
    height = min(PREVIEW, frame.shape[0] // 2 * 2)
    width = max(2, round(frame.shape[1] * height / frame.shape[0] / 2) * 2)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _picture(axis: Axes, picture: np.ndarray) -> None:
    axis.axis("on")
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _image(figure: Figure, alt: str, kind: str = "png") -> Image:
    """Draw a figure into a picture: shown the same with every backend, and of known size."""
    target = io.BytesIO()
    figure.savefig(target, format=kind, pil_kwargs={"quality": 88} if kind == "jpeg" else {})
    return Image(target.getvalue(), format=kind, alt=alt)
