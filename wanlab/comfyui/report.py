"""What an import of a ComfyUI workflow found: settings with their sources, and a sentence for everything without one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from wanlab import config
from wanlab.comfyui.graph import Graph, Node
from wanlab.mask import prompts


@dataclasses.dataclass
class Import:
    """A workflow as wanlab's settings.

    Attributes:
        values: settings by name, as a params file holds them.
        sources: where each of them comes from, e.g. `KSampler (#63).steps = 6`.
        not_mapped: a line for each part of the workflow that has no setting, with reason and remedy.
        to_fill: what is still to be done about a setting in `values`.
        notes: what else is good to know.
        prompts: clicked points and boxes, in pixels of a canvas of `canvas` (height, width); None without any.
    """

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    not_mapped: list[str] = dataclasses.field(default_factory=list)
    to_fill: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    prompts: prompts.Prompts | None = None
    canvas: tuple[int, int] = (0, 0)

    def put(self, name: str, value: Any, source: str) -> bool:
        """Take a setting if wanlab has it and accepts the value, else note why not; return whether it was taken."""
        models = [m for m in (config.PreprocessSettings, config.GenerateSettings) if name in m.model_fields]
        if not models:
            self.not_mapped.append(f"{source}: wanlab has no setting {name}")
            return False
        try:
            for model in models:
                model.build({name: value})
        except config.SettingsError as error:
            self.not_mapped.append(f"{source}: {error}")
            return False
        self.values[name], self.sources[name] = value, source
        return True

    def mapped(self) -> list[str]:
        """Return a line per setting: the node and widget it comes from, and what it became."""
        done = [name for name in self.values if name not in self.to_fill]
        return [f"{self.sources[name]} → {name} = {short(self.values[name])}" for name in done]

    def missing(self) -> list[str]:
        """Return the lines of `not_mapped`, those with the same reason as one."""
        by_reason: dict[str, list[str]] = {}
        for line in self.not_mapped:
            what, _, reason = line.partition(": ")
            by_reason.setdefault(reason, []).append(what)
        return [f"{', '.join(what)}: {reason}" for reason, what in by_reason.items()]


def at(graph: Graph, node: Node, path: str) -> tuple[Node | None, str]:
    """Return the node and widget that a path such as `sigmas/steps` leads to."""
    *links, widget = path.split("/")
    here: Node | None = node
    for name in links:
        link = here.links.get(name) if here else None
        here = graph.nodes.get(link.node) if link else None
    return here, widget


def take(graph: Graph, node: Node | None, widget: str, setting: str, found: Import) -> None:
    """Take a widget as a setting; a value that is computed is named."""
    if node is None:
        return
    value = graph.value(node, widget)
    if value is not None:
        found.put(setting, value, where(node, widget, value))
    elif widget in node.links:
        maker = graph.nodes.get(node.links[widget].node)
        found.not_mapped.append(f"{node}.{widget}: it is computed by {maker}; set {setting} yourself")


def where(node: Node, widget: str, value: Any) -> str:
    """Return a widget and its value as messages name them."""
    return f"{node}.{widget} = {short(value)}"


def short(value: Any) -> str:
    """Return a value on one line, cut off where it is long."""
    text = one_line(str(value)) or "''"
    return text if len(text) <= 70 else f"{text[:69]}…"


def params_path(path: Path) -> str:
    """Return a path as params files hold it: from the project's root where it lies inside."""
    full, root = path.resolve(), config.project_root()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(full)


def one_line(text: str) -> str:
    """Return text without line breaks and control characters."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
