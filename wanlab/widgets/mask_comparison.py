"""Compare the variants of a mask."""

from __future__ import annotations

import ipywidgets
from IPython.display import Image, display

from wanlab import inspection, viz
from wanlab.widgets.mask_browser import mask_browser


def mask_comparison(seen: inspection.Inspection) -> ipywidgets.Widget | Image | None:
    """Show every variant in the same frames, what differs and what leaks; return the browser of single frames."""
    masks = {name: seen.masks(name) for name in seen.names}
    for view in (viz.overlay, viz.difference, viz.leak) if masks else ():
        display(viz.mask_views(seen.clip, masks, view, seen.base))
    return mask_browser(seen)
