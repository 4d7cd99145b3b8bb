"""Generators of the library draw what Python's own draw."""

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.seeding import derive, rng


@given(st.integers(), st.lists(st.integers(1, 2**70), min_size=1, max_size=40))
def test_every_draw_is_that_of_random(seed, sizes):
    ours, theirs = rng("test", seed), random.Random(derive("test", seed))
    for size in sizes:
        assert ours.randint(-3, size) == theirs.randint(-3, size)
        few = range(min(size, 1_000))
        assert ours.choice(few) == theirs.choice(few)
        one, two = list(few), list(few)
        ours.shuffle(one)
        theirs.shuffle(two)
        assert one == two
        assert ours.sample(few, len(few) // 2) == theirs.sample(few, len(few) // 2)
        assert ours.random() == theirs.random()
    assert ours.getstate() == theirs.getstate()
    assert pickle.loads(pickle.dumps(ours)).random() == theirs.random()


def test_impossible_draws_raise_what_random_raises():
    for draw in (lambda r: r.randint(2, 1), lambda r: r.choice([]), lambda r: r.randint(1.5, 2)):
        with pytest.raises(Exception) as theirs:  # noqa: PT011 (whatever Python's own raises)
            draw(random.Random(0))
        with pytest.raises(type(theirs.value)):
            draw(rng(0))
