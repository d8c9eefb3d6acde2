"""Browse the variants of a mask frame by frame: a slider, a variant, a view, and the frame's numbers."""

from __future__ import annotations

import cv2
import ipywidgets
import numpy as np
from IPython.display import Image

from wanlab import config, viz
from wanlab.inspection import Inspection

VIEWS = {"overlay": viz.overlay, "difference": viz.difference, "leak": viz.leak, "background": viz.background}
SHOWN_HEIGHT = 560  # pixels at most
QUALITY = 90  # of JPEG; frames wait in memory that way: 100 kB each at 1280x720


def mask_browser(seen: Inspection) -> ipywidgets.Widget | Image | None:
    """Return the browser of an inspection; headless the still picture that it would begin with.

    Args:
        seen: what `inspection.work` returned; without masks (animate) a sentence is printed instead.
    """
    if seen.clip is None or not seen.names:
        print("these inputs hold no mask")
        return None
    frames = [_encode(frame) for frame in seen.clip]
    packed = {name: np.packbits(seen.masks(name), axis=-1) for name in seen.names}

    def mask_of(name: str, t: int) -> np.ndarray:
        return np.unpackbits(packed[name][t], axis=-1)[:, : seen.made.width].astype(bool)

    def picture(t: int, name: str, view: str) -> bytes:
        frame = cv2.imdecode(np.frombuffer(frames[t], np.uint8), cv2.IMREAD_COLOR_RGB)
        shown = VIEWS[view](frame, mask_of(name, t), mask_of(seen.base, t))
        return _encode(_shrunk(shown))

    start, first = len(frames) // 2, seen.chosen or seen.names[0]
    if config.headless():
        return Image(picture(start, first, "overlay"), format="jpeg", alt=f"Frame {start}, {first}, overlay")

    slider = ipywidgets.IntSlider(start, 0, len(frames) - 1, description="frame", layout={"width": "60%"})
    player = ipywidgets.Play(value=start, max=len(frames) - 1, interval=round(1000 / float(seen.clip.fps)))
    variant = ipywidgets.Dropdown(options=seen.names, value=first, description="mask")
    view = ipywidgets.Dropdown(options=tuple(VIEWS), description="view")
    fit = {
        "height": f"{SHOWN_HEIGHT}px",
        "width": "auto",
        "max_width": "100%",
        "object_fit": "contain",
        "align_self": "flex-start",
    }
    image = ipywidgets.Image(format="jpeg", layout=fit)
    numbers = ipywidgets.HTML()
    ipywidgets.jslink((player, "value"), (slider, "value"))

    def show(_: object = None) -> None:
        t, name = slider.value, str(variant.value)
        image.value = picture(t, name, str(view.value))
        numbers.value = " · ".join(f"{kind} {values[t]:.3f}" for kind, values in seen.numbers[name].items())

    for part in (slider, variant, view):
        part.observe(show, names="value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([variant, view]), image, ipywidgets.HBox([player, slider]), numbers])


def _shrunk(picture: np.ndarray) -> np.ndarray:
    scale = min(1.0, SHOWN_HEIGHT / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _encode(picture: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
