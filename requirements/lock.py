"""Write the locks of all environments, or say which of them no longer match pyproject.toml.

Every ``NAME.in`` is an environment; its lock is ``NAME.txt``, the newest versions that fit together on every Python
and platform. ``NAME-lowest.txt`` has the lowest versions that our own bounds allow instead, on the lowest Python.
Locks are constraints for pip: they hold exact versions, of whatever builds the packages too, and install nothing by
themselves.

A lock names a digest of what it was made from, so that a check needs neither network nor packages.

    python requirements/lock.py --check
    python requirements/lock.py --uv .venv-lock/bin/uv [--upgrade]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
HELD = FOLDER / "held.txt"
NO_LOWEST = {"dev"}
"""Environments of tools, about whose older versions pyproject.toml says nothing."""
NO_NEWEST = {"all"}
"""Environments that are part of another one, or have the newest of everything by definition."""
INSTALLERS = ("pip>=25.3", "setuptools>=77")
"""The first pip that takes build constraints, and the backend of the one dependency that has no wheel."""
SOURCE_ONLY = "minecraft-data"


def locks() -> Iterator[tuple[Path, Path, bool]]:
    """Yield the input, the lock, and whether it has the lowest versions, for every lock."""
    for source in sorted(FOLDER.glob("*.in")):
        if source.stem not in NO_NEWEST:
            yield source, source.with_suffix(".txt"), False
        if source.stem not in NO_LOWEST:
            yield source, FOLDER / f"{source.stem}-lowest.txt", True


def digest(source: Path) -> str:
    """Return a digest of everything that a lock is made from, comments and formatting aside."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    tables = ("requires-python", "dependencies", "optional-dependencies")
    parts = [pyproject["build-system"]["requires"], INSTALLERS, [project[name] for name in tables]]
    parts.append(tomllib.loads((FOLDER / "uv.toml").read_text(encoding="utf-8")))
    for path in (source, HELD):
        lines = path.read_text(encoding="utf-8").splitlines()
        parts.append([line.strip() for line in lines if line.strip() and not line.startswith("#")])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def stale() -> list[str]:
    """Return the names of the locks that were not made from what is here now."""
    return [
        lock.name
        for source, lock, _ in locks()
        if not lock.is_file() or f"# made from {digest(source)}\n" not in lock.read_text(encoding="utf-8")
    ]


def compile_lock(uv: str, source: Path, lock: Path, *, lowest: bool, upgrade: bool) -> None:
    """Resolve one lock; versions that it has already stay while they fit, unless it is upgraded.

    Raises:
        subprocess.CalledProcessError: there is no solution, or no network.
    """
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    python = pyproject["project"]["requires-python"].removeprefix(">=")
    with tempfile.TemporaryDirectory() as folder:
        builders = Path(folder, "builders.in")
        builders.write_text("\n".join([*pyproject["build-system"]["requires"], *INSTALLERS]), encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python]
        # Old releases have no wheels for new Pythons, so the lowest versions are those of the lowest Python.
        command += ["--resolution=lowest-direct"] if lowest else ["--universal", "--fork-strategy=fewest"]
        command += ["--only-binary", ":all:", "--no-binary", SOURCE_ONLY]
        command += ["--config-file", str(FOLDER / "uv.toml"), "--constraints", str(HELD)]
        command += ["--upgrade"] if upgrade else []
        command += ["--output-file", str(lock), str(source), str(builders)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    pins = [line for line in lock.read_text(encoding="utf-8").splitlines() if re.match(r"[a-z0-9][a-z0-9.-]*==", line)]
    header = f"# Written by `make lock` from pyproject.toml, {source.name} and {HELD.name}: do not edit.\n"
    lock.write_text(f"{header}# made from {digest(source)}\n" + "\n".join(pins) + "\n", encoding="utf-8")


def main() -> int:
    """Check or write the locks; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the locks in requirements/, or check that they are up to date.")
    parser.add_argument("--check", action="store_true", help="only say which locks are out of date")
    parser.add_argument("--uv", default="uv", help="the program uv")
    parser.add_argument("--upgrade", action="store_true", help="move to the newest versions")
    options = parser.parse_args()
    if options.check:
        if old := stale():
            print(
                f"requirements/: {', '.join(old)} out of date: pyproject.toml or an input has changed since.\n"
                "Run `make lock` (needs network) and commit the result.",
                file=sys.stderr,
            )
        return bool(old)
    for source, lock, lowest in locks():
        compile_lock(options.uv, source, lock, lowest=lowest, upgrade=options.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
