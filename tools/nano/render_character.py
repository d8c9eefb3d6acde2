"""Render one half-body character on the CPU with nano's own renderer.

python render_character.py --seed 25 --out ../../wanlab/assets/sample/character.png
"""

import argparse

import torch
from nano import data as D
from nano import people as P
from PIL import Image

SIZE = 512, 384  # height, width; twice nano's own


@torch.no_grad()
def render(seed: int, zoom: float, height: int, width: int) -> Image.Image:
    """Render a calm person who faces the camera, head to hips, before a random backdrop."""
    torch.manual_seed(seed)
    who = P.random_identity(1, "cpu")
    motion = P.random_motion(1, 1, "cpu", calm=True)
    motion[..., 0] *= 0.3  # face the camera
    motion[..., 40:42], motion[..., 42:44], motion[..., 46] = 1.0, 0.0, 0.4  # eyes open and ahead
    camera = P.random_camera(1, who, height, width, "cpu", zoom=torch.tensor([zoom]))
    light, backdrop = P.random_light(1, "cpu"), P.random_background(1, height, width, "cpu")
    video, _, _ = D.render_clip(who, motion, camera, light, height, width, backdrop, ss=3)
    return Image.fromarray((video[0, :, 0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=25)
    parser.add_argument("--zoom", type=float, default=1.75, help="body heights per picture height")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    render(args.seed, args.zoom, *SIZE).save(args.out)


if __name__ == "__main__":
    main()
