"""Images to judge by: contact sheets, curves, plans, players. Each returns something that a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from wanlab import media, pose
from wanlab.viz.style import CELL, COLUMNS, DPI, INK, OBJECT_COLOURS, PAGE, SEAM_COLOUR, Drawing, as_image, show_image

SKETCH_INCHES = 13  # of a row; a wider one is shown so small that its titles cannot be read


def contact_sheet(
    videos: Mapping[str, media.Clip | None],
    columns: int = COLUMNS,
    marks: Mapping[int, str] | None = None,
    reference: np.ndarray | None = None,
) -> Drawing:
    """Show frames spread over the clip, a row per video, frame numbers on top.

    Args:
        videos: clips of equal length by name; None is left out.
        columns: frames to show.
        marks: frames that are shown in any case (as many as `columns` of them), and the word beside their number.
        reference: [H, W, 3], 0 to 255, uint8 RGB; shown in front.
    """
    shown = {name: clip for name, clip in videos.items() if clip is not None}
    length = min(len(clip) for clip in shown.values())
    marks = marks or {}
    marked = [sorted(marks)[i] for i in spread(len(marks), columns)]
    frames = sorted({*spread(length, columns), *marked})
    return draw_sheet({name: frames_at(clip, frames) for name, clip in shown.items()}, frames, reference, marks=marks)


def people_sheet(clip: media.Clip, boxes: np.ndarray | None, columns: int = COLUMNS) -> Drawing | None:
    """Show who has which number: frames with the people's boxes and numbers; None where one person at most is in the clip.

    Args:
        clip: the working clip.
        boxes: [P, T, 4], x1, y1, x2, y2 in pixels of the clip, all 0 where a person is not seen; None: not known.
        columns: frames to show, those in which most people are seen among them.
    """
    if boxes is None or len(boxes) < 2:
        return None
    seen = np.asarray(boxes.any(axis=-1))
    first = [int(np.flatnonzero(each)[0]) for each in seen if each.any()]
    frames = sorted({*spread(len(clip), columns), *first[:columns], int(np.argmax(seen.sum(axis=0)))})
    images = frames_at(clip, frames)
    for image, t in zip(images, frames, strict=True):
        for number, box in enumerate(boxes[:, t], 1):
            if box.any():
                _draw_number(image, number, box)
    return draw_sheet({"people": images}, frames)


def _draw_number(image: np.ndarray, number: int, box: np.ndarray) -> None:
    """Draw a person's box (x1, y1, x2, y2) and number into an image ([H, W, 3], uint8 RGB) in place."""
    height, width = image.shape[:2]
    colour = OBJECT_COLOURS[(number - 1) % len(OBJECT_COLOURS)]
    thick, large = max(round(height / 240), 1), height / 360
    x1, y1, x2, y2 = (int(v) for v in np.clip(box, 0, (width - 1, height - 1) * 2))
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
    (wide, high), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, large, 2 * thick)
    cv2.rectangle(image, (x1, y1), (x1 + wide + 4 * thick, y1 + high + 4 * thick), colour, -1)
    place = (x1 + 2 * thick, y1 + high + 2 * thick)
    cv2.putText(image, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, large, (0, 0, 0), 2 * thick, cv2.LINE_AA)


def result_beside(driving: media.Clip, reference: np.ndarray, video: media.Clip, seams: Sequence[int] = ()) -> Drawing:
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
    frames = sorted({*spread(len(video), 6), *(t for seam in shown_seams for t in (seam - 1, seam))})
    rows = {"driving": frames_at(driving, frames), "result": frames_at(video, frames)}
    return draw_sheet(rows, frames, reference, shown_seams)


def reference_sketch(
    image: np.ndarray,
    keypoints: np.ndarray | None,
    edited: Mapping[str, np.ndarray] | None = None,
    stands: Mapping[str, np.ndarray] | None = None,
) -> Drawing:
    """Show the reference, skeletons over a dimmed copy, and what FLUX made of it and of the video's first frame.

    Args:
        image: [H, W, 3], 0 to 255, uint8 RGB.
        keypoints: [133, 3], float32, x, y in pixels of the image, score; None in a folder of other tools.
        edited: [H', W', 3], 0 to 255, uint8 RGB each, by name.
        stands: further skeletons, [133, 3] each, by name: the driver's before and after retargeting.
    """
    images = {"reference": image}
    skeletons = {"its skeleton": keypoints} if keypoints is not None and keypoints[:, 2].any() else {}
    images |= {name: _over(image, each) for name, each in (skeletons | dict(stands or {})).items()}
    images |= edited or {}
    width = 3.2 * max(each.shape[1] / each.shape[0] for each in images.values())
    columns = min(len(images), max(1, int(SKETCH_INCHES // width)))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * width, 3.5 * rows), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(images) :]:
        axis.axis("off")
    for axis, (name, each) in zip(axes, images.items(), strict=False):
        show_image(axis, each)
        axis.set_title(name, fontsize=9)
    return as_image(figure, "The reference and its skeleton", "webp")


def _over(image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Draw a skeleton ([133, 3], pixels) over a dimmed copy of an image ([H, W, 3], uint8 RGB)."""
    height, width = image.shape[:2]
    scale = max(1, round(512 / height))  # a small image would have a skeleton of one pixel
    large = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    meta = pose.to_meta(keypoints[None] * (scale, scale, 1), height * scale, width * scale)
    return pose.draw_frame(
        meta.body[0], meta.left_hand[0], meta.right_hand[0], height * scale, width * scale, canvas=large // 3
    )


def video_changes(
    clip: media.Clip | None,
    before: Mapping[str, media.Clip],
    after: Mapping[str, media.Clip],
    columns: int = COLUMNS,
) -> Drawing | None:
    """Show the frames in which videos changed most, before and after; None without a change.

    Args:
        clip: the working clip, shown above them.
        before, after: clips of equal length, by the same names.
        columns: frames to show.
    """
    shares = {
        name: np.array([(a != b).mean() for a, b in zip(frames_before, after[name], strict=True)])
        for name, frames_before in before.items()
    }
    changed = {name: share for name, share in shares.items() if share.any()}
    if not changed:
        return None
    total = np.sum(
        [share / share.max() for share in changed.values()], axis=0
    )  # a skeleton has fewer pixels than a face
    frames = sorted(t for t in np.argsort(-total, kind="stable")[:columns].tolist() if total[t])
    rows = {"driving": frames_at(clip, frames)} if clip is not None else {}
    for name in changed:
        rows |= {
            f"{name} before": frames_at(before[name], frames),
            f"{name} after": frames_at(after[name], frames),
        }
    return draw_sheet(rows, frames)


def draw_sheet(
    rows: Mapping[str, np.ndarray],
    frames: Sequence[int],
    reference: np.ndarray | None = None,
    seams: Sequence[int] = (),
    marks: Mapping[int, str] | None = None,
    cell: float = CELL,
) -> Drawing:
    """Lay images out in bands as wide as a page, a line per row in each, the reference in front of the first.

    Args:
        rows: [n, H, W, 3], uint8 RGB, by name: the images of `frames`.
        frames: their numbers.
        reference: [H, W, 3], uint8 RGB.
        seams: frames before which a dashed line is drawn.
        marks: a word beside the number of a frame.
        cell: inches, the height of an image.
    """
    lead = 0 if reference is None else 1
    widest = max(images.shape[2] / images.shape[1] for images in rows.values())
    across = max(2, int(PAGE / (cell * widest)) - lead)
    across = -(-len(frames) // -(-len(frames) // across))  # bands of equal length
    bands = [range(i, min(i + across, len(frames))) for i in range(0, len(frames), across)]
    size = (0.4 + (lead + across) * cell * widest * 1.04, len(bands) * (len(rows) * cell * 1.05 + 0.25) + 0.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)  # type: ignore[union-attr]
    axes = figure.subplots(len(bands) * len(rows), lead + across, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for band, shown in enumerate(bands):
        for row, (name, images) in enumerate(rows.items()):
            line = axes[band * len(rows) + row, lead:]
            for axis, i in zip(line, shown, strict=False):
                t = frames[i]
                show_image(axis, images[i])
                if row == 0:
                    title = f"{t} {marks[t]}" if marks and t in marks else f"{t}"
                    axis.set_title(title, fontsize=8, color=SEAM_COLOUR if t in seams or title != f"{t}" else INK)
                if t in seams:
                    axis.axvline(-0.5, color=SEAM_COLOUR, linestyle="--", linewidth=3)
            line[0].set_ylabel(name.replace(", ", "\n"), fontsize=8 if len(name) < 16 else 6)
    if reference is not None:
        axis = axes[len(rows) - 1, 0]
        show_image(axis, reference)
        axis.set_title("reference", fontsize=8)
    return as_image(figure, "Frames " + ", ".join(map(str, frames)) + " of " + ", ".join(rows), "webp")


def frames_at(clip: media.Clip, frames: Sequence[int]) -> np.ndarray:
    """Return some frames of a clip: [n, H, W, 3], 0 to 255, uint8 RGB."""
    return media.Seeker(clip).read(np.asarray(frames))


def spread(length: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist() if length else []
