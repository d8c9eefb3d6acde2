"""SAM2 over a clip: equal to sam2's own loop, forwards and backwards, corrections, bounded state, upstream's restarts.

The weights are random, so masks mean nothing; which frames and prompts they depend on is what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wanlab.mask import sam2_image, sam2_video, sam2_weights
from wanlab.mask.local_regions import LocalRegions
from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.media import Frames, colour

HEIGHT, WIDTH, LENGTH = 40, 56, 30


@pytest.fixture
def network(nano_sam2: Path) -> sam2_video.Predictor:
    return sam2_video.load(sam2_weights.read(sam2_weights.NANO))


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (LENGTH, HEIGHT, WIDTH, 3), dtype=np.uint8)


def click(frame: int, positive: bool = True, obj: int = 1, x: float = 20, y: float = 15) -> Click:
    return Click(frame, x, y, positive, obj)


def masks(network: sam2_video.Predictor, video: np.ndarray, *clicks: Click, official: bool = False) -> np.ndarray:
    """Return [T, H, W] int, 1 where covered, -1 on frames without an answer."""
    found = np.full(video.shape[:3], -1, int)
    passes = sam2_video.plan(Prompts(clicks), len(video), official=official)
    for t, mask in sam2_video.track(network, Frames(video), passes):
        assert mask.dtype == bool
        found[t] = np.maximum(found[t], mask)
    return found


def test_a_click_in_the_middle_covers_the_clip_both_ways(network: sam2_video.Predictor, video: np.ndarray) -> None:
    passes = sam2_video.plan(Prompts((click(12),)), LENGTH)
    order = [t for t, _ in sam2_video.track(network, Frames(video), passes)]
    assert order == [*range(12, LENGTH), *range(11, -1, -1)]
    assert sum(each.num_frames for each in passes) == LENGTH
    found = masks(network, video, click(12))
    assert (found >= 0).all()
    assert 0 < found.mean() < 1


def test_backwards_is_forwards_on_the_turned_film(network: sam2_video.Predictor, video: np.ndarray) -> None:
    turned = masks(network, video[::-1].copy(), click(0))[::-1]
    np.testing.assert_array_equal(masks(network, video, click(LENGTH - 1)), turned)


def own_loop(network: sam2_video.Predictor, video: np.ndarray, *clicks: Click) -> np.ndarray:
    """Return masks as sam2's own loop finds them, with everything kept."""
    state = network.open(Frames(video), range(len(video)))
    for each in clicks:
        network.add_new_points_or_box(state, each.frame, 1, [[each.x, each.y]], [int(each.positive)])
    return np.stack([(logits[0, 0] > 0).numpy() for _, _, logits in network.propagate_in_video(state)])


def test_what_is_forgotten_was_not_needed(network: sam2_video.Predictor, video: np.ndarray) -> None:
    clicks = click(0), click(7, x=30), click(22)
    np.testing.assert_array_equal(masks(network, video, *clicks), own_loop(network, video, *clicks))


def test_the_state_does_not_grow(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    opened = sam2_video.Predictor.open
    monkeypatch.setattr(sam2_video.Predictor, "open", lambda *how: states.append(opened(*how)) or states[-1])
    long = np.concatenate([video, video, video])
    sizes = []
    for _ in sam2_video.track(network, Frames(long), sam2_video.plan(Prompts((click(10),)), len(long))):
        state = states[-1]
        outputs = state["output_dict_per_obj"][0]
        sizes.append(
            (
                len(outputs["non_cond_frame_outputs"]),
                len(state["frames_tracked_per_obj"][0]),
                len(state["recent_features"]),
            )
        )
    assert len(sizes) == 90
    assert np.max(sizes, axis=0).tolist() == [network.memory, network.memory, sam2_video.RECENT]
    assert len(outputs["cond_frame_outputs"]) == 1


def test_frames_are_asked_for_once_in_each_direction(network: sam2_video.Predictor, video: np.ndarray) -> None:
    asked = []

    class Counting(Frames):
        def __getitem__(self, t: int) -> np.ndarray:
            asked.append(t)
            return super().__getitem__(t)

    for _ in sam2_video.track(network, Counting(video), sam2_video.plan(Prompts((click(4), click(6))), LENGTH)):
        pass
    assert sorted(asked) == list(range(LENGTH))


def test_a_negative_point_corrects_from_its_frame_on(network: sam2_video.Predictor, video: np.ndarray) -> None:
    plain, corrected = masks(network, video, click(5)), masks(network, video, click(5), click(15, False, x=40))
    np.testing.assert_array_equal(plain[5:15], corrected[5:15])
    assert (plain[15:] != corrected[15:]).any()
    backwards = masks(network, video, click(25), click(15, False, x=40))
    np.testing.assert_array_equal(backwards[16:], masks(network, video, click(25))[16:])
    assert (backwards[:16] != masks(network, video, click(25))[:16]).any()


def test_masks_depend_on_the_prompts_not_on_their_order(network: sam2_video.Predictor, video: np.ndarray) -> None:
    clicks = click(9), click(3, x=30), click(20, False)
    np.testing.assert_array_equal(masks(network, video, *clicks), masks(network, video, *clicks[::-1]))


def test_several_objects_are_followed_by_themselves(network: sam2_video.Predictor, video: np.ndarray) -> None:
    one, other = click(5), click(9, obj=2, x=45, y=30)
    both = masks(network, video, one, other)
    alone = [masks(network, video, each._replace(object=1)) for each in (one, other)]
    np.testing.assert_array_equal(both, np.maximum(*alone))
    assert [each.first for each in sam2_video.plan(Prompts((one, other)), LENGTH)] == [5, 9]
    together = sam2_video.plan(Prompts((one, other._replace(frame=5))), LENGTH)
    assert len(together) == 1


def test_a_box_counts(network: sam2_video.Predictor, video: np.ndarray) -> None:
    found = []
    for box in (Box(3, 2, 2, 20, 20), Box(3, 10, 5, 50, 38)):
        passes = sam2_video.plan(Prompts((), (box,)), LENGTH)
        found.append([mask for _, mask in sam2_video.track(network, Frames(video), passes)])
    assert (np.array(found[0]) != np.array(found[1])).any()


def test_official_starts_anew_and_goes_forwards_only(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam2_video, "CHUNK", 12)
    clicks = [click(0), click(6, x=30), click(12), click(18), click(26)]
    found = masks(network, video, *clicks, official=True)
    parts = [own_loop(network, video[:12], *clicks[:2])]
    parts.append(own_loop(network, video[12:24], *(c._replace(frame=c.frame - 12) for c in clicks[2:4])))
    np.testing.assert_array_equal(found[:24], np.concatenate(parts))
    assert (found[24:26] == -1).all()  # nothing is said there
    np.testing.assert_array_equal(found[26:], own_loop(network, video[24:], click(2)))


@pytest.mark.parametrize("prompts", [Prompts(()), Prompts((click(3, False),))])
def test_prompts_that_say_nothing_are_refused(prompts: Prompts) -> None:
    with pytest.raises(ValueError, match="prompts must hold a positive point or a box"):
        sam2_video.plan(prompts, LENGTH)


def test_frames_are_squashed_as_pillow_does() -> None:
    rng = np.random.default_rng(1)
    frame = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((900, 500)))
    pixels = sam2_video._Pixels(Frames(frame[None]), range(1), 256, torch.device("cpu"))[0]
    ours = (
        pixels * torch.tensor(colour.IMAGENET_DEVIATION)[:, None, None]
        + torch.tensor(colour.IMAGENET_MEAN)[:, None, None]
    )
    theirs = np.asarray(Image.fromarray(frame).resize((256, 256)))
    difference = np.abs(ours.permute(1, 2, 0).numpy() * 255 - theirs)
    assert difference.max() < 2.01
    assert (difference > 0.5).mean() < 0.01  # as upstream gets them, but for a few that Pillow rounds otherwise


def test_clicks_are_answered_from_one_look_at_a_frame(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    original = network.forward_image
    monkeypatch.setattr(network, "forward_image", lambda image: looked.append(1) or original(image))
    before = PackedMasks.empty(len(video), HEIGHT, WIDTH)
    finder = sam2_image.Sam2Regions(
        network, Frames(video), before, LocalRegions(Frames(video), np.zeros((len(video), 133, 3)), before)
    )
    first = finder.of_click(click(3), (click(3, False, x=50),))
    assert (first.shape, first.dtype) == ((HEIGHT, WIDTH), bool)
    finder.of_click(click(4, obj=2), ())
    np.testing.assert_array_equal(finder.of_click(click(3), (click(3, False, x=50),)), first)
    assert finder.of_box(Box(3, 5, 5, 30, 30, 3), ()).shape == (HEIGHT, WIDTH)
    assert len(looked) == 2
    for t in range(5, 5 + sam2_image.RECENT):
        finder.of_click(click(t), ())
    finder.of_click(click(3), ())
    assert len(looked) == 3 + sam2_image.RECENT


def test_regions_of_a_frame_are_followed_each_by_itself(network: sam2_video.Predictor, video: np.ndarray) -> None:
    regions = [np.zeros((HEIGHT, WIDTH), bool) for _ in range(2)]
    regions[0][10:30, 10:30], regions[1][5:20, 40:60] = True, True
    both = dict(sam2_video.follow_regions(network, Frames(video), range(2, 8), 4, regions))
    assert list(both) == [5, 6, 7, 3, 2]
    assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool for masks in both.values() for mask in masks)
    alone = dict(sam2_video.follow_regions(network, Frames(video), range(2, 8), 4, regions[:1]))
    for t, (mask,) in alone.items():
        np.testing.assert_array_equal(both[t][0], mask)


def test_frames_looked_at_together_give_the_same_masks(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where the pixels of those ahead are made meanwhile; prompted ones are looked at by themselves before."""
    clicks = click(9), click(12, x=30), click(20, False)
    alone = masks(network, video, *clicks)
    looked: list[int] = []
    original = sam2_video.Predictor.look
    monkeypatch.setattr(
        sam2_video.Predictor,
        "look",
        lambda self, state, frames: looked.append(len(frames)) or original(self, state, frames),
    )
    monkeypatch.setattr(sam2_video.Predictor, "batch", 4)
    together = masks(network, video, *clicks)
    assert sum(looked) == LENGTH
    assert looked[:2] == [1, 1]
    assert max(looked) == 4
    assert (alone != together).mean() < 1e-3  # other kernels may round otherwise
    looked.clear()
    monkeypatch.setattr(network, "is_compiled", True)  # for four frames: others stand in
    assert (alone != masks(network, video, *clicks)).mean() < 1e-3
    assert sum(looked) == LENGTH


def test_half_precision_weights_change_nothing(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autocast would convert them for each frame; the heads' stay in float32."""
    monkeypatch.setattr(sam2_video, "precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    before = masks(network, video, click(5), click(15, False, x=40))
    sam2_video.halve(network, torch.bfloat16)
    assert network.image_encoder.neck.convs[0].conv.weight.dtype == torch.bfloat16
    assert {weight.dtype for weight in network.sam_mask_decoder.parameters()} == {torch.float32}
    np.testing.assert_array_equal(masks(network, video, click(5), click(15, False, x=40)), before)


@pytest.mark.parametrize("lag", [0, 2, 9])
def test_masks_come_in_order_however_long_they_take(lag: int) -> None:
    made: list[int] = []

    def make() -> Iterator[tuple[int, torch.Tensor]]:
        for t in range(5):
            made.append(t)
            yield t, torch.full((2, 3), t == 3)

    found = sam2_video._brought(make(), lag)
    assert next(found)[0] == 0
    assert made == list(range(min(1 + lag, 5)))
    assert [(t, mask.any()) for t, mask in found] == [(1, False), (2, False), (3, True), (4, False)]


def test_what_was_expected_is_left_out_where_the_caller_stops(
    network: sam2_video.Predictor, video: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    original = sam2_video._Pixels.close
    monkeypatch.setattr(sam2_video._Pixels, "close", lambda self: closed.append(self) or original(self))
    found = sam2_video.track(network, Frames(video), sam2_video.plan(Prompts((click(0),)), LENGTH))
    next(found)
    found.close()
    assert len(closed) == 1
    assert all(each.done() for each in closed[0]._coming.values())


def test_nothing_is_compiled_on_a_cpu(network: sam2_video.Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("was compiled"))
    assert not sam2_video.worth_compiling(network, 10_000)
    sam2_video.compile_encoder(network)


@pytest.fixture(autouse=True)
def no_kept_network() -> Iterator[None]:
    yield
    sam2_video.load.cache_clear()
