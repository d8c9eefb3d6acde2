"""Render other bodies in other motions, for measuring what was tuned on the bundled clips.

    python render_pairs.py --out out --cache assets [name …]   # clips and images of CLIPS and STILLS, with their truth

Bodies of other proportions (a child, a stout old man, a tall thin woman, an athlete, a chibi with a head of twice the size), wide, square and
high images, people cut by the border, fast turns. `benchmarks/retarget.py --untuned out` measures retargeting over all pairs of
them, `benchmarks/faces.py` the face crops. Nothing in wanlab was chosen on them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import render_sample as sample
from render_sample import CHARACTERS, CLIPS, macro

CHARACTERS["tall"] = dict(
    CHARACTERS["woman2"],
    shape=macro(
        "female", weight="minweight", height=0.9, ideal=0.2,
        legs__measure_upperleg_height_incr=0.9, legs__measure_lowerleg_height_incr=0.9, arms__measure_lowerarm_length_incr=0.8,
    ),
    top="clothes/female_casualsuit01", shirt=(120, 40, 110), trousers=(40, 44, 60), shoes="clothes/shoes06",
)  # fmt: skip
CHARACTERS["child"] = dict(CHARACTERS["man"], shape=macro("male", age="child", height=-0.3), shirt=(60, 130, 60))
CHARACTERS["stout"] = dict(
    CHARACTERS["man"],
    shape=macro("male", age="old", weight="maxweight", height=-0.5, legs__measure_upperleg_height_decr=0.7),
    shirt=(90, 96, 150), hair_tint=(0.9, 0.9, 0.9),
)  # fmt: skip
CHARACTERS["athlete"] = dict(
    CHARACTERS["man"],
    shape=macro("male", muscle="maxmuscle", race="african", height=0.4, arms__measure_upperarm_length_incr=0.7),
    skin="young_african_male/textures/young_darkskinned_male_diffuse.png",
    hair_tint=(0.2, 0.17, 0.15), shirt=(230, 230, 225), trousers=(110, 90, 60),
)  # fmt: skip
CHARACTERS["chibi"] = dict(
    CHARACTERS["woman"],
    shape=macro(
        "female", age="child", height=-0.8,
        head__head_scale_vert_incr=2.6, head__head_scale_horiz_incr=2.6, head__head_scale_depth_incr=2.6,
        legs__measure_upperleg_height_decr=1.0, legs__measure_lowerleg_height_decr=1.0,
    ),
    shirt=(60, 170, 190),
)  # fmt: skip

CHARACTERS["lanky"] = dict(
    CHARACTERS["man"],
    shape=macro(
        "male", weight="minweight", height=0.7, ideal=0.1,
        arms__measure_upperarm_length_incr=0.8, arms__measure_lowerarm_length_incr=0.8, legs__measure_lowerleg_height_incr=0.6,
    ),
    shirt=(200, 170, 60), trousers=(50, 70, 60),
)  # fmt: skip
CHARACTERS["granny"] = dict(
    CHARACTERS["woman3"],
    shape=macro("female", age="old", weight="maxweight", race="asian", height=-0.7, ideal=0.1, torso__torso_scale_vert_incr=0.4),
    shirt=(150, 60, 60), trousers=(60, 60, 80), hair_tint=(0.9, 0.9, 0.92),
)  # fmt: skip
CHARACTERS["teen"] = dict(
    CHARACTERS["woman"],
    shape=macro("female", age="child", race="african", height=0.9),
    shirt=(230, 120, 40),
    trousers=(40, 60, 110),
)

STILL = dict(smile=[(0, 0.2)], talk=[(0, 0)], blinks=(), chest=[(0, (0, 0, 0))])
# name: character, size, motion
RENDERS = {
    "headless": ("tall", "384x640", dict(STILL, seconds=25 / 12)),
    "stretch": ("tall", "320x576", dict(
        STILL, seconds=25 / 12, lens=36, look_at=(0, 0, 1.06),
        root=[(0, (0, 0, -25)), (1, (0.05, 0, 20)), (2.1, (-0.05, 0, -10))],
        head=[(0, (10, 0, 0)), (1, (-15, 5, 8)), (2.1, (0, 0, 0))],
        arm_R=[(0, "down"), (0.5, "out"), (1.1, "wave_a"), (1.6, "hip"), (2.1, "out")],
        arm_L=[(0, "hip"), (0.6, "wave_a"), (1.2, "out"), (2.1, "chest")],
    )),
    "turning": ("child", "576x352", dict(
        STILL, seconds=25 / 12, lens=52, look_at=(0, 0, 0.62),
        root=[(0, (-0.35, 0, 75)), (0.7, (0, 0.1, 40)), (1.4, (0.3, 0, -60)), (2.1, (0.35, 0, -5))], gait=True,
        head=[(0, (0, 0, 0)), (1, (30, 0, 0)), (2.1, (-10, 0, 0))],
        arm_R=[(0, "swing_f"), (0.5, "swing_b"), (1, "swing_f"), (1.5, "open"), (2.1, "stop")],
        arm_L=[(0, "swing_b"), (0.5, "swing_f"), (1, "swing_b"), (1.5, "open2"), (2.1, "down")],
    )),
    "edge": ("stout", "448x448", dict(
        STILL, seconds=25 / 12, gait=True,
        root=[(0, (0.05, 0, -5)), (0.6, (0.3, 0, 50)), (1.2, (0.68, 0, 15)), (1.6, (0.66, 0, -30)), (2.1, (0.5, 0, -20))],
        head=[(0, (0, 0, 0)), (1, (-20, 0, 0)), (2.1, (15, 0, 0))],
        arm_R=[(0, "down"), (0.7, "wave_a"), (1.1, "wave_b"), (1.5, "open"), (2.1, "fist")],
        arm_L=[(0, "chest"), (0.8, "down"), (1.4, "out"), (2.1, "down2")],
    )),
    "close": ("chibi", "512x384", dict(
        STILL, seconds=25 / 12, lens=100, look_at=(0, 0, 0.75),
        root=[(0, (0.1, 0, 15)), (1, (-0.1, 0, -15)), (2.1, (0.05, 0, 5))],
        head=[(0, (-5, 0, 5)), (1, (20, 3, -5)), (2.1, (-12, 0, 0))],
        arm_R=[(0, "open"), (0.6, "wave_a"), (0.9, "wave_b"), (1.5, "down"), (2.1, "stop")],
        arm_L=[(0, "down"), (0.7, "fist"), (1.4, "stop"), (2.1, "open2")],
    )),
    "turns": ("athlete", "480x480", dict(
        STILL, seconds=49 / 16, lens=88, look_at=(0, 0, 1.42),
        root=[(0, (0, 0, 0)), (0.9, (-0.12, 0, 10)), (1.15, (0.14, 0, -15)), (2.0, (0.14, 0, -10)), (2.2, (-0.1, 0, 20)), (3, (0, 0, 0))],
        chest=[(0, (0, 0, 0)), (1.8, (0, 0, 0)), (2.1, (10, 6, 0)), (2.6, (-5, 0, 0)), (3, (0, 0, 0))],
        head=[
            (0, (0, 0, 0)), (0.3, (0, 0, 0)), (0.5, (55, 0, 0)), (0.75, (-55, 0, 0)), (1.0, (40, 8, 0)), (1.2, (-10, -8, 6)), (1.5, (0, 0, 0)),
            (1.75, (-60, 4, 0)), (1.95, (50, 0, -8)), (2.2, (-30, 10, 0)), (2.45, (25, -6, 0)), (3, (0, 0, 0)),
        ],
        arm_R=[(0, "down"), (1, "mid"), (2, "down"), (3, "down2")], arm_L=[(0, "down2"), (1.5, "open"), (3, "down")],
        talk=[(0, 0), (1.3, 0.4), (1.5, 0.1), (2.6, 0.5), (3, 0)],
    )),
}  # fmt: skip
RENDERS["headless"][2].update(
    {name: key for name, key in RENDERS["stretch"][2].items() if name not in ("lens", "look_at")}
)
RENDERS |= {
    "lanky_moves": ("lanky", "352x576", dict(
        STILL, seconds=25 / 12, lens=40, look_at=(0, 0, 1.0), gait=True,
        root=[(0, (0.2, 0.1, 20)), (0.8, (-0.2, 0, -50)), (1.4, (-0.25, 0, -10)), (2.1, (-0.2, 0, 15))],
        head=[(0, (0, 0, 0)), (1, (20, 0, 0)), (2.1, (-10, 5, 0))],
        arm_R=[(0, "chest"), (0.6, "swing_f"), (1.1, "wave_b"), (1.6, "stop"), (2.1, "down")],
        arm_L=[(0, "down"), (0.6, "out"), (1.2, "swing_b"), (2.1, "open")],
    )),
    "granny_half": ("granny", "512x320", dict(
        STILL, seconds=25 / 12, lens=84, look_at=(0, 0, 1.12),
        root=[(0, (-0.2, 0, 30)), (1, (0.1, 0, -20)), (2.1, (0.3, 0, -35))],
        head=[(0, (-15, 0, 0)), (1, (5, 6, 4)), (2.1, (15, 0, 0))],
        arm_R=[(0, "stop"), (0.7, "mid"), (1.3, "open"), (2.1, "fist")],
        arm_L=[(0, "open2"), (0.8, "chest"), (1.5, "wave_a"), (2.1, "down")],
    )),
}  # fmt: skip
POSED = dict(STILL, seconds=1 / 16, still=True, head=[(0, (5, 0, 0))])
RENDERS |= {
    "tall_out": ("tall", "320x560", dict(POSED, root=[(0, (0, 0, 12))], arm_R=[(0, "out")], arm_L=[(0, "wave_a")])),
    "child_wide": ("child", "512x320", dict(POSED, root=[(0, (0.25, 0, -30))], arm_R=[(0, "open")], arm_L=[(0, "down")])),
    "stout_up": ("stout", "416x416", dict(POSED, root=[(0, (0, 0, 5))], arm_R=[(0, "stop")], arm_L=[(0, "stop")])),
    "chibi_high": ("chibi", "320x448", dict(POSED, root=[(0, (0, 0, -15))], arm_R=[(0, "relax")], arm_L=[(0, "down")])),
    "chibi_wide": ("chibi", "480x320", dict(POSED, root=[(0, (0, 0, 20))], arm_R=[(0, "hip")], arm_L=[(0, "out")])),
    "athlete_aside": ("athlete", "384x512", dict(POSED, root=[(0, (0.2, 0, 55))], arm_R=[(0, "swing_f")], arm_L=[(0, "mid")])),
    "lanky_wave": ("lanky", "448x416", dict(POSED, root=[(0, (-0.3, 0, 15))], arm_R=[(0, "wave_b")], arm_L=[(0, "relax")])),
    "granny_out": ("granny", "320x512", dict(POSED, root=[(0, (0, 0, -20))], arm_R=[(0, "out")], arm_L=[(0, "hip")])),
    "granny_wide": ("granny", "576x320", dict(POSED, root=[(0, (0.3, 0, 40))], arm_R=[(0, "mid")], arm_L=[(0, "down")])),
    "teen_walks": ("teen", "384x448", dict(POSED, root=[(0, (0, 0, -35))], arm_R=[(0, "swing_b")], arm_L=[(0, "swing_f")])),
    "teen_chest": ("teen", "320x576", dict(POSED, root=[(0, (0, 0, 8))], arm_R=[(0, "chest")], arm_L=[(0, "fist")])),
    "athlete_edge": ("athlete", "352x512", dict(POSED, root=[(0, (0.48, 0, 0))], arm_R=[(0, "relax")], arm_L=[(0, "down2")])),
}  # fmt: skip


def true_points(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the keypoints of a render in metres ([T, 133, 3]) and how many pixels a metre is where the person stands ([T])."""
    character, size, motion = RENDERS[name]
    width, height = map(int, size.split("x"))
    body = sample.Body(sample.fetch(cache), CHARACTERS[character]["shape"])
    fps, still = (16 if motion.get("still") or name == "turns" else 12), motion.get("still")
    tall = body.base[:13380, 2].max()
    eye = np.array((0, -4.6, 1.10) if still else (0, -4.75, 1.25))
    target = np.array((0, 0, tall * 0.5) if still else motion.get("look_at", (0, 0, 0.98)))
    lens = 50 * 1.72 / tall * min(1, width / height * 832 / 480) if still else motion.get("lens", 48)
    ahead = (target - eye) / np.linalg.norm(target - eye)
    points = []
    for t in range(max(1, round(motion["seconds"] * fps))):
        turns, places, face = sample.pose(body, motion, t / fps)
        world = body.skin(body.shaped(face), body.weights, turns, places)
        points.append(sample.keypoints(body, world, turns, places))
    depth = ((np.array(points)[:, 5:17] - eye) @ ahead).mean(axis=1)
    return np.array(points), lens / 24 * height / depth


def add_lengths(name: str, out: Path, cache: Path) -> None:
    """Add `world` ([T, 133, 3], metres) and `scale` ([T], pixels a metre) to a truth file: a bone's length wherever it points."""
    path = out / f"{name}_truth.npz"
    world, scale = true_points(name, cache)
    with np.load(path) as known:
        arrays = {key: known[key] for key in known.files}
    np.savez_compressed(path, **{**arrays, "world": world.astype(np.float32), "scale": scale})


def main() -> None:
    """Render what is named, each in a process of its own: Blender keeps a scene's state."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", default="out")
    parser.add_argument("--cache", default="assets")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        (name,) = args.names
        character, size, motion = RENDERS[name]
        CLIPS[name] = motion
        still = motion.get("still")
        sys.argv = ["render", name, "--out", args.out, "--cache", args.cache, "--character", character, "--size", size]
        sys.argv += ["--samples", "12" if still else "4", "--fps", "16" if still or name == "turns" else "12"]
        sample.main()
        return add_lengths(name, Path(args.out), Path(args.cache))
    for name in args.names or RENDERS:
        if not (Path(args.out) / f"{name}_truth.npz").is_file():
            subprocess.run(
                [sys.executable, __file__, "--one", name, "--out", args.out, "--cache", args.cache], check=True
            )
    return None


if __name__ == "__main__":
    main()
