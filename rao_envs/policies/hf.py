"""Any causal language model of Hugging Face transformers as a policy, in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rao_envs.extras import extra

with extra("hf", __name__):
    import torch

from rao_envs.action import Action
from rao_envs.errors import OptionError
from rao_envs.events import Sample
from rao_envs.policies.base import View
from rao_envs.policies.chat_template import ChatTemplate
from rao_envs.policies.decoding import Draft, complete, positions, understood
from rao_envs.policies.local import find_device
from rao_envs.policies.stopping import Stop
from rao_envs.seeding import rng

if TYPE_CHECKING:
    from rao_envs.engine import TokenCounter

__all__ = ["HFPolicy"]


class HFPolicy:
    """A causal language model and its tokenizer, answering all waiting nodes in batches.

    Every message comes with its `Sample`: the token ids that the model was given, those it sampled, and their
    log-probabilities under the distribution they were drawn from. Sampled tokens are never re-tokenised: see
    `ChatTemplate`. A message ends with the model's own end token, or where the action is complete: see `Stop`. What a
    node samples depends on `View.seed` and on its own prompt, not on the rest of the batch (except for rounding in
    floating-point sums).

    Tokens are drawn from the model's whole distribution at the given temperature. There is no top-p or top-k: with
    them, samples of one distribution would optimise another. The sampling options in a model's
    ``generation_config`` are ignored for the same reason; its end tokens are used.

    Give the environment the model's window and its token counter:

        policy = HFPolicy(model, tokenizer)
        options = {"token_counter": policy.token_counter, "limits": {"context_tokens": policy.context_tokens}}
        trees = collect("TextCraftSynth-v0", policy, tasks=8, env_options=options)

    Attributes:
        model: the model. Its dropout is switched off permanently, since with dropout the policy that is optimised is
            not the one that was sampled from.
        tokenizer: its tokenizer.
        temperature: logits are divided by it; 0 takes the likeliest token, for evaluation.
        max_new_tokens: maximum tokens of a message.
        max_batch_tokens: maximum tokens of one batch, including padding and new tokens.
        context_tokens: maximum tokens of a prompt and its message together; None = the model has no limit.
        pad_id: token that fills short rows; attention never reads it.
        seconds: time spent in sampling from the model so far.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 256,
        max_batch_tokens: int = 65_536,
        context_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap a model that is on its device already, in its final precision.

        Args:
            model: from ``AutoModelForCausalLM``, or a PEFT adapter around one.
            tokenizer: the model's, with a chat template.
            temperature: at least 0.
            max_new_tokens: at least 1.
            max_batch_tokens: at least 1; a longer prompt forms a batch of its own. Lower it if memory runs out.
            context_tokens: at most the model's window; None takes the model's.
            stop: texts that end a message; None takes those of the action format, see `Stop`.
            template_options: other arguments of the chat template, such as ``{"enable_thinking": False}``.

        Raises:
            OptionError: an impossible option; a model that is not a causal language model, or whose vocabulary is
                smaller than the tokenizer's; a tokenizer without a chat template or an end token.
        """
        if not (temperature >= 0 and math.isfinite(temperature)):
            raise OptionError("temperature", temperature, "must be a finite number >= 0")
        for name, value in (("max_new_tokens", max_new_tokens), ("max_batch_tokens", max_batch_tokens)):
            if value < 1:
                raise OptionError(name, value, "must be at least 1")
        _check_model(model)
        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.max_batch_tokens = max_batch_tokens
        self.context_tokens = _window(model, context_tokens)
        self.seconds = 0.0
        self._stop = Stop(stop)
        self._chat = ChatTemplate(tokenizer, ends=_ends(model), options=template_options)
        _check_vocabulary(model, tokenizer)
        pad = getattr(tokenizer, "pad_token_id", None)
        self.pad_id = int(min(self._chat.ends) if pad is None else pad)
        self._characters: dict[int, str] = {}
        self._takes_positions = "position_ids" in understood(model)
        _switch_dropout_off(model)

    @classmethod
    def from_pretrained(
        cls, name: str, *, device: str | torch.device | None = None, dtype: str | torch.dtype = "auto", **options: Any
    ) -> HFPolicy:
        """Load a model and its tokenizer, and make a policy of them.

        Args:
            name: a folder, or a name on the Hugging Face Hub.
            device: None takes a GPU if there is one.
            dtype: of the weights; "auto" as they were saved.
            options: of `HFPolicy`.

        Raises:
            ImportError: transformers is not installed.
            OSError: there is no such model.
            OptionError: see `HFPolicy`.
        """
        with extra("hf", "HFPolicy.from_pretrained"):
            from transformers import AutoModelForCausalLM, AutoTokenizer
        where = find_device(device)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        model = model.to(where)
        return cls(model, AutoTokenizer.from_pretrained(name), **options)

    # The policy -----------------------------------------------------------------------------------------

    @property
    def token_counter(self) -> TokenCounter:
        """Counts the tokens of one message, including the template's frame: a `token_counter` for environments."""
        return self._chat.count

    def __call__(self, views: Sequence[View]) -> list[Action]:
        """Answer each view.

        A node whose prompt leaves no room in the model's window gets an empty message, and an environment whose
        `context_tokens` matches the window then ends it.

        Raises:
            OptionError: the environment did not end such a node: its `context_tokens` exceeds the model's window.
        """
        drafts = [self._draft(view) for view in views]
        began = time.perf_counter()
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                for batch in self._batches([draft for draft in drafts if draft.limit > 0]):
                    complete(self.model, batch, temperature=self.temperature, pad_id=self.pad_id)
        finally:
            self.model.train(was_training)
            self.seconds += time.perf_counter() - began
        return [self._action(draft) for draft in drafts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a sampled message, without the token that ended it."""
        return self._chat.decode(ids)

    def _draft(self, view: View) -> Draft:
        prompt = self._chat.prompt(view.node)
        room = self.max_new_tokens
        if self.context_tokens is not None:
            room = min(room, self.context_tokens - len(prompt))
            if room < 1:
                self._check_ended(view, len(prompt))

        def ended(ids: list[int]) -> bool:
            if ids[-1] in self._chat.ends:
                return True
            if last.isdisjoint(self._text(ids[-1])):
                return False
            return self._stop(self._chat.opened + self._chat.decode(ids), view.format)

        last = self._stop.last(view.format)
        return Draft(prompt, max(room, 0), rng(view.seed, "tokens"), ended)

    def _check_ended(self, view: View, size: int) -> None:
        turns = view.node.turns
        if turns and turns[-1].sample is not None and not turns[-1].sample.output_ids:
            fix = (
                f"is too small: node {view.node.address} was continued with a prompt of {size} tokens. Make the "
                "environment with limits={'context_tokens': policy.context_tokens} or less"
            )
            raise OptionError("context_tokens", self.context_tokens, fix)

    def _text(self, token: int) -> str:
        """Return the text of a single token: enough to rule out that a stop ends with it."""
        if token not in self._characters:
            self._characters[token] = self.tokenizer.decode([token])
        return self._characters[token]

    def _batches(self, drafts: list[Draft]) -> Iterator[list[Draft]]:
        """Pack drafts of similar length into batches of at most `max_batch_tokens`, longest first."""
        batch: list[Draft] = []
        size = 0
        for draft in sorted(drafts, key=lambda draft: -len(draft.prompt)):
            if batch and (len(batch) + 1) * size > self.max_batch_tokens:
                yield batch
                batch = []
            if not batch:
                size = len(draft.prompt) + self.max_new_tokens
            batch.append(draft)
        if batch:
            yield batch

    def _action(self, draft: Draft) -> Action:
        sample = Sample(tuple(draft.prompt), tuple(draft.ids), tuple(draft.logprobs))
        return Action(self._chat.decode(draft.ids), sample=sample)

    # The model ------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def logits(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the distribution that tokens are sampled from, at every position.

        Args:
            input_ids: Long [Q, L], padded on either side.
            attention_mask: Bool [Q, L], False where padded.

        Returns:
            Float32 [Q, L, V], divided by the temperature: ``[:, t]`` is the distribution of token t + 1.

        Raises:
            OptionError: the temperature is 0, which gives no distribution to differentiate.
        """
        if self.temperature == 0:
            raise OptionError("temperature", 0, "has no gradient; sample at a temperature above 0 to train")
        options = {"position_ids": positions(attention_mask)} if self._takes_positions else {}
        output = self.model(input_ids=input_ids, attention_mask=attention_mask.long(), use_cache=False, **options)
        logits: torch.Tensor = output.logits
        return logits.float() / self.temperature

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the weights, always in the same order."""
        yield from self.model.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        return dict(self.model.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load weights that `state_dict` returned."""
        return self.model.load_state_dict(state_dict)

    def train(self, mode: bool = True) -> HFPolicy:
        """Switch the model between optimising and sampling."""
        self.model.train(mode)
        return self


def _check_model(model: Any) -> None:
    config = getattr(model, "config", None)
    if not hasattr(model, "get_output_embeddings") or config is None:
        raise OptionError("model", type(model).__name__, "must be a causal language model of transformers")
    if getattr(config, "is_encoder_decoder", False) or model.get_output_embeddings() is None:
        fix = "is not a causal language model; load one with AutoModelForCausalLM"
        raise OptionError("model", type(model).__name__, fix)


def _check_vocabulary(model: Any, tokenizer: Any) -> None:
    rows = int(model.get_input_embeddings().weight.shape[0])
    needed = max(tokenizer.get_vocab().values()) + 1
    if rows < needed:
        fix = f"has fewer rows than the tokenizer has ids ({needed}); call model.resize_token_embeddings({needed})"
        raise OptionError("model.get_input_embeddings()", rows, fix)


def _window(model: Any, asked: int | None) -> int | None:
    config = model.config.get_text_config()
    maximum = getattr(config, "max_position_embeddings", None)
    if asked is not None and (asked < 2 or (maximum is not None and asked > maximum)):
        raise OptionError("context_tokens", asked, f"must lie between 2 and the model's {maximum or 'window'}")
    return maximum if asked is None else asked


def _ends(model: Any) -> list[int]:
    """Return the end tokens that the model declares."""
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if declared is None:
        return []
    return [declared] if isinstance(declared, int) else list(declared)


def _switch_dropout_off(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # Attention reads its rate from an attribute of the surrounding layer.
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
