"""The tree does not depend on which ready nodes the driver asks first; `baselines/driver_orders.py` tries many more."""

import pytest

from rao_envs.testing.orders import AnyOrderPolicy, outline, play
from rao_envs.testing.toy import toy_env

LIMITS = [{}, {"tree_turns": 12}, {"max_children": 2}, {"max_turns": 2}, {"tree_turns": 30, "max_children": 3}]


@pytest.mark.parametrize("action_format", ["calls", "code"])
@pytest.mark.parametrize("seed", range(40))
def test_the_tree_is_the_same_for_every_order_of_driving(action_format, seed):
    outlines = []
    for order in (0, 1, 2 + seed, 100 + seed):
        env = toy_env(action_format, limits={"max_depth": 3, **LIMITS[seed % len(LIMITS)]})
        tree = play(env, AnyOrderPolicy(seed), order)
        assert tree.invalid is None
        outlines.append(outline(tree))
        env.close()
    assert outlines[1:] == outlines[:1] * 3


def test_a_launch_that_is_never_awaited_pays_the_same_under_step_and_under_advance():
    messages = {"0": "a = launch_subagent('a')\nprint(await launch_subagent('b'))\nfinish(1)"}
    outlines = []
    for order in (0, 1):
        env = toy_env("code")
        tree = play(env, lambda view: messages.get(view.node.address, "finish(1)"), order)
        outlines.append(outline(tree))
    assert outlines[0] == outlines[1]


def test_the_policy_of_these_tests_does_all_that_it_should():
    seen = set()
    for seed in range(40):
        for action_format in ("calls", "code"):
            env = toy_env(action_format, limits={"max_depth": 3, **LIMITS[seed % len(LIMITS)]})
            tree = play(env, AnyOrderPolicy(seed), 1)
            seen |= {node.status for node in tree.nodes}
            for node in tree.nodes:
                for turn in node.turns:
                    seen |= {
                        word for word in ("refused", "is lost", "not started", "Error") if word in turn.observation
                    }
            env.close()
    assert seen == {"finished", "turns", "cancelled", "refused", "is lost", "not started", "Error"}
