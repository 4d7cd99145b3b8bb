"""RAO's credit in Stable-Baselines3: what the buffer holds is what `credit.assign` says of the nodes that acted."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra sb3")
pytest.importorskip("sb3_contrib", reason="needs the extra sb3")

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from rao_envs import credit
from rao_envs.errors import OptionError
from rao_envs.interop.sb3 import RAOCallback, RAOMaskableRolloutBuffer, RAORolloutBuffer
from rao_envs.seeding import rng
from rao_textcraft.numeric import CRAFT, DELEGATE, FINISH, LOOK_UP, NumericTextCraft, Schedule

PREFERENCE = (LOOK_UP, CRAFT, *range(DELEGATE, CRAFT), FINISH)
RAO = {"normalize_advantage": False, "rollout_buffer_class": RAORolloutBuffer, "vf_coef": 0.0}


def copies(n, **options):
    options = {"difficulty": "easy", "schedule": Schedule(), **options}
    return DummyVecEnv([lambda: NumericTextCraft(**options) for _ in range(n)])


def diligent(mask):
    return next(move for move in PREFERENCE if mask[move])


def roll(venv, choose, stop, kind=RAORolloutBuffer, size=10_000, **options):
    """Fill a buffer by hand; `choose` and `stop` are given (environment, its number of episodes so far)."""
    venv.set_options({"episode": 0})
    observation = venv.reset()
    infos_of, done_of = [], []
    episodes = [0] * venv.num_envs
    while not stop(episodes, done_of[-1] if done_of else [False] * venv.num_envs) and len(infos_of) < size:
        masks = venv.env_method("action_masks")
        moves = [choose(place, episodes[place], mask) for place, mask in enumerate(masks)]
        observation, _, dones, infos = venv.step(np.array(moves))
        infos_of.append(infos)
        done_of.append(dones)
        episodes = [count + bool(done) for count, done in zip(episodes, dones, strict=True)]
    spaces = (venv.observation_space, venv.action_space)
    buffer = kind(len(infos_of), *spaces, device="cpu", n_envs=venv.num_envs, **options)
    blank = torch.zeros(venv.num_envs)
    for infos, dones in zip(infos_of, done_of, strict=True):
        buffer.note(infos, dones)
        shaped = np.zeros((venv.num_envs, 1))
        buffer.add(observation, shaped, np.zeros(venv.num_envs), np.zeros(venv.num_envs), blank + 0.25, blank)
    buffer.note_running(venv.get_attr("tree"))
    return buffer


def fickle(place, episode, mask):
    """Environment 0 works; the others give up here and there, then at once, so that all end with environment 0."""
    if place == 0:
        return diligent(mask)
    if episode:
        return FINISH
    fickle.state[place] = fickle.state.get(place, 0) + 1
    quits = rng("fickle", place, fickle.state[place]).random() < 0.08
    return FINISH if quits else diligent(mask)


fickle.state = {}


def until_all_are_done(episodes, dones):
    return episodes[0] >= 1 and min(episodes) >= 1 and all(dones)


def check_against(buffer, table, trees):
    """Compare a buffer, step by step, with credit given to these trees (some of the buffer's)."""
    rows = {(int(t), int(n)): row for row, (t, n) in enumerate(zip(table.tree, table.node, strict=True))}
    known = [place for place, tree in enumerate(buffer.trees) if any(tree is other for other in trees)]
    compared = 0
    for step in range(buffer.buffer_size):
        for env in range(buffer.n_envs):
            if buffer.rollout[step, env] in known:
                row = rows[known.index(buffer.rollout[step, env]), int(buffer.node[step, env])]
                want = table.advantage[row] * table.weight[row] if table.weight[row] else 0.0
                assert buffer.advantages[step, env] == pytest.approx(want, abs=1e-6)
                assert buffer.returns[step, env] == pytest.approx(table.reward[row], abs=1e-6)
                compared += 1
    assert compared


def test_stable_baselines_accepts_the_view_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(NumericTextCraft("medium", schedule=Schedule()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"delegation_bonus": 0.0, "baseline": "depth_loo"},
        {"baseline": "goal_loo", "depth_weighting": False},
        {"baseline": "none", "depth_weighting": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [RAORolloutBuffer, RAOMaskableRolloutBuffer])
def test_the_buffer_holds_what_assign_says(kind, options):
    fickle.state = {}
    buffer = roll(copies(4), fickle, until_all_are_done, kind=kind, **options)
    trees = [tree for tree in buffer.trees if tree.finished]
    assert len(trees) > 4
    assert len({tree.root.success for tree in trees}) == 2
    assert len({node.depth for tree in trees for node in tree.nodes}) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some late episodes are alone with their task
        table = credit.assign(trees, **options)
    buffer.compute_returns_and_advantage(torch.zeros(4), np.ones(4))
    check_against(buffer, table, trees)
    assert np.unique(buffer.advantages).size > 2
    if options.get("depth_weighting", True) is True:
        assert np.unique(table.weight).size > 1


def cut_in_the_middle():
    """Task 0 of depth 2, which needs two nodes below the root; environment 1 is cut after the first has returned."""
    venv = copies(2, difficulty=None, depth=2)
    spent = []

    def stop(episodes, dones):
        trees = venv.get_attr("tree")
        spent.append(len(trees[1]) == 3)
        return spent[-1]

    def choose(place, episode, mask):
        if place == 0 and len(spent) >= 4:
            return FINISH  # the root of environment 0 gives up before it delegates; so do its later episodes
        return diligent(mask)

    return roll(venv, choose, stop)


def test_a_tree_cut_by_the_end_of_the_buffer_by_hand():
    buffer = cut_in_the_middle()
    cut = buffer.trees[1]
    assert [node.status for node in cut.nodes] == [None, "finished", None]
    assert cut.nodes[1].success == 1.0
    finished = [tree for tree in buffer.trees if tree.finished]
    assert finished[0].root.success == 0.0
    assert finished[0].group == cut.group
    buffer.compute_returns_and_advantage(torch.zeros(2), np.zeros(2))
    roots = sum(node.status is not None for tree in buffer.trees for node in tree.nodes if node.depth == 0)
    children = sum(node.status is not None for tree in buffer.trees for node in tree.nodes if node.depth == 1)
    # Trained on: `roots` roots of finished trees at depth 0, and the nodes at depth 1 that have returned.
    weight = (roots + children) / (2 * children)
    own = (buffer.rollout == 1) & (buffer.node == 1)
    assert own.any()
    # r = 1 of its own, no children; b = 0, the root reward of the other rollout of its task.
    assert buffer.advantages[own] == pytest.approx(weight * (1.0 - 0.0))
    assert buffer.returns[own] == pytest.approx(1.0)
    running = (buffer.rollout == 1) & (buffer.node != 1)
    assert running.any()
    assert (buffer.advantages[running] == 0.0).all()
    assert buffer.returns[running] == pytest.approx(0.25)  # the critic's own value: nothing to learn
    # The cut root is unjudged: it gives environment 0 no baseline, and so its first tree has nothing to compare with.
    assert (buffer.advantages[buffer.rollout == 0] == 0.0).all()


def test_a_spoilt_tree_gets_no_credit_and_gives_none():
    fickle.state = {}
    buffer = roll(copies(4), fickle, until_all_are_done)
    buffer.trees[0].invalid = "the machine went down"
    rest = [tree for tree in buffer.trees if tree.finished and not tree.invalid]
    buffer.compute_returns_and_advantage(torch.zeros(4), np.ones(4))
    assert (buffer.advantages[buffer.rollout == 0] == 0.0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_against(buffer, credit.assign(rest), rest)


class Watch(BaseCallback):
    """Keeps what every buffer held before it was learnt from."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        self.seen.append((buffer, list(buffer.trees), buffer.rollout, buffer.node, buffer.advantages.copy()))


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (PPO, {**RAO, "batch_size": 64, "n_epochs": 1}),
        (A2C, RAO),
        (MaskablePPO, {**RAO, "rollout_buffer_class": RAOMaskableRolloutBuffer, "batch_size": 64, "n_epochs": 1}),
    ],
    ids=["PPO", "A2C", "MaskablePPO"],
)
def test_learning_with_it(algorithm, options):
    venv = copies(4)
    model = algorithm("MlpPolicy", venv, n_steps=64, seed=0, device="cpu", **options)
    before = [parameter.detach().clone() for parameter in model.policy.action_net.parameters()]
    watch = Watch()
    model.learn(2 * 4 * 64, callback=[RAOCallback(), watch])
    assert len(watch.seen) == 2
    tasks = []
    for _, trees, rollout, node, advantages in watch.seen:
        assert (node >= 0).all()
        assert [tree.group for tree in trees[:4]] == [trees[0].group] * 4  # all begin at the same episode
        tasks.append({tree.group for tree in trees if tree.finished})
        for place, tree in enumerate(trees):
            # Every step of every tree is in its buffer: none was begun in an earlier one.
            turns = sum(len(node.turns) for node in tree.nodes)
            assert turns == (rollout == place).sum()
        assert np.isfinite(advantages).all()
    assert not tasks[0] & tasks[1]
    assert any((advantages != 0).any() for *_, advantages in watch.seen)
    after = model.policy.action_net.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_it_learns_what_one_reward_at_the_root_would_teach_too():
    venv = copies(8, difficulty=None, depth=1)
    options = {**RAO, "rollout_buffer_class": RAOMaskableRolloutBuffer}
    model = MaskablePPO(
        "MlpPolicy", venv, n_steps=32, batch_size=256, learning_rate=3e-3, seed=0, device="cpu", **options
    )
    watch = Watch()
    model.learn(256 * 12, callback=[RAOCallback(), watch])

    def solved(trees):
        return np.mean([tree.root.success for tree in trees if tree.finished])

    assert solved(watch.seen[0][1]) < 0.4
    assert solved(watch.seen[-1][1]) > 0.8


def test_what_is_logged():
    class Keep(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            self.logged = dict(self.logger.name_to_value)

    keep = Keep()
    model = PPO("MlpPolicy", copies(2), n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu", **RAO)
    model.learn(128, callback=[RAOCallback(), keep])
    trees = [tree for tree in model.rollout_buffer.trees if tree.finished]
    nodes = [node.success for tree in trees for node in tree.nodes]
    assert keep.logged["rao/trees"] == len(trees) > 0
    assert keep.logged["rao/node_success"] == pytest.approx(np.mean(nodes))
    assert keep.logged["rao/nodes"] == pytest.approx(len(nodes) / len(trees))
    assert 0.0 <= keep.logged["rao/credited"] <= 1.0


def small(kind=PPO, venv=None, **options):
    return kind(
        "MlpPolicy", venv or copies(2), n_steps=16, batch_size=16, n_epochs=1, device="cpu", **{**RAO, **options}
    )


def test_advantages_must_not_be_normalised():
    with pytest.raises(OptionError, match="normalize_advantage"):
        small(normalize_advantage=True).learn(32, callback=RAOCallback())


def test_the_callback_needs_the_buffer_and_the_buffer_the_callback():
    with pytest.raises(OptionError, match="rollout_buffer_class='RolloutBuffer'"):
        small(rollout_buffer_class=None).learn(32, callback=RAOCallback())
    with pytest.raises(OptionError, match="RAOCallback"):
        small().learn(32)


def test_an_environment_must_say_who_acts():
    class Silent(gym.Wrapper):
        def reset(self, **kwargs):
            return self.env.reset(**kwargs)

        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, {k: v for k, v in info.items() if k != "actor"}

    with pytest.raises(OptionError, match="actor"):
        small(venv=DummyVecEnv([lambda: Silent(NumericTextCraft("easy"))])).learn(32, callback=RAOCallback())


def test_an_episode_must_end_with_its_tree():
    def make():
        return gym.wrappers.TimeLimit(NumericTextCraft("medium", schedule=Schedule()), 2)

    with pytest.raises(OptionError, match="TimeLimit"):
        small(venv=DummyVecEnv([make, make]), seed=1).learn(64, callback=RAOCallback())


def test_rollouts_that_nothing_can_be_compared_with_are_reported():
    apart = [lambda first=first: NumericTextCraft("easy", schedule=Schedule(first=first)) for first in (0, 1000)]
    with pytest.warns(credit.LoneRolloutWarning, match="play the same tasks"):
        small(venv=DummyVecEnv(apart)).learn(32, callback=RAOCallback())
