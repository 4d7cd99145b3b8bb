"""What a policy is shown of a rollout, and what its draws are hashed from."""

import pytest

from rao_envs.errors import EpisodeOver
from rao_envs.policies import View, views
from rao_envs.testing.toy import finish, note, say, toy_env


def seeds(env):
    return [view.seed for view in views(env)]


def test_seeds_come_from_the_rollout_s_own():
    env = toy_env()
    drawn = []
    for seed in range(5):
        env.reset(seed=seed)
        drawn += seeds(env)
    assert len(set(drawn)) == 5
    env.reset(seed=3)
    assert seeds(env) == drawn[3:4]
    env.reset()  # without a seed: another rollout
    assert not set(seeds(env)) & set(drawn)


def test_every_turn_has_a_seed_of_its_own():
    env = toy_env()
    env.reset(seed=0)
    before = seeds(env)
    env.step(say(note("x")))
    assert seeds(env) != before


def test_a_checkpoint_keeps_them():
    env, other = toy_env(), toy_env()
    env.reset(seed=1)
    other.load(env.save())
    assert seeds(other) == seeds(env)
    assert other.rollout_seed == env.rollout_seed


def test_a_seed_that_is_given_is_taken():
    env = toy_env()
    env.reset(seed=0)
    (view,) = views(env, 7)
    assert view.seed == View(view.node, "calls", 7).seed
    assert views(env, 0)[0].seed == View(view.node, "calls", 0).seed != seeds(env)[0]


def test_there_are_none_before_the_first_reset_and_after_the_end():
    env = toy_env()
    with pytest.raises(EpisodeOver):
        views(env)
    env.reset(seed=0)
    env.step(say(finish()))
    assert views(env) == []
