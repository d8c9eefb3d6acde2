"""The proof of a checkpoint on this machine, for users with weights: `wanlab check --checkpoint DIR`.

Keys and types of every part, the VAE's round trip, two denoising steps of nine frames of the bundled clip, and what they
cost. What is written down names no path, file or user: it is what a report of a fault needs.
"""

from __future__ import annotations

import datetime
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import wanlab
from wanlab import config, files, media, pose, runs
from wanlab.media import resize
from wanlab.model import checkpoints, memory, parts, segments
from wanlab.pose import face

FRAMES, STEPS, SEED = 9, 2, 42
SIZES, SEGMENT = ((832, 480), (1280, 720)), 77  # that plans are shown for
AREA = "832 480"  # of the trial; smaller where the checkpoint recommends less
LEAST_PSNR = 25.0  # dB of the VAE's round trip; nano's gives 33
LEAST_LIKENESS = 0.3  # of the first velocity to the noise: nano's is 0.7; of wrong weights about 0
LEAST_SPREAD = 4.0  # of 255, of the result's pixels: less is one colour
OK, BAD, INFO = "ok", "NOT AS EXPECTED", ""


class Row(NamedTuple):
    """One line of the proof.

    Attributes:
        topic: what was checked.
        found: the result, ready to print.
        verdict: OK, BAD or INFO.
        facts: the result, ready for JSON; no path and no name.
    """

    topic: str
    found: str
    verdict: str
    facts: Mapping[str, Any]


def check_checkpoint(place: Path | None, device: str | None = None) -> Iterator[Row]:
    """Check a checkpoint part by part; a part that fails ends it, as what follows needs it.

    Args:
        place: folder or params file, in any layout that `checkpoints.find` reads; None: the one that is used by default.
        device: cuda or cpu; None: a GPU if there is one.

    Raises:
        FileNotFoundError, SettingsError, ValueError: if it is not complete or is none; the message says what to do.
    """
    checkpoint = checkpoints.find(place)
    yield Row("checkpoint", f"{checkpoint.name} ({_layout(checkpoint.folder)})", OK, _identity(checkpoint))
    yield from _keys(checkpoint.folder)
    yield from _plans(checkpoint.folder)
    from wanlab.model import networks

    used = networks.Networks(checkpoint.folder, device or networks.default_device())
    conditions = _conditions(checkpoint)
    yield from _round_trip(used, conditions)
    yield from _trial(used, conditions)
    yield _memory(used.device.type)


def write(rows: list[Row], error: Exception | None = None) -> Path:
    """Write the rows as JSON into the outputs folder, under a new name; return the file."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
    file = files.make_folder(config.outputs_root()) / f"check_{now}.json"
    ended = {} if error is None else {"ended_with": type(error).__name__}  # its text names files
    whole = {
        "wanlab": wanlab.__version__,
        "source": runs.source_hash(),
        "environment": runs.environment(),
        "checks": [{"topic": row.topic, "verdict": row.verdict or "info", **row.facts} for row in rows],
        **ended,
    }
    files.write_json(file, whole)
    return file


def _layout(folder: Path) -> str:
    if (folder / parts.INDEX).is_file():
        return "Diffusers folder"
    return "single files" if parts.is_scattered(folder) else "official folder"


def _identity(checkpoint: checkpoints.Checkpoint) -> dict[str, Any]:
    return {"layout": _layout(checkpoint.folder), "fingerprint": checkpoint.fingerprint(), "dtypes": checkpoints.dtypes(checkpoint.folder)}  # fmt: skip


def _keys(folder: Path) -> Iterator[Row]:
    """Yield a row per part: its types, and how its tensors compare with the network's."""
    from wanlab.model import loading

    of_part = parts.of(folder)
    for name, dtype in checkpoints.dtypes(folder).items():
        found = loading.contents(name, part := of_part[name])
        wrong = {
            what: list(names)
            for what, names in (("missing", found.missing), ("unknown", found.unknown), ("misshapen", found.misshapen))
            if names
        }
        said = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in wrong.items()
        ]
        facts = {
            "dtype": dtype,
            "num_tensors": found.num_tensors,
            **{what: names[:50] for what, names in wrong.items()},
        }
        size = sum(file.stat().st_size for file in parts.files(part)) / 2**30
        text = "; ".join([f"{dtype}, {found.num_tensors} tensors, {size:.2f} GiB", *said])
        yield Row(f"keys: {name}", text, BAD if wrong else OK, {**facts, "gib": round(size, 3)})


def _plans(folder: Path) -> Iterator[Row]:
    """Yield what a segment is expected to take on usual cards; of the full-size model, which the estimates are fitted to."""
    clips = [memory.Clip(SEGMENT, height, width) for width, height in SIZES]
    needs = memory.needs(parts.of(folder), clips[0], 2, is_compiled=True, pace=memory.pace("sdpa", False, True))
    if needs.width != memory.WIDTH:
        return
    for clip in clips:
        for card, machine in memory.CARDS.items():
            plan = memory.choose(machine, needs._replace(clip=clip))
            text = f"estimate: {plan.describe()}, {plan.seconds():.0f} s for {SEGMENT} frames in {memory.STEPS} steps"
            yield Row(f"{card}, {clip.width}x{clip.height}", text, INFO, {"plan": plan.facts()})


def _round_trip(used: Any, conditions: _Trial) -> Iterator[Row]:
    """Yield how much of the clip the VAE gives back."""
    import torch

    film = torch.from_numpy(conditions.driving).to(used.device).permute(3, 0, 1, 2).float() / 127.5 - 1
    latents, encoding = _timed(lambda: used.encode(film))
    back, decoding = _timed(lambda: used.decode(latents))
    error = float(((back - film.to(back)) / 2).square().mean())
    psnr = -10 * np.log10(max(error, 1e-10)) if np.isfinite(error) else float("nan")
    facts = {"psnr_db": _number(psnr), "encode_s": round(encoding, 2), "decode_s": round(decoding, 2)}
    statistics = {"latents_mean": _number(float(latents.mean())), "latents_std": _number(float(latents.std()))}
    text = f"{psnr:.1f} dB (expected at least {LEAST_PSNR:g}); encoded in {encoding:.1f} s, decoded in {decoding:.1f} s"
    yield Row("VAE round trip", text, OK if psnr >= LEAST_PSNR else BAD, {**facts, **statistics})


def _trial(used: Any, conditions: _Trial) -> Iterator[Row]:
    """Yield what two steps of nine frames give: whether they are numbers and an image, what they look like, how long they took."""
    from wanlab.model import sampling

    plan, seconds = segments.make_plan(FRAMES, FRAMES, 1), _clocked(used)
    sampler = sampling.SamplerSettings(config.PROMPT, STEPS, 1.0, 5.0, SEED)
    topic = f"{STEPS} steps of {FRAMES} frames, {conditions.height}x{conditions.width}"
    try:
        begun = sampling.begin(used, conditions, plan, sampler, STEPS)
    except FloatingPointError as error:
        yield Row(topic, str(error), BAD, {"error": "not a number, or black"})
        return
    text = f"{seconds[-1]:.2f} s a step, the first with the motion features {seconds[0]:.2f} s; no NaN, not black"
    yield Row(topic, text, OK, {"seconds_a_step": round(seconds[-1], 3), "seconds_first_step": round(seconds[0], 3)})
    first = begun.velocities[0]
    noise = sampling.noise_of(first.shape, SEED)
    likeness = float(np.corrcoef(first.ravel(), noise.ravel())[0, 1])
    facts = {"likeness": _number(likeness), "velocity_std": _number(float(first.std()))}
    text = f"{likeness:.2f} like the noise (expected at least {LEAST_LIKENESS:g}), spread {first.std():.2f}"
    yield Row("first velocity", text, OK if likeness >= LEAST_LIKENESS else BAD, facts)
    pixels = begun.frames.reshape(-1, 3).astype(np.float32)
    mean, spread = pixels.mean(axis=0), float(pixels.std())
    text = f"mean {', '.join(f'{each:.0f}' for each in mean)}, spread {spread:.0f} of 255 (expected at least {LEAST_SPREAD:g})"
    facts = {"pixel_mean": [_number(float(each)) for each in mean], "pixel_std": _number(spread)}
    yield Row("pixels of the result", text, OK if spread >= LEAST_SPREAD else BAD, facts)


def _memory(device: str) -> Row:
    scale = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30
    facts, text = {"host_gib": round(host, 2)}, f"{host:.1f} GiB of the host"
    if device == "cuda":
        import torch

        gpu = torch.cuda.max_memory_allocated() / 2**30
        facts, text = {**facts, "gpu_gib": round(gpu, 2)}, f"{text}, {gpu:.1f} GiB of the GPU"
    return Row("peak memory", text, INFO, facts)


def _clocked(used: Any) -> list[float]:
    """Return the list that the seconds of each denoising call are put into."""
    import torch

    seconds, denoise = [], used.denoise

    def timed(*given: Any, **more: Any) -> Any:
        def work() -> Any:
            made = denoise(*given, **more)
            if used.device.type == "cuda":
                torch.cuda.synchronize()
            return made

        made, taken = _timed(work)
        seconds.append(taken)
        return made

    used.denoise = timed
    return seconds


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.monotonic()
    return work(), time.monotonic() - start


def _number(value: float) -> float | None:
    """Return a number as JSON has them; None for one that is none."""
    return round(value, 4) if np.isfinite(value) else None


class _Trial:
    """Nine frames of the bundled clip with the keypoints that it was rendered from, as `sampling.Conditions`."""

    mode = "animate"

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        sample = config.ASSETS / "sample"
        clip = media.open_clip(sample / "half.mp4", max_frames=FRAMES)
        with np.load(sample / "half_truth.npz", allow_pickle=False) as truth:
            points = truth["keypoints"][:FRAMES].astype(np.float32)
        frames, meta = clip.read(), pose.to_meta(points, clip.height, clip.width)
        boxes = face.boxes(meta.face, clip.height, clip.width).boxes
        drawn = pose.draw(pose.letterbox_meta(meta, clip.height, clip.width, height, width), height, width)
        self.driving = np.stack([resize.letterbox(frame, height, width) for frame in frames])
        self._reference = resize.letterbox(media.read_image(sample / "character.png"), height, width)
        crops = np.stack([face.crop(frame, box) for frame, box in zip(frames, boxes, strict=True)])
        self._videos = {"pose_video": np.stack(list(drawn)), "face_video": crops}

    def reference_image(self) -> np.ndarray:
        return self._reference

    def frames(self, name: str, indices: np.ndarray) -> np.ndarray:
        return self._videos[name][indices]

    def fingerprint(self, name: str) -> str:
        return name

    def mask(self, indices: np.ndarray) -> np.ndarray:
        raise NotImplementedError  # of replace alone


def _conditions(checkpoint: checkpoints.Checkpoint) -> _Trial:
    reference = media.read_image(config.ASSETS / "sample" / "character.png")
    area = min(map(resize.area_of, (AREA, checkpoint.recommended["resolution"])))
    height, width = resize.area_size(reference.shape[0], reference.shape[1], area)
    return _Trial(height, width)
