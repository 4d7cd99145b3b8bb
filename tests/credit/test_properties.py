"""The objective against a slow second implementation, its invariances, and its unbiasedness, shown exactly."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import credit
from rao_envs.testing.strategies import ForestArrays, forests

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


def oracle(success, parent, tree, group, bonus=0.4):
    """Read objective.md aloud: loops, no arrays, nothing shared with the module under test."""
    n = len(parent)
    judged = [not math.isnan(s) for s in success]

    def mean(values):
        values = list(values)
        return sum(values) / len(values) if values else None

    def depth(i):
        return 0 if parent[i] < 0 else 1 + depth(parent[i])

    reward = []
    for i in range(n):
        paid = mean(success[j] for j in range(n) if parent[j] == i and judged[j])
        reward.append(success[i] + bonus * (paid or 0.0))
    root = {tree[i]: i for i in range(n) if parent[i] < 0}
    base = {}
    for k in root:
        others = [o for o in root if o != k and group[o] == group[k] and judged[root[o]]]
        base[k] = mean(reward[root[o]] for o in others)
    advantage = []
    for i in range(n):
        b = base[tree[i]]
        advantage.append(NAN if not judged[i] else 0.0 if b is None else reward[i] - b)
    trained = [depth(i) for i in range(n) if judged[i]]
    weight = [len(trained) / (len(set(trained)) * trained.count(depth(i))) if judged[i] else 0.0 for i in range(n)]
    return {
        "depth": [depth(i) for i in range(n)],
        "reward": reward,
        "baseline": [NAN if base[tree[i]] is None else base[tree[i]] for i in range(n)],
        "advantage": advantage,
        "weight": weight,
    }


# Against the slow implementation ----------------------------------------------------------------------------


@given(forests(), st.sampled_from([0.0, 0.4, 1.0]))
def test_equals_the_slow_implementation(forest, bonus):
    table = quietly(credit.assign_forest, *forest, delegation_bonus=bonus)
    for name, values in oracle(*(array.tolist() for array in forest), bonus).items():
        np.testing.assert_allclose(getattr(table, name), values, atol=1e-9, err_msg=name)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_without_delegation_it_is_leave_one_out_reinforce(success):
    k = len(success)
    table = credit.assign_forest(success, [-1] * k, range(k), ["t"] * k)
    # the usual form of RLOO: A_i = K / (K - 1) * (r_i - mean(r))
    np.testing.assert_allclose(table.advantage, k / (k - 1) * (np.array(success) - np.mean(success)), atol=1e-9)
    np.testing.assert_allclose(table.weight, 1.0)


@given(forests())
def test_depth_loo_equals_loops(forest):
    table = quietly(credit.assign_forest, *forest, baseline="depth_loo")
    root = quietly(credit.assign_forest, *forest)
    for i in range(len(table)):
        others = [
            table.reward[j]
            for j in range(len(table))
            if table.group[j] == table.group[i]
            and table.tree[j] != table.tree[i]
            and table.depth[j] == table.depth[i]
            and not np.isnan(table.reward[j])
        ]
        expected = np.mean(others) if others else root.baseline[i]
        np.testing.assert_allclose(table.baseline[i], expected, atol=1e-9)


@given(forests())
def test_goal_loo_with_goals_that_are_depths_is_depth_loo(forest):
    goal = [f"level {depth}" for depth in credit.depths(forest.parent)]
    table = quietly(credit.assign_forest, *forest, goal=goal, baseline="goal_loo")
    same(table, quietly(credit.assign_forest, *forest, baseline="depth_loo"))


# Invariances ------------------------------------------------------------------------------------------------


@st.composite
def shuffled(draw):
    forest = draw(forests())
    return forest, np.array(draw(st.permutations(range(len(forest.parent)))))


@given(shuffled(), st.sampled_from(["root_loo", "depth_loo"]))
def test_order_of_nodes_does_not_matter(case, baseline):
    # siblings swapped, children before parents, trees interleaved
    forest, order = case
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    parent = np.where(forest.parent < 0, -1, place[forest.parent])[order]
    mixed = ForestArrays(forest.success[order], parent, forest.tree[order], forest.group)
    table = quietly(credit.assign_forest, *forest, baseline=baseline)
    again = quietly(credit.assign_forest, *mixed, baseline=baseline)
    same(again, table, rows=place)
    for k in set(again.tree.tolist()):
        assert again.node[again.tree == k].tolist() == list(range((again.tree == k).sum()))


@given(forests(), st.randoms(use_true_random=False))
def test_order_of_trees_does_not_matter(forest, random):
    order = list(range(len(forest.group)))
    random.shuffle(order)
    trees = np.array(order)[forest.tree]  # tree k is now called order[k]
    group = np.empty_like(forest.group)
    group[order] = forest.group
    same(
        quietly(credit.assign_forest, forest.success, forest.parent, trees, group),
        quietly(credit.assign_forest, *forest),
    )


@given(forests(), forests(), st.sampled_from(["root_loo", "depth_loo", "none"]))
def test_batch_neighbours_change_no_advantage(one, two, baseline):
    n, t = len(one.parent), len(one.group)
    both = ForestArrays(
        np.concatenate([one.success, two.success]),
        np.concatenate([one.parent, np.where(two.parent < 0, -1, two.parent + n)]),
        np.concatenate([one.tree, two.tree + t]),
        np.concatenate([one.group, two.group + 1000]),
    )
    table = quietly(credit.assign_forest, *both, baseline=baseline)
    for forest, rows in ((one, slice(0, n)), (two, slice(n, None))):
        alone = quietly(credit.assign_forest, *forest, baseline=baseline)
        same(table, alone, rows=rows, columns=("depth", "reward", "baseline", "advantage"))


@given(forests(), st.data())
def test_an_unjudged_child_changes_nothing(forest, data):
    above = data.draw(st.integers(0, len(forest.parent) - 1))
    more = ForestArrays(
        np.append(forest.success, NAN),
        np.append(forest.parent, above),
        np.append(forest.tree, forest.tree[above]),
        forest.group,
    )
    table = quietly(credit.assign_forest, *more)
    same(table, quietly(credit.assign_forest, *forest), rows=slice(0, -1))
    assert np.isnan(table.advantage[-1])
    assert table.weight[-1] == 0


@given(forests(), st.sampled_from([True, False, 0.3, 0.9]))
def test_mean_weight_is_one_and_depths_carry_equal_shares(forest, weighting):
    table = quietly(credit.assign_forest, *forest, depth_weighting=weighting)
    trained = ~np.isnan(forest.success)
    assert not table.weight[~trained].any()
    if trained.any():
        assert table.weight[trained].mean() == pytest.approx(1.0)
    if weighting is True and trained.any():
        carried = np.bincount(table.depth[trained], weights=table.weight[trained])
        np.testing.assert_allclose(carried[carried > 0], trained.sum() / (carried > 0).sum())


@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=6), st.data())
def test_mean_sequence_weight_is_one(weight, data):
    rows = data.draw(st.lists(st.integers(0, len(weight) - 1), min_size=1, max_size=20))
    spread = credit.sequence_weights(weight, rows)
    assert spread.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(spread / np.array(weight)[rows], spread[0] / weight[rows[0]])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 1000, 100_000])
def test_chains_are_not_too_deep(size):
    np.testing.assert_array_equal(credit.depths(np.arange(size) - 1), np.arange(size))
    backwards = np.append(np.arange(1, size), -1)
    np.testing.assert_array_equal(credit.depths(backwards), np.arange(size)[::-1])


def test_inputs_are_left_alone():
    success, parent = np.array([1.0, NAN, 0.0, 1.0]), np.array([-1, 0, 0, -1])
    before = success.copy(), parent.copy()
    credit.assign_forest(success, parent, np.array([0, 0, 0, 1]), np.array([3, 3]), unjudged=0.5)
    np.testing.assert_array_equal(success, before[0])
    np.testing.assert_array_equal(parent, before[1])


# Unbiasedness, by enumeration -------------------------------------------------------------------------------
#
# A policy with three parameters. The root delegates with probability σ(a), else it works alone (success 1/4).
# A child is given one of two goals by the root, with probability σ(b); it tries hard with probability σ(c), and
# then succeeds (success 1) if its goal is the easy one, else half (1/2); without trying it gets 0. The root of
# a delegating tree succeeds as its child does. All rollouts, with probability and score, can be written down.


def all_rollouts(a, b, c):
    """Yield probability, own successes, goals, and ∇ log π of each node's own choices."""

    def choices(x):
        p = 1 / (1 + math.exp(-x))
        return [(True, p, 1 - p), (False, 1 - p, -p)]  # choice, probability, d log p / dx

    for delegates, p, score_a in choices(a):
        if not delegates:
            yield p, [0.25], ["task"], [np.array([score_a, 0, 0])]
            continue
        for easy, q, score_b in choices(b):
            for tries, r, score_c in choices(c):
                success = (1.0 if easy else 0.5) if tries else 0.0
                scores = [np.array([score_a, score_b, 0]), np.array([0, 0, score_c])]
                yield p * q * r, [success, success], ["task", "easy" if easy else "hard"], scores


def expected_gradient(parameters, baseline, weighting=False, group_size=2):
    """Sum Σ_i w_i A_i ∇ log π over every possible group of rollouts, times its probability."""
    total, mass = np.zeros(3), 0.0
    for group in itertools.product(list(all_rollouts(*parameters)), repeat=group_size):
        probability = math.prod(rollout[0] for rollout in group)
        success, parent, tree = [], [], []
        for place, (_, successes, _, _) in enumerate(group):
            parent += [-1, len(parent)][: len(successes)]
            success += successes
            tree += [place] * len(successes)
        goals = [goal for rollout in group for goal in rollout[2]]
        scores = [score for rollout in group for score in rollout[3]]
        table = credit.assign_forest(
            success, parent, tree, ["t"] * group_size, goal=goals, baseline=baseline, depth_weighting=weighting
        )
        mass += probability
        total += probability * (table.weight * table.advantage) @ np.array(scores)
    assert mass == pytest.approx(1.0)
    return total


PARAMETERS = (0.3, -0.7, 0.5)


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize("baseline", ["root_loo", "depth_loo", "goal_loo"])
def test_baselines_leave_the_gradient_alone(baseline, group_size):
    plain = expected_gradient(PARAMETERS, "none", group_size=group_size)
    assert np.abs(plain).min() > 0.01
    np.testing.assert_allclose(expected_gradient(PARAMETERS, baseline, group_size=group_size), plain, atol=1e-12)


def test_the_gradient_is_that_of_the_expected_rewards():
    # E[Σ_i r_i ∇ log π_i] per rollout, against finite differences of what each node's choices do to its own
    # reward: J_root over (a, b) and J_child over c.
    def value(parameters, node, held):
        # probabilities of the choices of the *other* node are held at PARAMETERS
        mixed = [p if i in held else q for i, (p, q) in enumerate(zip(parameters, PARAMETERS, strict=True))]
        total = 0.0
        for probability, success, _, _ in all_rollouts(*mixed):
            rewards = credit.node_rewards(success, [-1, 0][: len(success)])
            total += probability * (rewards[node] if node < len(rewards) else 0.0)
        return total

    step = 1e-5
    for axis, (node, held) in enumerate([(0, (0, 1)), (0, (0, 1)), (1, (2,))]):
        up, down = list(PARAMETERS), list(PARAMETERS)
        up[axis] += step
        down[axis] -= step
        slope = (value(up, node, held) - value(down, node, held)) / (2 * step)
        gradient = expected_gradient(PARAMETERS, "none", group_size=1)
        assert gradient[axis] == pytest.approx(slope, abs=1e-8)


def test_depth_weights_make_it_a_ratio_estimator():
    # What the module says of bias: weights counted over the batch depend on the rollout's own choices, so a
    # baseline that is harmless without them is not quite harmless with them.
    plain, compared = (expected_gradient(PARAMETERS, name, weighting=True) for name in ("none", "root_loo"))
    assert np.abs(plain - compared).max() > 1e-3
