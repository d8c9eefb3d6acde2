"""Poses: find a person's 133 keypoints, smooth, draw and correct them, crop the face."""

from wanlab.pose.drawing import (
    BODY_NAMES,
    BODY_SOURCES,
    COLOURS,
    DRAWN_FROM,
    FINGER_COLOURS,
    FINGERS,
    FINGERTIP_COLOUR,
    LEFT_HAND,
    LIMB_SHADE,
    LIMBS,
    RIGHT_HAND,
    Meta,
    draw,
    draw_frame,
    half_limb,
    letterbox_meta,
    to_meta,
)
