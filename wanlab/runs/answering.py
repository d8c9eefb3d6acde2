"""A kernel whose widgets answer while a cell runs, those of a page that is loaded meanwhile too.

JupyterLab sends what a widget says to a subshell, but ipykernel 7.4 hands it to the shell that the widget spoke from last: to
the main one, where it waits for the cell. And a page that is loaded while a cell runs asks the main shell what the kernel can
do and which widgets it has, before it shows any. Here these messages, and no others, pass the cell by. `wanlab lab` starts
notebooks with this kernel; a batch run does not need it.
"""

from __future__ import annotations

import threading
from typing import Any

import zmq
from ipykernel.ipkernel import IPythonKernel

PASSING = {"kernel_info_request", "comm_info_request", "comm_open", "comm_msg", "comm_close"}


class AnsweringKernel(IPythonKernel):
    """IPython's kernel; of its private parts it uses those of ipykernel 7.4, and without them it is as any other."""

    _own_subshell: str | None = None

    async def shell_channel_thread_main(self, msg: list[Any]) -> None:
        """Hand a message to the shell that answers it; in a thread of its own."""
        try:
            if self._passed_by(msg):
                return
        except Exception:  # of private parts: then the message waits for the cell, as everywhere
            self.log.debug("a message could not pass the cell by", exc_info=True)
        await super().shell_channel_thread_main(msg)

    def _passed_by(self, msg: list[Any]) -> bool:
        """Hand a message to a subshell if it may pass a running cell by; return whether it was."""
        session: Any = self.session
        if session is None or not self._main_asyncio_lock.locked():
            return False
        idents, frames = session.feed_identities(msg, copy=False)
        header = session.unpack(frames[1].bytes)  # deserialized twice, a message would be refused as a repeated one
        if header["msg_type"] not in PASSING:
            return False
        manager = self.shell_channel_thread.manager
        subshell = header.get("subshell_id")
        if subshell is None:
            if self._own_subshell is None:
                self._own_subshell = manager._create_subshell()
            subshell = self._own_subshell
            content = session.deserialize(frames, content=True, copy=False)
            made = session.serialize({**content, "header": {**header, "subshell_id": subshell}}, ident=idents)
            msg = [zmq.Frame(part) for part in (*made, *map(bytes, content["buffers"]))]
        manager.get_shell_channel_to_subshell_socket(subshell).send_multipart(msg, copy=False)
        return True

    def _publish_status(self, status: str, *given: Any, **more: Any) -> None:
        """Tell a page that something begins or ends; where a cell runs on, that the kernel is busy all the same."""
        super()._publish_status(status, *given, **more)
        session: Any = self.session
        elsewhere = threading.current_thread() is not threading.main_thread()
        if status == "idle" and elsewhere and session is not None and self._main_asyncio_lock.locked():
            state = {"execution_state": "busy"}
            session.send(self.iopub_socket, "status", state, parent={}, ident=self._topic("status"))
