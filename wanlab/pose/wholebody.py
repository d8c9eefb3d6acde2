"""The 133 keypoints of COCO-WholeBody: names, parts, limbs."""

from __future__ import annotations

_SIDES = ("left", "right")
_BODY = (
    "nose",
    *(
        f"{side}_{part}"
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in _SIDES
    ),
)
_FEET = tuple(f"{side}_{part}" for side in _SIDES for part in ("big_toe", "small_toe", "heel"))
NAMES = (
    *_BODY,
    *_FEET,
    *(f"face_{i}" for i in range(68)),
    *(f"{side}_hand_{i}" for side in _SIDES for i in range(21)),
)  # COCO-WholeBody, "left" is the person's left
NUM_BODY, FEET, FACE = 17, slice(17, 23), slice(23, 91)
HANDS = (slice(91, 112), slice(112, 133))  # left, right
PARTS = {  # every row is of one part; shoulders and hips are the torso's, so that a limb can go without them
    "head": (0, 1, 2, 3, 4),
    "face": tuple(range(23, 91)),
    "torso": (5, 6, 11, 12),
    "left arm": (7, 9),
    "right arm": (8, 10),
    "left hand": tuple(range(91, 112)),
    "right hand": tuple(range(112, 133)),
    "left leg": (13, 15),
    "right leg": (14, 16),
    "left foot": (17, 18, 19),
    "right foot": (20, 21, 22),
}
SEEN = 0.3  # score of a keypoint that counts as being there
