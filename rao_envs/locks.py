"""Locks on open files, which the system lets go of when their holder dies: none is ever stale.

They are advisory. Whoever only reads a file neither takes its lock nor notices it. There is no lock file beside the
locked one.
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
    """Take the lock of an open file, without waiting for it.

    Returns:
        Whether it is now ours; False if somebody else has it, be it in this process.

    Raises:
        LocksUnsupported: there is no lock to be had.
    """
    try:
        _take(file.fileno())
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise LocksUnsupported(*error.args) from error
    return True


def unlock(file: IO[bytes]) -> None:
    """Let go of the lock, also on behalf of processes that inherited the open file."""
    with suppress(OSError):  # closing the file does it, too
        _give_back(file.fileno())


def holder(file: IO[bytes]) -> int | None:
    """Return the id of the process that holds the lock of an open file; None where the system does not tell."""
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
            return int(words[4]) or None  # 0: in a container that this one cannot look into
    return None


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _give_back(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    try:
        import fcntl
    except ImportError:  # a platform without processes

        def _take(descriptor: int) -> None:
            raise OSError(errno.ENOSYS, "there are no file locks on this platform")

        def _give_back(descriptor: int) -> None:
            return

    else:
        # flock, not lockf: the latter's locks are lost as soon as this process closes any file of the same name, as
        # every reader does.
        def _take(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def _give_back(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
