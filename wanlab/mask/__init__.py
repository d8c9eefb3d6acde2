"""Masks of the person to replace: find them, change them by a chain, measure them. SAM2 is imported late."""

from wanlab.mask.chain import (
    DEFAULT_CHAIN,
    UPSTREAM_CHAIN,
    VERBS,
    apply_chain,
    apply_chain_between,
    apply_chain_packed,
    blank_out,
    blockify,
    blur,
    cells,
    dilate,
    fill_holes,
    grow,
    keep_largest,
    median,
    parse_chain,
    upstream_chain,
)
from wanlab.mask.coverage import check
from wanlab.mask.lattice import TEMPORAL_STRIDE, known_pixels, pack_mask, snap
from wanlab.mask.packed import Masks, PackedMasks
from wanlab.mask.video import MaskVideo, read_mask
