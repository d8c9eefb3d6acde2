"""A skeleton with another body's proportions: the driving person's motion on the reference's bones (golden 03).

`official` is upstream's arithmetic with its faults, number for number. `wanlab` measures the driver's bones over the whole
clip, not in its first frame where they may point at the camera, takes only points that were seen, and hangs hands on wrists.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from wanlab.pose.drawing import BODY_SOURCES, LEFT_HAND, LIMBS, RIGHT_HAND, Meta
from wanlab.pose.wholebody import NAMES

Method = Literal["official", "wanlab"]

NOSE, NECK, R_SHOULDER, R_WRIST, L_SHOULDER, L_WRIST = 0, 1, 2, 4, 5, 7
HIPS, ANKLES, TOES = (8, 11), (10, 13), (19, 18)  # right, left
HEAD = (0, 14, 15, 16, 17)
SHOULDERS, CALVES, FEET = (0, 1), (8, 11), (18, 17)  # rows of LIMBS; a foot's calf stands at the same place
PAIRS = ((0, 1), (2, 4), (3, 5), (6, 9), (7, 10), (8, 11), (17, 18))  # right and left bones: both get the larger ratio
ALIKE = ((13, 15), (14, 16))  # nose to eyes, eyes to ears: both get the mean
FOOT = 0.5  # of the calf: no foot is longer
SURE, SCALED_FROM, HAND_FROM = 0.4, 0.5, 0.4  # scores: of hips and ankles for the extent, for the scale, of hand points
CHAINS = ((2, 3, 4), (5, 6, 7), (11, 12, 13, 18), (8, 9, 10, 19))  # limbs outward: nothing hangs on what is missing
REPAIRED = (((2, 3), (3, 4), (11, 12), (12, 13), (13, 18)), ((5, 6), (6, 7), (8, 9), (9, 10), (10, 19)))
HEAD_BONES = range(12, 17)  # of LIMBS: neck to nose, eyes, ears
TRUNK = (6, 9)  # neck to hips
HEIGHT = (6, 7, 8, 9, 10, 11)  # bones that make a body's height
TURNED_ALIKE = 0.5  # of the frames: those whose face is turned most as the reference's
LIMB_BONES = ((2, 3), (4, 5), (7, 8), (10, 11))  # of LIMBS: upper and lower arms and legs
HIDDEN = {
    0: 0.45, 1: 0.45, 2: 0.65, 3: 0.51, 4: 0.65, 5: 0.51, 7: 0.85, 8: 0.85, 10: 0.85, 11: 0.85,
}  # of LIMBS: a usual bone in trunks, for those that the reference does not show  # fmt: skip
NEIGHBOUR = 0.85  # least ratio of a bone beside that of the other one of its limb
LONGEST = 80  # percentile of a bone's length over a clip: its length where it points across the view, but for outliers
EXTREME = 1.8  # times the body's median ratio, or a part of it: beyond, a bone is not measured but foreshortened
HALF_A_PIXEL_NO = 1e-6  # added to whole pixels, so that normalising and multiplying out again does not lose one


class Posed(NamedTuple):
    """Poses on a canvas.

    Attributes:
        meta: of T frames, normalised; NaN for a point that is not there.
        height, width: of the canvas in pixels.
    """

    meta: Meta
    height: int
    width: int

    def body(self, t: int = 0) -> np.ndarray:
        """Return the body of a frame: [20, 2], float64, pixels."""
        return self.meta.body[t, :, :2].astype(np.float64) * (self.width, self.height)


class Edited(NamedTuple):
    """The driver's frame and the reference after an image model has put both into one standard pose."""

    template: Posed
    reference: Posed


def retarget(
    template: Posed,
    reference: Posed,
    method: Method = "wanlab",
    edited: Edited | None = None,
    first: Posed | None = None,
    measured: Posed | None = None,
) -> Meta:
    """Move every frame's skeleton onto the reference's canvas, with the reference's bones.

    Args:
        template: the driver, T frames.
        reference: the character, one frame.
        method: upstream's arithmetic, or wanlab's.
        edited: both in a standard pose, where bones are measured instead.
        first: official: the driver's frame that is laid over the reference; None: the clip's first. wanlab takes the first
            that shows neck and hips.
        measured: the driver before corrections by hand, whose bones count, so that a correction changes its own frames alone.

    Returns:
        float64, normalised on the reference's canvas; no face. Points that cannot be placed have score 0.
    """
    if method == "official":
        return _official(template, reference, edited, first or _frame(template, 0))
    return _wanlab(template, reference, edited, measured or template)


def to_keypoints(made: Meta, height: int, width: int) -> np.ndarray:
    """Return what a retargeted skeleton shows as COCO-WholeBody keypoints: [T, 133, 3], float32, pixels of the canvas.

    Both toes of a foot lie at the skeleton's one; heels and face have score 0.
    """
    points = np.zeros((len(made.body), len(NAMES), 3), np.float32)
    for row, (first, second) in enumerate(BODY_SOURCES):
        if row != NECK:
            points[:, first] = points[:, second] = made.body[:, row]
    points[:, LEFT_HAND], points[:, RIGHT_HAND] = np.nan_to_num(made.left_hand), np.nan_to_num(made.right_hand)
    return points * np.array([width, height, 1], np.float32)


def _official(template: Posed, reference: Posed, edited: Edited | None, first: Posed) -> Meta:
    scale, _ = _scale(first, reference)
    scaled = _enlarged(reference, scale)
    extent = min(_extent(first), _extent(reference))
    if edited is None:
        own, other = _repaired(first), _repaired(scaled)
        ratios = _ratios(_lengths(own), _lengths(other))
    else:
        own, other = first.body(), scaled.body()
        factor, by_canvas = _scale(edited.template, edited.reference)
        lengths = [_lengths(_repaired(each)) for each in (edited.template, _enlarged(edited.reference, factor))]
        changed = [
            _shrunk(*pair) if by_canvas else 1.0 for pair in ((first, edited.template), (reference, edited.reference))
        ]
        ratios = _ratios(lengths[0] * changed[0], lengths[1] * changed[1])
    ratios = _evened(ratios)
    rescaled = _grown(first.body()[None], ratios)[0]
    lost = np.isnan(own[:, 0]) | np.isnan(other[:, 0])
    offset, place = _offset(rescaled, other, extent)
    before = template.meta.body[..., :2].astype(np.float64) * (template.width, template.height)
    before[:, lost] = np.nan
    body = _grown(before, ratios)
    offsets = np.tile(offset, (len(body), 1))
    if extent != 1:  # upstream's: of three quarters of a body, not even frame 0 is moved
        marks = body[0, list(HIPS), 0].mean() if extent == 2 else body[0, NECK, 0]
        offsets[0, 0] += 0.0 if np.isnan(marks) else marks - place
    body = (body - offsets[:, None]) / scale
    hands = _official_hands(template, before, body, float(ratios[list(SHOULDERS)].max()) / scale)
    return _normalised(template, body, *hands, reference)


def _wanlab(template: Posed, reference: Posed, edited: Edited | None, measured: Posed) -> Meta:
    body, _ = _points(template)
    before, scores = _points(measured)
    character, seen = _points(reference)
    own, other = _measured(before, scores, character[0]), _measured(character, seen)
    ratios = _filled(other / own, own, other)
    if edited is not None:
        lengths = [_measured(*_points(each)) for each in edited]
        scale = [_usual_ratio(one, two) for one, two in zip((own, other), lengths, strict=True)]
        better = _filled(lengths[1] * scale[1] / (lengths[0] * scale[0]), *lengths)
        ratios = np.where(np.isfinite(lengths[0]) & np.isfinite(lengths[1]), better, ratios)
    size = _body_scale(other, own)
    grown = _grown(body, ratios)
    start = _first_seen(scores)
    laid = _grown(before[[start]], ratios)[0]
    marks = [_mark(*pair) for pair in ((laid, scores[start]), (character[0], seen[0]))]
    common = next((name for name in marks[0] if name in marks[1]), None)
    target = marks[1][common] if common else np.array([reference.width, reference.height]) / 2
    source = marks[0][common] if common else np.nan_to_num(laid[NECK])
    # the neck's way is shortened or lengthened as the body is; all else hangs on it
    way = (body[:, [NECK]] - before[start, NECK]) * (size - 1)
    placed = grown + way + (target - source)
    hands = _hands(template, body, placed, ratios, size)
    return _normalised(template, placed, *hands, reference)


def _frame(posed: Posed, t: int) -> Posed:
    return posed._replace(meta=Meta(*(each[[t]] for each in posed.meta)))


def _enlarged(posed: Posed, scale: float) -> Posed:
    return posed._replace(height=int(posed.height * scale), width=int(posed.width * scale))


def _scale(one: Posed, other: Posed) -> tuple[float, bool]:
    """Return how much larger `one` is, and whether the canvases had to tell: by head to ankles, else to hips."""
    for lower in (ANKLES, HIPS):
        rows = [NOSE, *lower]
        if all(
            (each.meta.body[0, rows, 2] > SCALED_FROM).all() and not np.isnan(each.body()[rows]).any()
            for each in (one, other)
        ):
            high = [abs(each.body()[list(lower), 1].mean() - each.body()[NOSE, 1]) for each in (one, other)]
            return float(high[0] / max(high[1], 1e-9)), False
    return float(np.sqrt(one.height * one.width) / np.sqrt(other.height * other.width)), True


def _extent(posed: Posed) -> int:
    """Return how much of a body is seen: 2 down to the ankles, 1 to the hips, 0 less."""
    body = posed.meta.body[0]

    def there(rows: tuple[int, ...]) -> bool:
        return bool((body[list(rows), 1] <= 1).all() and (body[list(rows), 2] >= SURE).all())

    return (2 if there((*HIPS, *ANKLES)) else 1) if there(HIPS) else 0


def _shrunk(posed: Posed, edited: Posed) -> float:
    """Return how much larger the person was before an edit: by the head's width or the shoulders, whichever is more."""
    heads = [float(np.ptp(each.meta.body[0, list(HEAD), 0].astype(np.float64))) for each in (posed, edited)]
    shoulders = [float(np.linalg.norm(each.body()[L_SHOULDER] - each.body()[R_SHOULDER])) for each in (posed, edited)]
    return max(heads[0] / max(heads[1], 1e-9), shoulders[0] / max(shoulders[1], 1e-9))


def _lengths(body: np.ndarray) -> np.ndarray:
    """Return the length of each limb of LIMBS ([..., 20, 2], pixels): [..., 19], NaN where an end is missing."""
    ends = np.array(LIMBS)
    return np.linalg.norm(body[..., ends[:, 0], :] - body[..., ends[:, 1], :], axis=-1)


def _ratios(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return each bone's ratio; what cannot be measured gets the mean of the shoulders'."""
    ratios = other / np.maximum(own, 1e-9)
    missing = np.isnan(ratios)
    ratios[missing] = ratios[list(SHOULDERS)].mean()
    return np.nan_to_num(ratios, nan=1.0)


def _evened(ratios: np.ndarray) -> np.ndarray:
    """Return the ratios with left and right alike."""
    even = ratios.copy()
    for pair in PAIRS:
        even[list(pair)] = ratios[list(pair)].max()
    for pair in ALIKE:
        even[list(pair)] = ratios[list(pair)].mean()
    return even


def _repaired(posed: Posed) -> np.ndarray:
    """Return a body ([20, 2], pixels) whose missing arms, legs and feet hang down, as long as the other side's."""
    body = posed.body()
    for chain in CHAINS:
        missing = np.isnan(body[list(chain), 0]).cumsum() > 0
        body[[row for row, lost in zip(chain, missing, strict=True) if lost]] = np.nan
    for side, bones in enumerate(REPAIRED):
        for i, (root, end) in enumerate(bones):
            if np.isnan(body[root, 0]) or not np.isnan(body[end, 0]):
                continue
            twin = REPAIRED[1 - side][i]
            length = float(np.linalg.norm(body[twin[0]] - body[twin[1]]))
            if np.isnan(length):
                trunk = np.nan_to_num([np.linalg.norm(body[NECK] - body[hip]) for hip in HIPS])
                shares = (
                    (0.5, 0.5) if i <= 1 else (1.0, 0.2 if i == 4 else 1.0)
                )  # upstream shortens a foot by the left hip only
                length = float((trunk * shares).max())
            if length:
                body[end] = body[root] + (0, length)
    return body


def _grown(body: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Return bodies ([T, 20, 2], pixels) whose bones keep their directions and have `ratios` times their lengths."""
    lengths = _lengths(body) * ratios
    factors = np.broadcast_to(ratios, lengths.shape).copy()
    for calf, foot in zip(CALVES, FEET, strict=True):
        most = np.where(np.isnan(lengths[:, calf]), np.inf, FOOT * lengths[:, calf])
        factors[:, foot] *= np.minimum(1, most / np.maximum(lengths[:, foot], 1e-9))
    grown = body.copy()
    for i, (start, end) in enumerate(LIMBS):
        moved = grown[:, start] + factors[:, [i]] * (body[:, end] - body[:, start])
        grown[:, end] = np.where(np.isnan(moved), body[:, end], moved)
    return grown


def _offset(rescaled: np.ndarray, other: np.ndarray, extent: int) -> tuple[np.ndarray, float]:
    """Return how far the rescaled first frame lies from the scaled reference ([2]), and x of the mark in it."""
    if extent < 2:
        return rescaled[NECK] - other[NECK], float(rescaled[NECK, 0])
    ground = other[list(ANKLES), 1]
    if not np.isnan(other[list(TOES), 1]).any():
        ground = (ground + other[list(TOES), 1]) / 2
    x = float(rescaled[list(HIPS), 0].mean())
    return np.array([x - other[list(HIPS), 0].mean(), rescaled[list(ANKLES), 1].max() - ground.max()]), x


def _official_hands(
    template: Posed, before: np.ndarray, after: np.ndarray, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right hands, [T, 21, 3] each, x and y in whole pixels: in each other's list, as upstream.

    Where the right hand's root is nearer to the left wrist, the hands are exchanged and hang where the other's root was.
    """
    size = np.array([template.width, template.height])
    raw = [np.asarray(hand, np.float64) for hand in (template.meta.right_hand, template.meta.left_hand)]
    hands, roots = [], []
    for hand in raw:
        kept = hand[..., 2] >= HAND_FROM
        points = (hand[..., :2] * ratio - hand[:, :1, :2] * (ratio - 1)) * size
        points[~kept] = -size
        hands.append(np.concatenate([points, np.where(kept, hand[..., 2], 0)[..., None]], axis=-1))
        roots.append(points[:, 0])
    moves = []
    for wrist, root, hand in zip((R_WRIST, L_WRIST), roots, hands, strict=True):
        known = (hand[:, 0, 2] > 0)[:, None]
        moves.append(after[:, wrist] - np.where(known, root, before[:, wrist]))
    away = [np.linalg.norm(before[:, wrist] - roots[0], axis=-1) for wrist in (R_WRIST, L_WRIST)]
    exchanged = (away[0] > away[1])[:, None, None]
    first = np.where(exchanged, hands[1], hands[0])
    second = np.where(exchanged, hands[0], hands[1])
    return _whole(first, moves[0]), _whole(second, moves[1])


def _whole(hand: np.ndarray, move: np.ndarray) -> np.ndarray:
    placed = hand.copy()
    placed[..., :2] = np.trunc(hand[..., :2] + move[:, None]) + HALF_A_PIXEL_NO
    placed[hand[..., 2] <= 0, :2] = np.nan
    return placed


def _normalised(template: Posed, body: np.ndarray, left: np.ndarray, right: np.ndarray, reference: Posed) -> Meta:
    size = np.array([reference.width, reference.height])
    scores = np.where(np.isnan(body[..., 0]), 0, template.meta.body[..., 2])
    whole = np.concatenate([np.nan_to_num(body) / size, scores[..., None]], axis=-1)
    left, right = (np.concatenate([hand[..., :2] / size, hand[..., 2:]], axis=-1) for hand in (left, right))
    return Meta(whole, left, right, np.zeros((len(body), 69, 3)))


def _points(posed: Posed) -> tuple[np.ndarray, np.ndarray]:
    """Return bodies in pixels ([T, 20, 2]) and scores ([T, 20]), 0 outside the canvas and where a point is missing."""
    body = posed.meta.body.astype(np.float64)
    inside = (body[..., :2] >= 0).all(axis=-1) & (body[..., :2] <= 1).all(axis=-1)
    return np.nan_to_num(body[..., :2]) * (posed.width, posed.height), np.where(inside, np.nan_to_num(body[..., 2]), 0)


def _measured(body: np.ndarray, scores: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Return the length of each limb over the frames that show it: [19], NaN where none does; left and right alike.

    In an image a bone is shorter than it is where it points at the camera, so it is measured where it is long; the head's,
    which grow on one side as they shrink on the other, where the face is turned as the reference's.

    Args:
        body, scores: [T, 20, 2], pixels, and [T, 20].
        like: [20, 2], the reference's; None: there is one frame.
    """
    ends = np.array(LIMBS)
    lengths = _lengths(body)
    lengths[np.minimum(scores[:, ends[:, 0]], scores[:, ends[:, 1]]) < SURE] = np.nan
    turns = np.abs(_turn(body) - _turn(like)) if like is not None else np.zeros(len(body))
    near = turns <= np.quantile(turns, TURNED_ALIKE)
    found = np.full(len(LIMBS), np.nan)
    for i in range(len(LIMBS)):
        known = np.isfinite(lengths[:, i])
        if i in HEAD_BONES and (known & near).any():
            found[i] = np.median(lengths[known & near, i])
        elif known.any():
            found[i] = np.percentile(lengths[known, i], LONGEST)
    for pairs, combine in ((PAIRS, np.nanmax), (ALIKE, np.nanmean)):
        for pair in pairs:
            both = found[list(pair)]
            found[list(pair)] = combine(both) if np.isfinite(both).any() else np.nan
    found[found < 1] = np.nan
    return found


def _turn(body: np.ndarray) -> np.ndarray:
    """Return how far a face is turned aside ([..., 20, 2] → [...]): the nose between the ears, 0 in the middle, 1 over one."""
    nose, right, left = body[..., NOSE, 0], body[..., HEAD[3], 0], body[..., HEAD[4], 0]
    return (nose - (left + right) / 2) / np.maximum(np.abs(left - right) / 2, 1e-9)


def _filled(ratios: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the ratios without gaps: what is shown too short or long gets the body's, what the other body hides a human's.

    Source: segment lengths of Drillis and Contini, "Body Segment Parameters" (1966).
    """
    size = _body_scale(other, own)
    usual = np.nan_to_num(ratios, nan=size)
    trunk = np.mean(other[list(TRUNK)])
    for bone, share in HIDDEN.items():
        if np.isnan(other[bone]) and np.isfinite(own[bone]) and np.isfinite(trunk):
            usual[bone] = share * trunk / own[bone]
    limbs = usual[: HEAD_BONES.start]
    limbs[:] = np.clip(limbs, size / EXTREME, size * EXTREME)
    for upper, lower in LIMB_BONES:  # a foreshortened bone is shorter beside its neighbour than any body has it
        pair = usual[[upper, lower]]
        usual[[upper, lower]] = np.maximum(pair, NEIGHBOUR * pair[::-1])
    return usual


def _body_scale(one: np.ndarray, other: np.ndarray) -> float:
    """Return how much longer the bones of `one` are ([19] each): trunk and legs, else all that both show; 1 if none."""
    both = np.isfinite(one) & np.isfinite(other)
    for rows in (HEIGHT, TRUNK, tuple(range(12)), tuple(range(len(LIMBS)))):
        known = [row for row in rows if both[row]]
        if known:
            return float(one[known].sum() / other[known].sum())
    return 1.0


def _usual_ratio(one: np.ndarray, other: np.ndarray) -> float:
    """Return the median ratio of two bodies' bones ([19] each): a few point at the camera in one of them."""
    known = np.isfinite(one) & np.isfinite(other)
    return float(np.median(one[known] / other[known])) if known.any() else 1.0


def _first_seen(scores: np.ndarray) -> int:
    """Return the first frame in which neck and hips are seen, else the one in which most is."""
    whole = (scores[:, [NECK, *HIPS]] >= SURE).all(axis=1)
    return int(np.flatnonzero(whole)[0]) if whole.any() else int((scores >= SURE).sum(axis=1).argmax())


def _mark(body: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return what may be laid over the other body, the best first: the feet under the hips, the hips, the neck."""
    marks = {}
    seen = scores >= SURE
    if seen[[*HIPS, *ANKLES]].all():
        marks["feet"] = np.array([body[list(HIPS), 0].mean(), body[list(ANKLES), 1].max()])
    if seen[NECK]:
        marks["neck"] = body[NECK]
    if seen[list(HIPS)].all():
        marks["hips"] = body[list(HIPS)].mean(axis=0)
    if seen[NOSE]:
        marks["nose"] = body[NOSE]
    return marks


def _hands(
    template: Posed, body: np.ndarray, placed: np.ndarray, ratios: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right hands, [T, 21, 3] each, x and y in pixels: their roots on the wrists.

    A hand grows as forearms do. Where both lie at each other's wrists, they are exchanged.
    """
    canvas = (template.width, template.height)
    hands = [np.asarray(hand, np.float64).copy() for hand in (template.meta.left_hand, template.meta.right_hand)]
    for hand in hands:
        hand[..., :2] *= canvas
        hand[~(hand[..., 2] >= HAND_FROM), 2] = 0
    wrists = [body[:, L_WRIST], body[:, R_WRIST]]
    straight = sum(_apart(hand, wrist) for hand, wrist in zip(hands, wrists, strict=True))
    crossed = sum(_apart(hand, wrist) for hand, wrist in zip(hands, wrists[::-1], strict=True))
    swap = np.asarray(crossed < straight)[:, None, None]
    hands = [np.where(swap, hands[1], hands[0]), np.where(swap, hands[0], hands[1])]
    for hand, wrist, now, bone in zip(hands, wrists, (placed[:, L_WRIST], placed[:, R_WRIST]), (5, 3), strict=True):
        root = np.where((hand[:, 0, 2] > 0)[:, None], hand[:, 0, :2], wrist)
        hand[..., :2] = now[:, None] + np.clip(ratios[bone], size / 1.3, size * 1.3) * (hand[..., :2] - root[:, None])
    return hands[0], hands[1]


def _apart(hand: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Return how far hands' roots are from wrists, pixels: [T], 0 where no root is seen."""
    return np.where(hand[:, 0, 2] > 0, np.linalg.norm(np.nan_to_num(hand[:, 0, :2]) - wrist, axis=-1), 0)
