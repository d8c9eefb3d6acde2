"""A kernel answers widgets while a cell runs: those of its page, and a page that is loaded meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from wanlab.runs import kernels, lab_kernels

WIDGET = """
from comm import create_comm
comm = create_comm(target_name="a_widget")
comm.on_msg(lambda message: comm.send({"echo": message["content"]["data"]}))
"""
BUSY = "import time; time.sleep(5); print('awake')"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a client of a kernel as `wanlab lab` starts it, which has a widget."""
    manager = KernelManager(kernel_name=kernels.NAME, kernel_spec_manager=lab_kernels.LabKernels())
    manager.start_kernel(extra_arguments=["--IPKernelApp.log_level=50"])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute(WIDGET, reply=True, timeout=60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def reply_to(client: Any, kind: str, content: dict[str, Any], subshell: str | None) -> str:
    """Send a message on the main shell, or with a subshell's id, and return its own id."""
    message = client.session.msg(kind, content)
    if subshell:
        message["header"]["subshell_id"] = subshell
    client.shell_channel.send(message)
    return message["header"]["msg_id"]


def heard(client: Any, until: Any, seconds: float = 3.0) -> Any:
    """Return the first message that the kernel publishes for which `until` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = client.get_iopub_msg(timeout=seconds)
        if until(message):
            return message
    raise AssertionError("not heard in time")


@pytest.mark.slow
def test_questions_and_widgets_pass_a_running_cell_by(client: Any) -> None:
    comms = client.comm_info(reply=True, timeout=20)["content"]["comms"]
    (comm,) = (name for name, facts in comms.items() if facts["target_name"] == "a_widget")
    client.control_channel.send(client.session.msg("create_subshell_request"))
    subshell = client.control_channel.get_msg(timeout=20)["content"]["subshell_id"]
    cell = client.execute(BUSY)
    heard(client, lambda message: message["msg_type"] == "execute_input")
    for given in (None, subshell):
        reply_to(client, "comm_msg", {"comm_id": comm, "data": {"via": given}}, given)
        answer = heard(client, lambda message: message["msg_type"] == "comm_msg")
        assert answer["content"]["data"] == {"echo": {"via": given}}
    asked = [reply_to(client, kind, {}, None) for kind in ("kernel_info_request", "comm_info_request")]
    for request in asked:
        answer = client.get_shell_msg(timeout=3)
        assert answer["parent_header"]["msg_id"] == request
    later = reply_to(
        client, "history_request", {"hist_access_type": "tail", "n": 1, "output": False, "raw": True}, None
    )
    busy = lambda message: message["content"].get("execution_state") == "busy" and not message["parent_header"]  # noqa: E731
    heard(client, busy, 4)
    assert client.get_shell_msg(timeout=20)["parent_header"]["msg_id"] == cell  # other questions wait for the cell
    assert client.get_shell_msg(timeout=20)["parent_header"]["msg_id"] == later


def test_a_widget_s_answer_does_not_make_a_kernel_idle() -> None:
    tracked = lab_kernels.LabKernelManager().track_message_type
    assert [tracked(kind) for kind in ("execute_request", "comm_msg", "comm_open", "kernel_info_request")] == [
        True, False, False, False,
    ]  # fmt: skip
