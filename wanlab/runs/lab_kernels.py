"""The kernels of `wanlab lab`: their widgets answer while a cell runs, and they count as busy all the same."""

from __future__ import annotations

from jupyter_client.kernelspec import KernelSpec
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from wanlab.runs.kernels import NAME, OwnKernels

KERNEL = "wanlab.runs.answering.AnsweringKernel"
OF_WIDGETS = ("comm_open", "comm_msg", "comm_close")


class LabKernels(OwnKernels):
    """Kernels as `OwnKernels` finds them; `python3` also answers a page that is loaded while a cell runs."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how a kernel is started; raises as `OwnKernels`."""
        spec = super().get_kernel_spec(kernel_name)
        if kernel_name == NAME:
            spec.argv = [*spec.argv, f"--IPKernelApp.kernel_class={KERNEL}"]
        return spec


class LabKernelManager(AsyncMappingKernelManager):
    """What the server knows of its kernels: one that has answered a widget is not idle for that."""

    def track_message_type(self, message_type: str | None) -> bool:
        """Return whether what a kernel says of such a message tells in which state it is."""
        return message_type not in OF_WIDGETS and super().track_message_type(message_type)
