"""What the bench's widgets share on the kernel's side: images of a clip for the browser, on demand, and messages.

    class Mine(Stills):
        _protocol = STILLS.plus({…}, {…})    # its messages, see messages.py
        _esm = module("mine.js", protocol=_protocol)  # after parts.js, frame_store.js and clip_view.js, which it may import

        def image(self, t, layer):         # [H, W, 3] uint8 RGB travels as JPEG, [H, W, 4] RGBA and Tint as PNG
            return self.frames[t] if layer == "clip" else Tint(mask, (0, 158, 115))

        def received(self, kind, content):   # each other message: what `link.tell(kind, {…})` sends in the browser
            …                                # "refresh" is sent whenever the pointer comes into the widget

    self.tell("kind", buffers=[…], key=…)    # to every view (`link.on("kind", …)`), from any thread
    self.stale("mask", frames=[3])           # images of that layer (of all frames: None) have changed: the views ask again

Images never become traits, which are saved into the notebook. In JupyterLab messages come in a thread of their own (a
subshell), so they are answered while a cell runs: what `image` and `received` touch needs a lock where it changes.
"""

from __future__ import annotations

import io
import json
import re
import threading
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import cv2
import numpy as np
import traitlets
from PIL import Image

from wanlab import media
from wanlab.widgets import messages

FOLDER = Path(__file__).parent / "js"
SHARED = ("parts.js", "frame_store.js", "clip_view.js")
QUALITY = 85  # of JPEG: 60 kB for 960x540
INSIDE = 90  # of 255, how much of a mask's colour covers the frame
KEPT_BYTES = 96 * 2**20  # of coded images: 300 frames of 1280x720 and their masks at full size


class Tint:
    """A mask that lies over a frame in half transparent colours with their outlines.

    Attributes:
        kinds: [H, W], uint8: 0 nothing, then the number of a colour, from 1.
        colours: RGB, 0 to 255.
    """

    def __init__(self, mask: np.ndarray, *colours: tuple[int, int, int]) -> None:
        """Take a mask, [H, W], bool, in one colour, or the numbers of several."""
        self.kinds, self.colours = mask.astype(np.uint8), colours


def module(*names: str, protocol: messages.Protocol = messages.STILLS, shared: Sequence[str] = SHARED) -> str:
    """Return one ES module made of the shared files and those named: the last exports, the others are what it imports.

    It begins with the protocol as `MESSAGES`, against which the browser checks what it sends and gets.
    """
    texts = [(FOLDER / name).read_text(encoding="utf-8") for name in (*shared, *names)]
    joined = "\n".join((*(re.sub(r"^export ", "", text, flags=re.M) for text in texts[:-1]), texts[-1]))
    table = f"const MESSAGES = {json.dumps(messages.for_browser(protocol))};\n"
    return table + re.sub(r'^import [^;]*? from "\./[^"]+";\n', "", joined, flags=re.M)


class Talking(anywidget.AnyWidget):
    """A widget whose two sides talk by the messages of a table; a fault is shown in the widget and is no silence."""

    _protocol = messages.Protocol({}, {})

    def __init__(self, **traits: Any) -> None:
        """Take the traits of the widget."""
        super().__init__(**traits)
        self.on_msg(self._receive)

    def refresh(self) -> None:
        """Take over what others have changed; called before each message is answered."""

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Do what the browser asks for."""
        raise ValueError(f"the kernel's side knows no message {kind!r}; run the cell again")

    def tell(self, kind: str, *, buffers: Sequence[bytes] = (), **content: Any) -> None:
        """Send a message of the protocol to every view."""
        message = {"kind": kind, **content}
        messages.check(self._protocol.to_browser, message)
        self.send(message, list(buffers))

    def _receive(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        """Answer one message."""
        try:
            self.refresh()
        except (OSError, ValueError) as error:
            self.tell("error", text=str(error))
        try:
            messages.check(self._protocol.to_kernel, content)
            self.answer(content, buffers)
        except Exception as error:
            traceback.print_exc()
            self.tell("error", text=f"{error}" or type(error).__name__, id=content.get("id"))

    def answer(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Answer a message that the table has, and what came with it; "refresh" has been answered by `refresh`."""
        if content["kind"] != "refresh":
            self.received(content["kind"], content)


class Stills(Talking):
    """A widget that shows frames of a clip.

    Attributes:
        clip: frames, height, width (pixels) and fps of the working clip, for the browser.
        frames: the clip's frames by index, [H, W, 3] uint8 RGB each, from any thread.
    """

    _protocol = messages.STILLS
    clip = traitlets.Dict().tag(sync=True)

    def __init__(self, clip: media.Clip, **traits: Any) -> None:
        """Take the working clip and the traits of the widget."""
        facts = {"frames": len(clip), "height": clip.height, "width": clip.width, "fps": float(clip.fps)}
        self.frames = media.Seeker(clip)
        self._lock = threading.Lock()
        self._coded: OrderedDict[tuple[int, str, int], bytes] = OrderedDict()
        self._changes = 0  # how often `stale` was called: what was being coded meanwhile is not kept
        super().__init__(clip=facts, **traits)

    def image(self, t: int, layer: str) -> np.ndarray | Tint:
        """Return what `layer` shows on frame `t`: [H, W, 3] RGB or [H, W, 4] RGBA, 0 to 255, uint8, or a mask."""
        if layer != "clip":
            raise ValueError(f"layer must be clip, got {layer!r}; use clip")
        return self.frames[t]

    def go_to(self, t: int | None) -> None:
        """Bring every view into sight, at frame `t`; None: at the one that it shows."""
        self.tell("go", t=t)

    def stale(self, *layers: str, frames: Sequence[int] | None = None) -> None:
        """Forget the images of these layers, of some frames or of all, and have the views ask again."""
        with self._lock:
            self._changes += 1
            for key in [key for key in self._coded if key[1] in layers and (frames is None or key[0] in frames)]:
                del self._coded[key]
        self.tell("stale", layers=list(layers), frames=None if frames is None else list(frames))

    def coded(self, t: int, layer: str, width: int) -> bytes:
        """Return an image as JPEG or, with see-through pixels, PNG, `width` pixels wide at most."""
        key = t, layer, width
        with self._lock:
            changes = self._changes
            if key in self._coded:
                self._coded.move_to_end(key)
                return self._coded[key]
        made = encode(self.image(t, layer), width)
        with self._lock:
            if changes == self._changes:
                self._coded[key] = made
                size = sum(map(len, self._coded.values()))
                while size > KEPT_BYTES:
                    size -= len(self._coded.popitem(last=False)[1])
        return made

    def answer(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Send the images that are asked for; leave the rest to `received`."""
        if content["kind"] != "frames":
            super().answer(content, buffers)
            return
        t, layers = content["t"], content["layers"]
        made = [self.coded(t, layer, content["width"]) for layer in layers]
        answer = {name: content[name] for name in ("id", "t", "layers", "width")}
        self.tell("frames", buffers=[] if content.get("warm") else made, **answer)


def encode(image: np.ndarray | Tint, width: int) -> bytes:
    """Return [H, W, 3] RGB, 0 to 255, uint8, as JPEG, [H, W, 4] RGBA or a mask as PNG, shrunk to `width` pixels if wider."""
    if isinstance(image, Tint):
        return _tinted(_shrunk_kinds(image, width), image.colours)
    image = _shrunk(image, width)
    if image.shape[2] == 4:
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA), options)[1].tobytes()
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _shrunk(image: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if width < image.shape[1] else image


def _shrunk_kinds(image: Tint, width: int) -> np.ndarray:
    """Return the kinds at another width: of the colours that cover a pixel the last one that fills half of it."""
    height = max(1, round(image.kinds.shape[0] * width / image.kinds.shape[1]))
    if width >= image.kinds.shape[1]:
        return image.kinds
    whole = cv2.resize((image.kinds > 0).astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA) > 127
    if len(image.colours) == 1:
        return whole.astype(np.uint8)
    nearest = cv2.resize(image.kinds, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(whole, np.maximum(nearest, 1), 0).astype(np.uint8)


def _tinted(kinds: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a PNG of a palette (nothing, the insides, the outlines): a seventh of the work of one with four channels."""
    out, thick = kinds.copy(), max(1, round(kinds.shape[0] / 400))
    for number in range(1, len(colours) + 1):
        contours, _ = cv2.findContours((kinds == number).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, len(colours) + number, thick)  # type: ignore[call-overload]
    made = Image.frombytes("P", out.shape[::-1], out.tobytes())
    made.putpalette((0, 0, 0, *(channel for colour in (*colours, *colours) for channel in colour)))
    file = io.BytesIO()
    made.save(file, "PNG", compress_level=1, transparency=bytes((0, *[INSIDE] * len(colours), *[255] * len(colours))))
    return file.getvalue()
