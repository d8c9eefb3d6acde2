"""Train the miniature SAM2 for a given number of seconds: single pictures first, then also clips. Saves itself and goes on.

    python train.py --out DIR --seconds 560 [--planned 1120] [--resume DIR] [--samples wanlab/assets/sample]

DIR gets model.safetensors (averaged weights, float16), config.yaml, eval.json, sheet.png; --state gets what --resume
needs to go on exactly (without one, --resume starts from the averaged weights).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import time
from pathlib import Path

START = time.monotonic()

import data as D  # noqa: E402
import judge as J  # noqa: E402
import model as M  # noqa: E402
import torch  # noqa: E402
from nano.optim import EMA, MuonAdam, schedule, split_params  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

GRID = 128  # side at which masks are compared and clicks are drawn: half the picture's
RESERVE = 45  # seconds kept for saving and judging


def log(*words: object) -> None:
    print(f"[{time.monotonic() - START:6.1f}]", *words, flush=True)


class Pool:
    """Clips on the device, the oldest replaced by new ones, for a share of the time."""

    def __init__(self, options: argparse.Namespace, device: str) -> None:
        self._options, self._device = options, device
        self._pictures = torch.empty(options.pool, options.frames, 3, 256, 256, dtype=torch.uint8, device=device)
        self._numbers = torch.empty(options.pool, options.frames, 256, 256, dtype=torch.uint8, device=device)
        self.made, self.seconds = 0, 0.0

    def refresh(self) -> None:
        """Make one batch of clips."""
        begin = time.monotonic()
        o = self._options
        batch = D.make_clips(o.fresh, o.frames, 256, self._device, 2 if self._device == "cuda" else 1)
        places = (torch.arange(o.fresh, device=self._device) + self.made) % o.pool
        self._pictures[places], self._numbers[places] = batch.pictures, batch.numbers
        if self._device == "cuda":
            torch.cuda.synchronize()
        self.made += o.fresh
        self.seconds += time.monotonic() - begin

    def draw(self, count: int, *, whole: bool) -> tuple[Tensor, Tensor]:
        """Return pictures and numbers as other cameras see them: whole clips, half of them backwards, or a frame of each."""
        rows = torch.randint(min(self.made, self._options.pool), (count, 1), device=self._device)
        if whole:
            t = torch.arange(self._options.frames, device=self._device)
            t = torch.where(torch.rand(count, 1, device=self._device) < 0.5, t, t.flip(0))
        else:
            t = torch.randint(self._options.frames, (count, 1), device=self._device)
        return D.disturbed(D.Clips(self._pictures[rows, t], self._numbers[rows, t]))


# --- prompts ---------------------------------------------------------------------------------------------------------------
def click(region: Tensor, truth: Tensor) -> M.Points:
    """Return a click somewhere in each region, positive where the truth is; where the region is empty, no click.

    Args:
        region, truth: [O, GRID, GRID], 0 or 1.
    """
    at = D.random_inside(region)
    label = truth[torch.arange(len(at), device=at.device), at[:, 1].long(), at[:, 0].long()].int()
    label = torch.where(region.flatten(1).any(1), label, torch.full_like(label, -1))
    return M.Points((2 * at + torch.randint_like(at, 2))[:, None], label[:, None])


def first_prompt(truth: Tensor) -> M.Points:
    """Return a click, some clicks as from key points, or a box; a negative click for what is not there."""
    kind = random.random()
    absent = ~truth.flatten(1).any(1)
    anywhere = torch.randint(256, (len(truth), 1, 2), device=truth.device).float()
    if kind < 0.2:
        points = _box(truth)
    elif kind < 0.4:
        points = click(truth, truth)
        for _ in range(random.randint(1, 7)):
            points = points.and_then(click(truth, truth))
        astray = torch.rand(points.labels.shape, device=truth.device) < 0.12
        points = points._replace(places=points.places + astray[..., None] * (torch.rand_like(points.places) - 0.5) * 40)
    else:
        points = click(truth, truth)
    none = torch.full_like(points.labels, -1)
    none[:, 0] = 0
    return M.Points(
        torch.where(absent[:, None, None], anywhere.expand_as(points.places), points.places),
        torch.where(absent[:, None], none, points.labels),
    )


def _box(truth: Tensor) -> M.Points:
    """Return boxes a little wrong, as two points labelled 2 and 3."""
    low, high = [], []
    for axis in (1, 2):  # over rows: x; over columns: y
        seen = truth.any(axis).float()
        low.append(seen.argmax(1))
        high.append(GRID - seen.flip(1).argmax(1))
    low, high = 2 * torch.stack(low, -1).float(), 2 * torch.stack(high, -1).float()
    wrong = ((high - low) * 0.1).clamp(max=20)
    corners = (
        torch.stack([low, high - 1], 1) + (2 * torch.rand(len(truth), 2, 2, device=truth.device) - 1) * wrong[:, None]
    )
    labels = torch.tensor([2, 3], dtype=torch.int32, device=truth.device).expand(len(truth), -1)
    return M.Points(corners.clamp(0, 255), labels)


def correction(found: M.Found, truth: Tensor) -> M.Points:
    """Return a click where the mask is wrong."""
    said = (F.interpolate(found.best, (GRID, GRID), mode="bilinear")[:, 0] > 0).float()
    return click((said != truth).float(), truth)


# --- losses ------------------------------------------------------------------------------------------------------------------
class Losses:
    """Sums of SAM2's losses over prompts and frames: focal 20, dice 1, IoU 1, presence 1; of several masks the best counts."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.parts: dict[str, list[Tensor]] = {}

    def add(self, name: str, found: M.Found, soft: Tensor, counts: Tensor) -> None:
        """Count what was found against masks [O, GRID, GRID], 0 to 1, for those objects that count, [O], 0 or 1."""
        logits = F.interpolate(found.logits.float().clamp(-30, 30), (GRID, GRID), mode="bilinear").flatten(2)
        truth = soft.flatten(1)[:, None]
        chance = logits.sigmoid()
        right = chance * truth + (1 - chance) * (1 - truth)
        weight = 0.25 * truth + 0.75 * (1 - truth)
        cross = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
        focal = (weight * (1 - right) ** 2 * cross).mean(-1)
        dice = 1 - (2 * (chance * truth).sum(-1) + 1) / (chance.sum(-1) + truth.sum(-1) + 1)
        with torch.no_grad():
            hit, whole = logits > 0, truth > 0.5
            iou = (hit & whole).sum(-1) / (hit | whole).sum(-1).clamp(min=1)
        there = (soft.flatten(1) > 0.5).any(1).float()
        shown = there * counts
        masks, best = (20 * focal + dice).min(1)
        rated = (found.ious.float() - iou).abs().mean(1)
        presence = F.binary_cross_entropy_with_logits(found.present.float()[:, 0], there, reduction="none")
        norm = counts.sum().clamp(min=1)
        self.total = self.total + ((masks + rated) * shown + presence * counts).sum() / norm
        with torch.no_grad():
            said = iou.gather(1, found.ious.float().argmax(1, keepdim=True))[:, 0]
            self.note(f"{name} IoU", (said * shown).sum() / shown.sum().clamp(min=1))
            self.note(f"{name} best", (iou.gather(1, best[:, None])[:, 0] * shown).sum() / shown.sum().clamp(min=1))
            self.note("presence", (((found.present[:, 0] > 0) == (there > 0)) * counts).sum() / norm)

    def note(self, name: str, value: Tensor) -> None:
        self.parts.setdefault(name, []).append(value)


def masks_of(numbers: Tensor, rows: Tensor, picked: Tensor) -> Tensor:
    """Return each object's mask [O, T, GRID, GRID], 0 to 1, of numbers [N, T, S, S]."""
    return F.avg_pool2d((numbers[rows] == picked[:, None, None, None]).float(), 2)


def picture_step(net: torch.nn.Module, pictures: Tensor, numbers: Tensor, losses: Losses) -> None:
    """Prompt two things of each picture [N, 1, 3, S, S] and correct them by up to three clicks."""
    count = len(pictures)
    picked, usable = D.choose(D.areas(numbers[:, 0]), 2)
    rows = torch.arange(count, device=pictures.device).repeat_interleave(2)
    soft = masks_of(numbers, rows, picked.flatten())[:, 0]
    truth, counts = (soft > 0.5).float(), usable.flatten().float()
    tracker = M.Tracker(net, M.Looks(net, pictures[:, 0]))
    points = first_prompt(truth)
    found = tracker.find(0, rows, points, True)
    losses.add("click" if points.labels.shape[1] == 1 else "points", found, soft, counts)
    for _ in range(random.randint(0, 3)):
        points = points.and_then(correction(found, truth))
        found = tracker.correct(points, found if random.random() < 0.5 else None)
        losses.add("corrected", found, soft, counts)


def clip_step(net: torch.nn.Module, pictures: Tensor, numbers: Tensor, losses: Losses) -> None:
    """Follow two things of each clip [N, T, 3, S, S] from prompts on its first frame, sometimes on another one too."""
    count, frames = pictures.shape[:2]
    picked, usable = D.choose(D.areas(numbers[:, 0]), 2)
    rows = torch.arange(count, device=pictures.device).repeat_interleave(2)
    soft = masks_of(numbers, rows, picked.flatten())
    truth, counts = (soft > 0.5).float(), usable.flatten().float()
    tracker = M.Tracker(net, M.Looks(net, pictures.flatten(0, 1)))
    gap = random.choice((0, random.randint(0, 70)))  # the prompted frame may lie far back in a long clip
    place = lambda t: t + gap * (t > 0)
    prompted = [0, random.randrange(1, frames)] if random.random() < 0.25 else [0]
    for t in prompted:
        points = first_prompt(truth[:, t])
        found = tracker.find(place(t), rows * frames + t, points, True)
        losses.add("prompted", found, soft[:, t], counts)
        for _ in range(random.choice((0, 0, 1, 2))):
            points = points.and_then(correction(found, truth[:, t]))
            found = tracker.correct(points, found if random.random() < 0.5 else None)
            losses.add("prompted", found, soft[:, t], counts)
        tracker.remember(found, True)
    for t in range(1, frames):
        if t in prompted:
            continue
        found = tracker.find(place(t), rows * frames + t, None, False)
        losses.add("followed", found, soft[:, t], counts)
        if random.random() < 0.07:
            found = tracker.correct(correction(found, truth[:, t]), found)
            losses.add("prompted", found, soft[:, t], counts)
        tracker.remember(found, False)


# --- training ----------------------------------------------------------------------------------------------------------------
def main() -> None:
    options = _options()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    torch.set_float32_matmul_precision("high")
    options.out.mkdir(parents=True, exist_ok=True)
    net = M.build().to(device)
    matrices, others = split_params([net], skip=("dwconv", "pos_embed", "patch_embed"))
    optimizer = MuonAdam(matrices, others, lr=options.lr, adam_lr=options.lr)
    average = EMA([net], decay=0.998)
    done = resume(options, net, optimizer, average)
    planned = options.planned or done + options.seconds - RESERVE
    eager = net.image_encoder.forward
    pictures = max(1, options.pictures // options.frames) * options.frames  # a step, alone or in clips: compiled once
    compiled = compile_encoder(net, pictures, device) if options.compile and device == "cuda" else eager
    pool = Pool(options, device)
    while pool.made < min(options.pool, options.first):
        pool.refresh()
    log(
        f"{pool.made} clips in {pool.seconds:.1f} s; {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters on {device}"
    )
    precision = torch.autocast("cuda", torch.bfloat16) if device == "cuda" else contextlib.nullcontext()
    begin, shown, saved, steps, seen = time.monotonic(), time.monotonic(), time.monotonic(), 0, 0
    pool.seconds, noted = 0.0, {}
    net.train()
    net.image_encoder.forward = compiled
    while time.monotonic() - START < options.seconds - RESERVE:
        elapsed = time.monotonic() - begin
        if pool.seconds < options.making * elapsed:
            pool.refresh()
        share = min(1.0, (done + elapsed) / planned)
        clips = share > 1 - options.video_fraction and random.random() < 0.75
        losses = Losses()
        try:
            with precision:
                if clips:
                    clip_step(net, *pool.draw(2 * pictures // options.frames, whole=True), losses)  # half of its work is starting kernels
                else:
                    picture_step(net, *pool.draw(pictures, whole=False), losses)
            losses.total.backward()
        except torch.OutOfMemoryError:
            pictures = max(options.frames, pictures // 2 // options.frames * options.frames)
            log(f"out of memory: {pictures} pictures a step from now on")
            optimizer.zero_grad()
            del losses
            torch.cuda.empty_cache()
            continue
        for p in optimizer.params:
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
        torch.nn.utils.clip_grad_norm_(optimizer.params, 1.0)
        optimizer.step(schedule(share))
        optimizer.zero_grad()
        average.update()
        steps, seen = steps + 1, seen + pictures
        for name, values in {**losses.parts, ("clip loss" if clips else "loss"): [losses.total.detach()]}.items():
            noted.setdefault(name, []).extend(values)
        if time.monotonic() - shown > options.every:
            rates = ", ".join(f"{name} {torch.stack(v).float().mean():.3f}" for name, v in sorted(noted.items()))
            log(
                f"step {steps}, {seen / (time.monotonic() - begin):.0f} pictures/s, {pool.made} clips made ({pool.seconds:.0f} s), {share:.2f}: {rates}"
            )
            shown, noted = time.monotonic(), {}
        if time.monotonic() - saved > 150:
            save(options, net, optimizer, average, done + time.monotonic() - begin)
            saved = time.monotonic()
    elapsed = time.monotonic() - begin
    save(options, net, optimizer, average, done + elapsed)
    log(f"saved after {steps} steps, {seen} pictures")
    net.image_encoder.forward = eager
    average.swap()
    found = J.judge(net, device, options.samples, options.out / "sheet.png", held_out=options.held_out)
    facts = {"steps": steps, "pictures": seen, "clips": pool.made, "seconds": round(done + elapsed), **found}
    (options.out / "eval.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    log(json.dumps(facts))


def compile_encoder(net: torch.nn.Module, pictures: int, device: str):
    """Return the image encoder compiled for a step's pictures, or as it is where that fails."""
    eager = net.image_encoder.forward
    fast = torch.compile(eager, dynamic=False)
    try:
        with torch.autocast(device, torch.bfloat16):
            fast(torch.rand(pictures, 3, 256, 256, device=device))["vision_features"].float().mean().backward()
    except Exception as error:  # a missing compiler must not cost the run
        log(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0]}")
        return eager
    net.zero_grad(set_to_none=True)
    log("encoder compiled")
    return fast


def resume(options: argparse.Namespace, net: torch.nn.Module, optimizer: MuonAdam, average: EMA) -> float:
    """Load what was saved; return the seconds of training behind it."""
    if options.resume is None:
        return 0.0
    file = options.resume / "state.pt"
    if not file.is_file():
        M.load(net, options.resume / "model.safetensors")
        for kept, now in zip(average.avg, average.src, strict=True):
            kept.copy_(now.detach())
        average.n = 10**4
        done = json.loads((options.resume / "progress.json").read_text(encoding="utf-8"))["seconds"]
        log(f"goes on from the averaged weights of {options.resume}, {done:.0f} s old, without moments")
        return done
    state = torch.load(file, map_location="cpu", weights_only=True)
    net.load_state_dict(state["net"])
    for kept, was in zip(average.avg, state["average"], strict=True):
        kept.copy_(was)
    average.n = state["updates"]
    for (_, _, moments), were in zip(optimizer.groups, state["muon"], strict=True):
        for moment, was in zip(moments, were, strict=True):
            moment.copy_(was)
    optimizer.adam.load_state_dict(state["adam"])
    log(f"goes on from {file}, {state['seconds']:.0f} s of training")
    return state["seconds"]


def save(options: argparse.Namespace, net: torch.nn.Module, optimizer: MuonAdam, average: EMA, seconds: float) -> None:
    """Write the averaged weights into --out, and all that goes on from here into --state."""
    average.swap()
    M.save(net, options.out / "model.safetensors")
    average.swap()
    shutil.copyfile(M.CONFIG, options.out / "config.yaml")
    (options.out / "progress.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    if options.state is None:
        return
    options.state.mkdir(parents=True, exist_ok=True)
    state = {
        "net": net.state_dict(),
        "average": average.avg,
        "updates": average.n,
        "muon": [moments for _, _, moments in optimizer.groups],
        "adam": optimizer.adam.state_dict(),
        "seconds": seconds,
    }
    torch.save(state, options.state / "state.tmp")
    (options.state / "state.tmp").rename(options.state / "state.pt")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, default=560, help=f"of the whole program; training ends {RESERVE} s before"
    )
    parser.add_argument(
        "--planned", type=float, default=None, help="seconds of training over all runs, for the learning rate"
    )
    parser.add_argument(
        "--resume", type=Path, default=None, help="folder with state.pt, or model.safetensors and progress.json"
    )
    parser.add_argument("--state", type=Path, default=None, help="folder for what --resume needs, about 90 MB")
    parser.add_argument("--samples", type=Path, default=None, help="folder of the sample clips, for the judgement only")
    parser.add_argument(
        "--video_fraction", type=float, default=0.55, help="of the time, at the end, in which clips are learnt"
    )
    parser.add_argument("--pictures", type=int, default=256, help="a step")
    parser.add_argument("--frames", type=int, default=8, help="of a clip")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--pool", type=int, default=6144, help="clips kept; 2 MB each")
    parser.add_argument("--first", type=int, default=1024, help="clips made before training starts")
    parser.add_argument("--fresh", type=int, default=64, help="clips made at a time")
    parser.add_argument("--making", type=float, default=0.12, help="share of the time in which clips are made")
    parser.add_argument("--held_out", type=int, default=64, help="clips made for the judgement")
    parser.add_argument("--every", type=float, default=20, help="seconds between lines")
    parser.add_argument("--no_compile", dest="compile", action="store_false")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
