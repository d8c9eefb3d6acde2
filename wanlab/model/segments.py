"""The temporal plan: which frames each segment of a clip computes, and which of them it was given (golden 08, 12)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wanlab.mask import TEMPORAL_STRIDE


class SegmentPlan(NamedTuple):
    """How a clip is cut into overlapping segments.

    Attributes:
        num_frames: of the clip, and of the result.
        segment_length: frames of each segment, 4n + 1; of a fitted plan those of the longest.
        overlap: frames that a segment takes over from the one before.
        segments: (start, end) of each segment in the padded clip, end-exclusive.
        indices: [padded length], int; the clip's frame that each padded frame shows.
        lead_in: frames of an earlier result in front of the clip, which the first segment takes over; they come first in
            `segments` and `indices`.
    """

    num_frames: int
    segment_length: int
    overlap: int
    segments: tuple[tuple[int, int], ...]
    indices: np.ndarray
    lead_in: int = 0

    def taken(self, number: int) -> int:
        """Return how many of its first frames a segment takes over."""
        return self.overlap if number else self.lead_in

    def shown(self, number: int) -> int:
        """Return how many new frames a segment brings to the result; what follows them only fills it."""
        start, end = self.segments[number]
        return max(0, min(end, self.lead_in + self.num_frames) - start - self.taken(number))

    def first(self, count: int) -> SegmentPlan:
        """Return the plan of the first `count` segments alone."""
        return self._replace(num_frames=sum(map(self.shown, range(count))), segments=self.segments[:count])

    @property
    def seams(self) -> tuple[int, ...]:
        """Frames of the result at which a new segment begins."""
        seams = (start + self.overlap - self.lead_in for start, _ in self.segments[1:])
        return tuple(seam for seam in seams if seam < self.num_frames)

    @property
    def num_wasted(self) -> int:
        """Frames that are computed only to fill the last segment."""
        return len(self.indices) - self.num_frames - self.lead_in

    def describe(self) -> str:
        """Say the plan in words, with the clip lengths nearby that waste nothing."""
        step = self.segment_length - self.overlap
        count = len(self.segments)
        sizes = list(dict.fromkeys(end - start for start, end in self.segments))
        text = (
            f"{self.num_frames} frames in {count} segment{'s' * (count > 1)} of {' or '.join(map(str, sizes))} frames, "
            f"{self.overlap} frame{'s' * (self.overlap > 1)} taken over at each seam"
        )
        if self.lead_in:
            text += f", the first {self.lead_in} from the earlier result"
        if self.num_wasted and len(sizes) > 1:
            text += f"; {self.num_wasted} frames are computed only because a segment has 4n + 1, and cut off"
        elif self.num_wasted:
            lengths = [self.segment_length + n * step - self.lead_in for n in range(count)]
            near = sorted({length for length in lengths[-2:] if length != self.num_frames})
            text += (
                f"; {self.num_wasted} frames are computed only to fill the last segment "
                f"(the clip runs backwards there) and cut off: a clip of {' or '.join(map(str, near))} frames wastes none"
            )
        else:
            text += "; no frame is wasted"
        return text


def make_plan(num_frames: int, segment_length: int, overlap: int, lead_in: int = 0) -> SegmentPlan:
    """Cut a clip into segments; one no longer than the overlap, where upstream fails, becomes one padded segment.

    Args:
        num_frames: frames of the clip.
        segment_length: frames of each segment, 4n + 1.
        overlap: frames that a segment takes over from the one before.
        lead_in: frames of an earlier result that the first segment takes over: none, or `overlap`.

    Raises:
        ValueError: if there is no frame, or a segment would bring nothing new.

    Source: `get_valid_len` and `generate` of Wan2.2's `wan/animate.py`.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}; use a longer clip")
    if segment_length % TEMPORAL_STRIDE != 1 or segment_length <= overlap:
        least = max(5, overlap // 4 * 4 + 5)
        raise ValueError(
            f"segment_frame_length must be 4n + 1 and more than the {overlap} frames taken over, got {segment_length}; use {least}"
        )
    step = segment_length - overlap
    whole = lead_in + num_frames
    length = padded_length(whole, segment_length, overlap)
    spans = tuple((start, start + segment_length) for start in range(0, length - overlap, step))
    return SegmentPlan(num_frames, segment_length, overlap, spans, padding_indices(whole, length), lead_in)


def fit_plan(num_frames: int, limit: int, overlap: int, lead_in: int = 0) -> SegmentPlan:
    """Cut a clip into as few segments as `limit` allows, of lengths as equal as can be: at most 3 frames fill the last one.

    A segment of 4n + 1 frames brings a multiple of 4 new ones, so these are shared out in fours; the longer come first.

    Args:
        num_frames: frames of the clip.
        limit: most frames of a segment, 4n + 1: memory and time of a step grow with it.
        overlap: frames that a segment takes over from the one before, 1 or 5.
        lead_in: as in `make_plan`.

    Raises:
        ValueError: as `make_plan`.
    """
    make_plan(num_frames, limit, overlap)
    whole = lead_in + num_frames
    length = max(5, whole + (1 - whole) % TEMPORAL_STRIDE)
    if length <= limit:
        return SegmentPlan(num_frames, length, overlap, ((0, length),), padding_indices(whole, length), lead_in)
    fours = (length - overlap) // TEMPORAL_STRIDE
    count = -(-fours // ((limit - overlap) // TEMPORAL_STRIDE))
    each, more = divmod(fours, count)
    new = [TEMPORAL_STRIDE * (each + (n < more)) for n in range(count)]
    starts = [sum(new[:n]) for n in range(count)]
    spans = tuple((start, start + frames + overlap) for start, frames in zip(starts, new, strict=True))
    return SegmentPlan(num_frames, new[0] + overlap, overlap, spans, padding_indices(whole, length), lead_in)


def padded_length(num_frames: int, segment_length: int, overlap: int) -> int:
    """Return the length that whole segments need: segment_length + n (segment_length - overlap)."""
    step = segment_length - overlap
    extra = max(0, -(-(num_frames - segment_length) // step))
    return segment_length + extra * step


def padding_indices(num_frames: int, length: int) -> np.ndarray:
    """Return which frame of a clip each of `length` frames shows: back and forth, the ends not doubled; [length], int."""
    period = max(1, 2 * (num_frames - 1))
    position = np.arange(length) % period
    return np.where(position < num_frames, position, period - position)
