"""How fast a local model plays, and how much of a training step is spent outside it."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from time import perf_counter
from typing import Any

import gymnasium as gym

import rao_envs
from rao_envs.env import RecursiveEnv
from rao_envs.extras import extra
from rao_envs.policies import ScriptedPolicy, View
from rao_envs.policies.gpt import GPTPolicy, new_gpt
from rao_envs.training import CollectConfig, OptimConfig, RAOTrainer, RunConfig

with extra("train", __name__):
    import torch

__all__ = ["generation", "outside"]

ENV = "TextCraftSynth-v0"
CONTEXT = 512


@cache
def _oracle() -> ScriptedPolicy:
    with closing(gym.make(ENV)) as env:
        assert isinstance(env.unwrapped, RecursiveEnv)
        return ScriptedPolicy(env.unwrapped.oracles["recursive"])


class _Puppet(GPTPolicy):
    """Does all the work of sampling, but emits a script's tokens: typical play, without an hour of training."""

    def _job(self, index: int, view: View) -> Any:
        job = super()._job(index, view)
        ids = [*self.tokenizer.encode(str(_oracle().act(view)), job.names), self.tokenizer.end]
        job.draws[: len(ids)] = ids  # the script's tokens where the random numbers would be
        return job

    def _sample(self, logits: torch.Tensor, draw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        super()._sample(logits, torch.zeros_like(draw))
        token = draw.long()
        return token, torch.log_softmax(logits, dim=-1).gather(1, token[:, None])[:, 0]


def _policy() -> GPTPolicy:
    """Make a GPT of the same size as in `baselines/rao_gpt.py`."""
    play = rao_envs.collect(ENV, _oracle(), tasks=60, env_options={"difficulty": "easy", "action_format": "calls"})
    blank = new_gpt(play, width=96, layers=3, heads=3, context=CONTEXT)
    return _Puppet(blank.model, blank.tokenizer, max_new_tokens=128)


def _options(policy: GPTPolicy) -> dict[str, Any]:
    return {
        "difficulty": "medium",
        "action_format": "calls",
        "limits": {"context_tokens": CONTEXT, "max_nodes": 100},
        "token_counter": policy.count_tokens,
    }


def generation(rollouts: int = 64, alone: int = 4) -> dict[str, Any]:
    """Let the same model play all ready nodes of many rollouts at once, and one node at a time.

    Args:
        rollouts: how many to play together.
        alone: how many to play one node at a time; fewer, since this is slow.

    Returns:
        Tokens sampled per second each way, and their ratio.
    """
    policy = _policy()
    speeds = {}
    for name, tasks, rows in (("one node at a time", alone, 1), ("all ready nodes", rollouts, 256)):
        policy.batch_rows = rows
        policy.train(False)
        start = perf_counter()
        trees = rao_envs.collect(
            ENV, policy, tasks=tasks, concurrency=tasks, env_options=_options(policy), progress=False
        )
        turns = [turn for tree in trees for node in tree.nodes for turn in node.turns]
        tokens = sum(len(turn.sample.output_ids) for turn in turns if turn.sample is not None)
        speeds[name] = tokens / (perf_counter() - start)
    one, every = speeds.values()
    parameters = sum(parameter.numel() for parameter in policy.parameters())
    return {"parameters": parameters, "one_at_a_time": one, "batched": every, "ratio": every / one}


def outside(steps: int = 2, tasks: int = 8) -> dict[str, Any]:
    """Train for a few steps with the model and the batch of `baselines/rao_gpt.py`.

    Args:
        steps: number of steps.
        tasks: tasks per step.

    Returns:
        Seconds per step, how many of them outside the model (environments, credit, tensors), and their share.
    """
    policy = _policy()
    trainer = RAOTrainer(
        policy,
        ENV,
        steps=steps,
        collect=CollectConfig(tasks_per_step=tasks, group_size=8, env_options=_options(policy)),
        optim=OptimConfig(minibatches=8, max_sequences=2_000, max_tokens=4_096),
        run=RunConfig(progress=False),
    )
    rows = trainer.run()
    seconds = sum(row["time/step"] for row in rows)
    outside_seconds = sum(row["time/outside"] for row in rows)
    return {"step_s": seconds / steps, "outside_s": outside_seconds / steps, "share": outside_seconds / seconds}
