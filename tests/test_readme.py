"""README is short, its links lead somewhere and its Python lines run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wanlab import config

ROOT = config.project_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1000  # tables, commands and Python included


def test_its_images_are_small_and_described() -> None:
    images = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(images) >= 3
    assert all(len(text) > 20 for text, _ in images)
    assert all((ROOT / name).stat().st_size <= 150_000 for _, name in images)


def test_every_link_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))]
    assert len(links) > 12
    missing = [
        f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()
    ]
    assert missing == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([^)#]+\.md)\)", README))
    beyond = {"attention.md", "mask_sources.md", "parity.md"}  # linked from these pages
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == linked | beyond


def test_its_python_lines_make_a_video(outputs: Path) -> None:
    block = re.search(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    assert [frame.shape[2] for frame in names["video"]] == [3] * 9
