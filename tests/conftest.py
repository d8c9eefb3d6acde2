"""Fixtures shared by all tests: outputs in a folder of the test's own, the bundled sample, ../shared where it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wanlab import config

SHARED = config.project_root().parent / "shared"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty outputs folder, for its subprocesses too."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("WANLAB_OUTPUTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the folder of the bundled clips and characters."""
    return config.ASSETS / "sample"


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """Return the folder of the two real clips; they are third-party footage, so they are not in the project."""
    folder = SHARED / "media"
    if not folder.is_dir():
        pytest.skip("../shared/media is not on this machine")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden topics whose part is not built yet: nothing is left out in silence."""
    golden = sys.modules.get("test_golden")
    if golden is not None:
        names = ", ".join(f"{topic}: {part}" for topic, part in golden.NOT_BUILT.items())
        terminalreporter.write_line(f"golden topics not built yet: {names}")
