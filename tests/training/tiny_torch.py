"""A policy small enough to differentiate by hand: one table of logits, tokens that are whole tool calls.

Run as a script it trains, for the test that kills it: python tests/tiny_torch.py FOLDER STEPS PACE
"""

import math
import sys
import time
from dataclasses import fields

import torch
from torch import nn

from rao_envs.action import Action
from rao_envs.events import Sample
from rao_envs.seeding import rng
from rao_envs.testing.toy import finish, launch, note, say, toy_env
from rao_envs.training import CollectConfig, LossConfig, OptimConfig, RAOTrainer, RunConfig

PAD, ROOT, CHILD, SEEN, END = range(5)
LAUNCH = 9
CALLS = {5: finish(0), 6: finish(1), 7: finish(0.5), 8: note("x"), LAUNCH: launch("part"), 10: finish("unjudged")}
VOCABULARY = 11
TEXTS = {token: say(call) for token, call in CALLS.items()} | {END: ""}
ALLOWED = torch.full((VOCABULARY, VOCABULARY), -math.inf, dtype=torch.float64)
for before in (ROOT, CHILD, SEEN):
    ALLOWED[before, list(CALLS)] = 0.0
for call in CALLS:
    ALLOWED[call, [END, PAD]] = 0.0  # "PAD" is a token like any other here, so that padding is put to the test
ALLOWED[[PAD, END], END] = 0.0


def decode(ids):
    return "".join(TEXTS.get(token, "") for token in ids)


class Tokenizer:
    decode = staticmethod(decode)


class TinyPolicy(nn.Module):
    """The next token depends on the last one alone: ``logits[:, t] = table[input_ids[:, t]]``."""

    pad_id = PAD
    forget = False  # whether a third turn is shown nothing of those before it
    pace = 0.0  # seconds that every batch takes more, to leave a killer the time to aim

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64))
        self.device = torch.device("cpu")
        self.seconds = 0.0

    def logits(self, input_ids, attention_mask):
        return (self.table + ALLOWED)[input_ids]

    def prompt(self, node):
        if self.forget and len(node.turns) == 2:
            return (SEEN,)
        ids = (ROOT if node.depth == 0 else CHILD,)
        for turn in node.turns:
            ids = (*ids, *turn.sample.output_ids, SEEN)
        return ids

    def __call__(self, views):
        start = time.perf_counter()
        time.sleep(self.pace)
        logprobs = (self.table.detach() + ALLOWED).log_softmax(-1)
        answers = [self.answer(view, logprobs) for view in views]
        self.seconds += time.perf_counter() - start
        return answers

    def answer(self, view, logprobs):
        prompt, random = self.prompt(view.node), rng(view.seed)
        output, scores = [], []
        while len(output) < 2:
            row = logprobs[(*prompt, *output)[-1]]
            token = random.choices(range(VOCABULARY), row.exp().tolist())[0]
            output.append(token)
            scores.append(float(row[token]))
        sample = Sample(prompt, tuple(output), tuple(scores))
        return Action(decode(output), latency=1.0, sample=sample)


def tiny_env():
    return toy_env(limits={"max_turns": 3, "max_depth": 2, "max_nodes": 12})


CONFIGS = {"collect": CollectConfig, "loss": LossConfig, "optim": OptimConfig, "run": RunConfig}


def trainer(folder, **options):
    """Make a trainer; options of all four configurations are given side by side."""
    known = {"steps": 12, "tasks_per_step": 2, "group_size": 4, "lr": 0.1, "checkpoint_every": 3, "tensorboard": False}
    given = {**known, "folder": folder, **options}
    for part, kind in CONFIGS.items():
        names = given.keys() & {field.name for field in fields(kind)}
        given[part] = kind(**{name: given.pop(name) for name in names})
    return RAOTrainer(given.pop("policy", None) or TinyPolicy(), tiny_env, **given)


if __name__ == "__main__":
    slow = TinyPolicy()
    slow.pace = float(sys.argv[3])
    trainer(sys.argv[1], policy=slow, steps=int(sys.argv[2])).run()
