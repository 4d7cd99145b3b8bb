"""The trainer: it learns, it stops and goes on, it writes things down, and it says what is wrong."""

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from rao_envs import Action, Limits  # noqa: E402
from rao_envs.credit import root_loo  # noqa: E402
from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError  # noqa: E402
from rao_envs.training import CollectConfig, LossConfig, RAOTrainer, RunConfig, build_batch, timing  # noqa: E402
from rao_envs.training.checkpoint import plain  # noqa: E402
from rao_envs.training.config import warm_up  # noqa: E402

SCRIPT = Path(__file__).parent / "tiny_torch.py"
SPEC = importlib.util.spec_from_file_location("tiny_torch", SCRIPT)
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)


def untimed(rows):
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def read(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(policy):
    return policy.table.detach().clone()


# It learns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reinforce", "ppo", "cispo"])
def test_it_learns_to_say_that_it_succeeded(kind):
    epochs = 1 if kind == "reinforce" else 2
    rows = tiny.trainer(None, kind=kind, steps=25, tasks_per_step=4, lr=0.3, epochs=epochs).run()
    assert sum(row["success"] for row in rows[:3]) / 3 < 0.5
    assert sum(row["success"] for row in rows[-3:]) / 3 > 0.9
    assert rows[-1]["entropy"] < rows[0]["entropy"]


def test_a_delegation_bonus_makes_it_delegate():
    launches = []
    for bonus in (0.0, 5.0):
        policy = tiny.TinyPolicy()
        options = {"steps": 15, "tasks_per_step": 4, "lr": 0.3, "credit": {"delegation_bonus": bonus}}
        tiny.trainer(None, policy=policy, **options).run()
        launches.append(float((weights(policy) + tiny.ALLOWED)[tiny.ROOT].softmax(-1)[tiny.LAUNCH]))
    assert launches[1] > 0.75
    assert launches[1] > launches[0] + 0.2


def test_before_the_first_step_nothing_is_off_policy():
    for row in tiny.trainer(None, steps=3, epochs=2).run():
        assert row["gap"] < 1e-6  # the batch holds single precision
        assert row["ratio"] != 1.0  # but of the last pass


def test_every_step_has_new_tasks_unless_told_otherwise():
    asked = []

    def task_of(step, i):
        asked.append((step, i))
        return 100 + i

    trainer = tiny.trainer(None, steps=2)
    assert [trainer.task_of(step, i) for step in range(2) for i in range(2)] == [0, 1, 2, 3]
    tiny.trainer(None, steps=2, task_of=task_of).run()
    assert asked == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_same_tasks_are_played_anew_in_every_step():
    rows = tiny.trainer(None, steps=4, lr=0.0, task_of=lambda step, i: i).run()
    assert len({(row["success"], row["nodes"], row["turns"]) for row in rows}) > 1


def test_micro_batches_and_concurrency_change_speed_only():
    one = tiny.trainer(None, steps=4, max_tokens=1, concurrency=1)
    other = tiny.trainer(None, steps=4, max_tokens=10_000, concurrency=50)
    one.run(), other.run()
    torch.testing.assert_close(weights(one.policy), weights(other.policy), rtol=0, atol=1e-9)


def test_mini_batches_take_a_step_each():
    class Counting(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):
            Counting.steps += 1
            return super().step(closure)

    policy = tiny.TinyPolicy()
    optimizer = Counting(policy.parameters(), lr=0.0)
    tiny.trainer(None, policy=policy, optimizer=optimizer, steps=1, epochs=2, minibatches=3).run()
    assert Counting.steps == 6


def test_a_mini_batch_speaks_for_the_whole_batch():
    moved = []
    for minibatches in (1, 3):
        policy = tiny.TinyPolicy()
        before = weights(policy)
        # steps so small that they add up as if all were taken at once; each is as long as that of the whole batch
        options = {"optimizer": torch.optim.SGD(policy.parameters(), lr=1e-6), "schedule": lambda step: 1.0}
        tiny.trainer(None, policy=policy, steps=1, minibatches=minibatches, **options).run()
        moved.append(weights(policy) - before)
    torch.testing.assert_close(moved[1], 3 * moved[0], rtol=1e-3, atol=1e-12)


def test_mini_batches_are_dealt_anew_in_every_pass():
    trainer = tiny.trainer(None, minibatches=3)
    batch = build_batch(trainer._collect()[0], baseline="none")

    def dealt(epoch):
        return [row for part in trainer._portions(batch, epoch) for row in part.row.tolist()]

    first, second = dealt(0), dealt(1)
    assert sorted(first) == sorted(second) == sorted(batch.row.tolist())
    assert first != second
    trainer.done = 1
    assert dealt(0) != first


def test_long_sequences_are_left_out_and_counted():
    (row,) = tiny.trainer(None, steps=1, tasks_per_step=6, max_length=3).run()
    (every,) = tiny.trainer(None, steps=1, tasks_per_step=6).run()
    assert row["too_long"] > 0 == every["too_long"]
    assert row["sequences"] == every["sequences"] - row["too_long"]


def test_gradients_are_cut_to_their_greatest_norm():
    policy = tiny.TinyPolicy()
    before = weights(policy)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
    options = {"optimizer": optimizer, "schedule": lambda step: 1.0, "max_grad_norm": 1e-3}
    (row,) = tiny.trainer(None, policy=policy, steps=1, **options).run()
    assert row["grad_norm"] > 1e-3
    assert float((weights(policy) - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_learning_rate_follows_its_schedule():
    rows = tiny.trainer(None, steps=3, lr=0.5, schedule=lambda step: 1 / (1 + step)).run()
    assert [row["lr"] for row in rows] == [0.5, 0.25, pytest.approx(0.5 / 3)]
    assert [warm_up(step) for step in (0, 4, 9, 500)] == [0.1, 0.5, 1.0, 1.0]


def test_a_step_without_signal_leaves_the_weights_alone():
    class Bored(tiny.TinyPolicy):
        def answer(self, view, logprobs):
            output = (7, tiny.END)
            scores = tuple(float(logprobs[a, b]) for a, b in zip((self.prompt(view.node)[-1], 7), output, strict=True))
            return Action(tiny.decode(output), sample=tiny.Sample(self.prompt(view.node), output, scores))

    policy = Bored()
    before = weights(policy)
    rows = tiny.trainer(None, policy=policy, steps=2).run()
    assert torch.equal(weights(policy), before)
    assert rows[0]["trained_on"] == 0
    assert rows[0]["zero_advantage"] == rows[0]["sequences"] > 0
    assert rows[0]["entropy"] is None  # nothing was looked at


def test_a_reference_holds_the_policy_back():
    moved = []
    for kl in (0.0, 5.0):
        policy = tiny.TinyPolicy()
        rows = tiny.trainer(None, policy=policy, kl=kl, reference=tiny.TinyPolicy(), steps=12).run()
        moved.append(rows[-1]["kl"])
        assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-12)
    assert moved[1] < moved[0] / 2


def test_an_entropy_bonus_keeps_it_open():
    plain, open_ = (tiny.trainer(None, entropy=entropy, lr=0.3).run()[-1]["entropy"] for entropy in (0.0, 2.0))
    assert open_ > plain + 0.2


def test_fewer_sequences_still_teach():
    rows = tiny.trainer(None, steps=30, tasks_per_step=4, group_size=6, max_sequences=10).run()
    assert max(row["trained_on"] for row in rows) == 10
    assert max(row["sequences"] for row in rows) > 10
    assert sum(row["success"] for row in rows[-3:]) / 3 > 0.8


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny.trainer(None, steps=1).run()
    assert torch.equal(torch.rand(3), expected)


def test_the_policy_optimises_in_training_mode_and_samples_outside_of_it():
    class Watching(tiny.TinyPolicy):
        def __call__(self, views):
            assert not self.training
            return super().__call__(views)

        def logits(self, input_ids, attention_mask):
            assert self.training
            return super().logits(input_ids, attention_mask)

    def evaluate(policy, step):
        assert not policy.training
        return {}

    tiny.trainer(None, policy=Watching(), steps=2, evaluate=evaluate, evaluate_every=1).run()


# Stopping and going on --------------------------------------------------------------------------------------


def script(folder, steps, pace):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(steps), str(pace)], env=environment)


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tiny.trainer(whole, steps=12).run()
    metrics = broken / "metrics.jsonl"
    with script(broken, 12, 0.05) as process:
        while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 5):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert 5 <= len(read(broken)) < 12
    with metrics.open("a") as file:
        file.write('{"step": 99, "succ')  # a line that was being written
    trainer = tiny.trainer(broken, steps=12)
    assert trainer.done in (3, 6, 9)
    rows = trainer.run()
    assert untimed(rows) == untimed(read(broken)) == untimed(read(whole))
    assert [row["step"] for row in rows] == list(range(1, 13))
    kept = [torch.load(folder / "step-00000012.pt", weights_only=True) for folder in (whole, broken)]
    assert torch.equal(kept[0]["policy"]["table"], kept[1]["policy"]["table"])
    assert kept[0]["tokens"] == kept[1]["tokens"] == rows[-1]["tokens_seen"] > 0


def test_a_finished_run_is_not_done_again_but_goes_on_for_more_steps(tmp_path):
    whole = tiny.trainer(tmp_path / "whole", steps=6).run()
    first = tiny.trainer(tmp_path / "run", steps=4).run()
    policy = tiny.TinyPolicy()
    again = tiny.trainer(tmp_path / "run", policy=policy, steps=4)
    assert again.done == 4
    assert again.run() == first
    more = tiny.trainer(tmp_path / "run", steps=6).run()
    assert untimed(more) == untimed(whole)


def test_what_draws_from_torchs_own_generator_goes_on_as_it_would_have(tmp_path):
    class Dropping(tiny.TinyPolicy):
        def logits(self, input_ids, attention_mask):
            return super().logits(input_ids, attention_mask) * torch.rand(1, dtype=torch.float64)

    def rows(folder, *steps):
        for one in steps:
            torch.manual_seed(one)  # whatever else the program draws
            found = tiny.trainer(folder, policy=Dropping(), steps=one).run()
        return untimed(found)

    assert rows(tmp_path / "whole", 4) == rows(tmp_path / "broken", 2, 4)


def test_a_run_without_a_checkpoint_begins_anew(tmp_path):
    trainer = tiny.trainer(tmp_path, checkpoint_every=100)
    trainer.step(), trainer.step()
    assert len(read(tmp_path)) == 2
    again = tiny.trainer(tmp_path, checkpoint_every=100)
    assert again.done == 0
    assert again.rows == read(tmp_path) == []


def test_only_the_latest_checkpoints_are_kept_and_no_half_written_one_counts(tmp_path):
    tiny.trainer(tmp_path, steps=7, checkpoint_every=1, keep=2).run()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000006.pt", "step-00000007.pt"]
    (tmp_path / "step-00000008.tmp").write_bytes(b"torn")
    assert tiny.trainer(tmp_path, steps=7).done == 7


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "step-00000003.pt"])
@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"[]\n[]\n[]\n", "a pickle of a list"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, name, damage):
    tiny.trainer(tmp_path, steps=3).run()
    if not isinstance(damage, bytes):
        torch.save([1], tmp_path / name)
    elif name != "metrics.jsonl" or damage:  # an empty journal has rows to come
        (tmp_path / name).write_bytes(damage + b"\n")
    else:
        return
    with pytest.raises(CorruptCheckpoint, match=name):
        tiny.trainer(tmp_path, steps=6)


def test_a_full_disk_does_not_spoil_the_last_checkpoint(tmp_path, monkeypatch):
    trainer = tiny.trainer(tmp_path, checkpoint_every=1)
    trainer.step()

    def full(state, file):
        file.write(b"PK\3\4")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="no space"):
            trainer.step()
    assert tiny.trainer(tmp_path).done == 1


def test_a_spoilt_checkpoint_is_named(tmp_path):
    tiny.trainer(tmp_path, steps=3).run()
    path = tmp_path / "step-00000003.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptCheckpoint, match=r"step-00000003\.pt.*delete it"):
        tiny.trainer(tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    tiny.trainer(tmp_path, steps=3).run()
    torch.save({"step": Trap()}, tmp_path / "step-00000003.pt")
    with pytest.raises(CorruptCheckpoint):
        tiny.trainer(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": 1}, "seed=0.* has 1"),
        ({"lr": 0.5}, "optimizer="),
        ({"kind": "ppo"}, "loss="),
        ({"credit": {"delegation_bonus": 0.1}}, "credit="),
        ({"group_size": 5}, "group_size=4.* has 5"),
        ({"optimizer": "SGD"}, "optimizer="),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, options, match):
    tiny.trainer(tmp_path, steps=1).run()
    policy = tiny.TinyPolicy()
    if "optimizer" in options:
        options = {"optimizer": torch.optim.SGD(policy.parameters(), lr=0.1), "policy": policy}
    with pytest.raises(OptionError, match=rf"folder=.*{match}.*another folder"):
        tiny.trainer(tmp_path, **options)


def test_options_that_are_no_data_are_told_apart_too(tmp_path):
    def one(text):
        return 1

    options = {"env_options": {"limits": Limits(max_turns=3), "token_counter": one}}
    kept = plain(options)
    assert kept["env_options"]["token_counter"].endswith("one")
    assert kept["env_options"]["limits"]["max_turns"] == 3
    assert plain({"env_options": {"limits": Limits(max_turns=4), "token_counter": one}}) != kept
    assert plain({"env_options": {"limits": Limits(max_turns=3), "token_counter": len}}) != kept


@dataclass(frozen=True)
class Shrunk:
    """A baseline of the caller's own: a share of that of the paper."""

    share: float

    def __call__(self, forest):
        return self.share * root_loo(forest)


def shrunk(forest, share):
    return share * root_loo(forest)


@pytest.mark.parametrize(
    "rules", [(Shrunk(0.5), Shrunk(0.25)), (partial(shrunk, share=0.5), partial(shrunk, share=0.25))]
)
def test_rules_of_ones_own_train_and_resume(tmp_path, rules):
    one, other = rules
    whole = tiny.trainer(tmp_path / "whole", steps=4, credit={"baseline": one}).run()
    assert untimed(whole) != untimed(tiny.trainer(None, steps=4, credit={"baseline": other}).run())
    tiny.trainer(tmp_path / "run", steps=3, credit={"baseline": one}).run()
    with pytest.raises(OptionError, match=r"holds a run with credit=.*[Ss]hrunk.*0\.5.*this one has .*0\.25"):
        tiny.trainer(tmp_path / "run", steps=4, credit={"baseline": other})
    again = tiny.trainer(tmp_path / "run", steps=4, credit={"baseline": one})
    assert again.done == 3
    assert untimed(again.run()) == untimed(whole)


def test_a_rule_for_rewards_trains():
    kept = {"delegation_bonus": 0.0}, {"reward": own_success}
    rows = [untimed(tiny.trainer(None, steps=2, credit=options).run()) for options in kept]
    assert rows[0] == rows[1]


def own_success(forest):
    return forest.success


def test_what_changes_speed_only_may_change(tmp_path):
    tiny.trainer(tmp_path, steps=1).run()
    assert tiny.trainer(tmp_path, steps=5, max_tokens=7, concurrency=3, keep=9, checkpoint_every=2).done == 1


# What is written down ---------------------------------------------------------------------------------------


def test_every_row_tells_the_whole_step(tmp_path):
    (row,) = tiny.trainer(tmp_path, steps=1).run()
    assert read(tmp_path) == [row]
    assert {"success", "reward", "nodes", "depth", "tokens", "loss", "policy", "entropy", "grad_norm", "lr"} <= set(row)
    total = row["time/collect"] + row["time/build"] + row["time/optimise"]
    assert 0 < total <= row["time/step"]
    assert 0 < row["time/sample"] <= row["time/collect"]
    assert row["time/outside"] == pytest.approx(row["time/step"] - row["time/sample"] - row["time/optimise"])
    assert row["time/outside_share"] == pytest.approx(row["time/outside"] / row["time/step"])
    assert row["tokens"] == row["tokens_seen"]


def test_time_in_the_model_is_the_policys_own_figure_if_it_has_one():
    class Honest(tiny.TinyPolicy):
        def __call__(self, views):
            answers = super().__call__(views)
            self.seconds += 10.0
            return answers

    class Silent(tiny.TinyPolicy):
        def __init__(self):
            super().__init__()
            del self.seconds

        def __call__(self, views):
            self.seconds = 0.0
            answers = super().__call__(views)
            del self.seconds
            return answers

    (row,) = tiny.trainer(None, policy=Honest(), steps=1).run()
    assert row["time/sample"] >= 10.0
    (row,) = tiny.trainer(None, policy=Silent(), steps=1).run()
    assert 0 < row["time/sample"] <= row["time/collect"]


def test_seconds_by_hand(monkeypatch):
    # a step from 10 to 30: collecting 11 to 15, optimising 15 to 20, evaluating 20 to 28
    times = iter([10.0, 11.0, 15.0, 15.0, 20.0, 20.0, 28.0, 30.0])
    monkeypatch.setattr(timing, "perf_counter", lambda: next(times))
    clock = timing.Clock()
    for part in ("collect", "optimise", "evaluate"):
        with clock(part):
            pass
    clock.seconds["sample"] = 3.0
    figures = clock.figures()
    assert [figures[f"time/{part}"] for part in ("collect", "optimise", "evaluate")] == [4.0, 5.0, 8.0]
    assert figures["time/step"] == 12.0
    assert figures["time/outside"] == 4.0
    assert figures["time/outside_share"] == pytest.approx(1 / 3)


def test_tensorboard_holds_what_the_rows_hold(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `train` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = tiny.trainer(tmp_path, tensorboard=True, checkpoint_every=2)
    for _ in range(3):
        trainer.step()
    trainer.close()  # the third step is to be done again
    rows = tiny.trainer(tmp_path, steps=4, tensorboard=True, checkpoint_every=2).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= {"success", "loss", "time/step", "grad_norm"}
    found = [(scalar.step, scalar.value) for scalar in events.Scalars("reward")]
    assert found == [(row["step"], pytest.approx(row["reward"])) for row in rows]


def test_evaluations_are_logged_where_they_are_due():
    seen = []

    def evaluate(policy, step):
        seen.append(step)
        return {"hard": step / 10}

    rows = tiny.trainer(None, steps=5, evaluate=evaluate, evaluate_every=2).run()
    assert seen == [2, 4, 5]
    assert [row.get("eval/hard") for row in rows] == [None, 0.2, None, 0.4, 0.5]


def test_the_bar_shows_how_it_goes(capsys):
    tiny.trainer(None, steps=2, progress=True).run()
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "success" in shown
    tiny.trainer(None, steps=2).run()
    assert capsys.readouterr().err == ""


# What goes wrong --------------------------------------------------------------------------------------------


class Failing(tiny.TinyPolicy):
    """Its server is down for all rollouts, or for one of every group."""

    every = False

    def answer(self, view, logprobs):
        if self.every or view.rollout == self.spoilt:
            return InfrastructureError("the server died")
        return super().answer(view, logprobs)


def test_invalid_rollouts_never_reach_the_objective():
    policy = Failing()
    seeds = []

    class Asking(tiny.TinyPolicy):
        def answer(self, view, logprobs):
            seeds.append(view.rollout)
            return super().answer(view, logprobs)

    tiny.trainer(None, policy=Asking(), steps=1).run()
    policy.spoilt = seeds[0]
    (row,) = tiny.trainer(None, policy=policy, steps=1).run()
    assert row["invalid"] == 1
    policy.every = True
    with pytest.raises(InfrastructureError, match="step 1: no rollout was valid; the first: the server died"):
        tiny.trainer(None, policy=policy, steps=1).run()


def test_a_lone_rollout_is_a_figure_and_no_warning():
    seeds = []

    class Asking(tiny.TinyPolicy):
        def answer(self, view, logprobs):
            seeds.append(view.rollout)
            return super().answer(view, logprobs)

    options = {"steps": 1, "tasks_per_step": 1, "group_size": 2}
    tiny.trainer(None, policy=Asking(), **options).run()
    policy = Failing()
    policy.spoilt = seeds[0]
    (row,) = tiny.trainer(None, policy=policy, **options).run()  # a warning is an error here
    assert (row["invalid"], row["uncompared"]) == (1, 1)


def test_a_policy_without_log_probabilities_is_named():
    class Mute(tiny.TinyPolicy):
        def answer(self, view, logprobs):
            answer = super().answer(view, logprobs)
            return answer.text if view.node.depth else Action(tiny.say(tiny.launch("part")))

        def prompt(self, node):
            return (tiny.CHILD,)

    with pytest.raises(OptionError, match=r"turns\[0\]\.sample=None.*log-probabilities"):
        tiny.trainer(None, policy=Mute(), steps=1).run()


def test_a_drifting_tokenizer_is_caught():
    tiny.trainer(None, steps=1, tokenizer=tiny.Tokenizer()).run()

    class Drifting:
        @staticmethod
        def decode(ids):
            return tiny.decode(ids) + " "

    with pytest.raises(OptionError, match="tokenizer='Drifting'"):
        tiny.trainer(None, steps=1, tokenizer=Drifting()).run()


def test_a_gradient_that_is_no_number_stops_the_run_before_it_does_harm(tmp_path):
    class Broken(tiny.TinyPolicy):
        def logits(self, input_ids, attention_mask):
            return super().logits(input_ids, attention_mask) * (math.nan if self.broken else 1.0)

    policy = Broken()
    policy.broken = False
    trainer = tiny.trainer(tmp_path, policy=policy, checkpoint_every=1)
    trainer.step()
    before = weights(policy)
    policy.broken = True
    with pytest.raises(FloatingPointError, match="step 2: the gradient's norm is nan"):
        trainer.run()
    assert torch.equal(weights(policy), before)
    assert [row["step"] for row in read(tmp_path)] == [1]


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    tiny.trainer(tmp_path, steps=1).run()
    state = torch.load(tmp_path / "step-00000001.pt", weights_only=True)
    torch.save({**state, "policy": {"table": torch.zeros(2, 2)}}, tmp_path / "step-00000001.pt")
    with pytest.raises(CorruptCheckpoint, match="does not fit the policy"):
        tiny.trainer(tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"group_size": 1}, "group_size=1: must be an int of at least 2: a lone rollout"),
        ({"steps": 0}, "steps=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"minibatches": 0}, "minibatches=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"epochs": 1.5}, "epochs=1.5: must be an int"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"lr": -1.0}, "lr=-1.0: must be a finite number"),
        ({"schedule": 0.5}, "schedule=0.5: must be a function"),
        ({"max_grad_norm": 0.0}, "max_grad_norm=0.0: must be above 0"),
        ({"max_length": 0}, "max_length=0: .*None trains on all"),
        ({"max_sequences": True}, "max_sequences=True"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
        ({"evaluate_every": 0}, "evaluate_every=0"),
        ({"evaluate": 5}, "evaluate=5: must be a function"),
        ({"kind": "grpo"}, "kind='grpo': must be one of reinforce, ppo, cispo"),
        ({"kind": "ppo", "clip_low": 2.0}, r"clip_low, clip_high=\(2.0, 0.2\): ppo needs"),
        ({"clip_low": 6.0}, r"clip_low, clip_high=\(6.0, 5.0\): cispo needs"),
        ({"normalise": "length"}, "normalise='length'"),
        ({"entropy": -1.0}, "entropy=-1.0"),
        ({"kl": 0.1}, "kl=0.1: needs a policy to stay close to"),
        ({"credit": {"lambda": 0.4}}, "credit=.*lambda: must be among baseline, delegation_bonus"),
        ({"credit": {"baseline": "mean"}}, "baseline='mean'"),
        ({"credit": {"delegation_bonus": -1.0}}, "delegation_bonus=-1.0"),
        ({"credit": {"depth_weighting": 2.0}}, "depth_weighting=2.0"),
        ({"folder": "x", "keep": 0}, "keep=0"),
    ],
)
def test_impossible_options_are_named(tmp_path, options, match):
    folder = tmp_path / options.pop("folder", "run")
    with pytest.raises(OptionError, match=match):
        tiny.trainer(folder, **options)


def test_a_configuration_in_the_wrong_place_is_named():
    collect, loss = CollectConfig(tasks_per_step=1, group_size=2), LossConfig()
    with pytest.raises(OptionError, match=r"collect=LossConfig.*: must be a CollectConfig"):
        RAOTrainer(tiny.TinyPolicy(), tiny.tiny_env, steps=1, collect=loss)
    with pytest.raises(OptionError, match=r"run=\{'folder': 'x'\}: must be a RunConfig"):
        RAOTrainer(tiny.TinyPolicy(), tiny.tiny_env, steps=1, collect=collect, run={"folder": "x"})


def test_an_environment_may_be_an_id(tmp_path):
    class Scripted(tiny.TinyPolicy):
        def answer(self, view, logprobs):
            return Action("[]", sample=tiny.Sample((tiny.ROOT,), (5,), (float(logprobs[tiny.ROOT, 5]),)))

    options = {"depth": 2, "action_format": "calls", "limits": {"max_turns": 1}}
    trainer = RAOTrainer(
        Scripted(),
        "TextCraftSynth-v0",
        steps=1,
        collect=CollectConfig(tasks_per_step=1, group_size=2, env_options=options),
        run=RunConfig(folder=tmp_path, tensorboard=False),
    )
    (row,) = trainer.run()
    assert row["success"] == 0.0
    assert json.loads((tmp_path / "config.json").read_text())["env_options"] == options
