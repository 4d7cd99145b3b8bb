"""The objective: worked cases, the rules around the edges, the table, and what the caller can do wrong."""

import json
import math
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from rao_envs import credit
from rao_envs.errors import OptionError
from rao_envs.events import Aborted
from rao_envs.speed.credit import measure, random_forest
from rao_envs.testing.strategies import LogWriter, grow_tree
from rao_envs.tree import ExecutionTree

CASES = json.loads((Path(__file__).parents[1] / "data" / "objective_vectors.json").read_text())
COLUMNS = ("depth", "success", "reward", "baseline", "advantage", "weight")
NAN = float("nan")


def quietly(function, *args, **options):
    """Call without the warning about groups of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", credit.LoneRolloutWarning)
        return function(*args, **options)


def same(table, other, rows=slice(None), columns=COLUMNS):
    for name in columns:
        np.testing.assert_allclose(getattr(table, name)[rows], getattr(other, name), atol=1e-9, err_msg=name)


def lay_out(trees):
    """Lay trees given as dicts of parent and success end to end."""
    success, parent, tree = [], [], []
    for place, data in enumerate(trees):
        first = len(parent)
        parent += [-1 if up < 0 else first + up for up in data["parent"]]
        success += data["success"]
        tree += [place] * len(data["parent"])
    return success, parent, tree, [data["group"] for data in trees]


# Worked cases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@pytest.mark.parametrize("form", ["arrays", "trees"])
def test_worked_case(case, form):
    bonus = case["delegation_bonus"]
    if form == "arrays":
        table = quietly(credit.assign_forest, *lay_out(case["trees"]), delegation_bonus=bonus)
    else:
        trees = [grow_tree(data["parent"], data["success"], data["group"]) for data in case["trees"]]
        table = quietly(credit.assign, trees, delegation_bonus=bonus)
    for name in ("depth", "reward", "advantage", "weight"):
        expected = np.array([x for tree in case["expect"] for x in tree[name]], dtype=float)
        np.testing.assert_allclose(getattr(table, name), expected, atol=1e-9, err_msg=name)
    per_tree = np.array([tree["baseline"] for tree in case["expect"]], dtype=float)
    np.testing.assert_allclose(table.baseline, per_tree[table.tree], atol=1e-9)


def test_reward_by_hand():
    # root 0 (s=0.5) has children 1 (s=1), 2 (unjudged), 3 (s=0); node 1 has child 4 (s=0.5)
    #   r0 = 0.5 + 0.4 * mean(1, 0) = 0.7      node 2 is left out of the mean, node 4 is no child of 0
    #   r1 = 1.0 + 0.4 * 0.5       = 1.2
    #   r2 = nan, r3 = 0, r4 = 0.5              (no children: own success)
    reward = credit.node_rewards([0.5, 1.0, None, 0.0, 0.5], [-1, 0, 0, 0, 1])
    np.testing.assert_allclose(reward, [0.7, 1.2, NAN, 0.0, 0.5])


def test_only_judged_children_pay():
    # the one child is unjudged: the mean is over nothing, the bonus 0 and not nan
    np.testing.assert_allclose(credit.node_rewards([0.5, NAN], [-1, 0]), [0.5, NAN])


def test_leave_one_out_by_hand():
    # group a: 1, 0.4, unjudged; group b: 0.2 alone
    #   b_0 = 0.4           (the unjudged one gives nothing)
    #   b_1 = 1
    #   b_2 = (1 + 0.4) / 2 (but is itself compared)
    #   b_3 = nan           (nobody else)
    baseline = credit.leave_one_out([1.0, 0.4, NAN, 0.2], ["a", "a", "a", "b"])
    np.testing.assert_allclose(baseline, [0.4, 1.0, 0.7, NAN])


def test_group_labels_are_never_mixed_up():
    # 1 and "1" are different tasks; numpy would make both "1"
    np.testing.assert_allclose(credit.leave_one_out([1.0, 0.0], [1, "1"]), [NAN, NAN])
    np.testing.assert_allclose(credit.leave_one_out([1.0, 0.0], np.array(["x", "x"])), [0.0, 1.0])


def test_depth_weights_by_hand():
    # depths 0 0 1 1 1 3, all trained: N = 6, D = 3 (depth 2 is not present), n = 2, 3, 1
    #   w = 6 / (3 * 2) = 1, 6 / (3 * 3) = 2/3, 6 / (3 * 1) = 2; each depth carries 6 / 3 = 2
    np.testing.assert_allclose(credit.depth_weights([0, 0, 1, 1, 1, 3]), [1, 1, 2 / 3, 2 / 3, 2 / 3, 2])
    # without the last: N = 5, D = 2: w = 5 / (2 * 2), 5 / (2 * 3)
    trained = [True] * 5 + [False]
    np.testing.assert_allclose(
        credit.depth_weights([0, 0, 1, 1, 1, 3], trained), [5 / 4, 5 / 4, 5 / 6, 5 / 6, 5 / 6, 0]
    )
    # gamma = 1/2 on depths 0 1 1: raw 1, 1/2, 1/2 sum to 2, so times 3/2
    np.testing.assert_allclose(credit.depth_weights([0, 1, 1], discount=0.5), [1.5, 0.75, 0.75])


def test_sequence_weights_by_hand():
    # node weights 2, 1, 0; node 0 gives one sequence, node 1 three, node 2 (masked) one:
    # raw 2, 1, 1, 1, 0 sum to 5 over the 4 that are trained on, so times 4/5
    np.testing.assert_allclose(credit.sequence_weights([2.0, 1.0, 0.0], [0, 1, 1, 1, 2]), [1.6, 0.8, 0.8, 0.8, 0.0])
    np.testing.assert_allclose(credit.sequence_weights([1.5, 0.5], [0, 1]), [1.5, 0.5])
    assert credit.sequence_weights([0.0], [0, 0]).tolist() == [0.0, 0.0]
    assert credit.sequence_weights([], []).tolist() == []


def test_other_baselines_by_hand():
    # two rollouts of a task, λ = 0; goals in letters
    #   tree 0: root r 1.0, children p 0.5, q 0.25
    #   tree 1: root r 0.0, child  p 1.0, its child s 0.75
    forest = {
        "success": [1.0, 0.5, 0.25, 0.0, 1.0, 0.75],
        "parent": [-1, 0, 0, -1, 3, 4],
        "tree": [0, 0, 0, 1, 1, 1],
        "group": ["t", "t"],
        "goal": ["r", "p", "q", "r", "p", "s"],
        "delegation_bonus": 0.0,
    }
    table = credit.assign_forest(**forest, baseline="root_loo")
    np.testing.assert_allclose(table.baseline, [0, 0, 0, 1, 1, 1])
    # depth 1 of tree 0 is 0.5 and 0.25, mean 0.375; nobody else is at depth 2, so node 5 falls back to the root
    table = credit.assign_forest(**forest, baseline="depth_loo")
    np.testing.assert_allclose(table.baseline, [0, 1, 1, 1, 0.375, 1])
    # q and s occur once: fall back to the other root
    table = credit.assign_forest(**forest, baseline="goal_loo")
    np.testing.assert_allclose(table.baseline, [0, 1, 0, 1, 0.5, 1])
    table = credit.assign_forest(**forest, baseline="none")
    np.testing.assert_allclose(table.baseline, np.zeros(6))
    np.testing.assert_allclose(table.advantage, table.reward)


# Rules around the edges -------------------------------------------------------------------------------------


def test_unjudged_root_gives_no_baseline_but_is_compared():
    trees = [grow_tree([-1, 0], [None, 0.5], "t"), grow_tree([-1], [1.0], "t"), grow_tree([-1], [0.0], "t")]
    table = credit.assign(trees)
    # tree 0 is compared with (1 + 0) / 2; trees 1 and 2 with each other only
    np.testing.assert_allclose(table.baseline, [0.5, 0.5, 0.0, 1.0])
    np.testing.assert_allclose(table.advantage, [NAN, 0.0, 1.0, -1.0])
    assert table.weight[0] == 0


@pytest.mark.parametrize(
    ("policy", "success", "reward"),
    [
        ("mask", [1.0, NAN, 0.5], [1.0, NAN, 0.5]),
        ("root", [1.0, 1.0, 0.5], [1.4, 1.2, 0.5]),  # 1 + 0.4 * 1, 1 + 0.4 * 0.5
        (0.25, [1.0, 0.25, 0.5], [1.1, 0.45, 0.5]),  # 1 + 0.4 * 0.25, 0.25 + 0.4 * 0.5
        (0, [1.0, 0.0, 0.5], [1.0, 0.2, 0.5]),
    ],
)
def test_unjudged_policies(policy, success, reward):
    # a chain: root, an unjudged child, its child
    trees = [grow_tree([-1, 0, 1], [1.0, None, 0.5]), grow_tree([-1], [0.0])]
    table = credit.assign(trees, unjudged=policy)
    np.testing.assert_allclose(table.success[:3], success)
    np.testing.assert_allclose(table.reward[:3], reward)


def test_unjudged_root_cannot_lend_its_success():
    trees = [grow_tree([-1, 0], [None, None]), grow_tree([-1], [1.0]), grow_tree([-1], [0.0])]
    table = credit.assign(trees, unjudged="root")
    assert np.isnan(table.success[:2]).all()
    assert table.weight.tolist() == [0, 0, 1, 1]


def test_invalid_trees_are_as_if_never_collected():
    good = [grow_tree([-1, 0], [1.0, 0.0]), grow_tree([-1], [0.5])]
    bad = grow_tree([-1], [0.0])
    bad.apply(Aborted(len(bad.events), 0, 0.0, "the server died"))
    dead = ExecutionTree()
    dead.invalid = "no worker started"
    table, expected = credit.assign([bad, good[0], dead, good[1]]), credit.assign(good)
    same(table, expected)
    assert table.tree.tolist() == [1, 1, 3]
    assert table.groups == ("task",)


def test_cancelled_children_count_as_failures():
    log = LogWriter()
    log.spawn()
    log.act(0)
    log.spawn(0, "kept")
    log.spawn(0, "abandoned")
    log.act(1)
    log.finish(1)
    log.finish(0)
    assert log.tree.nodes[2].status == "cancelled"
    table = credit.assign([log.tree, grow_tree([-1], [0.0])])
    np.testing.assert_allclose(table.reward, [1.2, 1.0, 0.0, 0.0])  # 1 + 0.4 * mean(1, 0)


def test_unfinished_trees_are_named():
    running = ExecutionTree.from_events(grow_tree([-1, 0], [1.0, 1.0]).events[:-1])
    with pytest.raises(OptionError, match=r"trees=\[1, 2\].*unfinished"):
        credit.assign([grow_tree([-1], [1.0]), running, ExecutionTree()])


def test_a_living_child_of_a_finished_root_is_unfinished():
    tree = grow_tree([-1, 0], [1.0, 1.0])
    tree.nodes[1].status = tree.nodes[1].success = None
    with pytest.raises(OptionError, match=r"trees=\[0\]"):
        credit.assign([tree])


def test_group_of_one_warns_once_at_the_caller():
    trees = [grow_tree([-1, 0], [1.0, 0.0], name) for name in "abc"]
    for call in (lambda: credit.assign(trees), lambda: credit.assign_forest([1, 0, 1], [-1] * 3, [0, 1, 2], "abc")):
        with pytest.warns(credit.LoneRolloutWarning, match="3 of 3 rollouts have nothing") as caught:
            table = call()
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert not table.advantage.any()
        assert np.isnan(table.baseline).all()
        assert table.weight.mean() == pytest.approx(1.0)


def test_group_of_one_is_fine_without_a_baseline():
    table = credit.assign([grow_tree([-1], [1.0])], baseline="none")
    assert table.advantage.tolist() == [1.0]


def test_zero_variance_groups_can_be_dropped():
    trees = [
        grow_tree([-1, 0], [0.0, 0.0], "flat"),
        grow_tree([-1], [0.0], "flat"),
        grow_tree([-1], [1.0], "steep"),
        grow_tree([-1], [0.0], "steep"),
    ]
    assert credit.assign(trees).weight.all()
    table = credit.assign(trees, drop_zero_variance=True)
    np.testing.assert_allclose(table.weight, [0, 0, 0, 1, 1])


def test_zero_variance_looks_past_rounding():
    # the same children in another order: their sums differ in the last digit
    trees = [grow_tree([-1, 0, 0, 0], [0.0, *children]) for children in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])]
    table = credit.assign(trees, drop_zero_variance=True)
    assert table.reward[0] != table.reward[4]
    assert not table.weight.any()


@pytest.mark.parametrize(
    ("weighting", "expected"), [(True, [1.5, 0.75, 0.75]), (False, [1, 1, 1]), (0.5, [1.5, 0.75, 0.75]), (1.0, [1] * 3)]
)
def test_depth_weighting(weighting, expected):
    table = credit.assign_forest([1, 1, 0], [-1, 0, 0], [0, 0, 0], ["t"], baseline="none", depth_weighting=weighting)
    np.testing.assert_allclose(table.weight, expected)


@pytest.mark.parametrize("trees", [[], [ExecutionTree()]])
@pytest.mark.parametrize("baseline", ["root_loo", "depth_loo", "goal_loo", "none"])
def test_empty_batch(trees, baseline):
    for tree in trees:
        tree.invalid = "never started"
    table = credit.assign(trees, baseline=baseline, drop_zero_variance=True, unjudged="root")
    assert len(table) == 0
    assert table.rows() == []


# The table --------------------------------------------------------------------------------------------------


def test_table_columns_are_a_contract():
    table = credit.assign([grow_tree([-1, 0, 1], [1.0, None, 0.0], "x"), grow_tree([-1], [0.5], "x")])
    names = [field.name for field in fields(table)]
    ints, floats = names[:5], names[5:10]
    assert ints == ["group", "tree", "node", "parent", "depth"]
    assert floats == ["success", "reward", "baseline", "advantage", "weight"]
    assert names[10:] == ["groups"]
    assert {len(getattr(table, name)) for name in names[:-1]} == {4} == {len(table)}
    assert all(getattr(table, name).dtype == np.int64 for name in names[:5])
    assert all(getattr(table, name).dtype == np.float64 for name in names[5:10])
    assert table.node.tolist() == [0, 1, 2, 0]
    assert table.parent.tolist() == [-1, 0, 1, -1]
    row = table.rows()[1]
    assert row["group"] == "x"
    assert row["reward"] is None
    assert row["advantage"] is None
    assert json.loads(json.dumps(table.rows(), allow_nan=False)) == table.rows()


# Mistakes of the caller -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: credit.node_rewards([[1.0]], [-1]), r"success.shape=\(1, 1\)"),
        (lambda: credit.node_rewards([1.0, 1.0], [-1]), r"len\(success, parent\)=\(2, 1\)"),
        (lambda: credit.node_rewards([1.0, 1.5], [-1, 0]), r"success\[1\]=1.5.*\[0, 1\]"),
        (lambda: credit.node_rewards([-0.1], [-1]), r"success\[0\]=-0.1"),
        (lambda: credit.node_rewards(["x"], [-1]), "success=.*must be numbers"),
        (lambda: credit.node_rewards([1.0], [-1], -0.4), "delegation_bonus=-0.4"),
        (lambda: credit.node_rewards([1.0], [-1], math.inf), "delegation_bonus=inf"),
        (lambda: credit.node_rewards([1.0], [-1.0]), "parent.dtype='float64'"),
        (lambda: credit.depths([-1, 2]), r"parent\[1\]=2.*below 2"),
        (lambda: credit.depths([-1, -2]), r"parent\[1\]=-2"),
        (lambda: credit.depths([0]), r"parent\[0\]=0.*own ancestor"),
        (lambda: credit.depths([-1, 3, 1, 2, 3]), r"parent\[[123]\]=.*own ancestor"),
        (lambda: credit.leave_one_out([1.0], ["a", "b"]), r"len\(root_rewards, group\)=\(1, 2\)"),
        (lambda: credit.leave_one_out([1.0], np.array([["a"]])), r"group.shape=\(1, 1\)"),
        (lambda: credit.depth_weights([-1]), "depth=-1"),
        (lambda: credit.depth_weights([0], [1]), "trained.dtype='int64'"),
        (lambda: credit.depth_weights([0], [True, True]), r"len\(depth, trained\)"),
        (lambda: credit.depth_weights([0], discount=0.0), "discount=0.0"),
        (lambda: credit.depth_weights([0], discount=1.5), "discount=1.5"),
        (lambda: credit.sequence_weights([1.0], [1]), "node=1.*0 to 0"),
        (lambda: credit.sequence_weights([NAN], [0]), r"weight\[0\]=nan"),
        (lambda: credit.sequence_weights([1.0, -1.0], [0]), r"weight\[1\]=-1.0"),
        (lambda: credit.assign_forest([1.0], [-1], [1], ["t"]), r"tree\[0\]=1.*0 to 0"),
        (lambda: credit.assign_forest([1.0], [-1], [0, 0], ["t"]), r"len\(success, parent, tree\)"),
        (lambda: credit.assign_forest([1, 1], [-1, -1], [0, 0], ["t"]), "tree=0: has 2 roots"),
        (lambda: credit.assign_forest([1, 1], [1, 0], [0, 0], ["t"]), "tree=0: has 0 roots"),
        (lambda: credit.assign_forest([1] * 3, [-1, -1, 0], [0, 1, 1], "tt"), r"parent\[2\]=0.*another tree"),
        (lambda: credit.assign_forest([1] * 3, [-1, 2, 1], [0] * 3, "t"), "own ancestor"),
        (lambda: credit.assign_forest([1], [-1], [0], "t", baseline="mean"), "baseline='mean'.*root_loo"),
        (lambda: credit.assign_forest([1], [-1], [0], "t", baseline="goal_loo"), "goal=None"),
        (lambda: credit.assign_forest([1], [-1], [0], "t", goal="xy"), r"len\(.*goal\)"),
        (lambda: credit.assign([], unjudged="zero"), "unjudged='zero'"),
        (lambda: credit.assign([], unjudged=True), "unjudged=True"),
        (lambda: credit.assign([], unjudged=2.0), "unjudged=2.0"),
        (lambda: credit.assign([], depth_weighting=1), "depth_weighting=1:"),
        (lambda: credit.assign([], depth_weighting=0.0), "depth_weighting=0.0"),
        (lambda: credit.assign([], baseline="group"), "baseline='group'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(OptionError, match=message) as caught:
        quietly(call)
    assert isinstance(caught.value, ValueError)


# Speed ------------------------------------------------------------------------------------------------------


def test_benchmark_compares_like_with_like():
    success, parent, tree, _ = random_forest(20_000, seed=3)
    assert len(success) == len(parent) == len(tree) == 20_000
    assert np.bincount(tree).max() <= 400
    assert credit.depths(parent).max() <= 10
    assert (parent < np.arange(20_000)).all()
    result = measure(nodes=20_000, repeats=1)
    assert result["ratio"] == pytest.approx(result["seconds"] / result["floor_seconds"])
