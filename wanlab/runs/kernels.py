"""Which Python runs notebooks: this one, whatever kernels the user has installed under the name `python3`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import traitlets
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

NAME = "python3"  # the name in the notebooks' metadata


class OwnKernels(KernelSpecManager):
    """Kernels as Jupyter finds them, but `python3` is this interpreter, in which wanlab is installed.

    Jupyter itself takes the first `kernels/python3` of JUPYTER_PATH and of the user's folder: another environment's, which
    may be gone by now or hold no wanlab.
    """

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the folder of each kernel by its name."""
        return super().find_kernel_specs() | {NAME: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how a kernel is started.

        Raises:
            NoSuchKernel: if there is none of this name.
        """
        if kernel_name != NAME:
            return super().get_kernel_spec(kernel_name)
        # Threads that wait by spinning took 5 times the CPU time where another process had the other core
        env = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict() | {"env": env})


def manager(on_start: Callable[[int], None]) -> type[AsyncKernelManager]:
    """Return what nbclient starts a kernel with: of OwnKernels; `on_start` is told its process number."""

    class Manager(AsyncKernelManager):
        @traitlets.default("kernel_spec_manager")
        def _own_kernels(self) -> OwnKernels:
            return OwnKernels()

        async def _async_post_start_kernel(self, **how: Any) -> None:
            await super()._async_post_start_kernel(**how)
            on_start(self.provisioner.pid)  # type: ignore[union-attr]

    return Manager
