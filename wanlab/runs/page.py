"""Render an executed notebook as one self-contained page, what matters first."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wanlab import files, runs

REPORT = "report.html"
SETUP = "setup"  # tag of cells that come last on a page; one without code leaves them out
REPEATED = ("parameters", "injected-parameters")  # tags of cells whose contents the table of settings shows
FOLDED = """{%- extends "basic/index.html.j2" -%}
{%- block input_group -%}<details class="code"><summary>code</summary>{{ super() }}</details>{%- endblock -%}
"""


def render(
    notebook: Path, page: Path, hide_code: bool = False, preview: bool = False, title: str | None = None
) -> None:
    """Write an executed notebook as one page that needs no network: images and videos are inside.

    A fault comes first, cells tagged `setup` come last; code is folded away.

    Args:
        notebook: the executed notebook.
        page: the HTML file to write.
        hide_code: leave code, heading and set-up of the notebook out, for a reader who only wants the result.
        preview: named in the page's title.
        title: of the page; None: the notebook's heading.
    """
    import jinja2
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    content = nbformat.read(notebook, as_version=4)
    exporter = HTMLExporter(
        extra_loaders=[jinja2.DictLoader({"folded.html.j2": FOLDED})],
        template_name="basic",
        template_file="folded.html.j2",
        exclude_input=hide_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    heading = _heading(content.cells)
    content.cells = _arranged(content.cells, heading, hide_code)
    body, _ = exporter.from_notebook_node(content)
    name = (title or heading or "wanlab") + (f" ({runs.PREVIEW})" if preview else "")
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    code_style = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark_style = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # without it a browser asks the server for an icon
        f"<title>{html.escape(name)}</title>\n<style>\n{code_style}\n@media (prefers-color-scheme: dark) {{\n{dark_style}\n}}\n"
        f"{style}\n</style>\n</head>\n<body>\n<main>\n{runs.scrub(body)}\n</main>\n</body>\n</html>\n"
    )
    files.write_text(page, text)


def _heading(cells: Sequence[Any]) -> str:
    """Return the notebook's heading; papermill puts cells without one before it."""
    lines = (line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), "")


def _arranged(cells: Sequence[Any], heading: str, hide_code: bool) -> list[Any]:
    """Return the cells of a page in its reader's order; of the first only the heading, which explains the notebook's use."""

    def tags(cell: Any) -> set[str]:
        return {*cell.metadata.get("tags", ())}

    def place(cell: Any) -> int:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return 0
        return 2 if SETUP in tags(cell) else 1

    left_out = {*REPEATED, *((SETUP,) if hide_code else ())}
    kept = [cell for cell in cells if not tags(cell) & left_out]
    first = next((cell for cell in kept if heading and f"# {heading}" in cell.source.splitlines()), None)
    rest = sorted((cell for cell in kept if cell is not first), key=place)
    if first is None or hide_code:
        return rest
    first.source = f"# {heading}"
    return [first, *rest]
