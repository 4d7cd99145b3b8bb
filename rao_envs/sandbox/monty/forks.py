"""Notice processes that cannot reach the interpreter's workers.

The client that talks to the workers has threads, and threads do not survive `os.fork`: in a process forked from
one that has run code, any call of the client would wait for ever. Such a process gets a clear error instead.
"""

from __future__ import annotations

import os

from rao_envs.errors import InfrastructureError

__all__ = ["check", "is_orphan", "mark_used"]

_used = False
_orphan = False


def mark_used() -> None:
    """Note that this process has started the client."""
    global _used
    _used = True


def is_orphan() -> bool:
    """Say whether this process was forked from one that had started the client."""
    return _orphan


def check() -> None:
    """Refuse to go on in such a process.

    Raises:
        InfrastructureError: the client would hang here.
    """
    if _orphan:
        raise InfrastructureError(
            "this process was forked from one that had already run code in the sandbox; start processes with the "
            "'spawn' or 'forkserver' method, such as AsyncVectorEnv(..., context='spawn'), or before any code runs"
        )


def _note_fork() -> None:
    global _orphan
    _orphan = _orphan or _used


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_note_fork)
