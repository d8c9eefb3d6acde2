"""Train the miniature SAM2 for a given number of seconds on one GPU or, through torchrun, on several. Saves itself and goes on.

    python train.py --out DIR --seconds 560 [--planned 1120] [--resume DIR] [--samples wanlab/assets/sample]
    torchrun --standalone --nproc_per_node 2 train.py …

DIR gets model.safetensors (averaged weights, float16), config.yaml, eval.json, sheet.png; --state gets what --resume
needs to go on exactly (without one, --resume starts from the averaged weights).
"""

from __future__ import annotations

import os
import time

# ruff: noqa: E402  # the seconds that the imports take count too; the variable is kept where the program restarts itself
START = float(os.environ.setdefault("SAM2_NANO_START", str(time.monotonic())))

import argparse
import contextlib
import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import data as D
import figures
import judge as J
import model as M
import torch
import torch.distributed as dist
from nano import graphs
from nano.optim import Flat
from nano.team import Clock, Team
from torch import Tensor
from torch.nn import functional as F

GRID = 128  # side at which masks are compared and clicks are drawn: half the picture's
RESERVE = 30  # seconds kept for saving and judging
OBJECTS = 2  # asked for in a picture or clip
NOT_MUON = ("dwconv", "pos_embed", "patch_embed")


class Variant(NamedTuple):
    """One kind of step: a CUDA graph holds one course of events.

    prompts: by frame, the prompt's kind. corrections: after the first prompt, each with (True) or without the last mask.
    corrected: frame that is corrected while it is followed, or None.
    """

    prompts: dict[int, str]
    corrections: tuple[bool, ...] = ()
    corrected: int | None = None


PICTURES = (  # shares, kinds of steps over single pictures
    (3, Variant({0: "click"}, (True,))),
    (2, Variant({0: "click"}, (False, True))),
    (1, Variant({0: "pair"}, (True,))),
    (1, Variant({0: "points"})),
)
CLIPS = (  # over clips; `keypoints` lie on several frames
    (4, Variant({0: "click"})),
    (1, Variant({0: "click"}, (True,))),
    (1, Variant({0: "pair", 5: "click"})),
    (2, Variant({0: "points", 2: "points", 5: "points"})),
    (1, Variant({0: "click"}, corrected=4)),
    (1, Variant({0: "click", 3: "click"})),
)


def log(*words: object) -> None:
    print(f"[{time.monotonic() - START:6.1f}]", *words, flush=True)


class Pool:
    """Clips on the device, the oldest replaced by new ones, for a share of the time."""

    def __init__(self, options: argparse.Namespace, device: str) -> None:
        self._options, self._device = options, device
        self._pictures = torch.empty(options.pool, options.frames, 3, 256, 256, dtype=torch.uint8, device=device)
        self._numbers = torch.empty(options.pool, options.frames, 256, 256, dtype=torch.uint8, device=device)
        self.made = 0

    def refresh(self) -> None:
        """Make one batch of clips."""
        o = self._options
        batch = D.make_clips(o.fresh, o.frames, 256, self._device, 2 if self._device == "cuda" else 1)
        places = (torch.arange(o.fresh, device=self._device) + self.made) % o.pool
        self._pictures[places], self._numbers[places] = batch.pictures, batch.numbers
        self.made += o.fresh

    def fill(self, team: Team) -> float:
        """Make the first clips; return the seconds that one takes, the same number in all processes."""
        began, first = time.monotonic(), self.made
        while self.made < min(self._options.pool, self._options.first):
            self.refresh()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return team.agreed((time.monotonic() - began) / max(1, self.made - first))

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
    label = truth.flatten(1).gather(1, (at[:, 1] * GRID + at[:, 0]).long()[:, None])[:, 0].int()
    label = torch.where(region.flatten(1).any(1), label, -1)
    return M.Points((2 * at + torch.rand_like(at) * 2)[:, None], label[:, None])


def first_prompt(truth: Tensor, kind: str) -> M.Points:
    """Return prompts of a kind; a negative click for what is not there.

    Args:
        kind: `click`; `pair`, for half of the objects a box, for the others two clicks; `points`, eight clicks as from keypoints.
    """
    absent = ~truth.flatten(1).any(1)
    anywhere = torch.randint(256, (len(truth), 1, 2), device=truth.device).float()
    points = click(truth, truth)
    if kind != "click":
        for _ in range(1 if kind == "pair" else 7):
            points = points.and_then(click(truth, truth))
        astray = torch.rand(points.labels.shape, device=truth.device) < 0.1
        points = points._replace(places=points.places + astray[..., None] * (torch.rand_like(points.places) - 0.5) * 40)
    if kind == "pair":
        box, some = _box(truth), torch.rand(len(truth), 1, device=truth.device) < 0.5
        points = M.Points(
            torch.where(some[..., None], box.places, points.places), torch.where(some, box.labels, points.labels)
        )
    first = (M.constant((1.0,) + (0.0,) * (points.labels.shape[1] - 1), truth.device) > 0)[None]
    return M.Points(
        torch.where(absent[:, None, None], anywhere.expand_as(points.places), points.places),
        torch.where(absent[:, None], torch.where(first, 0, -1).int(), points.labels),
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
    labels = M.constant((2.0, 3.0), truth.device).int().expand(len(truth), -1)
    return M.Points(corners.clamp(0, 255), labels)


def correction(found: M.Found, truth: Tensor) -> M.Points:
    """Return a click where the mask is wrong."""
    said = (F.interpolate(found.best.detach(), (GRID, GRID), mode="bilinear")[:, 0] > 0).float()
    return click((said != truth).float(), truth)


# --- losses ------------------------------------------------------------------------------------------------------------------
class Losses:
    """SAM2's losses over prompts and frames: focal 20, dice, predicted IoU 1, presence 1.

    A click means the whole person here, never a part, so that all of several masks learn, the best one most: the share
    of the best is what tells them apart. All frames are counted at once: few kernels.
    """

    BEST, DICE = 0.6, 2.0

    def __init__(self) -> None:
        self._added: dict[int, list[tuple[str, M.Found, Tensor, Tensor]]] = {}

    def add(self, name: str, found: M.Found, soft: Tensor, counts: Tensor) -> None:
        """Count what was found against masks [O, GRID, GRID], 0 to 1, for those objects that count, [O], 0 or 1."""
        self._added.setdefault(found.logits.shape[1], []).append((name, found, soft, counts))

    def summed(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum over all that was added, and means to be shown."""
        total, notes = 0.0, {}
        for added in self._added.values():
            one, more = self._count(added)
            total = total + one
            for name, values in more.items():
                notes.setdefault(name, []).extend(values)
        return total, {name: torch.stack(values).mean() for name, values in notes.items()}

    def _count(self, added: list[tuple[str, M.Found, Tensor, Tensor]]) -> tuple[Tensor, dict[str, list[Tensor]]]:
        logits, ious, present = (
            torch.cat([getattr(f, k) for _, f, _, _ in added]).float() for k in ("logits", "ious", "present")
        )
        soft, counts = torch.cat([s for _, _, s, _ in added]), torch.cat([c for _, _, _, c in added])
        logits = F.interpolate(logits.clamp(-30, 30), (GRID, GRID), mode="bilinear").flatten(2)
        truth = soft.flatten(1)[:, None]
        probability = logits.sigmoid()
        right = probability * truth + (1 - probability) * (1 - truth)
        weight = 0.25 * truth + 0.75 * (1 - truth)
        cross = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
        focal = (weight * (1 - right) ** 2 * cross).mean(-1)
        dice = 1 - (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)
        with torch.no_grad():
            hit, whole = logits > 0, truth > 0.5
            iou = (hit & whole).sum(-1) / (hit | whole).sum(-1).clamp(min=1)
        there = (soft.flatten(1) > 0.5).any(1).float()
        shown = there * counts
        each = 20 * focal + self.DICE * dice
        masks, best = each.min(1)
        masks = self.BEST * masks + (1 - self.BEST) * each.mean(1)
        rated = (ious - iou).abs().mean(1)
        presence = F.binary_cross_entropy_with_logits(present[:, 0], there, reduction="none")
        objects = len(counts) // len(added)
        norm = (counts.sum() / len(added)).clamp(min=1)
        total = ((masks + rated) * shown + presence * counts).sum() / norm
        notes: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            said = iou.gather(1, ious.argmax(1, keepdim=True))[:, 0]
            good = iou.gather(1, best[:, None])[:, 0]
            agreed = ((present[:, 0] > 0) == (there > 0)).float()
            for k, (name, *_) in enumerate(added):
                rows = slice(k * objects, (k + 1) * objects)

                def mean(v, w, rows=rows):
                    return (v[rows] * w[rows]).sum() / w[rows].sum().clamp(min=1)

                notes.setdefault(f"{name} IoU", []).append(mean(said, shown))
                notes.setdefault(f"{name} best", []).append(mean(good, shown))
                notes.setdefault("presence", []).append(mean(agreed, counts))
        return total, notes


def masks_of(numbers: Tensor, rows: Tensor, picked: Tensor) -> Tensor:
    """Return each object's mask [O, T, GRID, GRID], 0 to 1, of numbers [N, T, S, S]."""
    return F.avg_pool2d((numbers.index_select(0, rows) == picked[:, None, None, None]).float(), 2)


def step_losses(
    net: torch.nn.Module, pictures: Tensor, numbers: Tensor, gap: Tensor, variant: Variant, precision: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Prompt two things of each clip [N, T, 3, S, S] as the variant tells and follow them through the other frames.

    Args:
        gap: [1], frames between the first and the second: the prompted frame may lie far back in a long clip.
        precision: of autocast, "cuda" for bfloat16.
    """
    count, frames = pictures.shape[:2]
    losses = Losses()
    rows = torch.arange(count, device=pictures.device).repeat_interleave(OBJECTS)
    with torch.no_grad():
        picked, usable = D.choose(D.areas(numbers[:, 0]), OBJECTS)
        soft = masks_of(numbers, rows, picked.flatten())
        truth, counts = (soft > 0.5).float(), usable.flatten().float()
    with torch.autocast("cuda", torch.bfloat16) if precision == "cuda" else contextlib.nullcontext():
        tracker = M.Tracker(net, M.Looks(net, pictures.flatten(0, 1)), gap)
        for number, (t, kind) in enumerate(variant.prompts.items()):
            points = first_prompt(truth[:, t], kind)
            found = tracker.find(t, rows * frames + t, points, True)
            losses.add(kind, found, soft[:, t], counts)
            for with_mask in variant.corrections if number == 0 else ():
                points = points.and_then(correction(found, truth[:, t]))
                found = tracker.correct(points, found if with_mask else None)
                losses.add("corrected", found, soft[:, t], counts)
            if frames > 1:
                tracker.remember(found, True)
        for t in range(frames):
            if t in variant.prompts:
                continue
            found = tracker.find(t, rows * frames + t, None, False)
            losses.add("followed", found, soft[:, t], counts)
            if t == variant.corrected:
                found = tracker.correct(correction(found, truth[:, t]), found)
                losses.add("corrected", found, soft[:, t], counts)
            tracker.remember(found, False)
    total, notes = losses.summed()
    return total * (2 / frames if frames > 1 else 1), {
        f"{'clip ' if frames > 1 else ''}{k}": v for k, v in notes.items()
    }


# --- training ----------------------------------------------------------------------------------------------------------------
def rate(share: float, hold: float) -> float:
    """Return the learning rate's factor at a share of the training: a short rise, flat, then down to zero."""
    return min(1.0, share / 0.02 + 0.02) * min(1.0, (1 - share) / (1 - hold) + 0.003)


def main() -> None:
    options = _options()
    cuda, rank = torch.cuda.is_available(), int(os.environ.get("RANK", 0))
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    device = "cuda" if cuda else "cpu"
    say = log if rank == 0 else lambda *words: None
    torch.manual_seed(options.seed + 1000 * rank)
    torch.set_float32_matmul_precision("high")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.figures and options.figures.is_file():
        D.FIGURES = figures.Figures(options.figures, device)
    else:
        say("no figures.npz: people are made of cones only")
    net = M.build().to(device)
    flat = Flat(net, skip=NOT_MUON)
    done = resume(options, net, flat, say)
    net.train()
    if options.compile and cuda:
        net.image_encoder.forward = torch.compile(net.image_encoder.forward, dynamic=False)
    pool = Pool(options, device)
    pool.refresh()
    kinds = Kinds(options, net, flat, pool, device)
    if options.graphs and cuda:
        capture(kinds.all_steps(), say)
        torch.manual_seed(options.seed + 1000 * rank + 1)
    team = Team()  # after the capture, which NCCL's own calls could disturb, and where a process may start itself anew
    if team.size > 1:
        for v in (flat.weights, flat.average, *net.buffers()):
            dist.broadcast(v, 0)
    cost = pool.fill(team)
    say(
        f"{pool.made} clips, {1000 * cost:.1f} ms each; {len(flat.weights) / 1e6:.2f} M parameters, {team.size} {device}"
    )
    facts = train(options, net, flat, kinds, team, cost, done)
    if team.size > 1:
        compare_weights(flat, rank)
    team.wait()
    team.close()
    if rank == 0:
        finish(options, net, flat, facts, device)


class Kinds:
    """The kinds of steps over single pictures and over clips, and the tensors that each of them reads.

    Attributes:
        gap: [1], frames between a prompted frame and the next, drawn anew for each step.
    """

    def __init__(self, options: argparse.Namespace, net: torch.nn.Module, flat: Flat, pool: Pool, device: str) -> None:
        self.gap, self.pool = torch.zeros(1, device=device), pool
        self._inputs: dict[bool, tuple[Tensor, Tensor]] = {}
        self._steps: dict[bool, tuple[list[int], list[graphs.Step]]] = {}
        for whole, kinds, count in ((False, PICTURES, options.pictures), (True, CLIPS, options.clips)):
            frames = options.frames if whole else 1
            self._inputs[whole] = tuple(v.clone() for v in pool.draw(count, whole=whole))
            kinds = [(n, v) for n, v in kinds if max([*v.prompts, v.corrected or 0]) < frames]
            losses = [partial(step_losses, net, *self._inputs[whole], self.gap, v, device) for _, v in kinds]
            self._steps[whole] = ([n for n, _ in kinds], [graphs.Step(each, flat.params) for each in losses])

    def all_steps(self) -> list[graphs.Step]:
        return [step for _, steps in self._steps.values() for step in steps]

    def draw(self, control: random.Random, *, whole: bool) -> tuple[graphs.Step, int]:
        """Return a step whose inputs are filled with new pictures or clips, and how many frames it sees."""
        shares, steps = self._steps[whole]
        step = control.choices(steps, shares)[0]
        self.gap.fill_(control.choice((0, 0, control.randint(1, 70))))
        inputs = self._inputs[whole]
        for kept, drawn in zip(inputs, self.pool.draw(len(inputs[0]), whole=whole), strict=True):
            kept.copy_(drawn)
        return step, inputs[0].shape[:2].numel()


def train(
    options: argparse.Namespace, net: torch.nn.Module, flat: Flat, kinds: Kinds, team: Team, cost: float, done: float
) -> dict[str, float]:
    """Train until the time is over; return the numbers of steps, frames and clips, and the seconds of the schedule.

    Args:
        cost: seconds that making one clip takes.
        done: seconds of the schedule that earlier runs have had.
    """
    say = log if team.leader else lambda *words: None
    pool, control = kinds.pool, random.Random(options.seed + int(done))  # the same in every process
    clock = Clock(flat.weights.is_cuda)
    budget = options.seconds - RESERVE - team.agreed(time.monotonic() - START)  # seconds of training left to this call
    planned = options.planned or done + budget
    begin = shown = saved = time.monotonic()
    count, frames, spent, share, noted = 0, 0, 0.0, 0.0, {}
    while (elapsed := clock.now()) < budget:
        if cost * spent < options.making * elapsed:
            pool.refresh()
            spent += options.fresh
        share = min(1.0, (done + elapsed) / planned)
        whole = share > 1 - options.video_fraction and control.random() < options.clip_share
        step, more = kinds.draw(control, whole=whole)
        total, parts, grads = step()
        flat.collect(grads)
        flat.grads[-1].fill_(time.monotonic() - begin)
        if team.size > 1:
            dist.all_reduce(flat.grads)
            flat.grads /= team.size
        clock.put(flat.grads[-1:])
        norm = flat.step(options.lr * rate(share, options.hold), options.decay)
        count, frames = count + 1, frames + more * team.size
        for name, value in {**parts, "clip loss" if whole else "loss": total, "norm": norm}.items():
            noted.setdefault(name, []).append(value.clone())
        if time.monotonic() - shown > options.every:
            means = ", ".join(f"{name} {torch.stack(v).float().mean():.3f}" for name, v in sorted(noted.items()))
            speed = frames / (time.monotonic() - begin)
            say(f"step {count}, {speed:.0f} frames/s, {pool.made} clips made, {share:.2f}: {means}")
            shown, noted = time.monotonic(), {}
        if team.leader and time.monotonic() - saved > options.save_every:
            save(options, net, flat, done + elapsed)
            saved = time.monotonic()
    say(f"ended after {count} steps, {frames} frames; the schedule stands at {share:.3f}")
    return {"steps": count, "frames": frames, "clips": pool.made * team.size, "seconds": done + elapsed}


def compare_weights(flat: Flat, rank: int) -> None:
    """Say where a process has other weights than the first: the processes have not computed the same."""
    check = torch.stack([flat.weights.double().sum(), flat.weights.double().abs().sum()])
    other = check.clone()
    dist.broadcast(other, 0)
    if not torch.equal(check, other):
        log(f"process {rank} has other weights than the first: {check.tolist()}, {other.tolist()}")


def finish(options: argparse.Namespace, net: torch.nn.Module, flat: Flat, facts: dict[str, float], device: str) -> None:
    """Save the weights, judge the averaged ones, write eval.json and sheet.png."""
    save(options, net, flat, facts["seconds"])
    flat.swap()
    scores = J.judge(net, device, options.samples, options.out / "sheet.png", held_out=options.held_out)
    facts = {**facts, "seconds": round(facts["seconds"]), **scores}
    (options.out / "eval.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    log(json.dumps(facts))


def capture(steps: list[graphs.Step], say) -> None:
    """Capture all kinds of steps; where that fails, start the program anew without: CUDA may be left unusable."""
    try:
        stream, pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        for number, step in enumerate(steps):
            said = step.capture(stream, pool, 7000 + number)
            say(f"captured {number + 1} of {len(steps)}: {said}; {torch.cuda.memory_reserved() / 2**30:.0f} GiB held")
    except Exception as error:
        log(f"no CUDA graphs: {type(error).__name__}: {str(error).splitlines()[0]}; starting anew without")
        os.execv(sys.executable, [sys.executable, *sys.argv, "--no_graphs"])


def resume(options: argparse.Namespace, net: torch.nn.Module, flat: Flat, say) -> float:
    """Load what was saved; return how many seconds of the schedule are over."""
    if options.resume is None:
        return 0.0
    file = options.resume / "state.pt"
    if not file.is_file():
        M.load(net, options.resume / "model.safetensors")
        flat.average.copy_(flat.weights)
        done = json.loads((options.resume / "progress.json").read_text(encoding="utf-8"))["seconds"]
        say(f"goes on from the averaged weights of {options.resume}, {done:.0f} s old, without moments")
        return done if options.done is None else options.done
    state = torch.load(file, map_location="cpu", weights_only=True)
    flat.restore(state["flat"])
    say(f"goes on from {file}, {state['seconds']:.0f} s of training")
    return state["seconds"] if options.done is None else options.done


def save(options: argparse.Namespace, net: torch.nn.Module, flat: Flat, seconds: float) -> None:
    """Write the averaged weights into --out, and all that goes on from here into --state."""
    flat.swap()
    M.save(net, options.out / "model.safetensors")
    flat.swap()
    shutil.copyfile(M.CONFIG, options.out / "config.yaml")
    (options.out / "progress.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    if options.state is None:
        return
    options.state.mkdir(parents=True, exist_ok=True)
    torch.save({"flat": flat.state(), "seconds": seconds}, options.state / "state.tmp")
    (options.state / "state.tmp").rename(options.state / "state.pt")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--seconds", type=float, default=560, help=f"of the whole program; training ends {RESERVE} s before")
    add(
        "--planned",
        type=float,
        default=None,
        help="seconds of training over all runs, for the learning rate; else this run ends the schedule",
    )
    add("--resume", type=Path, default=None, help="folder with state.pt, or model.safetensors and progress.json")
    add(
        "--done",
        type=float,
        default=None,
        help="seconds of the schedule that are over, instead of what is resumed says",
    )
    add("--state", type=Path, default=None, help="folder for what --resume needs, about 120 MB")
    add("--samples", type=Path, default=None, help="folder of the sample clips, for the judgement only")
    add("--figures", type=Path, default=None, help="figures.npz, from figures.py")
    add("--video_fraction", type=float, default=0.55, help="of the time, at the end, in which clips are learnt")
    add("--clip_share", type=float, default=0.65, help="of the steps then")
    add("--pictures", type=int, default=256, help="a step and process")
    add("--clips", type=int, default=64, help="a step and process")
    add("--frames", type=int, default=8, help="of a clip")
    add("--lr", type=float, default=1.5e-3)
    add("--hold", type=float, default=0.5, help="share of the schedule before the learning rate falls")
    add("--decay", type=float, default=0.998, help="of the averaged weights, a step")
    add("--pool", type=int, default=6144, help="clips kept; 2 MB each")
    add("--first", type=int, default=1024, help="clips made before training starts")
    add("--fresh", type=int, default=128, help="clips made at a time")
    add("--making", type=float, default=0.15, help="share of the time in which clips are made")
    add("--held_out", type=int, default=64, help="clips made for the judgement")
    add("--every", type=float, default=20, help="seconds between lines")
    add("--save_every", type=float, default=150, help="seconds between savings")
    add("--compile", action="store_true", help="the image encoder: about 60 s at the start")
    add("--no_graphs", dest="graphs", action="store_false", help="start kernels one by one")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
