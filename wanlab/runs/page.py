"""Render an executed notebook as one self-contained page."""

from __future__ import annotations

import html
from pathlib import Path

from wanlab import files, runs

REPORT = "report.html"


def render(notebook: Path, page: Path, hide_code: bool = False, preview: bool = False) -> None:
    """Write an executed notebook as one page that needs no network: images and videos are inside.

    Args:
        notebook: the executed notebook.
        page: the HTML file to write.
        hide_code: leave the code cells out, for a reader who only wants the result.
        preview: named in the page's title.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    content = nbformat.read(notebook, as_version=4)
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=hide_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    body, _ = exporter.from_notebook_node(content)
    heading = next(
        (
            line.lstrip("# ")
            for cell in content.cells
            for line in cell.source.splitlines()
            if cell.cell_type == "markdown"
        ),
        "wanlab",
    )
    heading += f" ({runs.PREVIEW})" if preview else ""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    code_style = HtmlFormatter(style="default").get_style_defs(".highlight")
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # without it a browser asks the server for an icon
        f"<title>{html.escape(heading)}</title>\n<style>\n{style}\n{code_style}\n</style>\n</head>\n"
        f"<body>\n<main>\n{runs.scrub(body)}\n</main>\n</body>\n</html>\n"
    )
    files.write_text(page, text)
