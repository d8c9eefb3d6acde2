"""People of skinned triangles: bones from nano's pose vectors, key points, pictures. mesh.c does the work per vertex.

A person here is a dict like people.random_identity's: `who` [B] is the row in the file, the rest are its colours. World as
in people.py: X to the person's left, Y up, Z to the camera, one unit = one body height.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from . import people as P

HERE = Path(__file__).parent
PARTS, SHAPES, BONES = 7, 9, 64
SIDES = (("R", -1.0, 14, 32), ("L", 1.0, 23, 36))  # side, sign of X, where arm and leg start in the pose vector
ARM = ("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")
FINGERS = tuple(f"finger{f}-{k}" for f in range(1, 6) for k in (1, 2, 3))
NAMES = (
    *("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head", "eye.R", "eye.L"),
    *(f"{bone}.{side}" for side in "RL" for bone in (*ARM, *FINGERS, "upperleg01", "lowerleg01", "foot")),
)  # fmt: skip
INDEX = {name: k for k, name in enumerate(NAMES)}
COCO_TO_DRAWN = {0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15, 14: 2, 15: 1, 16: 4, 17: 3}  # fmt: skip


class _People(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in (
        "rest", "normal", "bone", "weight", "colour", "part", "shape", "delta", "tri",
        "rest_start", "delta_start", "tri_start", "rest_count", "tri_count", "eyes")]  # fmt: skip


class _Scene(ctypes.Structure):
    _fields_ = [
        *(
            (n, ctypes.c_void_p)
            for n in ("who", "bones", "weights", "camera", "look", "light", "posed", "nearest", "out")
        ),
        *((n, ctypes.c_int) for n in ("most", "width", "height", "ss")),
    ]


@functools.lru_cache
def library(gpu: bool) -> ctypes.CDLL:
    """Return mesh.c, compiled on first use."""
    built = Path(os.environ.get("NANO_BUILD", "/tmp/nano_build")) / f"mesh_{'gpu' if gpu else 'cpu'}.so"
    if not built.is_file() or built.stat().st_mtime < (HERE / "mesh.c").stat().st_mtime:
        built.parent.mkdir(parents=True, exist_ok=True)
        new = built.with_suffix(f".{os.getpid()}")
        how = ["nvcc", "-O3", "-arch=sm_90", "-x", "cu", "-DGPU", "-Xcompiler", "-fPIC"] if gpu else [
            "g++", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC", "-x", "c++"]  # fmt: skip
        subprocess.run([*how, "-shared", "-o", str(new), str(HERE / "mesh.c")], check=True)
        new.rename(built)
    return ctypes.CDLL(str(built))


class People:
    """The people of a file, on a device. `some` are the rows that may be drawn by chance."""

    def __init__(self, file: str | Path, device: str, some: slice = slice(None)) -> None:
        with np.load(file) as kept:
            table = {n: kept[n] for n in kept.files}
        table["tri"] = table["tri"].view(np.int16)  # uint16, which torch has little for
        self.t = {n: torch.from_numpy(np.ascontiguousarray(v)).to(device) for n, v in table.items()}
        starts = {n: np.cumsum([0, *table[f"{n}_count"][:-1]]) for n in ("rest", "delta", "tri")}
        self.t.update({f"{n}_start": torch.from_numpy(v).int().to(device) for n, v in starts.items()})
        for n in ("rest_count", "tri_count"):
            self.t[n] = self.t[n].int()
        self.device, self.gpu = device, torch.device(device).type == "cuda"
        self.rows = torch.arange(len(self.t["head"]), device=device)[some]
        self.most, self.triangles = int(table["rest_count"].max()), int(table["tri_count"].max())
        self.parent = table["parent"].tolist()
        self._people = _People(*(self.t[n].data_ptr() for n, _ in _People._fields_))

    # --- looks ----------------------------------------------------------------------------------------------------------
    def random_identity(self, count: int) -> dict[str, torch.Tensor]:
        """Return people by chance: which, and how they are dyed."""
        dev = self.device
        who = self.rows[torch.randint(len(self.rows), (count,), device=dev)]
        look = torch.zeros(count, PARTS, 7, device=dev)
        look[:, :, :3] = 1
        for part, share in ((1, 0.85), (2, 0.7), (3, 0.7), (4, 0.75)):
            dyed = torch.rand(count, 1, device=dev) < share
            colour = _hair(count, dev) if part == 4 else _cloth(count, dev)
            look[:, part, :3] = torch.where(dyed, 0.0, 1.0)
            look[:, part, 3:6] = torch.where(dyed, colour, torch.zeros_like(colour))
        tone = 1 + P.U((count, 1), -0.1, 0.35, dev) + P.U((count, 3), -0.06, 0.06, dev)
        look[:, 0, :3] = tone
        look[:, :, 6] = 255 / self.t["grey"][who].clamp(min=5)
        kind = torch.randint(0, 8, (count,), device=dev).float()
        kind = torch.where(kind > 4, torch.zeros_like(kind), kind)
        wide = torch.where(kind == 4, P.U((count,), 0.9, 1.2, dev), P.U((count,), 6.0, 15.0, dev))
        iris = P.hsv(P.U((count,), 0.05, 0.65, dev), P.U((count,), 0.3, 0.7, dev), P.U((count,), 0.12, 0.6, dev))
        radius = P.U((count, 1), 0.52, 0.66, dev)
        more = torch.cat([kind[:, None], wide[:, None], _cloth(count, dev), iris, radius, radius * P.U((count, 1), 0.4, 0.55, dev), radius], 1)  # fmt: skip
        size = torch.stack([P.U((count,), 0.85, 1.2, dev), P.U((count,), 0.9, 1.1, dev)], 1)  # head; width
        return {"who": who, "look": torch.cat([look.flatten(1), more], 1), "tall": 1.03 * torch.ones(count, device=dev),
                "size": size, "hr": self._head_radius()[who] * size[:, 0], "arml": torch.full((count,), 0.33, device=dev)}  # fmt: skip

    def _head_radius(self) -> torch.Tensor:
        """Return half the height of a face's box at rest, [C]; the head's is about 1.35 of it."""
        edge = _rest_points(self.t["points"])[:, 19:]
        return (edge[..., 1].amax(1) - edge[..., 1].amin(1)) * 0.5 * 1.35

    # --- bones ----------------------------------------------------------------------------------------------------------
    def bones(self, i: dict[str, torch.Tensor], p: torch.Tensor) -> torch.Tensor:
        """Return each bone's matrix, rest to world, [B, T, BONES, 3, 4], of poses p [B, T, 48], standing on Y = 0."""
        who, (B, T) = i["who"], p.shape[:2]
        head, tail = self.t["head"][who], self.t["tail"][who]  # [B, N, 3]
        R = self._turns(head, tail, p)
        at = torch.zeros(B, T, len(NAMES), 3, device=p.device)
        for k, parent in enumerate(self.parent):
            step = head[:, k] - head[:, parent] if parent >= 0 else head[:, k]
            at[:, :, k] = (
                step[:, None]
                if parent < 0
                else at[:, :, parent] + P.mv(R[:, :, parent], step[:, None].expand(-1, T, -1))
            )
        feet = [INDEX[f"foot.{s}"] for s in "RL"]
        toes = P.mv(R[:, :, feet], (tail - head)[:, None, feet].expand(-1, T, -1, -1)) + at[:, :, feet]
        low = torch.minimum((at[:, :, feet] - head[:, None, feet])[..., 1], (toes - tail[:, None, feet])[..., 1]).amin(
            2
        )
        shift = torch.stack([p[..., 3] - at[:, :, 0, 0], -low, p[..., 4] - at[:, :, 0, 2]], -1)
        at = at + shift[:, :, None]
        factor = torch.ones(B, 1, len(NAMES), 1, device=p.device)
        factor[:, 0, 9:12, 0] = i["size"][:, :1]
        at[:, :, 10:12] = at[:, :, 9:10] + factor[:, :, 9:10] * (at[:, :, 10:12] - at[:, :, 9:10])
        R = R * factor.unsqueeze(-1)
        moved = at - P.mv(R, head[:, None].expand(-1, T, -1, -1))
        bones = torch.cat([R, moved.unsqueeze(-1)], -1)
        wide = torch.ones(B, 1, 1, 3, 1, device=p.device)
        wide[:, 0, 0, 0, 0] = i["size"][:, 1]
        return bones * wide

    def _turns(self, head: torch.Tensor, tail: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        """Return the bones' rotations in the world, [B, T, BONES, 3, 3]."""
        turn = [None] * len(NAMES)
        pelvis = P.rot("y", p[..., 0]) @ P.rot("x", p[..., 1]) @ P.rot("z", p[..., 2])
        part = lambda base, q, k: (
            base @ P.rot("y", p[..., k] * q) @ P.rot("x", p[..., k + 1] * q) @ P.rot("z", p[..., k + 2] * q)
        )
        turn[0] = pelvis
        for k in range(5):
            turn[1 + k] = part(pelvis, 0.2 * (k + 1), 5)
        chest = turn[5]
        for k, q in enumerate((0.15, 0.3, 0.45, 1.0)):
            turn[6 + k] = part(chest, q, 8)
        eyes = turn[9] @ P.rot("y", 0.5 * p[..., 42]) @ P.rot("x", -0.35 * p[..., 43])
        turn[10] = turn[11] = eyes
        for side, sign, arm, leg in SIDES:
            self._arm(turn, head, tail, p[..., arm : arm + 9], side, sign, chest)
            self._leg(turn, head, tail, p[..., leg : leg + 4], side, sign, pelvis)
        return torch.stack(turn, 2)

    def _arm(
        self,
        turn: list,
        head: torch.Tensor,
        tail: torch.Tensor,
        a: torch.Tensor,
        side: str,
        sign: float,
        chest: torch.Tensor,
    ) -> None:
        at = lambda bone, ends=head: ends[:, INDEX[f"{bone}.{side}"]][:, None]
        el, az, fl, tw, inn, wa, wb, curl, spread = a.unbind(-1)
        d = torch.stack([sign * el.sin() * az.cos(), -el.cos(), el.sin() * az.sin()], -1)
        across = lambda v, u: P.unit(v - (v * u).sum(-1, keepdim=True) * u)
        b = across(torch.stack([-sign * inn, tw.sin(), tw.cos()], -1), d)
        f = fl.cos().unsqueeze(-1) * d + fl.sin().unsqueeze(-1) * b
        b2 = across(b, f)
        n = b2 * wb.cos().unsqueeze(-1) + torch.linalg.cross(f, b2) * wb.sin().unsqueeze(-1)  # out of the palm
        h = P.unit(f + wa.unsqueeze(-1) * n)
        n = across(n, h)
        hinge = torch.linalg.cross(d, b)
        u0, f0 = P.unit(at("lowerarm01") - at("upperarm01")), P.unit(at("wrist") - at("lowerarm01"))
        middle = at("finger3-1")
        h0 = P.unit(middle - at("wrist"))
        p0 = sign * P.unit(torch.linalg.cross(at("finger2-1") - at("wrist"), at("finger5-1") - at("wrist")))
        curled = ((at("finger3-3", tail) - middle) * p0).sum(-1, keepdim=True)
        p0 = across(torch.where(curled < 0, -p0, p0), h0)
        hinge0 = P.unit(torch.linalg.cross(u0, f0))
        upper = chest @ _frame(d, hinge) @ _frame(u0, hinge0).mT
        fore = chest @ _frame(f, hinge) @ _frame(f0, hinge0).mT
        hand = chest @ _frame(h, n) @ _frame(h0, p0).mT
        swing = chest @ _between(u0.expand_as(d), d)
        raised = (d[..., 1].clamp(-1, 1).asin() + 1.05).clamp(min=0)  # 0 when the arm hangs
        turn[INDEX[f"clavicle.{side}"]] = chest @ P.rot("z", sign * (0.15 * raised - 0.07))
        turn[INDEX[f"shoulder01.{side}"]] = chest @ _power(chest.mT @ swing, 0.28)
        turn[INDEX[f"upperarm01.{side}"]] = swing @ _power(swing.mT @ upper, 0.5)
        turn[INDEX[f"upperarm02.{side}"]] = upper
        twist = _twist(fore.mT @ hand, f0.expand_as(d))
        for bone, q in (("lowerarm01", 0.2), ("lowerarm02", 0.65)):
            turn[INDEX[f"{bone}.{side}"]] = fore @ _about(f0.expand_as(d), twist * q)
        turn[INDEX[f"wrist.{side}"]] = hand
        axis = torch.linalg.cross(h0, p0).expand_as(d)
        fan = torch.linalg.cross(h0, at("finger2-1") - at("finger5-1"))
        fan = torch.sign((fan * p0).sum(-1, keepdim=True)) * p0.expand_as(d)
        for finger in range(2, 6):
            so_far = hand @ _about(fan, 1.5 * spread * (0.28 * (3.5 - finger)))
            for k, (q, o) in enumerate(((0.85, -0.1), (0.95, -0.1), (0.6, -0.05))):
                so_far = so_far @ _about(axis, q * curl + o)
                turn[INDEX[f"finger{finger}-{k + 1}.{side}"]] = so_far
        so_far = hand
        for k, q in enumerate((0.15, 0.4, 0.5)):
            so_far = so_far @ _about(axis, q * curl)
            turn[INDEX[f"finger1-{k + 1}.{side}"]] = so_far

    def _leg(
        self,
        turn: list,
        head: torch.Tensor,
        tail: torch.Tensor,
        a: torch.Tensor,
        side: str,
        sign: float,
        pelvis: torch.Tensor,
    ) -> None:
        at = lambda bone, ends=head: ends[:, INDEX[f"{bone}.{side}"]][:, None]
        ahead, apart, knee, toe = a.unbind(-1)
        d = torch.stack([sign * apart.sin(), -ahead.cos() * apart.cos(), ahead.sin() * apart.cos()], -1)
        back = torch.tensor([0.0, 0, -1], device=a.device).expand_as(d)
        b = P.unit(back - (back * d).sum(-1, keepdim=True) * d)
        f = knee.cos().unsqueeze(-1) * d + knee.sin().unsqueeze(-1) * b
        hinge = torch.linalg.cross(d, b)
        left = torch.tensor([1.0, 0, 0], device=a.device).expand_as(d)
        toward = P.unit(torch.stack([sign * (0.15 + 0.3 * toe), torch.full_like(toe, -0.22), torch.ones_like(toe)], -1))
        for bone, end, u, v in (("upperleg01", "lowerleg01", d, hinge), ("lowerleg01", "foot", f, hinge)):
            u0 = P.unit(at(end) - at(bone)).expand_as(d)
            turn[INDEX[f"{bone}.{side}"]] = pelvis @ _frame(u, v) @ _frame(u0, left).mT
        foot0 = P.unit(at("foot", tail) - at("foot")).expand_as(d)
        toward = torch.cat([toward[..., :1], foot0[..., 1:2] / foot0[..., 2:3].clamp(min=0.3), toward[..., 2:]], -1)
        turn[INDEX[f"foot.{side}"]] = pelvis @ _frame(P.unit(toward), left) @ _frame(foot0, left).mT

    # --- points and pictures --------------------------------------------------------------------------------------------
    def joints(self, i: dict[str, torch.Tensor], bones: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return places in the world: what people.fk names, `coco` [B, T, 19, 3] and `edge` [B, T, 10, 3] of the face."""
        who = i["who"]
        points = torch.einsum("btnrc,bknc->btkr", bones, self.t["points"][who])
        edge = points[:, :, 19:] + P.mv(
            bones[:, :, INDEX["head"], None, :, :3], torch.einsum("bte,bkec->btkc", weights, self.t["edge"][who])
        )
        at = lambda name, ends="head": (
            P.mv(
                bones[:, :, INDEX[name], :, :3], self.t[ends][who][:, None, INDEX[name]].expand(-1, bones.shape[1], -1)
            )
            + bones[:, :, INDEX[name], :, 3]
        )
        j = {"coco": points[:, :, :19], "edge": edge, "Rh": F.normalize(bones[:, :, INDEX["head"], :, :3], dim=-2)}
        for side in "RL":
            fingers = [at(f"finger{f}-{k}.{side}") for f in range(1, 6) for k in (1, 2, 3)]
            tips = [at(f"finger{f}-3.{side}", "tail") for f in range(1, 6)]
            hand = [at(f"wrist.{side}")]
            for f in range(5):
                hand += [*fingers[3 * f : 3 * f + 3], tips[f]]
            j["hand" + side] = torch.stack(hand, 2)
            j["palm" + side] = 0.5 * (hand[0] + hand[9])
            j["kn" + side] = at(f"lowerleg01.{side}")
        j["head"] = edge.mean(2)
        j["spine"] = at("spine03")
        return j

    def render(self, i, bones, weights, cam, light, H, W, ss=2, window=None):
        """Return premultiplied colours [F, 3, H, W] and alpha [F, 1, H, W], F = B * T.

        Args:
            bones, weights: of `bones` and `shape_weights`.
            cam, light: of people.random_camera and random_light, a clip each.
            window: [F, 4], x0 y0 dx dy: pixel k covers x0 + dx k; the picture if None.
        """
        B, T = bones.shape[:2]
        frames, dev = B * T, bones.device
        each = lambda v: v[:, None].expand(B, T, *v.shape[1:]).reshape(frames, *v.shape[1:]).float().contiguous()
        window = torch.tensor([0.0, 0, 1, 1], device=dev).expand(frames, 4) if window is None else window
        camera = torch.cat([torch.stack([each(cam[k]) for k in ("s", "D", "x0", "yc", "y0")], 1), window.float()], 1)
        camera = torch.cat([camera, torch.zeros(frames, 1, device=dev)], 1).contiguous()
        who, look, light = each(i["who"]).int().contiguous(), each(i["look"]), each(light)
        mats = torch.zeros(frames, BONES, 12, device=dev)
        mats[:, : bones.shape[2]] = bones.reshape(frames, -1, 12)
        weights = weights.reshape(frames, SHAPES).float().contiguous()
        out = torch.empty(frames, 4, H, W, device=dev)
        lib, at = library(self.gpu), torch.cuda.current_device() if self.gpu else 0
        stream = torch.cuda.current_stream().cuda_stream if self.gpu else 0
        step = 512 if self.gpu else 17
        posed = torch.empty(min(step, frames), self.most, 6, device=dev)
        nearest = torch.empty(min(step, frames), H * ss, W * ss, dtype=torch.int64, device=dev)
        for k in range(0, frames, step):
            n = min(step, frames - k)
            nearest.fill_(-1)
            each = [v[k : k + n] for v in (who, mats, weights, camera, look, light)]
            scene = _Scene(
                *(v.data_ptr() for v in each),
                posed.data_ptr(),
                nearest.data_ptr(),
                out[k:].data_ptr(),
                self.most,
                W,
                H,
                ss,
            )
            for name, most in (("pose", self.most), ("raster", self.triangles), ("shade", H * W)):
                code = getattr(lib, name)(self._people, scene, most, n, at, ctypes.c_void_p(stream))
                if code:
                    raise RuntimeError(f"mesh.c: {name} failed with CUDA error {code}")
        return out[:, :3], out[:, 3:]


def keypoints(
    j: dict[str, torch.Tensor], cam: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what people.keypoints does: body [B, T, 20, 2], its scores, hands [B, T, 2, 21, 2] (left, right)."""
    c = j["coco"]
    points = [0.5 * (c[:, :, 5] + c[:, :, 6]) if k == 1 else c[:, :, COCO_TO_DRAWN[k]] for k in range(18)]
    points += [c[:, :, 17], c[:, :, 18]]  # toes, left and right
    body = P.project(cam, torch.stack(points, 2))[0][..., :2]
    hands = P.project(cam, torch.stack([j["handL"], j["handR"]], 2))[0][..., :2]
    return body, P.head_scores(j["Rh"]), hands


def shape_weights(e: torch.Tensor) -> torch.Tensor:
    """Return the facial shapes' weights [..., 9] of nano's eight numbers of an expression [..., 8].

    eyes open (image left, image right), gaze x, y, brow, mouth open, mouth wide, smile.
    """
    plus = lambda v, k: (v * k).clamp(0, 1.2)
    shut = [plus(1 - e[..., k], 1.0) for k in (0, 1)]
    return torch.stack([*shut, plus(e[..., 4], 0.9), plus(-e[..., 4], 0.9), plus(e[..., 5], 0.75), plus(e[..., 6], 0.6),
                        plus(-e[..., 6], 0.8), plus(e[..., 7], 0.9), plus(-e[..., 7], 1.5)], -1)  # fmt: skip


def _rest_points(points: torch.Tensor) -> torch.Tensor:
    """Return the key points' places at rest: all bones' matrices are the identity then, [C, K, 3]."""
    return points.sum(2)[..., :3]


def _cloth(count: int, dev: str) -> torch.Tensor:
    colour = P.hsv(P.U((count,), 0, 1, dev), P.U((count,), 0.3, 0.95, dev), P.U((count,), 0.25, 0.95, dev))
    grey = P.U((count, 1), 0.06, 0.95, dev).expand(count, 3)
    return torch.where(torch.rand(count, 1, device=dev) < 0.25, grey, colour)


def _hair(count: int, dev: str) -> torch.Tensor:
    hairs = torch.tensor(P.HAIRS, device=dev)[torch.randint(0, len(P.HAIRS), (count,), device=dev)]
    odd = P.hsv(P.U((count,), 0, 1, dev), P.U((count,), 0.5, 0.9, dev), P.U((count,), 0.4, 0.9, dev))
    return torch.where(torch.rand(count, 1, device=dev) < 0.08, odd, hairs * P.U((count, 1), 0.8, 1.3, dev))


# --- rotations ------------------------------------------------------------------------------------------------------------
def _frame(u: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Return orthonormal columns: u, the part of n across u, and their cross product."""
    u, n = torch.broadcast_tensors(P.unit(u), n)
    n = P.unit(n - (u * n).sum(-1, keepdim=True) * u)
    return torch.stack([u, n, torch.linalg.cross(u, n)], -1)


def _about(axis: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return rotations by angle [...] about unit axes [..., 3]."""
    x, y, z = axis.unbind(-1)
    o = torch.zeros_like(x)
    K = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))
    s, c = angle.sin()[..., None, None], angle.cos()[..., None, None]
    return torch.eye(3, device=axis.device) + s * K + (1 - c) * (K @ K)


def _vector(R: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return axis and angle of rotations."""
    v = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1)
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)
    return P.unit(v), torch.atan2(v.norm(dim=-1), trace - 1)


def _power(R: torch.Tensor, q: float) -> torch.Tensor:
    axis, angle = _vector(R)
    return _about(axis, angle * q)


def _twist(R: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """Return how far R turns about an axis, [...]."""
    v, angle = _vector(R)
    return ((v * axis).sum(-1) * angle).clamp(-math.pi, math.pi)


def _between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the smallest rotations that take a to b."""
    v = torch.linalg.cross(a, b)
    return _about(P.unit(v), torch.atan2(v.norm(dim=-1), (a * b).sum(-1)))
