import os
from pathlib import Path

import pytest

from rao_oolong import generate
from rao_oolong.real.episodes import load_episodes


@pytest.fixture(scope="session")
def campaign():
    """Three episodes, long enough that every family has an answer."""
    return generate(7, episodes=3, tokens=90_000)


@pytest.fixture(scope="session")
def single():
    return generate(11, tokens=40_000)


@pytest.fixture(scope="session")
def real_folder():
    default = Path(__file__).parents[2] / ".." / "shared" / "data" / "oolong_real"
    folder = Path(os.environ.get("RAO_OOLONG_REAL", default))
    if not folder.is_dir():
        pytest.skip(f"no real episodes at {folder}; RAO_OOLONG_REAL says where they are")
    return folder


@pytest.fixture(scope="session")
def real(real_folder):
    return load_episodes(real_folder)
