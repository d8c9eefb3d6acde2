"""What the text encoder makes of a prompt, kept on disk: a second run with the same prompt and weights never loads UMT5.

The files lie in the outputs folder, hold a tensor each and no word of a prompt, and may be removed at any time.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wanlab import config, files
from wanlab.files import fingerprints
from wanlab.model import parts

KEPT = ".texts"  # folder of the outputs
LARGE = fingerprints.REMEMBERED  # bytes of weights from which on it is worth it: a small encoder is loaded at once
VERSION = 1  # raise it when a prompt is encoded in another way
NAME = "text"
READ = ("text_encoder", "tokenizer")


class Kept:
    """The encoded prompts of one text encoder."""

    def __init__(self, found: Mapping[str, Sequence[Path]], how: str) -> None:
        """Look at the sizes of the files; what they hold counts when a prompt is asked for.

        Args:
            found: parts of the checkpoint, as `parts.of` gives them.
            how: where and in which type it computes; another one gives other bits.
        """
        self._parts, self._how = found, how
        weights = parts.files(tuple(found["text_encoder"]))
        self._is_worth_it = sum(path.stat().st_size for path in weights) >= LARGE

    def read(self, prompt: str) -> Tensor | None:
        """Return what is kept of a prompt; None: nothing, or what is there cannot be read."""
        if not self._is_worth_it:
            return None
        with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):
            found = load_file(self._path(prompt))[NAME]
            if found.ndim == 3 and found.shape[0] == 1 and torch.isfinite(found).all():
                return found
        return None

    def write(self, prompt: str, state: Tensor) -> None:
        """Keep what was made of a prompt; where the disk does not take it, it is made again the next time."""
        if self._is_worth_it:
            with contextlib.suppress(OSError, SafetensorError):
                path = self._path(prompt)
                files.make_folder(path.parent)
                with files.writing(path) as part:
                    save_file({NAME: state.contiguous().cpu()}, part)

    def _path(self, prompt: str) -> Path:
        key = config.digest([VERSION, self._weights, self._how, prompt])[:32]
        return config.outputs_root() / KEPT / f"{key}.safetensors"

    @functools.cached_property
    def _weights(self) -> list[str]:
        read = [path for name in READ for path in parts.files(tuple(self._parts[name]))]
        return sorted(fingerprints.of_contents(path) for path in read)
