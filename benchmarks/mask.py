"""Time `grow:10,blockify:32` on 77 frames of 1280x720 against the plain way, in one run.

    .venv/bin/python benchmarks/mask.py

The plain way: ten passes of a 3x3 grey dilation a frame (scipy-like footprints through OpenCV would flatter it, so it
is scipy's own where it is installed, else the same maximum of shifted copies), then a Python loop over the cells.
"""

import time

import numpy as np

from wanlab import mask

FRAMES, HEIGHT, WIDTH = 77, 720, 1280


def person(t: int) -> np.ndarray:
    """Return a frame's mask: a moving body of ellipses."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    middle = 500 + 3 * t
    body = ((x - middle) / 110) ** 2 + ((y - 430) / 260) ** 2 < 1
    head = ((x - middle) / 55) ** 2 + ((y - 120) / 70) ** 2 < 1
    arm = ((x - middle - 170) / 150) ** 2 + ((y - 300 - 40 * np.sin(t / 5)) / 30) ** 2 < 1
    return body | head | arm


def plain_grow(frame: np.ndarray, passes: int) -> np.ndarray:
    """Dilate by a plus of 3x3 pixels, pass by pass."""
    try:
        from scipy.ndimage import grey_dilation

        plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
        for _ in range(passes):
            frame = grey_dilation(frame, footprint=plus)
        return frame
    except ImportError:
        for _ in range(passes):
            p = np.pad(frame, 1)
            around = p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:], p[1:-1, 1:-1]
            frame = np.maximum.reduce(around)
        return frame


def plain_blockify(frame: np.ndarray, size: int) -> np.ndarray:
    """Fill cells one by one."""
    rows, columns = np.nonzero(frame)
    y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    down, across = max(1, (y1 - y0) // size), max(1, (x1 - x0) // size)
    high, wide = (y1 - y0) // down, (x1 - x0) // across
    out = np.zeros_like(frame)
    for i in range(down):
        for j in range(across):
            bottom = y1 if i == down - 1 else y0 + (i + 1) * high
            right = x1 if j == across - 1 else x0 + (j + 1) * wide
            if frame[y0 + i * high : bottom, x0 + j * wide : right].any():
                out[y0 + i * high : bottom, x0 + j * wide : right] = 1
    return out


def main() -> None:
    masks = np.stack([person(t) for t in range(FRAMES)])
    start = time.perf_counter()
    ours = mask.apply_chain(masks, "grow:10,blockify:32")
    middle = time.perf_counter()
    theirs = np.stack([plain_blockify(plain_grow(frame, 10), 32) for frame in masks.astype(np.float32)])
    end = time.perf_counter()
    assert np.array_equal(ours, theirs.astype(bool)), "both ways must give the same masks"
    print(
        f"wanlab {middle - start:.2f} s, plain {end - middle:.2f} s: {(end - middle) / (middle - start):.1f} times faster"
    )


if __name__ == "__main__":
    main()
