"""A disk cache for a service's replies: one file per request, written atomically."""

from __future__ import annotations

import json
import os
import threading
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rao_envs.errors import OptionError

__all__ = ["ReplyCache"]


class ReplyCache:
    """A folder of replies by request, shared by threads and processes.

    A damaged file counts as missing and is rewritten. If the folder becomes unwritable, replies are no longer kept,
    with a `RuntimeWarning`.

    Attributes:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder.

        Raises:
            OptionError: it cannot be created.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError("cache", str(folder), f"cannot be used ({error}); name a writable folder") from error

    def get(self, request: str) -> Any:
        """Return the reply to a request, or None."""
        try:
            kept = json.loads(self._path(request).read_bytes())
            # Without the check on the request, a damaged or foreign file could pass as its reply.
            return kept["reply"] if kept["request"] == request and kept["check"] == _check(kept["reply"]) else None
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def put(self, request: str, reply: Any) -> Any:
        """Store a reply, and return the stored one: of two concurrent replies, the first is used for both."""
        path = self._path(request)
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            part.write_text(json.dumps({"request": request, "reply": reply, "check": _check(reply)}), encoding="utf-8")
            if (known := self.get(request)) is not None:
                part.unlink()
                return known
            os.replace(part, path)
        except OSError as error:
            warnings.warn(f"reply cache {self.folder}: {error}; continuing without it", RuntimeWarning, stacklevel=2)
        return reply

    def _path(self, request: str) -> Path:
        digest = blake2b(request.encode(), digest_size=20).hexdigest()
        return self.folder / digest[:2] / f"{digest}.json"


def _check(reply: Any) -> str:
    return blake2b(json.dumps(reply, sort_keys=True).encode(), digest_size=16).hexdigest()
