"""Rules of your own: what they are given, what they may return, and the error when they return something else."""

import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import credit
from rao_envs.credit.rules import name_of
from rao_envs.errors import OptionError
from rao_envs.testing.strategies import forests, grow_tree

COLUMNS = ("depth", "success", "reward", "baseline", "advantage", "weight")
NAN = float("nan")
# root 0 (1.0) with children 1 (0.5) and 2 (unjudged); root 3 (0.25) alone; both of one task
FOREST = ([1.0, 0.5, NAN, 0.25], [-1, 0, 0, -1], [0, 0, 0, 1], ["t", "t"])


def quietly(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", credit.LoneRolloutWarning)
        return function(*args, **options)


def same(table, other):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(table, name), getattr(other, name), err_msg=name)


def own_success(forest):
    return forest.success


# Built-in rules and functions are the same thing ------------------------------------------------------------


@given(forests(), st.sampled_from(["root_loo", "depth_loo"]))
def test_the_built_in_rules_are_functions_like_yours(forest, name):
    expected = quietly(credit.assign_forest, *forest, baseline=name)
    same(quietly(credit.assign_forest, *forest, baseline=getattr(credit, name)), expected)
    paper = quietly(credit.assign_forest, *forest, reward=lambda f: credit.node_rewards(f.success, f.parent))
    same(paper, quietly(credit.assign_forest, *forest))


@given(forests())
def test_own_success_is_the_bonus_of_zero(forest):
    expected = quietly(credit.assign_forest, *forest, delegation_bonus=0.0)
    same(quietly(credit.assign_forest, *forest, reward=own_success), expected)


@given(forests())
def test_label_loo_of_the_depth_is_depth_loo(forest):
    expected = quietly(credit.assign_forest, *forest, baseline="depth_loo")
    for label in (lambda f: f.depth, lambda f: [f"level {depth}" for depth in f.depth]):
        table = quietly(credit.assign_forest, *forest, baseline=lambda f, label=label: credit.label_loo(f, label(f)))
        same(table, expected)


def test_a_rule_by_hand():
    # reward: own success, halved for each level down; baseline: 0.1 for roots, unknown for the rest
    #   r = 1, 0.5 / 2, nan, 0.25;   A = 1 - 0.1, 0 (nothing to compare with), nan, 0.25 - 0.1
    def reward(forest):
        return forest.success / 2.0**forest.depth

    def baseline(forest):
        return np.where(forest.depth == 0, 0.1, NAN)

    with pytest.warns(credit.LoneRolloutWarning, match="1 of 2 rollouts"):
        table = credit.assign_forest(*FOREST, reward=reward, baseline=baseline)
    np.testing.assert_allclose(table.reward, [1.0, 0.25, NAN, 0.25])
    np.testing.assert_allclose(table.baseline, [0.1, NAN, NAN, 0.1])
    np.testing.assert_allclose(table.advantage, [0.9, 0.0, NAN, 0.15])
    # 3 nodes are trained on, 2 at depth 0 and 1 at depth 1: 3 / (2 * 2), 3 / (2 * 1)
    np.testing.assert_allclose(table.weight, [0.75, 1.5, 0.0, 0.75])


# What a rule is given ---------------------------------------------------------------------------------------


def test_what_a_rule_is_given():
    seen = {}

    def reward(forest):
        seen["reward"] = forest
        return forest.success

    def baseline(forest):
        seen["baseline"] = forest
        return np.zeros(len(forest))

    trees = [grow_tree([-1, 0, 1], [1.0, 0.5, None], "a", goals=["x", "y", "y"]), grow_tree([-1], [0.0], "b")]
    table = credit.assign(trees, reward=reward, baseline=baseline)
    for forest in seen.values():
        assert len(forest) == 4
        np.testing.assert_array_equal(forest.success, [1.0, 0.5, NAN, 0.0])
        assert forest.parent.tolist() == [-1, 0, 1, -1]
        assert forest.depth.tolist() == [0, 1, 2, 0]
        assert forest.tree.tolist() == [0, 0, 0, 1]
        assert forest.group.tolist() == [0, 1]
        assert forest.goal.tolist() == [0, 1, 1, 2]
        assert forest.root.tolist() == [0, 0, 0, 3]
        assert forest.nodes == (*trees[0].nodes, *trees[1].nodes)
    assert np.isnan(seen["reward"].reward).all()
    np.testing.assert_array_equal(seen["baseline"].reward, table.reward)


def test_roots_are_found_in_any_order():
    seen = []
    credit.assign_forest(
        [0, 1, 1, 0], [1, -1, -1, 2], [1, 1, 0, 0], "tt", baseline=lambda f: seen.append(f) or f.reward
    )
    assert seen[0].root.tolist() == [1, 1, 2, 2]
    assert seen[0].nodes is seen[0].goal is None


def test_unjudged_nodes_are_filled_in_before_the_rules_run():
    table = quietly(credit.assign_forest, *FOREST, unjudged=0.75, reward=own_success)
    assert table.reward[2] == 0.75


@pytest.mark.parametrize("column", ["success", "reward", "parent", "depth", "tree", "group", "goal"])
def test_a_rule_cannot_change_what_it_is_given(column):
    def greedy(forest):
        getattr(forest, column)[0] = 1
        return forest.reward

    with pytest.raises(ValueError, match="read-only"):
        credit.assign_forest(*FOREST, goal="wxyz", baseline=greedy)


def test_what_a_rule_returns_is_copied():
    kept = np.zeros(4)
    table = credit.assign_forest(*FOREST, baseline=lambda forest: kept)
    kept[:] = 9
    assert not table.baseline.any()


def test_integers_and_small_floats_will_do():
    for dtype in (np.int8, np.float32, list):
        table = credit.assign_forest(*FOREST, baseline=lambda f, d=dtype: d(np.ones(4)) if d is list else np.ones(4, d))
        assert table.baseline.dtype == np.float64
        np.testing.assert_array_equal(table.baseline, 1.0)


def test_no_rule_is_asked_about_nothing():
    def fails(forest):
        raise AssertionError

    assert len(credit.assign([], reward=fails, baseline=fails)) == 0


# What a rule may not return ---------------------------------------------------------------------------------


def returning(value):
    def rule(forest):
        return value

    return rule


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"rule\(forest\)=None: a {} rule must return float \[4\], one number for each node"),
        (1.0, r"rule\(forest\).shape=\(\): a {} rule must return float \[4\]"),
        ([1.0, 2.0], r"rule\(forest\).shape=\(2,\)"),
        (np.ones((4, 1)), r"rule\(forest\).shape=\(4, 1\)"),
        ([1.0, [2.0], 3.0, 4.0], r"rule\(forest\)=\[1.0, \[2.0\], 3.0, 4.0\]"),
        (["a", "b", "c", "d"], r"rule\(forest\)=\['a', 'b', 'c', 'd'\]"),
        (np.ones(4, dtype=complex), r"rule\(forest\).dtype='complex128'"),
        (np.ones(4, dtype=bool), r"rule\(forest\).dtype='bool'"),
        ([0.0, np.inf, NAN, 0.0], r"rule\(forest\)\[1\]=inf: must be finite"),
    ],
)
@pytest.mark.parametrize("option", ["reward", "baseline"])
def test_what_is_no_number_for_each_node_is_refused(option, value, message):
    with pytest.raises(OptionError, match=message.format(option)) as caught:
        credit.assign_forest(*FOREST, **{option: returning(value)})
    assert "returning.<locals>.rule" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, NAN, NAN, 0.0], r"rule\(forest\)\[1\]=nan: node 1 is judged \(success 0.5\).*nansum"),
        ([1.0, 0.5, 0.0, 0.0], r"rule\(forest\)\[2\]=0.0: node 2 is unjudged .* must be nan too"),
    ],
)
def test_rewards_are_nan_where_nodes_are_unjudged_and_nowhere_else(value, message):
    with pytest.raises(OptionError, match=message):
        credit.assign_forest(*FOREST, reward=returning(value))


def test_a_rule_for_rewards_that_reads_rewards_is_caught():
    with pytest.raises(OptionError, match=r"\[0\]=nan: node 0 is judged"):
        credit.assign_forest(*FOREST, reward=lambda forest: forest.reward + 1)


def test_a_bonus_beside_a_rule_of_your_own_is_refused():
    with pytest.raises(OptionError, match=r"delegation_bonus=0.4: is not used by the reward rule own_success"):
        credit.assign_forest(*FOREST, reward=own_success, delegation_bonus=0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": "own"}, "reward='own': must be \"delegation\", or a function"),
        ({"reward": None}, "reward=None"),
        ({"baseline": "mean"}, "baseline='mean': must be one of root_loo, depth_loo, goal_loo, none, or a function"),
        ({"baseline": 0.0}, "baseline=0.0"),
        ({"baseline": lambda f: credit.label_loo(f, [0])}, r"len\(forest.parent, label\)=\(4, 1\)"),
    ],
)
def test_what_is_no_rule_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        credit.assign_forest(*FOREST, **options)


def test_errors_of_a_rule_are_its_own():
    def broken(forest):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        credit.assign_forest(*FOREST, reward=broken)


class Scaled:
    def __call__(self, forest):
        return forest.success


@pytest.mark.parametrize(
    ("rule", "name"),
    [(own_success, "own_success"), (partial(partial(own_success)), "own_success"), (Scaled(), "Scaled")],
)
def test_rules_have_names(rule, name):
    assert name_of(rule) == name
