"""RAO inside TRL, end to end with a model of two layers. ``make trl-test`` installs TRL into a place of its own."""

import copy
import subprocess
import sys
from inspect import signature

import numpy as np
import pytest

pytest.importorskip("trl", reason="needs TRL, which has its own environment: make trl-test")

import torch
from trl import GRPOConfig

from rao_envs import credit
from rao_envs.errors import OptionError
from rao_envs.events import Verdict
from rao_envs.interop.trl import RAOGRPOTrainer
from rao_envs.policies.hf import HFPolicy
from rao_envs.testing.tiny_model import message_tokenizer, tiny_model
from rao_envs.testing.toy import ToyWorld, finish, launch, say, toy_env
from rao_envs.training import build_batch, rao_loss

# Warnings are errors here too, but for those that TRL 1.16 itself gives with this transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")

# Recent transformers call it by the first name, and warn about the second.
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if name in signature(GRPOConfig).parameters
)
ACTIONS = [say(finish(0)), say(finish(1)), say(finish(0.5)), say(launch("a"), launch("b")), say(launch("c"))]


@pytest.fixture(scope="module")
def tokenizer():
    return message_tokenizer(ACTIONS)


def model(seed=0):
    return tiny_model(seed, initializer_range=0.05, vocab_size=4 + len(ACTIONS), eos_token_id=3)


def play():
    return toy_env("calls", limits={"max_turns": 4, "max_depth": 2, "context_tokens": 2_000})


class NobodyKnows(ToyWorld):
    def verify(self, node, result):
        return Verdict(None, "none")


def config(folder, **options):
    given = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "max_completion_length": 2,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **options,
    }
    return GRPOConfig(**given)


def trainer(tokenizer, folder, *, env=play, tasks=4, arguments=None, **options):
    args = config(folder, **(arguments or {}))
    return RAOGRPOTrainer(model(), env, tasks=tasks, args=args, processing_class=tokenizer, **options)


def rows_of(one, mode="train"):
    batch = next(iter(one.get_train_dataloader()))
    getattr(one.model, mode)()
    return one._generate_and_score_completions(batch)


# What TRL is given ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 3])
def test_the_rows_are_our_sequences_with_our_credit(tokenizer, tmp_path, parts):
    sizes = {"per_device_train_batch_size": 4, "steps_per_generation": parts}
    one = trainer(tokenizer, tmp_path, arguments=sizes)
    rows = rows_of(one)
    assert len(one.trees) == 4 * parts
    batch = build_batch(one.trees, table=credit.assign(one.trees))
    assert len(set(batch.depth.tolist())) > 1
    count = len(rows["advantages"])
    assert count % parts == 0
    assert 0 <= count - len(batch) < parts
    for row in range(len(batch)):
        prompt = rows["prompt_ids"][row][rows["prompt_mask"][row].bool()]
        shown = rows["completion_mask"][row].bool()
        ids = torch.cat((prompt, rows["completion_ids"][row][shown]))
        assert ids.tolist() == batch.input_ids[row][batch.attention_mask[row]].tolist()
        mask = torch.cat((torch.zeros_like(prompt), rows["tool_mask"][row][shown]))
        assert mask.tolist() == batch.loss_mask[row][batch.attention_mask[row]].long().tolist()
        assert rows["tool_mask"][row][0] == 1  # the prompt ends where the model first spoke
        logps = rows["old_per_token_logps"][row] * rows["tool_mask"][row]
        assert logps[shown].tolist() == batch.old_logprobs[row][len(prompt) :][: shown.sum()].tolist()
        assert rows["advantages"][row] == batch.advantage[row] * batch.weight[row]
    assert rows["advantages"].abs().max() > 0.1
    for row in range(len(batch), count):
        assert rows["advantages"][row] == 0
        assert not (rows["completion_mask"][row] * rows["tool_mask"][row]).any()
    assert rows["num_items_in_batch"] == batch.totals.tokens == (rows["completion_mask"] * rows["tool_mask"]).sum()


def test_rows_that_fill_up_are_there_and_empty(tokenizer, tmp_path):
    sizes = {"per_device_train_batch_size": 1, "steps_per_generation": 28, "num_generations": 4}
    one = trainer(tokenizer, tmp_path, tasks=7, arguments=sizes)
    rows = rows_of(one)
    real = len(build_batch(one.trees))
    assert len(rows["advantages"]) > real
    assert len(rows["advantages"]) % 28 == 0
    assert not rows["completion_mask"][real:].any()
    assert not rows["advantages"][real:].any()
    assert rows["prompt_mask"].any(1).all()  # attention over nothing would be nan


def test_the_log_probabilities_are_those_that_the_loss_computes(tokenizer, tmp_path):
    one = trainer(tokenizer, tmp_path, arguments={"temperature": 0.8})
    rows = rows_of(one)
    ids = torch.cat((rows["prompt_ids"], rows["completion_ids"]), 1)
    mask = torch.cat((rows["prompt_mask"], rows["completion_mask"]), 1)
    with torch.no_grad():
        theirs = one._get_per_token_logps_and_entropies(one.model, ids, mask, rows["completion_ids"].shape[1])[0]
    sampled = (rows["completion_mask"] * rows["tool_mask"]).bool()
    assert torch.allclose(theirs[sampled], rows["old_per_token_logps"][sampled], atol=1e-4)
    assert rows["old_per_token_logps"][sampled].std() > 0.1


# What comes of it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "loss", "factor"),
    [
        ({}, "ppo", {"normalise": "tokens"}, 1.0),
        ({"loss_type": "cispo", "epsilon_high": 5.0}, "cispo", {"normalise": "tokens"}, 1.0),
        ({"loss_type": "dr_grpo"}, "ppo", {"normalise": "sequences"}, 0.5),  # over max_completion_length = 2
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, "ppo", {"normalise": "tokens"}, 1.0),
        ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}, "ppo", {"normalise": "tokens"}, 1.0),
        ({CHECKPOINTING: False}, "ppo", {"normalise": "tokens"}, 1.0),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_one_step_goes_down_the_gradient_of_our_loss(tokenizer, tmp_path, arguments, kind, loss, factor):
    one = trainer(tokenizer, tmp_path, arguments=arguments)
    before = copy.deepcopy(one.model.state_dict())
    one.train()
    reference = HFPolicy(model(), tokenizer)
    batch = build_batch(one.trees, pad_id=reference.pad_id)
    assert len(batch) > 8 == one.args.generation_batch_size  # more rows than TRL has completions
    (factor * rao_loss(reference.logits(batch.input_ids, batch.attention_mask), batch, kind, **loss).loss).backward()
    after = one.model.state_dict()
    for name, weight in reference.model.named_parameters():
        step = -one.args.learning_rate * weight.grad
        assert torch.allclose(after[name] - before[name], step, atol=1e-6), name
    assert max(float((after[name] - before[name]).abs().max()) for name in before) > 1e-3


def test_two_processes_do_what_one_does(tokenizer, tmp_path):
    one = trainer(tokenizer, tmp_path)
    one.train()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", __file__]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    both = [torch.load(tmp_path / f"{place}.pt") for place in range(2)]
    assert [other["rollouts"] for other in both] == [4, 4]
    for name, weight in one.model.state_dict().items():
        assert torch.allclose(both[0]["weights"][name], weight, atol=1e-6), name
        assert torch.equal(both[0]["weights"][name], both[1]["weights"][name]), name


def one_of_two(folder):
    """Do what `test_two_processes_do_what_one_does` asks of each process."""
    one = trainer(message_tokenizer(ACTIONS), folder, arguments={"per_device_train_batch_size": 4})
    one.train()
    result = {"weights": one.model.state_dict(), "rollouts": len(one.trees)}
    torch.save(result, f"{folder}/{one.accelerator.process_index}.pt")


def test_it_learns(tokenizer, tmp_path):
    arguments = {"max_steps": 24, "learning_rate": 1e-2, "optim": "adamw_torch", "num_generations": 8}
    arguments |= {"per_device_train_batch_size": 16, "num_iterations": 2, "steps_per_generation": 1}
    one = trainer(tokenizer, tmp_path, tasks=8, arguments=arguments, eval_tasks=2)
    before = one.evaluate()
    one.train()
    after = one.evaluate()
    assert before["eval_rao/success"] < 0.6
    assert after["eval_rao/success"] > 0.8
    logged = [entry for entry in one.state.log_history if "rao/success" in entry]
    assert len(logged) == 12  # two updates from each collection
    assert {"reward", "rao/nodes", "rao/invalid", "num_tokens", "entropy"} <= set(logged[0])
    assert all(np.isfinite(entry["loss"]) for entry in logged)


def test_every_collection_and_no_evaluation_has_a_seed_of_its_own(tokenizer, tmp_path):
    one = trainer(tokenizer, tmp_path, arguments={"max_steps": 3}, eval_tasks=2)
    seeds = []
    collected = one._roll_out

    def noted(inputs, mode):
        trees = collected(inputs, mode)
        seeds.append((mode, [tree.meta["seed"] for tree in trees]))
        return trees

    one._roll_out = noted
    one.train()
    one.evaluate()
    one.evaluate()
    train = [seed for mode, found in seeds if mode == "train" for seed in found]
    assert len(train) == len(set(train)) == 3 * 8
    assert seeds[-1] == seeds[-2]
    assert not set(seeds[-1][1]) & set(train)


def test_a_batch_without_any_verdict_changes_nothing(tokenizer, tmp_path):
    def env():
        return toy_env("calls", world=NobodyKnows, limits={"context_tokens": 2_000, "max_depth": 0, "max_turns": 99})

    one = trainer(tokenizer, tmp_path, env=env, arguments={"per_device_train_batch_size": 4, "steps_per_generation": 2})
    before = copy.deepcopy(one.model.state_dict())
    one.train()
    nodes = [node for tree in one.trees for node in tree.nodes]
    assert {node.status for node in nodes} == {"finished"}
    assert all(node.success is None for node in nodes)
    assert all(torch.equal(before[name], weight) for name, weight in one.model.state_dict().items())


def test_a_divergence_from_where_it_began(tokenizer, tmp_path):
    model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    args = config(tmp_path, beta=0.1, model_init_kwargs={"dtype": "float32"})
    one = RAOGRPOTrainer(str(tmp_path / "base"), play, tasks=4, args=args, processing_class=tokenizer)
    rows = rows_of(one)
    sampled = (rows["completion_mask"] * rows["tool_mask"]).bool()
    assert torch.allclose(rows["ref_per_token_logps"][sampled], rows["old_per_token_logps"][sampled], atol=1e-4)
    one.train()
    assert any("kl" in entry for entry in one.state.log_history)


def test_adapters_are_trained_alone(tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    arguments = {"beta": 0.1}
    one = trainer(tokenizer, tmp_path, arguments=arguments, peft_config=lora)
    before = copy.deepcopy(one.model.state_dict())
    rows = rows_of(one)
    sampled = (rows["completion_mask"] * rows["tool_mask"]).bool()
    base = HFPolicy(model(), tokenizer)
    ids = torch.cat((rows["prompt_ids"], rows["completion_ids"]), 1)
    mask = torch.cat((rows["prompt_mask"], rows["completion_mask"]), 1).bool()
    with torch.no_grad():
        logps = base.logits(ids, mask).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    logps = logps[:, -sampled.shape[1] :]
    assert torch.allclose(rows["ref_per_token_logps"][sampled], logps[sampled], atol=1e-4)
    assert not torch.allclose(rows["old_per_token_logps"][sampled], logps[sampled], atol=1e-2)
    one.train()
    changed = {name for name, weight in one.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all("lora" in name for name in changed)


def test_the_table_of_completions(tokenizer, tmp_path, capsys):
    one = trainer(tokenizer, tmp_path, arguments={"log_completions": True, "num_completions_to_print": 2})
    one.train()
    assert "Do " not in one._logs["prompt"][0]  # words are unknown to this tokenizer
    assert all("<|im_start|>" in text for text in one._logs["prompt"])
    assert any(action in text for text in one._logs["completion"] for action in ACTIONS)
    assert any(one._logs["advantages"])
    assert (tmp_path / "completions").is_dir()


# Whose mistake it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": {"top_p": 0.9}}, r"args\.top_p=0\.9: must be 1\.0"),
        ({"arguments": {"top_k": 5}}, r"args\.top_k=5"),
        ({"arguments": {"loss_type": "grpo"}}, r"args\.loss_type='grpo': must be one of dapo, cispo, dr_grpo"),
        ({"arguments": {"mask_truncated_completions": True}}, r"args\.mask_truncated_completions=True"),
        ({"arguments": {"per_device_train_batch_size": 32}}, r"tasks=4: one batch needs 8"),
        ({"tasks": 0}, "tasks=0: is empty"),
        ({"reward_funcs": len}, "reward_funcs=<.*has no meaning here"),
        ({"policy_options": {"context_tokens": 1}}, "context_tokens=1"),
    ],
    ids=str,
)
def test_wrong_input_is_named(tokenizer, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        trainer(tokenizer, tmp_path, **options)


def test_an_environment_is_told_the_models_measures(tokenizer, tmp_path):
    one = trainer(tokenizer, tmp_path, env="TextCraftSynth-v0", env_options={"depth": 2})
    assert one._env_options["depth"] == 2
    assert one._env_options["limits"] == {"context_tokens": 8_192}
    assert one._env_options["token_counter"]("a b c") == 3 + one.policy._chat.frame


if __name__ == "__main__":
    one_of_two(sys.argv[1])
