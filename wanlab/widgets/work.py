"""Long work of a widget in a thread: it tells how far it is, and can be cancelled."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError


class Work:
    """One work at a time, told to the browser as messages `job` and `error`."""

    def __init__(self, tell: Callable[..., object], ended: Callable[[], object]) -> None:
        """Take the widget's `tell` and what it does when a work has ended, however it did."""
        self._tell, self._ended = tell, ended
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether work is under way; not for the thread that does it."""
        return self._thread is not None and self._thread.is_alive() and self._thread is not threading.current_thread()

    def check_idle(self) -> None:
        """Raise a RuntimeError if work is under way."""
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("other work is under way; wait for it or cancel it")

    def begin(self, text: str, work: Callable[[], str]) -> None:
        """Begin work; what it returns is said when it has ended.

        Raises:
            RuntimeError: if other work is under way.
        """
        self.check_idle()
        self._cancel.clear()
        self._tell("job", running=True, text=text, done=0, total=0)
        self._thread = threading.Thread(target=self._run, args=(text, work), daemon=True)
        self._thread.start()

    def watch(self, what: str, done: int, total: int) -> None:
        """Tell how far the work is.

        Raises:
            CancelledError: if it is to end.
        """
        if self._cancel.is_set():
            raise CancelledError
        self._tell("job", running=True, text=what, done=done, total=total)

    def cancel(self) -> None:
        """Have the work end when it next tells how far it is."""
        self._cancel.set()

    def wait(self) -> None:
        """Return when the work has ended."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, text: str, work: Callable[[], str]) -> None:
        said = ""
        try:
            said = work()
        except CancelledError:
            said = f"cancelled: {text}"
        except Exception as error:
            traceback.print_exc()
            self._tell("error", text=f"{text}: {error or type(error).__name__}")
        self._tell("job", running=False, text=said, done=0, total=0)
        self._ended()
