"""Dressed MakeHuman people as clouds of points, which the GPU poses and draws: what render_sample.py's people are made of, other people.

    python tools/sam2_nano/figures.py --assets CACHE --out .device/sam2_nano/figures.npz    # needs numpy, scipy, opencv; no bpy

`--assets` is render_sample.py's cache (it fetches what is missing). Held out: the clothes, shoes, hair and skins of the
sample clips' characters (tools/render_sample.py) are not among these. The file stays out of the repository, as the
packages' files do (wanlab/assets/sample/LICENSES.md).
"""

from __future__ import annotations

import argparse
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from surfaces import colours
from torch import Tensor
from torch.nn import functional as F

POINTS, FRAMES = 24_000, 24  # of a person; of a motion
SEED = 5
PARTS = {"skin": 0, "shirt": 1, "trousers": 2, "shoes": 3, "hair": 4}
TOPS = {
    "male": ("male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit05", "male_casualsuit06",
             "male_elegantsuit01", "male_worksuit01"),
    "female": ("female_casualsuit02", "female_elegantsuit01", "male_casualsuit01", "male_casualsuit03"),
}  # fmt: skip
HAIR = {
    "male": ("short01", "short03", "short04", "afro01"),
    "female": ("bob01", "bob02", "long01", "afro01", "short03"),
}
SKINS = ("middleage_african", "middleage_asian", "middleage_caucasian", "old_african", "old_asian", "old_caucasian", "young_caucasian")  # fmt: skip


# --- drawn, on the GPU -----------------------------------------------------------------------------------------------------
class Figures:
    """The people and motions of a file, posed and drawn in batches."""

    def __init__(self, file: Path, device: str) -> None:
        with np.load(file) as kept:
            table = {name: torch.from_numpy(kept[name]).to(device) for name in kept.files}
        self.rest, self.normal = table["rest"].float() / 8192, table["normal"].float() / 127  # [C, P, 3]
        self.bone, self.weight = table["bone"].long(), table["weight"].float() / 255  # [C, P, 4]
        self.colour, self.part = table["colour"].float() / 255, table["part"].long()  # [C, P, 3], [C, P]
        self.head, self.tall = table["head"], table["tall"]  # [C, B, 3], [C]
        self.turn, self.walks = _matrices(table["turn"].float()), table["walks"]  # [M, FRAMES, B, 3, 3], [M]
        place = partial(torch.tensor, device=device)
        self._levels = [(place(bones), place(parents)) for bones, parents in _levels(table["parent"].tolist())]

    @torch.no_grad()
    def drawn(
        self, window: Tensor, x: Tensor, top: Tensor, high: Tensor, size: int, light: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a person a scene, colour (times alpha) and alpha, [N, T, 3 or 1, S, S].

        Args:
            window: [N, T, 4], of data.Camera.
            x: [N, T], where each stands in the scene.
            top, high: [N], in the scene's pixels.
            light: [N, 8], as tools/nano's renderer takes it.
        """
        order = high.argsort()
        back = order.argsort()
        window, x, top, high, light = (v[order] for v in (window, x, top, high, light))
        batch = 16
        pieces = [
            self._drawn(*(v[k : k + batch] for v in (window, x, top, high)), size, light[k : k + batch])
            for k in range(0, len(x), batch)
        ]
        return torch.cat([p[0] for p in pieces])[back], torch.cat([p[1] for p in pieces])[back]

    def _drawn(self, window: Tensor, x: Tensor, top: Tensor, high: Tensor, size: int, light: Tensor):
        count, frames = x.shape
        device = x.device
        who = torch.randint(len(self.rest), (count,), device=device)
        place, normal = self._posed(who, x, high)
        colour = self._dyed(who)
        scale = (high / self.tall[who]).view(-1, 1, 1)
        depth = place[..., 1]
        near = scale * 5 / (5 + depth)
        px = (x.unsqueeze(-1) + near * place[..., 0] - window[..., 0:1]) / window[..., 2:3]
        py = (top.view(-1, 1, 1) + near * (self.tall[who].view(-1, 1, 1) - place[..., 2]) - window[..., 1:2]) / window[
            ..., 3:4
        ]
        hair = (self.part[who] == PARTS["hair"]).unsqueeze(1)
        seen = (normal[..., 1] < 0.15) | hair
        seen &= (px > -4) & (px < size + 4) & (py > -4) & (py < size + 4)
        frame, point = seen.flatten(0, 1).nonzero(as_tuple=True)
        px, py, depth = (v.flatten(0, 1)[frame, point] for v in (px, py, depth))
        metre = (scale / window[..., 2:].mean(-1, keepdim=True)).flatten()[frame]  # in pixels
        apart = float((high / window[:, 0, 2:].mean(-1)).max()) / 240  # of neighbouring points, in pixels
        more = 1 + sum(apart > limit for limit in (0.9, 1.3, 1.7, 2.1, 2.5))  # rings of pixels to fill
        empty = 2**31 - 1
        best = torch.full((count * frames * size * size,), empty, dtype=torch.int32, device=device)
        left, above = px.floor().long(), py.floor().long()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                col, row = left + dx, above + dy
                off = ((col + 0.5 - px) ** 2 + (row + 0.5 - py) ** 2).sqrt()
                deep = ((depth + 0.8 * off / metre + 2) * 4000).clamp(0, 2**16 - 2).int()
                inside = ((col >= 0) & (col < size) & (row >= 0) & (row < size) & (off < 1.5)).nonzero()[:, 0]
                at = ((frame * size + row) * size + col)[inside]
                best.scatter_reduce_(0, at, (deep * 2**15 + point.int())[inside], "amin")
        best = best.view(count * frames, 1, size, size).double()

        def least(keys, reach):
            return -F.max_pool2d(-keys, 2 * reach + 1, 1, reach)

        through = best - least(best, more) > 0.07 * 4000 * 2**15  # seen between the points of a nearer surface
        best = torch.where(through, float(empty), best)
        for _ in range(more):
            best = torch.where(best < empty, best, least(best, 1))
        best = best[:, 0].long()
        hit, grown = best < empty, more + 1
        solid = -F.max_pool2d(-F.pad(hit.float()[:, None], (grown,) * 4, value=1.0), 2 * grown + 1, 1)
        alpha = 0.5 * solid + 0.5 * F.avg_pool2d(solid, 3, 1, 1)
        point = torch.where(hit, best % 2**15, 0).flatten(1).unsqueeze(-1).expand(-1, -1, 3)
        n = normal.flatten(0, 1).gather(1, point)
        n = torch.where(n[..., 1:2] > 0, -n, n)  # hair has two sides
        shade = colour.repeat_interleave(frames, 0).gather(1, point)
        lit = light.repeat_interleave(frames, 0)[:, None]
        across = torch.stack([n[..., 0], -n[..., 2], n[..., 1]], -1)  # right, down, away
        bright = lit[..., 3] + lit[..., 4] * (across * lit[..., :3]).sum(-1).clamp(min=0)
        shade = (shade * bright.unsqueeze(-1) * lit[..., 5:]).clamp(0, 1)
        shade = shade.mT.reshape(count, frames, 3, size, size)
        alpha = alpha.view(count, frames, 1, size, size)
        return shade * alpha, alpha

    def _posed(self, who: Tensor, x: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return places and normals, [N, T, P, 3]: x to the right, y away, z up, standing on 0."""
        count, frames = x.shape
        device = x.device
        speed = (x[:, -1] - x[:, 0]) / high
        walkers, others = self.walks.nonzero()[:, 0], (~self.walks).nonzero()[:, 0]

        def some(rows):
            return rows[torch.randint(len(rows), (count,), device=device)]

        motion = torch.where(
            (speed.abs() > 0.2) & (torch.rand(count, device=device) < 0.85), some(walkers), some(others)
        )
        stride = torch.randint(1, 4, (count, 1), device=device)
        t = (torch.randint(FRAMES, (count, 1), device=device) + stride * torch.arange(frames, device=device)) % (
            2 * FRAMES - 2
        )
        t = torch.where(t < FRAMES, t, 2 * FRAMES - 2 - t)
        turn = self.turn[motion[:, None], t]  # [N, T, B, 3, 3]
        spin = torch.where(
            torch.rand(count, device=device) < 0.25, (torch.rand(count, device=device) - 0.5) * 6.28, 0.0
        )
        c, s, o = spin.cos(), spin.sin(), torch.zeros_like(spin)
        turn = torch.stack([c, -s, o, s, c, o, o, o, o + 1], -1).view(count, 1, 1, 3, 3) @ turn
        head = self.head[who]
        at = torch.zeros(count, frames, head.shape[1], 3, device=device)
        for bones, parents in self._levels:
            step = (head[:, bones] - head[:, parents]).unsqueeze(1).unsqueeze(-1)
            at[:, :, bones] = at[:, :, parents] + (turn[:, :, parents] @ step)[..., 0]
        shift = at - (turn @ head[:, None, :, :, None])[..., 0]
        table = torch.cat([turn.flatten(-2), shift], -1)  # [N, T, B, 12]
        bone, weight = self.bone[who], self.weight[who]
        mixed = 0
        for k in range(4):
            index = bone[:, None, :, k, None].expand(-1, frames, -1, 12)
            mixed = mixed + weight[:, None, :, k, None] * table.gather(2, index)
        matrix = mixed[..., :9].unflatten(-1, (3, 3))
        place = (matrix * self.rest[who][:, None, :, None]).sum(-1) + mixed[..., 9:]
        normal = (matrix * self.normal[who][:, None, :, None]).sum(-1)
        place[..., 2] -= place[..., 2].amin(-1, keepdim=True)
        mirror = torch.where(speed.abs() > 0.2, torch.where(speed * turn[:, 0, 0, 0, 1] * -1 < 0, -1.0, 1.0), 1.0).view(
            -1, 1, 1
        )
        place[..., 0], normal[..., 0] = place[..., 0] * mirror, normal[..., 0] * mirror
        return place, F.normalize(normal, dim=-1)

    def _dyed(self, who: Tensor) -> Tensor:
        """Return the points' colours, [N, P, 3]: most garments and some hair are dyed."""
        count, device = len(who), who.device
        colour, part = self.colour[who], self.part[who]
        for number, share in ((1, 0.8), (2, 0.65), (3, 0.6), (4, 0.5)):
            mine = part == number
            grey = colour.mean(-1)
            level = (grey * mine).sum(1, keepdim=True) / mine.sum(1, keepdim=True).clamp(min=1)
            new = (
                colours(count, str(device))[:, None] * (grey / level.clamp(min=0.02)).clamp(0, 2.5).unsqueeze(-1) ** 0.8
            )
            dyed = mine & (torch.rand(count, 1, device=device) < share)
            colour = torch.where(dyed.unsqueeze(-1), new, colour)
        skin = 1 + 0.25 * (torch.rand(count, 1, 3, device=device) - 0.5) * (part == 0).unsqueeze(-1)
        return (colour * skin).clamp(0, 1)


def _matrices(q: Tensor) -> Tensor:
    """Return rotations [..., 3, 3] of quaternions [..., 4], x, y, z, w."""
    x, y, z, w = F.normalize(q, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
            2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def _levels(parent: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return bones and their parents, by distance from the root."""
    depth = [0] * len(parent)
    for k, p in enumerate(parent):
        depth[k] = 0 if p < 0 else depth[p] + 1
    found = [[k for k, d in enumerate(depth) if d == level] for level in range(1, max(depth) + 1)]
    return [(bones, [parent[k] for k in bones]) for bones in found]


# --- made, on a CPU --------------------------------------------------------------------------------------------------------
def character(R: Any, roots: dict[str, str], seed: int) -> dict[str, np.ndarray]:
    """Return one dressed person as points."""
    rng, pick = np.random.default_rng(seed), random.Random(seed)
    sex = pick.choice(("male", "female"))
    more = {
        "torso__torso_scale_horiz_incr": pick.uniform(0, 0.4),
        "torso__measure_shoulder_dist_decr": pick.uniform(0, 0.8),
        "head__head_scale_vert_incr": pick.uniform(0, 0.3),
    }
    shape = R.macro(
        sex,
        age=pick.choice(("young", "young", "old")),
        muscle=pick.choice(("averagemuscle", "minmuscle", "maxmuscle")),
        weight=pick.choice(("averageweight", "averageweight", "minweight", "maxweight")),
        race=pick.choice(("caucasian", "african", "asian")),
        height=pick.uniform(-0.3, 0.3),
        ideal=pick.uniform(0, 0.9),
    )
    data = Path(roots["mpfb"]) / "targets"
    shape.update({k.replace("__", "/").replace("_", "-"): v for k, v in more.items()})
    shape = {k: v for k, v in shape.items() if (data / f"{k}.target.gz").is_file()}
    body = R.Body(roots, shape)
    garments = [
        R.Garment(body, roots, f"clothes/{pick.choice(TOPS[sex])}"),
        R.Garment(body, roots, f"clothes/shoes0{pick.randint(1, 4)}"),
    ]
    garments.append(R.Garment(body, roots, f"hair/{pick.choice(HAIR[sex])}"))
    garments += [
        R.Garment(body, roots, f"eyebrows/eyebrow00{pick.choice((1, 2, 3, 4))}"),
        R.Garment(body, roots, "eyes/HighPolyEyes"),
    ]
    skin = pick.choice(SKINS)
    skin = pick.choice([p for p in sorted((Path(roots["mh"]) / "skins" / f"{skin}_{sex}" / "textures").glob("*.png"))
                        if "suit" not in p.name and p.name != "young_lightskinned_male_diffuse2.png"])  # fmt: skip
    hidden = garments[0].hides | garments[1].hides
    verts = body.base
    pieces = [_piece(verts, body.weights, body.faces, body.corners, body.uvs, str(skin), "skin", rng, POINTS, hidden)]
    for g, part in zip(garments, ("shirt", "shoes", "hair", "hair", "skin"), strict=True):
        image = g.texture("diffuse") or next(iter(sorted(map(str, Path(g.folder).glob("textures/*.png")))), None)
        pieces.append(
            _piece(
                g.fit(body.base), g.weights, g.faces, g.corners, g.uvs, image, part, rng, POINTS, None, g.texture("ao")
            )
        )
    merged = {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}
    share = merged.pop("area") / merged["kept"]
    merged.pop("kept")
    chosen = rng.choice(len(share), POINTS, replace=False, p=share / share.sum())
    merged = {k: v[chosen] for k, v in merged.items()}
    legs = {body.index[b] for b in body.names if b.startswith(("upperleg", "lowerleg", "foot", "pelvis"))}
    lower = np.isin(merged["bone"][:, 0], list(legs)) | (
        merged["rest"][:, 2] < body.at("upperleg01.L")[2] * 1.06 * 8192
    )
    arms = np.isin(
        merged["bone"][:, 0],
        [i for i, b in enumerate(body.names) if b.startswith(("wrist", "lowerarm", "upperarm", "finger"))],
    )
    merged["part"][(merged["part"] == PARTS["shirt"]) & lower & ~arms] = PARTS["trousers"]
    return {**merged, "head": body.head.astype(np.float32), "tall": np.float32(verts[:13380, 2].max()),
            "parent": np.array(body.parent, np.int16)}  # fmt: skip


def _piece(verts, weights, faces, corners, uvs, image, part, rng, count, hidden, ao=None) -> dict[str, np.ndarray]:
    """Return random points of a mesh with their share of its area; where the texture is transparent, none."""
    import cv2

    pairs = [(f, c) for f, c in zip(faces, corners, strict=True) if hidden is None or not hidden[f].all()]
    tri = np.array([t for f, _ in pairs for t in ((f[0], f[1], f[2]), (f[0], f[2], f[3]))[: len(f) - 2]])
    uv = np.array([t for _, c in pairs for t in ((c[0], c[1], c[2]), (c[0], c[2], c[3]))[: len(c) - 2]])
    a, b, c = (verts[tri[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1) / 2
    smooth = np.zeros_like(verts)
    for k in range(3):
        np.add.at(smooth, tri[:, k], cross)
    order = np.searchsorted(
        np.cumsum(area) / area.sum(), (np.arange(count) + rng.random(count)) / count
    )  # spread evenly
    order = order.clip(max=len(tri) - 1)
    r = rng.random((count, 2))
    r = np.where(r.sum(1, keepdims=True) > 1, 1 - r, r)
    bary = np.stack([1 - r.sum(1), r[:, 0], r[:, 1]], 1)

    def mix(table, index):
        return (table[index[order]] * bary[..., None]).sum(1)

    where = mix(np.asarray(uvs), uv)
    texture = cv2.imread(image, cv2.IMREAD_UNCHANGED)
    texture = cv2.resize(texture, (1024, 1024), interpolation=cv2.INTER_AREA).astype(np.float32)
    if texture.ndim == 2:
        texture = np.repeat(texture[..., None], 3, 2)
    if ao:
        texture[..., :3] *= cv2.resize(cv2.imread(ao), (1024, 1024)).astype(np.float32) / 255
    col, row = (where[:, 0] % 1 * 1023).astype(int), ((1 - where[:, 1]) % 1 * 1023).astype(int)
    texel = texture[row, col]
    solid = texel[:, 3] > 100 if texel.shape[1] == 4 else np.ones(count, bool)
    normal = mix(smooth, tri)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    heavy = mix(weights, tri)
    bone = np.argsort(-heavy, 1)[:, :4]
    heavy = np.take_along_axis(heavy, bone, 1)
    heavy /= np.maximum(heavy.sum(1, keepdims=True), 1e-6)
    found = {
        "rest": (mix(verts, tri) * 8192).round().clip(-32767, 32767).astype(np.int16),
        "normal": (normal * 127).round().astype(np.int8),
        "bone": bone.astype(np.uint8),
        "weight": (heavy * 255).round().astype(np.uint8),
        "colour": texel[:, 2::-1].clip(0, 255).astype(np.uint8),
        "part": np.full(count, PARTS[part], np.uint8),
        "area": np.full(count, area.sum()),
        "kept": np.full(count, float(count)),
    }
    return {k: v[solid] for k, v in found.items()}


def motion(R: Any, body: Any, seed: int) -> tuple[np.ndarray, bool]:
    """Return the bones' rotations over FRAMES frames, [FRAMES, B, 4], and whether it walks."""
    from scipy.spatial.transform import Rotation

    pick = random.Random(seed)
    seconds, walks = 4.0, pick.random() < 0.4
    times = [k * seconds / 4 for k in range(5)]
    yaw = (
        pick.choice((-1, 1)) * pick.uniform(55, 100)
        if walks
        else pick.choice((0, 0, pick.uniform(-180, 180))) + pick.gauss(0, 15)
    )
    speed = pick.uniform(0.5, 1.3) if walks else 0.0
    ahead = R.euler(yaw) @ np.array([0, -1.0, 0])
    drift = 0.15 if not walks else 0.0
    root = [(t, (*(ahead[:2] * speed * t + [pick.uniform(-drift, drift), 0]), yaw + pick.gauss(0, 5))) for t in times]
    if walks:
        names = ("swing_f", "swing_b")
        arms = [
            [(k * 0.5, names[(k + s) % 2] if pick.random() < 0.9 else pick.choice(list(R.ARM))) for k in range(9)]
            for s in (0, 1)
        ]
    else:
        arms = [[(t + pick.uniform(0, 0.4), pick.choice(list(R.ARM))) for t in times] for _ in (0, 1)]
    lean = pick.choice((0, 0, 0, pick.uniform(5, 35)))
    clip = {
        "root": root, "gait": walks, "arm_R": arms[0], "arm_L": arms[1], "blinks": (), "talk": [(0, 0)], "smile": [(0, 0)],
        "chest": [(t, (pick.gauss(0, 8), lean + pick.gauss(0, 3), pick.gauss(0, 4))) for t in times],
        "head": [(t, (pick.gauss(0, 20), pick.gauss(0, 6), pick.gauss(0, 4))) for t in times],
    }  # fmt: skip
    turns = [Rotation.from_matrix(R.pose(body, clip, k * seconds / FRAMES)[0]).as_quat() for k in range(FRAMES)]
    return np.stack(turns).astype(np.float16), walks


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--assets", type=Path, required=True, help="render_sample.py's cache")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--people", type=int, default=36)
    options.add_argument("--motions", type=int, default=160)
    args = options.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import render_sample as R

    roots = R.fetch(args.assets)
    people = [character(R, roots, SEED * 1000 + k) for k in range(args.people)]
    print(f"{len(people)} people", flush=True)
    body = R.Body(roots, R.macro("male"))
    motions = [motion(R, body, SEED * 7000 + k) for k in range(args.motions)]
    table = {name: np.stack([p[name] for p in people]) for name in people[0] if name != "parent"}
    table.update(
        parent=people[0]["parent"], turn=np.stack([m[0] for m in motions]), walks=np.array([m[1] for m in motions])
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **table)
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MiB", {k: v.shape for k, v in table.items()})


if __name__ == "__main__":
    main()
