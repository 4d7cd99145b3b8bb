"""A rollout saved at any step goes on as if it had not been: here, elsewhere, or twice."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rao_envs import Action, Task, ToolError, tool
from rao_envs.engine.checkpoint import pack, unpack
from rao_envs.errors import CorruptCheckpoint, EpisodeOver
from rao_envs.events import Sample
from rao_envs.policies import views
from rao_envs.testing.toy import ToyWorld, finish, launch, note, say, toy_env, toy_oracle

FORMATS = ("code", "calls")


def make(env_id, action_format, **options):
    if env_id == "toy":
        env = toy_env(action_format, **options)
        env.oracles = {"recursive": toy_oracle}
        return env
    return gym.make(env_id, difficulty="easy", action_format=action_format, **options).unwrapped


def advance_one(env, last=False):
    """Let the first (or last) ready node act as the oracle would."""
    view = views(env)[-1 if last else 0]
    env.advance({view.node.id: env.oracles["recursive"](view)})


def finish_off(env):
    while env.ready:
        advance_one(env)
    return env.tree.to_json()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("env_id", ["toy", "TextCraftSynth-v0", "TextCraft-v0"])
def test_a_rollout_saved_and_loaded_at_every_step_is_byte_for_byte_the_uninterrupted_one(env_id, action_format, last):
    straight, broken = make(env_id, action_format), None
    straight.reset(seed=3, options={"task": 1})
    straight_steps = 0
    checkpoint = straight.save()
    while straight.ready:
        # Every step happens in an environment of its own, which knows nothing but the checkpoint.
        broken = make(env_id, action_format)
        observation, info = broken.load(checkpoint)
        assert broken.save() == checkpoint
        assert broken.ready == straight.ready
        assert observation == info["messages"][-1]["content"]
        advance_one(straight, last)
        advance_one(broken, last)
        straight_steps += 1
        checkpoint = broken.save()
        assert broken.tree.to_json() == straight.tree.to_json()
        if action_format == "calls":  # an interpreter's dump of the same session may differ in its bytes
            assert checkpoint == straight.save()
        broken.close()
    assert straight.tree.root.success == 1.0
    assert straight_steps > 3
    # The random stream goes on, too.
    assert broken.reset()[1]["task"] == straight.reset()[1]["task"]


SUSPENDED = """import asyncio
kept = [1]
async def chain(name):
    print(name)
    first = await launch_subagent(name)
    kept.append(await launch_subagent(first))
    return name
print(await asyncio.gather(chain('x'), chain('y')), kept)"""


def test_a_parent_suspended_in_nested_coroutines_goes_on_in_another_environment():
    env = toy_env("code")
    env.reset(seed=0, options={"task": 0})
    env.advance({0: Action(SUSPENDED, 1.0)})
    env.advance({1: Action("mine = 5", 1.0), 2: Action("finish('yy')", 4.0)})  # held back: 1 stands at 2 s
    other = toy_env("code")
    other.load(env.save())
    for rollout in (env, other):
        rollout.advance({1: Action("finish('xx' * mine)", 9.0)})
        # 2 was back at 5 s and 1 at 11 s: what follows 1 waits until what follows 2 has come as far.
        rollout.advance({3: Action("finish(3)", 9.0)})
        assert [node.goal for node in rollout.tree.nodes[3:]] == ["yy", "xx" * 5]
        rollout.advance({4: Action("finish(4)", 1.0)})
        assert rollout.tree.root.turns[0].observation == "x\ny\n['x', 'y'] [1, 4, 3]"
        rollout.advance({0: "print(kept)"})
        assert rollout.tree.root.turns[1].observation == "[1, 4, 3]"
    assert other.tree == env.tree


def test_a_fork_goes_two_ways_and_neither_disturbs_the_other():
    env = toy_env()
    env.reset(seed=0, options={"task": 0})
    env.advance({0: Action(say(launch("a"), note("x")), None, Sample((1,), (2,), (-0.5,)))})
    checkpoint = env.save()
    left, right = toy_env(), toy_env()
    left.load(checkpoint)
    right.load(checkpoint)
    left.advance({1: say(note("left"), finish(1))})
    right.advance({1: say(finish(0))})
    assert (left.world.notes, right.world.notes, env.world.notes) == (["x", "left"], ["x"], ["x"])
    assert (left.tree.nodes[1].success, right.tree.nodes[1].success) == (1.0, 0.0)
    assert env.tree.nodes[1].status is None
    assert env.save() == checkpoint


def test_a_shared_budget_an_abort_and_an_end_are_kept():
    env, other = toy_env(limits={"tree_turns": 9}), toy_env(limits={"tree_turns": 9})
    env.reset(seed=0)
    env.advance({0: say(launch("a", 5))})
    other.load(env.save())
    other.advance({1: say(finish())})
    other.advance({0: say(launch("b", 7))})
    assert "you can hand on at most 5" in other.tree.root.turns[1].observation
    env.abort("lost")
    other.load(env.save())
    assert (other.tree.invalid, other.ready) == ("lost", ())
    with pytest.raises(EpisodeOver):
        other.step("x")


@pytest.mark.parametrize("action_format", FORMATS)
def test_another_process_takes_a_rollout_up(action_format):
    env = make("TextCraftSynth-v0", action_format)
    env.reset(seed=0)
    for _ in range(3):
        advance_one(env)
    code = f"""
import base64, sys
import gymnasium as gym, rao_envs
from rao_envs.policies import views
env = gym.make("TextCraftSynth-v0", difficulty="easy", action_format={action_format!r}).unwrapped
env.load(base64.b64decode(sys.stdin.read()))
while env.ready:
    view = views(env)[0]
    env.advance({{view.node.id: env.oracles["recursive"](view)}})
sys.stdout.write(env.tree.to_json())
env.close()
"""
    sent = base64.b64encode(env.save()).decode()
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, text=True, check=True)
    assert done.stdout == finish_off(env)


# What must be refused -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints():
    """One checkpoint of each format, in the middle of a turn that waits."""
    saved = {}
    for action_format in FORMATS:
        env = toy_env(action_format)
        env.reset(seed=0, options={"task": 0})
        env.oracles = {"recursive": toy_oracle}
        for _ in range(2):
            advance_one(env)
        saved[action_format] = env.save()
    return saved


def refuse(env, checkpoint):
    """Check that the rollout in progress is untouched by a checkpoint that is refused."""
    before, state = env.save(), repr(env.np_random.bit_generator.state)
    with pytest.raises(CorruptCheckpoint):
        env.load(checkpoint)
    assert env.save() == before
    assert repr(env.np_random.bit_generator.state) == state


def running(action_format="calls", **options):
    env = toy_env(action_format, **options)
    env.reset(seed=9, options={"task": 9})
    return env


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), action_format=st.sampled_from(FORMATS))
def test_flipped_bytes_are_refused(checkpoints, data, action_format):
    good = checkpoints[action_format]
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    refuse(running(action_format), bytes(bad))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), action_format=st.sampled_from(FORMATS))
def test_truncated_and_foreign_bytes_are_refused(checkpoints, data, action_format):
    good = checkpoints[action_format]
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    for bad in (cut, data.draw(st.binary(max_size=50)), cut + data.draw(st.binary(min_size=4, max_size=9))):
        refuse(running(action_format), bad)


def scalars(value, path=()):
    """List the paths to all places in JSON data."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from scalars(item, (*path, key))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), action_format=st.sampled_from(FORMATS))
def test_forged_data_under_a_right_checksum_raises_nothing_but_corrupt_checkpoint(checkpoints, data, action_format):
    content, sessions = unpack(checkpoints[action_format])
    path = data.draw(st.sampled_from([path for path in scalars(content) if path]))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    forged = data.draw(st.sampled_from([None, -1, 10**30, "x", [], {}, [[]], 0.5, {"type": "Acted"}]))
    inner[path[-1]] = forged
    content.pop("version")
    env = running(action_format)
    try:
        env.load(pack(content, sessions))
    except CorruptCheckpoint:
        assert env.ready == (0,)


def sealed(body):
    """Give foreign bytes the head of a checkpoint, so that only what is in them can be wrong."""
    return b"RAO-CKPT" + hashlib.blake2b(body, digest_size=16).digest() + body


@pytest.mark.parametrize("bad", [b"", b"PK\x03\x04", b"{}", b"\0" * 100, sealed(b""), sealed(b"PK\x03\x04" * 9)])
def test_what_is_no_checkpoint_is_refused(bad):
    refuse(running(), bad)


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, text in files.items():
            made.writestr(name.replace("__", "/").replace("_json", ".json"), text)
    return sealed(buffer.getvalue())


@pytest.mark.parametrize(
    "files",
    [
        {"other_json": "{}"},
        {"rollout_json": "{}"},
        {"rollout_json": "[]"},
        {"rollout_json": "not json"},
        {"rollout_json": json.dumps({"version": 99})},
        {"rollout_json": json.dumps({"version": 1})},
        {"rollout_json": "{}", "sessions__x": "1"},
    ],
)
def test_archives_of_something_else_are_refused(files):
    refuse(running(), archive(**files))


@pytest.mark.parametrize(
    "options",
    [{"action_format": "code"}, {"recursive": False}, {"limits": {"max_depth": 3}}, {"limits": {"tree_turns": 9}}],
)
def test_a_checkpoint_of_an_environment_with_other_options_is_refused_by_name(options):
    saved = running().save()
    env = running(**options)
    with pytest.raises(CorruptCheckpoint, match=r"saved with (format|recursive|limits)="):
        env.load(saved)
    assert env.ready == (0,)


def test_a_checkpoint_of_another_benchmark_or_world_is_refused():
    class Other(ToyWorld):
        pass

    refuse(running(world=Other), running().save())
    saved = {}
    for world_seed in (0, 1):
        env = gym.make("TextCraftSynth-v0", action_format="calls", world_seed=world_seed).unwrapped
        # In either world there is such an item; only its recipe differs.
        task = Task("same", "Craft 1 m1_i5.", {"targets": {"m1_i5": 1}, "inventory": {}})
        env.reset(seed=0, options={"task": task})
        saved[world_seed] = env.save()
    refuse(env, saved[0])
    refuse(env, running(limits=env.limits).save())


def test_a_session_of_a_node_that_does_not_live_is_refused():
    content, sessions = unpack(running().save())
    content.pop("version")
    refuse(running(), pack(content, {**sessions, 7: b"x"}))


def test_a_world_whose_state_json_cannot_hold_says_so_when_it_is_saved():
    class Fancy(ToyWorld):
        @tool
        def note(self, node, text: str) -> int:
            """Put a note on the wall."""
            if not text:
                raise ToolError("empty")
            self.notes = {text}
            return 1

    env = running(world=Fancy)
    env.advance({0: say(note("x"))})
    with pytest.raises(ValueError, match=r"Fancy\.notes"):
        env.save()
