"""Where a sampled message is complete, so that a model need not be trained to stop there by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rao_envs.actions.thoughts import without_thoughts
from rao_envs.errors import OptionError

__all__ = ["Stop"]

_CLOSING = {"code": "</python>", "calls": "</tool_calls>"}


class Stop:
    """Decides whether the message sampled so far is complete.

    | format | complete at |
    |---|---|
    | "code" | ``</python>`` |
    | "calls" | one whole JSON value, bare or in a fenced block; ``</tool_calls>`` |

    Nothing inside a thought (``<think>`` and similar tags) counts, even if the thought is never closed. Several
    ``<tool_call>`` blocks may follow each other, so there the model itself ends the message.
    """

    def __init__(self, texts: Sequence[str] | None = None) -> None:
        """Choose what ends a message.

        Args:
            texts: texts that end a message, whatever the format; () leaves the end to the model. None takes those
                of the table.

        Raises:
            OptionError: `texts` is not a sequence of non-empty texts.
        """
        if texts is not None and (isinstance(texts, str) or not all(isinstance(t, str) and t for t in texts)):
            raise OptionError("stop", texts, "must be a list of texts such as ['</python>'], or None")
        self._texts = None if texts is None else tuple(texts)

    def last(self, action_format: str) -> frozenset[str]:
        """Return the characters that a complete message can end with."""
        if self._texts is not None:
            return frozenset(text[-1] for text in self._texts)
        return frozenset(">" if action_format == "code" else ">]}`")

    def __call__(self, message: str, action_format: str) -> bool:
        """Say whether the message is complete."""
        if self._texts is not None:
            return any(text in message for text in self._texts)
        said = without_thoughts(message)
        closed = _CLOSING.get(action_format)
        if closed is not None and closed in said:
            return True
        return action_format == "calls" and _is_whole(said.strip())


def _is_whole(text: str) -> bool:
    if text.startswith("```"):
        return text.count("```") >= 2
    if not text.startswith(("[", "{")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
