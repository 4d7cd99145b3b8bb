"""A chat model small enough for tests and examples: random weights, its own tokenizers, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rao_envs.extras import extra

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["CHATML", "message_tokenizer", "tiny_model", "tiny_tokenizer"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template that many models use, such as Qwen's."""

_CORPUS = (
    'You act by writing Python between <python> and </python>. launch_subagent(goal) finish("done") print(note)',
    '[{"name": "finish", "arguments": {"message": 1}}] The calls run in order, and the next message shows results.',
)


def tiny_tokenizer(template: str | None = CHATML, **special_tokens: Any) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of about 300 tokens, which can encode any text.

    Args:
        template: its chat template; None for none.
        special_tokens: special tokens for `PreTrainedTokenizerFast`; by default ``eos_token="<|im_end|>"`` and
            ``pad_token="<|endoftext|>"``.

    Raises:
        ImportError: transformers is not installed.
    """
    with extra("hf", "tiny_tokenizer"):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

    wrapper: Any = PreTrainedTokenizerFast  # its constructor is untyped
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", **special_tokens}
    wrapped: PreTrainedTokenizerFast = wrapper(tokenizer_object=tokenizer, chat_template=template, **named)
    return wrapped


def message_tokenizer(messages: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per message, and "<unk>" for every other word.

    An untrained model then sends a valid message now and then, so that there is something to learn. The messages'
    ids start at 4.

    Args:
        messages: messages such as tool calls; none may contain another.

    Raises:
        ImportError: transformers is not installed.
    """
    with extra("hf", "message_tokenizer"):
        from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

    wrapper: Any = PreTrainedTokenizerFast
    special = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(special)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.add_tokens([AddedToken(message, normalized=False) for message in messages])
    named = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "<|im_end|>"}
    wrapped: PreTrainedTokenizerFast = wrapper(tokenizer_object=tokenizer, chat_template=CHATML, **named)
    return wrapped


def tiny_model(seed: int = 0, **config: Any) -> LlamaForCausalLM:
    """Return an untrained Llama with two layers of width 32.

    Args:
        seed: seed of its weights; torch's global generator is not changed.
        config: arguments of `LlamaConfig` that override these defaults.

    Raises:
        ImportError: torch or transformers is not installed.
    """
    with extra("hf", "tiny_model"):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8_192,
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlamaForCausalLM = LlamaForCausalLM(LlamaConfig(**{**shape, **config}))
        return model
