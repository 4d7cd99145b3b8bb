"""Files that are built once and then only read, however many processes request them at the same time.

A file is intact if it agrees with the stamp beside it: its size, its modification time, and a digest of its content.
If size and time agree, the content is not read again; if they differ (the file was copied, truncated or overwritten),
the digest decides. A file that is not intact is rebuilt.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import IO

from rao_envs.errors import OptionError

__all__ = ["FOLDER_VARIABLE", "cache_folder", "cached"]

FOLDER_VARIABLE = "RAO_ENVS_CACHE"


def cache_folder() -> Path:
    """Return the folder for cached files: $RAO_ENVS_CACHE, or "rao-envs" in the platform's cache folder."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rao-envs"


def cached(key: str, build: Callable[[Path], None], *, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the file for a key, built first if it is missing or not intact.

    Of several processes and threads that ask at the same time, one builds and the others wait for it. If it dies, the
    next one builds. An exception from `build` propagates, and leaves nothing behind.

    Args:
        key: identifies the content; include everything that the content depends on, such as a version and a seed.
        build: writes the file to the path that it receives, which does not exist yet.
        folder: where the file is kept; None takes `cache_folder()`.

    Raises:
        OptionError: the folder cannot be used.
    """
    home = Path(folder) if folder is not None else cache_folder()
    path = home / _file_name(key)
    if _is_intact(path):
        return path
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(f"{path.name}.lock"), "ab")  # noqa: SIM115 (closed by _locked)
    except OSError as error:
        name = "folder" if folder is not None else FOLDER_VARIABLE
        raise OptionError(name, str(home), f"cannot be used ({error}); name a writable folder") from error
    with _locked(lock):
        if not _is_intact(path):
            _build(path, build)
    return path


def _build(path: Path, build: Callable[[Path], None]) -> None:
    # The process that left these behind is dead, or it would hold the lock.
    for leftover in path.parent.glob(f"{path.name}.*.part*"):
        leftover.unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        build(part)
        with part.open("rb+") as file:
            digest = _digest(file)
            os.fsync(file.fileno())
        _stamp_of(path).unlink(missing_ok=True)
        os.replace(part, path)
        _write_stamp(path, digest)
    finally:
        part.unlink(missing_ok=True)


def _is_intact(path: Path) -> bool:
    try:
        stamp = json.loads(_stamp_of(path).read_bytes())
        known = path.stat()
        if [stamp["size"], stamp["written"]] == [known.st_size, known.st_mtime_ns]:
            return True
        with path.open("rb") as file:
            intact = bool(stamp["size"] == known.st_size and stamp["digest"] == _digest(file))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if intact:
        with suppress(OSError):  # in a read-only folder the digest is computed again next time
            _write_stamp(path, stamp["digest"])
    return intact


def _write_stamp(path: Path, digest: str) -> None:
    stamp, known = _stamp_of(path), path.stat()
    part = stamp.with_name(f"{stamp.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"size": known.st_size, "written": known.st_mtime_ns, "digest": digest}))
    os.replace(part, stamp)


def _stamp_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _digest(file: IO[bytes]) -> str:
    return file_digest(file, partial(blake2b, digest_size=16)).hexdigest()  # type: ignore[arg-type]  # its stub knows only names


def _file_name(key: str) -> str:
    """Return a name that is valid on every file system and distinct for every key."""
    readable = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60]
    return f"{readable}-{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Hold the lock of an open file, then close it. The system also releases the lock when the process dies."""
    with file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                with suppress(OSError):
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                time.sleep(0.05)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
