"""Segments on disk: saved beside the work on the next one, in order, whatever ends it."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import media
from wanlab.steps import segment_files
from wanlab.steps.segment_files import SegmentWriter

FPS = Fraction(16)
FRAMES = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
TAIL = np.zeros((3, 1, 32, 48), np.float32)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have segments saved once the event is set."""
    event, original = threading.Event(), segment_files.save_segment

    def slowly(*how: object) -> None:
        assert event.wait(30)
        original(*how)  # type: ignore[arg-type]

    monkeypatch.setattr(segment_files, "save_segment", slowly)
    return event


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_segments_are_saved_while_others_are_made(tmp_path: Path, gate: threading.Event) -> None:
    """Two are taken at once; the third waits for the first, and all are there at the end, those without frames too."""
    told: list[int] = []
    with SegmentWriter(tmp_path, FPS, told.append) as writer:
        writer.save(0, FRAMES[:4], TAIL)
        writer.save(1, FRAMES[4:], TAIL + 1)
        assert (saved(tmp_path), told) == ([], [])
        threading.Timer(0.05, gate.set).start()
        writer.save(2, FRAMES[:0], TAIL)
        assert told[:1] == [0]
    assert told == [0, 1, 2]
    assert saved(tmp_path) == ["000.mkv", "000.npy", "001.mkv", "001.npy", "002.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "001.npy"), TAIL + 1)
    found = [media.read_video(file).frames for file in segment_files.saved_videos(tmp_path, 3)]
    np.testing.assert_array_equal(np.concatenate(found), FRAMES)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, FloatingPointError])
def test_what_is_finished_is_saved_though_the_work_ends(
    tmp_path: Path, gate: threading.Event, kind: type[BaseException]
) -> None:
    told: list[int] = []

    def work() -> None:
        with SegmentWriter(tmp_path, FPS, told.append) as writer:
            writer.save(0, FRAMES[:4], TAIL)
            writer.save(1, FRAMES[4:], TAIL)
            gate.set()
            raise kind

    with pytest.raises(kind):
        work()
    assert told == [0, 1]
    assert len(saved(tmp_path)) == 4


def failing(*_: object) -> None:
    raise OSError(28, "disk full while writing 000.mkv")


def test_an_error_of_saving_ends_the_work_at_the_next_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_files, "save_segment", failing)
    told: list[int] = []
    with SegmentWriter(tmp_path, FPS, told.append) as writer:
        writer.save(0, FRAMES, TAIL)
        writer._coming[0][1].exception()  # it has failed by now
        with pytest.raises(OSError, match="disk full while writing 000.mkv"):
            writer.save(1, FRAMES, TAIL)
        writer._coming.clear()
    assert told == []


def test_an_error_of_saving_is_raised_at_the_end_or_said_beside_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_files, "save_segment", failing)
    with pytest.raises(OSError, match="disk full"), SegmentWriter(tmp_path, FPS, lambda _: None) as writer:
        writer.save(0, FRAMES, TAIL)

    def work() -> None:
        with SegmentWriter(tmp_path, FPS, lambda _: None) as writer:
            writer.save(0, FRAMES, TAIL)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        work()
    assert "a finished segment could not be saved: [Errno 28] disk full" in raised.value.__notes__[0]
