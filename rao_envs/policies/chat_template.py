"""Chats as token ids, by a tokenizer's chat template, without ever re-tokenising what a model has sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rao_envs.errors import OptionError
from rao_envs.tree import Node

__all__ = ["ChatTemplate"]

_THOUGHTS = ("<think>", "<thinking>", "<thought>")
_PROBE = "Zebra"


class ChatTemplate:
    """A tokenizer's chat template, as a function from a node to the prompt of its next message.

    A node's next prompt is the last prompt and the message sampled for it, token for token, plus the tokens that
    the template appends: so all turns of a node form one training sequence. Where the template rewrites earlier
    messages (many drop old thoughts), the prompt cannot continue the last one. It is rendered afresh, and begins a
    new training sequence.

    Attributes:
        ends: ids of the tokens that end a message.
        opened: the tag of a thought that the template itself opens for the model; "" if it opens none.
        frame: maximum number of tokens that the template adds to one message.
    """

    def __init__(self, tokenizer: Any, *, ends: Sequence[int] = (), options: Mapping[str, Any] | None = None) -> None:
        """Find out what the template does, by rendering a few made-up chats.

        Args:
            tokenizer: of Hugging Face transformers, with a chat template.
            ends: ids that end a message, besides the tokenizer's end-of-sequence token and the template's own.
            options: other arguments of the template, such as ``{"enable_thinking": False}``.

        Raises:
            OptionError: the tokenizer has no chat template, the template cannot render a chat, or no token ends
                a message.
        """
        if not getattr(tokenizer, "chat_template", None):
            fix = "is missing: use the tokenizer of an instruction-tuned model, or set a template (Jinja text)"
            raise OptionError("tokenizer.chat_template", None, fix)
        self.tokenizer = tokenizer
        self._options = dict(options or {})
        self._folds_system = False
        one, two = self._probe()
        prompt = self.render(one)
        said = two[len(prompt) + len(_PROBE) :] if two.startswith(prompt + _PROBE) else ""
        self.ends = frozenset(self._ends(ends, said))
        if not self.ends:
            fix = "is missing, and neither the model nor the chat template names a token that ends a message; set it"
            raise OptionError("tokenizer.eos_token", None, fix)
        tail = prompt[prompt.rfind(_PROBE) :]
        self.opened = next((tag for tag in _THOUGHTS if tail.rstrip().endswith(tag)), "")
        alone = len(self.encode(_PROBE))
        first = len(self.encode(prompt)) - 2 * alone
        self.frame = max(-(-first // 2), len(self.encode(said)) - alone, 0)

    def _probe(self) -> tuple[list[dict[str, str]], str]:
        """Return a chat of one question, and the rendered text of the same chat one turn later."""
        one = [{"role": role, "content": _PROBE} for role in ("system", "user")]
        two = [*one, *({"role": role, "content": _PROBE} for role in ("assistant", "user"))]
        try:
            return one, self.render(two)
        except Exception:  # templates raise Jinja's errors, and any error of their expressions
            self._folds_system = True
        try:
            return one, self.render(two)
        except Exception as error:
            fix = f"cannot render a chat in which user and assistant alternate: {error!r:.200}"
            raise OptionError("tokenizer.chat_template", f"{self.tokenizer.chat_template!s:.40}", fix) from error

    def _ends(self, given: Sequence[int], said: str) -> set[int]:
        eos = getattr(self.tokenizer, "eos_token_id", None)
        ends = {int(end) for end in given} | (set() if eos is None else {int(eos)})
        after = self.encode(said.lstrip())[:1]
        added = self.tokenizer.added_tokens_decoder
        ends.update(i for i in after if i in self.tokenizer.all_special_ids or (i in added and added[i].special))
        return ends

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the text of a chat up to the point where the model's next message begins."""
        chat = [dict(message) for message in messages]
        if self._folds_system and chat and chat[0]["role"] == "system":
            system, first, *rest = chat
            chat = [{**first, "content": f"{system['content']}\n\n{first['content']}".strip()}, *rest]
        return str(
            self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **self._options)
        )

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without special tokens added."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a sampled message, without the token that ended it."""
        kept = list(ids[:-1] if ids and ids[-1] in self.ends else ids)
        return str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def count(self, text: str) -> int:
        """Count the tokens of one message, frame included: a `token_counter` for environments.

        It may be off by a token where the message touches the template's own text.
        """
        return len(self.encode(text)) + self.frame

    def prompt(self, node: Node) -> tuple[int, ...]:
        """Return the prompt of a node's next message."""
        messages = node.messages
        text = self.render(messages)
        sample = node.turns[-1].sample if node.turns else None
        if sample is not None:
            added = _after(text, self.render(messages[:-2]), node.turns[-1].action)
            if added is not None:
                return (*sample.prompt_ids, *sample.output_ids, *self._glue(added, sample.output_ids))
        return tuple(self.encode(text))

    def _glue(self, text: str, output: Sequence[int]) -> list[int]:
        """Return the tokens that follow a sampled message, without an end token that the model has sampled itself."""
        ids = self.encode(text)
        if output and output[-1] in self.ends and output[-1] in ids:
            end = ids.index(output[-1])
            if not self.tokenizer.decode(ids[:end]).strip():
                return ids[end + 1 :]
        return ids


def _after(text: str, before: str, message: str) -> str | None:
    """Return what follows `before` and `message` in `text`; None if it does not begin with them.

    Templates trim messages, or add a space around them. That does not count as rewriting: the sampled tokens are kept.
    """
    if not text.startswith(before):
        return None
    rest, core = text[len(before) :].lstrip(), message.strip()
    if not rest.startswith(core):
        return None
    return rest[len(core) :].removeprefix(message[len(message.rstrip()) :])
