"""The policy that plays with a small GPT."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rao_envs.extras import extra

with extra("train", __name__):
    import torch
    from torch import Tensor, nn

from rao_envs.action import Action
from rao_envs.errors import OptionError
from rao_envs.events import Sample
from rao_envs.policies.base import View
from rao_envs.policies.gpt.model import BEFORE, GPT
from rao_envs.policies.gpt.tokenizer import Names, SlotTokenizer
from rao_envs.policies.sampling import draw
from rao_envs.seeding import derive
from rao_envs.tree import Node

__all__ = ["GPTPolicy", "MessageCounter"]

_CHUNK = 4_096  # padded tokens read at once: what fits a processor's cache
_COMPACT = 0.6  # the batch shrinks when a smaller share of its rows is still being written
_FRAME = 2  # `act` before a message and `end` after it
_REMEMBERED = 4_096  # transcripts whose keys and values are kept for their next turn


class MessageCounter:
    """Counts the tokens of a message as a `GPTPolicy` reads it: a `token_counter` for environments."""

    def __init__(self, tokenizer: SlotTokenizer) -> None:
        """Count the tokens of this tokenizer."""
        self.tokenizer = tokenizer

    def __call__(self, text: str) -> int:
        """Count a message of the user or of the agent, with its frame."""
        return len(self.tokenizer.encode(text, self.tokenizer.names())) + _FRAME

    def system(self, text: str) -> int:
        """Count a system message: one token stands for it."""
        return 1


@dataclass(slots=True)
class _Job:
    """One transcript to be continued; its first `known` tokens have been read into `cache`.

    Attributes:
        view: index of its view in the call.
        key: what its cache is remembered by.
        prompt: token ids so far.
        names: the names in them.
        known: tokens of the prompt that `cache` holds.
        cache: keys and values of these.
        draws: uniform numbers, one for each new token.
    """

    view: int
    key: tuple[int, str]
    prompt: list[int]
    names: Names
    known: int
    cache: Tensor | None
    draws: np.ndarray[Any, np.dtype[np.float32]]

    @property
    def new(self) -> int:
        return len(self.prompt) - self.known


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut ascending lengths into ranges of at most `_CHUNK` padded tokens."""
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > _CHUNK:
            yield start, stop
            start = stop


class GPTPolicy(nn.Module):
    """Plays with a `GPT`: all waiting nodes of all rollouts in one batch, token by token.

    What a node samples depends on its view's seed and on what it was shown, not on the rest of the batch (except for
    rounding in floating-point sums). A prompt is the prompt and output of the turn before, followed by the new
    observation: nothing is tokenised twice, and a node's turns merge into one training sequence.

    Attributes:
        model: the network.
        tokenizer: its tokens.
        temperature: logits are divided by it; 0 takes the likeliest token.
        max_new_tokens: maximum length of a message.
        count_tokens: counts the tokens of one message; give it to environments as their `token_counter`.
        seconds: time spent in the model so far.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: SlotTokenizer,
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 96,
        batch_rows: int = 256,
    ) -> None:
        """Play with a model.

        Args:
            model: the network.
            tokenizer: must have the model's vocabulary.
            temperature: at least 0.
            max_new_tokens: at least 1.
            batch_rows: maximum number of nodes in one batch.

        Raises:
            OptionError: an impossible option, or a tokenizer that is not the model's.
        """
        super().__init__()
        if tokenizer.vocab_size != model.config.vocab_size:
            fix = f"has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}; use the model's own"
            raise OptionError("tokenizer", tokenizer, fix)
        if not 0 <= temperature < float("inf"):
            raise OptionError("temperature", temperature, "must be a finite number, at least 0")
        for name, value in (("max_new_tokens", max_new_tokens), ("batch_rows", batch_rows)):
            if value < 1:
                raise OptionError(name, value, "must be at least 1")
        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.batch_rows = batch_rows
        self.count_tokens = MessageCounter(tokenizer)
        self.seconds = 0.0
        self._memory: dict[tuple[int, str], tuple[list[int], Tensor]] = {}
        self._buffer = torch.empty(0)

    @property
    def pad_id(self) -> int:
        """Token that pads a batch."""
        return self.tokenizer.pad

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embedding.weight.device

    def transcript(self, node: Node, salt: int = 0) -> tuple[list[int], list[bool]]:
        """Return a node's whole transcript as token ids, and which of them the node wrote: for imitation.

        Args:
            node: its text is tokenised, whatever its samples say.
            salt: another salt assigns other slots to the names.

        Raises:
            OptionError: the log is too old to say whether the node may delegate.
        """
        if node.may_delegate is None:
            raise OptionError("node.may_delegate", None, "this log does not say; collect the rollout again")
        tokenizer = self.tokenizer
        names = tokenizer.names(salt)
        ids = [tokenizer.delegate if node.may_delegate else tokenizer.alone]
        ids += tokenizer.encode(node.opening, names)
        wrote = [False] * len(ids)
        for turn in node.turns:
            action = [*tokenizer.encode(turn.action, names), tokenizer.end]
            seen = tokenizer.encode(turn.observation or "", names)
            ids += [tokenizer.act, *action, *seen]
            wrote += [False, *[True] * len(action), *[False] * len(seen)]
        return ids, wrote

    def logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the tempered logits, float [Q, L, V], that messages were sampled from.

        Args:
            input_ids: Long [Q, L].
            attention_mask: Bool [Q, L], padding on the right.

        Raises:
            OptionError: the temperature is 0, which gives no distribution to differentiate.
        """
        if self.temperature == 0:
            raise OptionError("temperature", 0, "has no gradient; sample at a temperature above 0 to train")
        logits: Tensor = self.model(input_ids)
        return logits / self.temperature

    def prompt(self, node: Node) -> tuple[list[int], Names]:
        """Return the token ids that a node's next message follows, and the names in them."""
        tokenizer, turns = self.tokenizer, node.turns
        names = tokenizer.names()
        if not turns or turns[-1].sample is None:
            for text in (node.opening, *(text for turn in turns for text in (turn.action, turn.observation or ""))):
                names.read(tokenizer.read(text))
            return [*self.transcript(node)[0], tokenizer.act], names
        names.read(tokenizer.read(node.opening))
        for turn in turns[:-1]:
            names.read(tokenizer.read(turn.action))
            names.read(tokenizer.read(turn.observation or ""))
        names.read(tokenizer.read(turns[-1].action))
        last = turns[-1].sample
        new = tokenizer.encode(turns[-1].observation or "", names)
        return [*last.prompt_ids, *last.output_ids, *new, tokenizer.act], names

    def __call__(self, views: Sequence[View]) -> list[Action]:
        """Sample one message for each view.

        Raises:
            OptionError: a transcript is longer than the model's context.
        """
        jobs = [self._job(index, view) for index, view in enumerate(views)]
        answers: list[Action | None] = [None] * len(views)
        jobs.sort(key=lambda job: (job.new, len(job.prompt)))  # padding costs as much as reading
        for first in range(0, len(jobs), self.batch_rows):
            batch = jobs[first : first + self.batch_rows]
            start = time.perf_counter()
            written = self._generate(batch)
            self.seconds += time.perf_counter() - start
            for job, (ids, logprobs) in zip(batch, written, strict=True):
                text = self.tokenizer.decode(ids, job.names)
                answers[job.view] = Action(text, sample=Sample(tuple(job.prompt), tuple(ids), tuple(logprobs)))
        return [answer for answer in answers if answer is not None]

    def train(self, mode: bool = True) -> GPTPolicy:
        """Switch to training, or back. Clears the cache, since the weights are about to change."""
        self._memory.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As `torch.nn.Module.load_state_dict`. Clears the cache, which the old weights have filled."""
        self._memory.clear()
        return super().load_state_dict(*args, **kwargs)

    def _job(self, index: int, view: View) -> _Job:
        prompt, names = self.prompt(view.node)
        if len(prompt) >= self.model.config.context:
            fix = f"leaves no room after {len(prompt)} tokens; give the environment token_counter=policy.count_tokens"
            raise OptionError("context", self.model.config.context, f"{fix} and limits={{'context_tokens': ...}}")
        key = (view.rollout, view.node.address)
        known, cache = self._memory.get(key, ([], None))
        if cache is None or prompt[: len(known)] != known:
            known, cache = [], None
        random = np.random.Generator(np.random.Philox(derive(view.seed, "gpt")))
        return _Job(index, key, prompt, names, len(known), cache, random.random(self.max_new_tokens, dtype=np.float32))

    @torch.inference_mode()
    def _generate(self, jobs: Sequence[_Job]) -> list[tuple[list[int], list[float]]]:
        """Continue each prompt until its end token, the longest message, or the end of the context."""
        device, context, limit = self.device, self.model.config.context, self.max_new_tokens
        cache = self._room(len(jobs), max(len(job.prompt) for job in jobs) + max(job.new for job in jobs) + limit)
        first = []
        for start, stop in _chunks([job.new for job in jobs]):
            part = jobs[start:stop]
            tokens = torch.full((len(part), BEFORE + max(job.new for job in part)), self.pad_id)
            for row, job in enumerate(part):
                tail = job.prompt[max(0, job.known - BEFORE) :]
                left = max(0, BEFORE - job.known)
                tokens[row, left : left + len(tail)] = torch.tensor(tail)
                if job.cache is not None:
                    cache[:, start + row, : job.known] = job.cache
            new = torch.tensor([job.new for job in part], device=device)
            known = torch.tensor([job.known for job in part], device=device)
            first.append(self.model.extend(tokens.to(device), new, known, cache[:, start:stop]))
        logits = torch.cat(first)
        lengths = torch.tensor([len(job.prompt) for job in jobs], device=device)
        last = torch.tensor([([self.pad_id] * BEFORE + job.prompt)[-BEFORE:] for job in jobs], device=device)
        draws = torch.from_numpy(np.stack([job.draws for job in jobs])).to(device)
        rows = torch.arange(len(jobs), device=device)
        output = torch.full((len(jobs), limit), self.pad_id, device=device)
        logprobs = torch.zeros(len(jobs), limit, device=device)
        written = torch.zeros(len(jobs), dtype=torch.long, device=device)
        going = torch.ones(len(jobs), dtype=torch.bool, device=device)
        for step in range(limit):
            token, logprob = self._sample(logits, draws[rows, step])
            output[rows, step], logprobs[rows, step] = token, logprob
            written[rows] += going
            going = going & (token != self.tokenizer.end) & (lengths + 1 < context)
            unfinished = int(going.sum())
            if not unfinished or step + 1 == limit:
                break
            last = torch.cat((last[:, -BEFORE:], token[:, None]), dim=1)
            if unfinished < _COMPACT * len(going):  # copying the cache costs more than a few idle rows
                self._remember(jobs, rows, ~going, output, written, cache)
                keep = going.nonzero()[:, 0]
                rows, last, lengths, going = rows[keep], last[keep], lengths[keep], going[keep]
                cache = cache[:, keep]
            logits = self.model.extend(last, torch.ones_like(lengths), lengths, cache)
            lengths = lengths + 1
        self._remember(jobs, rows, torch.ones_like(going), output, written, cache)
        parts = zip(output.tolist(), logprobs.tolist(), written.tolist(), strict=True)
        return [(ids[:count], chances[:count]) for ids, chances, count in parts]

    def _room(self, rows: int, length: int) -> Tensor:
        """Return a buffer for keys and values, reused if it is large enough. Whatever it holds is finite."""
        shape = self.model.cache_shape(rows, length)
        size = math.prod(shape)
        if self._buffer.numel() < size or self._buffer.device != self.device:
            self._buffer = self.model.embedding.weight.new_zeros(size)
        return self._buffer[:size].view(shape)

    def _remember(
        self, jobs: Sequence[_Job], rows: Tensor, done: Tensor, output: Tensor, written: Tensor, cache: Tensor
    ) -> None:
        """Keep keys and values of the transcripts that are done, for their next turn."""
        for i in done.nonzero()[:, 0].tolist():
            row = int(rows[i])
            job = jobs[row]
            # The last token was sampled, but not read.
            known = [*job.prompt, *output[row, : int(written[row]) - 1].tolist()]
            self._memory.pop(job.key, None)
            self._memory[job.key] = (known, cache[:, i, : len(known)].clone())
        while len(self._memory) > _REMEMBERED:
            del self._memory[next(iter(self._memory))]

    def _sample(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        return draw(logits, self.temperature, uniform)
