"""Forked processes: before the first code they are fine, after it they say why they are not."""

import multiprocessing
import os
import subprocess
import sys
import warnings

import gymnasium as gym
import pytest

import rao_envs  # noqa: F401 (registers the ids)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def act(word):
    env = gym.make("TextCraftSynth-v0", depth=2)
    env.reset(seed=0)
    return env.step(f"print('{word}')")[0]


def outcome(queue, word):
    try:
        queue.put(act(word))
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


def in_a_fork(word):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forking with threads about
        child = context.Process(target=outcome, args=(queue, word))
        child.start()
    said = queue.get(timeout=30)
    child.join(timeout=30)
    assert child.exitcode == 0
    return said


def test_a_fork_after_code_has_run_gets_an_error_that_names_the_mend_and_its_parent_goes_on():
    env = gym.make("TextCraftSynth-v0", depth=2)
    env.reset(seed=0)
    env.step("x = 41")
    said = in_a_fork("hello")
    assert said.startswith("InfrastructureError")
    assert "context='spawn'" in said
    assert env.step("print(x + 1)")[0] == "42"


def test_a_fork_before_any_code_has_run_is_fine():
    code = (
        "import test_forks, rao_envs, gymnasium; gymnasium.make('TextCraftSynth-v0').reset(seed=0); "
        "print(test_forks.in_a_fork('hello'), test_forks.act('there'))"
    )
    here = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, timeout=60)
    assert done.stdout == "hello there\n", done.stderr
