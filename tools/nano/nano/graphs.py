"""A training step as a CUDA graph: its kernels are started as one, since starting them one by one takes longer than they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Step:
    """Forwards and backwards of one kind of step over inputs that stay in place; eager, or captured once and replayed."""

    def __init__(
        self, losses: Callable[[], tuple[Tensor, dict[str, Tensor]]], params: list[torch.nn.Parameter]
    ) -> None:
        """Take the function that returns the loss and numbers to be shown, and what gradients are wanted of."""
        self._losses, self._params = losses, params
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> tuple[Tensor, dict[str, Tensor], list[Tensor | None]]:
        """Return loss, numbers and gradients; a captured step overwrites those of the last call."""
        if self._graph is not None:
            self._graph.replay()
            return self._made
        return self._eager()

    def _eager(self) -> tuple[Tensor, dict[str, Tensor], list[Tensor | None]]:
        for p in self._params:
            p.grad = None
        total, parts = self._losses()
        total.backward()
        grads = [p.grad for p in self._params]
        for p in self._params:
            p.grad = None
        return total.detach(), parts, grads

    def capture(self, stream: torch.cuda.Stream, pool: tuple[int, int], seed: int) -> str:
        """Capture the step and compare it with its eager self for the same random numbers; return what was compared.

        Raises:
            RuntimeError: what CUDA says, or that the captured step does something else.
        """
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._eager()  # libraries load, constants are copied
            torch.cuda.manual_seed(seed)
            first, _, grads = self._eager()
            expected = float(first), float(_norm(grads))
            del first, grads
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._made = self._eager()
        self._graph = graph
        torch.cuda.manual_seed(seed)
        found = [(float(self()[0]), float(_norm(self._made[2]))) for _ in range(2)]
        said = f"loss {expected[0]:.4f} eager, {found[0][0]:.4f} and {found[1][0]:.4f} replayed; gradient {expected[1]:.3f}, {found[0][1]:.3f}"
        if not all(math.isfinite(v) for pair in found for v in pair):
            raise RuntimeError(f"a captured step is not finite: {said}")
        if abs(found[0][0] - expected[0]) > 0.25 * abs(expected[0]) or not 0.4 < found[0][1] / expected[1] < 2.5:
            raise RuntimeError(f"a captured step differs: {said}")
        return said


def _norm(grads: Iterable[Tensor | None]) -> Tensor:
    return torch.stack(torch._foreach_norm([g for g in grads if g is not None])).norm()
