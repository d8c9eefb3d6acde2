"""Train the motion encoder alone, on one GPU: which expression does a face crop show? Goes on from --weights.

    python train_face.py --people people.npz --weights DIR --out DIR --seconds 400

--out gets face_half.pt: averaged fp16 weights of the motion encoder and of the layer that reads expressions from it, which
train_dit.py takes over. A step costs a thousandth of the transformer's, which learns these numbers too late to use them.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from nano import data as D
from nano import models as M
from nano import people as P
from nano.optim import load_shards

START = time.time()
FRAMES = 8  # of one rendered face
FPS = 3.0  # so low that its expressions differ
NAMES = ("eye", "eye", "gaze x", "gaze y", "brow", "mouth", "wide", "smile")


def faces(count, dev, share):
    """rendered crops (N,3,64,64) bytes and their expressions (N,8)"""
    n = int(count * share)
    pictures, numbers = [], []
    for kind, m in (("mesh", n), ("cone", count - n)):
        if m:
            motion = P.random_motion(m, FRAMES, dev, fps=FPS, turned=0.04)
            x = D.render_faces(D.random_identity(m, dev, kind), motion, P.random_light(m, dev))
            pictures.append((x * 255).round().byte().transpose(1, 2).flatten(0, 1))
            numbers.append(motion[..., 40:48].flatten(0, 1))
    return torch.cat(pictures), torch.cat(numbers)


def known(net, x):
    """crops (N,3,64,64) 0..1 -> expressions (N,8)"""
    encoder = net["encoder"]
    encoder(x * 2 - 1)
    return net["expr"](encoder.last.float())


def networks(weights, dev):
    dit = M.fast_faces(M.build_transformer())
    net = torch.nn.ModuleDict({"encoder": dit.motion_encoder, "expr": torch.nn.Linear(96, 8)})
    kept = load_shards(weights, "dit_half") if weights else {}
    part = lambda name: {k.removeprefix(name): v for k, v in kept.items() if k.startswith(name)}
    if kept:
        net["encoder"].load_state_dict(part("dit.motion_encoder."))
        net["expr"].load_state_dict(part("expr."))
    net["encoder"].motion_synthesis_weight.requires_grad_(False)
    net = net.to(dev)
    M.fix_basis(dit)
    return net


@torch.no_grad()
def judge(net, x, y):
    """share of each number's variance that is known"""
    found = torch.cat([known(net, v.float() / 255) for v in x.split(512)])
    shares = 1 - (found - y).pow(2).mean(0) / y.var(0)
    return ", ".join(f"{name} {share:.2f}" for name, share in zip(NAMES, shares.tolist(), strict=True))


def main():
    options, dev = _options(), "cuda" if torch.cuda.is_available() else "cpu"
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    D.use(options.people, dev, held_out=True)
    test = faces(max(4, options.make // 4), dev, 1.0)
    D.use(options.people, dev)
    net = networks(options.weights, dev)
    _say("known of held-out people,", judge(net, *test))
    average, count = train(options, net, dev)
    net.load_state_dict(average)
    _say("known of held-out people,", judge(net, *test))
    _save(average, options.out)
    _say(f"end: {count} steps")


def train(options, net, dev):
    """steps until the time is over -> averaged weights, how many steps"""
    average = {n: v.detach().clone() for n, v in net.state_dict().items()}
    params = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=0, betas=(0.9, 0.98), weight_decay=0)
    pool, begin, said, count, losses = None, time.time(), time.time(), 0, []
    while (share := (time.time() - begin) / (options.seconds - (begin - START))) < 1:
        new = faces(options.make, dev, D.SHARE)
        pool = (
            new if pool is None else tuple(torch.cat([a, b])[-options.pool :] for a, b in zip(pool, new, strict=True))
        )
        for _ in range(options.rounds):
            rows = torch.randint(0, len(pool[0]), (options.batch,), device=dev)
            x = D.disturb_faces(pool[0][rows].float().div(255).unsqueeze(2)).squeeze(2)
            with torch.autocast(dev, torch.bfloat16, enabled=dev == "cuda"):
                loss = F.smooth_l1_loss(known(net, x).float(), pool[1][rows], beta=0.3)
            optimiser.param_groups[0]["lr"] = options.lr * min(1.0, count / 50) * min(1.0, (1 - share) / 0.6)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimiser.step()
            count += 1
            _follow(average, net, min(0.999, (1 + count) / (10 + count)))
            losses.append(loss.detach())
        if time.time() - said > options.every:
            _say(f"step {count}, loss {torch.stack(losses).mean():.4f}")
            said, losses = time.time(), []
            _save(average, options.out)
    return average, count


def _follow(average, net, keep):
    for n, v in net.state_dict().items():
        average[n].lerp_(v, 1 - keep) if v.is_floating_point() else average[n].copy_(v)


def _say(*words):
    print(f"[{time.time() - START:7.1f}]", *words, flush=True)


def _save(average, out):
    state = {
        n.replace("encoder.", "dit.motion_encoder.", 1) if n.startswith("encoder.") else n: v.half().cpu()
        for n, v in average.items()
    }
    torch.save(state, Path(out, "face_half.tmp"))
    Path(out, "face_half.tmp").rename(Path(out, "face_half.pt"))


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--people", type=Path, required=True, help="make_people.py's file")
    add("--weights", type=Path, help="a folder of dit_half.*.pt; else from nothing")
    add("--out", type=Path, required=True)
    add("--seconds", type=float, required=True, help="of the whole program")
    add("--batch", type=int, default=1536, help="faces a step")
    add("--make", type=int, default=256, help="people rendered at once, 8 faces each")
    add("--rounds", type=int, default=16, help="steps between two renderings")
    add("--pool", type=int, default=200_000, help="faces kept")
    add("--lr", type=float, default=5e-3)
    add("--every", type=float, default=30, help="seconds between lines")
    add("--seed", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
