"""What `load` refuses: what is no checkpoint, one of an environment with other options, and one that is a bomb."""

import copy
import functools
import hashlib
import io
import json
import pickle
import re
import tracemalloc
import zipfile
from pathlib import Path

import gymnasium as gym
import pytest

from rao_envs import Latency, Limits, RecordTrees, RecursiveEnv, Task
from rao_envs.engine.checkpoint import MAX_UNPACKED, pack, unpack
from rao_envs.errors import CorruptCheckpoint
from rao_envs.testing.toy import ToyWorld, toy_env, toy_task


def running():
    env = toy_env()
    env.reset(seed=9, options={"task": 9})
    return env


def refuse(env, checkpoint):
    """Check that the rollout in progress is untouched by a checkpoint that is refused."""
    before = env.save()
    with pytest.raises(CorruptCheckpoint):
        env.load(checkpoint)
    assert env.save() == before


def sealed(body):
    """Give an archive the head of a checkpoint, so that only what is in it can be wrong."""
    return b"RAO-CKPT" + hashlib.blake2b(body, digest_size=16).digest() + body


@pytest.mark.parametrize(
    "bad", [None, 3, "x", [1, 2], {}, object(), float("nan"), io.BytesIO()], ids=lambda bad: type(bad).__name__
)
def test_what_is_not_bytes_is_refused(bad):
    env = running()
    with pytest.raises(CorruptCheckpoint, match=r"^checkpoint=.*must be the bytes that save\(\) returned"):
        env.load(bad)
    refuse(env, bad)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_kinds_of_bytes_will_do(kind):
    saved = running().save()
    env = running()
    env.load(kind(saved))
    assert env.save() == saved


# Other options --------------------------------------------------------------------------------------------------------


def counted(depth):
    def tasks(index):
        return Task(f"{depth}/{index}", "Do it.")

    return tasks


class Source:
    def __init__(self, depth, key=None):
        self.depth, self.key = depth, key

    def __call__(self, index):
        return Task(f"{self.depth}/{index}", "Do it.")


class Described(Source):
    def to_dict(self):
        return {"depth": self.depth}


class Third(RecursiveEnv):
    """An environment of somebody else's, which knows nothing of checkpoints."""

    def __init__(self, depth=2, *, items=(), api_key=None, **options):
        super().__init__(counted(depth), ToyWorld, action_format="calls", **options)


class Further(Third):
    def __init__(self, level, **options):
        super().__init__(depth=level, **options)


def plainly(tasks, world=ToyWorld, **options):
    return RecursiveEnv(tasks, world, action_format="calls", **options)


def other_tasks(index):
    return Task(f"other/{index}", "Do it.")


def length(text):
    return len(text)


OTHER = {
    "an option": (lambda: Third(2), lambda: Third(5), "depth=2; this environment has 5"),
    "a default": (lambda: Third(), lambda: Third(depth=5), "depth=2; this environment has 5"),
    "a list": (lambda: Third(items=[1]), lambda: Third(items=[1, 2]), "items=[1]; this environment has [1, 2]"),
    "of a base": (lambda: Further(2, items="a"), lambda: Further(2, items="b"), "items='a'; this environment has 'b'"),
    "by position": (lambda: Further(2), lambda: Further(level=3), "level=2; this environment has 3"),
    "a closure": (lambda: plainly(counted(2)), lambda: plainly(counted(5)), "tasks="),
    "a function": (lambda: plainly(toy_task), lambda: plainly(other_tasks), "tasks='toy_task'; this environment has"),
    "a partial": (
        lambda: plainly(functools.partial(Task, goal="x")),
        lambda: plainly(functools.partial(Task, goal="y")),
        "tasks=",
    ),
    "a default argument": (
        lambda: plainly(lambda index, d=2: other_tasks(index)),
        lambda: plainly(lambda index, d=3: other_tasks(index)),
        "tasks=",
    ),
    "an object": (lambda: plainly(Described(2)), lambda: plainly(Described(3)), "tasks={'Described': {'depth': 2}}"),
    "latency": (
        lambda: plainly(toy_task, latency=Latency(base=1.0)),
        lambda: plainly(toy_task),
        "latency={'Latency': {'base': 1.0,",
    ),
    "a counter": (
        lambda: plainly(toy_task, token_counter=length),
        lambda: plainly(toy_task),
        "token_counter='length'; this environment has 'count_tokens'",
    ),
    "long data": (
        lambda: Third(items=list(range(500))),
        lambda: Third(items=list(range(501))),
        "items='list with digest ",
    ),
    "a class": (lambda: Third(2), lambda: Further(2), "out the option level; this environment has level=2"),
    "registered": (
        lambda: gym.make("TextCraftSynth-v0", depth=2, action_format="calls"),
        lambda: gym.make("TextCraftSynth-v0", depth=5, action_format="calls"),
        "depth=2; this environment has 5",
    ),
    "in a wrapper": (
        lambda: RecordTrees(gym.wrappers.TimeLimit(Third(2), 9)),
        lambda: RecordTrees(gym.wrappers.TimeLimit(Third(5), 9)),
        "depth=2; this environment has 5",
    ),
}


@pytest.mark.parametrize(("saver", "loader", "message"), OTHER.values(), ids=OTHER)
def test_a_checkpoint_is_loaded_under_the_options_it_was_saved_with_only(saver, loader, message):
    env, same, other = saver(), saver(), loader()
    for one in (env, same, other):
        one.reset(seed=0)
    checkpoint = env.unwrapped.save()
    with pytest.raises(CorruptCheckpoint, match="^the checkpoint was saved with.*" + re.escape(message)):
        other.unwrapped.load(checkpoint)
    assert other.unwrapped.ready == (0,)
    same.unwrapped.load(checkpoint)
    assert same.unwrapped.save() == checkpoint


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (lambda: Third(2), lambda: Third()),
        (lambda: Third(depth=2, items=[]), lambda: Third(2, items=())),
        (lambda: Third(render_mode="ansi"), lambda: Third(render_mode=None)),
        (lambda: Third(api_key="sesame"), lambda: Third(api_key="open")),
        (lambda: Third(limits={"max_turns": 25}), lambda: Third(limits=Limits())),
        (lambda: Third(items=Path("a")), lambda: Third(items="a")),
        (lambda: plainly(Source(2, object())), lambda: plainly(Source(2, object()))),
        (lambda: plainly(toy_task, latency=Latency()), lambda: plainly(toy_task, latency=None)),
        (lambda: copy.deepcopy(Third(5)), lambda: copy.copy(Third(5))),
        (lambda: pickle.loads(pickle.dumps(toy_env(latency=Latency(9.0)))), lambda: toy_env(latency=Latency(9.0))),
    ],
)
def test_what_makes_no_difference_is_none(one, same):
    env, other = one(), same()
    env.reset(seed=0)
    other.load(env.save())
    assert other.identity() == env.identity()


def test_a_key_among_the_options_is_not_written_down():
    env = Third(api_key="sesame", items={"password": "sesame", "n": 1})
    env.reset(seed=0)
    content, _ = unpack(env.save())
    assert content["identity"]["items"] == {"n": 1}
    assert "sesame" not in json.dumps(content)


def test_an_environment_may_say_itself_what_makes_a_difference():
    class Moved(Third):
        def identity(self):
            return {name: value for name, value in super().identity().items() if name != "items"}

    env, other = Moved(items="/here"), Moved(items="/there")
    env.reset(seed=0)
    other.load(env.save())
    with pytest.raises(CorruptCheckpoint, match="depth=2; this environment has 3"):
        Moved(depth=3).load(env.save())


def test_a_checkpoint_without_its_options_is_refused():
    content, sessions = unpack(running().save())
    content.pop("version")
    for identity in (None, [], {}, {**content["identity"], "more": 1}):
        refuse(running(), pack({**content, "identity": identity}, sessions))
    refuse(running(), pack({name: value for name, value in content.items() if name != "identity"}, sessions))


# Bombs ----------------------------------------------------------------------------------------------------------------


def bomb(content, files, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        made.writestr("rollout.json", json.dumps(content))
        for name, size in files:
            with made.open(name, "w", force_zip64=True) as file:
                for start in range(0, size, 1 << 20):
                    file.write(bytes(min(1 << 20, size - start)))
    return sealed(buffer.getvalue())


@pytest.fixture
def content():
    content, _ = unpack(running().save())
    return content


def peak(work):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptCheckpoint) as caught:
            work()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("files", [[("sessions/0", 80 << 20)], [(f"sessions/{n}", 1 << 20) for n in range(80)]])
def test_a_small_checkpoint_that_unpacks_to_much_is_not_unpacked(content, files):
    checkpoint = bomb(content, files)
    assert len(checkpoint) < 1 << 20
    env = running()
    most, message = peak(lambda: env.load(checkpoint, max_bytes=64 << 20))
    assert "unpacks to 83,8" in message
    assert "67,108,864 are allowed; pass a larger max_bytes to load()" in message
    assert most < 8 << 20
    assert env.ready == (0,)


def test_the_limit_is_one_gibibyte_unless_it_is_moved(content):
    checkpoint = bomb(content, [(f"sessions/{n}", 1 << 20) for n in range(1)])
    size = (1 << 20) + len(json.dumps(content))
    unpack(checkpoint, size)
    with pytest.raises(CorruptCheckpoint, match="unpacks to"):
        unpack(checkpoint, size - 1)
    assert MAX_UNPACKED == 1 << 30


def test_an_archive_that_lies_about_its_size_gives_no_more_than_it_says(content):
    checkpoint = bomb(content, [("sessions/0", 80 << 20)])
    body = checkpoint[24:].replace((80 << 20).to_bytes(8, "little"), (9).to_bytes(8, "little"))
    body = body.replace((80 << 20).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    most, _ = peak(lambda: running().load(sealed(body)))
    assert most < 16 << 20


def test_a_million_sessions_of_nodes_that_do_not_live_are_not_read(content):
    checkpoint = bomb(content, [(f"sessions/{n}", 100) for n in range(1, 2_000)])
    with pytest.raises(CorruptCheckpoint, match="1999 sessions, of 1 living nodes"):
        running().load(checkpoint)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(content, method):
    # A few bytes of theirs inflate to megabytes before a size can be checked.
    refuse(running(), bomb(content, [], method))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "files",
    [[("sessions/0", 1), ("sessions/0", 1)], [("rollout.json", 1)], [("other", 1)], [("sessions/00", 1)]],
    ids=str,
)
def test_files_that_save_does_not_write_are_refused(content, files):
    refuse(running(), bomb(content, files))


@pytest.mark.parametrize("part", ["world", "meta", "task", "agents"])
def test_deep_nesting_is_refused(content, part):
    deep = []
    for _ in range(300):
        deep = [deep]
    content[part]["deep"] = deep
    content.pop("version")
    refuse(running(), pack(content, {}))
