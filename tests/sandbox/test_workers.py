"""A worker that the machine kills costs its agent nothing; code that kills its worker is the agent's own fault."""

import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from threading import Event, Thread

import gymnasium as gym
import pytest

import rao_envs  # noqa: F401 (registers the ids)
from rao_envs.policies.base import View
from rao_envs.sandbox import LATER, Done, SandboxLimits, Value, Wait
from rao_envs.sandbox.monty import MontySandbox
from rao_envs.sandbox.monty.runner import Runner, WorkerLost
from rao_envs.testing.sandbox.workbench import LIMITS, TOOLS, Workbench

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are found in /proc")


def kill(repl):
    os.kill(repl.worker_pid, signal.SIGKILL)
    time.sleep(0.05)


@pytest.fixture
def sandbox():
    with MontySandbox(max_workers=1, limits=LIMITS) as made:
        yield made


# One session --------------------------------------------------------------------------------------------


def test_a_worker_that_dies_before_its_session_is_moved_out_is_replaced(sandbox):
    first, second = sandbox.open(TOOLS, {"v": 1}, 0), sandbox.open(TOOLS, {}, 0)
    first.start("x = [v]")
    kill(first)
    assert second.start("print('mine')") == Done("mine\n")
    assert first.start("print(x)") == Done("[1]\n")


def test_a_session_lives_through_one_death_at_each_of_its_steps(sandbox):
    repl = sandbox.open(TOOLS, {"v": [0]}, 5)
    plain = sandbox.open(TOOLS, {"v": [0]}, 5)
    answer = [1]

    def play(repl, harm):
        seen = []
        for code in ("import random", "import heapq\nheap = [3]", "print(", "nope", "echo = 5", "x = echo(heap)"):
            harm(repl)
            seen.append(step := repl.start(code))
            if not isinstance(step, Done):
                seen.append(repl.answer(step.id, Value([])))
        for turn in range(3):
            harm(repl)
            step = repl.start(f"print('begin', x)\nx.append(echo({turn}))\nv.append(random.random())\n"
                              "heapq.heappush(heap, 1)\nprint(await launch_subagent(x), v, heap)\nx")  # fmt: skip
            seen.append(step)
            harm(repl)
            seen.append(step := repl.answer(step.id, Value(answer)))
            answer.append(2)  # the world goes on with what its tool returned
            harm(repl)
            seen.append(step := repl.answer(step.id, LATER))
            harm(repl)
            seen.append(repl.settle(step.ids[0], Value("child")))
        return seen

    for each in (plain, repl):
        each.answer(each.start("x = echo([])").id, Value([]))
    harmed = play(repl, kill)
    answer[:] = [1]
    assert harmed == play(plain, lambda repl: None)


def test_the_journal_is_cut_short_by_dumps(sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("x = 0")
    longest = 0
    for _ in range(1_500):
        repl.start("x += 1")
        longest = max(longest, len(repl._journal))
    assert 0 < longest < 1_000
    repl.start("y = '" + "y" * 1_900 + "'")
    kill(repl)
    assert repl.start("x") == Done("1500\n")
    step = repl.start("for i in range(3): print(i, len(echo(i)))")
    for _ in range(3):
        step = repl.answer(step.id, Value("y" * 10**6))
        assert len(repl._journal) <= 1
        kill(repl)
    assert isinstance(step, Done)
    assert [line[:3] for line in step.text.splitlines()][:1] == ["0 1"]


def test_what_a_tool_returned_is_kept_as_it_was(sandbox):
    class Odd(dict):
        pass

    for given in ([1], Odd(a=[1]), (1, [2]), {"a": {1, 2}}):
        repl = sandbox.open(TOOLS, {}, 0)
        shown = repl.answer(repl.start("x = echo(0)\nprint(x)").id, Value(given))
        given.clear() if hasattr(given, "clear") else given[1].clear()
        kill(repl)
        assert repl.start("print(x)") == shown
        repl.close()


@pytest.mark.parametrize("moment", ["idle", "paused"])
def test_a_checkpoint_of_a_session_whose_worker_died_is_whole(sandbox, moment):
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("x = 1")
    step = repl.start("print('a')\nprint(x, echo(2))") if moment == "paused" else None
    kill(repl)
    copy = sandbox.restore(TOOLS, {}, repl.dump())
    for each in (repl, copy):
        done = each.answer(step.id, Value(2)) if step else each.start("print('a')\nprint(x, 2)")
        assert done == Done("a\n1 2\n")


def test_a_restored_session_lives_through_deaths_before_its_first_step(sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("x = 1")
    copy = sandbox.restore(TOOLS, {}, repl.dump())
    assert copy.start("x") == Done("1\n")
    kill(copy)
    assert copy.start("x += 1\nx") == Done("2\n")
    kill(copy)
    assert copy.start("x") == Done("2\n")


# Deaths that come again ---------------------------------------------------------------------------------


@pytest.fixture
def deadly(monkeypatch):
    """Let code that says so kill its worker."""
    move = Runner.move

    def murder(self, kind, argument):
        if "die" in str(argument):
            os.kill(self.worker.worker_pid, signal.SIGKILL)
        step = move(self, kind, argument)
        if "lost" in str(argument):
            raise WorkerLost
        return step

    monkeypatch.setattr(Runner, "move", murder)


@pytest.mark.parametrize("code", ["'die'", "print('lost')", "x = 'die'\nwhile True: pass"])
def test_code_that_kills_its_worker_twice_is_to_blame(sandbox, deadly, code):
    repl = sandbox.open(TOOLS, {"v": 1}, 0)
    repl.start("x = 1")
    done = repl.start(code)
    assert done.fault == "agent"
    assert "crashed on this code" in done.text
    assert "restarted" in done.text
    assert repl.start("print(v)") == Done("1\n")
    assert repl.start("x").fault == "agent"


def test_an_answer_that_kills_the_worker_twice_is_a_failed_turn(sandbox, deadly):
    repl = sandbox.open(TOOLS, {}, 0)
    done = repl.answer(repl.start("print('seen', echo(1))").id, Value("die"))
    assert done.fault == "agent"
    assert not sandbox._live


def test_a_replay_that_goes_another_way_is_not_believed(sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("x = 1\nprint(x)")
    kind, argument, _ = repl._journal._entries[0]
    repl._journal._entries[0] = (kind, argument, Done("2\n"))
    kill(repl)
    assert repl.start("x").fault == "agent"


def test_a_session_that_cannot_be_saved_says_so_when_it_is_answered(sandbox, monkeypatch):
    repl = sandbox.open(TOOLS, {}, 0)
    step = repl.start("print(echo(1))")
    kind, argument, _ = repl._journal._entries[0]
    repl._journal._entries[0] = (kind, argument, Done("2\n"))
    kill(repl)
    copy = sandbox.restore(TOOLS, {}, repl.dump())
    for each in (repl, copy):
        done = each.answer(step.id, Value(1))
        assert done.fault == "agent"
        assert "restarted" in done.text
        assert each.start("print(1)") == Done("1\n")


# Many rollouts ------------------------------------------------------------------------------------------


def workers():
    """Find the processes of all pools of this process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid() and "monty" in name:
            found.append(int(stat.parent.name))
    return found


class Killer(Thread):
    """Kill a worker now and then, at moments that nobody has chosen."""

    def __init__(self, seed, pause):
        super().__init__()
        self.random, self.pause, self.over, self.killed = Random(seed), pause, Event(), 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(self.pause * (0.5 + self.random.random())):
            found = workers()
            if found:
                os.kill(self.random.choice(found), signal.SIGKILL)
                self.killed += 1


def rollout(sandbox, task, saves):
    env = gym.make("TextCraftSynth-v0", difficulty="easy", sandbox=sandbox, action_format="code").unwrapped
    oracle = env.oracles["recursive"]
    random = Random(task)
    env.reset(seed=task, options={"task": task})
    while env.ready:
        node = random.choice(env.ready)
        text = oracle(View(env.tree.nodes[node], "code", task))
        extra = "seen = [1]\nfor i in range(3000): seen.append(i)\nimport random\nprint(random.random(), len(seen))\n"
        env.advance({node: text.replace("<python>", f"<python>{extra}")})
        if saves and random.random() < 0.2:
            env.load(env.save())
    tree = env.tree.to_json()
    env.close()
    return tree


@needs_proc
@pytest.mark.parametrize("saves", [False, True], ids=["played", "saved and loaded"])
def test_trees_do_not_show_that_workers_were_killed(saves):
    # Twenty times as rare as a turn is long: two deaths at one move, which count against the agent, do not happen.
    limits = SandboxLimits()
    with MontySandbox(max_workers=3, limits=limits) as sandbox:
        calm = [rollout(sandbox, task, saves) for task in range(6)]
        kills = 0
        for seed in range(40):
            with Killer(seed, 0.1) as killer:
                stormy = [rollout(sandbox, task, saves) for task in range(6)]
            assert stormy == calm
            kills += killer.killed
            if kills >= 40:
                break
        assert kills >= 40


def test_a_wait_survives_the_death_of_its_worker_with_other_sessions_about(sandbox):
    bench = Workbench(lambda limits: sandbox, sandbox)
    one, two = bench.open(), bench.open()
    wait = one.answer(one.start("print(await launch_subagent(1))").id, LATER)
    assert isinstance(wait, Wait)
    kill(one)
    bench.prints("print(1)", "1\n", two)
    assert one.settle(wait.ids[0], Value("x")) == Done("x\n")
    bench.close()
