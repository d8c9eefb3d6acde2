"""How good the network is, on held-out renders and on the sample clips, without wanlab: what train.py reports at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import data as D
import model as M
import numpy as np
import torch
from torch import Tensor

SAMPLES = {"half": "half_truth", "driving": "truth", "dark": "dark_truth", "two_people": "two_people_truth", "walk": "walk_truth"}  # fmt: skip
SEED = 987_654_321  # of the held-out renders


@torch.no_grad()
def judge(net: torch.nn.Module, device: str, samples: Path | None, sheet: Path | None, held_out: int) -> dict[str, Any]:
    """Return mean IoUs by name, of the sample clips mean and worst, and draw a sheet of what was found."""
    net.eval()
    out: dict[str, Any] = {}
    tiles: list[np.ndarray] = []
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(SEED)
        for start in range(0, held_out, 16):
            clips = D.make_clips(min(16, held_out - start), 8, 256, device, 2 if device == "cuda" else 1)
            pictures, numbers = D.disturbed(clips) if start % 32 else (clips.pictures.float() / 255, clips.numbers)
            _held_out(net, pictures, numbers, out, tiles)
    for name, truth in SAMPLES.items() if samples else ():
        video, masks = read_sample(samples, name, truth)
        for k, mask in enumerate(masks):
            who = f"{name} {k}" if len(masks) > 1 else name
            _sample(net, video.to(device), mask.to(device), who, out, tiles)
    net.train()
    if sheet is not None and tiles:
        across = 8
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % across)
        rows = [np.hstack(tiles[i : i + across]) for i in range(0, len(tiles), across)]
        cv2.imwrite(str(sheet), np.vstack(rows)[..., ::-1])
    return {name: round(float(np.mean(v)), 4) if isinstance(v, list) else v for name, v in sorted(out.items())}


def iou(found: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU of masks [..., S, S]; 1 where both are empty."""
    union = (found | truth).sum((-1, -2))
    return torch.where(union > 0, (found & truth).sum((-1, -2)) / union.clamp(min=1), torch.ones(()).to(union.device))


def deepest(mask: np.ndarray) -> tuple[float, float]:
    """Return the point farthest from the mask's outline and the picture's border: x, y."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x), float(y)


def read_sample(folder: Path, name: str, truth: str) -> tuple[Tensor, Tensor]:
    """Return a sample clip squashed to 256, [T, 3, 256, 256], 0 to 1, and its people's masks, [P, T, 256, 256]."""
    film = folder / f"{name}.mp4"
    capture = cv2.VideoCapture(str(film if film.is_file() else folder / f"variation_{name}.mp4"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.resize(read[1], (256, 256), interpolation=cv2.INTER_AREA)[..., ::-1])
    with np.load(folder / f"{truth}.npz") as known:
        masks = np.unpackbits(known["mask"], axis=-1)[..., : int(known["mask_shape"][-1])]
    masks = masks if masks.ndim == 4 else masks[None]
    small = [[cv2.resize(m * 255, (256, 256), interpolation=cv2.INTER_AREA) > 127 for m in person] for person in masks]
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    return video, torch.from_numpy(np.stack([np.stack(person) for person in small]))


def follow(net: torch.nn.Module, video: Tensor, points: M.Points, first: int) -> Tensor:
    """Return what is found from a prompt on frame `first`, forwards and then backwards: [O, T, 256, 256], bool.

    Args:
        video: [T, 3, 256, 256] of one clip; the objects are all in it.
    """
    looks = M.Looks(net, video)
    objects = len(points.labels)

    def rows(t):
        return torch.full((objects,), t, device=video.device)

    out = torch.zeros(objects, len(video), 256, 256, dtype=torch.bool, device=video.device)
    for order in (range(first, len(video)), range(first, -1, -1)):
        tracker = M.Tracker(net, looks)
        for t in order:
            found = tracker.find(t, rows(t), points if t == first else None, t == first, order.step < 0)
            out[:, t] = found.best_large[:, 0] > 0
            tracker.remember(found, t == first)
    return out


def _held_out(
    net: torch.nn.Module, pictures: Tensor, numbers: Tensor, out: dict[str, Any], tiles: list[np.ndarray]
) -> None:
    device = pictures.device
    picked, usable = D.choose(D.areas(numbers[:, 0]), 2, least=0.01)
    rows = torch.arange(len(pictures), device=device).repeat_interleave(2)
    picked, usable = picked.flatten(), usable.flatten()
    truth = numbers[rows] == picked[:, None, None, None]
    places = [deepest(mask) for mask in truth[:, 0].cpu().numpy()]
    random = D.random_inside(truth[:, 0].float())
    tracker = M.Tracker(net, M.Looks(net, pictures.flatten(0, 1)))
    frames = pictures.shape[1]
    ones = torch.ones(len(rows), 1, dtype=torch.int32, device=device)
    found = tracker.find(0, rows * frames, M.Points(random[:, None], ones), True)
    people = D.is_person(device)[picked]
    kinds = (("person", people & usable), ("thing", ~people & usable))
    score = iou(found.best_large[:, 0] > 0, truth[:, 0])
    for kind, which in kinds:
        out.setdefault(f"held-out {kind}, random click", []).extend(score[which].tolist())
    points = M.Points(torch.tensor(places, device=device)[:, None], ones)
    found = tracker.find(0, rows * frames, points, True)
    first = found.best_large[:, 0] > 0
    score = iou(first, truth[:, 0])
    for kind, which in kinds:
        out.setdefault(f"held-out {kind}, one click", []).extend(score[which].tolist())
    tracker.remember(found, True)
    for t in range(1, frames):
        found = tracker.find(t, rows * frames + t, None, False)
        score = iou(found.best_large[:, 0] > 0, truth[:, t])
        for kind, which in kinds:
            out.setdefault(f"held-out {kind}, followed", []).extend(
                score[which & truth[:, t].flatten(1).any(1)].tolist()
            )
        tracker.remember(found, False)
    if len(tiles) < 48:
        last = found.best_large[:, 0] > 0
        for k in range(0, min(len(rows), 24), 2):
            tiles.append(drawn(pictures[rows[k], 0], first[k], truth[k, 0], places[k]))
            tiles.append(drawn(pictures[rows[k], -1], last[k], truth[k, -1], None))


def _sample(
    net: torch.nn.Module, video: Tensor, truth: Tensor, name: str, out: dict[str, Any], tiles: list[np.ndarray]
) -> None:
    area = truth.flatten(1).float().mean(1)
    seen = (area > 0.002).nonzero()[:, 0].tolist()
    scores = []
    for t in seen[:: max(1, len(seen) // 12)]:
        tracker = M.Tracker(net, M.Looks(net, video[t : t + 1]))
        places = [deepest(truth[t].cpu().numpy()), *D.random_inside(truth[t].float().expand(4, -1, -1)).tolist()]
        points = M.Points(
            torch.tensor(places, device=video.device)[:, None],
            torch.ones(len(places), 1, dtype=torch.int32, device=video.device),
        )
        found = tracker.find(0, torch.zeros(len(places), dtype=torch.long, device=video.device), points, True)
        scores.append(iou(found.best_large[:, 0] > 0, truth[t].expand(len(places), -1, -1)).tolist())
    scores = np.array(scores)
    out[f"{name}, one click"] = (round(float(scores[:, 0].mean()), 4), round(float(scores[:, 0].min()), 4))
    out[f"{name}, random clicks"] = (round(float(scores[:, 1:].mean()), 4), round(float(scores[:, 1:].min()), 4))
    first = next(t for t in seen if area[t] > 0.5 * area[seen].median())
    place = deepest(truth[first].cpu().numpy())
    points = M.Points(
        torch.tensor([[place]], device=video.device), torch.ones(1, 1, dtype=torch.int32, device=video.device)
    )
    found = follow(net, video, points, first)[0]
    score = iou(found, truth)[seen]
    out[f"{name}, followed from frame {first}"] = (round(float(score.mean()), 4), round(float(score.min()), 4))
    out[f"{name}, wrongly there"] = int((found.flatten(1).any(1) & ~truth.flatten(1).any(1)).sum())
    for t in np.linspace(0, len(video) - 1, 8).astype(int):
        tiles.append(drawn(video[t], found[t], truth[t], place if t == first else None))


def drawn(picture: Tensor, found: Tensor, truth: Tensor, place: tuple[float, float] | None) -> np.ndarray:
    """Return the picture with what was found in green, the truth's outline in red and the click in white: [160, 160, 3]."""
    image = (picture.permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8).copy()
    image[found.cpu().numpy()] = image[found.cpu().numpy()] // 2 + np.array([0, 127, 0], np.uint8)
    outline, _ = cv2.findContours(truth.cpu().numpy().astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outline, -1, (255, 0, 0), 1)
    if place is not None:
        cv2.circle(image, (int(place[0]), int(place[1])), 4, (255, 255, 255), -1)
    return cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA)
