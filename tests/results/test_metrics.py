"""Metrics of synthetics whose answer is known: from a formula, from counting, or from published colour values."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from wanlab.results import metrics

LAB = {
    "black": ((0, 0, 0), (0.0, 0.0, 0.0)),
    "white": ((255, 255, 255), (100.0, 0.0, 0.0)),
    "red": ((255, 0, 0), (53.24, 80.09, 67.20)),
    "green": ((0, 255, 0), (87.73, -86.18, 83.18)),
    "blue": ((0, 0, 255), (32.30, 79.19, -107.86)),
}  # sRGB's primaries in CIE L*a*b*, D65, as published


def flat(*values: float | tuple[int, ...], height: int = 32, width: int = 48) -> np.ndarray:
    """Return a video of one frame a value, each of one grey or one colour."""
    return np.stack([np.broadcast_to(np.uint8(value), (height, width, 3)) for value in values])


def grey(luma: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(np.clip(luma, 0, 255)).astype(np.uint8)[..., None], 3, axis=-1)


def texture(height: int, width: int, smooth: float = 2.0) -> np.ndarray:
    values = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(height, width)), (0, 0), smooth)
    return 128 + 30 * values / values.std()


def noise(sigma: float, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, shape)


def half_mask(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    mask = np.zeros((frames, height, width), bool)
    mask[:, :, : width // 2] = True
    return mask


def walker(frames: int = 4) -> np.ndarray:
    """Return a pose whose torso is 100 pixels: shoulders 60 apart, hips as wide and 80 below."""
    points = np.ones((frames, 133, 3), np.float32)
    points[..., :2] = np.random.default_rng(0).uniform(0, 300, (frames, 133, 2))
    points[:, [5, 6, 11, 12], :2] = [(160, 100), (100, 100), (160, 180), (100, 180)]
    return points


def test_pose_agreement_counts_points() -> None:
    driven = walker()
    found = driven.copy()
    found[1, :3, 0] += 9.9  # within a tenth of 100 pixels
    found[2, :5, 1] += 10.1
    found[3, :17, :2] += 500
    agreement = metrics.pose_agreement(found, driven)
    np.testing.assert_allclose(agreement.per_frame, [1, 1, 12 / 17, 0])
    assert agreement.overall == pytest.approx((17 + 17 + 12 + 0) / 68)
    assert metrics.pose_agreement(found, driven, threshold=0.11).overall == pytest.approx(51 / 68)
    assert metrics.pose_agreement(found, driven, torso=90.0).overall == pytest.approx((17 + 14 + 12) / 68)
    assert metrics.pose_agreement(found, driven, points=slice(17, 133)).overall == 1


def test_unseen_points_do_not_count_and_nobody_found_is_wrong() -> None:
    driven = walker()
    driven[:, 13:17, 2] = 0.2
    driven[3, :, 2] = 0
    found = walker()
    found[0, 13:17, :2] += 500
    found[1] = 0
    found[2, 0] = np.nan
    found[2, 1, 2] = 0  # a guess that the detector does not stand by
    agreement = metrics.pose_agreement(found, driven)
    np.testing.assert_allclose(agreement.per_frame, [1, 0, 11 / 13, np.nan])
    assert agreement.overall == pytest.approx(24 / 39)
    assert metrics.pose_agreement(np.zeros_like(driven), driven).overall == 0
    assert math.isnan(metrics.pose_agreement(found, np.zeros_like(driven)).overall)


def test_torso_length_from_the_side_and_without_hips() -> None:
    driven = walker()
    driven[1, 11:13, 2] = 0
    driven[2, 6] = 160, 100, 1  # from the side: one diagonal is 100, the other 80
    np.testing.assert_allclose(metrics.torso_length(driven), 100)  # the median of the others
    driven = walker()
    driven[:, 11:13, 2] = 0
    np.testing.assert_allclose(metrics.torso_length(driven), 1.4 * 60)
    driven[:, 5, 2] = 0
    assert np.isnan(metrics.torso_length(driven)).all()


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_psnr_of_noise(sigma: float) -> None:
    a = flat(128, 128)
    b = np.clip(np.rint(a + noise(sigma, *a.shape)), 0, 255).astype(np.uint8)
    agreement = metrics.psnr(a, b)
    np.testing.assert_allclose([*agreement.per_frame, agreement.overall], 20 * math.log10(255 / sigma), atol=0.3)


def test_psnr_where_the_background_is() -> None:
    mask = half_mask(3)
    a, b = flat(100, 100, 100), flat(100, 110, 120)
    b[mask] = 255
    agreement = metrics.psnr(a, b, ~mask)
    np.testing.assert_allclose(agreement.per_frame, [math.inf, 20 * math.log10(25.5), 20 * math.log10(12.75)])
    assert agreement.overall == pytest.approx(10 * math.log10(255**2 / ((0 + 100 + 400) / 3)))
    mask[1] = True
    agreement = metrics.psnr(iter(a), iter(b), ~mask)
    np.testing.assert_array_equal(np.isnan(agreement.per_frame), [False, True, False])
    assert agreement.overall == pytest.approx(10 * math.log10(255**2 / 200))


def test_ssim_of_brightness_and_of_noise() -> None:
    brighter = metrics.ssim(flat(100, 100), flat(100, 150))
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    np.testing.assert_allclose([*brighter.per_frame, brighter.overall], [1, expected, (1 + expected) / 2])
    shape, sigma = (1, 128, 128), 25.0
    a = 128 + noise(sigma, *shape)
    noisy = metrics.ssim(grey(a), grey(a + noise(sigma, *shape, seed=1)))
    assert noisy.overall == pytest.approx(2 * sigma**2 / (3 * sigma**2), rel=0.1)  # 2 cov / (var + var of the sum)


def test_ssim_is_wang_s_in_the_one_window_of_11_pixels() -> None:
    a, b = grey(texture(11, 11)[None]), grey(texture(11, 11)[None] + noise(20, 1, 11, 11))
    across = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weight = np.outer(across, across) / across.sum() ** 2
    x, y = a[0, ..., 0].astype(float), b[0, ..., 0].astype(float)
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, cov = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum(), (weight * (x - mx) * (y - my)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert metrics.ssim(a, b).overall == pytest.approx(expected, rel=1e-6)


def test_ssim_lets_nothing_leak_from_the_mask() -> None:
    a = grey(np.repeat(texture(32, 48)[None], 2, axis=0))
    b, mask = a.copy(), half_mask(2)
    b[mask] = 0
    assert metrics.ssim(a, b, ~mask).overall == pytest.approx(1)
    assert metrics.ssim(a, b).overall < 0.7
    assert math.isnan(metrics.ssim(a, b, np.zeros_like(mask)).overall)


def test_colour_drift_is_the_distance_in_lab() -> None:
    names = ("red", "red", "green", "green", "blue", "white")
    video = flat(*(LAB[name][0] for name in names))
    drift = metrics.colour_drift(video, (2, 4, 5))
    expected = [math.dist(LAB["red"][1], LAB[name][1]) for name in ("red", "green", "blue", "white")]
    np.testing.assert_allclose(drift, expected, rtol=0.005)
    half = flat(0, 0)
    half[1, :, :12] = 255  # a quarter of the pixels: 25 of L
    np.testing.assert_allclose(metrics.colour_drift(half, [1]), [0, 25], atol=0.01)
    np.testing.assert_allclose(metrics.colour_drift(half, [1], half_mask(2)), [0, 50], atol=0.01)


def test_colour_drift_at_the_edges() -> None:
    assert metrics.colour_drift(flat(50, 90), []).tolist() == [0]
    mask = half_mask(3)
    mask[1] = False
    np.testing.assert_array_equal(metrics.colour_drift(flat(9, 9, 9), [1, 2], mask), [0, np.nan, 0])
    assert np.isnan(metrics.colour_drift(flat(9, 9), [1], np.zeros((2, 32, 48), bool))).all()


def test_seam_jump_is_the_step_over_the_ramp() -> None:
    levels = np.arange(16) * 2 + 20
    levels[5:] += 10  # 12 at once, where 2 is usual
    levels[8:] -= 2  # 0: a standstill
    np.testing.assert_allclose(metrics.seam_jump(flat(*levels), (5, 8, 12)), [12 / 2, 0.5 / 2, 1])


def test_seam_jump_without_change_or_neighbours() -> None:
    assert metrics.seam_jump(flat(*[80] * 6), [3]).tolist() == [1]
    one_off = flat(*[80] * 6)
    one_off[3:, :8, :24] += 1  # an eighth of a grey level
    assert metrics.seam_jump(one_off, [3]).tolist() == [1]
    np.testing.assert_allclose(metrics.seam_jump(flat(20, 32, 44, 46), [1, 2]), [6, 6])  # a seam is no neighbour
    assert np.isnan(metrics.seam_jump(flat(0, 80), [1])).all()
    assert metrics.seam_jump(flat(0), []).shape == (0,)


def glide(frames: int, speed: float) -> np.ndarray:
    """Return luma of a texture that moves by (speed, 0.4 speed) pixels a frame."""
    wide = texture(180, 240)
    moves = (np.array([[1, 0, -speed * t], [0, 1, -0.4 * speed * t]]) for t in range(frames))
    return np.stack([cv2.warpAffine(wide, m, (240, 180), flags=cv2.INTER_CUBIC) for m in moves])[:, 20:140, 20:200]


@pytest.mark.parametrize("speed", [0.0, 2.3])
@pytest.mark.parametrize("amplitude", [4.0, 10.0])
def test_flicker_is_the_amplitude_also_on_what_moves(speed: float, amplitude: float) -> None:
    blink = amplitude * (-1.0) ** np.arange(5)[:, None, None]
    flicker = metrics.flicker(grey(glide(5, speed) + blink))
    assert np.isnan(flicker.per_frame[[0, -1]]).all()
    np.testing.assert_allclose([*flicker.per_frame[1:-1], flicker.overall], amplitude, rtol=0.1)


def test_flicker_ignores_gliding_and_fading() -> None:
    gliding = glide(5, 2.3)
    plain = np.abs(gliding[:-2] - 2 * gliding[1:-1] + gliding[2:]).mean() / 4
    assert plain > 5
    assert metrics.flicker(grey(gliding)).overall < 0.1 * plain
    assert metrics.flicker(grey(gliding[:1] + 3.0 * np.arange(5)[:, None, None])).overall < 0.15  # 0.1 is rounding


def test_flicker_of_noise_and_of_short_clips() -> None:
    noisy = metrics.flicker(grey(128 + noise(10, 5, 120, 160)))
    assert noisy.overall == pytest.approx(10 * math.sqrt(6) * math.sqrt(2 / math.pi) / 4, rel=0.1)
    for frames in (1, 2):
        short = metrics.flicker(flat(*[9] * frames))
        assert len(short.per_frame) == frames
        assert np.isnan([*short.per_frame, short.overall]).all()


def test_sharpness_of_a_checkerboard_and_of_blurs() -> None:
    board = np.indices((32, 48)).sum(axis=0) % 2 * 100.0
    assert metrics.sharpness(grey(board[None])).overall == 400**2  # the Laplacian is 4 x 100, up or down
    image = texture(32, 48, smooth=0.8)
    blurs = [image, *(cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (0.7, 1.5, 3))]
    sharpness = metrics.sharpness(grey(np.stack(blurs)))
    assert (np.diff(sharpness.per_frame) < 0).all()
    assert sharpness.overall == pytest.approx(sharpness.per_frame.mean())


def test_sharpness_inside_a_mask() -> None:
    mask = half_mask(2)
    mask[1] = False
    board = np.indices((32, 48)).sum(axis=0) % 2 * 100.0
    board[~mask[0]] = 0
    sharpness = metrics.sharpness(grey(np.stack([board, board])), mask)
    np.testing.assert_array_equal(sharpness.per_frame, [400**2, np.nan])
    assert sharpness.overall == 400**2
    assert metrics.sharpness(flat(7), half_mask(1)).overall == 0


def test_reference_agreement_is_the_share_of_common_colour() -> None:
    reference, person = flat((200, 40, 40), height=20, width=20)[0], np.ones((20, 20), bool)
    video, mask = flat(*[(200, 40, 40)] * 5), half_mask(5)
    video[~mask] = (20, 200, 20)
    video[1, :16] = (40, 40, 200)  # half of the person
    video[2, :8] = (40, 40, 200)  # a quarter
    video[3] = (40, 40, 200)
    mask[4] = False
    agreement = metrics.reference_agreement(video, mask, reference, person)
    np.testing.assert_allclose(agreement.per_frame, [1, 0.5, 0.75, 0, np.nan], atol=0.01)
    assert agreement.overall == pytest.approx((1 + 0.5 + 0.75 + 0) / 4, abs=0.01)


def test_reference_agreement_takes_every_colour() -> None:
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).T.reshape(1, 8, 3).astype(np.uint8)
    whole = np.ones((1, 8), bool)
    assert metrics.reference_agreement([corners], [whole], corners, whole).overall == pytest.approx(1)
    one = corners.copy()
    one[:] = corners[:, :1]  # black
    assert metrics.reference_agreement([one], [whole], corners, whole).overall == pytest.approx(1 / 8, rel=0.1)


@pytest.mark.parametrize("lightness", [8, 16, 32])
def test_reference_agreement_falls_slowly_with_light(lightness: float) -> None:
    lab = np.array([[[40, 0, 0]], [[40 + lightness, 0, 0]]], np.float32)
    a, b = np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).astype(np.uint8)[:, 0]
    person = np.ones((1, 20, 20), bool)
    agreement = metrics.reference_agreement(
        flat(a, height=20, width=20), person, flat(b, height=20, width=20)[0], person[0]
    )
    assert agreement.overall == pytest.approx(math.erfc(lightness / 16 / 2 / math.sqrt(2)), rel=0.1)  # of two Gaussians


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda: metrics.pose_agreement(walker(3), walker(4)), r"found must be \[T, 133, 3\], got \(3, 133, 3\); use \(4,"),
        (lambda: metrics.pose_agreement(walker()[:, :17], walker()), r"found must be .* got \(4, 17, 3\); use \(4, 133, 3\)"),
        (lambda: metrics.pose_agreement(walker(), walker(), np.ones(3)), r"torso must be one .* got \(3,\); use \(4,\)"),
        (lambda: metrics.psnr(flat(1, 2), flat(1)), "b must have as many frames as the others, got 1; use 1 of each"),
        (lambda: metrics.ssim(flat(1), flat(1, height=16)), r"b must be of a's size .* got 16x48; use 32x48"),
        (lambda: metrics.psnr(flat(1), flat(1) / 255), r"b must be \[H, W, 3\], uint8 RGB .* got \(32, 48, 3\), float64; use"),
        (lambda: metrics.flicker(flat(1)[..., 0]), r"video must be \[H, W, 3\], uint8 RGB in each frame, got \(32, 48\), uint8"),
        (lambda: metrics.sharpness(flat(1), half_mask(1) * 255), r"mask must be \[H, W\], bool in each frame, got \(32, 48\), int64; use mask >= 128"),
        (lambda: metrics.sharpness(flat(1)[:0]), "video must be at least one frame, got none"),
        (lambda: metrics.seam_jump(flat(1, 2, 3), [3]), r"seams must be rising frames from 1 to 2, got \[3\]"),
        (lambda: metrics.colour_drift(flat(1, 2, 3), [2, 1]), r"seams must be rising .* got \[2, 1\]; use Plan.seams"),
        (
            lambda: metrics.reference_agreement(flat(1), half_mask(1), flat(1)[0], ~half_mask(1)[0] & half_mask(1)[0]),
            "reference_mask must be True somewhere",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_explained(measure, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure()


def test_every_number_has_a_meaning() -> None:
    for name, meaning in metrics.MEANINGS.items():
        assert callable(getattr(metrics, name))
        assert meaning.cannot_tell.startswith("It cannot tell ")
        assert meaning.cannot_tell.count(".") == 1


def test_one_pass_measures_what_each_metric_does_and_reads_each_video_once() -> None:
    video, other = (np.random.default_rng(seed).integers(0, 255, (6, 32, 48, 3), np.uint8) for seed in (0, 1))
    read: list[str] = []

    def counted(name: str, frames: np.ndarray):
        for frame in frames:
            read.append(name)
            yield frame

    one_pass = metrics.OnePass(counted("video", video), [3], counted("other", other), half_mask(6))
    np.testing.assert_array_equal(np.stack(list(one_pass)), video)
    assert (read.count("video"), read.count("other")) == (6, 6)
    found = one_pass.results()
    for name in ("psnr", "ssim"):
        wanted = getattr(metrics, name)(video, other, half_mask(6))
        np.testing.assert_array_equal(found[name].per_frame, wanted.per_frame)
        assert found[name].overall == wanted.overall
    np.testing.assert_array_equal(found["flicker"].per_frame, metrics.flicker(video).per_frame)
    np.testing.assert_array_equal(found["sharpness"].per_frame, metrics.sharpness(video).per_frame)
    for name in ("colour_drift", "seam_jump"):
        np.testing.assert_array_equal(found[name], getattr(metrics, name)(video, [3]))
