"""Locks on open files. The system releases them when their holder dies, so none is ever stale.

They are advisory: code that only reads a file neither takes its lock nor notices it. There is no separate lock file.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = ["LocksUnsupported", "holder", "lock", "unlock"]

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_BYTE = 1 << 62
"""The byte that is locked on Windows, where a locked byte cannot be read: far beyond the end of any file."""


class LocksUnsupported(OSError):
    """The file system, or the platform, has no locks."""


def lock(file: IO[bytes]) -> bool:
    """Take the lock on an open file, without waiting for it.

    Returns:
        Whether we now hold it; False if it is already held, even by this process.

    Raises:
        LocksUnsupported: the file system or the platform has no locks.
    """
    try:
        _take(file.fileno())
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise LocksUnsupported(*error.args) from error
    return True


def unlock(file: IO[bytes]) -> None:
    """Release the lock, also on behalf of processes that inherited the open file."""
    with suppress(OSError):  # closing the file releases it too
        _release(file.fileno())


def holder(file: IO[bytes]) -> int | None:
    """Return the id of the process that holds the lock on an open file; None if the system does not say."""
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        known = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    device = f"{os.major(known.st_dev):02x}:{os.minor(known.st_dev):02x}"
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4321 fd:01:1577 0 EOF
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == f"{device}:{known.st_ino}" and words[4].isdigit():
            return int(words[4]) or None  # 0: in another container, whose process ids we cannot see
    return None


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _release(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    try:
        import fcntl
    except ImportError:  # a platform without processes

        def _take(descriptor: int) -> None:
            raise OSError(errno.ENOSYS, "this platform has no file locks")

        def _release(descriptor: int) -> None:
            return

    else:
        # flock, not lockf: lockf's locks are lost as soon as this process closes any descriptor of the same file, as
        # every reader does.
        def _take(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def _release(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
