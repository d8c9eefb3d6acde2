"""Locks: one process at a time works on a run or a cache entry; the others get an error that names it.

    with locks.held(path, "run X"):   # BusyError if another process holds it
        …

The operating system drops a lock when its process ends, however it ends. The lock's file names its owner: the number of
the process and a hash of the machine. Some shared disks hand no locks from one machine to another: there the file's time,
which the owner renews while it lives, says whether it does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import filelock

from wanlab.files import whole

PATIENCE = 1.0  # seconds to try: a reader that looks whether a lock is held holds it for some microseconds
BEAT = 10.0  # seconds after which an owner renews its file's time
SILENT = 300.0  # seconds without a beat after which an owner on another machine counts as gone
SAY_EVERY = 60.0  # seconds between two messages that a lock is waited for
REMEDY = "wait for it or stop it"
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # the disk hands out no locks


class Owner(NamedTuple):
    """Who holds a lock, or held it last.

    Attributes:
        pid: number of the process; 0 where it is not known.
        host: `files.host()` of its machine.
        silent: seconds since it last renewed the lock's file.
    """

    pid: int
    host: str
    silent: float

    @property
    def is_here(self) -> bool:
        """Whether its machine is this one."""
        return self.host == whole.host()

    @property
    def is_this_process(self) -> bool:
        """Whether it is the process that asks."""
        return self.is_here and self.pid == os.getpid()

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        if self.is_here:
            return "this process" if self.is_this_process else f"process {self.pid} of this machine"
        return f"process {self.pid} of another machine ({self.host}, last heard of {self.silent:.0f} s ago)"


class BusyError(RuntimeError):
    """Another process works on what was asked for; nothing was begun and nothing is wrong with it.

    Attributes:
        lock: the lock's file.
        owner: who works.
    """

    def __init__(self, text: str, lock: Path, owner: Owner) -> None:
        super().__init__(text)
        self.lock, self.owner = lock, owner

    def __reduce__(self) -> tuple[type[BusyError], tuple[str, Path, Owner]]:
        return type(self), (str(self), self.lock, self.owner)  # it crosses processes


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self.path, self._what, self._remedy = path, what, remedy

    def check(self) -> None:
        """Raise a BusyError if another machine has taken the lock over, because this process was silent for too long."""
        now = last_owner(self.path)
        if now is not None and not now.is_this_process:
            raise busy(self.path, self._what, self._remedy, now)


@contextlib.contextmanager
def held(path: Path, what: str, remedy: str = REMEDY) -> Iterator[Lock]:
    """Hold the lock at `path` while the block runs; its file is made, and stays when the block ends.

    Args:
        path: the lock's file; a link raises an error, since the file that it points to would be overwritten.
        what: it stands for, for messages.
        remedy: what to do where another process holds it.

    Raises:
        BusyError: if another process, or another lock of this one, holds it.
        OSError: if its file cannot be written.
    """
    lock = _acquire(path, what, remedy)
    ended = threading.Event()
    try:
        try:
            _write(path, json.dumps({"pid": os.getpid(), "host": whole.host()}))
        except OSError as error:
            if error.errno not in whole.FULL_DISK:
                raise  # on a full disk it is held without a name: what is finished can still be used
        threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
        yield Lock(path, what, remedy)
    finally:
        ended.set()
        found = last_owner(path)
        if found is not None and found.is_this_process:
            with contextlib.suppress(OSError):
                _write(path, "")  # the folder may be shared. Without the file, two others could lock two files
        lock.release()


@contextlib.contextmanager
def awaited(path: Path, what: str, say: Callable[[str], object] = print) -> Iterator[Lock]:
    """Hold the lock at `path` as `held` does, but wait until it is free; print a message now and then."""
    said = -SAY_EVERY
    while True:
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(held(path, what))
            except BusyError as error:
                if time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()
                    say(f"{error.owner} works on {what}: waiting for it")
                continue
            yield lock
            return


def owner(path: Path) -> Owner | None:
    """Return the process that holds the lock at `path`, None if it is free."""
    found = last_owner(path)
    if _is_held(path, found):
        return last_owner(path) or found or Owner(0, "", 0.0)
    return found if found and not found.is_here and found.silent < SILENT else None


def last_owner(path: Path) -> Owner | None:
    """Return the process that holds the lock at `path`, or died while it held it; None if it is free."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
            found = json.load(file)
            silent = time.time() - os.fstat(file.fileno()).st_mtime
        return Owner(int(found["pid"]), str(found["host"]), max(0.0, silent))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def busy(path: Path, what: str, remedy: str = REMEDY, by: Owner | None = None) -> BusyError:
    """Return the error that names the process that holds the lock at `path`."""
    by = by or last_owner(path) or Owner(0, "", 0.0)
    return BusyError(f"{what} must not be worked on twice, and {by} works on it; {remedy}", path, by)


def _acquire(path: Path, what: str, remedy: str) -> filelock.BaseFileLock:
    lock = _lock(path)
    try:
        lock.acquire(timeout=PATIENCE, poll_interval=0.02)
    except filelock.Timeout:
        raise busy(path, what, remedy) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, f"{path} must be a file, got a link; remove it") from None
        if error.errno not in UNSUPPORTED:
            raise whole.explained(error, path) from error
    found = last_owner(path)
    if found is None or (found.is_here and lock.is_locked):
        return lock  # its last owner, if it did not give it back, is dead
    if found.silent < SILENT and not (found.is_here and not whole.is_alive(found.pid)):
        lock.release()
        raise busy(path, what, remedy, found)
    if not found.is_here:
        print(f"note: {what} is taken over from {found}")
    return lock


def _is_held(path: Path, found: Owner | None) -> bool:
    """Return whether a process holds the lock, by the locks of this machine."""
    if not path.is_file() or path.is_symlink():
        return False
    for _ in range(3):  # two that ask in the same moment are in each other's way
        lock = _lock(path)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            time.sleep(random.uniform(0.001, 0.01))
            continue
        except OSError:  # a disk without locks, or one that cannot be written to
            return found is not None and found.silent < SILENT and not (found.is_here and not whole.is_alive(found.pid))
        lock.release()
        return False
    return True


def _lock(path: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(path, thread_local=False, fallback_to_soft=False)


def _write(path: Path, text: str) -> None:
    """Write the owner into the lock's own file: another file in its place would be another lock."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w") as file:
            file.write(text)
    except OSError as error:
        raise whole.explained(error, path) from error


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path, follow_symlinks=False)
