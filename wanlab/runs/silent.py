"""Dask's scheduler and worker without the HTTP server that each of them opens beside its own port.

`dashboard=False` only leaves out its pages: addresses and state of the cluster are answered to anybody on the machine.
A module of its own, for it loads Dask; `dask worker --worker-class` imports it by name in a batch system's jobs.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class SilentScheduler(Scheduler):
    """A scheduler that listens to its workers and its client only."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port."""


class SilentWorker(Worker):
    """A worker that listens to its scheduler and to other workers only."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port."""
