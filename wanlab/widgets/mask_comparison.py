"""Compare the variants of a mask: in step or wiped over each other, with curves that lead to frames; choose one.

mask_comparison(seen)  # in JupyterLab the widget, headless contact sheets
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
import traitlets
from IPython.display import display

from wanlab import config, mask, media, viz
from wanlab.inputs import decisions, edits
from wanlab.mask import PackedMasks, metrics
from wanlab.steps import inspect
from wanlab.widgets import history, messages, stills, work

CHUNK = 8  # frames between two looks at whether the work was cancelled: 0.2 s at 1280x720
DASHES = {"-": "", "--": "6 3", ":": "2 2"}  # matplotlib's words, SVG's pixels drawn and left out
STILL_VIEWS = (viz.overlay, viz.difference, viz.leak)


def mask_comparison(inspection: inspect.Inspection) -> MaskComparison | None:
    """Return the comparison of an inspection's variants; headless show contact sheets of overlay, difference and leak.

    Args:
        inspection: what `inspection.work` returned; without masks (animate) a sentence is printed instead.
    """
    if inspection.clip is None or not inspection.names:
        print("these inputs hold no mask")
        return None
    if not config.headless():
        return MaskComparison(inspection, inspection.clip)
    masks = {name: inspection.packed(name) for name in inspection.names}
    for view in STILL_VIEWS:
        display(viz.mask_views(inspection.clip, masks, view, inspection.base))
    return None


class MaskComparison(stills.Stills, history.Editor):
    """Panes that show variants of a mask in the same frame.

    Attributes:
        names: the variants, tried chains at the end.
        panes: the variants of the four panes.
        count: how many panes are shown, 2 or 4.
        wiped: whether they lie over each other, each in its part of one image, rather than side by side.
        wipe: where the parts meet: shares of the image's width and height, 0 to 1.
        view: what is shown of a mask, a name of `viz.MASK_VIEWS`.
        base: the variant that the view "difference" compares with.
        number: the metric of the curves and of the worst frames, a name of `viz.MASK_NUMBERS`.
        frame: the one that is shown.
        facts: what does not change: views, colours, numbers, the variant that they compare with.
    """

    kinds = ("mask_chain",)
    _protocol = messages.MASK_COMPARISON
    _esm = stills.module(
        "mask_paint.js", "mask_store.js", "curves.js", "job.js", "mask_comparison.js", protocol=_protocol
    )
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    panes = traitlets.List(traitlets.Unicode(), minlen=4, maxlen=4).tag(sync=True)
    count = traitlets.Enum((2, 4), 2).tag(sync=True)
    wiped = traitlets.Bool(False).tag(sync=True)
    wipe = traitlets.List(traitlets.Float(min=0, max=1), [0.5, 0.5], minlen=2, maxlen=2).tag(sync=True)
    view = traitlets.Enum(tuple(viz.MASK_VIEWS), "overlay").tag(sync=True)
    base = traitlets.Unicode().tag(sync=True)
    number = traitlets.Enum(tuple(viz.MASK_NUMBERS), "IoU").tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip) -> None:
        """Show the variants of an inspection over the clip that it looked at."""
        self.seen = inspection
        self._numbers = {name: dict(row) for name, row in inspection.numbers.items()}
        self._masks: dict[str, PackedMasks] = {}
        self._leaks: dict[str, PackedMasks] = {}
        self._load = threading.RLock()
        self._work = work.Work(self.tell, self._tell_state)
        self._result = ""
        self._history = history.History.of(inspection.edits, len(clip), clip.height, clip.width)
        names = list(dict.fromkeys((*inspection.names, *filter(None, [self._chain]))))
        chosen = self._chosen() or inspection.chosen
        order = list(dict.fromkeys((*([chosen] if chosen else []), *names[1:], names[0])))
        super().__init__(
            clip,
            names=names,
            panes=[order[i % len(order)] for i in range(4)],
            base=inspection.base,
            frame=len(clip) // 2,
            facts={
                "views": {name: _view_facts(view) for name, view in viz.MASK_VIEWS.items()},
                "numbers": {
                    kind: {
                        "title": f"{kind} with {inspection.base}" if compares else kind,
                        "share": not compares,
                        "worst": worst,
                    }
                    for kind, (compares, worst) in viz.MASK_NUMBERS.items()
                },
                "base": inspection.base,
                "colours": list(viz.LINE_COLOURS),
                "dashes": [DASHES[style] for style in viz.LINE_STYLES],
                "example": mask.DEFAULT_CHAIN,
            },
        )
        self._history.follow(self)

    @traitlets.validate("panes", "base")
    def _known(self, proposal: Any) -> Any:
        value = proposal["value"]
        unknown = [name for name in ([value] if isinstance(value, str) else value) if name not in self.names]
        if unknown:
            raise traitlets.TraitError(config.unknown_choice(proposal["trait"].name, unknown[0], self.names))
        return value

    @traitlets.validate("frame")
    def _inside(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.frames):
            raise traitlets.TraitError(f"frame must be 0 to {len(self.frames) - 1}, got {proposal['value']}")
        return proposal["value"]

    @property
    def _chain(self) -> str | None:
        return self._history.now.mask_chain

    def refresh(self) -> None:
        """Show a choice that another kernel has written into the file meanwhile."""
        self._history.reload()

    def changed(self, before: edits.Edits, after: edits.Edits) -> None:
        """Show another choice."""
        if before.mask_chain != after.mask_chain:
            self.names = list(dict.fromkeys((*self.names, *filter(None, [after.mask_chain]))))
            self._tell_state()

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Do what the browser asks for."""
        if kind == "hello":
            self._tell_state()
        elif kind == "masks":
            self._send_masks(content["what"], content["name"], content["t"])
        elif kind == "try":
            self.attempt(content["chain"])
        elif kind == "measure":
            self.measure(content["name"])
        elif kind == "use":
            self.use(content["name"])
        elif kind == "cancel":
            self._work.cancel()
        else:
            super().received(kind, content)

    def attempt(self, chain: str) -> None:
        """Show another chain of the outline in the last pane, frame by frame; faults are shown beside it."""
        try:
            mask.parse_chain(chain)
        except ValueError as error:
            self.tell("trial", wrong=str(error))
            return
        name = ",".join(filter(None, "".join(chain.split()).split(","))) or inspect.OUTLINE
        if name not in self.names:
            self.names = [*self.names, name]
        self.panes = [name if i == self.count - 1 else shown for i, shown in enumerate(self.panes)]
        self.tell("trial", wrong="")

    def measure(self, name: str) -> None:
        """Work a tried chain out in all frames, in a thread, so that it has numbers."""
        if name not in self._numbers:
            self._work.begin(f"{name} in all frames", lambda: self._measure(name))

    def use(self, name: str) -> None:
        """Write a variant's chain into the decisions at once and make new inputs in a thread.

        Raises:
            ValueError: a variant that is no chain of the outline.
            RuntimeError: if other work is under way.
        """
        if name in self._unusable():
            raise ValueError(f"{name} cannot be used: {self._unusable()[name]}")
        self._work.check_idle()
        in_use = name == inspect.IN_USE
        held = decisions.origin(self.seen.looked_at).applied
        chain = (held.mask_chain if held else None) if in_use else "" if name == inspect.OUTLINE else name
        self._history.do(lambda now: dataclasses.replace(now, mask_chain=chain))
        if in_use and decisions.last_applied(self.seen.edits) is None:
            self._result = f"Chosen: the mask of these inputs, {_where(self.seen.looked_at.folder)}"
            self._tell_state()
        else:
            self._result = ""
            self._work.begin(f"new inputs with {name}", self._replay)

    def wait(self) -> None:
        """Return when the work in the thread is done."""
        self._work.wait()

    def _replay(self) -> str:
        made = inspect.replay(self.seen, watch=self._work.watch)
        self._result = (
            f"New inputs with {'; '.join(made.by_hand) or 'nothing changed by hand'}: {_where(made.made.folder)}"
        )
        return ""

    def _measure(self, name: str) -> str:
        outline, base = self._packed(inspect.OUTLINE), self._packed(self.seen.base)
        found, rows = PackedMasks(outline.height, outline.width), []
        for first in range(0, len(self.frames), CHUNK):
            last = min(first + CHUNK, len(self.frames)) - 1
            masks, row = self._stretch(name, outline, base, first, last)
            found.add(np.packbits(masks, axis=-1))
            rows.append(row)
            self._work.watch(f"{name} in all frames", last + 1, len(self.frames))
        self._masks[name] = found
        self._numbers[name] = {kind: np.concatenate([row[kind] for row in rows]) for kind in rows[0]}
        return f"{name} is worked out in all frames"

    def _stretch(
        self, chain: str, outline: PackedMasks, base: PackedMasks, first: int, last: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return a chain's frames `first` to `last`, [n, H, W], bool, and their numbers, [n] each."""
        before = max(first - 1, 0)  # the change is one from the frame before
        masks = mask.apply_chain_between(outline, chain, before, last)
        row = inspect.measure(masks, base[before : last + 1])
        return masks[first - before :], {kind: values[first - before :] for kind, values in row.items()}

    def _send_masks(self, what: str, name: str, t: int) -> None:
        """Send a variant's mask, or what leaks of it, in all frames; of a chain that is only tried, in one."""
        if name in self._numbers:
            sent = self._packed(name) if what == "mask" else self._leak(name)
            buffers, more = sent.frames, {"first": 0}
        else:
            outline, base = self._packed(inspect.OUTLINE), self._packed(self.seen.base)
            found, row = self._stretch(name, outline, base, t, t)
            one = PackedMasks(outline.height, outline.width)
            one.add(np.packbits(metrics.leak(found) if what == "leak" else found, axis=-1))
            buffers, more = one.frames, {"first": t, "numbers": {kind: float(v[0]) for kind, v in row.items()}}
        self.tell("masks", what=what, name=name, sizes=[*map(len, buffers)], buffers=[b"".join(buffers)], **more)

    def _packed(self, name: str) -> PackedMasks:
        """Return a variant, unpacked from the run's folder when it is first needed."""
        with self._load:
            if name not in self._masks:
                self._masks[name] = self.seen.packed(name)
            return self._masks[name]

    def _leak(self, name: str) -> PackedMasks:
        """Return what leaks of a variant, worked out when it is first needed."""
        with self._load:
            if name not in self._leaks:
                masks = self._packed(name)
                self._leaks[name] = PackedMasks(masks.height, masks.width)
                for first in range(0, len(masks.frames), CHUNK):
                    leaking = metrics.leak(masks[first : first + CHUNK])
                    self._leaks[name].add(np.packbits(leaking, axis=-1))
            return self._leaks[name]

    def _unusable(self) -> dict[str, str]:
        """Return the variants that cannot be chosen here, and why."""
        if inspect.AUTO_KEYPOINT not in self.names:
            return {}
        chain = self.seen.parent.facts.get("mask_chain") or mask.DEFAULT_CHAIN
        how = f'another outline, no chain of this one: 10_preprocess makes it with mask_source = "keypoints", mask_chain = "{chain}"'
        return {inspect.AUTO_KEYPOINT: how}

    def _chosen(self) -> str | None:
        """Return the variant that was chosen, None without."""
        return inspect.OUTLINE if self._chain == "" else self._chain

    def _tell_state(self) -> None:
        """Send the numbers, per variant and kind one a frame, and what was chosen."""
        numbers = {name: {kind: v.round(5).tolist() for kind, v in row.items()} for name, row in self._numbers.items()}
        self.tell(
            "state",
            numbers=numbers,
            unusable=self._unusable(),
            chosen=self._chosen(),
            result=self._result,
            working=self._work.running,
        )


def _where(folder: Any) -> str:
    where = config.shown(folder)
    return f'{where}. 30_generate takes the newest inputs by itself; these with inputs = "{where}"'


def _view_facts(view: viz.View) -> dict[str, Any]:
    """Return a view as JSON holds it."""
    return {**view._asdict(), "layers": [layer._asdict() for layer in view.layers]}
