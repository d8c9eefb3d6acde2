"""Correct the mask: points, boxes and a brush."""

from __future__ import annotations

from IPython.display import Image

from wanlab import inspection, viz


def mask_editor(seen: inspection.Inspection) -> Image | None:
    """Return the person's outline as a still picture."""
    return viz.mask_views(seen.clip, {name: seen.masks(name) for name in seen.names[:1]}, viz.overlay, seen.base)
