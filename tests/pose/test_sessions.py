"""Where networks run, what is said of it, and networks that are refused."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from onnx_files import node, stand_ins, write

from wanlab.pose import sessions


def test_the_device_is_named_and_an_idle_gpu_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_ins(tmp_path) / "process_checkpoint" / "det" / "yolov10m.onnx"
    monkeypatch.setattr(sessions, "_has_gpu", lambda: False)
    network = sessions.open_network(path, 640, 640)
    (said,) = sessions.describe(network)
    assert said.startswith(f"detectors run on the CPU (onnxruntime {onnxruntime.__version__})")
    monkeypatch.setattr(sessions, "_has_gpu", lambda: True)
    (said,) = sessions.describe(network)
    assert said.startswith("WARNING: detectors run on the CPU")
    assert "`make gpu` puts onnxruntime-gpu in its place" in said
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", sessions.CPU])
    (said,) = sessions.describe(network)
    assert said.startswith("WARNING: detectors run on the CPU")
    assert "its GPU libraries could not be loaded" in said
    assert sessions.describe(network._replace(device="CUDA")) == (
        f"detectors run on CUDA (onnxruntime {onnxruntime.__version__})",
    )


def test_another_input_and_a_file_that_is_no_network_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "yolov10m.onnx", [node("Identity", ["x"], "y")], ("x", [1, 3, 320, 320]), "y", {})
    with pytest.raises(ValueError, match=r"must take images of 3x640x640, got an input of \[1, 3, 320, 320\]"):
        sessions.open_network(path, 640, 640)
    path.write_bytes(b"\x08\x08")
    with pytest.raises(
        ValueError, match=r"yolov10m.onnx must be a network that onnxruntime opens, got: .*; get it again"
    ):
        sessions.open_network(path, 640, 640)
