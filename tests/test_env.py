"""The face: Gymnasium's contract, what `info` holds, chats, rendering, recording, and specs that travel."""

import inspect
import pickle
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Literal

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils.env_checker import check_env

import rao_envs
from rao_envs import Action, ExecutionTree, RecordTrees, RecursiveEnv, Task, read_trees
from rao_envs.errors import OptionError, SinkInUse
from rao_envs.events import Acted, Observed, Spawned
from rao_envs.registration import ENVIRONMENTS
from rao_envs.sandbox.monty import default_sandbox
from rao_envs.spaces import TextSpace
from rao_envs.testing.toy import ToyWorld, finish, launch, note, say, toy_env, toy_task

IDS = list(ENVIRONMENTS)
FORMATS = ("code", "calls")
END = {"code": "finish('done')", "calls": say(finish("done"))}


def begin(action_format="calls", **options):
    env = toy_env(action_format, **options)
    return env, *env.reset(seed=0, options={"task": 0})


# Gymnasium ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_s_checker_passes_without_a_warning(env_id, action_format):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(env_id, action_format=action_format).unwrapped)


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("env_id", IDS)
def test_environments_run_in_a_vector(env_id, action_format):
    envs = gym.vector.SyncVectorEnv([partial(gym.make, env_id, action_format=action_format)] * 3)
    observations, infos = envs.reset(seed=[1, 2, 3])
    assert len(set(observations)) == 3
    assert [len(messages) for messages in infos["messages"]] == [2, 2, 2]
    actions = (END[action_format], "nonsense", END[action_format])
    _, rewards, terminated, truncated, infos = envs.step(actions)
    assert terminated.tolist() == [True, False, True]
    assert (rewards.tolist(), truncated.any()) == ([0.0, 0.0, 0.0], False)
    assert infos["tree"][0].finished
    observations, *_ = envs.step(actions)  # autoreset
    assert all(isinstance(text, str) for text in observations)
    assert len(envs.action_space.sample()) == 3
    envs.close()


@pytest.mark.parametrize("action_format", FORMATS)
def test_environments_run_in_processes(action_format):
    # Spawned, not forked: a sandbox that has started workers does not survive a fork.
    make = partial(gym.make, "rao_envs:TextCraftSynth-v0", depth=2, action_format=action_format)
    envs = gym.vector.AsyncVectorEnv([make] * 2, context="spawn")
    try:
        observations, _ = envs.reset(seed=[1, 2])
        assert all(text.startswith("Craft ") for text in observations)
        _, _, terminated, _, infos = envs.step((END[action_format], "nonsense"))
        assert terminated.tolist() == [True, False]
        assert isinstance(infos["tree"][0], ExecutionTree)
        assert [message["role"] for message in infos["messages"][1]] == ["system", "user", "assistant", "user"]
    finally:
        envs.close()


@pytest.mark.parametrize(
    "code",
    [
        "import rao_envs; env = gym.make('TextCraftSynth-v0', depth=6)",
        "env = gym.make('rao_envs:TextCraftSynth-v0', depth=6)",
    ],
)
def test_the_id_is_known_after_the_import_or_through_it(code):
    code = f"import gymnasium as gym; {code}; print(env.reset(seed=0)[0]); env.close()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Craft ")
    assert done.stderr == ""


@pytest.mark.parametrize("env_id", IDS)
def test_a_spec_makes_the_same_environment_again_also_after_pickling(env_id):
    env = gym.make(env_id, difficulty="easy", action_format="calls", limits={"max_turns": 7})
    env = RecordTrees(env)
    for spec in (
        env.spec,
        pickle.loads(pickle.dumps(env.spec)),
        gym.envs.registration.EnvSpec.from_json(env.spec.to_json()),
    ):
        again = gym.make(spec)
        assert again.get_wrapper_attr("trees") == []
        assert again.unwrapped.limits == env.unwrapped.limits
        assert again.reset(seed=3)[0] == env.reset(seed=3)[0]
        again.close()


def test_registering_twice_changes_nothing():
    before = dict(gym.registry)
    rao_envs.registration.register_all()
    assert gym.registry == before


IMPOSSIBLE = [
    {"difficulty": "trivial"},
    {"difficulty": ""},
    {"split": "dev"},
    {"limits": {"max_turns": 0}},
    {"limits": {"turns": 5}},
    {"action_format": "xml"},
    {"recursive": "no"},
    {"render_mode": "human"},
]
OWN = {
    "DeepDive-v0": [
        {"hops": 9},
        {"hops": 2, "difficulty": "easy"},
        {"kind": "star"},
        {"size": 7},
        {"search": "bing"},
        {"questions": "none.jsonl"},
        {"corpus": "none.jsonl"},
    ],
    "OolongReal-v0": [
        {"tokens": 10},
        {"tokens": 10**9},
        {"tokens": 8_000, "difficulty": "easy"},
        {"episodes": 0},
        {"knobs": {"noise": 2}},
        {"knobs": {"nois": 1}},
        {"families": ["rols"]},
        {"families": []},
        {"data": "nowhere"},
    ],
    "TextCraft-v0": [{"depth": 0}, {"depth": 5}, {"depth": 2, "difficulty": "easy"}, {"recipes": "nowhere"}],
    "TextCraftSynth-v0": [{"depth": 0}, {"depth": 99}, {"depth": 2, "difficulty": "easy"}],
}


@pytest.mark.filterwarnings("ignore:.*possible render_modes")
@pytest.mark.parametrize(
    ("env_id", "options"), [(env_id, options) for env_id in IDS for options in IMPOSSIBLE + OWN[env_id]]
)
def test_impossible_options_are_refused_by_name_when_the_environment_is_made(env_id, options):
    name, value = list(options.items())[-1]
    named = {"max_turns": "max_turns=0", "noise": "noise=2"}.get(next(iter(value)) if isinstance(value, dict) else "")
    with pytest.raises(OptionError) as refused:
        gym.make(env_id, **options)
    text = str(refused.value)
    assert text.startswith(named or f"{name}="), text
    assert isinstance(value, dict) or repr(value).strip("[]") in text


def options_of(env_class):
    """Every option of an environment, its base class's included."""
    for owner in (env_class, RecursiveEnv):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if name not in ("self", "tasks", "world") and parameter.kind is not parameter.VAR_KEYWORD:
                yield name


ALL_OPTIONS = [
    (env_class, name) for entry in ENVIRONMENTS.values() for env_class in [load_env_creator(entry)]
    for name in options_of(env_class)
]  # fmt: skip


@pytest.mark.parametrize(("env_class", "name"), ALL_OPTIONS)
def test_every_option_refuses_what_is_of_another_kind(env_class, name):
    with pytest.raises(OptionError, match=f"^{name}=<object object .*>: must be "):
        env_class(**{name: object()})


def test_a_misspelt_option_is_named_with_its_environment_the_closest_name_and_all_names():
    with pytest.raises(OptionError) as refused:
        gym.make("TextCraftSynth-v0", dificulty="easy")
    text = str(refused.value)
    assert text.startswith(
        "dificulty='easy': TextCraftSynthEnv has no such option; did you mean 'difficulty'? It takes"
    )
    assert all(name in text for name in options_of(load_env_creator(ENVIRONMENTS["TextCraftSynth-v0"])))
    with pytest.raises(OptionError, match=r"qqq=1: RecursiveEnv has no such option\. It takes tasks, world, action_f"):
        toy_env(qqq=1)


def test_options_of_a_third_party_are_checked_by_its_own_annotations():
    class Mine(RecursiveEnv):
        def __init__(self, size: int = 3, mode: Literal["a", "b"] = "a", names: Sequence[str] = (), **options):
            super().__init__(toy_task, ToyWorld, **options)
            self.size = size

    class Derived(Mine):
        def __init__(self, extra: float | None = None, **options):
            super().__init__(**options)

    assert Derived(0.5, size=np.int64(4), mode="b", names=["x"], action_format="calls").size == 4
    for options, message in (
        ({"size": 2.5}, "size=2.5: must be a whole number"),
        ({"size": True}, "size=True: must be a whole number"),
        ({"mode": "c"}, "mode='c': must be one of 'a', 'b'"),
        ({"names": 7}, "names=7: must be a Sequence"),
        ({"extra": "x"}, "extra='x': must be a number or None"),
        ({"tasks": toy_task}, "Derived has no such option"),
        ({"latency": 3}, "latency=3: must be a Callable or None"),
        ({"sandbox": 3}, r"sandbox=3: must be a Sandbox \(with open, restore, close\) or None"),
    ):
        with pytest.raises(OptionError, match=message):
            Derived(**options)
    with pytest.raises(OptionError, match="extra='x'"):
        Derived("x")


# Reset ----------------------------------------------------------------------------------------------------------------


def test_reset_takes_a_task_number_or_a_task():
    env, observation, info = begin()
    assert (observation, info["task"]) == (env.tree.root.opening, "toy/0")
    assert env.reset(seed=1, options={"task": 7})[1]["task"] == "toy/7"
    assert env.reset(options={"task": Task("mine", "Do mine.", {"goal": "x"})})[1]["task"] == "mine"
    assert env.tree.task == {"id": "mine", "difficulty": "default", "split": "train", "index": 0}
    assert env.reset(seed=5)[1]["task"] == env.reset(seed=5)[1]["task"] != env.reset(seed=6)[1]["task"]


@pytest.mark.parametrize(
    "options",
    [{"task": -1}, {"task": "3"}, {"task": 1.0}, {"task": True}, {"task": None}, {"tsak": 3}, {"task": 1, "x": 2}, [3]],
)
def test_wrong_options_are_refused_and_the_rollout_in_progress_goes_on(options):
    env, *_ = begin()
    env.step(say(launch("a")))
    log = list(env.tree.events)
    with pytest.raises(OptionError, match="options"):
        env.reset(seed=1, options=options)
    assert env.tree.events == log
    assert env.ready == (1,)
    env.step(say(finish()))


def test_a_reset_without_seed_draws_another_task():
    env, *_ = begin()
    assert len({env.reset()[1]["task"] for _ in range(5)}) == 5


# Info and chats -------------------------------------------------------------------------------------------------------


def test_info_tells_who_acts_next_and_what_has_happened():
    env, observation, info = begin()
    assert (info["node"], info["depth"], info["messages"][-1]["content"]) == (0, 0, observation)
    assert [type(event) for event in info["events"]] == [Spawned]
    assert "tree" not in info
    observation, _, _, _, info = env.step(say(launch("a")))
    assert (info["node"], info["depth"]) == (1, 1)
    assert observation == env.tree.nodes[1].opening == info["messages"][1]["content"]
    observation, _, _, _, info = env.step(say(note("x")))
    assert [type(event) for event in info["events"]] == [Acted, Observed]
    assert observation == '[{"name":"note","result":1}]'
    env.step(say(finish("A")))
    *_, info = env.step(say(finish()))
    assert info["tree"] is env.tree
    assert (info["node"], info["depth"]) == (0, 0)


def test_events_of_all_steps_are_the_log():
    env, _, info = begin()
    events = list(info["events"])
    for message in (launch("a"), note("x"), finish(), finish()):
        events += env.step(say(message))[-1]["events"]
    assert events == info["tree"].events if "tree" in info else events == env.tree.events


def test_messages_are_a_view_that_later_turns_and_callers_cannot_change():
    env, _, info = begin()
    early = info["messages"]
    assert [message["role"] for message in early] == ["system", "user"]
    copy = list(early)
    early[0]["content"] = "forged"
    *_, info = env.step(say(note("x")))
    assert early == copy
    assert [message["role"] for message in info["messages"]] == ["system", "user", "assistant", "user"]
    assert info["messages"][2]["content"] == say(note("x"))
    assert info["messages"][1:3] == [*info["messages"]][1:3]
    assert pickle.loads(pickle.dumps(early)) == copy
    with pytest.raises(TypeError):
        early[0] = {}
    with pytest.raises(IndexError):
        early[2]


def test_a_child_has_a_chat_of_its_own():
    env, *_ = begin()
    *_, info = env.step(say(launch("a")))
    assert len(info["messages"]) == 2
    assert "Do 0." not in info["messages"][1]["content"]


def test_an_action_may_carry_tokens_and_latency_through_gymnasium_s_wrappers():
    env = gym.make("TextCraftSynth-v0", depth=2, action_format="calls", disable_env_checker=True)
    env.reset(seed=0)
    env.step(Action("[]", 4.0))
    assert env.unwrapped.tree.root.turns[0].latency == 4.0
    env.close()


def test_render_shows_the_tree():
    env, *_ = begin(render_mode="ansi")
    env.step(say(launch("a")))
    assert [line.split("success")[0] for line in env.render().splitlines()] == [
        "<Node 0 waiting ",
        "  <Node 0.0 running ",
    ]
    assert begin()[0].render() is None


def test_close_keeps_the_tree_and_may_be_repeated():
    env, *_ = begin("code")
    env.step("x = 1")
    env.close()
    env.close()
    assert len(env.tree.root.turns) == 1
    env.reset(seed=0)
    assert env.ready == (0,)


def test_text_spaces_admit_any_text_up_to_their_length():
    space = TextSpace(5, seed=0)
    assert "äöü\n\0" in space
    assert "123456" not in space
    assert 5 not in space
    assert all(space.contains(space.sample()) for _ in range(50))
    assert space == TextSpace(5) != TextSpace(6)
    with pytest.raises(ValueError, match="mask"):
        space.sample(mask=[1])
    assert TextSpace(9, seed=1).sample() == TextSpace(9, seed=1).sample()


# RecordTrees ----------------------------------------------------------------------------------------------------------


def play(env, seed):
    env.reset(seed=seed)
    env.step(say(note("x")))
    env.step(say(finish()))
    return env.unwrapped.tree


def test_trees_are_kept():
    env = RecordTrees(toy_env())
    trees = [play(env, seed) for seed in (1, 2)]
    env.reset(seed=3)  # never finished
    assert env.trees == trees
    env.close()


def test_trees_are_streamed_to_a_file_which_grows_and_is_appended_to(tmp_path):
    path = tmp_path / "deep" / "trees.jsonl"
    env = RecordTrees(toy_env(), path)
    trees = [play(env, 1)]
    assert list(read_trees(path)) == trees
    with pytest.raises(SinkInUse, match=f"^sink='{path}'"):
        RecordTrees(toy_env(), path)
    env.close()
    with RecordTrees(toy_env(), str(path)) as env:
        trees.append(play(env, 2))
    assert list(read_trees(path)) == trees


def test_trees_are_handed_to_a_function():
    heard = []
    play(RecordTrees(toy_env(), heard.append), 1)
    assert [tree.finished for tree in heard] == [True]


def test_a_driver_of_the_parallel_face_records_by_hand():
    env = RecordTrees(toy_env())
    env.reset(seed=0)
    env.unwrapped.advance({0: say(finish())})
    env.record()
    assert env.trees == [env.unwrapped.tree]


def test_a_sink_that_is_none_is_refused():
    with pytest.raises(OptionError, match="sink=3"):
        RecordTrees(toy_env(), 3)


# Worlds ---------------------------------------------------------------------------------------------------------------


def test_a_window_too_small_for_the_prompt_is_refused_at_reset():
    with pytest.raises(OptionError, match="context_tokens=10"):
        toy_env(limits={"context_tokens": 10}).reset(seed=0)


def test_tasks_are_pure_and_travel_as_json():
    assert Task(**toy_task(3).to_dict()) == toy_task(3)
    assert ToyWorld(toy_task(3)).root().goal == "Do 3."


class Counted:
    """A sandbox that counts the sessions that are open."""

    def __init__(self, inner):
        self.inner, self.open_now = inner, set()

    def open(self, tools, variables, seed):
        repl = self.inner.open(tools, variables, seed)
        closing = repl.close

        def close():
            self.open_now.discard(repl)
            closing()

        repl.close = close
        self.open_now.add(repl)
        return repl

    def restore(self, tools, variables, state):
        raise NotImplementedError

    def close(self):
        self.inner.close()


def test_no_session_outlives_its_rollout():
    sandbox = Counted(default_sandbox())
    env = toy_env("code", sandbox=sandbox)
    env.reset(seed=1)
    saved = env.save()
    for end in (env.reset, env.close, lambda: env.load(saved), lambda: env.abort("lost")):
        env.reset(seed=0)
        env.step("import asyncio\nawait asyncio.gather(launch_subagent('a'), launch_subagent('b'))")
        env.step("x = 1")
        assert len(sandbox.open_now) == 2
        end()
        assert not sandbox.open_now
    env.reset(seed=0)
    env.step("x = 1")
    env.step("finish(1)")
    assert not sandbox.open_now
