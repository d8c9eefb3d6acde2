"""Keypoints as upstream finds them: a box for the person, then the pose in it, with the checkpoint's own networks.

Each frame stands for itself: nobody is followed, nothing is smoothed. Unlike upstream, frames go through the networks in
batches, and decoding, preparing, the two networks and reading their answers overlap.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from wanlab import media
from wanlab.pose import sessions, tracks, vitpose, yolo
from wanlab.pose.cuts import mark_shots
from wanlab.pose.detection import Detection, Person, Watch, survey, unwatched
from wanlab.pose.detector_files import Detectors
from wanlab.pose.wholebody import NAMES, NUM_BODY, SEEN

T = TypeVar("T")
WORKERS = min(
    8, os.cpu_count() or 1
)  # threads that prepare frames; OpenCV and numpy leave the interpreter's lock meanwhile
SURE = 0.5  # score of a box that counts as another person: YOLO's smallest ones are furniture
SAME = 0.4  # IoU from which a box is that of the person seen at a place
LEAST_SEEN = 4  # body points; where nobody was found, a pose with fewer in the whole image is none


class Networks(NamedTuple):
    """The two networks.

    Attributes:
        boxes: [N, 3, 640, 640] → [N, n, 6]; see `yolo`.
        pose: [N, 3, 256, 192] → heatmaps [N, 133, 64, 48]; see `vitpose`.
    """

    boxes: sessions.Network
    pose: sessions.Network


class Found(NamedTuple):
    """What is found in one frame.

    Attributes:
        points: [133, 3], float32; x, y in pixels, score.
        box: [5], x1, y1, x2, y2 in pixels, score; the whole image with score -1 where nobody is.
        num_people: sure boxes of people.
        begins: whether a new shot begins with the frame.
    """

    points: np.ndarray
    box: np.ndarray
    num_people: int
    begins: bool


class _Frame(NamedTuple):
    """A frame on its way to the pose network."""

    image: np.ndarray
    begins: bool
    box: np.ndarray
    num_people: int
    window: vitpose.Window


def open_networks(files: Detectors) -> Networks:
    """Open the two networks of a checkpoint.

    Raises:
        ValueError: if one of them is damaged or another network.
    """
    return Networks(
        sessions.open_network(files.boxes, yolo.SIDE, yolo.SIDE),
        sessions.open_network(files.pose, vitpose.HEIGHT, vitpose.WIDTH),
    )


def detect(
    frames: Iterable[np.ndarray],
    networks: Networks,
    order: vitpose.Order = "bgr",
    person: Person | None = None,
    watch: Watch = unwatched,
) -> Detection:
    """Find the largest person of each frame, or follow one.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; gone through once; once more where there are several people, or with
            `person`.
        networks: from `open_networks`.
        order: of the channels that the pose network gets.
        person: whom to follow, by the numbers of `detection.survey`; None: the largest of each frame, as upstream.
        watch: what each pass over the frames goes through, with its name: progress.

    Raises:
        ValueError: nobody has the number, or nobody is where was clicked.
    """
    if person is None:
        found = _detect(watch(frames, "keypoints"), networks, order, None)
        several = bool((found.num_people > 1).any()) and len(found.boxes) > 1
        return found._replace(people=survey(watch(frames, "people")).boxes()) if several else found
    everybody = survey(watch(frames, "people"))
    people = everybody.boxes()
    number, _ = tracks.chosen(everybody.numbers, people, person)
    places = people[number - 1] if len(people) else np.zeros((len(everybody.found), 4))
    found = _detect(watch(frames, "keypoints"), networks, order, places)
    return found._replace(people=people, notes=(*found.notes, f"person {number} of {len(people)} is followed"))


def _detect(
    frames: Iterable[np.ndarray], networks: Networks, order: vitpose.Order, places: np.ndarray | None
) -> Detection:
    """Return what is found, of the person at some places ([T, 4], all 0: not there) or of the largest."""
    points, boxes, counts, cuts, empty, guessed = [], [], [], [], [], []
    for t, found in enumerate(find(frames, networks, order, places)):
        seen = found.points[:NUM_BODY, 2] >= SEEN
        nobody = found.box[4] < 0
        if found.begins:
            cuts.append(t)
        if (places is not None and not places[t].any()) or (nobody and seen.sum() < LEAST_SEEN):
            empty.append(t)
        elif nobody:
            guessed.append(t)
        points.append(found.points * (t not in empty[-1:]))
        boxes.append(found.box[:4] * (t not in empty[-1:]))
        counts.append(found.num_people)
    notes = []
    if empty:
        notes.append(f"no person in {media.describe_frames(empty)}: the pose is empty there")
    if guessed:
        notes.append(
            f"no box around a person in {media.describe_frames(guessed)}: the pose is looked for in the whole image there, as upstream"
        )
    others = sum(count > 1 for count in counts)
    if others and places is None:
        notes.append(
            f"{max(counts)} people in {others} frames: the largest of each frame is taken, as upstream, so that the pose may "
            "change from one to another; person 1 follows one"
        )
    return Detection(
        np.array(points, np.float32).reshape(-1, len(NAMES), 3),
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(empty),
        np.array(counts, int),
        tuple(cuts),
        tuple(notes),
        np.zeros((0, len(points), 4), np.float32),
    )


def find(
    frames: Iterable[np.ndarray],
    networks: Networks,
    order: vitpose.Order = "bgr",
    places: np.ndarray | None = None,
) -> Iterator[Found]:
    """Yield what is found in each frame: upstream's boxes and keypoints.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once.
        networks: from `open_networks`.
        order: of the channels that the pose network gets.
        places: [T, 4], x1, y1, x2, y2 in pixels: where the person to be followed is seen, all 0 where they are not; None:
            the largest is taken, as upstream.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        prepared = _ahead(_prepared(frames, networks.boxes.batch, pool))
        placed = _ahead(_placed(prepared, networks.boxes, order, pool, places))
        posed = _ahead((batch, networks.pose(images)) for batch, images in placed)
        for batch, heatmaps in posed:
            points = vitpose.keypoints(heatmaps, [frame.window for frame in batch])
            for frame, found in zip(batch, points, strict=True):
                yield Found(found, frame.box, frame.num_people, frame.begins)


def _prepared(
    frames: Iterable[np.ndarray], size: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[tuple[np.ndarray, bool]], np.ndarray]]:
    """Yield batches of frames with whether a shot begins, and the person detector's input for them."""
    marked = mark_shots(frames)
    while batch := list(itertools.islice(marked, max(size, sessions.BATCH))):
        images = np.empty((len(batch), 3, yolo.SIDE, yolo.SIDE), np.float32)
        list(pool.map(lambda frame, image: yolo.tensor(frame[0], image), batch, images))
        yield batch, images


def _placed(
    prepared: Iterable[tuple[list[tuple[np.ndarray, bool]], np.ndarray]],
    network: sessions.Network,
    order: vitpose.Order,
    pool: ThreadPoolExecutor,
    places: np.ndarray | None,
) -> Iterator[tuple[list[_Frame], np.ndarray]]:
    """Yield batches of frames with the followed person's box, and the pose network's input for them."""

    def place(frame: tuple[np.ndarray, bool], raw: np.ndarray, t: int) -> tuple[_Frame, np.ndarray]:
        image, begins = frame
        height, width = image.shape[:2]
        found = yolo.boxes(raw, height, width)
        box = yolo.person(found, height, width) if places is None else _nearest(found, places[t])
        window = vitpose.window(box, height, width)
        sure = int(((found[:, 5] == yolo.PERSON) & (found[:, 4] >= SURE)).sum())
        return _Frame(image, begins, box, sure, window), vitpose.tensor(image, window, order)

    first = 0
    for batch, images in prepared:
        placed = list(pool.map(place, batch, network(images), range(first, first + len(batch))))
        first += len(batch)
        yield [frame for frame, _ in placed], np.stack([tensor for _, tensor in placed])


def _nearest(found: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the box of a person ([n, 6] of `yolo.boxes`) that lies most where one was seen: [5]; the place itself if none does."""
    people = found[found[:, 5] == yolo.PERSON]
    shared = [tracks.iou(box, place) for box in people[:, :4]]
    if shared and max(shared) >= SAME:
        return people[int(np.argmax(shared)), :5]
    return np.array([*place, 0.0])


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield `items`; a thread makes the next one while one is worked on."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = worker.submit(next, items, None)
            yield item
