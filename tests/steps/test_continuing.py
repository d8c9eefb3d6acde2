"""A generation that goes on from an earlier result: the same as one clip, or a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from wanlab import config, media, runs
from wanlab.model import checkpoints, sampling
from wanlab.steps import continuing, denoise, generate

FRAMES = 13  # in segments of 5 with one frame taken over: 5, then 4 and 4 new ones


def inputs_of(place: Path, first: int, last: int, height: int = 128) -> Path:
    """Write a folder of inputs with some frames of a clip in which a bar moves."""
    place.mkdir()
    frames = np.zeros((FRAMES, height, 96, 3), np.uint8)
    for t in range(FRAMES):
        frames[t, 20:90, 10 + 5 * t : 20 + 5 * t] = (0, 255, 0)
    face = np.full((FRAMES, 512, 512, 3), 127, np.uint8) + np.arange(FRAMES, dtype=np.uint8)[:, None, None, None]
    media.write_image(place / "src_ref.png", np.full((height, 96, 3), (180, 90, 60), np.uint8))
    media.write_video(place / "src_pose.mp4", frames[first:last], Fraction(24))
    media.write_video(place / "src_face.mp4", face[first:last], Fraction(24))
    return place


def settings(folder: Path, **more: object) -> config.GenerateSettings:
    chosen = {"inputs": folder, "segment_frame_length": 5, "num_inference_steps": 1, "guidance_scale": 1, **more}
    return config.GenerateSettings.build({**chosen, "checkpoint": checkpoints.NANO})


def frames_of(run: runs.Run) -> np.ndarray:
    return media.read_video(run.path(denoise.MASTER)).frames.astype(int)


@pytest.fixture
def first(outputs: Path, tmp_path: Path) -> runs.Run:
    """Return a finished run of the first five frames."""
    run = generate.prepare(settings(inputs_of(tmp_path / "first", 0, 5)))
    generate.work(run)
    return run


@pytest.mark.slow
def test_two_clips_in_a_row_are_nearly_the_whole_one(
    first: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the noise of each segment, which is made the same here, and the rounding of the frame taken over."""

    def alike(self: sampling._Loop) -> Iterator[torch.Tensor]:
        for start, end in self.plan.segments:
            shape = (16, (end - start - 1) // 4 + 2, *self.grid)
            yield torch.randn(shape, generator=torch.Generator().manual_seed(1))

    monkeypatch.setattr(sampling._Loop, "noise", alike)
    rest, loaded = inputs_of(tmp_path / "rest", 5, FRAMES), denoise.LoadedNetworks()
    made = [
        generate.prepare(settings(inputs_of(tmp_path / "whole", 0, FRAMES))),
        generate.prepare(settings(first.settings.inputs, fresh=True)),
    ]
    for run in made:
        generate.work(run, loaded)
    goes_on = generate.prepare(settings(rest, continue_from="latest"))
    alone = generate.prepare(settings(rest))
    assert goes_on.settings.continue_from == made[1].folder
    assert len({run.manifest["hash"] for run in (goes_on, alone)}) == 2
    for run in (goes_on, alone):
        generate.work(run, loaded)
    whole, after = frames_of(made[0]), frames_of(goes_on)
    assert len(after) == FRAMES - 5
    assert np.abs(after - whole[5:]).mean() < 1
    assert np.abs(frames_of(alone) - whole[5:]).mean() > 3
    assert goes_on.manifest["artefacts"]["video"]["seams"] == [4]
    assert set(goes_on.manifest["inputs"]) == {"inputs", "continue_from"}
    assert generate.prepare(settings(rest, continue_from=made[1].folder)).id == goes_on.id


def test_what_cannot_be_continued_is_a_sentence(first: runs.Run, tmp_path: Path) -> None:
    other = inputs_of(tmp_path / "taller", 0, 5, height=160)
    with pytest.raises(
        config.SettingsError,
        match=r"continue_from must be a result of 160x96 pixels .* got 128x96 in .*; use inputs of its size",
    ):
        generate.prepare(settings(other, continue_from=first.folder))
    with pytest.raises(FileNotFoundError, match="continue_from must be a run's folder or id, got nowhere"):
        generate.prepare(settings(other, continue_from="nowhere"))
    unfinished = generate.prepare(settings(other))
    with pytest.raises(
        config.SettingsError, match="continue_from must be a finished run of wanlab generate, got .*pending"
    ):
        generate.prepare(settings(other, continue_from=unfinished.folder, seed=1))
    with pytest.raises(config.SettingsError, match="continue_from must have at least 9 frames"):
        continuing.find(first.folder, 9)
    assert (
        "continue_from: it starts anew"
        in generate.resolve(settings(other, continue_from=first.folder, preview=True)).left_out
    )


def test_the_earlier_clip_s_conditions_stand_in_front(first: runs.Run, tmp_path: Path) -> None:
    rest = generate.resolve(settings(inputs_of(tmp_path / "rest", 5, FRAMES))).inputs
    now, earlier = denoise.ClipConditions(rest, "animate"), continuing.find(first.folder, 1)
    assert earlier.inputs is not None
    before = denoise.ClipConditions(earlier.inputs, "animate")
    joined = denoise.ContinuedConditions(now, before, earlier.num_frames, 1)
    indices = np.array([0, 1, 2, 1, 0])
    face = joined.frames("face_video", indices).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(face, [131, 132, 133, 132, 131], atol=1)
    held = denoise.ContinuedConditions(now, None, earlier.num_frames, 1)
    np.testing.assert_allclose(
        held.frames("face_video", indices).mean(axis=(1, 2, 3)), [132, 132, 133, 132, 132], atol=1
    )
    assert joined.fingerprint("face_video") != held.fingerprint("face_video")
    assert joined.fingerprint("reference_image") == now.fingerprint("reference_image")
    np.testing.assert_allclose(earlier.tail()[:, 0], frames_of(first)[-1].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
