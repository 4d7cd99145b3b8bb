"""Collecting groups: order, seeds, retries, resuming, and whose fault is whose."""

import builtins
import errno
import sys

import pytest

from rao_envs import Limits, Task, collect, read_trees
from rao_envs.errors import CorruptTree, InfrastructureError, OptionError, SinkInUse
from rao_envs.policies import QuittingPolicy, RandomPolicy, ScriptedPolicy, View, views
from rao_envs.rollout.collect import stream
from rao_envs.testing.toy import ToyWorld, finish, note, say, toy_env, toy_oracle

ORACLE = ScriptedPolicy(toy_oracle)
LOST = InfrastructureError("the server is gone")


def run(policy=ORACLE, env=toy_env, **options):
    return collect(env, policy, **{"tasks": 2, "progress": False, **options})


class Counting:
    """Wrap a policy; note the size of every batch; fail as told."""

    def __init__(self, policy=ORACLE, fail=lambda batch, views: None):
        self.policy, self.fail, self.sizes = policy, fail, []

    def __call__(self, views):
        self.sizes.append(len(views))
        failed = self.fail(len(self.sizes), views)
        return self.policy(views) if failed is None else failed


# Order, groups, seeds -----------------------------------------------------------------------------------------------


def test_trees_come_in_order_of_task_and_rollout_whatever_finishes_first():
    def slow_first(view):
        early = view.node.goal == "Do 5."
        return say(note("x")) if early and len(view.node.turns) < 6 else say(finish())

    trees = run(ScriptedPolicy(slow_first), tasks=[5, 2, 9], group_size=2)
    assert [(tree.group, tree.meta["rollout"]) for tree in trees] == [
        (f"toy/{task}", k) for task in (5, 2, 9) for k in (0, 1)
    ]
    assert trees[0].meta.keys() == {"env", "task", "rollout", "seed"}
    finished = [place for place, _ in stream(toy_env, ScriptedPolicy(slow_first), tasks=[5, 2], progress=False)]
    assert finished == [1, 0]


def test_every_rollout_has_a_seed_of_its_own_that_only_seed_task_and_number_decide():
    def seeds(**options):
        return [tree.meta["seed"] for tree in run(**{"tasks": [1, 2], "group_size": 3, **options})]

    assert len(set(seeds())) == 6
    assert seeds(concurrency=1) == seeds(concurrency=50) == seeds()
    assert seeds(tasks=[2, 1]) == seeds()[3:] + seeds()[:3]
    assert seeds(group_size=1) == seeds()[::3]
    assert not set(seeds(seed=1)) & set(seeds())


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_the_result_does_not_depend_on_how_many_run_at_once(concurrency):
    policy = QuittingPolicy(toy_oracle, 0.5)
    trees = run(policy, tasks=4, group_size=2, concurrency=concurrency)
    assert trees == run(policy, tasks=4, group_size=2)
    assert len({len(tree.events) for tree in trees}) > 1


def test_all_waiting_nodes_of_all_rollouts_are_asked_in_one_batch():
    policy = Counting()
    run(policy, tasks=3)
    # Per rollout: the root, its 2 parts, their 4 parts, these 2 again, and the root again.
    assert policy.sizes == [3, 6, 12, 6, 3]


def test_tasks_may_be_numbers_or_tasks_or_mixed():
    task = Task("mine", "Do mine.", {"goal": "mine"})
    assert [tree.group for tree in run(tasks=[task, 3])] == ["mine", "toy/3"]
    assert [tree.group for tree in run(tasks=2)] == ["toy/0", "toy/1"]


def test_an_id_takes_options():
    (tree,) = collect("TextCraftSynth-v0", RandomPolicy(), tasks=1, env_options={"depth": 2}, progress=False)
    assert tree.meta["options"] == {"depth": 2}
    assert tree.group.endswith("depth-2/0")


# Retries --------------------------------------------------------------------------------------------------------------


def test_a_batch_that_fails_is_tried_again_and_never_scored():
    def once(batch, views):
        if batch == 2:
            raise LOST

    trees = run(Counting(fail=once))
    assert trees == run()


def test_one_answer_that_fails_spoils_its_own_rollout_only():
    attempts = []

    def first_time(batch, views):
        answers = ORACLE(views)
        for place, view in enumerate(views):
            if view.node.goal == "Do 1." and not view.node.turns:
                attempts.append(view.rollout)
                if len(attempts) == 1:
                    answers[place] = LOST
        return answers

    trees = run(Counting(fail=first_time))
    assert len(set(attempts)) == 1
    assert len(attempts) == 2
    assert trees == run()


def test_after_the_last_retry_the_tree_is_returned_as_invalid():
    policy = Counting(fail=lambda batch, views: [LOST] * len(views))
    trees = run(policy, tasks=1, max_retries=2)
    assert [tree.invalid for tree in trees] == ["the server is gone"]
    assert policy.sizes == [1, 1, 1]
    assert len(trees[0].nodes) == 1


def test_a_sandbox_that_dies_in_the_middle_of_a_turn_is_infrastructure_too():
    class Flaky(ToyWorld):
        fails = 1

        def delegate(self, node, goal: str, turns: int | None = None):
            if Flaky.fails:
                Flaky.fails -= 1
                raise InfrastructureError("worker died")
            return super().delegate(node, goal, turns)

    (tree,) = run(env=lambda: toy_env(world=Flaky), tasks=1)
    assert tree.invalid is None
    Flaky.fails = 99
    (tree,) = run(env=lambda: toy_env(world=Flaky), tasks=1)
    assert "worker died" in tree.invalid


def test_a_reset_that_fails_is_tried_again_and_then_raised():
    class Far(ToyWorld):
        fails = 2

        def __init__(self, task):
            super().__init__(task)
            if Far.fails:
                Far.fails -= 1
                raise InfrastructureError("no connection")

    trees = run(env=lambda: toy_env(world=Far))
    assert [tree.events for tree in trees] == [tree.events for tree in run()]
    Far.fails = 3
    with pytest.raises(InfrastructureError, match="no connection"):
        run(env=lambda: toy_env(world=Far), tasks=1)


# Sinks ----------------------------------------------------------------------------------------------------------------


def interrupted(after):
    def fail(batch, views):
        if batch > after:
            raise KeyboardInterrupt

    return Counting(fail=fail)


@pytest.mark.parametrize("after", [0, 3, 7, 12])
def test_an_interrupted_collection_goes_on_where_it_stopped(tmp_path, after):
    sink = tmp_path / "trees.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(after), tasks=4, concurrency=1, sink=sink)
    done = list(read_trees(sink))
    assert len(done) == after // 5  # five batches a rollout
    policy = Counting()
    trees = run(policy, tasks=4, concurrency=1, sink=sink)
    assert trees == run(tasks=4)
    assert len(policy.sizes) == 5 * (4 - len(done))
    assert sorted(tree.to_json() for tree in read_trees(sink)) == sorted(tree.to_json() for tree in trees)
    policy = Counting()
    assert run(policy, tasks=4, sink=sink) == trees
    assert policy.sizes == []


def test_a_torn_last_line_is_done_again(tmp_path):
    sink = tmp_path / "trees.jsonl"
    trees = run(sink=sink)
    whole = sink.read_bytes()
    sink.write_bytes(whole[:-40])
    assert run(sink=sink) == trees
    assert sink.read_bytes() == whole


def test_more_rollouts_extend_a_sink(tmp_path):
    sink = tmp_path / "trees.jsonl"
    run(sink=sink, tasks=1)
    policy = Counting()
    assert run(policy, sink=sink, tasks=2, group_size=2) == run(tasks=2, group_size=2)
    assert sum(policy.sizes[:1]) == 3


def test_invalid_trees_in_a_sink_are_done_again(tmp_path):
    sink = tmp_path / "trees.jsonl"
    run(Counting(fail=lambda batch, views: [LOST] * len(views)), sink=sink, max_retries=0)
    assert all(tree.invalid for tree in read_trees(sink))
    assert run(sink=sink) == run()


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"env_options": {"difficulty": "hard", "action_format": "calls"}},
        {"env_options": {"difficulty": "easy", "action_format": "calls", "limits": Limits(max_turns=9)}},
        {"env": "TextCraft-v0"},
    ],
)
def test_a_sink_of_another_seed_environment_or_option_is_refused(tmp_path, options):
    sink = tmp_path / "trees.jsonl"
    usual = {
        "env": "TextCraftSynth-v0",
        "tasks": 1,
        "env_options": {"difficulty": "easy", "action_format": "calls"},
    }
    run(RandomPolicy(), **usual, sink=sink)
    before = sink.read_bytes()
    with pytest.raises(OptionError, match="use a new file"):
        run(RandomPolicy(), **{**usual, **options}, sink=sink)
    assert sink.read_bytes() == before


def test_a_sink_that_holds_something_else_is_refused_and_kept(tmp_path):
    sink = tmp_path / "trees.jsonl"
    sink.write_text("my diary\n{}\n")
    with pytest.raises(CorruptTree, match="line 1"):
        run(sink=sink)
    assert sink.read_text() == "my diary\n{}\n"


# One collection at a time, and sinks that can only be read ----------------------------------------------------------


def test_a_second_collection_on_one_sink_is_refused_by_name(tmp_path):
    sink = tmp_path / "trees.jsonl"
    refused = []

    def start_another(batch, views):
        with pytest.raises(SinkInUse, match=rf"^sink='{sink}': is already being written") as caught:
            run(Counting(fail=lambda *_: pytest.fail("the second one asked its policy")), sink=sink)
        refused.append(caught.value)

    assert run(Counting(fail=start_another), sink=sink) == run()
    assert len(refused) > 1
    assert isinstance(refused[0], OptionError)
    assert len(list(read_trees(sink, strict=True))) == 2
    assert run(sink=sink) == run(), "the lock is free again"


def test_an_interrupted_collection_lets_go_of_its_sink(tmp_path):
    sink = tmp_path / "trees.jsonl"
    rollouts = stream(toy_env, ORACLE, tasks=2, concurrency=1, sink=sink, progress=False)
    next(rollouts)
    with pytest.raises(SinkInUse):
        run(sink=sink)
    rollouts.close()
    assert run(sink=sink) == run()


def test_what_another_collection_wrote_until_the_lock_was_ours_is_not_done_again(tmp_path, monkeypatch):
    sink = tmp_path / "trees.jsonl"
    module = sys.modules["rao_envs.rollout.collect"]

    def late(*args, **options):
        monkeypatch.undo()
        run(sink=sink, tasks=3)
        return module.TreeWriter(*args, **options)

    monkeypatch.setattr(module, "TreeWriter", late)
    policy = Counting()
    assert run(policy, sink=sink, tasks=4) == run(tasks=4)
    assert len(list(read_trees(sink, strict=True))) == 4
    assert sum(policy.sizes[:1]) == 1


@pytest.fixture
def read_only(monkeypatch):
    """Make every disk read-only; permissions would not stop the super-user."""
    really = builtins.open

    def open_to_read(file, mode="r", *args, **options):
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", file)
        return really(file, mode, *args, **options)

    def start():
        monkeypatch.setattr(builtins, "open", open_to_read)

    return start


def test_a_complete_sink_is_only_read(tmp_path, read_only):
    sink = tmp_path / "trees.jsonl"
    trees = run(sink=sink)
    before = sink.read_bytes()
    sink.chmod(0o444)
    read_only()
    policy = Counting()
    assert run(policy, sink=sink) == trees
    assert run(policy, sink=sink, tasks=1) == trees[:1]
    assert policy.sizes == []
    with pytest.raises(OptionError, match=r"^sink=.*lacks 3 of 5 rollouts and cannot be written \(Read-only file sys"):
        run(policy, sink=sink, tasks=5)
    assert policy.sizes == []
    assert sink.read_bytes() == before


def test_a_complete_sink_may_be_read_while_another_collection_extends_it(tmp_path):
    sink = tmp_path / "trees.jsonl"
    trees = run(sink=sink)
    seen = []
    run(Counting(fail=lambda *_: seen.append(run(sink=sink))), sink=sink, tasks=3)
    assert seen
    assert all(found == trees for found in seen)


@pytest.mark.parametrize("there", [True, False])
def test_a_sink_that_cannot_be_made_is_named(tmp_path, there):
    (tmp_path / "file").write_text("")
    sink = tmp_path if there else tmp_path / "file" / "trees.jsonl"
    with pytest.raises(OptionError, match=r"^sink="):
        run(sink=sink)


# Mistakes of the caller -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [[], ["x"], ["x"] * 3, "xx", {"a": 1, "b": 2}, None, iter(["x", "x"]), ["x", None], ["x", 3]],
    ids=lambda answers: type(answers).__name__,
)
def test_answers_that_do_not_fit_are_refused(answers):
    with pytest.raises(OptionError, match=r"policy|action"):
        run(lambda views: answers, tasks=2)


def test_other_exceptions_of_the_policy_propagate_and_nothing_recorded_is_lost(tmp_path):
    sink = tmp_path / "trees.jsonl"

    def bug(batch, views):
        if batch == 8:
            raise ZeroDivisionError("a bug in the policy")

    with pytest.raises(ZeroDivisionError):
        run(Counting(fail=bug), tasks=3, concurrency=1, sink=sink)
    assert [tree.group for tree in read_trees(sink)] == ["toy/0"]


@pytest.mark.parametrize(
    "options",
    [
        {"tasks": 0},
        {"tasks": []},
        {"tasks": [-1]},
        {"tasks": ["3"]},
        {"tasks": [1.5]},
        {"tasks": [True]},
        {"tasks": [4, 4]},
        {"group_size": 0},
        {"concurrency": 0},
        {"max_retries": -1},
        {"env_options": {"depth": 3}},
    ],
)
def test_impossible_options_are_refused_before_anything_runs(options):
    policy = Counting()
    with pytest.raises(OptionError, match=next(iter(options))):
        run(policy, **options)
    assert policy.sizes == []


def test_an_environment_of_somebody_else_is_refused():
    with pytest.raises(OptionError, match="env"):
        collect("CartPole-v1", ORACLE, tasks=1, progress=False)


# Looks ----------------------------------------------------------------------------------------------------------------


def test_the_progress_bar_goes_to_stderr(capsys, monkeypatch):
    run(progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2/2" in shown.err
    assert "success 100%" in shown.err
    run(progress=None)  # stderr is no terminal here
    run(progress=False)
    assert capsys.readouterr() == ("", "")
    assert not sys.stderr.isatty()


def test_views_say_what_a_policy_needs():
    env = toy_env()
    env.reset(seed=0, options={"task": 0})
    (view,) = views(env, 7)
    assert (view.observation, view.format, len(view.messages)) == (env.tree.root.opening, "calls", 2)
    assert view.seed == View(view.node, "calls", 7).seed != View(view.node, "calls", 8).seed
    before = view.seed
    env.step(say(note("x")))
    (later,) = views(env, 7)
    assert later.seed != before
    assert later.observation == '[{"name":"note","result":1}]'
