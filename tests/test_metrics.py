"""Metrics of rollouts whose every number can be worked out by hand, and what holds for all rollouts."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import metrics
from rao_envs.errors import OptionError
from rao_envs.testing.strategies import LogWriter, execution_trees, grow_tree
from rao_envs.tree import ExecutionTree


def gather():
    """Make the rollout below; latency of each action in the brackets, a character is a token.

    time     0    1              3         6  7
    root 0   [act]|-- blocked ------------>|[act]  ends at 7
    node 1        [--- 2 s ---]  ends at 3
    node 2        [--------- 5 s -------->]  ends at 6
    node 3        launched, never acts, not awaited: cancelled at 6
    """
    log = LogWriter("gather")
    log.spawn()
    log.act(0, "abcd", 1.0, prompt_tokens=10)
    log.spawn(0)
    log.spawn(0)
    log.block(0)
    log.act(1, "ab", 2.0, prompt_tokens=5)
    log.observe(1, fault="agent")
    log.finish(1, 1.0)
    log.resume(0)
    log.spawn(0)
    log.block(0)
    log.act(2, "abc", 5.0, prompt_tokens=7)
    log.finish(2, None, "context")
    log.resume(0)
    log.observe(0)
    log.act(0, "a", 1.0, prompt_tokens=20)
    log.finish(0, 0.5)
    return log.tree


def in_sequence():
    """Let a root wait for node 1 (4 s) and then node 2 (2 s) in one turn, then for node 3 (3 s) in the next."""
    log = LogWriter("sequence")
    log.spawn()
    log.act(0)
    for child, latency in ((1, 4.0), (2, 2.0)):
        log.spawn(0)
        log.block(0)
        log.act(child, latency=latency)
        log.finish(child)
        log.resume(0)
    log.observe(0)
    log.act(0)
    log.spawn(0)
    log.block(0)
    log.act(3, latency=3.0)
    log.finish(3)
    log.resume(0)
    log.finish(0)
    return log.tree


def test_summary_by_hand():
    result = metrics.summary([gather()], price_per_prompt_token=2.0, price_per_output_token=10.0)
    assert result == {
        "rollouts": 1,
        "invalid": 0,
        "unfinished": 0,
        "success": 0.5,
        "unjudged": 0,
        "unjudged_nodes": 1,
        "nodes": 4.0,
        "nodes_max": 4,
        "turns": 4.0,
        "turns_max": 4,
        "depth": 1.0,
        "depth_max": 1,
        "depth_histogram": [1, 3],
        "launches": 3,
        "concurrent_share": 1.0,  # 1 and 2 were awaited together, then 2 and 3
        "makespan": 7.0,
        "serial_time": 9.0,  # 1 + 2 + 5 + 1
        "speedup": 9 / 7,
        "critical_path": 2.0,
        "prompt_tokens": 42.0,  # 10 + 5 + 7 + 20
        "output_tokens": 10.0,  # 4 + 2 + 3 + 1
        "transcript_max": 21,
        "context_overflows": 1,
        "turn_overflows": 0,
        "cancelled": 1,
        "agent_faults": 1,
        "infrastructure_faults": 0,
        "cost": 184.0,  # 42 * 2 + 10 * 10
    }
    assert list(result) == list(metrics.Summary.__annotations__)


def test_children_awaited_one_by_one_are_not_concurrent():
    result = metrics.summary([in_sequence()])
    assert result["concurrent_share"] == 0.0
    assert result["makespan"] == result["serial_time"] == 11.0
    assert result["speedup"] == 1.0


def test_speedup_is_a_ratio_of_totals():
    # 9 s of acting in 7 s, and 11 s in 11 s: 20 / 18, not the mean of 9/7 and 1
    assert metrics.summary([gather(), in_sequence()])["speedup"] == pytest.approx(20 / 18)


def test_means_are_over_valid_finished_rollouts():
    spoiled, running = gather(), ExecutionTree.from_events(gather().events[:-1])
    spoiled.invalid = "the server died"
    trees = [grow_tree([-1], [1.0]), grow_tree([-1, 0, 1], [None, 1.0, 1.0]), spoiled, running]
    result = metrics.summary(trees)
    assert (result["rollouts"], result["invalid"], result["unfinished"]) == (4, 1, 1)
    assert result["success"] == 1.0
    assert (result["unjudged"], result["unjudged_nodes"]) == (1, 1)
    assert (result["nodes"], result["nodes_max"]) == (2.0, 3)
    assert (result["depth"], result["depth_max"], result["depth_histogram"]) == (1.0, 2, [2, 1, 1])


@pytest.mark.parametrize("trees", [[], [ExecutionTree()]])
def test_means_over_nothing_are_none(trees):
    result = metrics.summary(trees, price_per_prompt_token=1.0)
    for name in ("success", "nodes", "depth", "concurrent_share", "makespan", "speedup", "prompt_tokens", "cost"):
        assert result[name] is None
    assert result["depth_histogram"] == []
    assert result["transcript_max"] == 0


def test_no_prices_no_cost():
    assert metrics.summary([gather()])["cost"] is None
    assert metrics.summary([gather()], price_per_output_token=1.0)["cost"] == 10.0
    assert metrics.summary([gather(), gather()], price_per_output_token=1.0)["cost"] == 10.0


@pytest.mark.parametrize("name", ["price_per_prompt_token", "price_per_output_token"])
@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_impossible_prices_are_named(name, price):
    with pytest.raises(OptionError, match=f"{name}={price}"):
        metrics.summary([], **{name: price})


def test_summary_by():
    hard = grow_tree([-1], [0.0], "b", meta={"policy": "x"})
    spoiled = ExecutionTree()
    spoiled.invalid = "no worker"
    parts = metrics.summary_by([grow_tree([-1], [1.0], "a"), hard, grow_tree([-1], [0.5], "a"), spoiled], "id")
    assert {name: part["success"] for name, part in parts.items()} == {"a": 0.75, "b": 0.0, "": None}
    assert list(metrics.summary_by([hard])) == ["default"]
    assert list(metrics.summary_by([hard, grow_tree([-1], [0.0])], "policy")) == ["x", ""]
    assert metrics.summary_by([], "id") == {}
    assert metrics.summary_by([gather()], price_per_output_token=1.0)["default"]["cost"] == 10.0
    with pytest.raises(OptionError, match=r"key='dificulty'.*difficulty, id, policy"):
        metrics.summary_by([hard], "dificulty")


def test_critical_path_by_hand():
    # the root waited for 2 from 1 to 6; 1, whose result came at 3, was waited for at the same time
    assert metrics.critical_path(gather()) == [0, 2]
    # 1 held up the root for 4 s, then 2 for 2 s, then 3 for 3 s
    assert metrics.critical_path(in_sequence()) == [0, 1]
    # nobody waits
    assert metrics.critical_path(grow_tree([-1, 0], [1.0, 1.0])) == [0]


def test_critical_path_passes_over_what_others_hid():
    # Launched at 1: node 1 (until 9) and node 2 (until 3), whose result lets the root launch node 3 (3 to 10).
    # The root could not have gone on before 10 had node 1 been instant: 3 held it up for 7 s, before that 2.
    log = LogWriter()
    log.spawn()
    log.act(0)
    log.spawn(0)
    log.spawn(0)
    log.block(0)
    log.act(2, latency=2.0)
    log.finish(2)
    log.resume(0)
    log.spawn(0)
    log.block(0)
    for child, latency in ((1, 8.0), (3, 7.0)):
        log.act(child, latency=latency)
        log.finish(child)
        log.resume(0)
    log.finish(0)
    assert log.tree.makespan == 10.0
    assert metrics.critical_path(log.tree) == [0, 3]


def test_critical_path_descends():
    log = LogWriter()
    log.spawn()
    log.act(0)
    log.spawn(0)
    log.block(0)
    log.act(1)
    log.spawn(1)
    log.block(1)
    log.act(2, latency=9.0)
    for node in (2, 1):
        log.finish(node)
        log.resume(node - 1)
    log.finish(0)
    assert metrics.critical_path(log.tree) == [0, 1, 2]


def test_critical_path_needs_an_end():
    with pytest.raises(OptionError, match="unfinished"):
        metrics.critical_path(ExecutionTree())


def test_subtree_cost_by_hand():
    #                                        turns, prompt, output
    np.testing.assert_array_equal(metrics.subtree_cost(gather()), [[4, 42, 10], [1, 5, 2], [1, 7, 3], [0, 0, 0]])
    log = LogWriter()
    log.spawn()
    for node in range(3):
        log.act(node, "ab", prompt_tokens=10**node)
        if node < 2:
            log.spawn(node)
    np.testing.assert_array_equal(metrics.subtree_cost(log.tree), [[3, 111, 6], [2, 110, 4], [1, 100, 2]])
    assert metrics.subtree_cost(ExecutionTree()).shape == (0, 3)


@given(st.lists(execution_trees(), max_size=4))
def test_what_holds_for_all_rollouts(trees):
    result = metrics.summary(trees)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert sum(result["depth_histogram"]) == sum(len(tree) for tree in trees)
    assert result["launches"] == sum(len(tree) - 1 for tree in trees)
    for tree in trees:
        cost = metrics.subtree_cost(tree)
        alone = metrics.summary([tree])
        assert cost[0].tolist() == [alone["turns"], alone["prompt_tokens"], alone["output_tokens"]]
        assert (cost[[node.parent or 0 for node in tree.nodes]] >= cost).all()
        assert alone["makespan"] <= alone["serial_time"] + 1e-9
        chain = metrics.critical_path(tree)
        assert all(tree.nodes[below].parent == above for above, below in pairwise(chain))


@given(st.lists(execution_trees(), min_size=1, max_size=4))
def test_parts_add_up(trees):
    whole, parts = metrics.summary(trees), metrics.summary_by(trees, "id").values()
    for name in ("rollouts", "launches", "cancelled", "unjudged_nodes", "agent_faults"):
        assert sum(part[name] for part in parts) == whole[name]
    assert max(part["transcript_max"] for part in parts) == whole["transcript_max"]
