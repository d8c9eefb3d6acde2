"""Render a half-body character with nano's own renderer: one of the people that training never saw.

python render_character.py --people people.npz --out ../../wanlab/assets/sample/character.png
"""

import argparse

import torch
from nano import data as D
from nano import mesh
from nano import people as P
from PIL import Image

SIZE = 512, 384  # height, width; twice nano's own
ZOOM = 1.75  # body heights a picture height


@torch.no_grad()
def render(seed: int, row: int, height: int, width: int) -> Image.Image:
    """Render a person who looks into the camera, arms down, head to hips, before a random backdrop."""
    torch.manual_seed(seed)
    who = D.random_identity(1, "cpu", "mesh")
    who["who"] = D.CAST.rows[row : row + 1]
    who["size"] = torch.tensor([[1.15, 1.0]])  # head, width
    who["look"][:, mesh.PARTS * 7] = 0  # no stripes: they blur
    motion = torch.zeros(1, 1, P.DIM)
    for arm in (14, 23):
        motion[..., arm : arm + 5] = torch.tensor([0.22, 0.2, 0.25, 0.1, 0.2])
        motion[..., arm + 7 : arm + 9] = torch.tensor([0.35, 0.12])  # fingers: curl, spread
    motion[..., 40:42], motion[..., 44], motion[..., 47] = 1.0, 0.7, 0.8  # eyes open, brows, smile
    camera = P.random_camera(1, who, height, width, "cpu")
    camera["s"], camera["x0"] = ZOOM * height / who["tall"], torch.tensor([width / 2])
    camera["yc"] = who["tall"] - 0.44 * height / camera["s"]
    light = torch.tensor([[0.41, -0.51, -0.76, 0.62, 0.5, 1, 1, 1]])
    backdrop = D.background(1, height, width, "cpu", share=0.0)
    video = D.render_clip(who, motion, camera, light, height, width, backdrop, ss=3)[0]
    return Image.fromarray((video[0, :, 0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", required=True, help="make_people.py's file")
    parser.add_argument("--seed", type=int, default=306, help="colours, backdrop")
    parser.add_argument("--row", type=int, default=0, help="of the people that are held out")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    D.use(args.people, "cpu", held_out=True)
    render(args.seed, args.row, *SIZE).save(args.out)


if __name__ == "__main__":
    main()
