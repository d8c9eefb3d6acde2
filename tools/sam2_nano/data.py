"""Clips to learn from, made on the GPU: rendered people and things before random scenes, with every thing's visible pixels.

A scene is a list of layers, back to front; each is there or not, at a place of its own, moving, textured and lit at
random. People come from tools/nano's renderer (round cones and ellipsoids; Triton on a GPU, plain torch on a CPU). The
bundled sample clips and their room are held out: nothing here may read them.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import figures
import torch
from nano import render as R
from surfaces import P, colours, fabrics, textures, uniform
from torch import Tensor
from torch.nn import functional as F

FIGURES: figures.Figures | None = None  # people made of points beside those of cones, where their file was loaded
AS_FIGURES = 0.65  # of the people, then
HEIGHT = 256  # of the scene, in its own pixels; the width follows from the aspect, and both are squashed to a square
LAYERS = (  # back to front: kind, chance of being there
    ("shape", 0.5), ("shape", 0.4), ("thing", 0.4), ("person", 0.55), ("shape", 0.3), ("person", 0.5), ("thing", 0.25),
    ("shape", 0.2), ("person", 0.75), ("thing", 0.15), ("shape", 0.3),
)  # fmt: skip
WORN = {  # rows of tools/nano's tables that a garment covers: cones of both sides, and ellipsoids after all 27 cones
    "shirt": (0, 1, 11, 12, 27, 28),
    "trousers": (8, 9, 19, 20, 24, 29),
}
ASPECTS = (0.5, 0.5625, 0.577, 0.75, 0.75, 1.0, 1.33, 1.78)  # width to height of films


@functools.cache
def is_person(device: str | torch.device) -> Tensor:
    """Return which numbers in a map are people, [layers + 1]; 0 is the background."""
    return torch.tensor([False, *(kind == "person" for kind, _ in LAYERS)], device=device)


@dataclasses.dataclass
class Clips:
    """Finished clips: pictures [N, T, 3, S, S], uint8; numbers [N, T, S, S], uint8, the layer seen at each pixel, 0 for none."""

    pictures: Tensor
    numbers: Tensor


@dataclasses.dataclass
class Camera:
    """What the square pictures show of each scene: window [N, T, 4]: x0, y0 and a pixel's size; width [N] of the scene."""

    window: Tensor
    width: Tensor

    def of(self, rows: Tensor) -> Camera:
        return Camera(self.window[rows], self.width[rows])

    def grid(self, size: int) -> tuple[Tensor, Tensor]:
        """Return x [N, T, 1, S] and y [N, T, S, 1] of the pictures' pixels in the scene."""
        at = torch.arange(size, device=self.window.device) + 0.5
        x0, y0, dx, dy = self.window.unbind(-1)
        return x0[..., None, None] + dx[..., None, None] * at, y0[..., None, None] + dy[..., None, None] * at[:, None]


@torch.no_grad()
def make_clips(count: int, frames: int, size: int, device: str, supersample: int = 2) -> Clips:
    """Render clips of random scenes, [count, frames] squares of `size` pixels, a film's pictures squashed as sam2 does it."""
    U = uniform(count, device)
    camera = _camera(count, frames, size, device)
    bank, cloths = textures(48, 128, device), fabrics(32, 128, device)
    backdrop = _backdrop(count, 256, device, bank)
    u, v = camera.grid(size)
    u, v = torch.broadcast_tensors(2 * u / camera.width[:, None, None, None] - 1, 2 * v / HEIGHT - 1)
    place = torch.stack([u, v], -1).view(count, frames * size, size, 2)
    canvas = F.grid_sample(backdrop, place, padding_mode="reflection", align_corners=False)
    canvas = canvas.view(count, 3, frames, size, size).transpose(1, 2).contiguous()
    numbers = torch.zeros(count, frames, size, size, dtype=torch.uint8, device=device)
    anchor = _path(count, frames, device, 0.15) * camera.width[:, None]  # where the action is: x [N, T]
    middle = U(0.35, 0.75) * HEIGHT
    tones = F.interpolate(backdrop, (1, 1), mode="area").view(count, 3)
    crowd = U(0, 1.4)  # from one person in an empty room to a mess
    for number, (kind, chance) in enumerate(LAYERS, 1):
        rows = (torch.rand(count, device=device) < (chance if kind == "person" else chance * crowd)).nonzero()[:, 0]
        if not len(rows):
            continue
        kin = torch.rand(len(rows), 1, device=device)
        other = _path(len(rows), frames, device, 0.25 if kind == "person" else 0.1) * camera.width[rows, None]
        beside = anchor[rows] + P.U((len(rows), 1), -50, 50, device)
        meeting = anchor[rows].gather(1, torch.randint(frames, (len(rows), 1), device=device))
        towards = 2 * meeting - anchor[rows] + P.U((len(rows), 1), -12, 12, device)
        x = torch.where(kin < 0.3, beside, torch.where((kin < 0.55) & (kind == "person"), towards, other))
        if kind == "person":
            colour, alpha = _people(camera.of(rows), x, tones[rows], size, supersample, bank, cloths)
        elif kind == "thing":
            colour, alpha = _thing(camera.of(rows), x, middle[rows], size, supersample, bank)
        else:
            colour, alpha = _shape(camera.of(rows), x, middle[rows], size, bank)
        under = canvas[rows] * (1 - _shadow(alpha))
        canvas[rows] = under * (1 - alpha) + colour
        part = numbers[rows]
        part[alpha[:, :, 0] > 0.5] = number
        numbers[rows] = part
    return Clips((canvas.clamp(0, 1) * 255).round().to(torch.uint8), numbers)


def _camera(count: int, frames: int, size: int, device: str) -> Camera:
    """Return half of the cameras still, the others panning and zooming a little."""
    aspect = torch.tensor(ASPECTS, device=device)[torch.randint(len(ASPECTS), (count,), device=device)]
    width = HEIGHT * aspect
    moving = (torch.rand(count, 1, device=device) < 0.5).float()
    t = torch.linspace(-1, 1, frames, device=device)
    U = uniform(count, device, 1)
    zoom = 1 + moving * (U(-0.12, 0.12) * t + 0.02 * torch.randn(count, frames, device=device) * U(0, 1))
    x = moving * (U(-0.15, 0.15) * t + 0.008 * torch.randn(count, frames, device=device)) * width[:, None]
    y = moving * (U(-0.06, 0.06) * t + 0.008 * torch.randn(count, frames, device=device)) * HEIGHT
    w, h = width[:, None] / zoom, HEIGHT / zoom
    window = [x + (width[:, None] - w) / 2, y + (HEIGHT - h) / 2, w / size, h / size]
    return Camera(torch.stack(window, -1), width)


def _path(count: int, frames: int, device: str, gaps: float = 0.0) -> Tensor:
    """Return where something is across the picture, [count, frames], 0 to 1 inside: still, drifting, crossing, away and back.

    Args:
        gaps: share of those that are gone for some frames and come back, there or elsewhere.
    """
    U = uniform(count, device, 1)
    part = U(0.15, 1.0)  # of the way is in the clip
    t = U(0, 1) * (1 - part) + part * torch.linspace(0, 1, frames, device=device)
    side = torch.where(U(0, 1) < 0.5, -1.0, 1.0)
    still = U(0.1, 0.9) + U(-0.08, 0.08) * t
    drift = U(0.1, 0.9) + U(-0.6, 0.6) * t
    cross = 0.5 + side * (U(0.5, 0.9) - U(1.0, 1.8) * t)
    away = 0.5 + side * U(0.6, 1.0) * torch.sin(U(2.5, 6) * t + U(0, 3.14))
    kind = U(0, 1)
    out = torch.where(kind < 0.3, still, torch.where(kind < 0.55, drift, torch.where(kind < 0.8, cross, away)))
    frame = torch.arange(frames, device=device)
    left = torch.randint(1, max(2, frames - 1), (count, 1), device=device)
    back = left + torch.randint(1, max(2, frames), (count, 1), device=device)  # some never come back
    gone = (frame >= left) & (frame < back) & (U(0, 1) < gaps)
    elsewhere = torch.where(
        (frame >= back) & (U(0, 1) < 0.5), U(0.15, 0.85) - out.gather(1, back.clamp(max=frames - 1)), 0.0
    )
    stays = (U(0, 1) < 0.5) | ~gone.any(1, keepdim=True)
    out = torch.where(stays, out, out + elsewhere)
    return torch.where(gone, 0.5 + side * 2.5, out)


def _backdrop(count: int, size: int, device: str, bank: Tensor) -> Tensor:
    """Return empty scenes, [count, 3, size, size]: flat rooms, surfaces, and either of them with clutter that is no thing."""
    room = P.random_background(count, size, size, device)
    surface = F.interpolate(bank[torch.randint(len(bank), (count,), device=device)], (size, size), mode="bilinear")
    calm = torch.rand(count, 1, 1, 1, device=device)
    surface = torch.lerp(surface.mean((2, 3), keepdim=True), surface, calm)
    out = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.55, room, surface)
    camera = Camera(
        torch.tensor([0.0, 0.0, 1.0, 1.0], device=device).expand(count, 1, 4),
        torch.full((count,), 256.0, device=device),
    )
    for _ in range(6):
        rows = (torch.rand(count, device=device) < 0.45).nonzero()[:, 0]
        if len(rows):
            x = P.U((len(rows), 1), 0, 256, device)
            y = P.U((len(rows),), 0, 256, device)
            colour, alpha = _shape(camera.of(rows), x, y, size, bank)
            out[rows] = out[rows] * (1 - alpha[:, 0]) + colour[:, 0]
    return out


def _shape(camera: Camera, x: Tensor, middle: Tensor, size: int, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Return a flat thing a scene, colour (times alpha) and alpha, [N, T, 3 or 1, S, S]: boxes, discs, rings, leaves, blobs."""
    count, frames, device = *x.shape, x.device
    U = uniform(count, device, 1, 1, 1)
    t = torch.linspace(0, 1, frames, device=device).view(1, -1, 1, 1)
    y = middle.view(-1, 1, 1, 1) + U(-90, 90) + U(-30, 30) * t * (U(0, 1) < 0.4)
    wide = 10 * (7 ** U(0, 1)) * (1 + U(-0.2, 0.2) * t)
    high = wide * torch.exp(U(-1, 1))
    turn = torch.where(U(0, 1) < 0.5, U(0, 6.28), U(-0.05, 0.05)) + U(-0.8, 0.8) * t * (U(0, 1) < 0.4)
    gx, gy = camera.grid(size)
    gx, gy = gx - x[..., None, None], gy - y
    u, v = (gx * turn.cos() + gy * turn.sin()) / wide, (gy * turn.cos() - gx * turn.sin()) / high
    power = torch.where(U(0, 1) < 0.45, U(6, 16), U(1.2, 2.5))
    reach = (u.abs().clamp(min=1e-4) ** power + v.abs().clamp(min=1e-4) ** power) ** (1 / power)
    angle, wavy = torch.atan2(v, u), (U(0, 1) < 0.55).float()
    bumps = sum(
        U(0, 0.35) * torch.cos(torch.randint(2, 8, (count, 1, 1, 1), device=device) * angle + U(0, 6.28))
        for _ in range(2)
    )
    reach = reach / (1 + wavy * bumps).clamp(min=0.25)
    soft = 0.5 * (wide + high) / camera.window[..., 2:].mean(-1)[..., None, None]  # pixels that the radius has
    alpha = ((1 - reach) * soft + 0.5).clamp(0, 1)
    alpha = alpha * torch.where(U(0, 1) < 0.1, ((reach - U(0.3, 0.7)) * soft + 0.5).clamp(0, 1), torch.ones_like(alpha))
    colour = _painted(u, v, bank) * (0.75 + 0.25 * torch.tanh(U(-1, 1) * u + U(-1, 1) * v)).unsqueeze(2)
    alpha = alpha.unsqueeze(2)
    return colour * alpha, alpha


def _painted(u: Tensor, v: Tensor, bank: Tensor, *, centred: bool = False) -> Tensor:
    """Return a surface that moves with its thing, [N, T, 3, S, S], for places on the thing, 1 at its rim; some are plain.

    Args:
        centred: whether the surface's mean colour is taken off.
    """
    count, frames, *size = torch.broadcast_tensors(u, v)[0].shape
    scale = P.U((count, 1, 1, 1), 0.15, 0.9, u.device)
    shift = P.U((count, 2, 1, 1, 1), -1, 1, u.device)
    place = torch.stack(torch.broadcast_tensors(u * scale + shift[:, 0], v * scale + shift[:, 1]), -1)
    picked = bank[torch.randint(len(bank), (count,), device=u.device)]
    found = F.grid_sample(picked, place.flatten(1, 2), padding_mode="reflection", align_corners=False)
    found = found.view(count, 3, frames, *size).transpose(1, 2)
    plain = picked.mean((2, 3)).view(count, 1, 3, 1, 1)
    if centred:
        return found - plain
    return torch.lerp(plain, found, P.U((count, 1, 1, 1, 1), -0.3, 1.2, u.device).clamp(0, 1))


def _thing(
    camera: Camera, x: Tensor, middle: Tensor, size: int, supersample: int, bank: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a solid thing of random cones and ellipsoids a scene, as `_shape`: plants, stands, chains, heaps."""
    count, frames, device = *x.shape, x.device
    cones, balls = 9, 3
    big = 12 * (5 ** P.U((count, 1, 1), 0, 1, device))
    kind = torch.rand(count, 1, 1, device=device)
    start = torch.randn(count, cones, 3, device=device) * 0.5
    end = start + torch.randn(count, cones, 3, device=device) * 0.8
    leaves = torch.randn(count, cones, 3, device=device) * torch.tensor([0.6, 0.5, 0.5], device=device)
    leaves[..., 1] = -leaves[..., 1].abs() - 0.5
    chain = torch.cumsum(torch.randn(count, cones + 1, 3, device=device) * 0.5, 1)
    start = torch.where(kind < 0.4, torch.zeros_like(start), torch.where(kind < 0.7, chain[:, :-1], start))
    end = torch.where(kind < 0.4, leaves, torch.where(kind < 0.7, chain[:, 1:], end))
    t = torch.linspace(-1, 1, frames, device=device)
    spin = P.rot("y", P.U((count, 1), -0.6, 0.6, device) * t * (torch.rand(count, 1, device=device) < 0.5))
    y = (middle + P.U((count,), -40, 60, device)).view(-1, 1, 1).expand(-1, frames, 1)
    home = torch.cat([x.unsqueeze(-1), y, torch.zeros_like(y)], -1).unsqueeze(2)

    def placed(p):
        return torch.einsum("ntij,nkj->ntki", spin, p * big) + home

    a, b = placed(start), placed(end)
    there = torch.rand(count, 1, cones, device=device) < 0.8
    ra = torch.where(there, big * P.U((count, 1, cones), 0.06, 0.35, device), torch.full((), -1.0, device=device))
    rb = ra.abs() * P.U((count, 1, cones), 0.3, 1.2, device)
    ra, rb = ra.expand(-1, frames, -1), rb.expand(-1, frames, -1)
    low = torch.minimum(a[..., :2] - ra.unsqueeze(-1), b[..., :2] - rb.unsqueeze(-1))
    high = torch.maximum(a[..., :2] + ra.unsqueeze(-1), b[..., :2] + rb.unsqueeze(-1))
    cone = torch.cat([a, b, ra.unsqueeze(-1), rb.unsqueeze(-1), low, high], -1)
    centre = placed(torch.randn(count, balls, 3, device=device) * 0.4)
    radii = big.unsqueeze(-1) * P.U((count, 1, balls, 3), 0.15, 0.7, device)
    turned = spin.transpose(-1, -2).unsqueeze(2) / radii.unsqueeze(-1)
    reach = radii.amax(-1, keepdim=True).expand(-1, frames, -1, -1)
    ball = torch.cat([centre, turned.flatten(-2), centre[..., :2] - reach, centre[..., :2] + reach], -1)
    shade = colours(count * 3, device).view(count, 3, 3)
    parts = torch.gather(shade, 1, torch.randint(3, (count, cones + balls, 1), device=device).expand(-1, -1, 3))
    parts = parts * P.U((count, cones + balls, 1), 0.7, 1.2, device)
    pattern = torch.randint(0, 8, (count, cones + balls, 1), device=device).clamp(max=4).float() % 4
    rate = P.U((count, cones + balls, 1), 1, 4, device)
    made = torch.cat([parts, parts, parts.roll(1, 1), pattern, rate, torch.full_like(rate, 9.0)], -1)

    def flat(v):
        return v.expand(count, frames, *v.shape[2:]).flatten(0, 1)

    tables = {
        "cone": flat(cone),
        "ell": flat(ball),
        "mat": flat(made.unsqueeze(1)),
        "face": torch.zeros(count * frames, 24, device=device),
        "light": flat(_light(count, device).unsqueeze(1)),
        "cam": camera.window.flatten(0, 1),
    }
    gx, gy = camera.grid(size)
    u, v = (gx - x[..., None, None]) / big.unsqueeze(-1), (gy - y.unsqueeze(-1)) / big.unsqueeze(-1)
    return _rendered(tables, count, frames, size, supersample, u, v, bank)


def _people(
    camera: Camera, x: Tensor, tones: Tensor, size: int, supersample: int, bank: Tensor, cloths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a person a scene, as `_shape`: of points or of cones."""
    if FIGURES is None:
        return _person(camera, x, tones, size, supersample, bank, cloths)
    count, frames = x.shape
    pointed = torch.rand(count, device=x.device) < AS_FIGURES
    colour, alpha = (torch.empty(count, frames, k, size, size, device=x.device) for k in (3, 1))
    rows = pointed.nonzero()[:, 0]
    if len(rows):
        zoom, top = _far(len(rows), x.device)
        window, light = camera.window[rows], _light(len(rows), x.device)
        colour[rows], alpha[rows] = FIGURES.drawn(window, x[rows], top, zoom * HEIGHT, size, light)
    rows = (~pointed).nonzero()[:, 0]
    if len(rows):
        colour[rows], alpha[rows] = _person(camera.of(rows), x[rows], tones[rows], size, supersample, bank, cloths)
    return colour, alpha


def _far(count: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Return how tall people are, 1 as tall as the scene, and where their tops are in it: from far away to cut by its borders."""
    U = uniform(count, device)
    far = torch.rand(count, device=device)
    near = torch.where(far < 0.8, U(0.95, 1.6), U(1.6, 2.5))
    zoom = torch.where(far < 0.22, U(0.35, 0.65), torch.where(far < 0.62, U(0.65, 0.95), near))
    top = torch.where(zoom < 0.93, torch.rand(count, device=device) * (0.98 - zoom) + 0.01, U(-0.04, 0.2)) * HEIGHT
    return zoom, top


def _person(
    camera: Camera, x: Tensor, tones: Tensor, size: int, supersample: int, bank: Tensor, cloths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a person a scene, as `_shape`: from far away to cut by the picture's borders, in any clothes and pose."""
    count, frames, device = *x.shape, x.device
    U = uniform(count, device)
    who = _identity(count, tones, device)
    motion = P.random_motion(count, frames, device, fps=6 * 4 ** float(torch.rand(())), turned=0.3)
    speed = (x[:, -1:] - x[:, :1]) / HEIGHT
    walks = (speed.abs() > 0.25) & (torch.rand(count, 1, device=device) < 0.8)
    motion[..., 0] = torch.where(walks, 1.4 * speed.sign() + 0.3 * motion[..., 0], motion[..., 0])
    joints = P.fk(who, motion)
    zoom, top = _far(count, device)
    tall = P.body_height(who)
    scale = zoom * HEIGHT / tall
    place = {"s": scale, "z": zoom, "yc": tall - (HEIGHT / 2 - top) / scale, "x0": torch.zeros(count, device=device),
             "y0": torch.full((count,), HEIGHT / 2, device=device), "D": U(3, 8)}  # fmt: skip
    shift = torch.stack([x / scale[:, None], torch.zeros_like(x), torch.zeros_like(x)], -1)
    joints = {
        name: value if name in ("Rr", "Rc", "Rh") else value + (shift.unsqueeze(2) if value.ndim == 4 else shift)
        for name, value in joints.items()
    }
    tables = P.build_tables(who, joints, place, motion[..., 40:48], _light(count, device))
    _dress(tables, who, joints, place)
    parts = tables["mat"].shape[1]
    uneven = torch.where(torch.rand(count, 1, 1, device=device) < 0.5, 0.18, 0.0) * (
        torch.rand(count, parts, 3, device=device) - 0.5
    )
    stained = 1 + 2 * uneven.mean(-1, keepdim=True) + uneven
    odd = torch.rand(count, device=device) < 0.07  # every part of another colour: the shape tells, not the clothes
    new = colours(count * parts, device).view(count, parts, 3)

    def spread(v):
        return v[:, None].expand(-1, frames, *v.shape[1:]).flatten(0, 1)

    for k in (0, 3, 6):
        plain = tables["mat"][..., k : k + 3] * spread(stained)
        tables["mat"][..., k : k + 3] = torch.where(spread(odd)[:, None, None], spread(new), plain).clamp(0, 1)
    tables["cam"] = camera.window.flatten(0, 1)
    root, _ = P.project(place, joints["spine"])
    gx, gy = camera.grid(size)
    width = (0.25 * scale).view(-1, 1, 1, 1)
    u, v = (gx - root[..., 0, None, None]) / width, (gy - root[..., 1, None, None]) / width
    colour, alpha = _rendered(tables, count, frames, size, supersample, u, v, bank, 0.3)
    return (colour * _sewn(tables, count, frames, size, u, v, bank, cloths)).clamp(min=0).minimum(alpha), alpha


def _sewn(
    tables: dict[str, Tensor], count: int, frames: int, size: int, u: Tensor, v: Tensor, bank: Tensor, cloths: Tensor
) -> Tensor:
    """Return what fabrics make of the colours, [N, T, 3, S, S], about 1: shirt, trousers and the rest each have their own.

    The parts are told apart by drawing the people once more, shirts red, trousers green, all else blue.
    """
    device = u.device
    paint = torch.zeros_like(tables["mat"])
    paint[..., 2::3] = 1
    paint[..., 9:] = tables["mat"][..., 9:]
    paint[..., 9] = 0
    for channel, rows in enumerate(WORN.values()):
        for k in (0, 6):
            paint[:, rows, k + 2], paint[:, rows, k + channel] = 0, 1
    light = torch.tensor([0.0, 0, -1, 1, 0, 1, 1, 1], device=device).expand(count * frames, 8).contiguous()
    parts, _ = R.render_people({**tables, "mat": paint, "light": light}, size, size, 1)
    parts = (parts / parts.sum(1, keepdim=True).clamp(min=1e-3)).view(count, frames, 3, size, size)
    out = torch.ones(count, frames, 3, size, size, device=device)
    for channel, (woven, most) in enumerate(((0.6, 1.2), (0.75, 1.5), (0.3, 0.7))):
        fine = P.U((count, 1, 1, 1), 0.3, 1.2, device)
        kinds = torch.rand(count, 1, 1, 1, 1, device=device)
        pattern = 1 + _painted(u, v, bank, centred=True)
        cloth = _painted(u * fine, v * fine, cloths)
        strength = P.U((count, 1, 1, 1, 1), 0, most, device)
        factor = 1 + strength * (torch.where(kinds < woven, cloth, torch.where(kinds < woven + 0.15, pattern, 1.0)) - 1)
        out = out + parts[:, :, channel : channel + 1] * (factor - 1)
    soft = F.avg_pool2d(parts[:, :, :2].flatten(0, 1), 5, 1, 2).view(count, frames, 2, size, size)
    belt = 4 * (soft[:, :, :1] * soft[:, :, 1:]) * P.U((count, 1, 1, 1, 1), -0.5, 0.6, device).clamp(min=0)
    return out.clamp(0.1, 3) * (1 - belt)


def _identity(count: int, tones: Tensor, device: str) -> dict[str, Tensor]:
    """Return looks and builds beyond tools/nano's: slim to stout, smaller heads, dark clothes, clothes like the scene."""
    who = P.random_identity(count, device)
    U = uniform(count, device)
    lean = torch.rand(count, device=device) < 0.75  # as people are; the others as tools/nano draws them
    who["fat"] = torch.where(lean, U(0.72, 1.1), U(0.9, 1.5))
    who["hr"] = torch.where(lean, U(0.06, 0.075), U(0.07, 0.1))
    who["shw"] = who["shw"] * U(0.85, 1.2)
    who["eyes"] = who["eyes"] * torch.stack(
        [torch.ones(count, device=device), torch.ones(count, device=device), U(0.45, 1)], -1
    )
    r = torch.rand(count, 1, device=device)
    for name in ("shirt", "shirt2", "pants", "shoes"):
        own = torch.where(torch.rand(count, 1, device=device) < 0.5, who[name], colours(count, device))
        dark, like = U(0.0, 0.1, 1) * torch.ones_like(own), tones * U(0.6, 1.3, 1)
        who[name] = torch.where(r < 0.15, dark, torch.where((r > 0.85) & (U(0, 1, 1) < 0.7), like.clamp(0, 1), own))
    return who


def _dress(
    tables: dict[str, Tensor], who: dict[str, Tensor], joints: dict[str, Tensor], place: dict[str, Tensor]
) -> None:
    """Add hats, a rucksack or a big belly to some: ellipsoids at the end of the tables."""
    count, frames = joints["head"].shape[:2]
    device = joints["head"].device
    hr, hw = who["hr"][:, None], who["hw"][:, None]
    hat, brim, pack = (torch.rand(count, device=device) < share for share in (0.25, 0.15, 0.12))
    colour, bag = colours(count, device), colours(count, device)
    ones = torch.ones(count, frames, device=device)
    wide = P.U((count, 1), 1.3, 1.9, device)
    for worn, joint, turn, offset, radii, paint in (
        (hat, "head", "Rh", (0 * hr, 0.62 * hr, -0.08 * hr), (1.1 * hr * hw, 0.55 * hr, 1.12 * hr * hw), colour),
        (hat & brim, "head", "Rh", (0 * hr, 0.5 * hr, 0.05 * hr), (wide * hr * hw, 0.1 * hr, wide * hr * hw), colour),
        (
            pack,
            "spine",
            "Rc",
            (0 * hr, 0.05 + 0 * hr, -0.11 + 0 * hr),
            (0.1 + 0 * hr, 0.14 + 0 * hr, 0.07 + 0 * hr),
            bag,
        ),
    ):
        R_, away = joints[turn], torch.stack([v * ones for v in offset], -1)
        centre, scale = P.project(place, joints[joint] + P.mv(R_, away))
        r = torch.stack([v * ones for v in radii], -1)
        M = R_.transpose(-1, -2) / r.unsqueeze(-1) * torch.tensor([1.0, -1, -1], device=device) / scale[..., None, None]
        centre = torch.where(worn.view(-1, 1, 1), centre, torch.full_like(centre, -1e5))
        reach = (r.amax(-1) * scale).unsqueeze(-1)
        row = torch.cat([centre, M.flatten(-2), centre[..., :2] - reach, centre[..., :2] + reach], -1)
        tables["ell"] = torch.cat([tables["ell"], row.flatten(0, 1).unsqueeze(1)], 1)
        other = torch.cat([paint, paint, paint, torch.tensor([0.0, 1, 9], device=device).expand(count, 3)], -1)
        other = other[:, None].expand(-1, frames, -1).flatten(0, 1).unsqueeze(1)
        tables["mat"] = torch.cat([tables["mat"], other], 1)


def _light(count: int, device: str) -> Tensor:
    """Return lights, [count, 8], as tools/nano's but harder: from behind, from the side, dim, coloured."""
    d = torch.randn(count, 3, device=device)
    d[:, 1] = -d[:, 1].abs()
    d[:, 2] = torch.where(torch.rand(count, device=device) < 0.8, -d[:, 2].abs(), d[:, 2])
    surround = P.U((count, 1), 0.2, 0.85, device)
    level = P.U((count, 1), 0.75, 1.2, device)
    tint = 1 + P.U((count, 3), -0.1, 0.1, device)
    return torch.cat([P.unit(d), surround * level, (1.12 - surround) * level, tint], -1)


def _rendered(
    tables: dict[str, Tensor],
    count: int,
    frames: int,
    size: int,
    supersample: int,
    u: Tensor,
    v: Tensor,
    bank: Tensor,
    share: float = 0.7,
) -> tuple[Tensor, Tensor]:
    """Render tables and lay a faint surface over a share of them, which moves with (u, v)."""
    colour, alpha = R.render_people(tables, size, size, supersample)
    colour, alpha = colour.view(count, frames, 3, size, size), alpha.view(count, frames, 1, size, size)
    surface = _painted(u, v, bank, centred=True)
    strength = P.U((count, 1, 1, 1, 1), 1 - 1 / share, 1.0, colour.device).clamp(min=0)
    return (colour * (1 + strength * surface)).clamp(min=0).minimum(alpha), alpha


def _shadow(alpha: Tensor) -> Tensor:
    """Return how much darker it is around and beside a thing, [N, T, 1, S, S]."""
    count, frames, _, size, _ = alpha.shape
    small = F.avg_pool2d(alpha.flatten(0, 1), 8)
    dx, dy = (int(v) for v in torch.randint(-2, 3, (2,)))
    soft = F.avg_pool2d(F.avg_pool2d(small, 3, 1, 1), 3, 1, 1).roll((abs(dy), dx), (2, 3))
    large = F.interpolate(soft, (size, size), mode="bilinear").view(count, frames, 1, size, size)
    return large * P.U((count, 1, 1, 1, 1), -0.4, 0.6, alpha.device).clamp(min=0)


# --- looked at by another camera, each time that a clip is used -----------------------------------------------------------
@torch.no_grad()
def disturbed(clips: Clips) -> tuple[Tensor, Tensor]:
    """Return the clips through other cameras: pictures [N, T, 3, S, S], 0 to 1, float32, and their numbers.

    Cut, turned and mirrored; brighter, darker, tinted; lit unevenly; blurred, noisy, compressed. The same for all frames.
    """
    count, _frames, _, size, _ = clips.pictures.shape
    device = clips.pictures.device
    pictures = clips.pictures.float() / 255
    pictures, numbers = _cut(pictures, clips.numbers)
    flat = pictures.flatten(0, 1)
    U = uniform(count, device, 1, 1, 1, 1)

    def some(share):
        return torch.rand(count, 1, 1, 1, 1, device=device) < share

    soft = F.interpolate(F.avg_pool2d(flat, 2), (size, size), mode="bilinear").view_as(pictures)
    pictures = torch.where(some(0.25), torch.lerp(pictures, soft, U(0, 1)), pictures)
    pictures = torch.where(some(0.25), _smeared(pictures), pictures)
    pictures = pictures.clamp(1e-4, 1) ** torch.where(some(0.5), torch.exp(U(-0.6, 0.6)), torch.ones_like(U(0, 1)))
    grey = pictures.mean(2, keepdim=True)
    pictures = torch.lerp(grey, pictures, torch.where(some(0.4), U(0, 1.5), torch.ones_like(U(0, 1))))
    pictures = pictures * torch.where(some(0.5), U(0.8, 1.2, 1, 3, 1, 1), torch.ones(count, 1, 3, 1, 1, device=device))
    patch = F.interpolate(torch.rand(count, 1, 3, 3, device=device), (size, size), mode="bicubic").view(
        count, 1, 1, size, size
    )
    pictures = pictures * torch.where(some(0.3), 1 + U(0, 0.9) * (patch - 0.5), torch.ones_like(patch))
    level = torch.where(some(0.15), U(0.08, 0.5), U(0.7, 1.25))
    haze = torch.where(some(0.2), U(0, 0.3), torch.zeros_like(level))
    pictures = pictures * level * (1 - haze) + haze
    pictures = pictures + torch.randn_like(pictures) * U(-0.02, 0.03).clamp(min=0)
    pictures = torch.where(some(0.3), _compressed(pictures), pictures)
    return pictures.clamp(0, 1), numbers


def _cut(pictures: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    count, _frames, _, size, _ = pictures.shape
    device = pictures.device
    U = uniform(count, device)
    active = torch.rand(count, device=device) < 0.6
    share = torch.where(active, U(0.55, 1.0), torch.ones(count, device=device))
    turn = torch.where(
        active & (torch.rand(count, device=device) < 0.5), U(-0.25, 0.25), torch.zeros(count, device=device)
    )
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 1] = share * turn.cos() * mirror, -share * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = share * turn.sin() * mirror, share * turn.cos()
    theta[:, :, 2] = P.U((count, 2), -1, 1, device) * (1 - share[:, None])
    grid = F.affine_grid(theta, (count, 1, size, size), align_corners=False)
    cut = F.grid_sample(pictures.flatten(1, 2), grid, padding_mode="border", align_corners=False)
    seen = F.grid_sample(numbers.float(), grid, mode="nearest", align_corners=False)
    return cut.view_as(pictures), seen.to(torch.uint8)


def _smeared(pictures: Tensor) -> Tensor:
    """Blur along a line, as a moving camera does."""
    count, frames, _, size, _ = pictures.shape
    angle, at = torch.rand(count, device=pictures.device) * math.pi, torch.arange(-3, 4, device=pictures.device).float()
    kernel = torch.zeros(count, 7, 7, device=pictures.device)
    long = 1 + 2 * torch.rand(count, 1, device=pictures.device)
    col, row = (at * angle.cos()[:, None] * long / 3), (at * angle.sin()[:, None] * long / 3)
    rows = torch.arange(count, device=pictures.device)[:, None]
    kernel.index_put_(
        (rows, (row.round() + 3).long(), (col.round() + 3).long()), torch.ones_like(row) / 7, accumulate=True
    )
    weight = kernel.repeat_interleave(frames * 3, 0).unsqueeze(1)
    stacked = F.pad(pictures.reshape(1, -1, size, size), (3, 3, 3, 3), mode="replicate")
    return F.conv2d(stacked, weight, groups=count * frames * 3).view_as(pictures)


def _compressed(pictures: Tensor) -> Tensor:
    """Lose detail in blocks of 8, as JPEG does."""
    count, frames, _, size, _ = pictures.shape
    k = torch.arange(8, device=pictures.device).float()
    D = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) * 0.5
    D[0] *= 0.5**0.5
    blocks = pictures.reshape(count, frames, 3, size // 8, 8, size // 8, 8).transpose(-3, -2)
    step = P.U((count, 1, 1, 1, 1, 1, 1), 0.005, 0.05, pictures.device) * (1 + (k[:, None] + k[None]) * 0.7)

    def sided(x, m):
        return (x @ m).mT @ m  # m' x' m, as one large product

    found = sided(blocks, D.T)
    found = (found / step).round() * step
    return sided(found, D).transpose(-3, -2).reshape(pictures.shape)


# --- what is asked for -----------------------------------------------------------------------------------------------------
def areas(numbers: Tensor) -> Tensor:
    """Return how much of each picture each number covers: [..., layers + 1], 0 to 1, of numbers [..., S, S]."""
    return torch.stack([(numbers == k).float().mean((-1, -2)) for k in range(len(LAYERS) + 1)], -1)


def choose(visible: Tensor, objects: int, least: float = 0.003) -> tuple[Tensor, Tensor]:
    """Choose what is clicked on: people mostly.

    Args:
        visible: [N, layers + 1], from `areas`, where the click will be.
        objects: how many of a picture, with repetitions if there are fewer.

    Returns:
        numbers [N, objects], and whether there was anything to choose, [N, objects].
    """
    weight = torch.where(is_person(visible.device), 8.0, 1.0) * (visible >= least)
    weight[:, 0] = 0
    there = weight.sum(1) > 0
    race = weight / torch.empty_like(weight).exponential_().clamp(min=1e-12)  # no multinomial: it waits for the GPU
    race, picked = race.topk(objects, 1)
    picked = torch.where(race > 0, picked, picked[:, :1])
    return picked, there[:, None].expand(-1, objects)


def random_inside(mask: Tensor) -> Tensor:
    """Return a random pixel of each mask [O, S, S], as x, y [O, 2]; half of them well inside, some as far inside as can be."""
    size = mask.shape[-1]
    inner = -F.max_pool2d(-mask[:, None], 5, 1, 2)[:, 0]
    core = F.avg_pool2d(F.avg_pool2d(mask[:, None], 17, 1, 8), 17, 1, 8)[:, 0] * mask
    noise = torch.rand_like(mask)
    kind = torch.rand(len(mask), 1, 1, device=mask.device)
    has = (inner.sum((1, 2), keepdim=True) > 0) & (kind < 0.85)
    score = torch.where(kind < 0.25, core + 0.02 * noise, noise * torch.where(has, inner, mask))
    at = (score * (mask > 0)).flatten(1).argmax(1)
    return torch.stack([at % size, at // size], -1).float()
