"""The locks: made from the pyproject.toml that is here, at one version of torch, and the lowest at our bounds."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path for path in REQUIREMENTS.glob("*.txt") if path.stem != "held")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BOUND = re.compile(r"(?P<package>[\w-]+)(?:\[[\w,]+\])?>=(?P<version>[\d.]+)")


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "requirements" / "lock.py", "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pins(lock: Path) -> dict[str, set[str]]:
    """Return the versions of each package; there can be several, for several Pythons."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if not line.startswith("#"):
            package, version = re.fullmatch(r"([a-z0-9.-]+)==(\S+)(?: ; .+)?", line).groups()
            found.setdefault(package, set()).add(version)
    return found


@pytest.fixture
def clone(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(REQUIREMENTS, tmp_path / "requirements")
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_locks_are_those_of_this_pyproject():
    assert check(ROOT).returncode == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("pyproject.toml", '"networkx>=', '"attrs", "networkx>=', len(LOCKS)),
        ("pyproject.toml", "matplotlib>=", "matplotlib!=3.9,>=", len(LOCKS)),
        ("pyproject.toml", "hatchling>=", "hatchling!=1.28,>=", len(LOCKS)),
        ("pyproject.toml", ">=3.11", ">=3.12", len(LOCKS)),
        ("requirements/held.txt", "torch==", "torch==9", len(LOCKS)),
        ("requirements/trl.in", "peft", "attrs\npeft", 2),
        ("requirements/dev.txt", "# made from ", "# made from f", 1),
    ],
)
def test_a_lock_that_is_out_of_date_is_named_with_the_fix(clone, name, old, new, stale):
    edit(clone / name, old, new)
    done = check(clone)
    assert done.returncode == 1
    locks, fix = done.stderr.splitlines()
    assert len(re.findall(r"[\w-]+\.txt", locks)) == stale
    assert "Run `make lock`" in fix


def test_a_change_of_nothing_that_is_installed_makes_no_lock_stale(clone):
    edit(clone / "pyproject.toml", "line-length = 120", "line-length = 100")
    edit(clone / "requirements" / "trl.in", "# ", "# Another comment. ")
    assert check(clone).returncode == 0


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_holds_torch_and_leaves_cuda_to_it(lock):
    found = pins(lock)
    (held,) = (line for line in (REQUIREMENTS / "held.txt").read_text().splitlines() if line.startswith("torch=="))
    assert found["torch"] == {held.removeprefix("torch==")}
    assert not [package for package in found if package.startswith("nvidia") or package == "triton"]
    assert {"pip", "setuptools", "hatchling"} <= found.keys()  # what builds is locked too


@pytest.mark.parametrize(("lock", "extras"), [("all-lowest", {"all", "test"}), ("trl-lowest", {"test", "trl"})])
def test_the_lowest_versions_are_the_bounds(lock, extras):
    found = pins(REQUIREMENTS / f"{lock}.txt")
    asked = list(PROJECT["dependencies"])
    for extra in extras:
        inner = re.findall(r"rao-envs\[([\w,]+)\]", " ".join(PROJECT["optional-dependencies"][extra]))
        names = [extra, *(name for group in inner for name in group.split(","))]
        asked += [line for name in names for line in PROJECT["optional-dependencies"][name]]
    # An extra comes later, and may raise a bound of the core.
    bounds = {match["package"]: match["version"] for match in map(BOUND.match, asked) if match}
    assert len(bounds) > 10
    for package, bound in bounds.items():
        if package != "torch":
            (version,) = found[package]
            assert f"{version}.".startswith(f"{bound}."), f"{package} is tested at {version}, not at {bound}"
